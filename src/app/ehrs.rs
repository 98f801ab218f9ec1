//! From settings to EHR connections.

use super::{AppError, tenants::id_of};
use crate::{
    config::{ClientAuthentication as Configured, EhrSettings, Registration, Settings, SigningAlgorithm as Algorithm},
    ehr::{Ehr, Ehrs, RoleRule},
    fhir::{FhirClient, Limits, ServerBase, TokioPacer},
    kernel::{Id, Instruments, SystemClock, Tenant},
    smart::{
        BackendServices, ClientAuthentication, ClientRegistration, EhrServer, RefreshPolicy, SigningAlgorithm,
        SigningKey, SigningKeys, SmartClient,
    },
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
    instruments: &Instruments,
    smart: &SmartClient,
) -> Result<Ehrs, AppError> {
    let mut ehrs = Vec::new();
    for tenant in &settings.tenants {
        let server = server(&tenant.ehr)?;
        let client = registration(&tenant.ehr.backend, &tenant.ehr.backend_scopes)?;
        let base = server.base.clone();
        let token = BackendServices::new(smart.clone(), server, client, RefreshPolicy::default());
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
            organization: None,
            roles: tenant.ehr.roles.iter().map(rule).collect(),
        });
    }
    Ok(Ehrs::new(ehrs))
}

/// The EHR's server, and what of its authorization is trusted.
pub(super) fn server(ehr: &EhrSettings) -> Result<EhrServer, AppError> {
    let base = ServerBase::new(ehr.fhir_base.clone()).map_err(|_| AppError::Settings("a FHIR base URL"))?;
    Ok(EhrServer { id_token_issuers: ehr.id_token_issuers.clone(), ..EhrServer::new(base) })
}

/// A registration as the SMART client takes it.
pub(super) fn registration(registration: &Registration, scopes: &[String]) -> Result<ClientRegistration, AppError> {
    let authentication = match &registration.authentication {
        Configured::Public => ClientAuthentication::Public,
        Configured::PrivateKeyJwt { algorithm, .. } => ClientAuthentication::PrivateKeyJwt {
            algorithm: algorithm_of(*algorithm),
            keys: Arc::new(keys(registration)?),
        },
        Configured::ClientSecretBasic { .. } => {
            return Err(AppError::Settings(
                "client_secret_basic is not supported yet: register with private_key_jwt or as a public client",
            ));
        }
    };
    Ok(ClientRegistration { client_id: registration.client_id.clone(), authentication, scopes: scopes.to_vec() })
}

/// The keys of a registration, the signing one first; none for one that does not sign.
pub(super) fn keys(registration: &Registration) -> Result<SigningKeys, AppError> {
    let mut keys = Vec::new();
    if let Configured::PrivateKeyJwt { algorithm, signing_key, also_published_keys } = &registration.authentication {
        for pem in std::iter::once(signing_key).chain(also_published_keys) {
            keys.push(SigningKey::from_pem(pem.reveal(), algorithm_of(*algorithm))?);
        }
    }
    Ok(SigningKeys::new(keys)?)
}

const fn algorithm_of(algorithm: Algorithm) -> SigningAlgorithm {
    match algorithm {
        Algorithm::Es384 => SigningAlgorithm::Es384,
        Algorithm::Rs384 => SigningAlgorithm::Rs384,
    }
}
