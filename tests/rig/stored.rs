//! The service's database, read past the service: rows and sealed texts.

use anyhow::{Context as _, Result, bail};
use chartwire::{
    config::{Settings, Surroundings},
    db::{Db, DbKeyStore, Row, sql, sql_built},
    kernel::{Id, Instruments, Tenant},
    messaging::Message,
    vault::{Kek, LocalKeks, Place, Sealed, Vault},
};
use std::{io, path::Path, sync::Arc};
use zeroize::Zeroizing;

/// The rig's overrides, as the service gets them through its environment.
struct Overrides<'a>(&'a [(String, String)]);

impl Surroundings for Overrides<'_> {
    fn variable(&self, _name: &str) -> Option<Zeroizing<String>> {
        None
    }

    fn overrides(&self) -> Vec<(String, String)> {
        self.0.to_vec()
    }

    fn file(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        std::fs::read(path).map(Zeroizing::new)
    }
}

/// A text as it is stored.
pub(crate) struct StoredText {
    pub(crate) id: Id<Message>,
    pub(crate) inbound: bool,
    pub(crate) state: String,
    pub(crate) carrier_id: Option<String>,
    pub(crate) template: Option<String>,
    pub(crate) about: Option<String>,
    pub(crate) patient: Option<Vec<u8>>,
    /// The words; none where the text never got as far.
    pub(crate) words: Option<String>,
}

/// The database and its keys.
pub(crate) struct Stored {
    pub(crate) db: Db,
    vault: Vault,
    tenant: Id<Tenant>,
}

impl Stored {
    /// Opens what a service has made.
    pub(crate) async fn open(folder: &Path, overrides: &[(String, String)]) -> Result<Self> {
        let settings = Settings::load(&folder.join("chartwire.toml"), &Overrides(overrides))?;
        let db = Db::open_as_it_stands(settings.database.url.reveal()).await?;
        let tenant = db.one(sql("SELECT id FROM tenant")).await?.get("id")?;
        let instruments = Instruments::system();
        let mut keks = LocalKeks::new(Arc::clone(&instruments.entropy));
        let practice = settings.tenants.first().context("settings without a practice")?;
        let read = |kek: &chartwire::config::Secret| Kek::from_base64(kek.reveal());
        keks.insert(tenant, practice.key_encryption_keys.iter().map(read).collect::<Result<_, _>>()?)?;
        let vault = Vault::new(Arc::new(DbKeyStore::new(db.clone())), Arc::new(keks), instruments);
        Ok(Self { db, vault, tenant })
    }

    /// The one number that a query gives as `n`.
    pub(crate) async fn count(&self, query: &'static str) -> Result<i64> {
        Ok(self.db.one(sql(query)).await?.get("n")?)
    }

    /// Every text with its words opened, oldest first. A text that does not open is an error: sealed data must be readable.
    pub(crate) async fn all(&self) -> Result<Vec<StoredText>> {
        let rows = self
            .db
            .all(sql(
                "SELECT id, direction, state, carrier_id, template_key, about, patient, body FROM message ORDER BY id",
            ))
            .await?;
        let mut texts = Vec::with_capacity(rows.len());
        for row in &rows {
            texts.push(self.text(row).await?);
        }
        Ok(texts)
    }

    async fn text(&self, row: &Row) -> Result<StoredText> {
        let id: Id<Message> = row.get("id")?;
        let words = match row.get::<Option<Vec<u8>>>("body")? {
            None => None,
            Some(bytes) => {
                let sealed = Sealed::from_bytes(bytes)?;
                match self.vault.open_text(self.tenant, Place::new("message", &id, "body"), &sealed).await {
                    Ok(words) => Some(words.expose().clone()),
                    Err(error) => bail!("the text {id} cannot be opened: {error}"),
                }
            }
        };
        Ok(StoredText {
            id,
            inbound: row.get::<String>("direction")? == "in",
            state: row.get("state")?,
            carrier_id: row.get("carrier_id")?,
            template: row.get("template_key")?,
            about: row.get("about")?,
            patient: row.get("patient")?,
            words,
        })
    }

    /// Every table with its rows as text, bytes in hexadecimal.
    pub(crate) async fn tables(&self) -> Result<Vec<(String, String)>> {
        let postgres = self.is_postgres().await;
        let names = if postgres {
            sql("SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1")
        } else {
            sql("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1")
        };
        let mut tables = Vec::new();
        for name in self.db.all(names).await? {
            let name: String = name.get("name")?;
            let row = if postgres { "t::text".to_owned() } else { self.sqlite_row(&name).await? };
            let rows = self.db.all(sql_built(format!("SELECT {row} AS told FROM {name} t"))).await?;
            let rows: Vec<String> = rows.iter().map(|row| row.get("told")).collect::<Result<_, _>>()?;
            tables.push((name, rows.join("\n")));
        }
        Ok(tables)
    }

    /// The columns of a table as one text.
    async fn sqlite_row(&self, table: &str) -> Result<String> {
        let columns = self.db.all(sql_built(format!("SELECT name FROM pragma_table_info('{table}')"))).await?;
        let columns: Vec<String> = columns.iter().map(|row| row.get("name")).collect::<Result<_, _>>()?;
        Ok(columns.iter().map(|column| format!("quote(\"{column}\")")).collect::<Vec<_>>().join(" || ',' || "))
    }

    async fn is_postgres(&self) -> bool {
        self.db.one(sql("SELECT sqlite_version() AS version")).await.is_err()
    }

    /// Has PostgreSQL write what it holds to its files.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        self.db.all(sql("CHECKPOINT")).await?;
        Ok(())
    }
}
