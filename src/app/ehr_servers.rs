//! From settings to EHRs: where each is, and who we are there.

use crate::{
    config::{self, EhrSettings, Registration},
    fhir::{AddressFault, ServerBase},
    smart::{ClientAuthentication, ClientRegistration, EhrServer, KeyFault, SigningAlgorithm, SigningKey, SigningKeys},
};
use std::sync::Arc;

/// The practice's EHR, with the issuers that its settings name.
pub(super) fn server(settings: &EhrSettings) -> Result<EhrServer, AddressFault> {
    let mut server = EhrServer::new(ServerBase::new(settings.fhir_base.clone())?);
    server.id_token_issuers.clone_from(&settings.id_token_issuers);
    Ok(server)
}

/// The service's own client there (SMART Backend Services).
pub(super) fn backend_client(settings: &EhrSettings) -> Result<ClientRegistration, KeyFault> {
    registration(&settings.backend, &settings.backend_scopes)
}

/// A registration as the SMART client takes it.
pub(super) fn registration(registration: &Registration, scopes: &[String]) -> Result<ClientRegistration, KeyFault> {
    let authentication = match &registration.authentication {
        config::ClientAuthentication::Public => ClientAuthentication::Public,
        config::ClientAuthentication::PrivateKeyJwt { algorithm, .. } => ClientAuthentication::PrivateKeyJwt {
            algorithm: algorithm_of(*algorithm),
            keys: Arc::new(keys(registration)?),
        },
    };
    Ok(ClientRegistration { client_id: registration.client_id.clone(), authentication, scopes: scopes.to_vec() })
}

/// The keys of a registration, the signing one first; none for one that does not sign.
pub(super) fn keys(registration: &Registration) -> Result<SigningKeys, KeyFault> {
    let mut keys = Vec::new();
    if let config::ClientAuthentication::PrivateKeyJwt { algorithm, signing_key, also_published_keys } =
        &registration.authentication
    {
        for pem in std::iter::once(signing_key).chain(also_published_keys) {
            keys.push(SigningKey::from_pem(pem.reveal(), algorithm_of(*algorithm))?);
        }
    }
    SigningKeys::new(keys)
}

const fn algorithm_of(algorithm: config::SigningAlgorithm) -> SigningAlgorithm {
    match algorithm {
        config::SigningAlgorithm::Es384 => SigningAlgorithm::Es384,
        config::SigningAlgorithm::Rs384 => SigningAlgorithm::Rs384,
    }
}
