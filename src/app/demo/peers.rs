//! The demo's EHR, carrier and phones.

use super::DemoError;
use crate::{
    kernel::{Instruments, Language, PhoneNumber},
    sandbox::{
        EhrOptions, RegisteredClient, RunningEhr,
        carrier::{CarrierNumber, CarrierOptions, Phone, PhoneKind, RunningCarrier},
        clinic,
    },
};
use jiff::tz::TimeZone;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

/// The zone of the demo practice.
pub(super) const ZONE: &str = "America/New_York";
/// The demo's account at the carrier.
pub(super) const ACCOUNT: &str = "AC0000000000000000000000000000d3a0";
/// The account's token; it signs webhooks on this machine only.
pub(super) const AUTH_TOKEN: &str = "the-demo-carrier-knows-this-token";
/// The demo practice's name in URLs.
pub(super) const SLUG: &str = "riverside";

/// The parties around the service.
pub struct Peers {
    /// The EHR.
    pub ehr: RunningEhr,
    /// The carrier.
    pub carrier: RunningCarrier,
}

impl Peers {
    /// Starts them for a service at `service`; on the two ports after the service's where `beside`, otherwise on any.
    pub(super) async fn start(service: SocketAddr, beside: bool, instruments: &Instruments) -> Result<Self, DemoError> {
        let base = format!("http://{service}/");
        let port = |offset: u16| SocketAddr::new(service.ip(), if beside { service.port() + offset } else { 0 });
        let ehr = match RunningEhr::start(ehr_options(&base, port(1), instruments)?).await {
            // The port is taken: any other will do.
            Err(_) => RunningEhr::start(ehr_options(&base, any(), instruments)?).await?,
            Ok(ehr) => ehr,
        };
        let carrier = match RunningCarrier::start(carrier_options(&base, port(2), instruments)?).await {
            Err(_) => RunningCarrier::start(carrier_options(&base, any(), instruments)?).await?,
            Ok(carrier) => carrier,
        };
        Ok(Self { ehr, carrier })
    }

    pub(super) async fn shutdown(self) {
        self.carrier.shutdown().await;
        self.ehr.shutdown().await;
    }
}

const fn any() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
}

fn url(text: &str) -> Result<url::Url, DemoError> {
    text.parse().map_err(|_| DemoError::NotLoopback)
}

fn ehr_options(base: &str, listen: SocketAddr, instruments: &Instruments) -> Result<EhrOptions, DemoError> {
    Ok(EhrOptions {
        listen,
        instruments: instruments.clone(),
        seed: 7,
        clinic_zone: TimeZone::get(ZONE).unwrap_or(TimeZone::UTC),
        clients: vec![
            RegisteredClient::Backend {
                client_id: "chartwire-backend".to_owned(),
                jwks_url: url(&format!("{base}.well-known/jwks.json"))?,
                scopes: "system/*.cruds".to_owned(),
            },
            RegisteredClient::LaunchPublic {
                client_id: "chartwire-inbox".to_owned(),
                redirect_uris: vec![url(&format!("{base}smart/callback"))?],
                launch_url: url(&format!("{base}smart/launch"))?,
                scopes: "openid fhirUser launch user/*.rs".to_owned(),
            },
        ],
        external_fhir: None,
        token_lifetime: Duration::from_mins(10),
    })
}

fn carrier_options(base: &str, listen: SocketAddr, instruments: &Instruments) -> Result<CarrierOptions, DemoError> {
    let phone = |person: &clinic::Person| {
        Some(Phone {
            name: person.label(),
            number: PhoneNumber::parse(person.phone).ok()?,
            kind: if person.phone_use == "home" { PhoneKind::Landline } else { PhoneKind::Mobile },
            language: Language::from_tag(person.language).unwrap_or_default(),
        })
    };
    let mut phones: Vec<Phone> = Vec::new();
    for phone in clinic::patients().iter().filter_map(phone) {
        // A shared phone is one phone.
        match phones.iter_mut().find(|known| known.number == phone.number) {
            Some(known) => known.name = format!("{} / {}", known.name, phone.name),
            None => phones.push(phone),
        }
    }
    let number = PhoneNumber::parse(clinic::PHONE).map_err(|_| DemoError::NotLoopback)?;
    Ok(CarrierOptions {
        listen,
        instruments: instruments.clone(),
        seed: 7,
        account_sid: ACCOUNT.to_owned(),
        auth_token: AUTH_TOKEN.to_owned(),
        numbers: vec![CarrierNumber {
            number,
            inbound_webhook: url(&format!("{base}carriers/twilio/{SLUG}/inbound"))?,
            fallback_webhook: None,
            answers_keywords: false,
        }],
        phones,
        callback_delay: Duration::from_millis(150),
    })
}
