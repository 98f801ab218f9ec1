//! What the EHR says of people: roles of staff, at a launch and as long as they are here, and patients that we have not met.

use crate::{
    access::{Roles, RolesNow},
    ehr::{EhrError, Ehrs, mirrored_roles},
    feed::Intake,
    fhir::{ResourceRef, views::PractitionerRoleView},
    http::smart::{PatientIntake, RoleMirror, StaffInEhr},
    jobs::JobError,
    kernel::{Id, Instruments, Patient, Tenant},
};
use futures_util::{FutureExt as _, future::BoxFuture};

/// Every tenant's EHR, as far as launches and sessions ask it, in the service's own name.
pub(super) struct People {
    pub(super) ehrs: Ehrs,
    pub(super) intake: Intake,
    pub(super) instruments: Instruments,
}

impl People {
    async fn person(&self, tenant: Id<Tenant>, fhir_user: &ResourceRef) -> Result<Option<StaffInEhr>, EhrError> {
        let ehr = self.ehrs.of(tenant)?;
        let practitioner = if fhir_user.is("PractitionerRole") {
            // One role of several names the person; the person has all of them.
            let role = PractitionerRoleView::read(&ehr.client.read(fhir_user).await?)?;
            role.practitioner.ok_or(EhrError::NotFound)?
        } else {
            fhir_user.clone()
        };
        let (name, roles) = mirrored_roles(&ehr, &practitioner, self.instruments.now()).await?;
        Ok(Some(StaffInEhr { name, roles }))
    }

    async fn take_in(&self, tenant: Id<Tenant>, fhir_id: &str) -> Result<Option<Id<Patient>>, EhrError> {
        let ehr = self.ehrs.of(tenant)?;
        let reference = ResourceRef::new("Patient", fhir_id).map_err(|_| EhrError::NotFound)?;
        Ok(Some(self.intake.take_patient(&ehr, &reference).await?))
    }
}

impl RoleMirror for People {
    fn staff<'a>(
        &'a self,
        tenant: Id<Tenant>,
        fhir_user: &'a ResourceRef,
    ) -> BoxFuture<'a, Result<Option<StaffInEhr>, EhrError>> {
        self.person(tenant, fhir_user).map(if_there).boxed()
    }
}

impl RolesNow for People {
    fn roles<'a>(&'a self, tenant: Id<Tenant>, fhir_user: &'a str) -> BoxFuture<'a, Result<Roles, JobError>> {
        async move {
            let Ok(fhir_user) = fhir_user.parse::<ResourceRef>() else { return Ok(Roles::none()) };
            let person = if_there(self.person(tenant, &fhir_user).await)?;
            Ok(person.map_or_else(Roles::none, |person| person.roles))
        }
        .boxed()
    }
}

impl PatientIntake for People {
    fn refresh<'a>(
        &'a self,
        tenant: Id<Tenant>,
        fhir_id: &'a str,
    ) -> BoxFuture<'a, Result<Option<Id<Patient>>, EhrError>> {
        self.take_in(tenant, fhir_id).map(if_there).boxed()
    }
}

fn if_there<T>(asked: Result<Option<T>, EhrError>) -> Result<Option<T>, EhrError> {
    match asked {
        Err(EhrError::NotFound) => Ok(None),
        asked => asked,
    }
}
