//! The inbox over the rooms: what [`InboxSource`] promises, from stored texts, patients, consent, tasks and the chart.
//!
//! What always holds: a text that is out of the roles' scope is not opened at all; whatever is opened stands in the
//! audit log before it is given; a merged patient is answered for by the survivor; a reply is held against the same
//! rules here as by the gate when it leaves, so that the person learns at once what would be dropped later.

mod consent;
mod failure;
mod reply;
mod scope;
mod stored;
mod texts;
mod told;
mod words;
mod worklist;

use super::source::{
    Answer, Composer, ConsentView, DraftCheck, Embedding, InboxError, InboxSource, NewReply, PatientHeader,
    ReplyOutcome, TaskView, ThreadTask, ThreadText, ThreadView, ToldByPatient, Verdict, Viewer,
};
use crate::{
    access::{Scope, StaffDirectory, Team, may_serve},
    audit::{self, Action, Actor, AuditEntry, AuditSigner},
    db::{Command, Db, DbError, Tx},
    kernel::{Id, Instruments, Patient, Phi, Tenant},
    messaging::{
        Message, Outbox, PersonSettles, Settler,
        thread::{TextRecord, Thread},
    },
    patient::{Directory, PatientNumber, PatientRecord},
    practice::{Practice, Practices},
    routing::{self, CloseTask, InForce, open_tasks, tell_pages},
    template::Catalogue,
    vault::Vault,
};
use failure::failed;
use futures_util::FutureExt as _;
use jiff::{civil, tz::TimeZone};
use reply::ReplyTerms;
use scope::StoredReading;
use std::{collections::HashMap, sync::Arc};

/// How many texts a thread shows.
const SHOWN: u32 = 100;
/// How many readings are looked at: what a shown text answers may be older than the thread.
const READINGS: u32 = 4 * SHOWN;
/// Why the thread is opened, in the audit log.
const PURPOSE: &str = "thread";

/// What the pages say of a clinic.
#[derive(Debug, Clone)]
pub struct ClinicPages {
    /// Its name as staff know it.
    pub name: String,
    /// Where its inbox may be embedded, and where it lives itself.
    pub embedding: Embedding,
}

/// The inbox over the rooms below.
pub struct LiveInbox {
    db: Db,
    vault: Vault,
    instruments: Instruments,
    practices: Arc<Practices>,
    clinics: HashMap<Id<Tenant>, ClinicPages>,
    directory: Directory,
    staff: StaffDirectory,
    thread: Thread,
    outbox: Outbox,
    settler: Settler,
    catalogue: Arc<Catalogue>,
}

impl LiveInbox {
    /// An inbox over these rooms, for these clinics.
    #[must_use]
    pub fn new(
        db: Db,
        vault: Vault,
        instruments: Instruments,
        practices: Arc<Practices>,
        clinics: HashMap<Id<Tenant>, ClinicPages>,
        settler: Settler,
        catalogue: Arc<Catalogue>,
    ) -> Self {
        Self {
            directory: Directory::new(db.clone(), vault.clone(), instruments.clone()),
            staff: StaffDirectory::new(db.clone(), vault.clone(), instruments.clone()),
            thread: Thread::new(db.clone(), vault.clone(), instruments.clone()),
            outbox: Outbox::new(vault.clone(), instruments.clone()),
            db,
            vault,
            instruments,
            practices,
            clinics,
            settler,
            catalogue,
        }
    }
}

/// A patient with the texts of the thread, none of them opened.
struct Loaded {
    practice: Arc<Practice>,
    record: PatientRecord,
    texts: Vec<TextRecord>,
    readings: HashMap<Id<Message>, StoredReading>,
    has_older: bool,
}

impl Loaded {
    fn scope_of(&self, text: &TextRecord) -> Scope {
        scope::scope_of(text, |id| self.readings.get(id))
    }
}

