//! The settings file that every installation of these tests starts from.

/// What differs from one to the next; values that hold secrets or lists are written as TOML.
pub(crate) struct SettingsFile<'a> {
    pub(crate) slug: &'a str,
    pub(crate) text_name: &'a str,
    pub(crate) public_url: &'a str,
    pub(crate) database: &'a str,
    pub(crate) signing_key: &'a str,
    pub(crate) key_encryption_key: &'a str,
    pub(crate) auth_token: &'a str,
    /// The number that texts come from.
    pub(crate) number: &'a str,
    /// Who answers keywords there.
    pub(crate) answers_keywords: &'a str,
    /// Days before the visit on which reminders leave.
    pub(crate) reminders: &'a [u32],
    /// What stands under `[tenants.policies]`, and sections after it.
    pub(crate) policies: &'a str,
    pub(crate) fhir_base: &'a str,
    /// What else stands under `[tenants.ehr]`.
    pub(crate) ehr: &'a str,
    /// Role rules beside the nurse's.
    pub(crate) roles: &'a str,
    pub(crate) account: &'a str,
    pub(crate) api_base: &'a str,
}

impl SettingsFile<'_> {
    pub(crate) fn text(&self) -> String {
        let Self { slug, text_name, public_url, database, signing_key, key_encryption_key, auth_token, .. } = self;
        let Self { number, answers_keywords, policies, fhir_base, ehr, roles, account, api_base, .. } = self;
        let reminders: Vec<String> =
            self.reminders.iter().map(|days| format!("{{ days_before = {days}, at = \"10:00\" }}")).collect();
        let reminders = reminders.join(", ");
        format!(
            r#"
[server]
listen = "127.0.0.1:0"
public_url = "{public_url}"
shutdown_grace_seconds = 20

[database]
url = {database}

[audit]
head_folder = "heads"

[[registrations]]
name = "launch"
client_id = "launch"
authentication = "public"

[[registrations]]
name = "backend"
client_id = "backend"
authentication = "private_key_jwt"
algorithm = "ES384"
signing_key = {signing_key}

[[tenants]]
slug = "{slug}"
name = "{text_name}"
text_name = "{text_name}"
zone = "America/New_York"
languages = ["en", "es"]
phone = "+12125550198"
frame_ancestors = ["https://ehr.example.org"]
key_encryption_keys = [{key_encryption_key}]
reminders = [{reminders}]
numbers = [{{ number = "{number}", answers_keywords = "{answers_keywords}" }}]

[tenants.policies]
confirm_stop = true
{policies}

[tenants.ehr]
fhir_base = "{fhir_base}"
{ehr}
launch_registration = "launch"
backend_registration = "backend"
roles = [
    {{ system = "http://terminology.hl7.org/CodeSystem/practitioner-role", code = "nurse", roles = ["nurse"] }},
    {roles}
]

[tenants.carrier]
provider = "twilio"
account_sid = "{account}"
auth_token = {auth_token}
api_base = "{api_base}"
"#
        )
    }
}
