//! Answers that come after the visit, or after something else was asked.

use crate::{
    conversation::{
        ANA_LOPEZ, CHANGED, CONFIRMED, JAMES_CARTER, MOVED, OFFER, PERSON, REMINDER, an_hour_without_ehr,
        books_are_closed, ends, in_ehr, offer, offered, reminded, staff_change, staff_move, start, tasks,
        the_ehr_is_back, visit,
    },
    database::both_databases,
    feed::chart,
    service::{ANA, JAMES, Service},
};
use chartwire::sandbox::{Fault, FaultRule};
use jiff::SignedDuration;
use serde_json::json;

const LATE: &str =
    "> The time of that visit has passed, so we could not use this answer. Reply R for a new time or call";

async fn until_after_the_visit(service: &Service, span: SignedDuration) {
    let then = start(service, ANA_LOPEZ.appointment).await + span;
    service.advance(then.duration_since(service.now()));
    service.settle().await;
}

/// How often the visit was written, and whether the patient has accepted it.
async fn written(service: &Service) -> (String, String) {
    let visit = visit(service, ANA_LOPEZ.appointment).await;
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (word(&visit["meta"]["versionId"]), word(&visit["participant"][0]["status"]))
}

fn is(version: &str, participation: &str) -> (String, String) {
    (version.to_owned(), participation.to_owned())
}

