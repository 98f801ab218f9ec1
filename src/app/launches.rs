//! From settings to what may be launched by whom, and the keys that we publish.

use super::{AppError, ehr_servers, tenants::id_of};
use crate::{
    config::{Settings, TenantSettings},
    fhir::ServerBase,
    http::{
        inbox::{live::ClinicPages, source::Embedding},
        smart::{CALLBACK_PATH, LaunchSite, PublishedKeys},
    },
    kernel::{Id, Tenant},
    smart::{EhrServer, LaunchRegistration},
};
use std::{collections::HashMap, sync::Arc};
use url::Url;

/// The keys of every registration, by its name.
pub(super) fn published_keys(settings: &Settings) -> Result<PublishedKeys, AppError> {
    let keys = |registration: &crate::config::Registration| -> Result<_, AppError> {
        Ok((registration.name.clone(), Arc::new(ehr_servers::keys(registration)?)))
    };
    settings.registrations.iter().map(|registration| keys(registration)).collect()
}

/// Every tenant as the target of launches.
pub(super) fn sites(settings: &Settings, ids: &HashMap<String, Id<Tenant>>) -> Result<Vec<LaunchSite>, AppError> {
    let practices = settings.tenants.iter();
    practices.map(|tenant| site(settings, tenant, id_of(ids, tenant)?).map_err(AppError::of(&tenant.slug))).collect()
}

fn site(settings: &Settings, tenant: &TenantSettings, id: Id<Tenant>) -> Result<LaunchSite, AppError> {
    // Relative: the service may stand under a path of its host.
    let callback = settings.server.public_url.join(CALLBACK_PATH.trim_start_matches('/'));
    let redirect_uri = callback.map_err(|_| AppError::Settings("server.public_url makes no addresses"))?;
    let client = ehr_servers::registration(&tenant.ehr.launch, &tenant.ehr.launch_scopes)?;
    let registration = |iss: &String| -> Result<_, AppError> {
        let (client, redirect_uri) = (client.clone(), redirect_uri.clone());
        Ok(LaunchRegistration { client, server: server(tenant, iss)?, redirect_uri })
    };
    let registrations: Result<Vec<_>, AppError> = tenant.ehr.launch_issuers.iter().map(registration).collect();
    Ok(LaunchSite {
        tenant: id,
        slug: tenant.slug.clone(),
        registrations: registrations?,
        mfa: tenant.ehr.mfa.clone(),
        embedding: embedding(settings, tenant),
    })
}

/// The server that launches under this `iss`: where the EHR has several names, each is its own.
fn server(tenant: &TenantSettings, iss: &str) -> Result<EhrServer, AppError> {
    const ISSUER: AppError = AppError::Settings("one of launch_issuers is no FHIR base URL (https)");
    let base = ServerBase::new(Url::parse(iss).map_err(|_| ISSUER)?).map_err(|_| ISSUER)?;
    Ok(EhrServer { base, ..ehr_servers::server(&tenant.ehr)? })
}

fn embedding(settings: &Settings, tenant: &TenantSettings) -> Embedding {
    Embedding {
        frame_ancestors: tenant.frame_ancestors.clone(),
        own_origins: vec![settings.server.public_url.origin().ascii_serialization()],
    }
}

/// What the pages say of each clinic.
pub(super) fn clinics(
    settings: &Settings,
    ids: &HashMap<String, Id<Tenant>>,
) -> Result<HashMap<Id<Tenant>, ClinicPages>, AppError> {
    let pages =
        |tenant: &TenantSettings| ClinicPages { name: tenant.name.clone(), embedding: embedding(settings, tenant) };
    settings.tenants.iter().map(|tenant| Ok((id_of(ids, tenant)?, pages(tenant)))).collect()
}
