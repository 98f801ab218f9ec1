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
use url::Url;

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

/// Where they are.
pub(super) struct Places {
    /// The service.
    pub(super) service: SocketAddr,
    /// The EHR and the carrier are on the two ports after the service's, where those are free.
    pub(super) beside: bool,
    /// The EHR is here and nowhere else.
    pub(super) ehr: Option<SocketAddr>,
    /// The charts are kept here, not by the sandbox.
    pub(super) fhir: Option<Url>,
    /// The clinic's zone.
    pub(super) zone: TimeZone,
}

impl Peers {
    /// Starts them.
    pub(super) async fn start(places: Places, instruments: &Instruments) -> Result<Self, DemoError> {
        let base = format!("http://{}/", places.service);
        let beside = |offset: u16| {
            let port = if places.beside { places.service.port() + offset } else { 0 };
            SocketAddr::new(places.service.ip(), port)
        };
        let ehr_at = |listen| ehr_options(&base, listen, (&places.fhir, &places.zone), instruments);
        let ehr = match places.ehr {
            Some(listen) => RunningEhr::start(ehr_at(listen)?).await?,
            None => match RunningEhr::start(ehr_at(beside(1))?).await {
                // The port is taken: any other will do.
                Err(_) => RunningEhr::start(ehr_at(any())?).await?,
                Ok(ehr) => ehr,
            },
        };
        let carrier = match RunningCarrier::start(carrier_options(&base, beside(2), instruments)?).await {
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

fn url(text: &str) -> Result<Url, DemoError> {
    text.parse().map_err(|_| DemoError::NotLoopback)
}

fn ehr_options(
    base: &str,
    listen: SocketAddr,
    (fhir, zone): (&Option<Url>, &TimeZone),
    instruments: &Instruments,
) -> Result<EhrOptions, DemoError> {
    Ok(EhrOptions {
        listen,
        instruments: instruments.clone(),
        seed: 7,
        clinic_zone: zone.clone(),
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
        external_fhir: fhir.clone(),
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
