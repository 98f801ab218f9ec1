//! Writing what the EHR tells of a patient, merges included.

use super::PatientError;
use crate::{
    audit::{self, Action, Actor, AuditEntry, AuditSigner},
    db::{Command, DbError, Tx, sql},
    kernel::{Id, Language, Patient, Tenant},
    vault::Sealed,
};
use jiff::Timestamp;

/// A number, sealed.
#[derive(Clone)]
pub(super) struct SealedNumber {
    pub(super) token: Vec<u8>,
    pub(super) key_version: i64,
    pub(super) number: Sealed,
    pub(super) kind: &'static str,
    pub(super) rank: u32,
}

/// Writes a patient whose parts are sealed for the id `patient`.
pub(super) struct WritePatient {
    pub(super) tenant: Id<Tenant>,
    pub(super) patient: Id<Patient>,
    pub(super) fhir_id: String,
    pub(super) version: Option<String>,
    pub(super) identity: Sealed,
    pub(super) language: Option<Language>,
    pub(super) deceased: bool,
    pub(super) zones: String,
    pub(super) numbers: Vec<SealedNumber>,
    pub(super) replaced_by: Option<String>,
    pub(super) replaces: Vec<String>,
    pub(super) now: Timestamp,
    pub(super) signer: AuditSigner,
}

/// What became of the write.
pub(super) enum Written {
    /// It is there, and this patient answers for it.
    As(Id<Patient>),
    /// Meanwhile the FHIR id means another patient of ours: seal again for that one.
    Another(Id<Patient>),
}

impl Command for WritePatient {
    type Output = Written;
    type Error = PatientError;

    async fn run(&self, tx: &mut Tx) -> Result<Written, PatientError> {
        let known = self.map(tx, &self.fhir_id, self.patient).await?;
        if known != self.patient {
            return Ok(Written::Another(known));
        }
        self.write(tx).await?;
        tx.execute(
            sql("UPDATE patient_ehr_id SET version = $3, replaced = $4 WHERE tenant = $1 AND fhir_id = $2")
                .bind(self.tenant)
                .bind(self.fhir_id.clone())
                .bind(self.version.clone())
                .bind(self.replaced_by.is_some()),
        )
        .await?;
        let mut survivor = self.patient;
        for replaced in &self.replaces {
            let other = self.map(tx, replaced, survivor).await?;
            self.merge(tx, other, survivor).await?;
        }
        if let Some(replacement) = &self.replaced_by {
            // Where we have not met the replacement yet, its FHIR id means this patient of ours from now on.
            let other = self.map(tx, replacement, survivor).await?;
            self.merge(tx, survivor, other).await?;
            survivor = other;
        }
        Ok(Written::As(survivor))
    }
}

impl WritePatient {
    /// The patient that `fhir_id` means; `patient` if it meant nobody so far.
    async fn map(&self, tx: &mut Tx, fhir_id: &str, patient: Id<Patient>) -> Result<Id<Patient>, DbError> {
        tx.one(
            sql("INSERT INTO patient_ehr_id (tenant, fhir_id, patient) VALUES ($1, $2, $3) \
                 ON CONFLICT (tenant, fhir_id) DO UPDATE SET patient = patient_ehr_id.patient RETURNING patient")
            .bind(self.tenant)
            .bind(fhir_id)
            .bind(patient),
        )
        .await?
        .get("patient")
    }

    async fn write(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("INSERT INTO patient (tenant, id, identity, language, deceased, zones, refreshed_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                 ON CONFLICT (tenant, id) DO UPDATE SET identity = excluded.identity, language = excluded.language, \
                 deceased = excluded.deceased, zones = excluded.zones")
            .bind(self.tenant)
            .bind(self.patient)
            .bind(self.identity.as_bytes())
            .bind(self.language.map_or("", Language::tag))
            .bind(self.deceased)
            .bind(self.zones.clone())
            // Taken in whole when that is noted, not before.
            .bind(Timestamp::UNIX_EPOCH)
            .bind(self.now),
        )
        .await?;
        tx.execute(
            sql("UPDATE patient_number SET current = 0 WHERE tenant = $1 AND patient = $2")
                .bind(self.tenant)
                .bind(self.patient),
        )
        .await?;
        for number in &self.numbers {
            tx.execute(
                sql("INSERT INTO patient_number (tenant, patient, number_token, key_version, number, kind, rank, current, since) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8) ON CONFLICT (tenant, patient, number_token) DO UPDATE SET \
                     kind = excluded.kind, rank = excluded.rank, current = 1")
                .bind(self.tenant)
                .bind(self.patient)
                .bind(number.token.clone())
                .bind(number.key_version)
                .bind(number.number.as_bytes())
                .bind(number.kind)
                .bind(number.rank)
                .bind(self.now),
            )
            .await?;
        }
        Ok(())
    }

    /// Lets `into` answer for `from` and for all whom `from` answered for.
    async fn merge(&self, tx: &mut Tx, from: Id<Patient>, into: Id<Patient>) -> Result<(), DbError> {
        if from == into {
            return Ok(());
        }
        for statement in [
            "UPDATE patient SET merged_into = $3 WHERE tenant = $1 AND merged_into = $2",
            "UPDATE patient SET merged_into = $3 WHERE tenant = $1 AND id = $2",
            "UPDATE patient_ehr_id SET patient = $3, replaced = 1 WHERE tenant = $1 AND patient = $2",
        ] {
            tx.execute(sql(statement).bind(self.tenant).bind(from).bind(into)).await?;
        }
        let entry = AuditEntry::new(Actor::System("patient"), Action::Merge, "patient-link")
            .about("patient", from)
            .about("patient", into);
        audit::record(tx, &entry, &self.signer).await?;
        Ok(())
    }
}
