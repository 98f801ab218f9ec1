//! A transaction as a command sees it.

use super::{
    DbError, Query, Row,
    connection::Connection,
    event::{Event, Topic},
    loan::Loan,
};
use sqlx::SqliteConnection;

/// The transaction that a [`Command`](super::Command) runs in. It cannot be begun, committed or kept by a
/// command: it holds nothing open across anything but database calls.
pub struct Tx {
    pub(super) backend: Backend,
    pub(super) events: Vec<Event>,
    pub(super) wants_rerun: bool,
    /// A statement was given up that may be running still: nothing more can be said on this connection.
    pub(super) unanswered: bool,
}

/// The connection under a transaction.
pub(super) enum Backend {
    Sqlite(SqliteConnection),
    Postgres(Loan),
}

impl Tx {
    pub(super) fn new(backend: Backend) -> Self {
        Self { backend, events: Vec::new(), wants_rerun: false, unanswered: false }
    }

    /// Whether this is PostgreSQL, for the few statements whose text differs.
    #[must_use]
    pub const fn is_postgres(&self) -> bool {
        matches!(self.backend, Backend::Postgres(_))
    }

    /// Runs a statement and gives the number of rows that it touched.
    ///
    /// # Errors
    /// [`DbError`] as the database refuses or is away.
    pub async fn execute(&mut self, query: Query) -> Result<u64, DbError> {
        let result = self.connection().execute(query).await;
        self.noted(result)
    }

    /// Every row of a statement.
    ///
    /// # Errors
    /// [`DbError`] as the database refuses or is away.
    pub async fn all(&mut self, query: Query) -> Result<Vec<Row>, DbError> {
        let result = self.connection().all(query).await;
        self.noted(result)
    }

    /// The first row of a statement, if there is one.
    ///
    /// # Errors
    /// [`DbError`] as the database refuses or is away.
    pub async fn optional(&mut self, query: Query) -> Result<Option<Row>, DbError> {
        let result = self.connection().optional(query).await;
        self.noted(result)
    }

    /// The first row of a statement.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is none; otherwise as the database refuses or is away.
    pub async fn one(&mut self, query: Query) -> Result<Row, DbError> {
        self.optional(query).await?.ok_or(DbError::NotFound)
    }

    /// Tells listeners of `topic` after the commit, on every node. `key` carries ids only.
    pub fn publish(&mut self, topic: Topic, key: impl Into<String>) {
        let event = Event { topic, key: key.into() };
        if !self.events.contains(&event) {
            self.events.push(event);
        }
    }

    pub(super) async fn raw(&mut self, text: &'static str) -> Result<(), DbError> {
        self.connection().execute(super::sql(text)).await.map(|_| ())
    }

    /// It has ended: its connection may go back.
    pub(super) fn rest(&mut self) {
        if let Backend::Postgres(loan) = &mut self.backend {
            loan.rest();
        }
    }

    fn connection(&mut self) -> Connection<'_> {
        match &mut self.backend {
            Backend::Sqlite(connection) => Connection::Sqlite(connection),
            Backend::Postgres(loan) => loan.connection(),
        }
    }

    fn noted<T>(&mut self, result: Result<T, DbError>) -> Result<T, DbError> {
        if let Err(error) = &result {
            self.wants_rerun |= error.wants_rerun();
            self.unanswered |= *error == DbError::NO_ANSWER;
        }
        result
    }
}
