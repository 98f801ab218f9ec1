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

#[rstest]
#[case::nobody(&["--confirm", ""])]
#[case::a_blank(&["--confirm", " "])]
#[case::vouched_for_by_nobody(&["--unreadable", "1"])]
#[case::since_what(&["--since", "2026-11-23T14:30:00Z"])]
fn nobody_vouches_without_a_name(#[case] arguments: &[&str]) {
    let arguments = ["chartwire", "recover", "--config", "f"].iter().chain(arguments);
    assert!(CommandLine::try_parse_from(arguments).is_err());
}

#[tokio::test]
async fn what_fails_for_one_practice_is_done_for_the_next() {
    let practices: Vec<_> =
        [("elm", 1), ("oak", 2)].map(|(slug, id)| (slug.to_owned(), Id::from_bytes([id; 16]))).into();
    let done = async |practices: Vec<(String, Id<Tenant>)>| {
        let mut out = Vec::new();
        let ended = for_each(practices, &mut out, async |slug, _, out| {
            if slug == "elm" {
                return Err(CommandError::NoSuchJob);
            }
            writeln!(out, "{slug}: done")?;
            Ok(Ended::Well)
        });
        (ended.await, String::from_utf8(out).unwrap())
    };
    let (ended, out) = done(practices.clone()).await;
    assert_eq!(ended.unwrap(), Ended::FoundWrong);
    assert!(out.starts_with("elm: FAILED: no job") && out.ends_with("oak: done\n"), "{out}");
    let (alone, _) = done(practices[..1].to_vec()).await;
    assert!(matches!(alone, Err(CommandError::NoSuchJob)));
}
