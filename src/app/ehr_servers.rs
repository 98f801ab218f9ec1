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
    Ok(ClientRegistration {
        client_id: settings.backend.client_id.clone(),
        authentication: authentication(&settings.backend)?,
        scopes: settings.backend_scopes.clone(),
    })
}

fn authentication(registration: &Registration) -> Result<ClientAuthentication, KeyFault> {
    match &registration.authentication {
        config::ClientAuthentication::PrivateKeyJwt { algorithm, signing_key, also_published_keys } => {
            let algorithm = match algorithm {
                config::SigningAlgorithm::Es384 => SigningAlgorithm::Es384,
                config::SigningAlgorithm::Rs384 => SigningAlgorithm::Rs384,
            };
            let keys: Result<Vec<SigningKey>, KeyFault> = std::iter::once(signing_key)
                .chain(also_published_keys)
                .map(|key| SigningKey::from_pem(key.reveal(), algorithm))
                .collect();
            Ok(ClientAuthentication::PrivateKeyJwt { algorithm, keys: Arc::new(SigningKeys::new(keys?)?) })
        }
        // The settings refuse it for Backend Services; who would read them otherwise learns it here.
        config::ClientAuthentication::ClientSecretBasic { .. } | config::ClientAuthentication::Public => {
            Err(KeyFault::NoSuchKey("ES384 or RS384"))
        }
    }
}
