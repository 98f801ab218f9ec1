//! Takes queued texts through the gate and hands what it clears to the carrier, once.

use super::{
    AboutText, Class, Message, MessagingError,
    attempt::{CommitAttempt, Committed, DropUnreadable},
    carrier_port::{Attempt, Carrier, NotSentReason, OutgoingText, Remedy, SendOutcome, UnknownReason},
    changed::changed_job,
    gate::{self, QuietHours},
    journal::Journal,
    ports::{Relevance, Upstream},
    rows::{AttemptRow, OUTBOUND, OutboundRow},
    settle::Settler,
    state,
};
use crate::{
    db::{DbError, sql, sql_built},
    guard,
    jobs::{JobError, LeasedJob, Outcome},
    kernel::{Id, Language, Patient, Phi, PhoneNumber, Tenant},
    patient::Directory,
    practice::{Practice, Practices},
    template::{Catalogue, OptOutWording, Params, Segments, TextKey},
    vault::{Place, RetentionClass, Sealed},
};
use jiff::{SignedDuration, Timestamp};
use std::{sync::Arc, time::Duration};

/// An automated text that has waited longer than this is about what may have changed since it was written.
const KNOWN_FOR: SignedDuration = SignedDuration::from_mins(5);
/// How long after the commit of its attempt a text may still be handed to the carrier.
const SEND_WITHIN: SignedDuration = SignedDuration::from_secs(15);
/// A text that waits for an event is woken by it; it also looks again by itself, the more seldom the longer it waits:
/// the end of a question or of its turn wakes nobody.
const LOOK_AGAIN: (SignedDuration, SignedDuration) = (SignedDuration::from_secs(2), SignedDuration::from_secs(60));

/// Sends texts.
#[derive(Clone)]
pub struct Sender {
    settler: Settler,
    practices: Arc<Practices>,
    catalogue: Arc<Catalogue>,
    relevance: Arc<dyn Relevance>,
    upstream: Arc<dyn Upstream>,
    directory: Directory,
}

/// A text opened for sending.
struct Opened {
    row: OutboundRow,
    number: PhoneNumber,
    our_number: PhoneNumber,
    body: Phi<String>,
    template_version: Option<u32>,
    says_how_to_stop: bool,
}

impl Sender {
    /// A sender that settles what it sends through `settler`.
    #[must_use]
    pub fn new(
        settler: Settler,
        practices: Arc<Practices>,
        catalogue: Arc<Catalogue>,
        relevance: Arc<dyn Relevance>,
        upstream: Arc<dyn Upstream>,
        directory: Directory,
    ) -> Self {
        Self { settler, practices, catalogue, relevance, upstream, directory }
    }

    /// Handles [`SEND_TEXT`](super::SEND_TEXT).
    ///
    /// # Errors
    /// [`JobError::Postpone`] while the gate holds the text; otherwise as something is away.
    pub async fn send(&self, job: LeasedJob) -> Outcome {
        let AboutText { message } = job.payload()?;
        let Some(row) = self.load(job.tenant, message).await? else { return Ok(()) };
        match row.state.as_str() {
            state::QUEUED => self.attempt(&job, row).await,
            state::SENDING => self.recover(job.tenant, row.id).await,
            _ => Ok(()),
        }
    }

    /// Whoever withdraws consent, moves a visit or dies while a text waits for the morning is not texted then.
    async fn refresh(&self, job: &LeasedJob, row: &OutboundRow) -> Outcome {
        let now = self.settler.instruments.now();
        let waited = now.duration_since(job.created_at) > KNOWN_FOR;
        let stale = row.expires_at.is_some_and(|expires| expires <= now);
        match row.patient {
            Some(patient) if row.class == Class::Automated && waited && !stale => {
                self.upstream.refresh(job.tenant, patient, row.about.as_deref()).await
            }
            _ => Ok(()),
        }
    }

    async fn load(&self, tenant: Id<Tenant>, message: Id<Message>) -> Result<Option<OutboundRow>, DbError> {
        let text = format!("SELECT {OUTBOUND} FROM message WHERE tenant = $1 AND id = $2 AND direction = 'out'");
        let row = self.settler.db.optional(sql_built(text).bind(tenant).bind(message)).await?;
        row.as_ref().map(OutboundRow::read).transpose()
    }

