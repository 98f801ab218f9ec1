//! The arguments themselves. What the commands do, `tests/it` shows.

use super::*;
use clap::{CommandFactory as _, Parser as _};
use rstest::rstest;

#[test]
fn the_definitions_are_sound() {
    CommandLine::command().debug_assert();
}

#[rstest]
#[case::both_by_default(&[], &[ProcessRole::Web, ProcessRole::Worker])]
#[case::one(&["--role", "worker"], &[ProcessRole::Worker])]
#[case::a_list(&["--role", "worker,web"], &[ProcessRole::Worker, ProcessRole::Web])]
fn a_process_has_the_roles_that_are_named(#[case] arguments: &[&str], #[case] expected: &[ProcessRole]) {
    let arguments = ["chartwire", "serve", "--config", "chartwire.toml"].iter().chain(arguments);
    match CommandLine::try_parse_from(arguments).unwrap().command {
        Command::Serve { role, .. } => assert_eq!(role, expected),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::no_such_role(&["serve", "--config", "f", "--role", "boss"])]
#[case::no_such_key(&["keys", "rotate", "--config", "f", "--what", "search"])]
#[case::no_id(&["jobs", "release", "--config", "f", "not-an-id"])]
#[case::before_the_beginning(&["audit", "export", "--config", "f", "--tenant", "elm", "--after=-1"])]
#[case::nothing(&[])]
fn arguments_that_mean_nothing_are_refused(#[case] arguments: &[&str]) {
    assert!(CommandLine::try_parse_from(["chartwire"].iter().chain(arguments)).is_err());
}
