//! What `deploy/` says about running the service agrees with itself, with the documentation and with what the commands need.

use std::{collections::BTreeSet, fs, path::Path};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn service() -> String {
    read("deploy/chartwire.service")
}

fn backup() -> String {
    read("deploy/chartwire-backup.service")
}

/// The values of a setting, in whatever way it is written: in a unit, or as a property of `systemd-run`.
fn values(text: &str, setting: &str) -> BTreeSet<String> {
    let lines = text.lines().map(|line| line.trim().trim_start_matches("-p ").trim_end_matches(" \\"));
    lines.filter_map(|line| line.strip_prefix(setting)?.strip_prefix('=')).map(str::to_owned).collect()
}

#[test]
fn a_backup_reaches_what_the_service_reaches() {
    // A KMS has to be asked before the audit log can say that a backup was taken.
    assert!(values(&backup(), "PrivateNetwork").is_empty());
    let families = "RestrictAddressFamilies";
    assert_eq!(values(&backup(), families), values(&service(), families));
    assert_eq!(values(&backup(), "LoadCredential"), values(&service(), "LoadCredential"));
}

#[test]
fn commands_are_run_as_the_service_is() {
    let recipe = read("docs/backup.md");
    for setting in ["User", "Group", "UMask", "WorkingDirectory", "LoadCredential"] {
        let wanted = values(&service(), setting);
        assert!(!wanted.is_empty() && values(&recipe, setting) == wanted, "{setting}: {wanted:?}");
    }
}

#[test]
fn heads_on_another_volume_can_be_written() {
    for unit in [service(), backup()] {
        assert!(unit.contains("\n#ReadWritePaths="), "everything but the state folder is read-only");
    }
}

#[test]
fn an_image_is_built_without_what_it_does_not_need() {
    let left_out = read(".dockerignore");
    assert!(["target", ".git"].iter().all(|name| left_out.lines().any(|line| line == *name)), "{left_out}");
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join(".containerignore");
    assert!(!other.exists(), "docker does not read it, and podman reads it instead of .dockerignore");
}
