//! What workflows say, and to whom.

use super::{Workflow, Workflows, store::Appointment};
use crate::{
    access::Team,
    consent::Category,
    intent::{Context, Urgency},
    jobs::JobError,
    kernel::{Id, Language, Patient, Phi, PhoneNumber},
    messaging::{Author, Class, Content, Message, MessagingError, NewQuestion, NewText, Offered},
    patient::texting_number,
    practice::Practice,
    routing::{NewTask, TaskReason},
    template::{Params, TextKey},
    vault::Place,
};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// How soon a person is promised, counted in hours in which the practice texts.
const PERSON_WITHIN: SignedDuration = SignedDuration::from_hours(2);

/// How long after a visit an answer about it is still taken for one, so that it is told that it came too late.
const LATE_ANSWER_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// Until when a question about a visit at `start` can be answered.
pub(super) fn answerable_until(start: Timestamp) -> Timestamp {
    start.checked_add(LATE_ANSWER_WITHIN).unwrap_or(start)
}

/// Who is texted, from which of our numbers.
#[derive(Debug, Clone)]
pub(super) struct Recipient {
    pub(super) patient: Id<Patient>,
    pub(super) our_number: PhoneNumber,
    pub(super) number: PhoneNumber,
    pub(super) token: Vec<u8>,
    pub(super) language: Language,
    pub(super) first: Option<Phi<String>>,
}

/// Whether a patient can be texted.
#[derive(Debug)]
pub(super) enum Reach {
    /// On this number.
    On(Box<Recipient>),
    /// There is no number for it.
    NoNumber,
    /// The patient has died, or is not known.
    Nobody,
}

/// Something to say.
#[derive(Debug, Clone)]
pub(super) struct Saying {
    pub(super) key: TextKey,
    pub(super) params: Params,
    pub(super) category: Category,
    pub(super) about: Option<String>,
    pub(super) about_version: Option<String>,
    pub(super) question: Option<NewQuestion>,
    pub(super) due: Option<Timestamp>,
    pub(super) not_before: Option<Timestamp>,
    pub(super) expires: Option<Timestamp>,
}

impl Saying {
    pub(super) fn new(key: TextKey, params: Params, category: Category) -> Self {
        Self {
            key,
            params,
            category,
            about: None,
            about_version: None,
            question: None,
            due: None,
            not_before: None,
            expires: None,
        }
    }

    /// It speaks of this appointment, of which `version` must hold when it leaves.
    pub(super) fn about(self, appointment: &str, version: String) -> Self {
        Self { about: Some(Appointment::reference(appointment)), about_version: Some(version), ..self }
    }

    /// It asks, and answers count until `expires_at`.
    pub(super) fn asking(self, context: Context, expires_at: Timestamp) -> Self {
        let question = NewQuestion { context, cancel_pending: false, offered: Vec::new(), expires_at };
        Self { question: Some(question), ..self }
    }

    /// It asks which of these times suits.
    pub(super) fn offering(self, offered: Vec<Offered>, expires_at: Timestamp) -> Self {
        let question = NewQuestion { context: Context::RescheduleOffer, cancel_pending: false, offered, expires_at };
        Self { question: Some(question), ..self }
    }

    /// It was planned for `instant`.
    pub(super) fn planned_for(self, instant: Timestamp) -> Self {
        Self { due: Some(instant), ..self }
    }

    /// Stale from `instant` on.
    pub(super) fn until(self, instant: Timestamp) -> Self {
        Self { expires: Some(instant), ..self }
    }
}

/// Names as patients may read them: what the feed seals in `appointment.labels`.
#[derive(Debug, Clone, Default, Deserialize)]
struct StoredLabels {
    provider: Option<String>,
    place: Option<String>,
}

/// The names that a visit's texts are filled in with.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    pub(super) provider: Option<Phi<String>>,
    pub(super) place: Option<Phi<String>>,
}

