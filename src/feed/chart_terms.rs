//! The names of what a patient takes and has, for the content guard.
//!
//! Always: the guard never loses names because the EHR did not tell them: those of before stay until the EHR has been
//! read again, and what could not be read is counted, logged without content, and read again where that may help.

use super::{CHART_TERMS_DUE, Intake, intake::of_patient, quarantine};
use crate::{
    db::{Command, DbError, Tx},
    ehr::{Ehr, EhrError},
    fhir::{
        ParseFault, Parsed, Resource, ResourceRef, SearchMethod, SearchParams,
        views::{ConditionView, MedicationRequestView},
    },
    jobs::{JobError, LeasedJob, NewJob, Outcome, enqueue},
    kernel::{Id, Patient, Phi, Tenant},
    patient::PatientError,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How soon names that could not be read are read again; from then on with the worker's pauses.
const READ_AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// Reads the names out of what a search found, and what it could not read.
type Names = fn(&[Resource]) -> (Vec<String>, Vec<ParseFault>);
/// Under what the guard knows the names, where they stand in the EHR, and how they are read.
const KINDS: [(&str, &str, Names); 2] =
    [("medication", "MedicationRequest", medications), ("condition", "Condition", conditions)];

fn medications(found: &[Resource]) -> (Vec<String>, Vec<ParseFault>) {
    let parsed = Parsed::read(found, MedicationRequestView::read);
    let names = parsed.good.iter().filter_map(|view| view.medication.expose().words().map(str::to_owned));
    (names.collect(), parsed.quarantined.into_iter().map(|entry| entry.fault).collect())
}

fn conditions(found: &[Resource]) -> (Vec<String>, Vec<ParseFault>) {
    let parsed = Parsed::read(found, ConditionView::read);
    let names = parsed.good.iter().filter_map(|view| view.code.as_ref()?.expose().words().map(str::to_owned));
    (names.collect(), parsed.quarantined.into_iter().map(|entry| entry.fault).collect())
}

/// The payload of [`CHART_TERMS_DUE`].
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ChartTermsDue {
    /// The patient's FHIR id.
    patient: String,
}

impl Intake {
    /// Takes over the names of `patient`, and has those read later that the EHR could not tell now: no reminder waits
    /// for them.
    pub(super) async fn take_chart_terms(
        &self,
        ehr: &Ehr,
        reference: &ResourceRef,
        patient: Id<Patient>,
    ) -> Result<(), EhrError> {
        match self.read_chart_terms(ehr, reference, patient).await {
            Err(error @ (EhrError::Unavailable { .. } | EhrError::Unknown | EhrError::Conflict)) => {
                tracing::warn!(%error, "chart terms are read again later; the guard goes by those of before");
                self.read_again(ehr.tenant, reference).await
            }
            read => read,
        }
    }

    /// Handles [`CHART_TERMS_DUE`].
    ///
    /// # Errors
    /// [`JobError::Retry`] as EHR, vault or database are away.
    pub async fn chart_terms_due(&self, job: LeasedJob) -> Outcome {
        let ChartTermsDue { patient } = job.payload()?;
        let ehr = self.ehrs.of(job.tenant)?;
        let reference = ResourceRef::new("Patient", &patient).map_err(|_| JobError::dead("payload"))?;
        let Some(known) = self.directory.id_of(job.tenant, &patient).await? else { return Ok(()) };
        Ok(self.read_chart_terms(&ehr, &reference, known).await?)
    }

    /// Reads each kind; what cannot be read keeps the names of before. The first passing trouble is told after all
    /// kinds were tried.
    async fn read_chart_terms(&self, ehr: &Ehr, reference: &ResourceRef, patient: Id<Patient>) -> Result<(), EhrError> {
        let known = match self.directory.chart_terms(ehr.tenant, patient).await {
            Ok(known) => known.map(|(terms, _)| terms.into_exposed()).unwrap_or_default(),
            Err(PatientError::Stored) => {
                tracing::error!(%patient, "the chart terms of before cannot be read by this version of the program");
                Vec::new()
            }
            Err(error) => return Err(of_patient(error)),
        };
        let mut terms: Vec<(String, String)> = Vec::new();
        let mut passing = None;
        for (kind, resource, names) in KINDS {
            match self.names(ehr, reference, resource, names).await {
                Ok(names) => terms.extend(names.into_iter().map(|name| (kind.to_owned(), name))),
                Err(error @ (EhrError::Db(_) | EhrError::Vault(_))) => return Err(error),
                Err(error) => {
                    metrics::counter!("chartwire_chart_terms_unread_total", "resource" => resource).increment(1);
                    terms.extend(known.iter().filter(|(of, _)| of == kind).cloned());
                    match error {
                        // Nobody but the EHR's people can mend that, and nothing is gained by asking again.
                        EhrError::Refused { .. } | EhrError::NotFound | EhrError::Unreadable => {
                            tracing::warn!(resource, %error, "the guard goes without the chart's names of this kind");
                        }
                        error => passing = passing.or(Some(error)),
                    }
                }
            }
        }
        self.directory.set_chart_terms(ehr.tenant, patient, &Phi::new(terms)).await.map_err(of_patient)?;
        passing.map_or(Ok(()), Err)
    }

    async fn names(
        &self,
        ehr: &Ehr,
        reference: &ResourceRef,
        resource: &'static str,
        names: Names,
    ) -> Result<Vec<String>, EhrError> {
        let params = SearchParams::new().with("patient", reference.to_string());
        let page = ehr.client.search(resource, params, SearchMethod::Get)?.all().await?;
        let (names, mut faults) = names(&page.matches);
        faults.extend(page.quarantined.into_iter().map(|entry| entry.fault));
        quarantine::note(&self.db, ehr.tenant, resource, faults, self.instruments.now()).await?;
        Ok(names)
    }

    async fn read_again(&self, tenant: Id<Tenant>, reference: &ResourceRef) -> Result<(), EhrError> {
        let due = ChartTermsDue { patient: reference.id().to_owned() };
        let job = NewJob::new(&self.instruments, tenant, CHART_TERMS_DUE, &due).map_err(|_| EhrError::Unreadable)?;
        let at = self.instruments.now().checked_add(READ_AGAIN).unwrap_or(Timestamp::MAX);
        Ok(self.db.execute(ReadAgain(job.unique(reference.id()).at(at))).await?)
    }
}

struct ReadAgain(NewJob);

impl Command for ReadAgain {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        enqueue(tx, &self.0).await
    }
}
