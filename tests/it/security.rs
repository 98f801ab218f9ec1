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