    async fn attempt(&self, job: &LeasedJob, row: OutboundRow) -> Outcome {
        let tenant = job.tenant;
        let practice = self.practices.get(tenant).ok_or(MessagingError::NotConfigured)?;
        let carrier = Arc::clone(self.settler.carriers.get(&tenant).ok_or(MessagingError::NotConfigured)?);
        self.refresh(job, &row).await?;
        let (text, number_token) = (row.id, row.number_token.clone());
        let mut opened = match self.open(&practice, row).await {
            Err(error @ (MessagingError::Template | MessagingError::Stored)) => {
                tracing::error!(%error, %text, "a queued text is given up");
                return self.drop_unreadable(tenant, text, number_token).await;
            }
            opened => opened?,
        };
        let attempt = self.settler.instruments.new_id::<Attempt>();
        let send_by = later(self.settler.instruments.now(), SEND_WITHIN);
        let commit = self.commit_command(&practice, &opened, attempt, send_by, carrier.name()).await?;
        match self.settler.db.execute(commit).await? {
            Committed::NotQueued => Ok(()),
            Committed::Dropped(why) => {
                decided("drop", why.code());
                Ok(())
            }
            Committed::Held(why, until) => {
                decided("hold", why.code());
                let until = until.unwrap_or_else(|| look_again(job.created_at, self.settler.instruments.now()));
                Err(JobError::Postpone { code: why.code(), until })
            }
            Committed::Cleared(class, closes) => {
                decided("clear", "");
                opened.row.class = class;
                let text = self.outgoing(&practice, &*carrier, opened, (attempt, send_by), closes)?;
                let message = text.1;
                let outcome = carrier.send(gate::cleared(text.0)).await;
                self.conclude(tenant, message, outcome, &*carrier).await
            }
        }
    }

    async fn drop_unreadable(&self, tenant: Id<Tenant>, message: Id<Message>, number_token: Vec<u8>) -> Outcome {
        let Settler { db, vault, instruments, .. } = &self.settler;
        let changed = changed_job(instruments, tenant, message, &number_token)?;
        let journal = Journal::of(vault, instruments, tenant).await.map_err(MessagingError::from)?;
        let now = instruments.now();
        Ok(db.execute(DropUnreadable { tenant, message, number_token, changed, journal, now }).await?)
    }

    /// Settles the attempt by the carrier's answer, and says when to come back if the text has not left.
    async fn conclude(
        &self,
        tenant: Id<Tenant>,
        message: Id<Message>,
        outcome: SendOutcome,
        carrier: &dyn Carrier,
    ) -> Outcome {
        let attempt = AttemptRow::newest(&self.settler.db, tenant, message).await?.ok_or(DbError::NotFound)?;
        metrics::counter!("chartwire_sends_total", "carrier" => carrier.name(), "outcome" => outcome_word(&outcome))
            .increment(1);
        let again = match &outcome {
            SendOutcome::NotSent { reason, retry_after } => {
                let code = match reason {
                    NotSentReason::SendByPassed => "send-by-passed",
                    NotSentReason::ConnectFailed => "carrier-unreachable",
                    NotSentReason::Throttled => "carrier-throttled",
                };
                Some(JobError::Retry { code, after: *retry_after })
            }
            SendOutcome::Refused(refusal) => {
                match refusal.class.remedy(self.settler.instruments.now(), refusal.retry_after) {
                    Remedy::RetryAt(until) => Some(JobError::Postpone { code: refusal.class.as_str(), until }),
                    _ => None,
                }
            }
            _ => None,
        };
        self.settler.write(tenant, &attempt, outcome, carrier).await?;
        again.map_or(Ok(()), Err)
    }

    /// A crash or a lost lease left an attempt without an outcome. Nobody touches it until send-by plus twice the
    /// carrier's time to answer; then it is unknown, and the carrier's list is asked.
    async fn recover(&self, tenant: Id<Tenant>, message: Id<Message>) -> Outcome {
        let attempt = AttemptRow::newest(&self.settler.db, tenant, message).await?.ok_or(DbError::NotFound)?;
        let carrier = self.settler.carriers.get(&tenant).ok_or(MessagingError::NotConfigured)?;
        let patience = SignedDuration::try_from(carrier.answers_within() * 2).unwrap_or(SignedDuration::from_mins(5));
        let untouched_until = later(attempt.send_by, patience);
        if self.settler.instruments.now() < untouched_until {
            return Err(JobError::Postpone { code: "attempt-in-flight", until: untouched_until });
        }
        let outcome = SendOutcome::Unknown { reason: UnknownReason::NoAnswer };
        self.settler.write(tenant, &attempt, outcome, &**carrier).await
    }

