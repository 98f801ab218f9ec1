//! The vault's stores over a database: wrapped data keys.

use super::{Command, Db, DbError, Query, Row, Tx, sql};
use crate::{
    kernel::{Id, Tenant},
    vault::{DataKey, DataKeyStore, KeyPurpose, KeyRecord, KeyState, Period, StoreAnswer, VaultError, WrappedKey},
};
use std::sync::Arc;

/// Data keys in the table `data_key`.
#[derive(Clone)]
pub struct DbKeyStore(Db);

impl DbKeyStore {
    /// A store over `db`.
    #[must_use]
    pub const fn new(db: Db) -> Self {
        Self(db)
    }

    async fn read(&self, query: Query) -> Result<Vec<KeyRecord>, VaultError> {
        self.0.all(query).await.map_err(unavailable)?.iter().map(record).collect()
    }

    async fn write(&self, query: Query) -> Result<bool, VaultError> {
        self.0.execute(OneStatement(query)).await.map_err(unavailable).map(|rows| rows > 0)
    }
}

/// A write of one statement; gives the number of rows that it touched.
pub(super) struct OneStatement(pub(super) Query);

impl Command for OneStatement {
    type Output = u64;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<u64, DbError> {
        tx.execute(self.0.clone()).await
    }
}

impl DataKeyStore for DbKeyStore {
    fn by_id(&self, tenant: Id<Tenant>, id: Id<DataKey>) -> StoreAnswer<'_, Option<KeyRecord>> {
        let query = sql("SELECT * FROM data_key WHERE tenant = $1 AND id = $2").bind(tenant).bind(id);
        Box::pin(async move { Ok(self.read(query).await?.pop()) })
    }

    fn versions(&self, tenant: Id<Tenant>, purpose: KeyPurpose, period: Period) -> StoreAnswer<'_, Vec<KeyRecord>> {
        let query =
            sql("SELECT * FROM data_key WHERE tenant = $1 AND purpose = $2 AND period = $3 ORDER BY version DESC");
        Box::pin(self.read(query.bind(tenant).bind(purpose.code()).bind(period.to_string())))
    }

    fn list(&self, tenant: Id<Tenant>) -> StoreAnswer<'_, Vec<KeyRecord>> {
        let query = sql("SELECT * FROM data_key WHERE tenant = $1 ORDER BY purpose, period, version").bind(tenant);
        Box::pin(self.read(query))
    }

    fn insert_if_absent(&self, record: KeyRecord) -> StoreAnswer<'_, ()> {
        let query = sql(
            "INSERT INTO data_key (tenant, id, purpose, period, version, state, kek, wrapped, check_value, reserved, \
             created_at, active_from) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING",
        )
        .bind(record.tenant)
        .bind(record.id)
        .bind(record.purpose.code())
        .bind(record.period.to_string())
        .bind(record.version)
        .bind(record.state.code())
        .bind(record.wrapped.kek)
        .bind(record.wrapped.bytes)
        .bind(record.check_value)
        .bind(record.reserved)
        .bind(record.created_at)
        .bind(record.active_from);
        Box::pin(async move { self.write(query).await.map(|_| ()) })
    }

    fn reserve(&self, tenant: Id<Tenant>, id: Id<DataKey>, seals: i64, limit: i64) -> StoreAnswer<'_, bool> {
        let query = sql("UPDATE data_key SET reserved = reserved + $3 \
             WHERE tenant = $1 AND id = $2 AND state = 'live' AND reserved + $3 <= $4");
        Box::pin(self.write(query.bind(tenant).bind(id).bind(seals).bind(limit)))
    }

    fn retire(&self, tenant: Id<Tenant>, id: Id<DataKey>, state: KeyState) -> StoreAnswer<'_, ()> {
        let query = match state {
            KeyState::Rotated => {
                sql("UPDATE data_key SET state = $3 WHERE tenant = $1 AND id = $2 AND state IN ('live', 'full')")
            }
            KeyState::Full | KeyState::Live | KeyState::Destroyed => {
                sql("UPDATE data_key SET state = $3 WHERE tenant = $1 AND id = $2 AND state = 'live'")
            }
        };
        let query = query.bind(tenant).bind(id).bind(state.code());
        Box::pin(async move { self.write(query).await.map(|_| ()) })
    }

    fn rewrap(
        &self,
        tenant: Id<Tenant>,
        id: Id<DataKey>,
        previous_kek: String,
        wrapped: WrappedKey,
    ) -> StoreAnswer<'_, bool> {
        let query = sql("UPDATE data_key SET kek = $3, wrapped = $4 WHERE tenant = $1 AND id = $2 AND kek = $5");
        let query = query.bind(tenant).bind(id).bind(wrapped.kek).bind(wrapped.bytes).bind(previous_kek);
        Box::pin(self.write(query))
    }
}

