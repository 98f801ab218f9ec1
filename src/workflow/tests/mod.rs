//! What patients read and what the EHR holds at the end of each conversation.

mod bench;
mod contested;
mod exactly_once;
mod peers;

use super::*;
use bench::{ANA, Bench, LUIS, at};
use jiff::SignedDuration;

/// Thursday 2 pm in New York; the reminders are due on Monday and on Wednesday at 10.
const VISIT: &str = "2026-11-26T19:00:00Z";
const BOOKED: &str = "2026-11-20T15:00:00Z";
const MONDAY: &str = "2026-11-23T15:00:00Z";
const WEDNESDAY: &str = "2026-11-25T15:00:00Z";
const FREE: [&str; 4] =
    ["2026-11-30T15:00:00Z", "2026-12-01T16:00:00Z", "2026-12-03T19:30:00Z", "2026-12-04T15:00:00Z"];

/// Ana has a visit, and her first reminder has arrived.
async fn reminded() -> Bench {
    let bench = Bench::new(BOOKED).await;
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    bench.visit("1", ana, VISIT).await;
    assert!(bench.on(ANA).is_empty());
    bench.free(&FREE);
    bench.at(MONDAY).await;
    let reminder = bench.last_of(ANA, 1);
    assert!(reminder.contains("Hi Ana") && reminder.contains("with Dr. Lee"), "{reminder}");
    bench
}

#[tokio::test]
async fn a_reminder_is_confirmed_once_the_ehr_has_it() {
    let bench = reminded().await;
    bench.text(ANA, "C").await;
    let text = bench.last_of(ANA, 2);
    assert!(text.contains("you are confirmed for"), "{text}");
    assert_eq!(*bench.ehr.confirmed.lock().unwrap(), ["1"]);
    bench.text(ANA, "ok thanks").await;
    bench.last_of(ANA, 2);
    bench.at(WEDNESDAY).await;
    bench.last_of(ANA, 3);
    assert_eq!(bench.plans("1").await, [format!("{VISIT} 3 sent"), format!("{VISIT} 1 sent")]);
    bench.nothing_failed().await;
}

#[tokio::test]
async fn a_reminder_waits_until_the_ehr_says_that_the_visit_is_there() {
    let bench = Bench::new(BOOKED).await;
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    bench.visit("1", ana, VISIT).await;
    *bench.ehr.away.lock().unwrap() = true;
    bench.at(MONDAY).await;
    assert_eq!(bench.on(ANA), [""; 0], "what we know is not a fact");
    *bench.ehr.away.lock().unwrap() = false;
    bench.at("2026-11-23T15:20:00Z").await;
    bench.last_of(ANA, 1);
    assert_eq!(bench.ehr.refreshed.lock().unwrap().last().map(String::as_str), Some("1"));
    bench.nothing_failed().await;
}

#[tokio::test]
async fn another_time_takes_three_texts_each_way() {
    let bench = reminded().await;
    bench.text(ANA, "R").await;
    let offer = bench.last_of(ANA, 2);
    assert!(offer.contains("1)") && offer.contains("3)") && offer.contains("Reply 1, 2 or 3"), "{offer}");
    bench.text(ANA, "2").await;
    let moved = bench.last_of(ANA, 3);
    assert!(moved.contains("Done. Your visit is now"), "{moved}");
    assert_eq!(bench.ehr.start_of("1"), at(FREE[1]));
    assert_eq!(
        bench.plans("1").await,
        [
            format!("{VISIT} 3 sent"),
            format!("{VISIT} 1 dropped"),
            format!("{} 3 planned", FREE[1]),
            format!("{} 1 planned", FREE[1]),
        ]
    );
    // The feed sees our own move: no news for the patient.
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    bench.visit("1", ana, FREE[1]).await;
    bench.at(WEDNESDAY).await;
    bench.last_of(ANA, 3);
    bench.nothing_failed().await;
}

