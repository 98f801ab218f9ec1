//! Replies: whether one may be written, what the gate would say of it, and sending it off once.

use super::{
    LiveInbox, Loaded, failed,
    scope::{category_of_reply, may_write},
    staff_entry, words,
};
use crate::{
    access::{Scope, may_reply},
    audit::{self, Action, AuditEntry, AuditSigner, Detail},
    consent::Category,
    db::{Command, DbError, Recovery, Tx, sql},
    guard,
    http::inbox::source::{Blocked, DraftCheck, Encoding, InboxError, NewReply, ReplyOutcome, Viewer},
    kernel::{Id, Patient, Phi, PhoneNumber, Tenant},
    messaging::{self, Author, Class, Content, Message, NewText, PreparedText, guard_terms, thread::TextRecord},
    patient::{PatientNumber, texting_number},
    template::{self, Segments},
};
use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};

/// So soon after a colleague's reply a person is told of it.
const MOMENT: SignedDuration = SignedDuration::from_mins(5);
/// Where replies that were sent off are told apart, among the carriers' own ids.
const FORMS: &str = "inbox";

/// What is known of a reply before it is written.
pub(super) struct ReplyTerms {
    /// Why none may leave.
    pub(super) blocked: Option<Blocked>,
    /// Where it would go.
    pub(super) number: Option<PatientNumber>,
    /// The text that it would answer.
    pub(super) answers: Option<Id<Message>>,
    /// The consent that it needs.
    pub(super) category: Category,
    /// Until when it would wait.
    pub(super) quiet_until: Option<Timestamp>,
    /// Since when the number says STOP.
    pub(super) stopped_since: Option<Timestamp>,
    /// It is known whose number it is.
    pub(super) verified: bool,
    /// As of when the system was restored from a backup, while texts are held for that.
    pub(super) restored_as_of: Option<Timestamp>,
}

impl LiveInbox {
    pub(super) async fn reply_terms(&self, viewer: &Viewer, loaded: &Loaded) -> Result<ReplyTerms, InboxError> {
        let roles = &viewer.session.roles;
        let answered = answered(loaded, |scope| may_reply(roles, scope));
        let category = category_of_reply(roles);
        let number = number(loaded, answered).cloned();
        let now = self.instruments.now();
        let zones = [&loaded.record.zones[..], std::slice::from_ref(&loaded.practice.zone)].concat();
        let mut terms = ReplyTerms {
            blocked: None,
            answers: answered.map(|text| text.id),
            category,
            quiet_until: loaded.practice.quiet_hours.quiet_until_everywhere(now, &zones),
            stopped_since: None,
            verified: true,
            restored_as_of: self.restored_as_of(viewer.session.tenant).await?,
            number,
        };
        let mut stopped = false;
        let mut agreed = false;
        if let Some(number) = &terms.number {
            let stands = self.standing(viewer.session.tenant, loaded.record.id, &number.token, category).await?;
            stopped = stands.towards.suppressed;
            agreed = stands.towards.grant.is_some() && stands.towards.denial.is_none();
            terms.stopped_since = stands.towards.stopped_at;
            terms.verified = stands.verified;
        }
        let reasons = [
            (terms.restored_as_of.is_some(), Blocked::Recovering),
            (loaded.record.deceased, Blocked::Deceased),
            (!may_write(roles, answered.map(|text| loaded.scope_of(text))), Blocked::ReadOnly),
            (terms.number.is_none(), Blocked::NoNumber),
            (stopped, Blocked::Stopped),
            (!agreed, Blocked::NoConsent),
        ];
        terms.blocked = reasons.into_iter().find_map(|(holds, why)| holds.then_some(why));
        Ok(terms)
    }

    async fn restored_as_of(&self, tenant: Id<Tenant>) -> Result<Option<Timestamp>, InboxError> {
        let recovery = Recovery::of(&self.db, tenant).await.map_err(failed)?;
        Ok(recovery.filter(Recovery::is_under_way).map(|recovery| recovery.since))
    }

    /// The colleague who answered this patient a moment ago, by name.
    pub(super) async fn just_answered(&self, viewer: &Viewer, loaded: &Loaded) -> Result<Option<String>, InboxError> {
        let since = self.instruments.now().checked_sub(MOMENT).unwrap_or(Timestamp::MIN);
        let colleague =
            loaded.texts.iter().rev().take_while(|text| text.created_at >= since).find_map(|text| match text.author {
                Author::Staff(id) if id != viewer.session.staff => Some(id),
                _ => None,
            });
        let Some(id) = colleague else { return Ok(None) };
        let member = self.staff.by_id(viewer.session.tenant, id).await.map_err(failed)?;
        Ok(Some(member.name.into_exposed()))
    }

    pub(super) async fn check_draft(
        &self,
        viewer: &Viewer,
        patient: Id<Patient>,
        text: &Phi<String>,
    ) -> Result<DraftCheck, InboxError> {
        let loaded = self.load(viewer.session.tenant, patient).await?;
        let terms = self.reply_terms(viewer, &loaded).await?;
        self.checked(viewer, &loaded, &terms, text).await
    }

