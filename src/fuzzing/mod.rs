//! What must hold for any input of each parser of outside input.
//!
//! A [`Target`] takes bytes, feeds them to a parser and panics where a property is broken. `fuzz/` runs the targets
//! with libFuzzer, the tests here over the seeds of `fuzz/seeds`. Built for those two only. Targets of private parsers
//! stand in their rooms (`fuzzing.rs`), those of public ones here. `docs/fuzzing.md` lists them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a target fails by panicking, and none of this is in what is built for use"
)]

mod browser;
mod settings;
#[cfg(test)]
mod tests;
mod words;

use crate::{app, carrier::twilio, fhir, intent, smart};

/// A marked word. Seeds and dictionaries put it where a patient's data stand; no message of ours has it.
pub(crate) const MARK: &str = "Qz9Zorvex";

/// What one fuzzer runs.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, also that of its program and of its folder of seeds.
    pub name: &'static str,
    /// Feeds the bytes to the parser. Panics where a property is broken.
    pub check: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "webhook_form", check: twilio::fuzzing::webhook_form },
    Target { name: "webhook_json", check: twilio::fuzzing::webhook_json },
    Target { name: "webhook_signature", check: twilio::fuzzing::webhook_signature },
    Target { name: "carrier_list", check: twilio::fuzzing::carrier_list },
    Target { name: "carrier_send", check: twilio::fuzzing::carrier_send },
    Target { name: "fhir_bundle", check: fhir::fuzzing::bundle },
    Target { name: "fhir_resource", check: fhir::fuzzing::resource },
    Target { name: "fhir_phi", check: fhir::fuzzing::phi },
    Target { name: "fhir_outcome", check: fhir::fuzzing::outcome },
    Target { name: "fhir_capabilities", check: words::capabilities },
    Target { name: "smart_discovery", check: smart::fuzzing::discovery },
    Target { name: "smart_jwks", check: smart::fuzzing::jwks },
    Target { name: "smart_id_token", check: smart::fuzzing::id_token },
    Target { name: "smart_token", check: smart::fuzzing::token },
    Target { name: "smart_launch", check: smart::fuzzing::launch },
    Target { name: "browser_request", check: browser::request },
    Target { name: "template", check: words::template },
    Target { name: "phone_number", check: words::phone_number },
    Target { name: "intent", check: intent::fuzzing::reading },
    Target { name: "guard", check: words::guard },
    Target { name: "config", check: settings::config },
    Target { name: "consent_list", check: app::command_line::consent_list },
];

/// Runs the target of this name. `fuzz/` has one program for each, which does nothing else.
///
/// # Panics
/// Where a property is broken, or no target has the name.
pub fn check(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.check)(data);
}

/// What is shown of an error or a value keeps the marked word back.
pub(crate) fn keeps_back(shown: &str) {
    assert!(!shown.contains(MARK), "it shows what it should keep back: {shown}");
}

/// An error, as `Display` and as `Debug`, keeps the marked word back.
pub(crate) fn tells_nothing(error: &(impl std::fmt::Display + std::fmt::Debug)) {
    keeps_back(&error.to_string());
    keeps_back(&format!("{error:?}"));
}

/// The input as lines: `N` of them, the last with all that remains; missing ones are empty.
pub(crate) fn lines<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut parts = data.splitn(N, |byte| *byte == b'\n');
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// The same as text; what is not UTF-8 is replaced.
pub(crate) fn text_lines<const N: usize>(data: &[u8]) -> [String; N] {
    lines::<N>(data).map(|line| String::from_utf8_lossy(line).into_owned())
}
