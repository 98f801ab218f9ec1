//! The settings as the rest of the program receives them: typed, complete and checked.

use super::Secret;
use crate::{
    access::{IdleTimeout, Roles},
    kernel::{Language, PhoneNumber},
    practice::{Caps, ClinicNumber, OptOutNotice, QuietHours, ReminderRule},
};
use jiff::{civil, tz::TimeZone};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use url::Url;

/// Everything that one configuration file says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the service listens and how it is reached.
    pub server: ServerSettings,
    /// Where it keeps its data.
    pub database: DatabaseSettings,
    /// How its work in the background is done.
    pub jobs: JobSettings,
    /// What it logs, and how.
    pub log: LogSettings,
    /// Where its traces go; none where they go nowhere.
    pub traces: Option<TraceSettings>,
    /// Where the audit log's head goes.
    pub audit: AuditSettings,
    /// How the service is known to authorization servers; tenants refer to these.
    pub registrations: Vec<Arc<Registration>>,
    /// The practices, one at least, each slug once.
    pub tenants: Vec<TenantSettings>,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// The address that the service listens on, without TLS: that is the reverse proxy's part.
    pub listen: SocketAddr,
    /// How browsers, EHRs and carriers reach the service; signatures of webhooks are checked against it. Ends in `/`.
    pub public_url: Url,
    /// Reverse proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Longest request body, in bytes.
    pub request_body_limit: usize,
    /// Requests in hand at once, in each section: webhooks, inbox, launches and the like.
    pub requests_at_once: usize,
    /// How long work in hand may take to finish once the service is told to stop.
    pub shutdown_grace: Duration,
}

/// `[database]`
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// `sqlite:` and an absolute path, or `postgres://…`; may hold a password.
    pub url: Secret,
}

/// `[jobs]`
#[derive(Debug, Clone, Copy)]
pub struct JobSettings {
    /// How long a job may take before another process takes it over, and what a process that died leaves waits.
    pub lease: Duration,
}

/// `[log]`
#[derive(Debug, Clone, Copy)]
pub struct LogSettings {
    /// One JSON object a line, or text for people.
    pub format: LogFormat,
    /// The least severe level that is written.
    pub level: tracing::Level,
}

/// `[traces]`
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// The base URL of an OpenTelemetry collector (OTLP over HTTP). Ends in `/`.
    pub collector: Url,
    /// How many of a hundred texts and requests are traced.
    pub percent: u8,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for people.
    Text,
}

/// `[audit]`
#[derive(Debug, Clone)]
pub struct AuditSettings {
    /// A folder outside the database that the head of each tenant's audit chain is written to, so that cutting off
    /// the newest rows is noticed. Best kept on another machine's volume.
    pub head_folder: PathBuf,
}

/// `[[registrations]]`: what an authorization server knows the service by (RFC 7591 calls it a client). Keys belong to
/// a registration, not to a tenant: several tenants of one EHR vendor share one.
#[derive(Debug, Clone)]
pub struct Registration {
    /// What tenants call it in this file.
    pub name: String,
    /// The client id that the authorization server gave.
    pub client_id: String,
    /// How the service proves that it is this client.
    pub authentication: ClientAuthentication,
}

/// How a client authenticates (SMART App Launch 2.2, "Client Authentication").
#[derive(Debug, Clone)]
pub enum ClientAuthentication {
    /// `private_key_jwt` (RFC 7523): a signed assertion. The only one that Backend Services allows.
    PrivateKeyJwt {
        /// The algorithm of [`signing_key`](Self::PrivateKeyJwt::signing_key).
        algorithm: SigningAlgorithm,
        /// The private key in PEM form (PKCS #8).
        signing_key: Secret,
        /// Further private keys of the same algorithm whose public halves stand in the JWKS: the next one until every
        /// server has read it, the last one until its assertions have expired.
        also_published_keys: Vec<Secret>,
    },
    /// A public client: PKCE alone.
    Public,
}

/// The two algorithms that SMART asks every client to support.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// ECDSA over P-384 with SHA-384.
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
}

/// `[[tenants]]`: one practice. What stands here rules from the next start; the database keeps the versions that ruled.
#[derive(Debug, Clone)]
pub struct TenantSettings {
    /// The practice in URLs, and what its rows are found by: it does not change.
    pub slug: String,
    /// The practice's name as staff know it.
    pub name: String,
    /// What texts begin with. Tells nothing of the specialty.
    pub text_name: String,
    /// The zone of the practice's clocks and calendar.
    pub zone: TimeZone,
    /// The languages that its patients are texted in; the first where a patient's own is unknown or not among them.
    pub languages: Vec<Language>,
    /// The number that texts ask patients to call.
    pub phone: PhoneNumber,
    /// When automated texts may leave, by the practice's clocks.
    pub texting_hours: QuietHours,
    /// Reminders before a visit, the farthest first.
    pub reminders: Vec<ReminderRule>,
    /// How often the EHR is asked for changes.
    pub poll_interval: Duration,
    /// How long a staff session lives without a request.
    pub session_idle: IdleTimeout,
    /// The origins whose pages may frame the inbox: the EHR's.
    pub frame_ancestors: Vec<String>,
    /// Key-encryption keys, base64 of 32 bytes each: the first wraps, any unwraps.
    pub key_encryption_keys: Vec<Secret>,
    /// The practice's EHR.
    pub ehr: EhrSettings,
    /// The carrier that its texts go through.
    pub carrier: CarrierSettings,
    /// The practice's own numbers at the carrier, one at least, none with another tenant.
    pub numbers: Vec<ClinicNumber>,
    /// How many automated texts a number may get, where the legal basis asks for a limit.
    pub caps: Option<Caps>,
    /// Where sources of policy disagree: the strict reading, unless a switch says otherwise.
    pub policies: Policies,
}

