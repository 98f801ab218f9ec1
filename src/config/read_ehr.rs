//! Reads what a practice's EHR is and how the service signs in there.

use super::{
    read_service::base_url,
    reader::Section,
    settings::{
        ClientAuthentication, EhrSettings, MfaAttestation, MfaSettings, Registration, RoleRule, TenantSettings,
    },
    value::{self, Parsed, Wrong},
};
use crate::access::Role;
use std::sync::Arc;
use toml::Value;

/// What the launched inbox asks for: who the person is, and the patient in context (SMART App Launch 2.2, "Scopes").
const LAUNCH_SCOPES: &[&str] =
    &["openid", "fhirUser", "launch", "user/Practitioner.r", "user/PractitionerRole.rs", "user/Patient.r"];

/// What the workflows read and write.
const BACKEND_SCOPES: &[&str] = &[
    "system/Appointment.rus",
    "system/Communication.crus",
    "system/Condition.rs",
    "system/Consent.rs",
    "system/Location.rs",
    "system/MedicationRequest.rs",
    "system/Organization.r",
    "system/Patient.rs",
    "system/Practitioner.rs",
    "system/PractitionerRole.rs",
    "system/Schedule.rs",
    "system/Slot.rus",
    "system/Task.crus",
];

pub(super) fn ehr(section: &Section<'_, '_>, registrations: &[Option<Arc<Registration>>]) -> Option<EhrSettings> {
    const FHIR_BASE: &str = "write the FHIR R4 base URL: \"https://ehr.example.org/fhir/r4\"";
    let fhir_base = section.required("fhir_base", FHIR_BASE, |value| Ok((base_url(value)?, value::exact_url(value)?)));
    let launch_issuers = section.optional_list("launch_issuers", value::exact_url);
    let id_token_issuers = section.optional_list("id_token_issuers", value::exact_url);
    let launch = registration(section, "launch_registration", registrations);
    let launch_scopes = section.optional_list("launch_scopes", scope);
    let backend = registration(section, "backend_registration", registrations);
    let backend_scopes = section.optional_list("backend_scopes", backend_scope);
    let organization = section.optional("organization", reference("Organization"));
    let locations = section.list("locations", reference("Location"));
    let mfa = mfa(&section.section("mfa"));
    let roles = roles(section);
    let backend = backend.flatten().filter(|backend| signs(section, backend));
    let (fhir_base, exact_base) = fhir_base?;
    let launch_issuers = launch_issuers?.unwrap_or_else(|| vec![exact_base]);
    Some(EhrSettings {
        fhir_base,
        id_token_issuers: id_token_issuers?.unwrap_or_else(|| launch_issuers.clone()),
        launch_issuers,
        launch: launch.flatten()?,
        launch_scopes: launch_scopes?.unwrap_or_else(|| owned(LAUNCH_SCOPES)),
        backend: backend?,
        backend_scopes: backend_scopes?.unwrap_or_else(|| owned(BACKEND_SCOPES)),
        mfa: mfa?,
        organization: organization?,
        locations: locations?,
        roles: roles?,
    })
}

/// A reference to a resource of the same server. Ids are letters, digits, `-`, `.` (R4, "id"), and `_` at some.
fn reference(kind: &'static str) -> impl Fn(&Value) -> Parsed<String> {
    move |value| {
        let text = value::text(value)?;
        let is_id = |id: &str| {
            let form = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            (1..=256).contains(&id.len()) && id.bytes().all(form) && id.bytes().any(|byte| byte != b'.')
        };
        if text.strip_prefix(kind).and_then(|rest| rest.strip_prefix('/')).is_some_and(is_id) {
            return Ok(text);
        }
        let fix = format!("write its type and its id in the EHR: \"{kind}/123\"");
        Err(Wrong::new(format!("this is no reference to a resource of type {kind}"), fix))
    }
}

