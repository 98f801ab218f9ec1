//! Twilio's Programmable Messaging (REST API 2010-04-01).
//!
//! [`Twilio`] sends, lists and looks up; [`signature`] verifies webhooks and [`webhook`] reads them; [`errors`] says
//! what Twilio's codes mean for us. Source: Twilio's `twilio_api_v2010.json` and its guides "Webhooks
//! security" and "Outbound message status in status callbacks".

mod account;
mod client;
pub mod errors;
mod form;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod keywords;
mod list;
mod message;
mod sending;
pub mod signature;
mod timed_body;
pub mod webhook;

pub use account::{AccountError, Credential, Timeouts, TwilioAccount};
pub use client::Twilio;
pub use signature::{SignatureError, verify};
pub use webhook::{WebhookBody, WebhookError, parse_inbound, parse_status};

/// What we append to the callback URLs that we give to Twilio: try three times more, after any failure
/// (Twilio's "connection overrides"). Twilio does not send the fragment with its requests.
pub const CONNECTION_OVERRIDES: &str = "rc=3&rp=all";
