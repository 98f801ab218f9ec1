//! Committing an attempt: the facts are gathered and the gate decides under the lock of the patient's number.

use super::{
    Attempt, Author, Class, Message, NewQuestion, Question, TEXT_CHANGED, Workflow,
    gate::{self, Decision, DropReason, Facts, HoldReason},
    journal::Journal,
    line, outbound, question,
    sender::Relevance,
    state,
};
use crate::{
    consent::{self, Category, Source, Standing},
    db::{Command, DbError, Row, Tx, sql},
    jobs::{NewJob, enqueue},
    kernel::{Id, Patient, Tenant},
    practice::{KeywordAnswerer, Practice},
    vault::Sealed,
};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// A text that is being processed goes before later ones of its class for this long; one that waits for something
/// else does not hold them up.
const KEEP_ORDER_FOR: SignedDuration = SignedDuration::from_secs(60);

/// An outbound text as it stands in the database, without what is sealed.
#[derive(Debug, Clone)]
pub(super) struct OutboundRow {
    pub(super) id: Id<Message>,
    pub(super) patient: Option<Id<Patient>>,
    pub(super) our_number: String,
    pub(super) number_token: Vec<u8>,
    pub(super) class: Class,
    pub(super) category: Category,
    pub(super) author: Author,
    pub(super) about: Option<String>,
    pub(super) about_version: Option<String>,
    pub(super) workflow: Option<Id<Workflow>>,
    pub(super) asks: Option<NewQuestion>,
    pub(super) quiet_overridden: bool,
    pub(super) not_before: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) state: String,
}

/// The columns that [`OutboundRow::read`] needs.
pub(super) const COLUMNS: &str = "id, patient, our_number, number_token, class, category, author, about, about_version, \
     workflow, asks, quiet_overridden, not_before, expires_at, state";

impl OutboundRow {
    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        let asks = row.get::<Option<String>>("asks")?;
        Ok(Self {
            id: row.get("id")?,
            patient: row.get("patient")?,
            our_number: row.get("our_number")?,
            number_token: row.get("number_token")?,
            class: Class::from_code(&row.get::<String>("class")?).ok_or(DbError::Decode { column: "class" })?,
            category: Category::from_code(&row.get::<String>("category")?)
                .ok_or(DbError::Decode { column: "category" })?,
            author: Author::from_code(&row.get::<String>("author")?).ok_or(DbError::Decode { column: "author" })?,
            about: row.get("about")?,
            about_version: row.get("about_version")?,
            workflow: row.get("workflow")?,
            asks: asks
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|_| DbError::Decode { column: "asks" })?,
            quiet_overridden: row.get("quiet_overridden")?,
            not_before: row.get("not_before")?,
            expires_at: row.get("expires_at")?,
            state: row.get("state")?,
        })
    }
}

/// What became of the wish to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Committed {
    /// The attempt is committed: the text may be handed to the carrier now, once.
    Cleared,
    /// It waits.
    Held(HoldReason, Option<Timestamp>),
    /// It will not leave.
    Dropped(DropReason),
    /// It is not waiting any more.
    NotQueued,
}

/// Commits an attempt to send `message`, if the gate clears it.
pub(super) struct CommitAttempt {
    pub(super) tenant: Id<Tenant>,
    pub(super) message: Id<Message>,
    pub(super) number_token: Vec<u8>,
    pub(super) attempt: Id<Attempt>,
    pub(super) question: Id<Question>,
    pub(super) practice: Arc<Practice>,
    pub(super) relevance: Arc<dyn Relevance>,
    pub(super) now: Timestamp,
    pub(super) send_by: Timestamp,
    pub(super) body: Sealed,
    pub(super) content_hash: [u8; 32],
    pub(super) segments: u32,
    pub(super) template_version: Option<u32>,
    pub(super) guard_blocks: bool,
    pub(super) carrier: &'static str,
    pub(super) changed: NewJob,
    pub(super) journal: Journal,
}

impl Command for CommitAttempt {
    type Output = Committed;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Committed, DbError> {
        // The lock first: what is read before it may be outdated when it is given.
        let line = line::lock(tx, self.tenant, &self.number_token).await?;
        let Some(text) = queued(tx, self.tenant, self.message).await? else { return Ok(Committed::NotQueued) };
        let facts = self.facts(tx, &text, &line).await?;
        let decision = gate::decide(text.class, &facts);
        match decision {
            Decision::Hold { why, until } => Ok(Committed::Held(why, until)),
            Decision::Drop(why) => {
                self.dropping().run(tx, &text, why).await?;
                Ok(Committed::Dropped(why))
            }
            Decision::Clear => {
                self.commit(tx, &text, &facts.standing).await?;
                Ok(Committed::Cleared)
            }
        }
    }
}

