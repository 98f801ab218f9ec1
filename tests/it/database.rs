//! A database of a test's own, on either engine.

use crate::postgres;
use tempfile::TempDir;

/// A new, empty database. A SQLite one is removed with this value, a PostgreSQL one with the server.
pub(crate) struct TestDatabase {
    url: String,
    _folder: Option<TempDir>,
}

impl TestDatabase {
    /// A file in a folder of its own.
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("chartwire.db").display());
        Self { url, _folder: Some(folder) }
    }

    /// A database on this process's PostgreSQL server; `None` where PostgreSQL is not installed.
    pub(crate) async fn postgres() -> Option<Self> {
        postgres::new_database().await.map(|url| Self { url, _folder: None })
    }

    /// What the service's settings would say.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Makes two tests of one, `NAME::sqlite` and `NAME::postgres`:
///
/// ```text
/// both_databases! {
///     async fn a_text_is_kept(database: TestDatabase) {
///         let db = Db::open(database.url()).await.unwrap();
///         …
///     }
/// }
/// ```
macro_rules! both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($database:ident: TestDatabase) $body:block)+) => {$(
        $(#[$attribute])*
        mod $name {
            #[allow(unused_imports, reason = "a body may need nothing from outside")]
            use super::*;

            async fn body($database: $crate::database::TestDatabase) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                body($crate::database::TestDatabase::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if let Some(database) = $crate::database::TestDatabase::postgres().await {
                    body(database).await;
                }
            }
        }
    )+};
}

pub(crate) use both_databases;