#[tokio::test]
async fn two_patients_choose_one_slot_and_the_second_is_offered_others() {
    let bench = Bench::new(BOOKED).await;
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    let luis = bench.patient("luis", "Luis", Some(LUIS)).await;
    bench.visit("1", ana, VISIT).await;
    bench.visit("2", luis, VISIT).await;
    bench.free(&FREE);
    bench.at(MONDAY).await;
    for phone in [ANA, LUIS] {
        bench.text(phone, "R").await;
    }
    bench.text(ANA, "1").await;
    bench.text(LUIS, "1").await;
    assert!(bench.last_of(ANA, 3).contains("Done. Your visit is now"));
    let taken = bench.last_of(LUIS, 3);
    assert!(taken.contains("that time was just taken"), "{taken}");
    assert_eq!(bench.ehr.start_of("2"), at(VISIT));
    bench.text(LUIS, "1").await;
    assert!(bench.last_of(LUIS, 4).contains("Done. Your visit is now"));
    assert_eq!(bench.ehr.start_of("2"), at(FREE[3]), "only what had not been offered");
}

#[tokio::test]
async fn none_of_these_leads_to_other_times_and_then_to_a_person() {
    let bench = reminded().await;
    bench.text(ANA, "R").await;
    bench.text(ANA, "N").await;
    assert!(bench.last_of(ANA, 3).contains("Open time: "));
    bench.text(ANA, "N").await;
    assert!(bench.last_of(ANA, 4).contains("a team member will text you back"));
    assert_eq!(bench.tasks().await, ["reschedule"]);
    bench.nothing_failed().await;
}

#[tokio::test]
async fn where_nothing_is_open_a_person_looks() {
    let bench = reminded().await;
    bench.free(&[]);
    bench.text(ANA, "R").await;
    assert!(bench.last_of(ANA, 2).contains("There are no open times right now"));
    assert_eq!(bench.tasks().await, ["reschedule"]);
}

#[tokio::test]
async fn an_answer_after_the_visit_changes_nothing_and_says_so() {
    let bench = reminded().await;
    bench.at(WEDNESDAY).await;
    bench.at("2026-11-26T19:05:00Z").await;
    bench.text(ANA, "C").await;
    assert!(bench.last_of(ANA, 3).contains("The time of that visit has passed"));
    assert!(bench.ehr.confirmed.lock().unwrap().is_empty());
    assert_eq!(bench.tasks().await, ["late-answer"]);
    bench.text(ANA, "R").await;
    assert!(bench.last_of(ANA, 4).contains("a team member will text you back"));
    assert_eq!(bench.tasks().await, ["late-answer", "reschedule"]);
}

#[tokio::test]
async fn a_visit_is_dropped_in_two_steps() {
    let bench = reminded().await;
    bench.text(ANA, "please cancel my appointment").await;
    assert!(bench.last_of(ANA, 2).contains("Reply YES to drop it"));
    assert_eq!(bench.ehr.appointments.lock().unwrap()["1"].status, "booked");
    bench.text(ANA, "YES").await;
    assert!(bench.last_of(ANA, 3).contains("is taken off the schedule"));
    assert_eq!(bench.ehr.appointments.lock().unwrap()["1"].status, "cancelled");
    bench.at(WEDNESDAY).await;
    bench.last_of(ANA, 3);
    bench.nothing_failed().await;
}

#[tokio::test]
async fn a_no_keeps_the_visit() {
    let bench = reminded().await;
    bench.text(ANA, "please cancel my appointment").await;
    bench.text(ANA, "no").await;
    assert!(bench.last_of(ANA, 3).contains("stays as it is"));
    assert_eq!(bench.ehr.appointments.lock().unwrap()["1"].status, "booked");
}