/// The text, if it waits for the gate.
async fn queued(tx: &mut Tx, tenant: Id<Tenant>, message: Id<Message>) -> Result<Option<OutboundRow>, DbError> {
    let text =
        format!("SELECT {COLUMNS} FROM message WHERE tenant = $1 AND id = $2 AND direction = 'out' AND state = $3");
    let row = tx.optional(crate::db::sql_built(text).bind(tenant).bind(message).bind(state::QUEUED)).await?;
    row.as_ref().map(OutboundRow::read).transpose()
}

/// Takes a text out of the queue for good: those above are told.
struct Dropping<'a> {
    tenant: Id<Tenant>,
    changed: &'a NewJob,
    journal: &'a Journal,
    now: Timestamp,
}

impl Dropping<'_> {
    async fn run(&self, tx: &mut Tx, text: &OutboundRow, why: DropReason) -> Result<(), DbError> {
        tx.execute(
            sql("UPDATE message SET state = $3, state_reason = $4, decision = $5 WHERE tenant = $1 AND id = $2")
                .bind(self.tenant)
                .bind(text.id)
                .bind(state::DROPPED)
                .bind(why.code())
                .bind(serde_json::json!({ "dropped": why.code(), "class": text.class.code() }).to_string()),
        )
        .await?;
        enqueue(tx, self.changed).await?;
        self.journal.dropped(tx, text, why).await?;
        line::wake(tx, self.tenant, &text.number_token, Some(text.id), self.now).await?;
        outbound::publish(tx, self.tenant, text.patient);
        Ok(())
    }
}

/// Drops a text that cannot be opened or rendered: it would wait for ever otherwise, and nobody would know.
pub(super) struct DropUnreadable {
    pub(super) tenant: Id<Tenant>,
    pub(super) message: Id<Message>,
    pub(super) number_token: Vec<u8>,
    pub(super) changed: NewJob,
    pub(super) journal: Journal,
    pub(super) now: Timestamp,
}

impl Command for DropUnreadable {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        line::lock(tx, self.tenant, &self.number_token).await?;
        let Some(text) = queued(tx, self.tenant, self.message).await? else { return Ok(()) };
        let Self { tenant, changed, journal, now, .. } = self;
        Dropping { tenant: *tenant, changed, journal, now: *now }.run(tx, &text, DropReason::Unreadable).await
    }
}

