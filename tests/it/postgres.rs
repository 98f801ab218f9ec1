//! A PostgreSQL server of this test process's own: made in a temporary folder when the first test asks for it, gone
//! when the process ends, however it ends.
//!
//! The programs are taken from `/usr/lib/postgresql/*/bin` (the newest) or from the PATH. Where there are none, one
//! line says so and the tests run on SQLite alone; with `CHARTWIRE_REQUIRE_POSTGRES=1` that is a failure.

use sqlx::{Connection as _, Executor as _, PgConnection};
use std::{
    env, fs,
    io::{self, Write as _},
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

const USER: &str = "chartwire";
/// Never leaves this machine, and the server takes connections from this machine only.
const PASSWORD: &str = "chartwire-tests";
/// The oldest version that the service runs on.
const OLDEST: u32 = 15;

/// Stops the server and removes its folder once its standard input ends: that is when the tests are over, or killed.
/// A signal from the terminal is for the tests; this must outlive them.
const WATCH: &str = r#"trap '' INT TERM HUP; cat >/dev/null; "$1" stop -s -m immediate -D "$2/data"; rm -rf "$2""#;

static SERVER: OnceLock<Option<Server>> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

struct Server {
    port: u16,
    /// Held open for as long as the process lives.
    _watch: ChildStdin,
}

/// The URL of a new, empty database, or `None` where PostgreSQL is not installed.
pub(crate) async fn new_database() -> Option<String> {
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(start)).await.unwrap().as_ref()?;
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let url = |name: &str| format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{name}", server.port);
    let mut connection = PgConnection::connect(&url("postgres")).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    connection.close().await.unwrap();
    Some(url(&name))
}

#[expect(clippy::zombie_processes, reason = "the watch outlives this process, that is its purpose")]
fn start() -> Option<Server> {
    let Some(programs) = programs() else {
        let missing = format!("PostgreSQL {OLDEST} or newer was not found: these tests run on SQLite only");
        assert!(env::var_os("CHARTWIRE_REQUIRE_POSTGRES").is_none_or(|set| set != "1"), "{missing}");
        // Not println!, which the test harness would keep to itself.
        io::stderr().write_all(format!("{missing}\n").as_bytes()).unwrap();
        return None;
    };
    let folder = tempfile::Builder::new().prefix("chartwire-postgres-").tempdir().unwrap().keep();
    let owner = Owner::choose();
    owner.give(&folder);
    let password = folder.join("password");
    fs::write(&password, PASSWORD).unwrap();
    owner.give(&password);
    run(owner
        .command(&programs.join("initdb"))
        .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--username", USER])
        .arg("--pwfile")
        .arg(&password)
        .arg("--pgdata")
        .arg(folder.join("data")));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = format!(
        "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync={} -c max_connections=300",
        folder.display(),
        super::POSTGRES_FSYNC
    );
    run(owner
        .command(&programs.join("pg_ctl"))
        .args(["start", "--wait", "--silent", "--options", &options])
        .arg("--log")
        .arg(folder.join("log"))
        .arg("--pgdata")
        .arg(folder.join("data")));
    let mut watch: Child = owner
        .command(Path::new("/bin/sh"))
        .args(["-c", WATCH, "watch"])
        .arg(programs.join("pg_ctl"))
        .arg(&folder)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    Some(Server { port, _watch: watch.stdin.take().unwrap() })
}

fn programs() -> Option<PathBuf> {
    programs_with("pg_ctl")
}

/// The folder with the newest server programs that are new enough, `name` among them.
pub(crate) fn programs_with(name: &str) -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let in_path = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
    let folders = installed.map(|version| version.path().join("bin")).chain(in_path);
    let complete = folders.filter(|folder| folder.join(name).exists());
    complete.filter_map(|folder| Some((version(&folder)?, folder))).max().map(|(_, folder)| folder)
}

/// The major version of the server programs in `folder`, if they are there and new enough.
fn version(folder: &Path) -> Option<u32> {
    let output = Command::new(folder.join("initdb")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let digits: String = text.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|version| *version >= OLDEST)
}

/// Who the server runs as: PostgreSQL refuses to run as root.
#[derive(Clone, Copy)]
struct Owner(Option<(u32, u32)>);

impl Owner {
    fn choose() -> Self {
        let id = |arguments: &[&str]| {
            let output = Command::new("id").args(arguments).output().ok().filter(|output| output.status.success())?;
            String::from_utf8(output.stdout).ok()?.trim().parse::<u32>().ok()
        };
        if id(&["-u"]) != Some(0) {
            return Self(None);
        }
        let account = |name| Some((id(&["-u", name])?, id(&["-g", name])?));
        Self(Some(account("postgres").or_else(|| account("nobody")).expect("an account other than root")))
    }

    fn give(self, path: &Path) {
        if let Some((user, group)) = self.0 {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }

    /// In a folder that the account may enter, without the streams of the tests.
    fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        command
    }
}

fn run(command: &mut Command) {
    // Kept in a file, not in a pipe: the server that `pg_ctl` leaves behind would hold the pipe open.
    let errors = tempfile::NamedTempFile::new().unwrap();
    let status = command.stderr(errors.reopen().unwrap()).status().unwrap();
    assert!(status.success(), "{command:?} failed: {}", fs::read_to_string(errors.path()).unwrap());
}