    async fn checked(
        &self,
        viewer: &Viewer,
        loaded: &Loaded,
        terms: &ReplyTerms,
        text: &Phi<String>,
    ) -> Result<DraftCheck, InboxError> {
        let chart = guard_terms(&self.directory, viewer.session.tenant, loaded.record.id).await.map_err(failed)?;
        let verdict = guard::check(text.as_str(), &chart);
        let segments = Segments::of(text.as_str());
        Ok(DraftCheck {
            segments: u32::try_from(segments.count).unwrap_or(u32::MAX),
            encoding: match segments.encoding {
                template::Encoding::Gsm7 => Encoding::Gsm7,
                template::Encoding::Ucs2 => Encoding::Ucs2,
            },
            findings: verdict.findings.iter().map(|found| words::finding(found, text.as_str())).collect(),
            neutral: None,
            blocked: terms.blocked,
            quiet_until: terms.quiet_until,
        })
    }

    pub(super) async fn send_reply(
        &self,
        viewer: &Viewer,
        patient: Id<Patient>,
        reply: &NewReply,
    ) -> Result<ReplyOutcome, InboxError> {
        let session = &viewer.session;
        let loaded = self.load(session.tenant, patient).await?;
        let terms = self.reply_terms(viewer, &loaded).await?;
        let check = self.checked(viewer, &loaded, &terms, &reply.text).await?;
        let (Some(number), None, true) = (&terms.number, terms.blocked, check.findings.is_empty()) else {
            return Ok(ReplyOutcome::Refused(check));
        };
        let text = NewText {
            tenant: session.tenant,
            patient: Some(loaded.record.id),
            our_number: our_number(&loaded).ok_or(InboxError::NotFound)?,
            number: number.number.clone(),
            class: Class::StaffReply,
            category: terms.category,
            language: loaded.record.language.unwrap_or(loaded.practice.default_language),
            content: Content::Written(reply.text.clone()),
            author: Author::Staff(session.staff),
            about: None,
            about_version: None,
            workflow: None,
            question: None,
            in_response_to: terms.answers,
            due_at: None,
            not_before: None,
            expires_at: None,
            quiet_overridden: reply.override_quiet_hours,
        };
        let prepared = self.outbox.prepare(text).await.map_err(failed)?;
        let detail = Detail::new().code("class", Class::StaffReply.code());
        let overrides = reply.override_quiet_hours && terms.quiet_until.is_some();
        let detail = if overrides { detail.code("override", "quiet-hours") } else { detail };
        let entry = staff_entry(viewer, Action::Send, "reply")
            .about("message", prepared.id)
            .about("patient", loaded.record.id)
            .with_detail(detail);
        let send = SendOnce {
            form: form_key(viewer, &reply.once),
            signer: self.signer(session.tenant).await?,
            prepared,
            entry,
        };
        self.db.execute(send).await.map_err(failed)?;
        Ok(match terms.quiet_until {
            Some(until) if !reply.override_quiet_hours => ReplyOutcome::Waits(until),
            _ => ReplyOutcome::Queued,
        })
    }
}

/// The newest text of the patient that may be answered.
fn answered(loaded: &Loaded, may_answer: impl Fn(Scope) -> bool) -> Option<&TextRecord> {
    loaded.texts.iter().rev().find(|text| text.inbound && may_answer(loaded.scope_of(text)))
}

/// The number that the patient wrote from, if it is still on file, else the one that is texted.
fn number<'a>(loaded: &'a Loaded, answered: Option<&TextRecord>) -> Option<&'a PatientNumber> {
    let wrote = answered.map(|text| text.number_token.as_slice());
    let on_file = loaded.record.numbers.iter().find(|number| Some(number.token.as_slice()) == wrote);
    on_file.or_else(|| texting_number(&loaded.record))
}

/// The number of ours that the thread goes over, if it is still ours.
fn our_number(loaded: &Loaded) -> Option<PhoneNumber> {
    let of_thread = loaded.texts.iter().rev().filter_map(|text| PhoneNumber::parse(&text.our_number).ok());
    let own = of_thread.into_iter().find(|number| loaded.practice.own_number(number).is_some());
    own.or_else(|| loaded.practice.numbers.first().map(|own| own.number.clone()))
}

/// Names a form that was sent off, whatever the browser sent: the same form of the same session is the same reply.
pub(super) fn form_key(viewer: &Viewer, once: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(viewer.session.id.as_bytes());
    context.update(once.as_bytes());
    URL_SAFE_NO_PAD.encode(context.finish())
}

/// Queues a reply unless its form was sent off before.
struct SendOnce {
    form: String,
    prepared: PreparedText,
    entry: AuditEntry,
    signer: AuditSigner,
}

impl Command for SendOnce {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let first = tx
            .execute(
                sql("INSERT INTO message_dedupe (tenant, carrier, carrier_id, message) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (tenant, carrier, carrier_id) DO NOTHING")
                .bind(self.signer.tenant())
                .bind(FORMS)
                .bind(self.form.clone())
                .bind(self.prepared.id),
            )
            .await?;
        if first == 1 {
            messaging::queue(tx, &self.prepared).await?;
            audit::record(tx, &self.entry, &self.signer).await?;
        }
        Ok(())
    }
}
