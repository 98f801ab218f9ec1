//! What stands between a patient and texts: for each number and kind of texts who said what, when, how and by which
//! wording.

use super::{LiveInbox, failed, staff_entry, words};
use crate::{
    access::{AccessError, ConsentRight, consent_right},
    audit::Action,
    consent::{self, Category, Decided, Entry, Proof, Source, Suppression},
    db::DbError,
    http::inbox::source::{
        CategoryConsent, ConsentLine, ConsentRecord, ConsentState, ConsentView, ConsentWording, InboxError,
        NumberConsent, NumberStopped, StoppedBy, Viewer,
    },
    kernel::{Id, Language, Patient, Phi, StaffUser, Tenant},
    patient::{NumberKind, PatientNumber, PatientRecord, texting_number},
    practice::Practice,
    template::{Params, TemplateError},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use std::cmp::Reverse;

/// Why consent is opened, in the audit log.
pub(super) const PURPOSE: &str = "consent";

impl LiveInbox {
    /// The kinds of texts that are granted on the number that is texted, in a line.
    pub(super) async fn consent_line(
        &self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
        number: Option<&PatientNumber>,
        stopped_since: Option<Timestamp>,
    ) -> Result<ConsentLine, InboxError> {
        let entries = consent::entries(&self.db, tenant, patient).await.map_err(failed)?;
        let (token, now) = (number.map_or(&[][..], |number| &number.token), self.instruments.now());
        let granted =
            Category::ALL.iter().filter(|category| Decided::of(&entries, token, **category, now).is_granted());
        Ok(ConsentLine {
            granted: granted.map(|category| words::consented(*category).to_owned()).collect(),
            stopped_since,
        })
    }

    pub(super) async fn consent_view(&self, viewer: &Viewer, patient: Id<Patient>) -> Result<ConsentView, InboxError> {
        let tenant = viewer.session.tenant;
        let right = consent_right(&viewer.session.roles).ok_or(InboxError::NotAllowed)?;
        let practice = self.practices.get(tenant).ok_or(InboxError::NotFound)?;
        let clinic = self.clinics.get(&tenant).ok_or(InboxError::NotFound)?;
        let record = self.directory.by_id(tenant, patient).await.map_err(failed)?.ok_or(InboxError::NotFound)?;
        self.note(viewer, staff_entry(viewer, Action::Read, PURPOSE).about("patient", record.id)).await?;
        let entries = consent::entries(&self.db, tenant, record.id).await.map_err(failed)?;
        let texted = texting_number(&record);
        let mut on_file: Vec<&PatientNumber> = record.numbers.iter().collect();
        on_file.sort_by_key(|number| (Reverse(is_texted(number, texted)), number.kind, number.rank));
        let mut numbers = Vec::with_capacity(on_file.len());
        for number in on_file {
            numbers.push(self.number_consent(tenant, &record, number, &entries).await?);
        }
        let language = record.language.unwrap_or(practice.default_language);
        Ok(ConsentView {
            clinic: clinic.name.clone(),
            patient: self.header(&practice, &record, texted),
            numbers,
            wordings: self.wordings(&practice, language).map_err(failed)?,
            right: if record.deceased { ConsentRight::See } else { right },
        })
    }

    async fn number_consent(
        &self,
        tenant: Id<Tenant>,
        record: &PatientRecord,
        number: &PatientNumber,
        entries: &[Entry],
    ) -> Result<NumberConsent, InboxError> {
        let mut categories = Vec::with_capacity(Category::ALL.len());
        for category in Category::ALL {
            let decided = Decided::of(entries, &number.token, *category, self.instruments.now());
            let deciding = decided.denial.or(decided.grant);
            categories.push(CategoryConsent {
                category: *category,
                state: match (decided.denial, decided.grant) {
                    (Some(_), _) => ConsentState::Denied,
                    (None, Some(_)) => ConsentState::Agreed,
                    (None, None) => ConsentState::NotAsked,
                },
                record: match deciding {
                    Some(entry) => Some(self.consent_record(tenant, entry).await?),
                    None => None,
                },
            });
        }
        let suppression = consent::suppression(&self.db, tenant, &number.token).await.map_err(failed)?;
        Ok(NumberConsent {
            key: number_key(number),
            written: Phi::new(number.number.as_written()),
            kind: words::phone(number.kind),
            is_texted: is_texted(number, texting_number(record)),
            shared_with: self.shared_with(tenant, record, Some(number)).await?,
            stopped: stopped(suppression),
            categories,
        })
    }

    async fn consent_record(&self, tenant: Id<Tenant>, entry: &Entry) -> Result<ConsentRecord, InboxError> {
        let proof = consent::proof(&self.db, &self.vault, tenant, entry.id).await.map_err(failed)?;
        let proof = proof.as_ref().map(Phi::expose);
        Ok(ConsentRecord {
            at: entry.effective_at,
            how: words::consent_source(entry.source, proof.map(|proof| proof.method)),
            by: self.recorder(tenant, entry, proof).await?,
            wording: words::wording(&entry.wording),
            proof: Phi::new(proof.map(|proof| proof.reference.clone()).unwrap_or_default()),
        })
    }

    /// Who recorded an entry, by name where there is one.
    async fn recorder(
        &self,
        tenant: Id<Tenant>,
        entry: &Entry,
        proof: Option<&Proof>,
    ) -> Result<Phi<String>, InboxError> {
        if let Ok(staff) = entry.recorded_by.parse::<Id<StaffUser>>() {
            return match self.staff.by_id(tenant, staff).await {
                Ok(member) => Ok(member.name),
                Err(AccessError::Database(DbError::NotFound)) => Ok(Phi::new("staff".to_owned())),
                Err(error) => Err(failed(error)),
            };
        }
        // An imported list names the person in the proof; of what came from the phone or the EHR, how it came says it all.
        Ok(Phi::new(proof.map(|proof| proof.recorded_by.clone()).unwrap_or_default()))
    }

    /// The form in use, in the patient's language first.
    fn wordings(&self, practice: &Practice, first: Language) -> Result<Vec<ConsentWording>, TemplateError> {
        let mut languages = Language::ALL;
        languages.sort_by_key(|language| *language != first);
        let wording = |language| {
            let word = self.catalogue.consent_form(language);
            let text = self.catalogue.form(word, &form_params(practice))?;
            Ok(ConsentWording { word: word.to_string(), language, text })
        };
        languages.into_iter().map(wording).collect()
    }
}

/// What the form for consent is filled with.
pub(super) fn form_params(practice: &Practice) -> Params {
    Params::new(&practice.clinic_name, &practice.zone).phone(&practice.phone)
}

/// Names a number in forms: opaque, and the same for as long as the number is on file.
pub(super) fn number_key(number: &PatientNumber) -> String {
    URL_SAFE_NO_PAD.encode(&number.token)
}

fn is_texted(number: &PatientNumber, texted: Option<&PatientNumber>) -> bool {
    texted.is_some_and(|texted| texted.token == number.token) && number.kind <= NumberKind::Unspecified
}

fn stopped(suppression: Suppression) -> Option<NumberStopped> {
    let by = match suppression.source {
        Some(Source::Staff) => StoppedBy::Staff,
        Some(Source::Carrier) => StoppedBy::Carrier,
        Some(Source::Import) => StoppedBy::List,
        _ => StoppedBy::Phone,
    };
    suppression.stopped.then_some(NumberStopped { since: suppression.since?, by })
}
