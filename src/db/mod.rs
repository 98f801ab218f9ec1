//! SQLite and PostgreSQL behind one [`Db`].
//!
//! Owns connections, transactions, migrations and the group commit; every room above writes through [`Command`]s and
//! reads through [`Db::all`], [`Db::optional`] and [`Db::one`]. Always: a write is committed (and on disk) before its
//! caller is answered; no transaction stays open across anything but database calls; no SQL asks the database for the
//! time; an error never repeats a value.

mod command;
mod connection;
mod error;
mod event;
mod key_store;
mod loan;
mod months;
mod multi_row;
mod postgres;
mod query;
pub mod recovery;
mod schema_version;
mod sealed_rows;
mod snapshot;
mod sqlite;
mod tx;

pub use command::{BatchCommand, Command};
pub use error::DbError;
pub use event::{Event, Topic};
pub use key_store::{DbKeyStore, destroy_keys};
pub use multi_row::{sql_among, sql_rows};
pub use query::{Column, Query, Row, Value, sql, sql_built};
pub use recovery::Recovery;
pub use sealed_rows::DbSealedRows;
pub use snapshot::{Incoming, SnapshotError, read_copy, sqlite_file};
pub use tx::Tx;

use command::{Answer, Erased, Pending};
use connection::Connection;
use event::Events;
use sqlx::{Executor as _, postgres::PgConnectOptions, sqlite::SqliteConnectOptions};
use std::{str::FromStr, sync::Arc};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

static SQLITE_MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");

/// An open database. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    backend: Arc<Backend>,
    events: Events,
    stop: CancellationToken,
}

enum Backend {
    Sqlite(sqlite::SqliteDatabase),
    Postgres(Arc<postgres::PostgresDatabase>),
}

impl Db {
    /// Opens the database at `url` (`sqlite:/path/to/file` or `postgres://…`) and brings its schema up to date.
    ///
    /// # Errors
    /// [`DbError::BadUrl`], [`DbError::Unavailable`], or [`DbError::NewerThanProgram`] when a newer program has written it.
    pub async fn open(url: &str) -> Result<Self, DbError> {
        if let Some(options) = sqlite_options(url)? {
            migrate_sqlite(options).await?;
        }
        let db = Self::connect(url).await?;
        if let Backend::Postgres(database) = &*db.backend {
            POSTGRES_MIGRATIONS.run(&database.pool).await?;
        }
        Ok(db)
    }

    /// Opens the database at `url` as it stands: nothing is made, and the schema has to be this program's.
    ///
    /// # Errors
    /// [`DbError::NotMade`] when there is no such file, [`DbError::OlderThanProgram`], [`DbError::NewerThanProgram`];
    /// otherwise as [`Db::open`].
    pub async fn open_as_it_stands(url: &str) -> Result<Self, DbError> {
        if sqlite_options(url)?.is_some_and(|options| !options.get_filename().exists()) {
            return Err(DbError::NotMade);
        }
        let db = Self::connect(url).await?;
        if let Err(error) = schema_version::check(&db).await {
            db.close().await;
            return Err(error);
        }
        Ok(db)
    }

    /// Opens the database at `url` and brings its schema up to date, where this program has made one before: nothing is
    /// made where there is none.
    ///
    /// # Errors
    /// [`DbError::NotMade`]; otherwise as [`Db::open`].
    pub async fn open_made(url: &str) -> Result<Self, DbError> {
        if Self::is_made(url).await? { Self::open(url).await } else { Err(DbError::NotMade) }
    }

    /// Whether there is a database of this program at `url`. Makes nothing.
    ///
    /// # Errors
    /// [`DbError::BadUrl`]; otherwise as the database refuses or is away.
    pub async fn is_made(url: &str) -> Result<bool, DbError> {
        if sqlite_options(url)?.is_some_and(|options| !options.get_filename().exists()) {
            return Ok(false);
        }
        let db = Self::connect(url).await?;
        let made = schema_version::is_made(&db).await;
        db.close().await;
        made
    }

