//! A whole copy of a SQLite database, taken while it is written to, and what a copy has to show before it is believed.
//!
//! Always: a copy is readable by its owner only, and says when it was begun; what was committed before that instant is
//! in it. A copy that is not whole is refused.

use super::{Backend, Db, DbError, Query, Row, SQLITE_MIGRATIONS, connection::Connection, sqlite_options};
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
    /// Pages or indexes are damaged.
    #[error("the file is damaged: its integrity check fails; take another backup")]
    Damaged,
    /// It is no database of this program.
    #[error("the file is not a database of chartwire")]
    NotOurs,
    /// A file cannot be read, written or moved.
    #[error("a file cannot be read, written or moved: {0}")]
    File(#[from] io::Error),
}

impl From<sqlx::Error> for SnapshotError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            // SQLITE_NOTADB and SQLITE_CORRUPT.
            sqlx::Error::Database(error) if matches!(error.code().as_deref(), Some("26" | "11")) => Self::Damaged,
            other => Self::Db(other.into()),
        }
    }
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
        let into = partial.path.to_str().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
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
        partial.publish(target)
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
        let mut name = target.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?.to_owned();
        name.push(".partial");
        let partial = Self { path: target.with_file_name(name) };
        // What an earlier run that was cut off has left behind.
        partial.remove();
        open_for_owner(&partial.path)?;
        Ok(partial)
    }

    /// Gives it its name, unless that is taken meanwhile, and waits until all of it is on disk.
    fn publish(self, target: &Path) -> Result<(), SnapshotError> {
        File::open(&self.path)?.sync_all()?;
        // Unlike a rename, a link never replaces what is there.
        fs::hard_link(&self.path, target).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => SnapshotError::Exists(target.to_owned()),
            _ => SnapshotError::File(error),
        })?;
        fs::remove_file(&self.path)?;
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
        Ok(())
    }

    fn remove(&self) {
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut path = self.path.clone().into_os_string();
            path.push(end);
            let _ = fs::remove_file(path);
        }
    }
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
        match connection.fetch_one("PRAGMA journal_mode = DELETE").await.map_err(DbError::from) {
            Ok(row) if row.try_get::<String, _>(0)? == "delete" => return Ok(connection),
            Err(error) if !error.is_transient() => return Err(SnapshotError::Damaged),
            _ => tokio::time::sleep(PAUSE).await,
        }
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
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut path = target.to_owned().into_os_string();
            path.push(end);
            if Path::new(&path).exists() {
                return Err(SnapshotError::Exists(path.into()));
            }
        }
        let partial = Partial::make(target)?;
        let (source, copy) = (from.to_owned(), partial.path.clone());
        let copied = tokio::task::spawn_blocking(move || {
            let mut to = OpenOptions::new().write(true).open(copy)?;
            io::copy(&mut File::open(source)?, &mut to)?;
            to.sync_all()
        });
        copied.await.map_err(io::Error::other)??;
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
        let mut copy = alone(&self.partial.path).await?;
        sqlx::query("DELETE FROM backup_stamp").execute(&mut copy).await?;
        copy.close().await?;
        self.partial.publish(&self.target)
    }
}