impl Workflows {
    pub(super) async fn labels(&self, practice: &Practice, visit: &Appointment) -> Result<Labels, JobError> {
        let place = Place::keyed("appointment", &visit.id, "labels");
        let plain = self.vault.open(practice.tenant, place, &visit.labels).await.map_err(MessagingError::from)?;
        let stored: StoredLabels = serde_json::from_slice(&plain).map_err(|_| MessagingError::Stored)?;
        Ok(Labels { provider: stored.provider.map(Phi::new), place: stored.place.map(Phi::new) })
    }

    /// How `patient` can be texted, without an answer to go by.
    pub(super) async fn reach(&self, practice: &Practice, patient: Id<Patient>) -> Result<Reach, JobError> {
        let Some(record) = self.directory.by_id(practice.tenant, patient).await? else { return Ok(Reach::Nobody) };
        if record.deceased {
            return Ok(Reach::Nobody);
        }
        let (Some(number), Some(own)) = (texting_number(&record), practice.numbers.first()) else {
            return Ok(Reach::NoNumber);
        };
        Ok(Reach::On(Box::new(Recipient {
            patient: record.id,
            our_number: own.number.clone(),
            number: number.number.clone(),
            token: number.token.clone(),
            language: record.language.unwrap_or(practice.default_language),
            first: first_name(practice, record.name.expose().given.as_str()),
        })))
    }

    /// The text that says `saying`.
    pub(super) fn text(
        practice: &Practice,
        to: &Recipient,
        workflow: Id<Workflow>,
        saying: Saying,
        answers: Option<Id<Message>>,
    ) -> NewText {
        NewText {
            tenant: practice.tenant,
            patient: Some(to.patient),
            our_number: to.our_number.clone(),
            number: to.number.clone(),
            // Whether it still is one when it leaves is the gate's to say.
            class: if answers.is_some() { Class::Answer } else { Class::Automated },
            category: saying.category,
            language: to.language,
            content: Content::Template { key: saying.key, params: Box::new(saying.params) },
            author: Author::System,
            about: saying.about,
            about_version: saying.about_version,
            workflow: Some(workflow),
            question: saying.question,
            in_response_to: answers,
            due_at: saying.due,
            not_before: saying.not_before,
            expires_at: saying.expires,
            quiet_overridden: false,
        }
    }

    /// The text that a person will answer, for whoever opens the task in the same step.
    pub(super) fn person(&self, practice: &Practice, category: Category) -> Saying {
        let by = person_by(practice, self.instruments.now());
        Saying::new(TextKey::Person, plain(practice).by(by), category).until(by)
    }

    /// Work for a person. `key` makes it the same task when it is opened again.
    pub(super) fn task(
        &self,
        practice: &Practice,
        (team, reason): (Team, TaskReason),
        patient: Id<Patient>,
        about: String,
        key: String,
    ) -> NewTask {
        NewTask {
            id: self.instruments.new_id(),
            tenant: practice.tenant,
            patient: Some(patient),
            message: None,
            team,
            reason,
            urgency: Urgency::Routine,
            about: Some(about),
            unique_key: key,
            now: self.instruments.now(),
        }
    }
}

/// The parameters that every text has.
pub(super) fn plain(practice: &Practice) -> Params {
    Params::new(&practice.clinic_name, &practice.zone)
}

/// The first name, where the practice greets by it.
pub(super) fn first_name(practice: &Practice, given: &str) -> Option<Phi<String>> {
    (practice.first_name_in_texts && !given.is_empty()).then(|| Phi::new(given.to_owned()))
}

/// Until when a person will have answered: in two hours, and not in the night.
pub(super) fn person_by(practice: &Practice, now: Timestamp) -> Timestamp {
    let later = |instant: Timestamp| instant.checked_add(PERSON_WITHIN).unwrap_or(instant);
    let soon = later(now);
    practice.quiet_hours.quiet_until(soon, &practice.zone).map_or(soon, later)
}
