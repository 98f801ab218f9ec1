//! Launches from the EHR: `GET /smart/launch`, `GET /smart/callback`, and our public keys.
//!
//! Owns the way from the EHR's request to a session's cookie; `smart` checks the protocol, `access` keeps states and
//! sessions, the composition root says which EHR may launch what ([`LaunchSite`]) and who asks the EHR about people
//! ([`RoleMirror`], [`PatientIntake`]).
//!
//! What always holds: nothing is fetched for an `iss` that no practice has registered; a callback is taken once, and
//! only from the browser in which its launch began; nobody without a role, or without a second factor, gets a session;
//! every refusal is counted for the audit log; a source has so many launches in a minute; no page repeats what a request
//! brought.

mod callback;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod jwks;
mod launch;
mod pages;

pub use jwks::{JWKS_PATH, PublishedKeys, routes as jwks_routes};

use super::{Rates, inbox::source::Embedding};
use crate::{
    access::{LaunchStates, Roles, Sessions, StaffDirectory},
    audit::CoalescedRefusals,
    config::MfaSettings,
    ehr::EhrError,
    fhir::ResourceRef,
    kernel::{Id, Patient, Phi, Tenant},
    patient::Directory,
    smart::{LaunchRegistration, SmartClient},
};
use axum::{Router, routing::get};
use futures_util::future::BoxFuture;
use std::{net::IpAddr, sync::Arc};

/// Where an EHR that one practice uses opens the inbox: its launch URL, under `server.public_url`.
pub const LAUNCH_PATH: &str = "/smart/launch";
/// Where an EHR that several practices share opens the inbox of one of them, by its slug.
pub const LAUNCH_OF_TENANT_PATH: &str = "/smart/launch/{tenant}";
/// Where an EHR sends the browser back to: the one redirect URI, of every practice.
pub const CALLBACK_PATH: &str = "/smart/callback";

/// One practice as the target of launches.
#[derive(Debug, Clone)]
pub struct LaunchSite {
    /// The practice.
    pub tenant: Id<Tenant>,
    /// Its name in URLs.
    pub slug: String,
    /// The registration at each `iss` that may launch it.
    pub registrations: Vec<LaunchRegistration>,
    /// What shows that a person signed in with more than a password.
    pub mfa: MfaSettings,
    /// Which pages may frame ours.
    pub embedding: Embedding,
}

impl LaunchSite {
    fn registration(&self, iss: &str) -> Option<&LaunchRegistration> {
        self.registrations.iter().find(|registration| registration.accepts(iss))
    }
}

/// A member of staff as the EHR knows them now.
#[derive(Debug, Clone)]
pub struct StaffInEhr {
    /// The name to show.
    pub name: Phi<String>,
    /// The roles of ours that the EHR's roles give.
    pub roles: Roles,
}

/// Asks the EHR what a person is there.
pub trait RoleMirror: Send + Sync + 'static {
    /// The person behind a `fhirUser` (a `Practitioner` or `PractitionerRole`); `None` when the EHR has no such person.
    fn staff<'a>(
        &'a self,
        tenant: Id<Tenant>,
        fhir_user: &'a ResourceRef,
    ) -> BoxFuture<'a, Result<Option<StaffInEhr>, EhrError>>;
}

/// Takes in a patient that we do not know yet.
pub trait PatientIntake: Send + Sync + 'static {
    /// Reads the patient from the EHR and keeps them; `None` when the EHR has no such patient.
    fn refresh<'a>(
        &'a self,
        tenant: Id<Tenant>,
        fhir_id: &'a str,
    ) -> BoxFuture<'a, Result<Option<Id<Patient>>, EhrError>>;
}

/// What launches are made of.
#[derive(Clone)]
pub struct Parts {
    /// Who may be launched by whom.
    pub sites: Arc<Vec<LaunchSite>>,
    /// The protocol, on real time.
    pub smart: SmartClient,
    /// Launches under way.
    pub states: LaunchStates,
    /// Staff.
    pub staff: StaffDirectory,
    /// Sessions.
    pub sessions: Sessions,
    /// Patients that we know.
    pub directory: Directory,
    /// Asks the EHR about staff.
    pub mirror: Arc<dyn RoleMirror>,
    /// Asks the EHR about patients.
    pub intake: Arc<dyn PatientIntake>,
    /// Counts what was refused.
    pub refusals: Arc<CoalescedRefusals>,
    /// Limits launches by source.
    pub rates: Arc<Rates>,
    /// Randomness for the browser's cookie.
    pub instruments: crate::kernel::Instruments,
}

impl Parts {
    fn site(&self, tenant: Id<Tenant>) -> Option<&LaunchSite> {
        self.sites.iter().find(|site| site.tenant == tenant)
    }

    /// Counts a refusal: for the practice that was meant, or for each where none can be told.
    fn refuse(&self, site: Option<&LaunchSite>, reason: &'static str, source: IpAddr) {
        const COMPONENT: &str = "smart.launch";
        metrics::counter!("chartwire_launch_refusals_total", "reason" => reason).increment(1);
        match site {
            Some(site) => self.refusals.note(site.tenant, COMPONENT, reason, source),
            None => self.sites.iter().for_each(|site| self.refusals.note(site.tenant, COMPONENT, reason, source)),
        }
    }
}

/// The routes, for a [`super::Section::pages`].
pub fn routes(parts: Parts) -> Router {
    Router::new()
        .route(LAUNCH_PATH, get(launch::shared))
        .route(LAUNCH_OF_TENANT_PATH, get(launch::of_tenant))
        .route(CALLBACK_PATH, get(callback::callback))
        .with_state(parts)
}
