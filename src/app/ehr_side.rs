//! The rooms that speak with EHRs, put together.

use super::{Running, ehr_ports::EhrPorts};
use crate::{
    access::StaffDirectory,
    chart::Filing,
    db::Db,
    ehr::{self, Ehrs, Ledger},
    feed::{Intake, Poller, RefillPoller},
    jobs::JobError,
    kernel::{Id, Instruments, Patient, Tenant},
    messaging::{Upstream, thread::Thread},
    patient::Directory,
    practice::Practices,
    vault::Vault,
    workflow::{EhrTrouble, Scheduling as _, Workflows},
};
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use std::{sync::Arc, time::Duration};

/// How soon a text that could not be held against the EHR tries again.
const ASK_AGAIN: Duration = Duration::from_mins(1);

/// What reads the EHR, files into it, and changes it for patients.
pub(super) struct EhrSide {
    pub(super) schedule: Poller,
    pub(super) refills: RefillPoller,
    pub(super) intake: Intake,
    pub(super) filing: Filing,
    pub(super) workflows: Workflows,
    pub(super) ports: Arc<EhrPorts>,
}

impl EhrSide {
    pub(super) fn build(
        running: &Running,
        (db, vault): (&Db, &Vault),
        ehrs: &Ehrs,
        practices: &Arc<Practices>,
        directory: &Directory,
        intake: &Intake,
    ) -> Self {
        let instruments = &running.instruments;
        let ledger = Ledger::new(db.clone(), vault.clone(), instruments.clone());
        let ports = Arc::new(EhrPorts {
            ehrs: ehrs.clone(),
            intake: intake.clone(),
            practices: Arc::clone(practices),
            scheduling: ehr::Scheduling::new(db.clone(), instruments.clone(), ledger.clone()),
            refills: ehr::Refills::new(instruments.clone(), ledger.clone()),
        });
        let polled = (Arc::clone(practices), ehrs.clone(), intake.clone());
        let schedule =
            Poller::new(db.clone(), instruments.clone(), polled.0.clone(), polled.1.clone(), polled.2.clone());
        let refills = RefillPoller::new(db.clone(), instruments.clone(), polled.0, polled.1, polled.2);
        let filing = Filing::new(
            db.clone(),
            instruments.clone(),
            ehrs.clone(),
            ledger,
            Thread::new(db.clone(), vault.clone(), instruments.clone()),
            directory.clone(),
            StaffDirectory::new(db.clone(), vault.clone(), instruments.clone()),
        );
        let workflows = Workflows::new(
            db.clone(),
            vault.clone(),
            instruments.clone(),
            Arc::clone(practices),
            directory.clone(),
            Arc::clone(&ports) as Arc<dyn crate::workflow::Scheduling>,
            Arc::clone(&ports) as Arc<dyn crate::workflow::Refills>,
        );
        Self { schedule, refills, intake: intake.clone(), filing, workflows, ports }
    }
}

impl EhrSide {
    /// What a text that has waited asks again.
    pub(super) fn upstream(&self, instruments: &Instruments) -> EhrUpstream {
        EhrUpstream { ports: Arc::clone(&self.ports), instruments: instruments.clone() }
    }
}

/// The EHR, as the sender of texts asks it.
pub(super) struct EhrUpstream {
    ports: Arc<EhrPorts>,
    instruments: Instruments,
}

impl EhrUpstream {
    async fn read_again(
        &self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
        about: Option<&str>,
    ) -> Result<(), EhrTrouble> {
        if let Some(appointment) = about.and_then(|about| about.strip_prefix("Appointment/")) {
            self.ports.refresh(tenant, appointment).await?;
        }
        self.ports.refresh_patient(tenant, patient).await
    }
}

impl Upstream for EhrUpstream {
    fn refresh<'a>(
        &'a self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
        about: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), JobError>> {
        Box::pin(async move {
            let Err(trouble) = self.read_again(tenant, patient, about).await else { return Ok(()) };
            let (code, pause) = match trouble {
                EhrTrouble::Unavailable { retry_after } => ("ehr-unavailable", retry_after.unwrap_or(ASK_AGAIN)),
                EhrTrouble::Refused { code } => (code, ASK_AGAIN),
            };
            let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
            let until = self.instruments.now().checked_add(pause).unwrap_or(Timestamp::MAX);
            Err(JobError::Postpone { code, until })
        })
    }
}

/// What repeats by itself on the EHR's side.
#[derive(Clone)]
pub(super) struct EhrPolls {
    schedule: Poller,
    refills: RefillPoller,
    workflows: Workflows,
}

impl EhrPolls {
    pub(super) fn of(side: &EhrSide) -> Self {
        Self { schedule: side.schedule.clone(), refills: side.refills.clone(), workflows: side.workflows.clone() }
    }

    /// Makes sure that each tenant is polled from now on, and that what is known is planned by the rules of today.
    pub(super) async fn schedule(&self) -> Result<(), JobError> {
        self.workflows.schedule_sweeps().await?;
        self.schedule.schedule().await?;
        self.refills.schedule().await
    }
}