both_databases! {
    async fn a_confirmation_after_the_visit_confirms_nothing(database: TestDatabase) {
        let service = reminded(&database).await;
        until_after_the_visit(&service, SignedDuration::from_hours(1)).await;
        service.text(ANA, "C").await;
        service.settle().await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< C", LATE]).await;
        assert_eq!(tasks(&service, &ANA_LOPEZ).await, ["late-answer"]);
        assert_eq!(written(&service).await, is("1", "needs-action"));
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_confirmation_of_a_visit_that_staff_closed_is_late_and_days_later_it_is_for_a_person(database: TestDatabase) {
        let service = reminded(&database).await;
        until_after_the_visit(&service, SignedDuration::from_hours(1)).await;
        let reference = format!("Appointment/{}", ANA_LOPEZ.appointment);
        staff_change(&service, &reference, json!({ "status": "fulfilled" })).await;
        service.text(ANA, "YES").await;
        service.settle().await;
        // Thanks for it change nothing; nor does another yes, a week later, to a question that is long over.
        service.text(ANA, "ok thanks").await;
        service.settle().await;
        service.advance(SignedDuration::from_hours(8 * 24));
        service.text(ANA, "YES").await;
        service.settle().await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< YES", LATE, "< ok thanks", "< YES"]).await;
        assert_eq!(tasks(&service, &ANA_LOPEZ).await, ["late-answer", "not-understood"]);
        assert_eq!(written(&service).await, is("2", "needs-action"));
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_choice_after_the_visit_moves_nothing_even_where_the_time_is_free(database: TestDatabase) {
        let service = offered(&database).await;
        // The visit is today now, and tomorrow is offered instead.
        staff_move(&service, ANA_LOPEZ.appointment, &offer(&service, &ANA_LOPEZ, 1).await.0).await;
        for _ in 0..3 {
            service.advance(SignedDuration::from_mins(2));
            service.settle().await;
        }
        service.text(ANA, "R").await;
        service.settle().await;
        let (slot, at) = offer(&service, &ANA_LOPEZ, 2).await;
        until_after_the_visit(&service, SignedDuration::from_mins(45)).await;
        assert!(at > service.now());
        service.text(ANA, "2").await;
        service.settle().await;
        service.text(ANA, "R").await;
        service.settle().await;
        let told = [REMINDER, "< R", OFFER, CHANGED, "< R", OFFER, "< 2", LATE, "< R", PERSON];
        ends(&service, &ANA_LOPEZ, &told).await;
        assert_eq!(tasks(&service, &ANA_LOPEZ).await, ["late-answer", "reschedule"]);
        assert_eq!(in_ehr(&service, &format!("Slot/{slot}")).await["status"], "free");
        assert_eq!(written(&service).await, is("2", "needs-action"));
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_time_in_words_after_the_visit_moves_nothing(database: TestDatabase) {
        let service = offered(&database).await;
        until_after_the_visit(&service, SignedDuration::from_hours(1)).await;
        service.text(ANA, "tue 8:30am").await;
        service.settle().await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, "< tue 8:30am", LATE]).await;
        assert_eq!(tasks(&service, &ANA_LOPEZ).await, ["late-answer"]);
        assert_eq!(written(&service).await, is("1", "needs-action"));
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_visit_that_is_over_is_not_cancelled(database: TestDatabase) {
        let service = reminded(&database).await;
        service.text(ANA, "please cancel my appointment").await;
        service.settle().await;
        until_after_the_visit(&service, SignedDuration::from_hours(1)).await;
        service.text(ANA, "YES").await;
        service.settle().await;
        let told = [REMINDER, "< please cancel", "> Reply YES to drop it", "< YES", LATE];
        ends(&service, &ANA_LOPEZ, &told).await;
        assert_eq!(tasks(&service, &ANA_LOPEZ).await, ["late-answer"]);
        assert_eq!(written(&service).await, is("1", "needs-action"));
        assert_eq!(visit(&service, ANA_LOPEZ.appointment).await["status"], "booked");
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn an_answer_in_time_that_the_ehr_can_only_take_after_the_visit_is_late(database: TestDatabase) {
        let service = reminded(&database).await;
        until_after_the_visit(&service, -SignedDuration::from_mins(30)).await;
        service.ehr.misbehaviour().add(FaultRule::always(Fault::Unavailable));
        service.text(ANA, "C").await;
        service.settle().await;
        an_hour_without_ehr(&service).await;
        the_ehr_is_back(&service).await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< C", LATE]).await;
        assert_eq!(tasks(&service, &ANA_LOPEZ).await, ["late-answer"]);
        assert_eq!(written(&service).await, is("1", "needs-action"));
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_number_is_taken_from_the_newest_offer(database: TestDatabase) {
        let service = offered(&database).await;
        let (old, _) = offer(&service, &ANA_LOPEZ, 1).await;
        service.text(ANA, "N").await;
        service.settle().await;
        let (new, at) = offer(&service, &ANA_LOPEZ, 1).await;
        assert_ne!(old, new);
        service.text(ANA, "1").await;
        service.settle().await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, "< N", OFFER, "< 1", MOVED]).await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, at);
        assert_eq!(in_ehr(&service, &format!("Slot/{old}")).await["status"], "free");
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_choice_from_an_offer_that_a_change_by_staff_overtook_is_for_a_person(database: TestDatabase) {
        let service = offered(&database).await;
        let (theirs, at) = offer(&service, &ANA_LOPEZ, 3).await;
        staff_move(&service, ANA_LOPEZ.appointment, &theirs).await;
        for _ in 0..3 {
            service.advance(SignedDuration::from_mins(2));
            service.settle().await;
        }
        service.text(ANA, "2").await;
        service.settle().await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, CHANGED, "< 2"]).await;
        assert_eq!(tasks(&service, &ANA_LOPEZ).await, ["not-understood"]);
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, at);
        assert_eq!(written(&service).await, is("2", "needs-action"));
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn two_choices_at_once_move_the_visit_once_and_a_person_looks_at_the_other(database: TestDatabase) {
        let service = offered(&database).await;
        let offers = [offer(&service, &ANA_LOPEZ, 1).await, offer(&service, &ANA_LOPEZ, 2).await];
        service.text(ANA, "1").await;
        service.text(ANA, "2").await;
        service.settle().await;
        service.advance(SignedDuration::from_mins(1));
        service.settle().await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, "< 1", "< 2", MOVED]).await;
        let at = start(&service, ANA_LOPEZ.appointment).await;
        assert_eq!(offers.iter().filter(|offer| offer.1 == at).count(), 1);
        assert_eq!(tasks(&service, &ANA_LOPEZ).await, ["not-understood"]);
        assert_eq!(written(&service).await, is("2", "needs-action"));
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_yes_answers_what_was_asked_last(database: TestDatabase) {
        let service = reminded(&database).await;
        // Two days later the reminder of the visit overtakes the question about the prescription.
        service.advance(SignedDuration::from_hours(48));
        service.settle().await;
        service.text(JAMES, "YES").await;
        service.settle().await;
        ends(&service, &JAMES_CARTER, &["> due for refill", REMINDER, "< YES", CONFIRMED]).await;
        assert_eq!(visit(&service, JAMES_CARTER.appointment).await["participant"][0]["status"], "accepted");
        let asked_for = chart(&service, &format!("Task?patient=Patient/{}", JAMES_CARTER.id)).await;
        assert!(asked_for.is_empty(), "{asked_for:?}");
        books_are_closed(&service).await;
        service.stop().await;
    }
}
