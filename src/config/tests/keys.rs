//! Key-encryption keys: those here, and those in a KMS.

use super::{Fixed, edited};
use rstest::rstest;

/// The example, with the second tenant's `[tenants.transit]` in the first as well.
fn both_in_kms(key: &str) -> String {
    let transit = format!(
        "[tenants.transit]\naddress = \"https://vault.example.org:8200\"\nkey = \"{key}\"\nnamespace = \"clinics\"\n\
         token_file = \"secrets/vault-token\"\n\n[tenants.ehr]"
    );
    edited("[tenants.ehr]", &transit)
}

#[test]
fn a_tenant_with_a_key_in_a_kms_needs_none_here_until_it_leaves_it() {
    let without = edited("key_encryption_keys = [{ file = \"secrets/oak-lane.kek\" }]\n", "");
    let settings = Fixed::new().parse(&without).unwrap();
    assert!(settings.tenants[1].key_encryption_keys.is_empty());
    let transit = settings.tenants[1].transit.as_ref().unwrap();
    assert_eq!((transit.mount.as_str(), transit.key.as_str(), transit.only_unwraps), ("transit", "oak-lane", false));
    assert!(transit.token_file.is_absolute());

    let leaving = without.replace("only_unwraps = false", "only_unwraps = true");
    let mistakes = Fixed::new().mistakes(&leaving);
    assert!(mistakes.iter().any(|mistake| mistake.key == "tenants[1].key_encryption_keys"), "{mistakes:?}");
}

#[test]
fn no_two_tenants_share_a_key_in_a_kms() {
    assert!(Fixed::new().parse(&both_in_kms("elm-street")).is_ok());
    let mistakes = Fixed::new().mistakes(&both_in_kms("oak-lane"));
    let found = mistakes.iter().find(|mistake| mistake.key == "tenants[1].transit").unwrap();
    assert!(found.fix.contains("one for each tenant"), "{found}");
}

#[rstest]
#[case::in_the_clear("https://vault.example.org", "http://vault.example.org", "address", "https")]
#[case::elsewhere("key = \"oak-lane\"", "key = \"../sys/oak-lane\"", "key", "letters")]
#[case::upwards("mount = \"transit\"", "mount = \"transit/..\"", "mount", "letters")]
#[case::no_header("namespace = \"clinics\"", "namespace = \"our clinics\"", "namespace", "letters")]
#[case::no_token("token_file = \"secrets/vault-token\"", "", "token_file", "kept fresh")]
#[case::never_asks("asks_every_seconds = 300", "asks_every_seconds = 7200", "asks_every_seconds", "1800")]
#[case::for_ever("survives_outage_hours = 8", "survives_outage_hours = 1000", "survives_outage_hours", "72")]
fn a_mistake_in_the_kms_is_named(#[case] line: &str, #[case] replacement: &str, #[case] key: &str, #[case] fix: &str) {
    let mistakes = Fixed::new().mistakes(&edited(line, replacement));
    let found = mistakes.iter().find(|mistake| mistake.key == format!("tenants[1].transit.{key}"));
    let found = found.unwrap_or_else(|| panic!("no mistake for {key} in {mistakes:?}"));
    assert!(found.fix.contains(fix), "{found}");
}
