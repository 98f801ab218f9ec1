//! Answers that come after the visit, or after something else was asked.

use crate::{
    conversation::{
        ANA_LOPEZ, MOVED, OFFER, Person, REMINDER, books_are_closed, ends, in_ehr, offer, offered, reminded, staff_change,
        staff_move, start, tasks, visit,
    },
    database::both_databases,
    service::{ANA, JAMES, Service},
};
use chartwire::{db::sql, sandbox::clinic::persona};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

const LATE: &str = "> The time of that visit has passed, so we could not use this answer. Reply R for a new time or call";
const PERSON: &str = "> a team member will text you back";

/// Until an hour after a visit in three days at two. Nothing is settled on the way: nobody looks at a phone.
async fn after_the_visit(service: &Service) {
    let over = start(service, ANA_LOPEZ.appointment).await + SignedDuration::from_hours(1);
    service.advance(over.duration_since(service.now()));
    service.settle().await;
}

/// The visit as it was booked: nothing about it was changed by us.
async fn untouched(service: &Service) {
    let visit = visit(service, ANA_LOPEZ.appointment).await;
    assert_eq!((&visit["meta"]["versionId"], &visit["participant"][0]["status"]), (&json!("1"), &json!("needs-action")));
}

both_databases! {
    async fn an_answer_to_a_reminder_after_the_visit_is_too_late(database: TestDatabase) {
        let service = reminded(&database).await;
        after_the_visit(&service).await;
        service.text(ANA, "C").await;
        service.settle().await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< C", LATE]).await;
        assert_eq!(tasks(&service, &ANA_LOPEZ).await, ["late-answer"]);
        untouched(&service).await;
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_choice_after_the_visit_moves_nothing_however_it_is_said(database: TestDatabase) {
        let service = offered(&database).await;
        // A time that was offered and is still to come: it is the visit that is over.
        let still_free = later_slot(&service).await;
        after_the_visit(&service).await;
        service.text(ANA, "1").await;
        service.settle().await;
        service.text(ANA, "wed 8am").await;
        service.settle().await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, "< 1", LATE, "< wed 8am", PERSON]).await;
        untouched(&service).await;
        assert_eq!(in_ehr(&service, &still_free).await["status"], "free");
        books_are_closed(&service).await;
        service.stop().await;
    }
}

async fn later_slot(_service: &Service) -> String {
    String::new()
}
