//! The append-only ledger of grants and denials.

use super::{Category, Decision, Source};
use crate::{
    db::{Db, DbError, Row, Tx, sql},
    kernel::{Id, Patient, Tenant},
    vault::Sealed,
};
use jiff::Timestamp;

/// Marks ids of entries in the consent ledger.
pub enum ConsentEntry {}

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
    /// What it was taken from, so that the same is recorded once: the FHIR Consent and its version, a form that was sent
    /// off, a line of an imported list.
    pub origin: Option<String>,
    /// When it was said: the newest word decides.
    pub effective_at: Timestamp,
    /// When it holds, where it was said for a time only.
    pub period: Period,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// When a grant holds; open where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Period {
    /// From then on.
    pub from: Option<Timestamp>,
    /// Until just before then.
    pub until: Option<Timestamp>,
}

impl Period {
    /// Whether it holds at `instant`.
    #[must_use]
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= instant) && self.until.is_none_or(|until| instant < until)
    }
}

/// Appends an entry. One of the same origin and category is kept once; says whether it is new.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn record(tx: &mut Tx, entry: &NewEntry) -> Result<bool, DbError> {
    let written = tx
        .execute(
            sql("INSERT INTO consent_entry (tenant, id, patient, number_token, category, decision, source, wording, recorded_by, proof, \
                 origin, effective_at, recorded_at, starts_at, ends_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
                 ON CONFLICT (tenant, origin, category) WHERE origin IS NOT NULL DO NOTHING")
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
            .bind(entry.origin.clone())
            .bind(entry.effective_at)
            .bind(entry.recorded_at)
            .bind(entry.period.from)
            .bind(entry.period.until),
        )
        .await?;
    Ok(written == 1)
}

/// Whether anything of this origin stands in the ledger.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn is_recorded(db: &Db, tenant: Id<Tenant>, origin: &str) -> Result<bool, DbError> {
    let query = sql("SELECT 1 AS recorded FROM consent_entry WHERE tenant = $1 AND origin = $2 LIMIT 1");
    Ok(db.optional(query.bind(tenant).bind(origin)).await?.is_some())
}

/// An entry as it stands in the ledger, without what proves it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its id.
    pub id: Id<ConsentEntry>,
    /// The patient; one who was merged into another since keeps their own entries.
    pub patient: Id<Patient>,
    /// The number that it is about; absent means every number of the patient.
    pub number_token: Option<Vec<u8>>,
    /// What texts.
    pub category: Category,
    /// Yes or no.
    pub decision: Decision,
    /// Where it came from.
    pub source: Source,
    /// Which wording the patient saw, with its version.
    pub wording: String,
    /// Who recorded it.
    pub recorded_by: String,
    /// When it was said.
    pub effective_at: Timestamp,
    /// When it holds, where it was said for a time only.
    pub period: Period,
}

/// The entries of a patient and of those who were merged into them, the newest first. Two lookups of patients: of one with
/// OR SQLite makes a walk through all of the tenant's.
const OF_PATIENT: &str = "SELECT e.id, e.patient, e.number_token, e.category, e.decision, e.source, e.wording, e.recorded_by, \
     e.effective_at, e.starts_at, e.ends_at FROM consent_entry e WHERE e.tenant = $1 AND e.patient IN \
     (SELECT id FROM patient WHERE tenant = $1 AND id = $2 \
     UNION ALL SELECT id FROM patient WHERE tenant = $1 AND merged_into = $2) \
     ORDER BY e.effective_at DESC, e.id DESC";

impl Entry {
    fn read(row: &Row) -> Result<Self, DbError> {
        let code = |column: &'static str| row.get::<String>(column);
        let unknown = |column| DbError::Decode { column };
        Ok(Self {
            id: row.get("id")?,
            patient: row.get("patient")?,
            number_token: row.get("number_token")?,
            category: Category::from_code(&code("category")?).ok_or_else(|| unknown("category"))?,
            decision: Decision::from_code(&code("decision")?).ok_or_else(|| unknown("decision"))?,
            source: Source::from_code(&code("source")?).ok_or_else(|| unknown("source"))?,
            wording: row.get("wording")?,
            recorded_by: row.get("recorded_by")?,
            effective_at: row.get("effective_at")?,
            period: Period { from: row.get("starts_at")?, until: row.get("ends_at")? },
        })
    }

    pub(super) async fn in_transaction(
        tx: &mut Tx,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
    ) -> Result<Vec<Self>, DbError> {
        tx.all(sql(OF_PATIENT).bind(tenant).bind(patient)).await?.iter().map(Self::read).collect()
    }
}

/// The ledger of `patient` and of those who were merged into them, the newest entry first.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn entries(db: &Db, tenant: Id<Tenant>, patient: Id<Patient>) -> Result<Vec<Entry>, DbError> {
    db.all(sql(OF_PATIENT).bind(tenant).bind(patient)).await?.iter().map(Entry::read).collect()
}