/// `[tenants.ehr]`
#[derive(Debug, Clone)]
pub struct EhrSettings {
    /// The FHIR R4 base URL; ends in `/`.
    pub fhir_base: Url,
    /// The `iss` values that a launch may bring, exactly as the EHR spells them. Nothing else is ever fetched.
    pub launch_issuers: Vec<String>,
    /// The `iss` values that an `id_token` may carry, exactly as spelled: at Epic and Oracle Health not the FHIR base.
    pub id_token_issuers: Vec<String>,
    /// The registration that staff launch with.
    pub launch: Arc<Registration>,
    /// The scopes that a launch asks for.
    pub launch_scopes: Vec<String>,
    /// The registration of Backend Services; always [`ClientAuthentication::PrivateKeyJwt`].
    pub backend: Arc<Registration>,
    /// The scopes that Backend Services asks for.
    pub backend_scopes: Vec<String>,
    /// What shows that a person signed in to the EHR with more than a password.
    pub mfa: MfaSettings,
    /// The practice in its EHR, as `Organization/123`: the sender and recipient of its texts in the chart.
    pub organization: Option<String>,
    /// The practice's places in its EHR, as `Location/123`: visits elsewhere are not its. Empty: those of its organization
    /// where it shares the EHR with other tenants, else all.
    pub locations: Vec<String>,
    /// Which of our roles a role in the EHR gives. A role that is not listed gives none.
    pub roles: Vec<RoleRule>,
}

/// `[tenants.ehr.mfa]`: how multi-factor sign-in at the EHR is known.
#[derive(Debug, Clone)]
pub struct MfaSettings {
    /// `amr` values (RFC 8176) of which one must be in the `id_token`.
    pub accepted_amr: Vec<String>,
    /// `acr` values of which one will do instead.
    pub accepted_acr: Vec<String>,
    /// Stands in the place of both where the EHR sends neither.
    pub attestation: Option<MfaAttestation>,
}

/// The practice's written word that its EHR asks for a second factor.
#[derive(Debug, Clone)]
pub struct MfaAttestation {
    /// Who signed it.
    pub signed_by: String,
    /// When.
    pub signed_on: civil::Date,
    /// What was signed.
    pub statement: String,
}

/// One row of the role map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRule {
    /// The code system of `PractitionerRole.code`.
    pub system: String,
    /// The code.
    pub code: String,
    /// The roles of ours that it gives.
    pub roles: Roles,
}

/// `[tenants.carrier]`
#[derive(Debug, Clone)]
pub enum CarrierSettings {
    /// Twilio Programmable Messaging.
    Twilio(TwilioSettings),
}

/// An account at Twilio.
#[derive(Debug, Clone)]
pub struct TwilioSettings {
    /// `AC` and 32 hexadecimal digits.
    pub account_sid: String,
    /// Signs in unless there is an API key, and checks the signatures of webhooks.
    pub auth_token: Secret,
    /// While tokens are being exchanged: accepted in signatures too.
    pub secondary_auth_token: Option<Secret>,
    /// Signs in instead of the account's token, which then only checks signatures.
    pub api_key: Option<TwilioApiKey>,
    /// The messaging service that the numbers belong to: `MG` and 32 hexadecimal digits.
    pub messaging_service_sid: Option<String>,
    /// The API's base URL; ends in `/`.
    pub api_base: Url,
    /// How long after a send the carrier's list may not show the text yet.
    pub list_lag: Duration,
}

/// `[tenants.carrier.api_key]`
#[derive(Debug, Clone)]
pub struct TwilioApiKey {
    /// `SK` and 32 hexadecimal digits.
    pub sid: String,
    /// The key's secret.
    pub secret: Secret,
}

/// `[tenants.policies]`: each `true` and each second choice loosens something, and is listed by `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, each with a name of its own in the file")]
pub struct Policies {
    /// Texts may greet by first name.
    pub first_name_in_texts: bool,
    /// Texts other than the verification code may go to a number that is not verified.
    pub texts_before_verification: bool,
    /// One text confirms a STOP (47 CFR 64.1200(a)(12)).
    pub confirm_stop: bool,
    /// Automated texts may leave outside 08:00 to 21:00 (47 CFR 64.1200(c)(1)).
    pub texts_at_any_hour: bool,
    /// Which automated texts say how to stop.
    pub opt_out_wording: OptOutNotice,
}
