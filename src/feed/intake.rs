//! Takes one appointment in, with the patient and the consents that it needs.

use super::appointments::{self, Labels, NoteOff, OffBy, Stands, WriteAppointment, Written};
use crate::{
    db::Db,
    ehr::{Ehr, EhrError, Ehrs},
    fhir::{
        ResourceRef,
        views::{AppointmentView, ContactPointSystem, ContactPointUse, LinkType, PatientView, PhoneView},
    },
    kernel::{Id, Instruments, Patient, Phi, Tenant},
    patient::{Directory, EhrPatient, NumberKind, PatientError, PersonName, Telecom, zones_of_state},
    vault::{Place, RetentionClass, Vault},
};
use jiff::{SignedDuration, Timestamp};

/// A patient whom we read longer ago is read again when something of theirs comes by.
const STALE_AFTER: SignedDuration = SignedDuration::from_hours(12);
/// Before an automated text nothing about its patient may be older: who withdraws consent in the EHR is not texted later.
const FRESH_WITHIN: SignedDuration = SignedDuration::from_mins(5);
/// How often an appointment is read that we change ourselves meanwhile.
const MOST_READS: usize = 3;
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

    /// Reads the appointment again and takes it in, and with it whom it is for. The one path for whatever hints at a
    /// change.
    ///
    /// # Errors
    /// [`EhrError`] as EHR, vault or database are away.
    pub async fn refresh(&self, tenant: Id<Tenant>, appointment: &ResourceRef) -> Result<(), EhrError> {
        let ehr = self.ehrs.of(tenant)?;
        self.read_appointment(&ehr, appointment, FRESH_WITHIN).await
    }

    /// Reads a patient again, with what they agreed to, unless that was done within minutes: before an automated text
    /// is written, and before one leaves that has waited. One whom the EHR does not have stays as known.
    ///
    /// # Errors
    /// [`EhrError`] as EHR, vault or database are away.
    pub async fn refresh_patient(&self, tenant: Id<Tenant>, patient: Id<Patient>) -> Result<(), EhrError> {
        let ehr = self.ehrs.of(tenant)?;
        let Some(known) = self.directory.by_id(tenant, patient).await.map_err(of_patient)? else { return Ok(()) };
        let reference = ResourceRef::new("Patient", &known.fhir_id)?;
        match self.patient_within(&ehr, &reference, FRESH_WITHIN).await {
            Err(EhrError::NotFound) => Ok(()),
            read => read.map(|_| ()),
        }
    }

    /// Takes in an appointment of a page. A page may be minutes old when its last entry is looked at: what differs from
    /// what we know is read again.
    ///
    /// # Errors
    /// [`EhrError`] as EHR, vault or database are away.
    pub(super) async fn take_appointment(&self, ehr: &Ehr, view: &AppointmentView) -> Result<(), EhrError> {
        let Some(reference) = &view.reference else { return Ok(()) };
        match appointments::stands(&self.db, ehr.tenant, reference.id()).await? {
            None => self.write(ehr, view, None, STALE_AFTER).await.map(|_| ()),
            Some(stands) if stands.agrees(view) => match view.patient() {
                Some(patient) => self.take_patient(ehr, patient).await.map(|_| ()),
                None => Ok(()),
            },
            Some(_) => self.read_appointment(ehr, reference, STALE_AFTER).await,
        }
    }

    async fn read_appointment(
        &self,
        ehr: &Ehr,
        reference: &ResourceRef,
        patient_within: SignedDuration,
    ) -> Result<(), EhrError> {
        for _ in 0..MOST_READS {
            // First what we know, then the EHR: what we write ourselves in between is seen.
            let stands = appointments::stands(&self.db, ehr.tenant, reference.id()).await?;
            let written = match ehr.client.read(reference).await.map_err(EhrError::from) {
                Ok(resource) => {
                    let view = AppointmentView::read(&resource)?;
                    self.write(ehr, &view, stands, patient_within).await?
                }
                Err(EhrError::NotFound) => self.note_off(ehr.tenant, reference, stands, OffBy::Gone).await?,
                Err(error) => return Err(error),
            };
            if written == Written::AsRead {
                return Ok(());
            }
        }
        Err(EhrError::Conflict)
    }

    /// Writes what was read, unless what we know is not `stands` any more.
    async fn write(
        &self,
        ehr: &Ehr,
        view: &AppointmentView,
        stands: Option<Stands>,
        patient_within: SignedDuration,
    ) -> Result<Written, EhrError> {
        let Some(reference) = &view.reference else { return Err(EhrError::Unreadable) };
        if !ehr.takes_visit(view, self.instruments.now()).await? {
            return self.note_off(ehr.tenant, reference, stands, OffBy::Gone).await;
        }
        let (Some(start), Some(end), Some(patient)) = (view.start, view.end, view.patient()) else {
            // Without a time or a patient (a blocked room, a request, some cancelled visits) there is nobody to remind of
            // anything any more.
            return self.note_off(ehr.tenant, reference, stands, OffBy::View(view)).await;
        };
        let patient = self.patient_within(ehr, patient, patient_within).await?;
        let labels = Labels { provider: display_of(view, "Practitioner"), place: display_of(view, "Location") };
        let sealed = serde_json::to_vec(&labels).map_err(|_| EhrError::Unreadable)?;
        let place = Place::keyed("appointment", reference.id(), "labels");
        let labels = self.vault.seal(ehr.tenant, RetentionClass::Directory, place, &sealed).await?;
        let about = (ehr.tenant, reference.id());
        let command = WriteAppointment::of(about, view, patient, (start, end), (stands, labels), &self.instruments)
            .ok_or(EhrError::Unreadable)?;
        Ok(self.db.execute(command).await?)
    }

    async fn note_off(
        &self,
        tenant: Id<Tenant>,
        reference: &ResourceRef,
        stands: Option<Stands>,
        off: OffBy<'_>,
    ) -> Result<Written, EhrError> {
        // What we never knew is nothing to anybody.
        let Some(stands) = stands else { return Ok(Written::AsRead) };
        let command =
            NoteOff::of(tenant, reference.id(), stands, off, &self.instruments).ok_or(EhrError::Unreadable)?;
        Ok(self.db.execute(command).await?)
    }

    /// Our id of a patient of the EHR, read again where we do not know enough.
    ///
    /// # Errors
    /// [`EhrError`] as EHR, vault or database are away.
    pub async fn take_patient(&self, ehr: &Ehr, reference: &ResourceRef) -> Result<Id<Patient>, EhrError> {
        self.patient_within(ehr, reference, STALE_AFTER).await
    }

    async fn patient_within(
        &self,
        ehr: &Ehr,
        reference: &ResourceRef,
        at_most: SignedDuration,
    ) -> Result<Id<Patient>, EhrError> {
        let now = self.instruments.now();
        let read_at = self.directory.refreshed_at(ehr.tenant, reference.id()).await.map_err(of_patient)?;
        if read_at.is_some_and(|at| now.duration_since(at) < at_most)
            && let Some(known) = self.directory.id_of(ehr.tenant, reference.id()).await.map_err(of_patient)?
        {
            return Ok(known);
        }
        // All is read before anything is written, and that it was taken in is noted last: who fails on the way reads all
        // of it again.
        let (mut next, mut told) = (Some(reference.clone()), Vec::new());
        let mut shown = Some(Vec::new());
        while let Some(reference) = next.take().filter(|_| told.len() < MOST_LINKS) {
            let view = PatientView::read(&ehr.client.read(&reference).await?)?;
            next = view.replaced_by().cloned();
            let consents = self.consents(ehr, &reference).await?;
            shown = shown.zip(consents).map(|(mut all, consents)| {
                all.extend(consents);
                all
            });
            told.push(ehr_patient(&view, &reference, now));
        }
        let mut survivor = None;
        for told in told {
            survivor = Some(self.directory.refresh(ehr.tenant, &told).await.map_err(of_patient)?);
        }
        let patient = survivor.ok_or(EhrError::Unreadable)?;
        if let Some(shown) = shown {
            self.take_consents(ehr, patient, shown).await?;
        }
        if self.chart_terms_are_old(ehr.tenant, patient, now).await? {
            self.take_chart_terms(ehr, reference, patient).await?;
        }
        self.directory.note_refreshed(ehr.tenant, patient, now).await.map_err(of_patient)?;
        Ok(patient)
    }

    async fn chart_terms_are_old(
        &self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
        now: Timestamp,
    ) -> Result<bool, EhrError> {
        let read_at = self.directory.chart_terms_at(tenant, patient).await.map_err(of_patient)?;
        Ok(read_at.is_none_or(|at| now.duration_since(at) >= STALE_AFTER))
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
        zones: view.states(now).flat_map(|state| zones_of_state(state.as_str())).copied().collect(),
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