/// Tenants on one EHR, each by its place in the file: what is whose has to be said, and said of one of them only (law 8).
pub(super) fn check_shared(sections: &[Section<'_, '_>], tenants: &[Option<TenantSettings>]) {
    for (index, (section, tenant)) in sections.iter().zip(tenants).enumerate() {
        let Some(tenant) = tenant else { continue };
        let others = tenants.iter().enumerate().filter(|(other, _)| *other != index);
        let others = others.filter_map(|(other, tenant)| Some((other, tenant.as_ref()?)));
        let sharing: Vec<_> = others.filter(|(_, other)| other.ehr.fhir_base == tenant.ehr.fhir_base).collect();
        let Some((_, first)) = sharing.first() else { continue };
        if tenant.ehr.organization.is_none() && tenant.ehr.locations.is_empty() {
            let problem = format!(
                "\"{}\" and \"{}\" share this EHR, and which of it is whose is not said",
                tenant.slug, first.slug
            );
            let fix = "write ehr.organization or ehr.locations of each, so that neither texts the other's patients";
            section.report("ehr.organization", Wrong::new(problem, fix));
        }
        // Said once, of the later one.
        for (_, other) in sharing.iter().filter(|(other, _)| *other < index) {
            let by_place = !tenant.ehr.locations.is_empty() && !other.ehr.locations.is_empty();
            if !by_place && tenant.ehr.organization.is_some() && tenant.ehr.organization == other.ehr.organization {
                let problem = format!("\"{}\" on the same EHR is this organization, too", other.slug);
                section.report("ehr.organization", Wrong::new(problem, "write ehr.locations of each, too"));
            }
            if tenant.ehr.locations.iter().any(|place| other.ehr.locations.contains(place)) {
                let problem = format!("\"{}\" on the same EHR has one of these, too", other.slug);
                section.report("ehr.locations", Wrong::new(problem, "give each location to one tenant"));
            }
        }
    }
}

/// The registration of that name. The outer `None`: no usable name; the inner: it exists, with mistakes of its own.
#[expect(clippy::option_option, reason = "a wrong reference and a wrong registration are two things")]
fn registration(
    section: &Section<'_, '_>,
    key: &'static str,
    registrations: &[Option<Arc<Registration>>],
) -> Option<Option<Arc<Registration>>> {
    let name = section.required(key, "write the name of one of the [[registrations]]", value::slug)?;
    let found = registrations.iter().flatten().find(|registration| registration.name == name);
    if found.is_none() && registrations.iter().all(Option::is_some) {
        let names: Vec<&str> = registrations.iter().flatten().map(|registration| registration.name.as_str()).collect();
        let fix = if names.is_empty() {
            "write [[registrations]] first".to_owned()
        } else {
            format!("there is {}", names.join(", "))
        };
        section.report(key, Wrong::new("there is no registration of this name", fix));
        return None;
    }
    Some(found.cloned())
}

fn signs(section: &Section<'_, '_>, backend: &Registration) -> bool {
    let signs = matches!(backend.authentication, ClientAuthentication::PrivateKeyJwt { .. });
    if !signs {
        section.report(
            "backend_registration",
            Wrong::new(
                "Backend Services knows no other authentication than private_key_jwt",
                "refer to a registration that has a signing key",
            ),
        );
    }
    signs
}

fn mfa(section: &Section<'_, '_>) -> Option<MfaSettings> {
    let methods = section.optional_list("accepted_amr", value::text);
    let context_classes = section.list("accepted_acr", value::text);
    let attestation = section.section_if_there("attestation", |section| {
        let signed_by = section.required("signed_by", "write who signed it", value::text);
        let signed_on = section.required("signed_on", "write the day: \"2026-03-01\"", value::date);
        let statement = section.required("statement", "write what was signed", value::text);
        Some(MfaAttestation { signed_by: signed_by?, signed_on: signed_on?, statement: statement? })
    });
    Some(MfaSettings {
        accepted_amr: methods?.unwrap_or_else(|| owned(&["mfa"])),
        accepted_acr: context_classes?,
        attestation: attestation?,
    })
}

fn roles(section: &Section<'_, '_>) -> Option<Vec<RoleRule>> {
    let rules: Vec<Option<RoleRule>> = section
        .sections("roles")
        .iter()
        .map(|rule| {
            let system = rule.required("system", "write the code system of PractitionerRole.code", value::text);
            let code = rule.required("code", "write the code", value::text);
            let roles = rule.filled_list("roles", "write one of ours: [\"nurse\"]", role);
            Some(RoleRule { system: system?, code: code?, roles: roles?.into_iter().collect() })
        })
        .collect();
    if rules.is_empty() {
        section.report(
            "roles",
            Wrong::new("nobody would have a role", "write [[tenants.ehr.roles]] with system, code and roles"),
        );
        return None;
    }
    rules.into_iter().collect()
}

fn role(value: &Value) -> Parsed<Role> {
    Role::from_code(&value::text(value)?).ok_or_else(|| {
        Wrong::new("there is no such role", format!("there is {}", Role::ALL.map(Role::code).join(", ")))
    })
}

/// A scope is one word (RFC 6749 section 3.3).
fn scope(value: &Value) -> Parsed<String> {
    let text = value::text(value)?;
    if text.contains(char::is_whitespace) {
        return Err(Wrong::new("these are several scopes in one", "write each as an element of its own"));
    }
    Ok(text)
}

fn backend_scope(value: &Value) -> Parsed<String> {
    let scope = scope(value)?;
    if scope.starts_with("system/") {
        Ok(scope)
    } else {
        Err(Wrong::new("Backend Services acts for no person", "begin each scope with system/"))
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
