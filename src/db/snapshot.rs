//! A whole copy of a SQLite database, taken while it is written to, and what a copy has to show before it is believed.
//!
//! Always: a copy is readable by its owner only, and says when it was begun; what was committed before that instant is
//! in it. A copy that is not whole is refused.

use super::{
    Backend, Command, Db, DbError, Query, Row, SQLITE_MIGRATIONS, Tx, connection::Connection, sql, sqlite_options,
};
use jiff::Timestamp;
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};
use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Why a copy cannot be made or believed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The database.
    #[error("the database cannot be used: {0}")]
    Db(#[from] DbError),
    /// PostgreSQL has ways of its own.
    #[error(
        "this is for SQLite; a PostgreSQL database is backed up with pg_dump or with pg_basebackup and its write-ahead log, as docs/backup.md describes, and marked with `chartwire recover --begin` when it was put back"
    )]
    NotSqlite,
    /// A file that must not be overwritten is there.
    #[error("{} exists already; nothing was changed", .0.display())]
    Exists(PathBuf),
    /// A database is where another is to be put.
    #[error(
        "{} exists already; nothing was changed. Stop the service, move the database aside together with what lies beside it (-wal, -shm, -journal), and restore again",
        .0.display()
    )]
    InPlace(PathBuf),
    /// Not all of a database is in the file that is given.
    #[error(
        "{} lies beside it and belongs to it: the file alone is not the whole database. Restore what `chartwire backup` wrote, or bring it into the file first (`sqlite3 FILE 'PRAGMA wal_checkpoint(TRUNCATE)'`)",
        .0.display()
    )]
    NotAlone(PathBuf),
    /// Pages or indexes are damaged.
    #[error("the file is damaged: its integrity check fails; take another backup")]
    Damaged,
    /// It is no database of this program.
    #[error("the file is not a database of chartwire")]
    NotOurs,
    /// A file cannot be read, written or moved.
    #[error("{} cannot be read, written or moved: {cause}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl SnapshotError {
    /// What is wrong with the file at `path`.
    fn of(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |cause| Self::File { path, cause }
    }
}

impl From<sqlx::Error> for SnapshotError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) if error.code().is_some_and(|code| means_damage(&code)) => Self::Damaged,
            other => Self::Db(other.into()),
        }
    }
}

/// `SQLITE_CORRUPT` and `SQLITE_NOTADB`; extended codes keep them in their low byte.
fn means_damage(code: &str) -> bool {
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 11 | 26))
}

/// The file of the SQLite database at `url`.
///
/// # Errors
/// [`SnapshotError::NotSqlite`] for a database of another kind.
pub fn sqlite_file(url: &str) -> Result<PathBuf, SnapshotError> {
    let options = sqlite_options(url)?.ok_or(SnapshotError::NotSqlite)?;
    Ok(options.get_filename().to_owned())
}

impl Db {
    /// Copies the whole database to `target` while it is written to, stamps the copy with `now` and checks it. The file
    /// appears under its name only when it is whole and on disk.
    ///
    /// # Errors
    /// [`SnapshotError::NotSqlite`], [`SnapshotError::Exists`]; otherwise as database and file system refuse.
    pub async fn back_up(&self, url: &str, target: &Path, now: Timestamp) -> Result<(), SnapshotError> {
        let options = sqlite_options(url)?;
        let (Some(options), Backend::Sqlite(_)) = (options, &*self.backend) else {
            return Err(SnapshotError::NotSqlite);
        };
        if target.exists() {
            return Err(SnapshotError::Exists(target.to_owned()));
        }
        let partial = Partial::make(target)?;
        let mut live = options.busy_timeout(PATIENCE).disable_statement_logging().connect().await?;
        let into = partial.path.to_str().ok_or_else(|| no_name(&partial.path))?;
        sqlx::query("VACUUM INTO $1").bind(into.to_owned()).execute(&mut live).await?;
        live.close().await?;
        let mut copy = alone(&partial.path).await?;
        sqlx::query("DELETE FROM backup_stamp").execute(&mut copy).await?;
        sqlx::query("INSERT INTO backup_stamp (taken_at) VALUES ($1)")
            .bind(now.as_millisecond())
            .execute(&mut copy)
            .await?;
        check_whole(&mut copy).await?;
        copy.close().await?;
        partial.publish(target)?;
        self.execute(NoteTaken(now)).await?;
        Ok(())
    }

