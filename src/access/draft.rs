//! What a person has typed and not sent, kept sealed, one per person and patient.

use super::AccessError;
use crate::{
    db::{Command, Db, DbError, Tx, sql},
    kernel::{Id, Instruments, Patient, Phi, StaffUser, Tenant},
    vault::{Place, RetentionClass, Sealed, Vault},
};
use jiff::Timestamp;

/// Marks ids of drafts.
pub enum Draft {}

/// Keeps drafts through idle ends and lost connections.
#[derive(Clone)]
pub struct Drafts {
    db: Db,
    vault: Vault,
    instruments: Instruments,
}

impl Drafts {
    /// Drafts in this database.
    #[must_use]
    pub const fn new(db: Db, vault: Vault, instruments: Instruments) -> Self {
        Self { db, vault, instruments }
    }

    /// Keeps `text` as what the person has typed to the patient; an empty one is forgotten.
    ///
    /// # Errors
    /// [`AccessError`] as database and vault fail.
    pub async fn keep(
        &self,
        tenant: Id<Tenant>,
        staff: Id<StaffUser>,
        patient: Id<Patient>,
        text: &Phi<String>,
    ) -> Result<(), AccessError> {
        if text.as_str().is_empty() {
            return self.forget(tenant, staff, patient).await;
        }
        match self.keep_once(tenant, staff, patient, text).await {
            // Two windows of one person, both with a first draft: the second finds the first one's row.
            Err(AccessError::Database(DbError::UniqueViolation { .. })) => {
                self.keep_once(tenant, staff, patient, text).await
            }
            result => result,
        }
    }

    /// What the person has typed to the patient, if anything.
    ///
    /// # Errors
    /// [`AccessError`] as database and vault fail.
    pub async fn of(
        &self,
        tenant: Id<Tenant>,
        staff: Id<StaffUser>,
        patient: Id<Patient>,
    ) -> Result<Option<Phi<String>>, AccessError> {
        let row = self
            .db
            .optional(
                sql("SELECT id, body FROM draft WHERE tenant = $1 AND staff_user = $2 AND patient = $3")
                    .bind(tenant)
                    .bind(staff)
                    .bind(patient),
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let sealed = Sealed::from_bytes(row.get("body")?)?;
        Ok(Some(self.vault.open_text(tenant, place(&row.get("id")?), &sealed).await?))
    }

    /// Forgets what the person has typed to the patient.
    ///
    /// # Errors
    /// [`AccessError`] as the database fails.
    pub async fn forget(
        &self,
        tenant: Id<Tenant>,
        staff: Id<StaffUser>,
        patient: Id<Patient>,
    ) -> Result<(), AccessError> {
        self.db.execute(Forget { tenant, staff, patient }).await.map_err(AccessError::from)
    }

    async fn keep_once(
        &self,
        tenant: Id<Tenant>,
        staff: Id<StaffUser>,
        patient: Id<Patient>,
        text: &Phi<String>,
    ) -> Result<(), AccessError> {
        let known = self
            .db
            .optional(
                sql("SELECT id FROM draft WHERE tenant = $1 AND staff_user = $2 AND patient = $3")
                    .bind(tenant)
                    .bind(staff)
                    .bind(patient),
            )
            .await?;
        let known = known.map(|row| row.get::<Id<Draft>>("id")).transpose()?;
        let id = known.unwrap_or_else(|| self.instruments.new_id());
        let body = self.vault.seal_text(tenant, RetentionClass::Administrative, place(&id), text).await?;
        let now = self.instruments.now();
        self.db.execute(Keep { tenant, staff, patient, id, is_new: known.is_none(), body, now }).await?;
        Ok(())
    }
}

const fn place(id: &Id<Draft>) -> Place<'_> {
    Place::new("draft", id, "body")
}

struct Keep {
    tenant: Id<Tenant>,
    staff: Id<StaffUser>,
    patient: Id<Patient>,
    id: Id<Draft>,
    is_new: bool,
    body: Sealed,
    now: Timestamp,
}

impl Command for Keep {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let statement = if self.is_new {
            sql("INSERT INTO draft (tenant, id, body, updated_at, staff_user, patient) VALUES ($1, $2, $3, $4, $5, $6)")
        } else {
            // A draft that was sent meanwhile is gone: then nothing is left to keep.
            sql("UPDATE draft SET body = $3, updated_at = $4 \
                 WHERE tenant = $1 AND id = $2 AND staff_user = $5 AND patient = $6")
        };
        tx.execute(
            statement
                .bind(self.tenant)
                .bind(self.id)
                .bind(self.body.as_bytes())
                .bind(self.now)
                .bind(self.staff)
                .bind(self.patient),
        )
        .await
        .map(|_| ())
    }
}

struct Forget {
    tenant: Id<Tenant>,
    staff: Id<StaffUser>,
    patient: Id<Patient>,
}

impl Command for Forget {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("DELETE FROM draft WHERE tenant = $1 AND staff_user = $2 AND patient = $3")
                .bind(self.tenant)
                .bind(self.staff)
                .bind(self.patient),
        )
        .await
        .map(|_| ())
    }
}
