//! A database of a run's own, on a disk that commits wait for.

use crate::postgres;
use anyhow::{Context as _, Result};
use std::fmt;
use tempfile::TempDir;

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        })
    }
}

/// A new, empty database. A SQLite one is removed with this value, a PostgreSQL one with its server.
pub(crate) struct Database {
    pub(crate) url: String,
    _folder: Option<TempDir>,
}

impl Database {
    pub(crate) async fn new(engine: Engine) -> Result<Self> {
        if engine == Engine::Postgres {
            let url = postgres::new_database().await.context("PostgreSQL is not installed")?;
            return Ok(Self { url, _folder: None });
        }
        let folder = tempfile::tempdir()?;
        let url = format!("sqlite:{}", folder.path().join("chartwire.db").display());
        Ok(Self { url, _folder: Some(folder) })
    }
}
