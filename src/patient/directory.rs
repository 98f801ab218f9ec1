//! Finding patients, and taking in what the EHR tells of them.

use super::{
    EhrPatient, NumberKind, PatientError, PatientNumber, PatientRecord, PersonName, WITH_MERGED,
    holder::WITH_NUMBER,
    refresh::{SealedNumber, WritePatient, Written},
    zone,
};
use crate::{
    audit::AuditSigner,
    db::{Command, Db, DbError, Row, Tx, sql, sql_built},
    kernel::{Id, Instruments, Language, Patient, Phi, PhoneNumber, Tenant},
    vault::{IndexToken, Place, RetentionClass, Sealed, Vault},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The field under which phone numbers are indexed, everywhere.
const PHONE: &str = "phone";

/// What is sealed in `patient.identity`.
#[derive(Serialize, Deserialize)]
struct Identity {
    name: PersonName,
    birth_date: Option<String>,
    gender: Option<String>,
}

/// Every patient of every tenant.
#[derive(Clone)]
pub struct Directory {
    db: Db,
    vault: Vault,
    instruments: Instruments,
}

impl Directory {
    /// Over this database and vault.
    #[must_use]
    pub const fn new(db: Db, vault: Vault, instruments: Instruments) -> Self {
        Self { db, vault, instruments }
    }

    /// The blind index of a phone number.
    ///
    /// # Errors
    /// [`PatientError::Vault`] when the search key is not to be had.
    pub async fn number_token(&self, tenant: Id<Tenant>, number: &PhoneNumber) -> Result<IndexToken, PatientError> {
        Ok(self.vault.index_token(tenant, PHONE, number.as_e164()).await?)
    }

    /// Takes in what the EHR tells of a patient. Gives who answers for it: after a merge, the survivor.
    ///
    /// # Errors
    /// [`PatientError`] as vault or database are away.
    pub async fn refresh(&self, tenant: Id<Tenant>, told: &EhrPatient) -> Result<Id<Patient>, PatientError> {
        let mut patient = match self.id_of(tenant, &told.fhir_id).await? {
            Some(known) => known,
            None => self.instruments.new_id(),
        };
        loop {
            let command = self.sealed_for(tenant, patient, told).await?;
            match self.db.execute(command).await? {
                Written::As(survivor) => return Ok(survivor),
                Written::Another(other) => patient = other,
            }
        }
    }

    async fn sealed_for(
        &self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
        told: &EhrPatient,
    ) -> Result<WritePatient, PatientError> {
        let identity = Identity {
            name: told.name.expose().clone(),
            birth_date: told.birth_date.expose().clone(),
            gender: told.gender.expose().clone(),
        };
        let identity = serde_json::to_vec(&identity).map_err(|_| PatientError::Stored)?;
        let place = Place::new("patient", &patient, "identity");
        let identity = self.vault.seal(tenant, RetentionClass::Directory, place, &identity).await?;
        let mut numbers = Vec::with_capacity(told.telecom.len());
        for telecom in &told.telecom {
            let index = self.number_token(tenant, &telecom.number).await?;
            let place = Place::new("patient_number", &patient, "number");
            let text = telecom.number.as_e164();
            numbers.push(SealedNumber {
                token: index.bytes.to_vec(),
                key_version: index.key_version,
                number: self.vault.seal(tenant, RetentionClass::Directory, place, text.as_bytes()).await?,
                kind: telecom.kind.code(),
                rank: telecom.rank,
            });
        }
        Ok(WritePatient {
            tenant,
            patient,
            fhir_id: told.fhir_id.clone(),
            version: told.version.clone(),
            identity,
            language: told.language,
            deceased: told.deceased,
            zones: zone::stored(&told.zones),
            numbers,
            replaced_by: told.replaced_by.clone(),
            replaces: told.replaces.clone(),
            now: self.instruments.now(),
            signer: AuditSigner::new(&self.vault, self.instruments.clone(), tenant).await?,
        })
    }

    /// Our id of the patient that the EHR calls `fhir_id`.
    ///
    /// # Errors
    /// [`PatientError::Db`] when the database is away.
    pub async fn id_of(&self, tenant: Id<Tenant>, fhir_id: &str) -> Result<Option<Id<Patient>>, PatientError> {
        let query = sql("SELECT patient FROM patient_ehr_id WHERE tenant = $1 AND fhir_id = $2");
        let row = self.db.optional(query.bind(tenant).bind(fhir_id)).await?;
        Ok(row.map(|row| row.get("patient")).transpose()?)
    }

    /// Notes that all that goes with `patient` was taken in as the EHR had it at `at`: what they agreed to among it. Said
    /// last, so that whoever fails before it takes everything in again.
    ///
    /// # Errors
    /// [`PatientError::Db`] when the database is away.
    pub async fn note_refreshed(
        &self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
        at: Timestamp,
    ) -> Result<(), PatientError> {
        Ok(self.db.execute(NoteRefreshed { tenant, patient, at }).await?)
    }

    /// When the patient that the EHR calls `fhir_id` was last taken in whole; `None` when it never was.
    ///
    /// # Errors
    /// [`PatientError::Db`] when the database is away.
    pub async fn refreshed_at(&self, tenant: Id<Tenant>, fhir_id: &str) -> Result<Option<Timestamp>, PatientError> {
        let query = sql(
            "SELECT p.refreshed_at FROM patient_ehr_id e JOIN patient p ON p.tenant = e.tenant AND p.id = e.patient \
             WHERE e.tenant = $1 AND e.fhir_id = $2",
        );
        let row = self.db.optional(query.bind(tenant).bind(fhir_id)).await?;
        Ok(row.map(|row| row.get("refreshed_at")).transpose()?)
    }

    /// The patient with our id; the survivor where it was merged.
    ///
    /// # Errors
    /// [`PatientError`] as vault or database are away.
    pub async fn by_id(&self, tenant: Id<Tenant>, id: Id<Patient>) -> Result<Option<PatientRecord>, PatientError> {
        let row = self
            .db
            .optional(
                sql("SELECT s.id, s.identity, s.language, s.deceased, s.zones FROM patient p \
                     JOIN patient s ON s.tenant = p.tenant AND s.id = COALESCE(p.merged_into, p.id) WHERE p.tenant = $1 AND p.id = $2")
                .bind(tenant)
                .bind(id),
            )
            .await?;
        match row {
            Some(row) => Ok(Some(self.record(tenant, &row).await?)),
            None => Ok(None),
        }
    }

    /// The patient that the EHR calls `fhir_id`.
    ///
    /// # Errors
    /// [`PatientError`] as vault or database are away.
    pub async fn by_fhir_id(&self, tenant: Id<Tenant>, fhir_id: &str) -> Result<Option<PatientRecord>, PatientError> {
        match self.id_of(tenant, fhir_id).await? {
            Some(id) => self.by_id(tenant, id).await,
            None => Ok(None),
        }
    }

    /// Every living patient who has this number now. More than one: a person decides who it is.
    ///
    /// # Errors
    /// [`PatientError`] as vault or database are away.
    pub async fn with_number(&self, tenant: Id<Tenant>, token: &[u8]) -> Result<Vec<PatientRecord>, PatientError> {
        let rows = self.db.all(sql(WITH_NUMBER).bind(tenant).bind(token)).await?;
        let mut patients = Vec::with_capacity(rows.len());
        for row in &rows {
            patients.extend(self.by_id(tenant, row.get("id")?).await?);
        }
        Ok(patients)
    }

    /// The ids under which rows of `patient` may stand: its own, and those of the patients that were merged into it.
    ///
    /// # Errors
    /// [`PatientError::Db`] when the database is away.
    pub async fn ids_of(&self, tenant: Id<Tenant>, patient: Id<Patient>) -> Result<Vec<Id<Patient>>, PatientError> {
        let query = sql_built(format!("SELECT id FROM {WITH_MERGED} AS whole")).bind(tenant).bind(patient);
        let rows = self.db.all(query).await?;
        let mut ids: Vec<Id<Patient>> = rows.iter().map(|row| row.get("id")).collect::<Result<_, DbError>>()?;
        ids.sort_unstable();
        Ok(ids)
    }

    /// Keeps the names of the patient's medications and conditions for the content guard.
    ///
    /// # Errors
    /// [`PatientError`] as vault or database are away.
    pub async fn set_chart_terms(
        &self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
        terms: &Phi<Vec<(String, String)>>,
    ) -> Result<(), PatientError> {
        let plain = serde_json::to_vec(terms.expose()).map_err(|_| PatientError::Stored)?;
        let place = Place::new("patient", &patient, "chart_terms");
        let sealed = self.vault.seal(tenant, RetentionClass::Directory, place, &plain).await?;
        self.db.execute(SetChartTerms { tenant, patient, sealed, now: self.instruments.now() }).await?;
        Ok(())
    }

    /// The names kept by [`Directory::set_chart_terms`], each with its kind, and when they were read from the EHR.
    ///
    /// # Errors
    /// [`PatientError`] as vault or database are away.
    pub async fn chart_terms(
        &self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
    ) -> Result<Option<(Phi<Vec<(String, String)>>, Timestamp)>, PatientError> {
        let query = sql("SELECT chart_terms, chart_terms_at FROM patient WHERE tenant = $1 AND id = $2");
        let Some(row) = self.db.optional(query.bind(tenant).bind(patient)).await? else { return Ok(None) };
        let Some(sealed) = row.get::<Option<Vec<u8>>>("chart_terms")? else { return Ok(None) };
        let place = Place::new("patient", &patient, "chart_terms");
        let plain = self.vault.open(tenant, place, &Sealed::from_bytes(sealed)?).await?;
        let terms = serde_json::from_slice(&plain).map_err(|_| PatientError::Stored)?;
        Ok(Some((Phi::new(terms), row.get("chart_terms_at")?)))
    }

    /// When the chart terms of `patient` were last set.
    ///
    /// # Errors
    /// [`PatientError::Db`] when the database is away.
    pub async fn chart_terms_at(
        &self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
    ) -> Result<Option<Timestamp>, PatientError> {
        let query = sql("SELECT chart_terms_at FROM patient WHERE tenant = $1 AND id = $2");
        let row = self.db.optional(query.bind(tenant).bind(patient)).await?;
        Ok(row.map(|row| row.get::<Option<Timestamp>>("chart_terms_at")).transpose()?.flatten())
    }

    async fn record(&self, tenant: Id<Tenant>, row: &Row) -> Result<PatientRecord, PatientError> {
        let id = row.get::<Id<Patient>>("id")?;
        let sealed = Sealed::from_bytes(row.get("identity")?)?;
        let plain = self.vault.open(tenant, Place::new("patient", &id, "identity"), &sealed).await?;
        let identity: Identity = serde_json::from_slice(&plain).map_err(|_| PatientError::Stored)?;
        // After a merge several FHIR ids mean this patient; the EHR keeps the one that nothing has replaced.
        let fhir = self
            .db
            .one(
                sql("SELECT fhir_id FROM patient_ehr_id WHERE tenant = $1 AND patient = $2 ORDER BY replaced, fhir_id LIMIT 1")
                    .bind(tenant)
                    .bind(id),
            )
            .await?;
        Ok(PatientRecord {
            id,
            fhir_id: fhir.get("fhir_id")?,
            name: Phi::new(identity.name),
            birth_date: Phi::new(identity.birth_date),
            gender: Phi::new(identity.gender),
            language: Language::from_tag(&row.get::<String>("language")?),
            deceased: row.get("deceased")?,
            zones: zone::read(&row.get::<String>("zones")?),
            numbers: self.numbers(tenant, id).await?,
        })
    }

    async fn numbers(&self, tenant: Id<Tenant>, patient: Id<Patient>) -> Result<Vec<PatientNumber>, PatientError> {
        let query = sql("SELECT number_token, number, kind, rank FROM patient_number \
             WHERE tenant = $1 AND patient = $2 AND current = 1 ORDER BY rank");
        let rows = self.db.all(query.bind(tenant).bind(patient)).await?;
        let mut numbers = Vec::with_capacity(rows.len());
        for row in &rows {
            let token: Vec<u8> = row.get("number_token")?;
            let sealed = Sealed::from_bytes(row.get("number")?)?;
            let place = Place::new("patient_number", &patient, "number");
            let number = self.vault.open_text(tenant, place, &sealed).await?;
            numbers.push(PatientNumber {
                number: PhoneNumber::parse(number.as_str()).map_err(|_| PatientError::Stored)?,
                token,
                kind: NumberKind::from_code(&row.get::<String>("kind")?),
                rank: row.get("rank")?,
            });
        }
        Ok(numbers)
    }
}

/// Whether another living patient than `patient` has this number now, in this transaction.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn is_shared(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number_token: &[u8],
    patient: Id<Patient>,
) -> Result<bool, DbError> {
    let other = tx
        .optional(
            sql("SELECT 1 AS other FROM patient_number n JOIN patient p ON p.tenant = n.tenant AND p.id = n.patient \
                 JOIN patient s ON s.tenant = p.tenant AND s.id = COALESCE(p.merged_into, p.id) \
                 WHERE n.tenant = $1 AND n.number_token = $2 AND n.current = 1 AND s.deceased = 0 AND s.id <> $3 LIMIT 1")
            .bind(tenant)
            .bind(number_token)
            .bind(patient),
        )
        .await?;
    Ok(other.is_some())
}

struct SetChartTerms {
    tenant: Id<Tenant>,
    patient: Id<Patient>,
    sealed: Sealed,
    now: Timestamp,
}

impl Command for SetChartTerms {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("UPDATE patient SET chart_terms = $3, chart_terms_at = $4 WHERE tenant = $1 AND id = $2")
                .bind(self.tenant)
                .bind(self.patient)
                .bind(self.sealed.as_bytes())
                .bind(self.now),
        )
        .await
        .map(|_| ())
    }
}

struct NoteRefreshed {
    tenant: Id<Tenant>,
    patient: Id<Patient>,
    at: Timestamp,
}

impl Command for NoteRefreshed {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("UPDATE patient SET refreshed_at = $3 WHERE tenant = $1 AND id = $2")
                .bind(self.tenant)
                .bind(self.patient)
                .bind(self.at),
        )
        .await
        .map(|_| ())
    }
}