impl LiveInbox {
    async fn load(&self, tenant: Id<Tenant>, patient: Id<Patient>) -> Result<Loaded, InboxError> {
        let practice = self.practices.get(tenant).ok_or(InboxError::NotFound)?;
        let record = self.directory.by_id(tenant, patient).await.map_err(failed)?.ok_or(InboxError::NotFound)?;
        let mut texts = self.thread.with_patient(tenant, record.id, SHOWN + 1).await.map_err(failed)?;
        let has_older = texts.len() > SHOWN as usize;
        if has_older {
            texts.remove(0);
            // What a person has to decide is shown however old it is.
            let mut first = self.thread.unknown(tenant, record.id).await.map_err(failed)?;
            first.retain(|old| texts.iter().all(|text| text.id != old.id));
            texts.splice(0..0, first);
        }
        let readings = self.readings(tenant, record.id, READINGS).await?;
        Ok(Loaded { practice, record, texts, readings, has_older })
    }

    async fn view(&self, viewer: &Viewer, patient: Id<Patient>) -> Result<ThreadView, InboxError> {
        let tenant = viewer.session.tenant;
        let loaded = self.load(tenant, patient).await?;
        let clinic = self.clinics.get(&tenant).ok_or(InboxError::NotFound)?;
        self.note(viewer, staff_entry(viewer, Action::Read, PURPOSE).about("patient", loaded.record.id)).await?;
        let terms = self.reply_terms(viewer, &loaded).await?;
        Ok(ThreadView {
            clinic: clinic.name.clone(),
            patient: self.header(&loaded.practice, &loaded.record, terms.number.as_ref()),
            next_visit: self.next_visit(tenant, loaded.record.id).await?,
            consent: self.consent_line(tenant, loaded.record.id, terms.number.as_ref(), terms.stopped_since).await?,
            shared_with: self.shared_with(tenant, &loaded.record, terms.number.as_ref()).await?,
            texts: self.texts(viewer, &loaded).await?,
            has_older: loaded.has_older,
            tasks: self.tasks(viewer, loaded.record.id).await?,
            waiting: self.waiting(viewer).await?,
            composer: self.composer(viewer, &loaded, &terms).await?,
            restored_as_of: terms.restored_as_of,
        })
    }

    fn header(&self, practice: &Practice, record: &PatientRecord, number: Option<&PatientNumber>) -> PatientHeader {
        PatientHeader {
            name: whole_name(record),
            first_name: Phi::new(record.name.expose().given.clone()),
            details: self.details(practice, record),
            language: record.language.unwrap_or(practice.default_language),
            number_ends: number.map(|number| number.number.last_two_digits().to_owned()),
        }
    }

    /// Sex and age, such as `F 41`.
    fn details(&self, practice: &Practice, record: &PatientRecord) -> Phi<String> {
        let today = self.instruments.now().to_zoned(practice.zone.clone()).date();
        let gender = record.gender.expose().as_deref().and_then(|gender| gender.chars().next());
        let age = record.birth_date.expose().as_deref().and_then(|born| age(born, today));
        let details: Vec<String> = gender
            .map(|letter| letter.to_uppercase().to_string())
            .into_iter()
            .chain(age.map(|age| age.to_string()))
            .collect();
        Phi::new(details.join(" "))
    }

    async fn shared_with(
        &self,
        tenant: Id<Tenant>,
        record: &PatientRecord,
        number: Option<&PatientNumber>,
    ) -> Result<u32, InboxError> {
        let Some(number) = number else { return Ok(0) };
        let sharing = self.directory.with_number(tenant, &number.token).await.map_err(failed)?;
        let others = sharing.iter().filter(|other| other.id != record.id).count();
        Ok(u32::try_from(others).unwrap_or(u32::MAX))
    }

    async fn tasks(&self, viewer: &Viewer, patient: Id<Patient>) -> Result<Vec<TaskView>, InboxError> {
        let tenant = viewer.session.tenant;
        let mut tasks = Vec::new();
        for id in self.directory.ids_of(tenant, patient).await.map_err(failed)? {
            tasks.extend(open_tasks(&self.db, tenant, id).await.map_err(failed)?);
        }
        let mut shown: Vec<TaskView> = tasks.iter().filter_map(|task| served(viewer, task)).collect();
        shown.sort_by_key(|task| (std::cmp::Reverse(task.urgency), task.since));
        Ok(shown)
    }

