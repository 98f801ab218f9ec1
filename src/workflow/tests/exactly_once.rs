//! Answers that come together, break off or break down: each counts once, and none is lost.

use super::*;
use crate::db::sql;
use serde_json::Value;
use std::time::Duration;
use tokio::sync::oneshot;

const SENT: &str = "Your refill request is with your care team";

async fn asked_for_a_refill() -> (Bench, RefillDue) {
    let bench = Bench::new(MONDAY).await;
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    let due = RefillDue { medication_request: "m1".into(), patient: ana, due_on: "2026-11-30".into() };
    bench.job("RefillDue", due.clone()).await;
    (bench, due)
}

/// Reads what has come; what follows from it is due in a minute.
async fn read_texts(bench: &Bench) {
    while bench.reading.run_due().await.unwrap() > 0 {}
    bench.clock.advance(SignedDuration::from_mins(1));
}

/// How many answers wait because another one is acted on.
async fn waiting_answers(bench: &Bench) -> i64 {
    let query = sql("SELECT COUNT(*) AS n FROM job WHERE kind = 'ReplyRead' AND last_error = 'workflow-busy'");
    bench.db.one(query).await.unwrap().get("n").unwrap()
}

/// The next request for a refill waits in the EHR: what says that it has come, and what lets it go on.
fn request_waits(bench: &Bench) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
    let ((tell, reached), (open, opened)) = (oneshot::channel(), oneshot::channel());
    *bench.ehr.waiting_request.lock().unwrap() = Some((tell, opened));
    (reached, open)
}

#[tokio::test]
async fn two_quick_yes_answers_ask_the_prescriber_once() {
    let (bench, _) = asked_for_a_refill().await;
    for answer in ["YES", "yes"] {
        bench.accept(ANA, answer).await;
    }
    read_texts(&bench).await;
    // Both answers are acted on at once: whoever is first stays with the EHR until the other has had its turn.
    let (reached, open) = request_waits(&bench);
    let acting = tokio::spawn({
        let worker = bench.worker.clone();
        async move { worker.run_due().await.unwrap() }
    });
    reached.await.unwrap();
    let other_had_its_turn = async {
        while waiting_answers(&bench).await < 1 {
            tokio::task::yield_now().await;
        }
    };
    let had = tokio::time::timeout(Duration::from_secs(30), other_had_its_turn).await;
    assert!(had.is_ok(), "both act on the refill");
    open.send(()).unwrap();
    acting.await.unwrap();
    bench.settle().await;
    assert_eq!(*bench.ehr.requests.lock().unwrap(), ["m1@2026-11-30"]);
    assert!(bench.last_of(ANA, 2).contains(SENT));
    assert_eq!(bench.tasks().await, [""; 0]);
    assert_eq!(bench.workflow("refill").await, ("requested".to_owned(), Value::Null));
    bench.nothing_failed().await;
}

#[tokio::test]
async fn a_request_that_broke_off_goes_on_with_the_same_answer_and_the_second_one_waits() {
    let (bench, _) = asked_for_a_refill().await;
    let (reached, open) = request_waits(&bench);
    bench.accept(ANA, "YES").await;
    let breaking_off = tokio::spawn({
        let worker = bench.worker.clone();
        async move { worker.run_due().await.unwrap() }
    });
    reached.await.unwrap();
    bench.accept(ANA, "no").await;
    bench.worker.run_due().await.unwrap();
    drop(open);
    breaking_off.await.unwrap();
    bench.settle().await;
    assert!(bench.last_of(ANA, 2).contains(SENT));
    assert_eq!(bench.tasks().await, ["not-understood"], "who says something else afterwards is asked by a person");
    assert_eq!(bench.workflow("refill").await, ("requested".to_owned(), Value::Null));
    bench.nothing_failed().await;
}

#[tokio::test]
async fn an_answer_that_breaks_down_on_every_attempt_lets_the_visit_go_and_tells_a_person() {
    let bench = reminded().await;
    *bench.ehr.panics.lock().unwrap() = true;
    bench.text(ANA, "C").await;
    for _ in 0..170 {
        bench.clock.advance(SignedDuration::from_mins(10));
        bench.worker.run_due().await.unwrap();
    }
    *bench.ehr.panics.lock().unwrap() = false;
    assert_eq!(bench.tasks().await, ["ehr-unknown"]);
    assert_eq!(bench.workflow("visit").await, ("with-staff".to_owned(), Value::Null));
    bench.nothing_failed().await;
    // What comes next is dealt with again.
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    bench.visit("1", ana, FREE[2]).await;
    bench.clock.advance(SignedDuration::from_mins(3));
    bench.settle().await;
    assert!(bench.on(ANA).last().unwrap().contains("your visit is now"), "{:?}", bench.on(ANA));
    bench.text(ANA, "C").await;
    assert!(bench.on(ANA).last().unwrap().contains("you are confirmed for"), "{:?}", bench.on(ANA));
}

#[tokio::test]
async fn a_refill_answer_that_cannot_be_dealt_with_is_the_pharmacys() {
    let (bench, _) = asked_for_a_refill().await;
    *bench.ehr.panics.lock().unwrap() = true;
    bench.text(ANA, "YES").await;
    for _ in 0..170 {
        bench.clock.advance(SignedDuration::from_mins(10));
        bench.worker.run_due().await.unwrap();
    }
    assert_eq!(bench.tasks().await, ["ehr-unknown"]);
    assert_eq!(bench.workflow("refill").await, ("with-staff".to_owned(), Value::Null));
    bench.nothing_failed().await;
}

#[tokio::test]
async fn a_notice_that_did_not_arrive_asks_nothing_and_may_be_given_again() {
    let bench = Bench::new(MONDAY).await;
    let ana = bench.patient("ana", "Ana", Some(ANA)).await;
    let due = RefillDue { medication_request: "m1".into(), patient: ana, due_on: "2026-11-30".into() };
    *bench.carrier.refuses.lock().unwrap() = true;
    bench.job("RefillDue", due.clone()).await;
    assert_eq!(bench.workflow("refill").await.0, "not-told");
    *bench.carrier.refuses.lock().unwrap() = false;
    for _ in 0..2 {
        bench.job("RefillDue", due.clone()).await;
    }
    assert_eq!(bench.workflow("refill").await.0, "asked");
    bench.text(ANA, "YES").await;
    assert!(bench.last_of(ANA, 2).contains(SENT));
    assert_eq!(*bench.ehr.requests.lock().unwrap(), ["m1@2026-11-30"]);
    bench.nothing_failed().await;
}
