//! Runs a [`Query`] on either kind of connection. The only place where both drivers are named side by side.

use super::{DbError, Query, Row, query::Value};
use sqlx::{
    AssertSqlSafe, PgConnection, SqliteConnection, postgres::PgArguments, query::Query as SqlxQuery,
    sqlite::SqliteArguments,
};

/// A connection of either kind, borrowed for one statement.
pub(super) enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Connection<'_> {
    pub(super) async fn execute(self, query: Query) -> Result<u64, DbError> {
        match self {
            Self::Sqlite(connection) => Ok(for_sqlite(query)?.execute(connection).await?.rows_affected()),
            Self::Postgres(connection) => Ok(for_postgres(query).execute(connection).await?.rows_affected()),
        }
    }

    pub(super) async fn all(self, query: Query) -> Result<Vec<Row>, DbError> {
        Ok(match self {
            Self::Sqlite(connection) => {
                for_sqlite(query)?.fetch_all(connection).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(connection) => {
                for_postgres(query).fetch_all(connection).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(super) async fn optional(self, query: Query) -> Result<Option<Row>, DbError> {
        Ok(match self {
            Self::Sqlite(connection) => for_sqlite(query)?.fetch_optional(connection).await?.map(Row::Sqlite),
            Self::Postgres(connection) => for_postgres(query).fetch_optional(connection).await?.map(Row::Postgres),
        })
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