    /// When the newest backup was begun that [`Db::back_up`] has made; none where none ever was.
    ///
    /// # Errors
    /// [`DbError`] as the database refuses or is away.
    pub async fn backed_up_at(&self) -> Result<Option<Timestamp>, DbError> {
        self.one(sql("SELECT MAX(taken_at) AS taken_at FROM backup_taken")).await?.get("taken_at")
    }
}

/// Notes in the database itself that there is a backup of it.
struct NoteTaken(Timestamp);

impl Command for NoteTaken {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(sql("DELETE FROM backup_taken")).await?;
        tx.execute(sql("INSERT INTO backup_taken (taken_at) VALUES ($1)").bind(self.0)).await.map(|_| ())
    }
}

/// How long a statement waits for a writer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often, and how long between, it is looked whether a file is still in use.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// A file under a name of its own until it is whole. Removed again if it never is.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn make(target: &Path) -> Result<Self, SnapshotError> {
        let mut name = target.file_name().ok_or_else(|| no_name(target))?.to_owned();
        name.push(".partial");
        let partial = Self { path: target.with_file_name(name) };
        // What an earlier run that was cut off has left behind.
        partial.remove();
        open_for_owner(&partial.path).map_err(SnapshotError::of(&partial.path))?;
        Ok(partial)
    }

    /// Gives it its name, unless that is taken meanwhile, and waits until all of it is on disk.
    fn publish(self, target: &Path) -> Result<(), SnapshotError> {
        sync(&self.path)?;
        // Unlike a rename, a link never replaces what is there.
        fs::hard_link(&self.path, target).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => SnapshotError::Exists(target.to_owned()),
            _ => SnapshotError::of(target)(error),
        })?;
        fs::remove_file(&self.path).map_err(SnapshotError::of(&self.path))?;
        sync(target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    }

    fn remove(&self) {
        for end in ENDS {
            let _ = fs::remove_file(with_end(&self.path, end));
        }
    }
}

/// What a database's files end with: itself, and what may lie beside it.
const ENDS: [&str; 4] = ["", "-wal", "-shm", "-journal"];
/// What belongs to a database as long as it is not brought into it. An index (-shm) alone holds nothing.
const LOGS: [&str; 2] = ["-wal", "-journal"];

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut path = path.to_owned().into_os_string();
    path.push(end);
    path.into()
}

/// Waits until a file, or what a folder lists, is on disk.
fn sync(path: &Path) -> Result<(), SnapshotError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(SnapshotError::of(path))
}

fn no_name(path: &Path) -> SnapshotError {
    SnapshotError::of(path)(io::ErrorKind::InvalidFilename.into())
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.remove();
    }
}

fn open_for_owner(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn copy_whole(source: &Path, copy: &Path) -> Result<(), SnapshotError> {
    let mut from = File::open(source).map_err(SnapshotError::of(source))?;
    let mut to = OpenOptions::new().write(true).open(copy).map_err(SnapshotError::of(copy))?;
    // Which of the two it is, the system does not say.
    io::copy(&mut from, &mut to).and_then(|_| to.sync_all()).map_err(SnapshotError::of(copy))
}

/// A connection of its own to a file that nobody else uses any more, without a write-ahead log beside it: what stands in
/// one is brought into the file.
async fn alone(path: &Path) -> Result<SqliteConnection, SnapshotError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    for _ in 0..TRIES {
        // The last connection of whoever had it open may just be closing; SQLite does not wait for that by itself.
        match connection.fetch_one("PRAGMA journal_mode = DELETE").await.map_err(SnapshotError::from) {
            Ok(row) if row.try_get::<String, _>(0)? == "delete" => return Ok(connection),
            Ok(_) => {}
            Err(SnapshotError::Db(error)) if error.is_transient() => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(DbError::Unavailable { reason: "the file is in use" }.into())
}

/// Whether every page and index is as it should be.
async fn check_whole(copy: &mut SqliteConnection) -> Result<(), SnapshotError> {
    let row = copy.fetch_one("PRAGMA integrity_check").await?;
    if row.try_get::<String, _>(0)? == "ok" { Ok(()) } else { Err(SnapshotError::Damaged) }
}

/// Rows of a copy, which is left as it is.
///
/// # Errors
/// [`SnapshotError`] when it cannot be read.
pub async fn read_copy(file: &Path, query: Query) -> Result<Vec<Row>, SnapshotError> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true).disable_statement_logging();
    let mut copy = options.connect().await?;
    let rows = Connection::Sqlite(&mut copy).all(query).await?;
    sqlx::Connection::close(copy).await?;
    Ok(rows)
}

