//! Our own holds of slots: one row a slot, which arbitrates between patients of ours before the EHR is asked.

use crate::{
    db::{Command, Db, DbError, Row, Tx, sql},
    fhir::ResourceRef,
    kernel::{Id, Tenant},
};
use jiff::{SignedDuration, Timestamp};

/// How long a hold keeps others off, counted from the last try.
const HOLD: SignedDuration = SignedDuration::from_mins(5);

/// Marks ids of whoever holds a slot: a workflow.
pub enum SlotHolder {}

#[derive(Clone)]
pub(super) struct SlotHolds {
    db: Db,
}

impl SlotHolds {
    pub(super) const fn new(db: Db) -> Self {
        Self { db }
    }

    /// Takes or renews the hold; `false` when another has it. `leaves` are the slots that the move leaves free, kept for
    /// the case that it is picked up again after the appointment has forgotten them.
    pub(super) async fn take(
        &self,
        tenant: Id<Tenant>,
        slot: &ResourceRef,
        holder: Id<SlotHolder>,
        leaves: &[ResourceRef],
        now: Timestamp,
    ) -> Result<bool, DbError> {
        let leaves: Vec<String> = leaves.iter().map(ToString::to_string).collect();
        let leaves = serde_json::to_string(&leaves).map_err(|_| DbError::Decode { column: "leaves" })?;
        let expires_at = now.checked_add(HOLD).unwrap_or(Timestamp::MAX);
        self.db.execute(Take { tenant, slot: slot.to_string(), holder, leaves, now, expires_at }).await
    }

    /// The slots that the holder's move leaves free.
    pub(super) async fn leaves(
        &self,
        tenant: Id<Tenant>,
        slot: &ResourceRef,
        holder: Id<SlotHolder>,
    ) -> Result<Vec<ResourceRef>, DbError> {
        let query = sql("SELECT leaves FROM slot_hold WHERE tenant = $1 AND slot = $2 AND workflow = $3");
        let row = self.db.optional(query.bind(tenant).bind(slot.to_string()).bind(holder)).await?;
        let Some(row) = row else { return Ok(Vec::new()) };
        let leaves: Vec<String> =
            serde_json::from_str(&row.get::<String>("leaves")?).map_err(|_| DbError::Decode { column: "leaves" })?;
        Ok(leaves.iter().filter_map(|slot| slot.parse().ok()).collect())
    }

    /// The slots that somebody holds at `now`.
    pub(super) async fn held(&self, tenant: Id<Tenant>, now: Timestamp) -> Result<Vec<String>, DbError> {
        let query = sql("SELECT slot FROM slot_hold WHERE tenant = $1 AND expires_at > $2");
        self.db.all(query.bind(tenant).bind(now)).await?.iter().map(|row| row.get("slot")).collect()
    }

    /// The holds that have run out, with their holders.
    pub(super) async fn expired(
        &self,
        tenant: Id<Tenant>,
        now: Timestamp,
    ) -> Result<Vec<(ResourceRef, Id<SlotHolder>)>, DbError> {
        let query = sql("SELECT slot, workflow FROM slot_hold WHERE tenant = $1 AND expires_at <= $2 ORDER BY slot");
        let rows = self.db.all(query.bind(tenant).bind(now)).await?;
        let hold = |row: &Row| {
            let slot = row.get::<String>("slot")?.parse().map_err(|_| DbError::Decode { column: "slot" })?;
            Ok((slot, row.get("workflow")?))
        };
        rows.iter().map(hold).collect()
    }

    pub(super) async fn release(
        &self,
        tenant: Id<Tenant>,
        slot: &ResourceRef,
        holder: Id<SlotHolder>,
    ) -> Result<(), DbError> {
        self.db.execute(Release { tenant, slot: slot.to_string(), holder }).await
    }
}

struct Take {
    tenant: Id<Tenant>,
    slot: String,
    holder: Id<SlotHolder>,
    leaves: String,
    now: Timestamp,
    expires_at: Timestamp,
}

impl Command for Take {
    type Output = bool;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let taken = tx
            .execute(
                sql("INSERT INTO slot_hold (tenant, slot, workflow, leaves, expires_at) VALUES ($1, $2, $3, $4, $5) \
                     ON CONFLICT (tenant, slot) DO UPDATE SET \
                     leaves = excluded.leaves, workflow = excluded.workflow, expires_at = excluded.expires_at \
                     WHERE slot_hold.workflow = excluded.workflow OR slot_hold.expires_at <= $6")
                .bind(self.tenant)
                .bind(self.slot.clone())
                .bind(self.holder)
                .bind(self.leaves.clone())
                .bind(self.expires_at)
                .bind(self.now),
            )
            .await?;
        Ok(taken == 1)
    }
}

struct Release {
    tenant: Id<Tenant>,
    slot: String,
    holder: Id<SlotHolder>,
}

impl Command for Release {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("DELETE FROM slot_hold WHERE tenant = $1 AND slot = $2 AND workflow = $3")
                .bind(self.tenant)
                .bind(self.slot.clone())
                .bind(self.holder),
        )
        .await
        .map(|_| ())
    }
}
