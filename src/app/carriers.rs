//! From settings to carriers.

use super::{AppError, tenants::id_of};
use crate::{
    carrier::{
        AuthToken,
        twilio::{Credential, Timeouts, Twilio, TwilioAccount},
    },
    config::{CarrierSettings, Secret, Settings, TwilioSettings},
    http::webhooks::TwilioTenant,
    kernel::{Clock, Id, Tenant},
    messaging::carrier_port::Carrier,
};
use std::{collections::HashMap, sync::Arc};

/// Every tenant's carrier.
pub(super) type Carriers = HashMap<Id<Tenant>, Arc<dyn Carrier>>;

/// The carriers, and what their webhooks are verified with.
pub(super) fn carriers(
    settings: &Settings,
    ids: &HashMap<String, Id<Tenant>>,
    clock: &Arc<dyn Clock>,
) -> Result<(Carriers, HashMap<String, TwilioTenant>), AppError> {
    let mut carriers: Carriers = HashMap::new();
    let mut webhooks = HashMap::new();
    for tenant in &settings.tenants {
        let CarrierSettings::Twilio(twilio) = &tenant.carrier;
        let client = Twilio::new(account(twilio), Arc::clone(clock)).map_err(AppError::of(&tenant.slug))?;
        carriers.insert(id_of(ids, tenant)?, Arc::new(client));
        let tokens = [Some(&twilio.auth_token), twilio.secondary_auth_token.as_ref()];
        let tokens = tokens.into_iter().flatten().map(token).collect();
        webhooks.insert(tenant.slug.clone(), TwilioTenant { tokens });
    }
    Ok((carriers, webhooks))
}

fn account(settings: &TwilioSettings) -> TwilioAccount {
    let credential = match &settings.api_key {
        Some(key) => Credential { user: key.sid.clone(), secret: token(&key.secret) },
        None => Credential { user: settings.account_sid.clone(), secret: token(&settings.auth_token) },
    };
    TwilioAccount {
        base_url: settings.api_base.clone(),
        account_sid: settings.account_sid.clone(),
        credential,
        messaging_service_sid: settings.messaging_service_sid.clone(),
        timeouts: Timeouts { listed: settings.list_lag, ..Timeouts::default() },
    }
}

fn token(secret: &Secret) -> AuthToken {
    AuthToken::new(secret.reveal().to_owned())
}