/// A copy that is about to take a database's place.
pub struct Incoming {
    partial: Partial,
    target: PathBuf,
    /// When it was begun, where it was made by [`Db::back_up`].
    pub taken_at: Option<Timestamp>,
}

impl Incoming {
    /// Copies `from` beside `target`, where no database may be, and checks it: whole, this program's, and not of a newer
    /// one. An older one is brought up to date.
    ///
    /// # Errors
    /// [`SnapshotError`]: what is wrong; nothing is left behind.
    pub async fn take(from: &Path, target: &Path) -> Result<Self, SnapshotError> {
        if let Some(path) = ENDS.map(|end| with_end(target, end)).into_iter().find(|path| path.exists()) {
            return Err(SnapshotError::InPlace(path));
        }
        let holds_something = |path: &PathBuf| path.metadata().is_ok_and(|metadata| metadata.len() > 0);
        if let Some(path) = LOGS.map(|end| with_end(from, end)).into_iter().find(holds_something) {
            return Err(SnapshotError::NotAlone(path));
        }
        let partial = Partial::make(target)?;
        let (source, copy) = (from.to_owned(), partial.path.clone());
        let copied = tokio::task::spawn_blocking(move || copy_whole(&source, &copy));
        copied.await.map_err(|error| SnapshotError::of(from)(io::Error::other(error)))??;
        let mut copy = alone(&partial.path).await?;
        check_whole(&mut copy).await?;
        let known = copy.fetch_optional("SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations'").await?;
        if known.is_none() {
            return Err(SnapshotError::NotOurs);
        }
        SQLITE_MIGRATIONS.run(&mut copy).await.map_err(DbError::from)?;
        let stamp = copy.fetch_one("SELECT MAX(taken_at) FROM backup_stamp").await?.try_get::<Option<i64>, _>(0)?;
        copy.close().await?;
        let taken_at = stamp.and_then(|millis| Timestamp::from_millisecond(millis).ok());
        Ok(Self { partial, target: target.to_owned(), taken_at })
    }

    /// The URL under which the copy can be opened before it is put in place.
    #[must_use]
    pub fn url(&self) -> String {
        format!("sqlite:{}", self.partial.path.display())
    }

    /// Puts it in place. Whoever had it open must have closed it.
    ///
    /// # Errors
    /// [`SnapshotError`] when the file cannot be moved, or something is in its place meanwhile.
    pub async fn put_in_place(self) -> Result<(), SnapshotError> {
        // Brings what stands in a write-ahead log into the file.
        alone(&self.partial.path).await?.close().await?;
        self.partial.publish(&self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_sqlite_calls_corrupt_is_damage() {
        for (code, damage) in [("11", true), ("26", true), ("267", true), ("779", true), ("14", false), ("5", false)] {
            assert_eq!(means_damage(code), damage, "{code}");
        }
        assert!(!means_damage("40001") && !means_damage(""));
    }

    async fn database(folder: &Path) -> (Db, PathBuf) {
        let file = folder.join("live.db");
        (Db::open(&format!("sqlite:{}", file.display())).await.unwrap(), file)
    }

    #[tokio::test]
    async fn a_file_is_not_taken_without_the_log_that_belongs_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (db, file) = database(folder.path()).await;
        let target = folder.path().join("target.db");
        db.execute(NoteTaken(Timestamp::UNIX_EPOCH)).await.unwrap();
        // The service is running: what was committed last is in the log.
        let refused = Incoming::take(&file, &target).await.err().unwrap();
        assert!(matches!(&refused, SnapshotError::NotAlone(path) if path.ends_with("live.db-wal")), "{refused}");
        db.close().await;
        let _ = fs::remove_file(with_end(&file, "-wal"));
        let incoming = Incoming::take(&file, &target).await.unwrap();
        incoming.put_in_place().await.unwrap();
        let in_place = Incoming::take(&file, &target).await.err().unwrap().to_string();
        assert!(in_place.contains("Stop the service") && in_place.contains("-wal"), "{in_place}");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let refused = Incoming::take(&missing, &folder.path().join("target.db")).await.err().unwrap();
        assert!(refused.to_string().contains("missing cannot be read"), "{refused}");
    }
}