    async fn composer(&self, viewer: &Viewer, loaded: &Loaded, terms: &ReplyTerms) -> Result<Composer, InboxError> {
        if let Some(blocked) = terms.blocked {
            return Ok(Composer::Blocked(blocked));
        }
        let mut warnings = Vec::new();
        if !terms.verified {
            warnings.push("Nobody has confirmed yet that this number is the patient's.".to_owned());
        }
        if let Some(writer) = self.just_answered(viewer, loaded).await? {
            warnings.push(format!("{writer} answered a moment ago."));
        }
        Ok(Composer::Open { quiet_until: terms.quiet_until, warnings })
    }

    async fn close(&self, viewer: &Viewer, patient: Id<Patient>, task: Id<ThreadTask>) -> Result<(), InboxError> {
        let tenant = viewer.session.tenant;
        let record = self.directory.by_id(tenant, patient).await.map_err(failed)?.ok_or(InboxError::NotFound)?;
        // A task that the roles do not serve is not shown, and so is not there.
        if !self.tasks(viewer, record.id).await?.iter().any(|open| open.id == task) {
            return Err(InboxError::Changed);
        }
        let entry =
            staff_entry(viewer, Action::Edit, "task-done").about("staff_task", task).about("patient", record.id);
        let close = CloseTask { tenant, task: task.cast(), by: viewer.session.staff, now: self.instruments.now() };
        self.finish(close, Some(record.id), entry).await
    }

    async fn finish(&self, task: CloseTask, patient: Option<Id<Patient>>, entry: AuditEntry) -> Result<(), InboxError> {
        let signer = self.signer(task.tenant).await?;
        let command = FinishTask { task, patient, entry, signer };
        if self.db.execute(command).await.map_err(failed)? { Ok(()) } else { Err(InboxError::Changed) }
    }

    async fn settle_text(
        &self,
        viewer: &Viewer,
        patient: Id<Patient>,
        text: Id<ThreadText>,
        verdict: Verdict,
    ) -> Result<(), InboxError> {
        let tenant = viewer.session.tenant;
        let loaded = self.load(tenant, patient).await?;
        let found = loaded.texts.iter().find(|known| known.id == text.cast()).ok_or(InboxError::NotFound)?;
        if !scope::may_settle(&viewer.session.roles, loaded.scope_of(found)) {
            return Err(InboxError::NotAllowed);
        }
        let decision = match verdict {
            Verdict::Sent => PersonSettles::AsSent,
            Verdict::NotSent => PersonSettles::AsNotSent,
        };
        let (person, request) = (viewer.session.staff, Some(viewer.request.0));
        let settled = self.settler.settle_by_person(tenant, found.id, decision, person, request).await;
        if settled.map_err(failed)? { Ok(()) } else { Err(InboxError::Changed) }
    }

    async fn note(&self, viewer: &Viewer, entry: AuditEntry) -> Result<(), InboxError> {
        let signer = self.signer(viewer.session.tenant).await?;
        audit::record_alone(&self.db, entry, signer).await.map(|_| ()).map_err(failed)
    }

    async fn signer(&self, tenant: Id<Tenant>) -> Result<AuditSigner, InboxError> {
        AuditSigner::new(&self.vault, self.instruments.clone(), tenant).await.map_err(failed)
    }
}

/// A task as the session sees it, if its roles serve it.
fn served(viewer: &Viewer, task: &routing::TaskView) -> Option<TaskView> {
    let team = Team::from_code(&task.team).filter(|team| may_serve(&viewer.session.roles, *team))?;
    Some(TaskView {
        id: task.id.cast::<ThreadTask>(),
        team,
        reason: Phi::new(words::task(&task.reason).to_owned()),
        urgency: words::urgency(&task.urgency),
        since: task.created_at,
        about: task.message.map(Id::cast::<ThreadText>),
    })
}

fn staff_entry(viewer: &Viewer, action: Action, purpose: &'static str) -> AuditEntry {
    AuditEntry::new(Actor::Staff(viewer.session.staff), action, purpose).in_request(viewer.request.0)
}

