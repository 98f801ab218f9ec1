//! Our own holds of slots: one row a slot, which arbitrates between patients of ours before the EHR is asked.

use crate::{
    db::{Command, Db, DbError, Tx, sql},
    ehr::EhrError,
    fhir::ResourceRef,
    jobs::{NewJob, enqueue},
    kernel::{Id, Instruments, Tenant},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a hold keeps others off, counted from the last try.
const HOLD: SignedDuration = SignedDuration::from_mins(5);

/// How often the end of a hold is tried before a person is asked to see to it: about four hours with the worker's
/// backoff.
const RELEASES: u32 = 36;

/// Marks ids of whoever holds a slot: a workflow.
pub enum SlotHolder {}

/// A hold may have run out; the payload is the slot and its holder.
pub const RELEASE_SLOT_HOLD: &str = "ReleaseSlotHold";

/// The payload of [`RELEASE_SLOT_HOLD`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HeldSlot {
    pub(super) slot: String,
    pub(super) holder: Id<SlotHolder>,
}

/// A slot that is held for a move.
pub(super) struct Hold {
    pub(super) tenant: Id<Tenant>,
    pub(super) slot: ResourceRef,
    pub(super) holder: Id<SlotHolder>,
    /// What is to be moved there.
    pub(super) appointment: ResourceRef,
    /// The slots that the move leaves free, for when it is picked up again after the appointment has forgotten them.
    pub(super) leaves: Vec<ResourceRef>,
}

#[derive(Clone)]
pub(super) struct SlotHolds {
    db: Db,
    instruments: Instruments,
}

impl SlotHolds {
    pub(super) const fn new(db: Db, instruments: Instruments) -> Self {
        Self { db, instruments }
    }

    /// Takes or renews the hold, and sees to its end; `false` when another has it, or had it and the EHR's hold is still to be
    /// given back.
    pub(super) async fn take(&self, hold: &Hold) -> Result<bool, EhrError> {
        let now = self.instruments.now();
        let expires_at = now.checked_add(HOLD).unwrap_or(Timestamp::MAX);
        let leaves: Vec<String> = hold.leaves.iter().map(ToString::to_string).collect();
        let place = HeldSlot { slot: hold.slot.to_string(), holder: hold.holder };
        let release = NewJob::new(&self.instruments, hold.tenant, RELEASE_SLOT_HOLD, &place)
            .map_err(|_| EhrError::Unreadable)?
            .unique(format!("{} {}", place.slot, place.holder))
            .attempts(RELEASES)
            .at(expires_at);
        let take = Take {
            tenant: hold.tenant,
            held: place,
            appointment: hold.appointment.to_string(),
            leaves: serde_json::to_string(&leaves).map_err(|_| EhrError::Unreadable)?,
            expires_at,
            release,
        };
        Ok(self.db.execute(take).await?)
    }

    pub(super) async fn get(
        &self,
        tenant: Id<Tenant>,
        slot: &ResourceRef,
        holder: Id<SlotHolder>,
    ) -> Result<Option<Hold>, DbError> {
        let query = sql("SELECT appointment, leaves FROM slot_hold WHERE tenant = $1 AND slot = $2 AND workflow = $3");
        let row = self.db.optional(query.bind(tenant).bind(slot.to_string()).bind(holder)).await?;
        let Some(row) = row else { return Ok(None) };
        let appointment = row.get::<String>("appointment")?;
        let leaves: Vec<String> =
            serde_json::from_str(&row.get::<String>("leaves")?).map_err(|_| DbError::Decode { column: "leaves" })?;
        Ok(Some(Hold {
            tenant,
            slot: slot.clone(),
            holder,
            appointment: appointment.parse().map_err(|_| DbError::Decode { column: "appointment" })?,
            leaves: leaves.iter().filter_map(|slot| slot.parse().ok()).collect(),
        }))
    }

    /// When the hold runs out.
    pub(super) async fn expires_at(&self, hold: &Hold) -> Result<Timestamp, DbError> {
        let query = sql("SELECT expires_at FROM slot_hold WHERE tenant = $1 AND slot = $2");
        self.db.one(query.bind(hold.tenant).bind(hold.slot.to_string())).await?.get("expires_at")
    }

    /// The slots that nobody new can [take](SlotHolds::take): also those of holds that have run out, until they are ended.
    pub(super) async fn held(&self, tenant: Id<Tenant>) -> Result<Vec<String>, DbError> {
        let query = sql("SELECT slot FROM slot_hold WHERE tenant = $1");
        self.db.all(query.bind(tenant)).await?.iter().map(|row| row.get("slot")).collect()
    }

    pub(super) async fn release(
        &self,
        tenant: Id<Tenant>,
        slot: &ResourceRef,
        holder: Id<SlotHolder>,
    ) -> Result<(), DbError> {
        self.db.execute(Release { tenant, slot: slot.to_string(), holder, told: None }).await
    }

    /// Ends the hold here, with the job that tells people of the EHR's.
    pub(super) async fn hand_over(&self, hold: &Hold, told: NewJob) -> Result<(), DbError> {
        let (tenant, slot, holder) = (hold.tenant, hold.slot.to_string(), hold.holder);
        self.db.execute(Release { tenant, slot, holder, told: Some(told) }).await
    }
}

struct Take {
    tenant: Id<Tenant>,
    held: HeldSlot,
    appointment: String,
    leaves: String,
    expires_at: Timestamp,
    release: NewJob,
}

impl Command for Take {
    type Output = bool;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let taken = tx
            .execute(
                sql("INSERT INTO slot_hold (tenant, slot, workflow, appointment, leaves, expires_at) \
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, slot) DO UPDATE SET workflow = excluded.workflow, \
                     appointment = excluded.appointment, leaves = excluded.leaves, expires_at = excluded.expires_at \
                     WHERE slot_hold.workflow = excluded.workflow")
                .bind(self.tenant)
                .bind(self.held.slot.clone())
                .bind(self.held.holder)
                .bind(self.appointment.clone())
                .bind(self.leaves.clone())
                .bind(self.expires_at),
            )
            .await?;
        if taken == 1 {
            enqueue(tx, &self.release).await?;
        }
        Ok(taken == 1)
    }
}

struct Release {
    tenant: Id<Tenant>,
    slot: String,
    holder: Id<SlotHolder>,
    /// Who is told, if the hold was there.
    told: Option<NewJob>,
}

impl Command for Release {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let query = sql("DELETE FROM slot_hold WHERE tenant = $1 AND slot = $2 AND workflow = $3");
        let released = tx.execute(query.bind(self.tenant).bind(self.slot.clone()).bind(self.holder)).await?;
        match self.told.as_ref().filter(|_| released > 0) {
            Some(told) => enqueue(tx, told).await,
            None => Ok(()),
        }
    }
}