    async fn connect(url: &str) -> Result<Self, DbError> {
        let stop = CancellationToken::new();
        if let Some(options) = sqlite_options(url)? {
            let events = Events::local_only();
            let backend = Backend::Sqlite(sqlite::open(options, events.clone()).await?);
            Ok(Self { backend: Arc::new(backend), events, stop })
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url).map_err(|_| DbError::BadUrl)?;
            let database = postgres::open(options, &stop).await?;
            let events = database.events.clone();
            Ok(Self { backend: Arc::new(Backend::Postgres(database)), events, stop })
        } else {
            Err(DbError::BadUrl)
        }
    }

    /// Runs a write and answers once it is durable. A caller that goes away does not stop it.
    ///
    /// # Errors
    /// The command's own error, or [`DbError`] when it could not be run or committed.
    pub async fn execute<C: Command>(&self, command: C) -> Result<C::Output, C::Error> {
        let (pending, answer) = Pending::alone(command);
        self.submit::<C>(pending, answer).await
    }

    /// Runs a hot write, together with others of its kind that are waiting.
    ///
    /// # Errors
    /// The command's own error, or [`DbError`] when it could not be run or committed.
    pub async fn execute_grouped<C: BatchCommand>(&self, command: C) -> Result<C::Output, C::Error> {
        let (pending, answer) = Pending::groupable(command);
        self.submit::<C>(pending, answer).await
    }

    /// Every row of a statement that only reads.
    ///
    /// # Errors
    /// [`DbError`] as the database refuses or is away.
    pub async fn all(&self, query: Query) -> Result<Vec<Row>, DbError> {
        match &*self.backend {
            Backend::Sqlite(database) => Connection::Sqlite(&mut *database.readers.acquire().await?).all(query).await,
            Backend::Postgres(database) => {
                let mut reading = database.reading().await?;
                let rows = reading.connection().all(query).await;
                reading.after(rows)
            }
        }
    }

    /// The first row of a statement that only reads, if there is one.
    ///
    /// # Errors
    /// [`DbError`] as the database refuses or is away.
    pub async fn optional(&self, query: Query) -> Result<Option<Row>, DbError> {
        match &*self.backend {
            Backend::Sqlite(database) => {
                Connection::Sqlite(&mut *database.readers.acquire().await?).optional(query).await
            }
            Backend::Postgres(database) => {
                let mut reading = database.reading().await?;
                let row = reading.connection().optional(query).await;
                reading.after(row)
            }
        }
    }

    /// The first row of a statement that only reads.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is none; otherwise as the database refuses or is away.
    pub async fn one(&self, query: Query) -> Result<Row, DbError> {
        self.optional(query).await?.ok_or(DbError::NotFound)
    }

    /// Events that are committed from now on. A receiver that falls behind is told so and must look for itself.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Whether this is PostgreSQL, for the few statements whose text differs.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(&*self.backend, Backend::Postgres(_))
    }

    /// Finishes what is in hand and closes the connections.
    pub async fn close(&self) {
        self.stop.cancel();
        match &*self.backend {
            // The writer answers in order, so a command that passes through it has seen all before it committed.
            Backend::Sqlite(database) => {
                let _ = self.execute(Nothing).await;
                database.readers.close().await;
            }
            Backend::Postgres(database) => {
                database.drained().await;
                database.pool.close().await;
            }
        }
    }

    async fn submit<C: Command>(&self, pending: Box<dyn Erased>, answer: Answer<C>) -> Result<C::Output, C::Error> {
        let refused = match &*self.backend {
            Backend::Sqlite(database) => database.writer.send(pending).await.is_err(),
            Backend::Postgres(database) => database.submit(pending).await.is_err(),
        };
        if refused {
            return Err(DbError::Unavailable { reason: "shutting down" }.into());
        }
        answer.await.unwrap_or_else(|_| Err(DbError::Unavailable { reason: "the command was interrupted" }.into()))
    }
}

/// A write that changes nothing, to wait for the writer.
struct Nothing;

impl Command for Nothing {
    type Output = ();
    type Error = DbError;
    async fn run(&self, _tx: &mut Tx) -> Result<(), DbError> {
        Ok(())
    }
}

