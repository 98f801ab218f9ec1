//! The threat model names the test that shows each of its claims: they exist.

use std::{collections::BTreeSet, fs, path::Path};

/// Every name in backticks that is written as a test's is.
fn named(text: &str) -> BTreeSet<&str> {
    let is_test = |word: &&str| {
        word.contains('_')
            && word.len() > 20
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    text.split('`').skip(1).step_by(2).filter(is_test).collect()
}

fn read_all(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            read_all(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for folder in ["src", "tests/it"] {
        read_all(&root.join(folder), &mut code);
    }
    let model = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let named = named(&model);
    assert!(named.len() > 40, "only {} tests are named", named.len());
    let missing: Vec<&&str> = named.iter().filter(|name| !code.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "SECURITY.md names tests that do not exist: {missing:?}");
}

#[test]
fn names_of_tests_are_told_from_other_words() {
    let text = "see `a_forged_webhook_leaves_nothing` and `tests/it/outage.rs`, `Phi`, `cargo deny`";
    assert_eq!(named(text), ["a_forged_webhook_leaves_nothing"].into());
}

/// Names of what is secret, or proves that somebody knows a secret.
const SECRETS: [&str; 12] = [
    "auth_token",
    "browser",
    "check_value",
    "cookie",
    "form_token",
    "hash",
    "mac",
    "nonce",
    "secret",
    "signature",
    "token_hash",
    "verifier",
];

/// The last name before a comparison, and the last one after it: `a.b.mac == c.stored()` gives `mac` and `stored`.
fn compared(line: &str) -> Vec<&str> {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut names = Vec::new();
    for operator in [" == ", " != "] {
        for (at, _) in line.match_indices(operator) {
            let (before, after) = (&line[..at], &line[at + operator.len()..]);
            names.extend(before.trim_end_matches(|c| !name(c)).rsplit(|c| !name(c)).next());
            let path = after.split(|c: char| !name(c) && !".&*()".contains(c)).next().unwrap_or_default();
            names.extend(path.split(|c| !name(c)).rfind(|word| !word.is_empty()));
        }
    }
    names
}

#[test]
fn secrets_are_compared_in_constant_time_or_looked_up_by_their_hash() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (file, how) in [
        ("carrier/twilio/signature.rs", "hmac::verify(&key, &message, &signature)"),
        ("carrier/twilio/signature.rs", "verify_slices_are_equal(claimed"),
        ("access/token.rs", "verify_slices_are_equal(expected"),
        ("access/session.rs", "token::same(&self.form_token, given)"),
        ("access/session_store.rs", "WHERE s.token_hash = $1"),
        ("access/launch.rs", "digest(&digest::SHA256, state.as_bytes())"),
        ("smart/launch.rs", "same(given, &state.state)"),
        ("smart/launch.rs", "same(nonce, &self.nonce)"),
        ("http/smart/launch.rs", "verify_slices_are_equal(self.browser"),
        ("vault/mac.rs", "verify_slices_are_equal(&mac_under(&self.0, parts), tag)"),
        ("audit/head.rs", "key.verify("),
        ("audit/row.rs", "key.verify("),
    ] {
        assert!(fs::read_to_string(src.join(file)).unwrap().contains(how), "{file}: {how}");
    }
    let mut all = String::new();
    // The sandbox keeps nobody's secrets.
    for room in fs::read_dir(&src).unwrap().map(|room| room.unwrap().path()) {
        if room.is_dir() && !room.ends_with("sandbox") {
            read_all(&room, &mut all);
        }
    }
    let bare = |line: &&str| !line.contains("assert") && compared(line).iter().any(|name| SECRETS.contains(name));
    let found: Vec<&str> = all.lines().filter(bare).collect();
    assert!(found.is_empty(), "compared in a time that tells where they differ: {found:#?}");
}

#[test]
fn what_is_compared_is_found_on_both_sides() {
    assert_eq!(compared("if row.mac.as_slice() == stored {"), ["as_slice", "stored"]);
    assert_eq!(compared("key.sign(parts) != &self.row.mac"), ["parts", "mac"]);
    assert_eq!(compared("let a = b;"), [""; 0]);
}
