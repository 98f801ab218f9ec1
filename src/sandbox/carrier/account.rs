//! What the simulated account looks like: its credentials, its numbers, and the phones that exist in its world.
//!
//! The people here are invented; nothing in this room is protected health information.

use crate::kernel::{Instruments, Language, PhoneNumber};
use std::{net::SocketAddr, time::Duration};
use url::Url;

/// Everything that a simulated carrier is started with.
#[derive(Clone)]
pub struct CarrierOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The clock that stamps messages, and the randomness of their SIDs.
    pub instruments: Instruments,
    /// Decides which requests a fault with a chance below 100 percent strikes.
    pub seed: u64,
    /// `AC` and 32 hexadecimal digits; the user name of Basic authentication.
    pub account_sid: String,
    /// Its password, and the key of webhook signatures.
    pub auth_token: String,
    /// The numbers that the account sends from and receives on.
    pub numbers: Vec<CarrierNumber>,
    /// The handsets that exist. A number without one is answered with error 30005, as the real network does.
    pub phones: Vec<Phone>,
    /// Real time between two steps of a delivery; zero in tests.
    pub callback_delay: Duration,
}

/// A number of the account.
#[derive(Clone)]
pub struct CarrierNumber {
    /// The number.
    pub number: PhoneNumber,
    /// Where incoming texts are posted. Its fragment may hold connection overrides (`#rc=3&rp=all`).
    pub inbound_webhook: Url,
    /// Where they are posted when that fails.
    pub fallback_webhook: Option<Url>,
    /// Twilio's default opt-out handling: the carrier itself answers STOP, START and HELP, and refuses texts to who
    /// has stopped. Such numbers form the account's messaging service.
    pub answers_keywords: bool,
}

/// A handset.
#[derive(Clone)]
pub struct Phone {
    /// Whose it is, for the phones page.
    pub name: String,
    /// Its number.
    pub number: PhoneNumber,
    /// What happens to a text sent to it.
    pub kind: PhoneKind,
    /// What its owner reads and writes, for the phones page.
    pub language: Language,
}

/// What a number reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PhoneKind {
    /// A handset that is on: texts arrive.
    Mobile,
    /// A line that cannot receive texts: undelivered, 30006.
    Landline,
    /// A handset that is off: undelivered, 30003.
    Unreachable,
}

/// Why the simulator could not do what it was asked, apart from what its REST API answers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarrierError {
    /// The address is taken or not this machine's.
    #[error("the carrier simulator cannot listen there; choose a free address of this machine")]
    Listen(#[source] std::io::Error),
    /// The client for webhooks could not be built.
    #[error("the carrier simulator cannot make web requests; check the system's TLS certificates")]
    Client(#[source] reqwest::Error),
    /// The account SID is not of the vendor's form.
    #[error("an account SID is AC followed by 32 hexadecimal digits")]
    AccountSid,
    /// No such phone, or one that cannot write texts.
    #[error("no mobile phone in the sandbox has this number; list them with GET /sandbox/phones")]
    UnknownPhone,
    /// The account has no such number.
    #[error("the account has no such number; text one that GET /sandbox/phones lists")]
    UnknownNumber,
}

/// Where a number is, as the vendor's `FromCity` to `FromCountry` tell it; empty where it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) city: &'static str,
    pub(super) state: &'static str,
    pub(super) zip: &'static str,
    pub(super) country: &'static str,
}

/// The place of a North American number by its area code (the vendor uses rate centres; the big ones will do).
pub(super) fn place(number: &PhoneNumber) -> Place {
    let Some(national) = number.as_e164().strip_prefix("+1") else {
        return Place { city: "", state: "", zip: "", country: "" };
    };
    let (city, state, zip) = match national.get(..3) {
        Some("202") => ("WASHINGTON", "DC", "20001"),
        Some("206") => ("SEATTLE", "WA", "98101"),
        Some("212") => ("NEW YORK", "NY", "10001"),
        Some("303") => ("DENVER", "CO", "80202"),
        Some("305") => ("MIAMI", "FL", "33101"),
        Some("312") => ("CHICAGO", "IL", "60601"),
        Some("415") => ("SAN FRANCISCO", "CA", "94102"),
        Some("512") => ("AUSTIN", "TX", "78701"),
        Some("602") => ("PHOENIX", "AZ", "85001"),
        Some("617") => ("BOSTON", "MA", "02108"),
        _ => ("", "", ""),
    };
    Place { city, state, zip, country: "US" }
}