    async fn open(&self, practice: &Practice, row: OutboundRow) -> Result<Opened, MessagingError> {
        let vault = &self.settler.vault;
        let query = sql_built(
            "SELECT number, language, template_key, parameters, body FROM message WHERE tenant = $1 AND id = $2"
                .to_owned(),
        );
        let sealed = self.settler.db.one(query.bind(practice.tenant).bind(row.id)).await?;
        let place = |column| Place::new("message", &row.id, column);
        let number = Sealed::from_bytes(sealed.get("number")?)?;
        let number = vault.open_text(practice.tenant, place("number"), &number).await?;
        let number = PhoneNumber::parse(number.as_str()).map_err(|_| MessagingError::Stored)?;
        let our_number = PhoneNumber::parse(&row.our_number).map_err(|_| MessagingError::Stored)?;
        let language = Language::from_tag(&sealed.get::<String>("language")?).unwrap_or_default();
        let (body, template_version, says_how_to_stop) =
            if let Some(key) = sealed.get::<Option<String>>("template_key")? {
                let parameters = Sealed::from_bytes(sealed.get("parameters")?)?;
                let parameters = vault.open(practice.tenant, place("parameters"), &parameters).await?;
                let params = Params::decode(&parameters).map_err(|_| MessagingError::Template)?;
                let key: TextKey = key.parse().map_err(|_| MessagingError::Template)?;
                let opt_out = self.opt_out(practice, &row).await?;
                let rendered = self.catalogue.render_current(key, language, &params, opt_out);
                let rendered = rendered.map_err(|_| MessagingError::Template)?;
                (rendered.text, Some(rendered.version), rendered.says_how_to_stop)
            } else {
                let body = Sealed::from_bytes(sealed.get("body")?)?;
                (vault.open_text(practice.tenant, place("body"), &body).await?, None, false)
            };
        Ok(Opened { row, number, our_number, body, template_version, says_how_to_stop })
    }

    /// Whether an automated text is followed by the opt-out wording: unless the practice's policy lets an earlier one
    /// stand for it that the carrier has not given back.
    async fn opt_out(&self, practice: &Practice, row: &OutboundRow) -> Result<OptOutWording, DbError> {
        let Some(stands_for) = practice.opt_out_notice.stands_for() else { return Ok(OptOutWording::Included) };
        let since = self.settler.instruments.now().checked_sub(stands_for).unwrap_or(Timestamp::MIN);
        let said = sql(
            "SELECT 1 AS said FROM message WHERE tenant = $1 AND number_token = $2 AND our_number = $3 AND direction = 'out' \
             AND says_how_to_stop = 1 AND sent_at > $4 AND state IN ('accepted', 'sent', 'delivered') LIMIT 1",
        );
        let said = said.bind(practice.tenant).bind(row.number_token.clone()).bind(row.our_number.clone()).bind(since);
        let said = self.settler.db.optional(said).await?;
        Ok(said.map_or(OptOutWording::Included, |_| OptOutWording::LeftOut))
    }

    async fn commit_command(
        &self,
        practice: &Arc<Practice>,
        opened: &Opened,
        attempt: Id<Attempt>,
        send_by: Timestamp,
        carrier: &'static str,
    ) -> Result<CommitAttempt, JobError> {
        let (vault, instruments, tenant) = (&self.settler.vault, &self.settler.instruments, practice.tenant);
        let place = Place::new("message", &opened.row.id, "body");
        let bytes = opened.body.as_str().as_bytes();
        let body = vault.seal(tenant, RetentionClass::Clinical, place, bytes).await.map_err(MessagingError::from)?;
        Ok(CommitAttempt {
            tenant,
            message: opened.row.id,
            number_token: opened.row.number_token.clone(),
            attempt,
            question: instruments.new_id(),
            practice: Arc::clone(practice),
            relevance: Arc::clone(&self.relevance),
            now: instruments.now(),
            send_by,
            body,
            content_hash: vault.content_hash(tenant, bytes).await.map_err(MessagingError::from)?,
            segments: u32::try_from(Segments::of(opened.body.as_str()).count).unwrap_or(u32::MAX),
            template_version: opened.template_version,
            says_how_to_stop: opened.says_how_to_stop,
            guard_blocks: self.guard_blocks(tenant, opened).await?,
            carrier,
            changed: changed_job(instruments, tenant, opened.row.id, &opened.row.number_token)?,
            journal: Journal::of(vault, instruments, tenant).await.map_err(MessagingError::from)?,
            instruments: instruments.clone(),
        })
    }

