//! Times of which nobody can say that they are the patient's alone.

use super::*;
use std::time::Duration;

#[tokio::test]
async fn a_time_that_two_visits_share_is_for_a_person_and_told_when_it_is_ours_alone() {
    let bench = reminded().await;
    bench.text(ANA, "R").await;
    // The move is made, and then nobody can say that it stands alone.
    bench.ehr.contested_times(2);
    bench.text(ANA, "3").await;
    assert!(bench.last_of(ANA, 3).contains("a team member will text you back"));
    assert_eq!(bench.tasks().await, ["double-booked"]);
    // The feed sees where it is; that says nothing either.
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    bench.visit("1", ana, FREE[2]).await;
    bench.last_of(ANA, 3);
    bench.clock.advance(SignedDuration::from_mins(16));
    bench.settle().await;
    assert!(bench.last_of(ANA, 4).contains("Done. Your visit is now"));
    assert_eq!(bench.tasks().await, ["double-booked"]);
    bench.nothing_failed().await;
}

#[tokio::test]
async fn a_move_that_arrived_unheard_is_not_told_while_another_visit_is_there() {
    let bench = reminded().await;
    bench.ehr.moves.lock().unwrap().push_back(MoveOutcome::Unavailable { retry_after: Some(Duration::from_mins(1)) });
    bench.text(ANA, "R").await;
    bench.text(ANA, "3").await;
    bench.last_of(ANA, 2);
    bench.ehr.appointments.lock().unwrap().get_mut("1").unwrap().start = at(FREE[2]);
    bench.ehr.moves.lock().unwrap().push_back(MoveOutcome::Contested);
    bench.clock.advance(SignedDuration::from_mins(1));
    bench.settle().await;
    assert!(bench.last_of(ANA, 3).contains("a team member will text you back"));
    assert_eq!(bench.tasks().await, ["double-booked"]);
}

#[tokio::test]
async fn a_slot_that_stays_held_in_the_ehr_is_told_to_the_front_desk() {
    let bench = reminded().await;
    let stranded = SlotStranded { slot: "Slot/1".into(), appointment: "1".into() };
    bench.job("SlotStranded", stranded).await;
    assert_eq!(bench.tasks().await, ["slot-held"]);
    bench.nothing_failed().await;
}
