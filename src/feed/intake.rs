//! Takes one appointment in, with the patient and the consents that it needs.

use super::appointments::{Labels, WriteAppointment};
use crate::{
    consent::{self, Category, Decision, NewEntry, Source},
    db::{Command, Db, DbError, Tx},
    ehr::{Ehr, EhrError, Ehrs},
    fhir::{
        Parsed, ResourceRef, SearchMethod, SearchParams,
        views::{
            AppointmentView, ConsentProvisionType, ConsentState, ConsentView, ContactPointSystem, ContactPointUse,
            LinkType, PatientView, PhoneView,
        },
    },
    kernel::{Id, Instruments, Patient, Phi, Tenant},
    patient::{Directory, EhrPatient, NumberKind, PatientError, PersonName, Telecom},
    vault::{Place, RetentionClass, Vault},
};
use jiff::{SignedDuration, Timestamp};

/// A patient whom we read longer ago is read again when something of theirs comes by.
const STALE_AFTER: SignedDuration = SignedDuration::from_hours(12);
/// How many patients a chain of replacements may have.
const MOST_LINKS: usize = 5;

/// Takes resources of the EHR in.
#[derive(Clone)]
pub struct Intake {
    pub(super) db: Db,
    vault: Vault,
    pub(super) instruments: Instruments,
    pub(super) ehrs: Ehrs,
    pub(super) directory: Directory,
}

impl Intake {
    /// Over these rooms.
    #[must_use]
    pub const fn new(db: Db, vault: Vault, instruments: Instruments, ehrs: Ehrs, directory: Directory) -> Self {
        Self { db, vault, instruments, ehrs, directory }
    }

    /// Reads the appointment again and takes it in. The one path for whatever hints at a change.
    ///
    /// # Errors
    /// [`EhrError`] as EHR, vault or database are away.
    pub async fn refresh(&self, tenant: Id<Tenant>, appointment: &ResourceRef) -> Result<(), EhrError> {
        let ehr = self.ehrs.of(tenant)?;
        let view = AppointmentView::read(&ehr.client.read(appointment).await?)?;
        self.take_appointment(&ehr, &view).await
    }

    /// Takes an appointment in that was read with our own token.
    ///
    /// # Errors
    /// [`EhrError`] as EHR, vault or database are away.
    pub async fn take_appointment(&self, ehr: &Ehr, view: &AppointmentView) -> Result<(), EhrError> {
        let (Some(reference), Some(start), Some(end), Some(patient)) =
            (&view.reference, view.start, view.end, view.patient())
        else {
            // Without a time or a patient (a blocked room, a request) there is nobody to remind of anything.
            return Ok(());
        };
        let patient = self.take_patient(ehr, patient).await?;
        let labels = Labels { provider: display_of(view, "Practitioner"), place: display_of(view, "Location") };
        let sealed = serde_json::to_vec(&labels).map_err(|_| EhrError::Unreadable)?;
        let place = Place::keyed("appointment", reference.id(), "labels");
        let labels = self.vault.seal(ehr.tenant, RetentionClass::Directory, place, &sealed).await?;
        let command =
            WriteAppointment::of(ehr.tenant, view, reference, patient, (start, end), labels, &self.instruments)
                .ok_or(EhrError::Unreadable)?;
        Ok(self.db.execute(command).await?)
    }

    /// Our id of a patient of the EHR, read again where we do not know enough.
    ///
    /// # Errors
    /// [`EhrError`] as EHR, vault or database are away.
    pub async fn take_patient(&self, ehr: &Ehr, reference: &ResourceRef) -> Result<Id<Patient>, EhrError> {
        let now = self.instruments.now();
        let read_at = self.directory.refreshed_at(ehr.tenant, reference.id()).await.map_err(of_patient)?;
        if read_at.is_some_and(|at| now.duration_since(at) < STALE_AFTER)
            && let Some(known) = self.directory.id_of(ehr.tenant, reference.id()).await.map_err(of_patient)?
        {
            return Ok(known);
        }
        // All is read before anything is written: a patient who counts as known is not read again for a while.
        let (mut next, mut read) = (Some(reference.clone()), Vec::new());
        while let Some(reference) = next.take().filter(|_| read.len() < MOST_LINKS) {
            let view = PatientView::read(&ehr.client.read(&reference).await?)?;
            next = view.replaced_by().cloned();
            let consents = self.consents(ehr, &reference).await?;
            read.push((ehr_patient(&view, &reference, now), consents));
        }
        let mut survivor = None;
        for (told, consents) in read {
            let patient = self.directory.refresh(ehr.tenant, &told).await.map_err(of_patient)?;
            for entry in consents.iter().flat_map(|consent| self.entries(ehr.tenant, patient, consent)) {
                self.db.execute(Record(entry)).await?;
            }
            survivor = Some(patient);
        }
        let patient = survivor.ok_or(EhrError::Unreadable)?;
        self.take_chart_terms(ehr, reference, patient).await?;
        Ok(patient)
    }