    /// Holds words that a person wrote against the guard. Templates were held against it when they were made.
    async fn guard_blocks(&self, tenant: Id<Tenant>, opened: &Opened) -> Result<bool, MessagingError> {
        if opened.template_version.is_some() || !opened.row.class.rule().guard {
            return Ok(false);
        }
        let terms = match opened.row.patient {
            Some(patient) => guard_terms(&self.directory, tenant, patient).await?,
            None => Vec::new(),
        };
        Ok(!guard::check(opened.body.as_str(), &terms).allowed)
    }

    fn outgoing(
        &self,
        practice: &Practice,
        carrier: &dyn Carrier,
        opened: Opened,
        (attempt, send_by): (Id<Attempt>, Timestamp),
        closes: Option<Timestamp>,
    ) -> Result<(OutgoingText, Id<Message>), MessagingError> {
        let mut status_callback = practice
            .public_url
            .join(&format!("carriers/{}/{}/status", carrier.name(), practice.slug))
            .map_err(|_| MessagingError::NotConfigured)?;
        status_callback.query_pairs_mut().append_pair("attempt", &attempt.to_string());
        let validity = self.validity(&opened.row, closes, carrier.longest_validity());
        let text = OutgoingText {
            tenant: practice.tenant,
            attempt,
            from: opened.our_number,
            to: opened.number,
            body: opened.body,
            status_callback,
            validity,
            send_by,
        };
        Ok((text, opened.row.id))
    }

    /// How long the carrier may try: until the text is stale or quiet hours begin, whichever comes first.
    fn validity(&self, row: &OutboundRow, closes: Option<Timestamp>, longest: Duration) -> Duration {
        let now = self.settler.instruments.now();
        let closes = match row.class.rule().quiet_hours {
            QuietHours::Wait => closes,
            QuietHours::Asked if !row.quiet_overridden => closes,
            _ => None,
        };
        let ends = [closes, row.expires_at].into_iter().flatten().min();
        let Some(end) = ends else { return longest };
        // What is past already still gets a second: whether it may leave at all was decided before.
        let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
        Duration::from_secs(left.as_secs().max(1)).min(longest)
    }
}

/// Counts what the gate decided.
fn decided(decision: &'static str, why: &'static str) {
    metrics::counter!("chartwire_gate_decisions_total", "decision" => decision, "why" => why).increment(1);
}

const fn outcome_word(outcome: &SendOutcome) -> &'static str {
    match outcome {
        SendOutcome::Accepted { .. } => "accepted",
        SendOutcome::Refused(_) => "refused",
        SendOutcome::NotSent { .. } => "not-sent",
        SendOutcome::Unknown { .. } => "unknown",
    }
}

/// The names of the patient's medications and conditions, as the guard takes them.
///
/// # Errors
/// [`MessagingError`] as vault or database are away.
pub async fn guard_terms(
    directory: &Directory,
    tenant: Id<Tenant>,
    patient: Id<Patient>,
) -> Result<Vec<guard::ChartTerm>, MessagingError> {
    let Some((terms, _)) = directory.chart_terms(tenant, patient).await? else { return Ok(Vec::new()) };
    Ok(terms
        .into_exposed()
        .into_iter()
        .map(|(kind, name)| match kind.as_str() {
            "medication" => guard::ChartTerm::medication(name),
            _ => guard::ChartTerm::condition(name),
        })
        .collect())
}

/// When a text that has waited since `since` looks again by itself.
fn look_again(since: Timestamp, now: Timestamp) -> Timestamp {
    let (soonest, latest) = LOOK_AGAIN;
    later(now, (now.duration_since(since) / 8).clamp(soonest, latest))
}

fn later(instant: Timestamp, span: SignedDuration) -> Timestamp {
    instant.checked_add(span).unwrap_or(Timestamp::MAX)
}
