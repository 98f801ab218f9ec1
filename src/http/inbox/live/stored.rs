//! What the inbox reads beside texts: readings, filings, the next visit, how a number stands.

use super::{LiveInbox, failed, scope::StoredReading};
use crate::{
    consent::{self, Category, Standing},
    db::{Command, Db, DbError, Row, Tx, sql, sql_built},
    http::inbox::source::{InboxError, Visit},
    kernel::{Id, Patient, Phi, Tenant},
    messaging::Message,
    patient::WITH_MERGED,
    vault::{Place, Sealed},
};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::HashMap;

/// How a text stands in the chart.
pub(super) struct StoredFiling {
    pub(super) filed: bool,
    pub(super) refused: Option<String>,
}

/// What is sealed in `appointment.labels`, as far as the inbox shows it.
#[derive(Deserialize)]
struct Labels {
    provider: Option<String>,
}

fn reading(row: &Row) -> Result<StoredReading, DbError> {
    Ok(StoredReading {
        intents: serde_json::from_str(&row.get::<String>("intents")?).ok(),
        sentiment: serde_json::from_str(&row.get::<String>("sentiment")?).ok(),
        urgency: row.get("urgency")?,
        certain: row.get("certain")?,
        rules: row.get("reasons")?,
    })
}

/// How one text was read, if it was.
pub(super) async fn reading_of(
    db: &Db,
    tenant: Id<Tenant>,
    message: Id<Message>,
) -> Result<Option<StoredReading>, InboxError> {
    let query =
        sql("SELECT intents, sentiment, urgency, certain, reasons FROM reading WHERE tenant = $1 AND message = $2");
    let row = db.optional(query.bind(tenant).bind(message)).await.map_err(failed)?;
    row.as_ref().map(reading).transpose().map_err(failed)
}

impl LiveInbox {
    /// How the newest `limit` texts of `patient` that were read, were read.
    pub(super) async fn readings(
        &self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
        limit: u32,
    ) -> Result<HashMap<Id<Message>, StoredReading>, InboxError> {
        let query = format!(
            "SELECT r.message, r.intents, r.sentiment, r.urgency, r.certain, r.reasons \
             FROM {WITH_MERGED} AS whole CROSS JOIN message m CROSS JOIN reading r \
             WHERE m.tenant = $1 AND m.patient = whole.id AND r.tenant = m.tenant AND r.message = m.id \
             ORDER BY m.id DESC LIMIT $3"
        );
        let rows = self.db.all(sql_built(query).bind(tenant).bind(patient).bind(limit)).await.map_err(failed)?;
        let read = rows.iter().map(|row| Ok((row.get("message")?, reading(row)?)));
        read.collect::<Result<_, DbError>>().map_err(failed)
    }

    /// How the newest `limit` texts of `patient` that were filed, or tried to be, stand in the chart.
    pub(super) async fn filings(
        &self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
        limit: u32,
    ) -> Result<HashMap<Id<Message>, StoredFiling>, InboxError> {
        let query = format!(
            "SELECT f.message, f.reference, f.code \
             FROM {WITH_MERGED} AS whole CROSS JOIN message m CROSS JOIN chart_filing f \
             WHERE m.tenant = $1 AND m.patient = whole.id AND f.tenant = m.tenant AND f.message = m.id \
             ORDER BY m.id DESC LIMIT $3"
        );
        let rows = self.db.all(sql_built(query).bind(tenant).bind(patient).bind(limit)).await.map_err(failed)?;
        let read = rows.iter().map(|row| {
            let filed = row.get::<Option<String>>("reference")?.is_some();
            Ok((row.get("message")?, StoredFiling { filed, refused: row.get("code")? }))
        });
        read.collect::<Result<_, DbError>>().map_err(failed)
    }

    /// The next visit of `patient` that is on.
    pub(super) async fn next_visit(
        &self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
    ) -> Result<Option<Visit>, InboxError> {
        let query = format!(
            "SELECT a.fhir_id, a.start_at, a.labels, \
             (SELECT COUNT(*) FROM message m WHERE m.tenant = a.tenant AND m.patient = a.patient AND m.template_key = 'confirmed' \
              AND m.about = 'Appointment/' || a.fhir_id AND m.state <> 'dropped' \
              AND (m.about_version IS NULL OR m.about_version = CAST(a.start_at AS TEXT))) AS confirmations \
             FROM {WITH_MERGED} AS whole CROSS JOIN appointment a WHERE a.tenant = $1 AND a.patient = whole.id \
             AND a.start_at > $3 AND a.status IN ('booked', 'pending', 'proposed') ORDER BY a.start_at LIMIT 1"
        );
        let now = self.instruments.now();
        let query = sql_built(query).bind(tenant).bind(patient).bind(now);
        let Some(row) = self.db.optional(query).await.map_err(failed)? else {
            return Ok(None);
        };
        let fhir_id: String = row.get("fhir_id").map_err(failed)?;
        let labels: Vec<u8> = row.get("labels").map_err(failed)?;
        Ok(Some(Visit {
            at: row.get("start_at").map_err(failed)?,
            with: self.provider(tenant, &fhir_id, labels).await,
            confirmed: row.get::<i64>("confirmations").map_err(failed)? > 0,
        }))
    }

    /// Who the visit is with. The thread is worth more than a name that cannot be opened.
    async fn provider(&self, tenant: Id<Tenant>, fhir_id: &str, labels: Vec<u8>) -> Phi<String> {
        let place = Place::keyed("appointment", fhir_id, "labels");
        let opened = match Sealed::from_bytes(labels) {
            Ok(sealed) => self.vault.open(tenant, place, &sealed).await,
            Err(error) => Err(error),
        };
        let labels = match opened {
            Ok(plain) => serde_json::from_slice::<Labels>(&plain).ok(),
            Err(error) => {
                tracing::warn!(%error, "the names of a visit cannot be opened");
                None
            }
        };
        Phi::new(labels.and_then(|labels| labels.provider).unwrap_or_else(|| "the clinic".to_owned()))
    }

    /// How `patient` on a number stands towards texts of `category`.
    pub(super) async fn standing(
        &self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
        number_token: &[u8],
        category: Category,
    ) -> Result<Stands, InboxError> {
        let now = self.instruments.now();
        let ask = AskStanding { tenant, patient, number_token: number_token.to_vec(), category, now };
        self.db.execute(ask).await.map_err(failed)
    }
}

/// How a patient stands on a number.
pub(super) struct Stands {
    pub(super) towards: Standing,
    /// START has come from the number, so that it is known whose it is.
    pub(super) verified: bool,
}

/// Asks the ledger in one transaction, as the gate does.
struct AskStanding {
    tenant: Id<Tenant>,
    patient: Id<Patient>,
    number_token: Vec<u8>,
    category: Category,
    now: Timestamp,
}

impl Command for AskStanding {
    type Output = Stands;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Stands, DbError> {
        let towards =
            consent::standing(tx, self.tenant, Some(self.patient), &self.number_token, self.category, self.now).await?;
        let started = tx
            .optional(
                sql("SELECT 1 AS verified FROM consent_entry WHERE tenant = $1 AND number_token = $2 AND source = $3 LIMIT 1")
                    .bind(self.tenant)
                    .bind(self.number_token.clone())
                    .bind(consent::Source::Start.code()),
            )
            .await?;
        Ok(Stands { towards, verified: started.is_some() })
    }
}