#[tokio::test]
async fn visits_on_one_day_are_one_text() {
    let bench = Bench::new(BOOKED).await;
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    bench.visit("1", ana, VISIT).await;
    bench.visit("2", ana, "2026-11-26T20:30:00Z").await;
    bench.at(MONDAY).await;
    let text = bench.last_of(ANA, 1);
    assert!(text.contains("2 visits"), "{text}");
    bench.text(ANA, "C").await;
    let mut confirmed = bench.ehr.confirmed.lock().unwrap().clone();
    confirmed.sort();
    assert_eq!(confirmed, ["1", "2"]);
    bench.last_of(ANA, 2);
    bench.nothing_failed().await;
}

#[tokio::test]
async fn a_joined_text_that_has_not_left_is_made_anew_when_one_visit_moves() {
    let bench = Bench::new(BOOKED).await;
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    let luis = bench.patient("luis", "Luis", Some(ANA)).await;
    bench.visit("1", ana, VISIT).await;
    bench.visit("2", ana, "2026-11-26T20:30:00Z").await;
    // A question to whoever shares the phone is open: Ana's text has to wait.
    bench.clock.set(at("2026-11-23T14:30:00Z"));
    bench
        .job("RefillDue", RefillDue { medication_request: "m1".into(), patient: luis, due_on: "2026-11-30".into() })
        .await;
    bench.at(MONDAY).await;
    bench.last_of(ANA, 1);
    bench.visit("1", ana, "2026-11-30T19:00:00Z").await;
    bench.clock.set(at("2026-11-23T18:40:00Z"));
    bench.text(ANA, "YES").await;
    bench.at("2026-11-23T22:50:00Z").await;
    let texts = bench.on(ANA);
    assert_eq!(texts.len(), 4, "{texts:#?}");
    assert!(texts.iter().any(|text| text.contains("you have a visit Thu Nov 26 at 3:30 PM")), "{texts:#?}");
    assert!(texts.iter().any(|text| text.contains("your visit is now Mon Nov 30")), "{texts:#?}");
    bench.nothing_failed().await;
}

#[tokio::test]
async fn a_joined_text_that_the_gate_finds_untrue_is_made_anew_for_the_other_visits() {
    let bench = Bench::new(BOOKED).await;
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    let luis = bench.patient("luis", "Luis", Some(ANA)).await;
    bench.visit("1", ana, VISIT).await;
    bench.visit("2", ana, "2026-11-26T20:30:00Z").await;
    bench.clock.set(at("2026-11-23T14:30:00Z"));
    // A question to whoever shares the phone is open: Ana's text has to wait.
    bench
        .job("RefillDue", RefillDue { medication_request: "m1".into(), patient: luis, due_on: "2026-11-30".into() })
        .await;
    bench.at(MONDAY).await;
    bench.last_of(ANA, 1);
    // The gate hears of it before the workflow does.
    bench.moves_unheard("1", "2026-11-30T19:00:00Z").await;
    bench.clock.set(at("2026-11-23T18:40:00Z"));
    bench.text(ANA, "YES").await;
    bench.at("2026-11-23T22:50:00Z").await;
    let texts = bench.on(ANA);
    assert_eq!(texts.len(), 3, "{texts:#?}");
    assert!(texts.iter().any(|text| text.contains("you have a visit Thu Nov 26 at 3:30 PM")), "{texts:#?}");
    assert_eq!(bench.plans("1").await[0], format!("{VISIT} 3 dropped"));
    assert_eq!(bench.plans("2").await[0], "2026-11-26T20:30:00Z 3 sent");
    bench.nothing_failed().await;
}

#[tokio::test]
async fn what_the_staff_change_is_told_once() {
    let bench = reminded().await;
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    for start in ["2026-11-27T19:00:00Z", "2026-11-27T20:00:00Z", "2026-11-30T19:00:00Z"] {
        bench.visit("1", ana, start).await;
    }
    bench.clock.advance(SignedDuration::from_mins(3));
    bench.settle().await;
    let changed = bench.last_of(ANA, 2);
    assert!(changed.contains("your visit is now") && changed.contains("Nov 30"), "{changed}");
    bench.text(ANA, "C").await;
    assert!(bench.last_of(ANA, 3).contains("you are confirmed for"));
    bench.nothing_failed().await;
}