impl CommitAttempt {
    fn dropping(&self) -> Dropping<'_> {
        Dropping { tenant: self.tenant, changed: &self.changed, journal: &self.journal, now: self.now }
    }

    async fn facts(&self, tx: &mut Tx, text: &OutboundRow, line: &line::Line) -> Result<Facts, DbError> {
        let standing = consent::standing(tx, self.tenant, text.patient, &text.number_token, text.category).await?;
        let still_true = match (&text.about, &text.about_version) {
            (Some(about), Some(version)) => self.relevance.still_true(tx, self.tenant, about, version).await?,
            _ => true,
        };
        let question_taken = match self.asker(text) {
            Some(asker) => question::taken(tx, &asker, self.now).await?,
            None => false,
        };
        let practice = &self.practice;
        let own = practice.numbers.iter().find(|own| own.number.as_e164() == text.our_number);
        Ok(Facts {
            now: self.now,
            not_before: text.not_before,
            expires_at: text.expires_at,
            unread: line.unread,
            unsettled: line.unsettled.is_some(),
            older_waits: self.older_waits(tx, text).await?,
            question_taken,
            still_true,
            standing,
            carrier_answers_keywords: own.is_some_and(|own| own.keywords == KeywordAnswerer::Carrier),
            quiet_until: practice.quiet_hours.quiet_until(self.now, &practice.zone),
            quiet_overridden: text.quiet_overridden,
            capped_until: self.capped_until(tx, text).await?,
            verified: self.verified(tx, text).await?,
            unverified_allowed: practice.unverified_numbers_allowed,
            guard_blocks: self.guard_blocks,
        })
    }

    fn asker<'a>(&self, text: &'a OutboundRow) -> Option<question::Asker<'a>> {
        text.asks.as_ref()?;
        Some(question::Asker {
            tenant: self.tenant,
            our_number: &text.our_number,
            number_token: &text.number_token,
            patient: text.patient?,
            workflow: text.workflow?,
            message: text.id,
        })
    }

    async fn older_waits(&self, tx: &mut Tx, text: &OutboundRow) -> Result<bool, DbError> {
        let since = self.now.checked_sub(KEEP_ORDER_FOR).unwrap_or(Timestamp::MIN);
        let older = tx
            .optional(
                sql("SELECT 1 AS older FROM message WHERE tenant = $1 AND number_token = $2 AND direction = 'out' AND state = 'queued' \
                     AND class = $3 AND id < $4 AND created_at > $5 AND (not_before IS NULL OR not_before <= $6) LIMIT 1")
                .bind(self.tenant)
                .bind(text.number_token.clone())
                .bind(text.class.code())
                .bind(text.id)
                .bind(since)
                .bind(self.now),
            )
            .await?;
        Ok(older.is_some())
    }

    async fn capped_until(&self, tx: &mut Tx, text: &OutboundRow) -> Result<Option<Timestamp>, DbError> {
        let Some(caps) = self.practice.caps.filter(|_| text.class.rule().caps) else { return Ok(None) };
        let mut until = None;
        for (limit, window) in
            [(caps.per_day, SignedDuration::from_hours(24)), (caps.per_week, SignedDuration::from_hours(24 * 7))]
        {
            // The text that has to grow older than the window before the next may leave.
            let row = tx
                .optional(
                    sql("SELECT sent_at FROM message WHERE tenant = $1 AND number_token = $2 AND direction = 'out' AND class = 'automated' \
                         AND sent_at > $3 ORDER BY sent_at DESC LIMIT 1 OFFSET $4")
                    .bind(self.tenant)
                    .bind(text.number_token.clone())
                    .bind(self.now.checked_sub(window).unwrap_or(Timestamp::MIN))
                    .bind(i64::from(limit.saturating_sub(1))),
                )
                .await?;
            let free = row.map(|row| row.get::<Timestamp>("sent_at")).transpose()?;
            until = until.max(free.and_then(|sent| sent.checked_add(window).ok()));
        }
        Ok(until)
    }

    /// A number that its holder has texted START from is verified: the text came from it.
    async fn verified(&self, tx: &mut Tx, text: &OutboundRow) -> Result<bool, DbError> {
        let row = tx
            .optional(
                sql("SELECT 1 AS verified FROM consent_entry WHERE tenant = $1 AND number_token = $2 AND source = $3 LIMIT 1")
                    .bind(self.tenant)
                    .bind(text.number_token.clone())
                    .bind(Source::Start.code()),
            )
            .await?;
        Ok(row.is_some())
    }

    async fn commit(&self, tx: &mut Tx, text: &OutboundRow, standing: &Standing) -> Result<(), DbError> {
        tx.execute(
            sql("INSERT INTO attempt (tenant, id, message, number_token, state, send_by, committed_at, carrier) \
                 VALUES ($1, $2, $3, $4, 'committed', $5, $6, $7)")
            .bind(self.tenant)
            .bind(self.attempt)
            .bind(self.message)
            .bind(text.number_token.clone())
            .bind(self.send_by)
            .bind(self.now)
            .bind(self.carrier),
        )
        .await?;
        line::note_attempt(tx, self.tenant, &text.number_token, self.attempt).await?;
        let decision = serde_json::json!({
            "cleared": text.class.code(),
            "consent": standing.grant.map(|grant| grant.to_string()),
            "quiet_overridden": text.quiet_overridden,
        });
        tx.execute(
            sql("UPDATE message SET state = $3, body = $4, content_hash = $5, segments = $6, template_version = $7, decision = $8, \
                 sealed_at = $9, carrier = $10 WHERE tenant = $1 AND id = $2")
            .bind(self.tenant)
            .bind(self.message)
            .bind(state::SENDING)
            .bind(self.body.as_bytes())
            .bind(self.content_hash)
            .bind(self.segments)
            .bind(self.template_version)
            .bind(decision.to_string())
            .bind(self.now)
            .bind(self.carrier),
        )
        .await?;
        if let (Some(asker), Some(question)) = (self.asker(text), &text.asks) {
            question::ask(tx, &asker, self.question, question, self.now).await?;
        }
        if text.class == Class::StopConfirmation {
            consent::mark_confirmed(tx, self.tenant, &text.number_token, self.now).await?;
        }
        self.journal.cleared(tx, text, self.attempt, standing.grant).await?;
        outbound::publish(tx, self.tenant, text.patient);
        Ok(())
    }
}

/// The job that tells the rooms above that a text has changed. In the lane of its number, so that they see the texts of
/// one conversation in order.
///
/// # Errors
/// [`JobError`](crate::jobs::JobError) when the payload cannot be written.
pub fn changed_job(
    instruments: &crate::kernel::Instruments,
    tenant: Id<Tenant>,
    message: Id<Message>,
    number_token: &[u8],
) -> Result<NewJob, crate::jobs::JobError> {
    NewJob::new(instruments, tenant, TEXT_CHANGED, &super::AboutText { message })
        .map(|job| job.unique(message.to_string()).in_lane(line::chart_lane(number_token)))
}

/// The attempts to this number that were on their way to the carrier at `instant`: committed, and not settled yet.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn in_flight_at(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    number_token: &[u8],
    instant: Timestamp,
) -> Result<Vec<Id<Attempt>>, DbError> {
    let rows = tx
        .all(
            sql("SELECT a.id FROM message m JOIN attempt a ON a.tenant = m.tenant AND a.message = m.id \
                 WHERE m.tenant = $1 AND m.number_token = $2 AND m.direction = 'out' AND a.committed_at <= $3 \
                 AND (a.settled_at IS NULL OR a.settled_at > $3) ORDER BY a.id DESC LIMIT 10")
            .bind(tenant)
            .bind(number_token)
            .bind(instant),
        )
        .await?;
    rows.iter().map(|row| row.get("id")).collect()
}
