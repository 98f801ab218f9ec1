//! The table, and what each of its columns means at the moment of the decision.

use super::*;
use crate::kernel::{Id, clock::from_millis};

const NOW: i64 = 1_800_000_000_000;

fn allowed() -> Facts {
    Facts {
        now: from_millis(NOW),
        answers: Some(from_millis(NOW)),
        not_before: None,
        expires_at: None,
        unread: 0,
        unsettled: false,
        older_waits: false,
        question_taken: false,
        still_true: true,
        standing: Standing {
            suppressed: false,
            stopped_at: None,
            confirmed: false,
            grant: Some(Id::from_bytes([1; 16])),
            denial: None,
            archiving_notice: true,
        },
        quiet_until: None,
        quiet_overridden: false,
        capped_until: None,
        number_on_file: true,
        number_disputed: false,
        deceased: false,
        verified: true,
        unverified_allowed: false,
        guard_blocks: false,
        recovering: false,
        echo: None,
    }
}

fn stopped(seconds_ago: i64) -> Facts {
    let mut facts = allowed();
    facts.standing.suppressed = true;
    facts.standing.stopped_at = Some(from_millis(NOW - seconds_ago * 1000));
    facts
}

#[test]
fn the_table() {
    let table: Vec<String> =
        Class::ALL.into_iter().map(|class| format!("{}: {:?}", class.code(), class.rule())).collect();
    insta::assert_snapshot!(table.join("\n"));
}

#[test]
fn after_stop_only_the_confirmation_and_help_leave() {
    for class in Class::ALL {
        let leaves = decide(class, &stopped(10)) == Decision::Clear;
        assert_eq!(leaves, matches!(class, Class::StopConfirmation | Class::Help), "{class:?}");
    }
}

#[test]
fn the_confirmation_of_stop_goes_out_once_within_five_minutes_and_only_if_nobody_has_confirmed() {
    assert_eq!(decide(Class::StopConfirmation, &stopped(299)), Decision::Clear);
    let refused = Decision::Drop(DropReason::Stopped);
    assert_eq!(decide(Class::StopConfirmation, &stopped(301)), refused);
    let mut facts = stopped(1);
    facts.standing.confirmed = true;
    assert_eq!(decide(Class::StopConfirmation, &facts), refused);
}

#[test]
fn no_consent_no_text() {
    let mut facts = allowed();
    facts.standing.grant = None;
    assert_eq!(decide(Class::Automated, &facts), Decision::Drop(DropReason::NoConsent));
    assert_eq!(decide(Class::StaffReply, &facts), Decision::Drop(DropReason::NoConsent));
    let mut facts = allowed();
    facts.standing.denial = Some(Id::from_bytes([2; 16]));
    assert_eq!(decide(Class::Automated, &facts), Decision::Drop(DropReason::NoConsent));
}

#[test]
fn an_unread_text_holds_everything_but_the_answer_to_an_emergency() {
    let mut facts = allowed();
    facts.unread = 1;
    for class in Class::ALL {
        let mut facts = facts.clone();
        facts.standing.stopped_at = (class == Class::StopConfirmation).then_some(facts.now);
        let held = matches!(decide(class, &facts), Decision::Hold { why: HoldReason::Unread, .. });
        assert_eq!(held, class != Class::Emergency, "{class:?}");
    }
}

#[test]
fn a_text_of_unknown_fate_holds_everything_but_the_answer_to_an_emergency() {
    for class in Class::ALL {
        let mut facts = allowed();
        facts.unsettled = true;
        facts.standing.stopped_at = (class == Class::StopConfirmation).then_some(facts.now);
        let held = matches!(decide(class, &facts), Decision::Hold { why: HoldReason::Unsettled, .. });
        assert_eq!(held, class != Class::Emergency, "{class:?}");
    }
}

#[test]
fn what_an_unread_text_may_change_is_not_judged_before_it_is_read() {
    let mut unverified = allowed();
    unverified.verified = false;
    let mut unwanted = allowed();
    unwanted.standing.grant = None;
    for (mut facts, why) in
        [(stopped(10), DropReason::Stopped), (unwanted, DropReason::NoConsent), (unverified, DropReason::Unverified)]
    {
        assert_eq!(decide(Class::Automated, &facts), Decision::Drop(why));
        facts.unread = 1;
        assert_eq!(
            decide(Class::Automated, &facts),
            Decision::Hold { why: HoldReason::Unread, until: None },
            "{why:?}"
        );
        facts.expires_at = Some(facts.now);
        assert_eq!(decide(Class::Automated, &facts), Decision::Drop(DropReason::Expired), "it does not wait for ever");
    }
    let mut facts = stopped(10);
    facts.unread = 1;
    assert_eq!(decide(Class::Emergency, &facts), Decision::Drop(DropReason::Stopped), "a person calls, at once");
    let mut facts = allowed();
    (facts.unread, facts.still_true) = (1, false);
    assert_eq!(decide(Class::Automated, &facts), Decision::Drop(DropReason::NoLongerTrue));
}