#[tokio::test]
async fn an_edit_that_is_taken_back_at_once_is_nobodys_news() {
    let bench = reminded().await;
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    bench.visit("1", ana, "2026-11-27T19:00:00Z").await;
    bench.visit("1", ana, VISIT).await;
    bench.clock.advance(SignedDuration::from_mins(3));
    bench.settle().await;
    bench.last_of(ANA, 1);
    bench.at(WEDNESDAY).await;
    bench.last_of(ANA, 2);
    assert_eq!(bench.plans("1").await[..2], [format!("{VISIT} 3 sent"), format!("{VISIT} 1 sent")]);
}

#[tokio::test]
async fn an_answer_to_a_time_that_the_staff_have_changed_meanwhile_hears_the_new_one() {
    let bench = reminded().await;
    let new = at("2026-11-27T19:00:00Z");
    // The feed has not told us yet.
    bench.ehr.appointments.lock().unwrap().get_mut("1").unwrap().start = new;
    bench.text(ANA, "C").await;
    let changed = bench.last_of(ANA, 2);
    assert!(changed.contains("your visit is now") && changed.contains("Nov 27"), "{changed}");
    assert!(bench.ehr.confirmed.lock().unwrap().is_empty());
    bench.text(ANA, "C").await;
    assert!(bench.last_of(ANA, 3).contains("you are confirmed for"));
}

#[tokio::test]
async fn a_visit_that_the_staff_dropped_is_not_confirmed() {
    let bench = reminded().await;
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    bench.in_the_ehr("1", ana, VISIT, "cancelled", "Main St").await;
    bench.text(ANA, "C").await;
    assert!(bench.last_of(ANA, 2).contains("a team member will text you back"));
    assert_eq!(bench.tasks().await, ["reschedule"]);
    bench.at(WEDNESDAY).await;
    bench.last_of(ANA, 2);
}

#[tokio::test]
async fn a_move_of_which_nobody_knows_is_asked_for_and_told_when_it_is_seen() {
    let bench = reminded().await;
    bench.ehr.moves.lock().unwrap().extend([MoveOutcome::Unknown, MoveOutcome::Unknown]);
    bench.text(ANA, "R").await;
    bench.text(ANA, "3").await;
    assert!(bench.last_of(ANA, 3).contains("We asked the front desk for"));
    assert_eq!(bench.tasks().await, ["ehr-unknown"]);
    bench.clock.advance(SignedDuration::from_mins(3));
    bench.settle().await;
    bench.last_of(ANA, 3);
    bench.clock.advance(SignedDuration::from_mins(3));
    bench.settle().await;
    assert!(bench.last_of(ANA, 4).contains("Done. Your visit is now"));
    assert_eq!(bench.ehr.start_of("1"), at(FREE[2]));
    assert_eq!(bench.plans("1").await.last().unwrap(), &format!("{} 1 planned", FREE[2]));
    bench.nothing_failed().await;
}

#[tokio::test]
async fn a_move_that_the_front_desk_made_meanwhile_is_told_as_such() {
    let bench = reminded().await;
    bench.ehr.moves.lock().unwrap().push_back(MoveOutcome::Unknown);
    bench.text(ANA, "R").await;
    bench.text(ANA, "3").await;
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    bench.visit("1", ana, FREE[2]).await;
    assert!(bench.last_of(ANA, 4).contains("Done. Your visit is now"));
    bench.clock.advance(SignedDuration::from_mins(10));
    bench.settle().await;
    bench.last_of(ANA, 4);
}