/// Destroys every data key of `tenant`: its wrapped bytes are overwritten, and the rows stay as the note of it. Gives the
/// number of keys. Processes that run forget theirs when they look the next time.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn destroy_keys(tx: &mut Tx, tenant: Id<Tenant>) -> Result<u64, DbError> {
    let query = sql("UPDATE data_key SET state = 'destroyed', kek = '', wrapped = $2, check_value = $2 \
         WHERE tenant = $1 AND state <> 'destroyed'");
    tx.execute(query.bind(tenant).bind(Vec::<u8>::new())).await
}

fn record(row: &Row) -> Result<KeyRecord, VaultError> {
    let id: Id<DataKey> = row.get("id").map_err(unavailable)?;
    let text = |column| row.get::<String>(column).map_err(unavailable);
    let unknown = |column| move || VaultError::UnreadableKey { key: id, column };
    Ok(KeyRecord {
        tenant: row.get("tenant").map_err(unavailable)?,
        id,
        purpose: KeyPurpose::from_code(&text("purpose")?).ok_or_else(unknown("purpose"))?,
        period: Period::from_code(&text("period")?).ok_or_else(unknown("period"))?,
        version: row.get("version").map_err(unavailable)?,
        state: KeyState::from_code(&text("state")?).ok_or_else(unknown("state"))?,
        wrapped: WrappedKey { kek: text("kek")?, bytes: row.get("wrapped").map_err(unavailable)? },
        check_value: row.get("check_value").map_err(unavailable)?,
        created_at: row.get("created_at").map_err(unavailable)?,
        active_from: row.get("active_from").map_err(unavailable)?,
        reserved: row.get("reserved").map_err(unavailable)?,
    })
}

pub(super) fn unavailable(error: DbError) -> VaultError {
    VaultError::StoreUnavailable(Arc::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::{Instruments, SystemEntropy},
        vault::{Kek, LocalKeks, Place, RetentionClass, SealLimits, Vault},
    };

    enum Message {}

    const CLINIC: Id<Tenant> = Id::from_bytes([1; 16]);
    const ROW: Id<Message> = Id::from_bytes([9; 16]);
    const HERE: Place<'static> = Place::new("message", &ROW, "body");
    const LIMITS: SealLimits = SealLimits { block: 4, per_key: 8 };

    fn vault(db: &Db, keks: &[&str]) -> Vault {
        let mut provider = LocalKeks::new(Arc::new(SystemEntropy));
        provider.insert(CLINIC, keks.iter().map(|kek| Kek::from_base64(kek).unwrap()).collect()).unwrap();
        let store = Arc::new(DbKeyStore::new(db.clone()));
        Vault::with_limits(store, Arc::new(provider), Instruments::system(), LIMITS)
    }

    #[tokio::test]
    async fn two_processes_share_keys_and_their_limit_through_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", folder.path().join("keys.db").display())).await.unwrap();
        let kek = Kek::generate(&SystemEntropy).to_base64().to_string();
        let (one, two) = (vault(&db, &[&kek]), vault(&db, &[&kek]));
        let (first, second) = tokio::join!(
            one.seal(CLINIC, RetentionClass::Clinical, HERE, b"a"),
            two.seal(CLINIC, RetentionClass::Clinical, HERE, b"b"),
        );
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(first.key_id(), second.key_id());
        assert_eq!(&**one.open(CLINIC, HERE, &second).await.unwrap(), b"b");

        for _ in 0..8 {
            one.seal(CLINIC, RetentionClass::Clinical, HERE, b"c").await.unwrap();
        }
        let keys = one.list_keys(CLINIC).await.unwrap();
        assert_eq!(keys.iter().map(|key| key.state).collect::<Vec<_>>(), [KeyState::Full, KeyState::Live]);
        assert_eq!(keys.iter().map(|key| key.reserved).collect::<Vec<_>>(), [8, 8]);

        let fresh = Kek::generate(&SystemEntropy).to_base64().to_string();
        assert_eq!(vault(&db, &[&fresh, &kek]).rotate_kek(CLINIC).await.unwrap(), 2);
        let only_fresh = vault(&db, &[&fresh]);
        only_fresh.check(CLINIC).await.unwrap();
        assert_eq!(&**only_fresh.open(CLINIC, HERE, &first).await.unwrap(), b"a");
        assert!(matches!(vault(&db, &[&kek]).check(CLINIC).await, Err(VaultError::WrongKek { .. })));

        assert_eq!(only_fresh.rotate_data_keys(CLINIC).await.unwrap().keys, 2);
        let renewed = only_fresh.reseal(CLINIC, HERE, &first).await.unwrap().unwrap();
        assert_eq!(&**only_fresh.open(CLINIC, HERE, &renewed).await.unwrap(), b"a");
        let theirs = Id::<Tenant>::from_bytes([2; 16]);
        assert!(only_fresh.list_keys(theirs).await.unwrap().is_empty());
    }
}
