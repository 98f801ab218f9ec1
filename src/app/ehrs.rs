//! From settings to EHR connections.

use super::{
    AppError,
    ehr_servers::{backend_client, server},
    tenants::id_of,
};
use crate::{
    config::{Settings, TenantSettings},
    ehr::{CapabilityCache, Ehr, Ehrs, RoleRule, Scope},
    fhir::{FhirClient, Limits, TokioPacer},
    kernel::{Id, Instruments, SystemClock, Tenant},
    smart::{BackendServices, RefreshPolicy, SmartClient},
};
use std::{collections::HashMap, sync::Arc};

/// The SMART client of the process. Protocol time is real, whatever clock the domain goes by (law 10).
pub(super) fn smart_client(instruments: &Instruments) -> Result<SmartClient, AppError> {
    let real = Instruments::new(Arc::new(SystemClock), Arc::clone(&instruments.entropy));
    Ok(SmartClient::new(&Limits::default(), real)?)
}

/// Every tenant's EHR under the service's own grant.
pub(super) fn ehrs(
    settings: &Settings,
    ids: &HashMap<String, Id<Tenant>>,
    (instruments, refresh): (&Instruments, RefreshPolicy),
    smart: &SmartClient,
) -> Result<Ehrs, AppError> {
    let mut ehrs = Vec::new();
    for tenant in &settings.tenants {
        let server = server(&tenant.ehr).map_err(AppError::of(&tenant.slug))?;
        let client = backend_client(&tenant.ehr).map_err(AppError::of(&tenant.slug))?;
        let base = server.base.clone();
        let token = BackendServices::new(smart.clone(), server, client, refresh);
        let clock = Arc::clone(&instruments.clock);
        let client = FhirClient::new(base, Arc::new(token), Limits::default(), Arc::new(TokioPacer), clock)?;
        let rule = |rule: &crate::config::RoleRule| RoleRule {
            system: rule.system.clone(),
            code: rule.code.clone(),
            roles: rule.roles.clone(),
        };
        ehrs.push(Ehr {
            tenant: id_of(ids, tenant)?,
            client,
            organization: tenant.ehr.organization.clone(),
            scope: scope(settings, tenant),
            roles: tenant.ehr.roles.iter().map(rule).collect(),
            capabilities: CapabilityCache::default(),
        });
    }
    Ok(Ehrs::new(ehrs))
}

/// The tenant's part of its EHR. The configuration was checked: its references can be read.
fn scope(settings: &Settings, tenant: &TenantSettings) -> Scope {
    let with_it = settings.tenants.iter().filter(|other| other.ehr.fhir_base == tenant.ehr.fhir_base);
    let organization = tenant.ehr.organization.as_ref().and_then(|organization| organization.parse().ok());
    let locations = tenant.ehr.locations.iter().filter_map(|place| place.parse().ok()).collect();
    Scope::new(organization, locations, with_it.count() > 1)
}
