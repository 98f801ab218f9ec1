//! Runs a [`Query`] on either kind of connection. The only place where both drivers are named side by side.

use super::{DbError, Query, Row, query::Value};
use sqlx::{
    AssertSqlSafe, PgConnection, SqliteConnection, postgres::PgArguments, query::Query as SqlxQuery,
    sqlite::SqliteArguments,
};
use std::time::Duration;

/// How long PostgreSQL may take to answer a statement, waiting for locks included.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// A connection of either kind, borrowed for one statement.
pub(super) enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Connection<'_> {
    pub(super) async fn execute(self, query: Query) -> Result<u64, DbError> {
        match self {
            Self::Sqlite(connection) => Ok(for_sqlite(query)?.execute(connection).await?.rows_affected()),
            Self::Postgres(connection) => Ok(within(for_postgres(query).execute(connection)).await?.rows_affected()),
        }
    }

    pub(super) async fn all(self, query: Query) -> Result<Vec<Row>, DbError> {
        Ok(match self {
            Self::Sqlite(connection) => {
                for_sqlite(query)?.fetch_all(connection).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(connection) => {
                within(for_postgres(query).fetch_all(connection)).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(super) async fn optional(self, query: Query) -> Result<Option<Row>, DbError> {
        Ok(match self {
            Self::Sqlite(connection) => for_sqlite(query)?.fetch_optional(connection).await?.map(Row::Sqlite),
            Self::Postgres(connection) => {
                within(for_postgres(query).fetch_optional(connection)).await?.map(Row::Postgres)
            }
        })
    }
}

/// Waits for a server's answer, but not for ever: where a machine or a network goes away without a word, no answer comes
/// and no error either, and whoever waited would be lost with its connection.
async fn within<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, DbError> {
    match tokio::time::timeout(ANSWERS_WITHIN, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(DbError::NO_ANSWER),
    }
}

fn for_sqlite(query: Query) -> Result<SqlxQuery<'static, sqlx::Sqlite, SqliteArguments>, DbError> {
    let mut statement = sqlx::query(AssertSqlSafe(query.text.into_owned()));
    for value in query.values {
        statement = match value {
            Value::Integer(value) => statement.bind(value),
            Value::Text(value) => statement.bind(value),
            Value::Bytes(value) => statement.bind(value),
            Value::Integers(_) | Value::Texts(_) | Value::ByteStrings(_) => return Err(DbError::ArraysArePostgresOnly),
        };
    }
    Ok(statement)
}

fn for_postgres(query: Query) -> SqlxQuery<'static, sqlx::Postgres, PgArguments> {
    let mut statement = sqlx::query(AssertSqlSafe(query.text.into_owned()));
    for value in query.values {
        statement = match value {
            Value::Integer(value) => statement.bind(value),
            Value::Text(value) => statement.bind(value),
            Value::Bytes(value) => statement.bind(value),
            Value::Integers(values) => statement.bind(values),
            Value::Texts(values) => statement.bind(values),
            Value::ByteStrings(values) => statement.bind(values),
        };
    }
    statement
}
