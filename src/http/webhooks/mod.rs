//! Webhooks of carriers: verified, made durable, then acknowledged (law 1).

mod twilio;

pub use twilio::{TwilioTenant, TwilioWebhooks, routes as twilio};
