//! Committing an attempt: the facts are gathered and the gate decides under the lock of the patient's number.

use super::{
    Attempt, Class, Message, Question,
    gate::{self, Decision, DropReason, Echo, HoldReason},
    journal::Journal,
    line, outbound,
    ports::Relevance,
    question,
    rows::{OUTBOUND, OutboundRow},
    state,
};
use crate::{
    consent::{self, Standing},
    db::{Command, DbError, Tx, sql},
    jobs::{NewJob, enqueue},
    kernel::{Id, Instruments, Tenant},
    practice::Practice,
    vault::Sealed,
};
use jiff::Timestamp;
use std::sync::Arc;

/// What became of the wish to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Committed {
    /// The attempt is committed: the text may be handed to the carrier now, once, by the row of this class; quiet hours
    /// begin then.
    Cleared(Class, Option<Timestamp>),
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
    pub(super) says_how_to_stop: bool,
    pub(super) guard_blocks: bool,
    pub(super) carrier: &'static str,
    pub(super) changed: NewJob,
    pub(super) journal: Journal,
    /// For the job that tells of another text.
    pub(super) instruments: Instruments,
}

impl Command for CommitAttempt {
    type Output = Committed;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Committed, DbError> {
        // The lock first: what is read before it may be outdated when it is given.
        let line = line::lock(tx, self.tenant, &self.number_token).await?;
        let Some(mut text) = queued(tx, self.tenant, self.message).await? else { return Ok(Committed::NotQueued) };
        let zones = self.zones(tx, &text).await?;
        let facts = self.facts(tx, &text, &line, &zones).await?;
        let decision = gate::decide(text.class, &facts);
        text.class = gate::class_now(text.class, facts.answers, self.now);
        match decision {
            Decision::Hold { why, until } => Ok(Committed::Held(why, until)),
            Decision::Drop(why) => {
                if let (DropReason::SentBefore, Some(Echo::Same(earlier))) = (why, facts.echo) {
                    self.give_place_to(tx, &text, earlier, &line, facts.question_taken).await?;
                }
                self.dropping().run(tx, &text, why).await?;
                Ok(Committed::Dropped(why))
            }
            Decision::Clear => {
                self.commit(tx, &text, &facts.standing).await?;
                let closes = self.practice.quiet_hours.closes_first_at(self.now, &zones);
                Ok(Committed::Cleared(text.class, closes))
            }
        }
    }
}

/// The text, if it waits for the gate.
async fn queued(tx: &mut Tx, tenant: Id<Tenant>, message: Id<Message>) -> Result<Option<OutboundRow>, DbError> {
    let text =
        format!("SELECT {OUTBOUND} FROM message WHERE tenant = $1 AND id = $2 AND direction = 'out' AND state = $3");
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

    pub(super) fn asker<'a>(&self, text: &'a OutboundRow) -> Option<question::Asker<'a>> {
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
                 sealed_at = $9, carrier = $10, class = $11, says_how_to_stop = $12 WHERE tenant = $1 AND id = $2")
            .bind(self.tenant)
            .bind(self.message)
            .bind(state::SENDING)
            .bind(self.body.as_bytes())
            .bind(self.content_hash)
            .bind(self.segments)
            .bind(self.template_version)
            .bind(decision.to_string())
            .bind(self.now)
            .bind(self.carrier)
            .bind(text.class.code())
            .bind(self.says_how_to_stop),
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
            sql("SELECT a.id FROM message m CROSS JOIN attempt a WHERE a.tenant = m.tenant AND a.message = m.id \
                 AND m.tenant = $1 AND m.number_token = $2 AND m.direction = 'out' AND a.committed_at <= $3 \
                 AND (a.settled_at IS NULL OR a.settled_at > $3) ORDER BY a.id DESC LIMIT 10")
            .bind(tenant)
            .bind(number_token)
            .bind(instant),
        )
        .await?;
    rows.iter().map(|row| row.get("id")).collect()
}
