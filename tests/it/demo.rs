//! The demo as a process of its own: what it prints, and what it logs.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

#[test]
fn trouble_in_a_demo_is_logged_beside_what_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_chartwire"))
        .args(["demo", "--tour", "--data"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let printed = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut printed = printed.map_while(Result::ok);
    assert!(printed.any(|line| line.contains("own settings")), "the service has started by then");
    fs::remove_dir_all(folder.path().join("audit-heads")).unwrap();
    let logged = BufReader::new(demo.stderr.take().unwrap()).lines();
    let trouble = logged.map_while(Result::ok).find(|line| line.contains("the audit log is not sealed"));
    demo.kill().unwrap();
    demo.wait().unwrap();
    assert!(trouble.is_some_and(|line| line.contains("ERROR")), "an operator would have seen it");
}
