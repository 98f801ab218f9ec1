//! A PostgreSQL connection on loan from the pool, and how it goes back.
//!
//! Always: its place in the pool is free again whatever becomes of the server. The pool itself asks a connection that comes
//! back whether it still works, and waits for the answer without end; a server that is gone without a word would so take
//! one place after the other.

use super::{DbError, connection::Connection};
use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use std::time::Duration;
use tokio::{runtime::Handle, time::timeout};

/// How long a connection that goes back may take to answer.
const RETURNS_WITHIN: Duration = Duration::from_secs(5);

/// A connection on loan. Unless it was said to be at rest, it is closed instead of going back: somebody may have stopped
/// waiting for an answer that is still to come, or a transaction may be open.
pub(super) struct Loan {
    connection: PoolConnection<Postgres>,
    at_rest: bool,
}

impl Loan {
    pub(super) async fn from(pool: &PgPool) -> Result<Self, DbError> {
        Ok(Self { connection: pool.acquire().await?, at_rest: false })
    }

    /// For the next statement.
    pub(super) fn connection(&mut self) -> Connection<'_> {
        Connection::Postgres(&mut self.connection)
    }

    pub(super) fn raw(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// The last answer was heard, and nothing is open.
    pub(super) fn rest(&mut self) {
        self.at_rest = true;
    }

    /// Gives the connection back after a statement that only reads, and hands its result through.
    pub(super) fn after<T>(mut self, result: Result<T, DbError>) -> Result<T, DbError> {
        self.at_rest = !matches!(result, Err(DbError::Unavailable { .. }));
        result
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        match Handle::try_current() {
            Ok(runtime) if self.at_rest => {
                let returned = self.connection.return_to_pool();
                runtime.spawn(async move { timeout(RETURNS_WITHIN, returned).await });
            }
            _ => self.connection.close_on_drop(),
        }
    }
}
