//! The append-only ledger of grants and denials.

use super::suppression::of_number;
use crate::{
    db::{Db, DbError, Tx, sql},
    kernel::{Id, Patient, Tenant},
    vault::Sealed,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Marks ids of entries in the consent ledger.
pub enum ConsentEntry {}

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stored word.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// The value with this stored word.
            #[must_use]
            pub fn from_code(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.code() == code)
            }
        }
    };
}

codes! {
    /// What a text is about, as far as consent is concerned.
    Category {
        /// Visits: reminders, rescheduling, arrival.
        Appointment = "appointment",
        /// Prescriptions that can be renewed.
        Refill = "refill",
        /// Care: follow-up, results that are there, answers of clinical staff.
        Clinical = "clinical",
        /// Bills and payments.
        Billing = "billing",
    }
}
codes! {
    /// Yes or no.
    Decision {
        /// Such texts are wanted.
        Granted = "granted",
        /// They are not.
        Denied = "denied",
    }
}
codes! {
    /// Where a decision came from.
    Source {
        /// A FHIR Consent in the EHR.
        Fhir = "fhir",
        /// A member of staff ticked it at the desk.
        Desk = "desk",
        /// A list that the practice imported.
        Import = "import",
        /// The patient texted START.
        Start = "start",
        /// The patient texted STOP or said so in other words.
        Stop = "stop",
        /// The patient told staff by phone, portal, letter or e-mail.
        Staff = "staff",
        /// The carrier reports that the number is blocked there.
        Carrier = "carrier",
    }
}

/// An entry to be recorded.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Its id.
    pub id: Id<ConsentEntry>,
    /// Whose ledger.
    pub tenant: Id<Tenant>,
    /// The patient, where known.
    pub patient: Option<Id<Patient>>,
    /// The number that it is about; absent means every number of the patient.
    pub number_token: Option<Vec<u8>>,
    /// What texts.
    pub category: Category,
    /// Yes or no.
    pub decision: Decision,
    /// Where it came from.
    pub source: Source,
    /// Which wording the patient saw, with its version; empty where there was none.
    pub wording: String,
    /// Who recorded it: `system`, or a staff id.
    pub recorded_by: String,
    /// What proves it, sealed at (`consent_entry`, id, `proof`).
    pub proof: Option<Sealed>,
    /// The FHIR Consent and its version, so that the same one is recorded once.
    pub ehr_reference: Option<String>,
    /// From when it holds.
    pub effective_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// Appends an entry. The same version of the same FHIR Consent is kept once; says whether it is new.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn record(tx: &mut Tx, entry: &NewEntry) -> Result<bool, DbError> {
    let written = tx
        .execute(
            sql("INSERT INTO consent_entry (tenant, id, patient, number_token, category, decision, source, wording, recorded_by, proof, \
                 ehr_reference, effective_at, recorded_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
                 ON CONFLICT (tenant, ehr_reference, category) WHERE ehr_reference IS NOT NULL DO NOTHING")
            .bind(entry.tenant)
            .bind(entry.id)
            .bind(entry.patient)
            .bind(entry.number_token.clone())
            .bind(entry.category.code())
            .bind(entry.decision.code())
            .bind(entry.source.code())
            .bind(entry.wording.clone())
            .bind(entry.recorded_by.clone())
            .bind(entry.proof.as_ref().map(|proof| proof.as_bytes().to_vec()))
            .bind(entry.ehr_reference.clone())
            .bind(entry.effective_at)
            .bind(entry.recorded_at),
        )
        .await?;
    Ok(written == 1)
}

/// How a patient, on a number, stands towards a category of texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The number said STOP.
    pub suppressed: bool,
    /// Since when.
    pub stopped_at: Option<Timestamp>,
    /// STOP has been confirmed.
    pub confirmed: bool,
    /// The entry that grants it.
    pub grant: Option<Id<ConsentEntry>>,
    /// The entry that denies it, newer than any grant.
    pub denial: Option<Id<ConsentEntry>>,
    /// The patient has been told, by the wording of some grant, that replies are read and kept.
    pub archiving_notice: bool,
}

/// How `patient` on `number_token` stands towards `category`, in this transaction.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn standing(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    patient: Option<Id<Patient>>,
    number_token: &[u8],
    category: Category,
) -> Result<Standing, DbError> {
    let suppression = of_number(tx, tenant, number_token).await?;
    let mut standing = Standing {
        suppressed: suppression.stopped,
        stopped_at: suppression.since,
        confirmed: suppression.confirmed,
        ..Standing::default()
    };
    let Some(patient) = patient else { return Ok(standing) };
    // The newest entry of each source patient decides for that patient; of patients that were merged into one the
    // strictest holds, which is why a denial of any of them stands until that one's own newer grant.
    let rows = tx
        .all(
            sql("SELECT e.id, e.patient, e.category, e.decision, e.wording FROM consent_entry e \
                 WHERE e.tenant = $1 AND (e.number_token IS NULL OR e.number_token = $3) AND e.patient IN \
                 (SELECT p.id FROM patient p WHERE p.tenant = $1 AND (p.id = $2 OR p.merged_into = $2)) \
                 ORDER BY e.effective_at DESC, e.id DESC")
            .bind(tenant)
            .bind(patient)
            .bind(number_token),
        )
        .await?;
    let mut decided: Vec<Id<Patient>> = Vec::new();
    for row in &rows {
        let granted = row.get::<String>("decision")? == Decision::Granted.code();
        standing.archiving_notice |= granted && !row.get::<String>("wording")?.is_empty();
        let of = row.get::<Id<Patient>>("patient")?;
        if row.get::<String>("category")? != category.code() || decided.contains(&of) {
            continue;
        }
        decided.push(of);
        let entry = Some(row.get("id")?);
        if granted {
            standing.grant = standing.grant.or(entry);
        } else {
            standing.denial = standing.denial.or(entry);
        }
    }
    Ok(standing)
}

/// What the sidebar shows: the newest decision for each category of `patient`.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn summary(
    db: &Db,
    tenant: Id<Tenant>,
    patient: Id<Patient>,
) -> Result<Vec<(Category, Decision, Source, Timestamp)>, DbError> {
    let rows = db
        .all(
            sql("SELECT category, decision, source, effective_at FROM consent_entry WHERE tenant = $1 AND patient IN \
                 (SELECT p.id FROM patient p WHERE p.tenant = $1 AND (p.id = $2 OR p.merged_into = $2)) \
                 ORDER BY effective_at DESC, id DESC")
            .bind(tenant)
            .bind(patient),
        )
        .await?;
    let mut newest: Vec<(Category, Decision, Source, Timestamp)> = Vec::new();
    for row in &rows {
        let category = Category::from_code(&row.get::<String>("category")?);
        let decision = Decision::from_code(&row.get::<String>("decision")?);
        let source = Source::from_code(&row.get::<String>("source")?);
        let (Some(category), Some(decision), Some(source)) = (category, decision, source) else {
            return Err(DbError::Decode { column: "category" });
        };
        if newest.iter().all(|(seen, ..)| *seen != category) {
            newest.push((category, decision, source, row.get("effective_at")?));
        }
    }
    newest.sort_by_key(|(category, ..)| *category);
    Ok(newest)
}
