//! Launches under way: what must be remembered between the redirect to the EHR and the callback.

use super::AccessError;
use crate::{
    db::{Command, Db, DbError, Tx, sql},
    kernel::{Id, Instruments, Tenant},
    vault::{Place, RetentionClass, Sealed, Vault},
};
use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

/// How long a person may take to sign in at the EHR.
const LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// A launch that came back.
pub struct PendingLaunch {
    /// The tenant that it was begun for.
    pub tenant: Id<Tenant>,
    /// What was remembered: verifier, nonce, issuer and the like, as `smart` wrote it.
    pub body: Zeroizing<Vec<u8>>,
}

/// Remembers launches by the hash of their `state` value, each for one use.
#[derive(Clone)]
pub struct LaunchStates {
    db: Db,
    vault: Vault,
    instruments: Instruments,
}

impl LaunchStates {
    /// Launches in this database.
    #[must_use]
    pub const fn new(db: Db, vault: Vault, instruments: Instruments) -> Self {
        Self { db, vault, instruments }
    }

    /// Remembers `body` under `state` for ten minutes, sealed. `state` must be random.
    ///
    /// # Errors
    /// [`AccessError`] as database and vault fail.
    pub async fn remember(&self, tenant: Id<Tenant>, state: &str, body: &[u8]) -> Result<(), AccessError> {
        let hash = hash(state);
        let body = self.vault.seal(tenant, RetentionClass::Session, place(state), body).await?;
        let now = self.instruments.now();
        self.db.execute(Remember { tenant, hash, body, now }).await.map_err(AccessError::from)
    }

    /// What was remembered under `state`, and forgets it. `None` when it is unknown, used, or too old.
    ///
    /// # Errors
    /// [`AccessError`] as database and vault fail.
    pub async fn take(&self, state: &str) -> Result<Option<PendingLaunch>, AccessError> {
        let hash = hash(state);
        let Some((tenant, body)) = self.db.execute(Take { hash, now: self.instruments.now() }).await? else {
            return Ok(None);
        };
        let body = self.vault.open(tenant, place(state), &Sealed::from_bytes(body)?).await?;
        Ok(Some(PendingLaunch { tenant, body }))
    }
}

fn hash(state: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, state.as_bytes()).as_ref().to_vec()
}

const fn place(state: &str) -> Place<'_> {
    Place::keyed("launch_state", state, "body")
}

struct Remember {
    tenant: Id<Tenant>,
    hash: Vec<u8>,
    body: Sealed,
    now: Timestamp,
}

impl Command for Remember {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(sql("DELETE FROM launch_state WHERE expires_at <= $1").bind(self.now)).await?;
        tx.execute(
            sql("INSERT INTO launch_state (state_hash, tenant, body, expires_at) VALUES ($1, $2, $3, $4)")
                .bind(self.hash.as_slice())
                .bind(self.tenant)
                .bind(self.body.as_bytes())
                .bind(self.now.checked_add(LIFETIME).unwrap_or(Timestamp::MAX)),
        )
        .await
        .map(|_| ())
    }
}

struct Take {
    hash: Vec<u8>,
    now: Timestamp,
}

impl Command for Take {
    type Output = Option<(Id<Tenant>, Vec<u8>)>;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Self::Output, DbError> {
        let row = tx
            .optional(
                sql("DELETE FROM launch_state WHERE state_hash = $1 RETURNING tenant, body, expires_at")
                    .bind(self.hash.as_slice()),
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        if row.get::<Timestamp>("expires_at")? <= self.now {
            return Ok(None);
        }
        Ok(Some((row.get("tenant")?, row.get("body")?)))
    }
}