fn whole_name(record: &PatientRecord) -> Phi<String> {
    let name = record.name.expose();
    Phi::new(format!("{} {}", name.given, name.family).trim().to_owned())
}

/// The age in whole years, where the birth date is known to the day.
fn age(born: &str, today: civil::Date) -> Option<i16> {
    let born: civil::Date = born.parse().ok()?;
    let had_birthday = (today.month(), today.day()) >= (born.month(), born.day());
    let years = today.year() - born.year() - i16::from(!had_birthday);
    (years >= 0).then_some(years)
}

/// Closes a task, says so to open pages and to the audit log.
struct FinishTask {
    task: CloseTask,
    patient: Option<Id<Patient>>,
    entry: AuditEntry,
    signer: AuditSigner,
}

impl Command for FinishTask {
    type Output = bool;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        if !self.task.run(tx).await? {
            return Ok(false);
        }
        audit::record(tx, &self.entry, &self.signer).await?;
        tell_pages(tx, self.task.tenant, self.patient);
        Ok(true)
    }
}

impl InboxSource for LiveInbox {
    fn embedding(&self, tenant: Option<Id<Tenant>>) -> Embedding {
        if let Some(tenant) = tenant {
            return self.clinics.get(&tenant).map(|clinic| clinic.embedding.clone()).unwrap_or_default();
        }
        let mut everywhere = Embedding::default();
        for clinic in self.clinics.values() {
            everywhere.frame_ancestors.extend(clinic.embedding.frame_ancestors.iter().cloned());
            everywhere.own_origins.extend(clinic.embedding.own_origins.iter().cloned());
        }
        everywhere.frame_ancestors.sort();
        everywhere.frame_ancestors.dedup();
        everywhere.own_origins.sort();
        everywhere.own_origins.dedup();
        everywhere
    }

    fn zone(&self, tenant: Id<Tenant>) -> TimeZone {
        self.practices.get(tenant).map_or(TimeZone::UTC, |practice| practice.zone.clone())
    }

    fn thread<'a>(&'a self, viewer: &'a Viewer, patient: Id<Patient>) -> Answer<'a, ThreadView> {
        self.view(viewer, patient).boxed()
    }

    fn check<'a>(&'a self, viewer: &'a Viewer, patient: Id<Patient>, text: &'a Phi<String>) -> Answer<'a, DraftCheck> {
        self.check_draft(viewer, patient, text).boxed()
    }

    fn reply<'a>(&'a self, viewer: &'a Viewer, patient: Id<Patient>, reply: &'a NewReply) -> Answer<'a, ReplyOutcome> {
        self.send_reply(viewer, patient, reply).boxed()
    }

    fn settle<'a>(
        &'a self,
        viewer: &'a Viewer,
        patient: Id<Patient>,
        text: Id<ThreadText>,
        verdict: Verdict,
    ) -> Answer<'a, ()> {
        self.settle_text(viewer, patient, text, verdict).boxed()
    }

    fn close_task<'a>(&'a self, viewer: &'a Viewer, patient: Id<Patient>, task: Id<ThreadTask>) -> Answer<'a, ()> {
        self.close(viewer, patient, task).boxed()
    }

    fn consent<'a>(&'a self, viewer: &'a Viewer, patient: Id<Patient>) -> Answer<'a, ConsentView> {
        self.consent_view(viewer, patient).boxed()
    }

    fn record_consent<'a>(
        &'a self,
        viewer: &'a Viewer,
        patient: Id<Patient>,
        told: &'a ToldByPatient,
    ) -> Answer<'a, InForce> {
        self.record_told(viewer, patient, told).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn an_age_is_that_of_the_last_birthday() {
        assert_eq!(age("1985-11-24", date(2026, 11, 23)), Some(40));
        assert_eq!(age("1985-11-23", date(2026, 11, 23)), Some(41));
        assert_eq!(age("1985-11", date(2026, 11, 23)), None);
        assert_eq!(age("2030-01-01", date(2026, 11, 23)), None);
    }
}