#[tokio::test]
async fn an_ehr_that_is_down_for_an_hour_delays_the_answer_and_loses_nothing() {
    let bench = reminded().await;
    bench.text(ANA, "R").await;
    *bench.ehr.away.lock().unwrap() = true;
    bench.text(ANA, "1").await;
    bench.last_of(ANA, 2);
    for _ in 0..6 {
        bench.clock.advance(SignedDuration::from_mins(10));
        bench.settle().await;
    }
    bench.last_of(ANA, 2);
    *bench.ehr.away.lock().unwrap() = false;
    bench.clock.advance(SignedDuration::from_mins(11));
    bench.settle().await;
    assert!(bench.last_of(ANA, 3).contains("Done. Your visit is now"));
    assert_eq!(bench.ehr.start_of("1"), at(FREE[0]));
}

#[tokio::test]
async fn an_unclear_choice_is_asked_about_once() {
    let bench = reminded().await;
    bench.free(&["2026-11-30T15:00:00Z", "2026-11-30T19:00:00Z", "2026-12-01T15:00:00Z"]);
    bench.text(ANA, "R").await;
    bench.text(ANA, "monday").await;
    let again = bench.last_of(ANA, 3);
    assert!(again.contains("Open times"), "{again}");
    bench.text(ANA, "monday").await;
    assert!(bench.last_of(ANA, 4).contains("a team member will text you back"));
    assert_eq!(bench.ehr.start_of("1"), at(VISIT));
}

#[tokio::test]
async fn after_an_outage_only_what_is_still_of_use_leaves() {
    let bench = Bench::new(BOOKED).await;
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    let luis = bench.patient("luis", "Luis", Some(LUIS)).await;
    bench.visit("1", ana, VISIT).await;
    bench.visit("2", luis, "2026-11-26T14:00:00Z").await;
    bench.at("2026-11-26T01:30:00Z").await;
    let text = bench.last_of(ANA, 1);
    assert!(text.contains("you have a visit"), "{text}");
    bench.last_of(LUIS, 1);
    bench.at("2026-11-26T12:00:00Z").await;
    assert_eq!(bench.on(ANA).len() + bench.on(LUIS).len(), 2);
}

#[tokio::test]
async fn who_has_no_number_is_left_to_a_person() {
    let bench = Bench::new(BOOKED).await;
    let ana = bench.patient("ana", "Ana", None).await;
    bench.visit("1", ana, VISIT).await;
    bench.at(MONDAY).await;
    bench.at(WEDNESDAY).await;
    assert_eq!(bench.tasks().await, ["no-number"]);
}

#[tokio::test]
async fn a_refill_goes_to_the_prescriber_and_back() {
    let bench = Bench::new(MONDAY).await;
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    let due = RefillDue { medication_request: "m1".into(), patient: ana, due_on: "2026-11-30".into() };
    for _ in 0..2 {
        bench.job("RefillDue", due.clone()).await;
    }
    assert!(bench.last_of(ANA, 1).contains("due for refill"));
    bench.text(ANA, "YES").await;
    assert!(bench.last_of(ANA, 2).contains("Your refill request is with your care team"));
    assert_eq!(*bench.ehr.requests.lock().unwrap(), ["m1@2026-11-30"]);
    let changed = RefillTaskChanged { task: "Task/7".into() };
    *bench.ehr.refill.lock().unwrap() = Some(RefillStatus::Approved);
    for _ in 0..2 {
        bench.job("RefillTaskChanged", changed.clone()).await;
    }
    assert!(bench.last_of(ANA, 3).contains("Your refill request was approved"));
    *bench.ehr.refill.lock().unwrap() = Some(RefillStatus::Ready);
    bench.job("RefillTaskChanged", changed).await;
    assert!(bench.last_of(ANA, 4).contains("ready for pick-up"));
    bench.nothing_failed().await;
}

#[tokio::test]
async fn a_refill_that_is_not_wanted_is_not_requested() {
    let bench = Bench::new(MONDAY).await;
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    let due = RefillDue { medication_request: "m1".into(), patient: ana, due_on: "2026-11-30".into() };
    bench.job("RefillDue", due).await;
    bench.text(ANA, "no").await;
    bench.last_of(ANA, 1);
    assert!(bench.ehr.requests.lock().unwrap().is_empty());
}
