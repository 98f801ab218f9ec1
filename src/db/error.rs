//! What can go wrong with the database, without a word of what was stored in it.

/// An error of the database. Never holds values, statements or driver messages: they may repeat what a row holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    /// A unique constraint refused the write.
    #[error("a row with the same unique key exists ({constraint})")]
    UniqueViolation {
        /// The constraint's or the columns' names, as the database gives them.
        constraint: String,
    },
    /// A row that was asked for is not there.
    #[error("a row that should exist was not found")]
    NotFound,
    /// A column is missing, null where a value is needed, or of another type.
    #[error("column {column} does not hold what the program expects")]
    Decode {
        /// The column's name.
        column: &'static str,
    },
    /// The database cannot be reached, is shutting down, is full, or its pool is exhausted. Trying again may help.
    #[error("the database is not available ({reason})")]
    Unavailable {
        /// What kind of trouble, in constant words.
        reason: &'static str,
    },
    /// The database was written by a newer version of the program.
    #[error(
        "the database was made by a newer version of chartwire (migration {version}); start that version or restore an older database"
    )]
    NewerThanProgram {
        /// The migration that this program does not know.
        version: i64,
    },
    /// The database was written by an older version of the program, or by none yet.
    #[error(
        "the database is older than this version of chartwire (migration {version} is missing); bring it up to date with `chartwire migrate`, or start the service, which does so; one that was put back from a backup has to be marked first: `chartwire recover --begin`"
    )]
    OlderThanProgram {
        /// The first migration that is missing.
        version: i64,
    },
    /// There is no database yet.
    #[error(
        "there is no database; if there was one, see that its volume is mounted or put its newest backup back; otherwise make it with `chartwire migrate`, or start the service, which does so"
    )]
    NotMade,
    /// A migration that has been applied differs from the one in this program.
    #[error(
        "migration {version} of the database differs from this program's; it was not written by a released version"
    )]
    MigrationChanged {
        /// The migration that differs.
        version: i64,
    },
    /// The database URL cannot be used.
    #[error("the database URL must look like sqlite:/path/to/file or postgres://user@host/database")]
    BadUrl,
    /// A multi-row array was sent to SQLite. A mistake in this program.
    #[error("arrays can be bound on PostgreSQL only")]
    ArraysArePostgresOnly,
    /// The database refused the statement for another reason.
    #[error("the database refused a statement (code {code})")]
    Refused {
        /// SQLSTATE, or SQLite's extended result code.
        code: String,
    },
}

impl DbError {
    /// The server has not answered for so long that nobody waits any more. What became of the statement is not known.
    pub(super) const NO_ANSWER: Self = Self::Unavailable { reason: "no answer" };

    /// Whether the same call may succeed a little later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Whether PostgreSQL rolled the transaction back for a reason that running it again removes
    /// (serialization failure 40001, deadlock 40P01).
    pub(super) fn wants_rerun(&self) -> bool {
        matches!(self, Self::Refused { code } if code == "40001" || code == "40P01")
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::RowNotFound => Self::NotFound,
            sqlx::Error::PoolTimedOut => Self::Unavailable { reason: "every connection is busy" },
            sqlx::Error::PoolClosed => Self::Unavailable { reason: "shutting down" },
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
                Self::Unavailable { reason: "connection lost" }
            }
            sqlx::Error::WorkerCrashed => Self::Unavailable { reason: "connection worker stopped" },
            sqlx::Error::Database(error) => from_database(&*error),
            _ => Self::Refused { code: "driver".to_owned() },
        }
    }
}

fn from_database(error: &dyn sqlx::error::DatabaseError) -> DbError {
    let code = error.code().map(std::borrow::Cow::into_owned).unwrap_or_default();
    if error.is_unique_violation() {
        // SQLite names the columns in its message, PostgreSQL the constraint; neither names values there.
        let constraint = error
            .constraint()
            .map_or_else(|| error.message().rsplit(": ").next().unwrap_or_default().to_owned(), str::to_owned);
        return DbError::UniqueViolation { constraint };
    }
    match code.as_str() {
        // PostgreSQL classes 08 connection, 53 resources, 57 operator intervention.
        code if code.len() == 5 && (code.starts_with("08") || code.starts_with("53") || code.starts_with("57")) => {
            DbError::Unavailable { reason: "the server refuses work" }
        }
        // SQLite primary codes 5 busy, 6 locked, 10 I/O, 13 full (low byte of the extended code).
        code if code.parse::<u32>().is_ok_and(|code| code < 10_000 && matches!(code & 0xff, 5 | 6 | 10 | 13)) => {
            DbError::Unavailable { reason: "the database file is busy, full or failing" }
        }
        _ => DbError::Refused { code },
    }
}

impl From<sqlx::migrate::MigrateError> for DbError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::VersionMissing(version) => Self::NewerThanProgram { version },
            sqlx::migrate::MigrateError::VersionMismatch(version) => Self::MigrationChanged { version },
            sqlx::migrate::MigrateError::Execute(error) | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => {
                error.into()
            }
            _ => Self::Refused { code: "migration".to_owned() },
        }
    }
}
