//! The demo practice's settings: open round the clock, reminders that fall due now, so that it works at any hour.

use super::{
    Peers,
    peers::{ACCOUNT, SLUG, ZONE},
    secrets::{CARRIER_TOKEN, KEK, SIGNING_KEY},
};
use crate::{kernel::Instruments, sandbox::clinic};
use jiff::{SignedDuration, tz::TimeZone};
use std::{
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

/// How long after the start reminders fall due: the schedule has been read by then.
const DUE_IN: SignedDuration = SignedDuration::from_secs(8);

/// The zone of the demo practice.
pub(super) fn zone() -> TimeZone {
    TimeZone::get(ZONE).unwrap_or(TimeZone::UTC)
}

/// Waits until no midnight of the practice lies between now and the reminders, which fall due after a start that takes
/// up to `start`: their day would be the next.
pub(super) async fn wait_out_midnight(instruments: &Instruments, zone: &TimeZone, start: Duration) {
    let start = SignedDuration::try_from(start).unwrap_or(SignedDuration::ZERO);
    let day = |instant: jiff::Timestamp| instant.to_zoned(zone.clone()).date();
    while day(instruments.now()) != day(instruments.now() + start + DUE_IN + SignedDuration::from_secs(20)) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The settings file of the demo practice, whose secrets are beside it.
pub(super) fn settings(listen: SocketAddr, zone: &TimeZone, peers: &Peers, instruments: &Instruments) -> String {
    let due = (instruments.now() + DUE_IN).to_zoned(zone.clone());
    let zone = zone.iana_name().unwrap_or(ZONE);
    let at = due.strftime("%H:%M:%S");
    let (fhir_base, issuer) = (peers.ehr.fhir_base(), &peers.ehr.endpoints().issuer);
    let api_base = peers.carrier.api_base();
    let frame = peers.ehr.base_url().origin().ascii_serialization();
    // Opened by this name, the EHR is another site to a browser than the service in its frame, as in production.
    let frame_as_other_site = frame.replace("127.0.0.1", "localhost");
    format!(
        r#"
[server]
listen = "{listen}"
public_url = "http://{listen}/"

[database]
url = "sqlite:chartwire.db"

[log]
format = "text"
level = "warn"

[audit]
head_folder = "audit-heads"

[[registrations]]
name = "launch"
client_id = "chartwire-inbox"
authentication = "public"

[[registrations]]
name = "backend"
client_id = "chartwire-backend"
authentication = "private_key_jwt"
algorithm = "ES384"
signing_key = {{ file = "{SIGNING_KEY}" }}

[[tenants]]
slug = "{SLUG}"
name = "{name}"
text_name = "Riverside Clinic"
zone = "{zone}"
languages = ["en", "es"]
phone = "{phone}"
poll_seconds = 5
session_idle_minutes = 10
frame_ancestors = ["{frame}", "{frame_as_other_site}"]
key_encryption_keys = [{{ file = "{KEK}" }}]
texting_hours = {{ opens = "00:00", closes = "00:00" }}
reminders = [{{ days_before = 3, at = "{at}" }}, {{ days_before = 1, at = "{at}" }}]
numbers = [{{ number = "{phone}", answers_keywords = "chartwire" }}]

[tenants.policies]
first_name_in_texts = true
texts_before_verification = true
confirm_stop = true
texts_at_any_hour = true

[tenants.ehr]
fhir_base = "{fhir_base}"
id_token_issuers = ["{issuer}"]
launch_registration = "launch"
backend_registration = "backend"
organization = "Organization/{organization}"
roles = [
    {{ system = "http://terminology.hl7.org/CodeSystem/practitioner-role", code = "doctor", roles = ["provider"] }},
    {{ system = "http://terminology.hl7.org/CodeSystem/practitioner-role", code = "nurse", roles = ["nurse"] }},
    {{ system = "http://terminology.hl7.org/CodeSystem/practitioner-role", code = "pharmacist", roles = ["pharmacy"] }},
    {{ system = "{system}/CodeSystem/staff-role", code = "scheduler", roles = ["scheduler"] }},
]

[tenants.carrier]
provider = "twilio"
account_sid = "{ACCOUNT}"
auth_token = {{ file = "{CARRIER_TOKEN}" }}
api_base = "{api_base}"
"#,
        name = clinic::NAME,
        phone = clinic::PHONE,
        system = clinic::SYSTEM,
        organization = clinic::ORGANIZATION,
    )
}

/// Says what is not as in a real practice.
pub(super) fn print(out: &mut (dyn Write + Send)) -> io::Result<()> {
    writeln!(out, "The demo practice's own settings:")?;
    writeln!(out, "  - texts leave at any hour (texting_hours 00:00-00:00, texts_at_any_hour)")?;
    writeln!(out, "  - reminders three days and one day before fall due {} seconds after the start", DUE_IN.as_secs())?;
    writeln!(out, "  - first names in texts, a confirmation of STOP, and numbers that nobody has verified are allowed")
}