/// How the SQLite database at `url` is opened; `None` where it is one of another kind.
fn sqlite_options(url: &str) -> Result<Option<SqliteConnectOptions>, DbError> {
    if !url.starts_with("sqlite:") {
        return Ok(None);
    }
    SqliteConnectOptions::from_str(url).map(Some).map_err(|_| DbError::BadUrl)
}

async fn migrate_sqlite(options: SqliteConnectOptions) -> Result<(), DbError> {
    let mut connection = sqlx::ConnectOptions::connect(&options.create_if_missing(true)).await?;
    connection.execute("PRAGMA journal_mode = WAL").await?;
    SQLITE_MIGRATIONS.run(&mut connection).await?;
    sqlx::Connection::close(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct AddTenant(u8, &'static str, bool);

    impl Command for AddTenant {
        type Output = ();
        type Error = DbError;
        async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
            tx.publish(Topic::Jobs, self.1);
            tx.execute(
                sql("INSERT INTO tenant (id, slug, created_at) VALUES ($1, $2, $3)")
                    .bind([self.0; 16])
                    .bind(self.1)
                    .bind(1_i64),
            )
            .await?;
            if self.2 { Err(DbError::NotFound) } else { Ok(()) }
        }
    }

    impl BatchCommand for AddTenant {
        async fn run_all(commands: &[&Self], tx: &mut Tx) -> Result<Vec<()>, DbError> {
            for command in commands {
                command.run(tx).await?;
            }
            Ok(vec![(); commands.len()])
        }
    }

    async fn database() -> (Db, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        (Db::open(&url).await.unwrap(), folder)
    }

    async fn slugs(db: &Db) -> Vec<String> {
        let rows = db.all(sql("SELECT slug FROM tenant ORDER BY slug")).await.unwrap();
        rows.iter().map(|row| row.get("slug").unwrap()).collect()
    }

    #[tokio::test]
    async fn a_refused_command_leaves_nothing_and_its_neighbours_stay() {
        let (db, _folder) = database().await;
        let mut events = db.subscribe();
        let (a, b, c, d) = tokio::join!(
            db.execute(AddTenant(1, "a", false)),
            db.execute(AddTenant(2, "b", true)),
            db.execute_grouped(AddTenant(3, "c", false)),
            db.execute_grouped(AddTenant(3, "d", false)),
        );
        assert_eq!((a, b), (Ok(()), Err(DbError::NotFound)));
        assert!(c.is_ok());
        assert!(matches!(d, Err(DbError::UniqueViolation { .. })), "{d:?}");
        assert_eq!(slugs(&db).await, ["a", "c"]);
        let told = [events.try_recv().unwrap().key, events.try_recv().unwrap().key];
        assert_eq!(told, ["a", "c"]);
        assert!(events.try_recv().is_err(), "what was rolled back is not told");
    }

    struct FromTheFuture;
    impl Command for FromTheFuture {
        type Output = ();
        type Error = DbError;
        async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
            tx.execute(sql(
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)",
            ))
            .await
            .map(|_| ())
        }
    }

    #[tokio::test]
    async fn a_database_of_a_newer_program_is_refused() {
        let (db, folder) = database().await;
        db.execute(FromTheFuture).await.unwrap();
        db.close().await;
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        assert_eq!(Db::open(&url).await.err(), Some(DbError::NewerThanProgram { version: 9999 }));
        assert_eq!(Db::open_as_it_stands(&url).await.err(), Some(DbError::NewerThanProgram { version: 9999 }));
    }

    #[tokio::test]
    async fn opening_a_database_as_it_stands_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test.db");
        let url = format!("sqlite:{}", file.display());
        assert_eq!(Db::open_as_it_stands(&url).await.err(), Some(DbError::NotMade));
        assert!(!file.exists());
        Db::open(&url).await.unwrap().close().await;
        assert!(slugs(&Db::open_as_it_stands(&url).await.unwrap()).await.is_empty());
    }

    #[tokio::test]
    async fn a_url_of_another_kind_is_refused() {
        assert_eq!(Db::open("mysql://x").await.err(), Some(DbError::BadUrl));
    }
}