/// A practice in New York that texts from nine to eight, and patients elsewhere: every three hours of a day.
#[test]
fn it_is_day_for_the_practice_and_for_the_patient() {
    use crate::{patient::zones_of_state, practice};
    use jiff::{civil::time, tz::TimeZone};
    let hours = practice::QuietHours { opens: time(9, 0, 0, 0), closes: time(20, 0, 0, 0) };
    let mut rows = Vec::new();
    for state in ["", "NY", "TX", "CA", "HI", "GU"] {
        let names = zones_of_state(state).iter().chain(&["America/New_York"]);
        let zones: Vec<TimeZone> = names.map(|name| TimeZone::get(name).unwrap()).collect();
        for at in (0..24).step_by(3) {
            let now = time(at, 0, 0, 0).on(2026, 11, 23).in_tz("America/New_York").unwrap().timestamp();
            let quiet_until = hours.quiet_until_everywhere(now, &zones);
            let decision = decide(Class::Automated, &Facts { now, quiet_until, ..allowed() });
            let local =
                |instant: Timestamp| instant.in_tz("America/New_York").unwrap().strftime("%a %H:%M").to_string();
            let told = match decision {
                Decision::Hold { why, until: Some(until) } => format!("{} until {}", why.code(), local(until)),
                other => format!("{other:?}"),
            };
            let whose = if state.is_empty() { "unknown" } else { state };
            rows.push(format!("{whose} {}: {told}", local(now)));
        }
    }
    insta::assert_snapshot!(rows.join("\n"));
}

#[test]
fn quiet_hours_hold_reminders_and_ask_for_replies() {
    let mut facts = allowed();
    facts.quiet_until = Some(from_millis(NOW + 3_600_000));
    let held = Decision::Hold { why: HoldReason::QuietHours, until: facts.quiet_until };
    assert_eq!(decide(Class::Automated, &facts), held);
    assert_eq!(decide(Class::StaffReply, &facts), held);
    assert_eq!(decide(Class::Answer, &facts), Decision::Clear);
    facts.quiet_overridden = true;
    assert_eq!(decide(Class::StaffReply, &facts), Decision::Clear);
    assert_eq!(decide(Class::Automated, &facts), held);
    facts.expires_at = Some(from_millis(NOW + 1_800_000));
    assert_eq!(decide(Class::Automated, &facts), Decision::Drop(DropReason::Expired), "never a day late");
}

#[test]
fn what_has_waited_for_half_an_hour_is_no_answer_any_more() {
    let mut facts = allowed();
    facts.quiet_until = Some(from_millis(NOW + 3_600_000));
    facts.standing.grant = None;
    facts.answers = Some(from_millis(NOW - 30 * 60_000 + 1));
    assert_eq!(decide(Class::Answer, &facts), Decision::Clear);
    for answers in [Some(from_millis(NOW - 30 * 60_000)), None] {
        facts.answers = answers;
        assert_eq!(decide(Class::Answer, &facts), Decision::Drop(DropReason::NoConsent));
    }
    facts.standing.grant = Some(Id::from_bytes([1; 16]));
    let held = Decision::Hold { why: HoldReason::QuietHours, until: facts.quiet_until };
    assert_eq!(decide(Class::Answer, &facts), held);
}

#[test]
fn what_waits_for_another_question_until_it_is_late_says_so() {
    let mut facts = allowed();
    facts.question_taken = true;
    assert_eq!(decide(Class::Automated, &facts), Decision::Hold { why: HoldReason::Question, until: None });
    facts.expires_at = Some(facts.now);
    assert_eq!(decide(Class::Automated, &facts), Decision::Drop(DropReason::QuestionOpen));
}

#[test]
fn automated_texts_and_answers_go_to_the_living_on_their_own_number() {
    let off_file = Facts { number_on_file: false, ..allowed() };
    let disputed = Facts { number_disputed: true, ..allowed() };
    let deceased = Facts { deceased: true, ..allowed() };
    for class in Class::ALL {
        let (program, staff) = (matches!(class, Class::Automated | Class::Answer), class == Class::StaffReply);
        let drops = |facts: &Facts, why| {
            let mut facts = facts.clone();
            facts.standing.stopped_at = (class == Class::StopConfirmation).then_some(facts.now);
            decide(class, &facts) == Decision::Drop(why)
        };
        assert_eq!(drops(&off_file, DropReason::NotTheirNumber), program || staff, "{class:?}");
        assert_eq!(drops(&disputed, DropReason::NotTheirNumber), program, "{class:?}");
        assert_eq!(drops(&deceased, DropReason::Deceased), program, "{class:?}");
    }
}

#[test]
fn what_does_not_hold_any_more_or_is_late_is_dropped() {
    let mut facts = allowed();
    facts.still_true = false;
    assert_eq!(decide(Class::Automated, &facts), Decision::Drop(DropReason::NoLongerTrue));
    let mut facts = allowed();
    facts.expires_at = Some(facts.now);
    assert_eq!(decide(Class::StaffReply, &facts), Decision::Drop(DropReason::Expired));
}

#[test]
fn while_a_restored_database_is_recovered_nothing_leaves_and_nothing_is_lost() {
    for class in Class::ALL {
        // Who said STOP may have said START since.
        for mut facts in [allowed(), stopped(10)] {
            facts.recovering = true;
            let held = Decision::Hold { why: HoldReason::Recovering, until: None };
            assert_eq!(decide(class, &facts), held, "{class:?}");
            facts.expires_at = Some(facts.now);
            assert_eq!(decide(class, &facts), Decision::Drop(DropReason::Expired), "{class:?}");
        }
    }
}

#[test]
fn what_had_left_before_a_restore_does_not_leave_again() {
    for class in Class::ALL {
        let mut facts = allowed();
        facts.echo = Some(Echo::Same(Id::from_bytes([3; 16])));
        facts.expires_at = Some(facts.now);
        assert_eq!(decide(class, &facts), Decision::Drop(DropReason::SentBefore), "{class:?}");
        facts.echo = Some(Echo::Like);
        assert_eq!(decide(class, &facts), Decision::Drop(DropReason::MaybeSentBefore), "{class:?}");
    }
}
