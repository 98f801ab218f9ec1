//! Statements, values and rows that mean the same on SQLite and on PostgreSQL.
//!
//! Three column types carry everything: 64-bit integers (counts, booleans as 0/1, unix milliseconds), text and
//! bytes. Statements use `$1`, `$2`, … on both databases.

use super::DbError;
use crate::kernel::{Id, clock::from_millis};
use jiff::Timestamp;
use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow};
use std::borrow::Cow;

/// A value bound to a statement. `None` keeps its type, because PostgreSQL needs it.
#[derive(Clone)]
pub enum Value {
    /// BIGINT / INTEGER.
    Integer(Option<i64>),
    /// TEXT.
    Text(Option<String>),
    /// BYTEA / BLOB.
    Bytes(Option<Vec<u8>>),
    /// BIGINT[]: PostgreSQL only, for the multi-row forms.
    Integers(Vec<Option<i64>>),
    /// TEXT[]: PostgreSQL only, for the multi-row forms.
    Texts(Vec<Option<String>>),
    /// BYTEA[]: PostgreSQL only, for the multi-row forms.
    ByteStrings(Vec<Option<Vec<u8>>>),
}

/// A statement with its values. `Debug` is not derived: values may be sealed, but they are nobody's business.
#[derive(Clone)]
pub struct Query {
    pub(super) text: Cow<'static, str>,
    pub(super) values: Vec<Value>,
}

/// A statement to which values can be bound in the order of their numbers.
#[must_use]
pub fn sql(text: &'static str) -> Query {
    Query { text: Cow::Borrowed(text), values: Vec::new() }
}

/// A statement whose text is put together at run time from constant parts and placeholders. Values are bound,
/// never written into the text.
#[must_use]
pub fn sql_built(text: String) -> Query {
    Query { text: Cow::Owned(text), values: Vec::new() }
}

impl Query {
    /// Binds the next value.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }
}

macro_rules! value_from {
    ($($type:ty => $variant:ident($convert:expr)),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                let convert: fn($type) -> _ = $convert;
                Value::$variant(Some(convert(value)))
            }
        }
        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                let convert: fn($type) -> _ = $convert;
                Value::$variant(value.map(convert))
            }
        }
    )*};
}

value_from! {
    i64 => Integer(|v| v),
    i32 => Integer(i64::from),
    u32 => Integer(i64::from),
    bool => Integer(i64::from),
    Timestamp => Integer(|v| v.as_millisecond()),
    String => Text(|v| v),
    &str => Text(str::to_owned),
    Vec<u8> => Bytes(|v| v),
    &[u8] => Bytes(<[u8]>::to_vec),
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(value: &[u8; N]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}
impl<const N: usize> From<[u8; N]> for Value {
    fn from(value: [u8; N]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}
impl<K> From<Id<K>> for Value {
    fn from(value: Id<K>) -> Self {
        Self::Bytes(Some(value.as_bytes().to_vec()))
    }
}
impl<K> From<Option<Id<K>>> for Value {
    fn from(value: Option<Id<K>>) -> Self {
        Self::Bytes(value.map(|id| id.as_bytes().to_vec()))
    }
}

/// A row that was read.
pub enum Row {
    /// From SQLite.
    Sqlite(SqliteRow),
    /// From PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// The value of `column`.
    ///
    /// # Errors
    /// [`DbError::Decode`] when there is no such column or it holds another type.
    pub fn get<T: Column>(&self, column: &'static str) -> Result<T, DbError> {
        T::from_row(self, column)
    }

    fn integer(&self, column: &'static str) -> Result<Option<i64>, DbError> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
        .map_err(|_| DbError::Decode { column })
    }

    fn text(&self, column: &'static str) -> Result<Option<String>, DbError> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
        .map_err(|_| DbError::Decode { column })
    }

    fn bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, DbError> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
        .map_err(|_| DbError::Decode { column })
    }
}

/// A type that a column can be read as.
pub trait Column: Sized {
    /// Reads `column` of `row`.
    ///
    /// # Errors
    /// [`DbError::Decode`] when the column is missing, null where a value is asked for, or of another type.
    fn from_row(row: &Row, column: &'static str) -> Result<Self, DbError>;
}

macro_rules! column_of {
    ($($type:ty = $reader:ident => $convert:expr),* $(,)?) => {$(
        impl Column for $type {
            fn from_row(row: &Row, column: &'static str) -> Result<Self, DbError> {
                row.$reader(column)?.and_then($convert).ok_or(DbError::Decode { column })
            }
        }
        impl Column for Option<$type> {
            fn from_row(row: &Row, column: &'static str) -> Result<Self, DbError> {
                row.$reader(column)?.map(|value| ($convert)(value).ok_or(DbError::Decode { column })).transpose()
            }
        }
    )*};
}

column_of! {
    i64 = integer => Some,
    u32 = integer => |v: i64| u32::try_from(v).ok(),
    bool = integer => |v: i64| Some(v != 0),
    Timestamp = integer => |v: i64| Some(from_millis(v)),
    String = text => Some,
    Vec<u8> = bytes => Some,
}

impl<K> Column for Id<K> {
    fn from_row(row: &Row, column: &'static str) -> Result<Self, DbError> {
        row.bytes(column)?.and_then(|bytes| Self::from_slice(&bytes)).ok_or(DbError::Decode { column })
    }
}
impl<K> Column for Option<Id<K>> {
    fn from_row(row: &Row, column: &'static str) -> Result<Self, DbError> {
        row.bytes(column)?.map(|bytes| Id::from_slice(&bytes).ok_or(DbError::Decode { column })).transpose()
    }
}
