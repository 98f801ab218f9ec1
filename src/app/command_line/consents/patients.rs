//! Whose lines they are: every patient of a list under our own id, read from the EHR where we have not met.

use super::{
    CommandError,
    list::{Listed, Mistake},
};
use crate::{
    app::{Foundation, ehrs},
    config::Settings,
    ehr::{Ehr, EhrError},
    feed::Intake,
    fhir::ResourceRef,
    kernel::{Id, Patient, PhoneNumber, Tenant},
    patient::{Directory, PatientRecord},
    smart::RefreshPolicy,
};
use std::{collections::HashMap, sync::Arc};

/// A patient on a number.
pub(super) struct Person {
    pub(super) patient: Id<Patient>,
    /// Every id that the patient has had.
    pub(super) ids: Vec<Id<Patient>>,
    pub(super) number_token: Vec<u8>,
}

/// Finds everybody; the inner error names every line whose patient or number is not there.
pub(super) async fn known(
    settings: &Settings,
    foundation: &Foundation,
    tenant: Id<Tenant>,
    listed: Vec<Listed>,
) -> Result<Result<Vec<(Listed, Arc<Person>)>, Vec<Mistake>>, CommandError> {
    let search = Search::of(settings, foundation, tenant)?;
    let mut found: HashMap<(String, PhoneNumber), Arc<Person>> = HashMap::new();
    let mut lines = Vec::with_capacity(listed.len());
    let mut mistakes = Vec::new();
    for line in listed {
        let key = (line.patient.clone(), line.phone.clone());
        if let Some(person) = found.get(&key) {
            lines.push((line, Arc::clone(person)));
            continue;
        }
        match search.person(&line).await? {
            Ok(person) => {
                let person = Arc::new(person);
                found.insert(key, Arc::clone(&person));
                lines.push((line, person));
            }
            Err(mistake) => mistakes.push(mistake),
        }
    }
    Ok(if mistakes.is_empty() { Ok(lines) } else { Err(mistakes) })
}

struct Search {
    tenant: Id<Tenant>,
    directory: Directory,
    intake: Intake,
    ehr: Arc<Ehr>,
}

impl Search {
    fn of(settings: &Settings, foundation: &Foundation, tenant: Id<Tenant>) -> Result<Self, CommandError> {
        let instruments = &foundation.instruments;
        let (db, vault) = (&foundation.db, &foundation.vault);
        let directory = Directory::new(db.clone(), vault.clone(), instruments.clone());
        let smart = ehrs::smart_client(instruments)?;
        let ehrs = ehrs::ehrs(settings, &foundation.tenants, (instruments, RefreshPolicy::default()), &smart)?;
        let ehr = ehrs.of(tenant).map_err(CommandError::Ehr)?;
        let intake = Intake::new(db.clone(), vault.clone(), instruments.clone(), ehrs, directory.clone());
        Ok(Self { tenant, directory, intake, ehr })
    }

    async fn person(&self, line: &Listed) -> Result<Result<Person, Mistake>, CommandError> {
        let stored = self.record(line).await?;
        if let Some(person) = self.on_number(stored.as_ref(), line).await? {
            return Ok(Ok(person));
        }
        // Not met yet, or the number is newer than what we know: the EHR says.
        let reference = ResourceRef::new("Patient", &line.patient);
        let Ok(reference) = reference else { return Ok(Err(unknown(line))) };
        match self.intake.take_patient(&self.ehr, &reference).await {
            Ok(_) => {}
            Err(EhrError::NotFound) => return Ok(Err(unknown(line))),
            Err(error) => return Err(CommandError::Ehr(error)),
        }
        let Some(told) = self.record(line).await? else { return Ok(Err(unknown(line))) };
        let person = self.on_number(Some(&told), line).await?;
        Ok(person.ok_or_else(|| {
            let fix = "the EHR has no such number for the patient; correct it here or there";
            Mistake::new(line.line, "phone", fix)
        }))
    }

    async fn record(&self, line: &Listed) -> Result<Option<PatientRecord>, CommandError> {
        Ok(self.directory.by_fhir_id(self.tenant, &line.patient).await?)
    }

    async fn on_number(&self, record: Option<&PatientRecord>, line: &Listed) -> Result<Option<Person>, CommandError> {
        let Some(record) = record else { return Ok(None) };
        let Some(number) = record.numbers.iter().find(|number| number.number == line.phone) else { return Ok(None) };
        Ok(Some(Person {
            patient: record.id,
            ids: self.directory.ids_of(self.tenant, record.id).await?,
            number_token: number.token.clone(),
        }))
    }
}

fn unknown(line: &Listed) -> Mistake {
    Mistake::new(line.line, "patient", "the EHR has no such patient; write the FHIR id, as in Patient/{id}")
}