    async fn consents(&self, ehr: &Ehr, reference: &ResourceRef) -> Result<Vec<ConsentView>, EhrError> {
        let params = SearchParams::new().with("patient", reference.to_string());
        let page = match ehr.client.search("Consent", params, SearchMethod::Get)?.all().await {
            Ok(page) => page,
            // An EHR without consents leaves the ledger to say what holds.
            Err(error) => match EhrError::from(error) {
                error @ (EhrError::Refused { .. } | EhrError::NotFound) => {
                    metrics::counter!("chartwire_consents_unread_total").increment(1);
                    tracing::warn!(%error, "the EHR shows no consents; our ledger alone says what holds");
                    return Ok(Vec::new());
                }
                error => return Err(error),
            },
        };
        let parsed = Parsed::read(&page.matches, ConsentView::read);
        let faults = page.quarantined.into_iter().chain(parsed.quarantined).map(|entry| entry.fault).collect();
        super::quarantine::note(&self.db, ehr.tenant, "Consent", faults, self.instruments.now()).await?;
        Ok(parsed.good)
    }

    fn entries(&self, tenant: Id<Tenant>, patient: Id<Patient>, consent: &ConsentView) -> Vec<NewEntry> {
        let now = self.instruments.now();
        let (Some(rule), Some(reference)) = (&consent.rule, &consent.reference) else { return Vec::new() };
        let permits = rule.kind == Some(ConsentProvisionType::Permit) && rule.period.contains(now);
        let decision = match consent.status {
            ConsentState::Active if permits => Decision::Granted,
            ConsentState::Active | ConsentState::Inactive | ConsentState::Rejected => Decision::Denied,
            _ => return Vec::new(),
        };
        let version = consent.version.as_ref().map_or("", |version| version.as_str());
        let categories = rule.codes.iter().flat_map(|code| &code.codings);
        let categories = categories.filter_map(|coding| Category::from_code(coding.code.as_deref()?));
        categories
            .map(|category| NewEntry {
                id: self.instruments.new_id(),
                tenant,
                patient: Some(patient),
                number_token: None,
                category,
                decision,
                source: Source::Fhir,
                wording: consent.policy_uris.first().cloned().unwrap_or_default(),
                recorded_by: "system".to_owned(),
                proof: None,
                origin: Some(format!("{reference}/_history/{version}")),
                // What was said before must not overtake what we were told since.
                effective_at: consent.given.or(consent.last_updated).unwrap_or(now).min(now),
                recorded_at: now,
            })
            .collect()
    }
}

pub(super) fn of_patient(error: PatientError) -> EhrError {
    match error {
        PatientError::Db(error) => error.into(),
        PatientError::Vault(error) => error.into(),
        PatientError::Stored => EhrError::Unreadable,
    }
}

fn display_of(view: &AppointmentView, resource_type: &str) -> Option<String> {
    let (index, _) = view.actors(resource_type).next()?;
    let display = view.participants.get(index)?.as_ref()?.display.as_ref()?;
    Some(display.expose().clone())
}

fn ehr_patient(view: &PatientView, reference: &ResourceRef, now: Timestamp) -> EhrPatient {
    let name = view.name(now);
    let given = name.and_then(|name| name.given.first()).map(|given| given.expose().clone());
    let family = name.and_then(|name| name.family.as_ref()).map(|family| family.expose().clone());
    let replaced_by = view.replaced_by().map(|other| other.id().to_owned());
    let replaces = view.links.iter().filter(|link| link.kind == LinkType::Replaces);
    EhrPatient {
        fhir_id: reference.id().to_owned(),
        version: view.version.as_ref().map(|version| version.as_str().to_owned()),
        name: Phi::new(PersonName { given: given.unwrap_or_default(), family: family.unwrap_or_default() }),
        birth_date: Phi::new(view.birth_date.as_ref().map(|date| date.expose().to_string())),
        gender: Phi::new(view.gender.as_ref().map(|gender| format!("{gender:?}").to_lowercase())),
        language: view.language(),
        deceased: view.deceased,
        telecom: view.phones.iter().filter_map(|phone| telecom(phone, now)).collect(),
        replaced_by,
        replaces: replaces.map(|link| link.other.id().to_owned()).collect(),
    }
}

fn telecom(phone: &PhoneView, now: Timestamp) -> Option<Telecom> {
    if !phone.period.contains(now) || phone.r#use == Some(ContactPointUse::Old) {
        return None;
    }
    let kind = match (phone.system, phone.r#use) {
        (ContactPointSystem::Sms, _) => NumberKind::Sms,
        (ContactPointSystem::Phone, Some(ContactPointUse::Mobile)) => NumberKind::Mobile,
        (ContactPointSystem::Phone, Some(ContactPointUse::Home)) => NumberKind::Home,
        (ContactPointSystem::Phone, Some(ContactPointUse::Work)) => NumberKind::Work,
        (ContactPointSystem::Phone, _) => NumberKind::Unspecified,
        _ => return None,
    };
    Some(Telecom { number: phone.number.clone()?, kind, rank: phone.rank.unwrap_or(u32::from(u16::MAX)) })
}

struct Record(NewEntry);

impl Command for Record {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        consent::record(tx, &self.0).await.map(|_| ())
    }
}
