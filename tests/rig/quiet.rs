//! When nothing is left to be done: every text at its end, every job done, every number free.

use crate::{
    nurse::Browser,
    outside::{Outside, text},
    stored::Stored,
};
use anyhow::{Result, bail};
use chartwire::{db::sql, kernel::Id, messaging::Message, sandbox::clinic::persona};
use jiff::Timestamp;
use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

/// What must be nobody's any more at the end. Each gives a number as `n`.
const LEFT: [(&str, &str); 9] = [
    (
        "texts on their way",
        "SELECT COUNT(*) AS n FROM message WHERE direction = 'out' AND state IN ('queued', 'sending', 'accepted', 'sent') \
         AND COALESCE(state_reason, '') <> 'person-sent'",
    ),
    ("texts of which nobody knows whether they left", "SELECT COUNT(*) AS n FROM message WHERE state = 'unknown'"),
    ("texts that nobody has read", "SELECT COUNT(*) AS n FROM message WHERE direction = 'in' AND state <> 'read'"),
    ("numbers with unread texts", "SELECT COUNT(*) AS n FROM number_line WHERE unread <> 0"),
    ("numbers that wait for an attempt", "SELECT COUNT(*) AS n FROM number_line WHERE unsettled_attempt IS NOT NULL"),
    ("attempts without an outcome", "SELECT COUNT(*) AS n FROM attempt WHERE state IN ('committed', 'unknown')"),
    (
        "texts whose chart is not up to date",
        "SELECT COUNT(*) AS n FROM message m LEFT JOIN chart_filing f ON f.tenant = m.tenant AND f.message = m.id \
         WHERE m.patient IS NOT NULL AND m.state NOT IN ('received', 'queued') \
         AND (m.state <> 'dropped' OR f.reference IS NOT NULL) \
         AND (f.state IS NULL OR f.state <> m.state OR f.code IS NOT NULL)",
    ),
    (
        "writes to the EHR without an outcome",
        "SELECT COUNT(*) AS n FROM ehr_write WHERE state IN ('pending', 'unknown')",
    ),
    ("jobs that were given up", "SELECT COUNT(*) AS n FROM job WHERE state = 'dead'"),
];

/// What is left to be done; the carrier's list has to be read once after `hit`, the last blow.
pub(crate) async fn left(stored: &Stored, hit: Timestamp) -> Result<Vec<(String, i64)>> {
    let mut left = Vec::new();
    for (what, query) in LEFT {
        left.push((what.to_owned(), stored.count(query).await?));
    }
    let unread = sql("SELECT COUNT(*) AS n FROM carrier_watermark WHERE read_until < $1").bind(hit);
    left.push(("lists of the carrier's that were not read".to_owned(), stored.db.one(unread).await?.get("n")?));
    // Those that come back by themselves too: what the last kill cut off in the middle is done again before the end.
    let due = sql(
        "SELECT kind, COUNT(*) AS n FROM job WHERE state = 'leased' OR (state = 'ready' AND run_at <= $1) GROUP BY kind",
    );
    for row in stored.db.all(due.bind(Timestamp::now())).await? {
        left.push((format!("jobs due or in hand: {}", row.get::<String>("kind")?), row.get("n")?));
    }
    left.retain(|(_, count)| *count > 0);
    Ok(left)
}

/// Within this time a task has to say so of a text that only a person can settle.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

/// How many texts wait for the gate.
pub(crate) async fn held(stored: &Stored) -> Result<i64> {
    stored.count("SELECT COUNT(*) AS n FROM message WHERE direction = 'out' AND state = 'queued'").await
}

/// What people settled in the end.
#[derive(Default)]
pub(crate) struct Settled {
    /// Texts that only a person could settle.
    pub(crate) by_person: HashSet<Id<Message>>,
    /// Those of them of which no task told anybody.
    pub(crate) untold: Vec<Id<Message>>,
    /// When each was first seen without a task.
    seen: HashMap<Id<Message>, Instant>,
}

/// Settles, as the staff, what is left to people; they find out from the patient, here from the carrier's books.
pub(crate) async fn settle(outside: &Outside, stored: &Stored, settled: &mut Settled) -> Result<()> {
    let unknown = sql(
        "SELECT m.id, p.fhir_id, (SELECT COUNT(*) FROM staff_task t JOIN message o ON o.tenant = t.tenant AND o.id = t.message \
         WHERE t.tenant = m.tenant AND t.reason = 'delivery-unknown' AND t.state = 'open' AND o.conversation = m.conversation) AS told \
         FROM message m JOIN patient_ehr_id p ON p.tenant = m.tenant AND p.patient = m.patient AND p.replaced = 0 \
         WHERE m.state = 'unknown' AND m.state_reason = 'person-decides'",
    );
    for row in stored.db.all(unknown).await? {
        let id: Id<Message> = row.get("id")?;
        if row.get::<i64>("told")? == 0 {
            // The task is opened by a job that follows: it may take a moment.
            if settled.seen.entry(id).or_insert_with(Instant::now).elapsed() < TOLD_WITHIN {
                continue;
            }
            settled.untold.push(id);
        }
        let left = has_left(outside, stored, id).await?;
        decide(outside, &row.get::<String>("fhir_id")?, id, if left { "sent" } else { "not_sent" }).await?;
        settled.by_person.insert(id);
    }
    Ok(())
}

async fn has_left(outside: &Outside, stored: &Stored, id: Id<Message>) -> Result<bool> {
    let rows = stored.db.all(sql("SELECT id FROM attempt WHERE message = $1").bind(id)).await?;
    let attempts: Vec<String> =
        rows.iter().map(|row| Ok(row.get::<Id<Message>>("id")?.to_string())).collect::<Result<_>>()?;
    let messages = outside.messages().await?;
    Ok(messages.iter().any(|one| attempts.iter().any(|attempt| text(one, "/status_callback").contains(attempt))))
}

async fn decide(outside: &Outside, patient: &str, id: Id<Message>, verdict: &str) -> Result<()> {
    for practitioner in [persona::NURSE_REED, persona::SCHEDULER_DIAZ, persona::DR_SMITH, persona::PHARMACIST_HALL] {
        let mut browser = Browser::launch(outside, practitioner, patient).await?;
        let status = browser.post(&format!("texts/{id}/settle"), &[("verdict", verdict)]).await?;
        if status.is_success() || status.is_redirection() || status == reqwest::StatusCode::CONFLICT {
            return Ok(());
        }
    }
    bail!("nobody may settle the text {id}")
}
