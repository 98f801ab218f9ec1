//! A slot that several want, and a visit that staff change while the patient decides.

use crate::{
    conversation::{
        ANA_LOPEZ, CHANGED, MOVED, OFFER, PERSON, PRIYA_NAIR, REMINDER, SOMEBODY_ELSE, TAKEN, books_are_closed, ends,
        in_ehr, offer, offered, overtake, reminded, staff_change, staff_move, start, tasks, visit,
    },
    database::both_databases,
    service::{ANA, PRIYA},
};
use chartwire::sandbox::{Fault, FaultRule};
use jiff::SignedDuration;
use serde_json::json;

both_databases! {
    async fn of_two_who_want_one_slot_one_gets_it_and_the_other_another(database: TestDatabase) {
        let service = reminded(&database).await;
        tokio::join!(service.text(ANA, "R"), service.text(PRIYA, "R"));
        service.settle().await;
        let wanted = offer(&service, &ANA_LOPEZ, 2).await;
        assert_eq!(wanted, offer(&service, &PRIYA_NAIR, 2).await, "both were offered the same");
        tokio::join!(service.text(ANA, "2"), service.text(PRIYA, "2"));
        service.settle().await;
        let (first, second) = if start(&service, ANA_LOPEZ.appointment).await == wanted.1 {
            (ANA_LOPEZ, PRIYA_NAIR)
        } else {
            (PRIYA_NAIR, ANA_LOPEZ)
        };
        let other = offer(&service, &second, 1).await;
        assert_ne!(other.0, wanted.0);
        service.text(second.phone, "1").await;
        service.settle().await;
        ends(&service, &first, &[REMINDER, "< R", OFFER, "< 2", MOVED]).await;
        ends(&service, &second, &[REMINDER, "< R", OFFER, "< 2", TAKEN, "< 1", MOVED]).await;
        for (person, (slot, at)) in [(&first, &wanted), (&second, &other)] {
            let visit = visit(&service, person.appointment).await;
            assert_eq!((&visit["status"], &visit["start"]), (&json!("booked"), &json!(at.to_string())));
            assert_eq!(visit["slot"], json!([{ "reference": format!("Slot/{slot}") }]));
        }
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_slot_taken_in_the_ehr_between_offer_and_answer_leads_to_a_new_offer(database: TestDatabase) {
        let service = offered(&database).await;
        let (lost, _) = offer(&service, &ANA_LOPEZ, 1).await;
        staff_move(&service, SOMEBODY_ELSE, &lost).await;
        service.text(ANA, "1").await;
        service.settle().await;
        let (slot, at) = offer(&service, &ANA_LOPEZ, 1).await;
        assert_ne!(slot, lost);
        service.text(ANA, "1").await;
        service.settle().await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, "< 1", TAKEN, "< 1", MOVED]).await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, at);
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn another_booker_who_takes_the_slot_while_we_hold_it_wins(database: TestDatabase) {
        let service = offered(&database).await;
        let (lost, _) = offer(&service, &ANA_LOPEZ, 1).await;
        let before = start(&service, ANA_LOPEZ.appointment).await;
        // We have read the slot as free; our hold is refused with 412.
        let held = service.ehr.misbehaviour().hold("PATCH", &format!("/fhir/Slot/{lost}"));
        service.text(ANA, "1").await;
        overtake(&service, held, staff_move(&service, SOMEBODY_ELSE, &lost)).await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, before);
        // We hold the slot; our move of the appointment is refused with 409.
        let (second, _) = offer(&service, &ANA_LOPEZ, 1).await;
        let held = service.ehr.misbehaviour().hold("PATCH", &format!("/fhir/Appointment/{}", ANA_LOPEZ.appointment));
        service.text(ANA, "1").await;
        overtake(&service, held, staff_move(&service, SOMEBODY_ELSE, &second)).await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, before);
        let (_, at) = offer(&service, &ANA_LOPEZ, 2).await;
        service.text(ANA, "2").await;
        service.settle().await;
        let told = [REMINDER, "< R", OFFER, "< 1", TAKEN, "< 1", TAKEN, "< 2", MOVED];
        ends(&service, &ANA_LOPEZ, &told).await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, at);
        assert_eq!(tasks(&service, &ANA_LOPEZ).await, [""; 0]);
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_time_that_staff_book_while_we_move_there_unheld_is_not_told_until_they_have_decided(database: TestDatabase) {
        let service = offered(&database).await;
        let (slot, at) = offer(&service, &ANA_LOPEZ, 1).await;
        // The EHR keeps its slots to itself, and its staff take the practitioner's time without naming the slot.
        service.ehr.misbehaviour().add(FaultRule::on(Fault::Forbidden, "PATCH", "/fhir/Slot"));
        let held = service.ehr.misbehaviour().hold("PATCH", &format!("/fhir/Appointment/{}", ANA_LOPEZ.appointment));
        service.text(ANA, "1").await;
        let reference = format!("Appointment/{SOMEBODY_ELSE}");
        let place = in_ehr(&service, &format!("Slot/{slot}")).await;
        let there = json!({ "start": place["start"], "end": place["end"] });
        overtake(&service, held, staff_change(&service, &reference, there)).await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, at, "the EHR took both");
        for _ in 0..20 {
            service.advance(SignedDuration::from_mins(5));
            service.settle().await;
        }
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, "< 1", PERSON]).await;
        assert_eq!(tasks(&service, &ANA_LOPEZ).await, ["double-booked"]);
        staff_change(&service, &reference, json!({ "status": "cancelled" })).await;
        for _ in 0..4 {
            service.advance(SignedDuration::from_mins(5));
            service.settle().await;
        }
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, "< 1", PERSON, MOVED]).await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, at);
        service.stop().await;
    }

    async fn a_visit_that_staff_moved_between_offer_and_answer_stays_where_they_put_it(database: TestDatabase) {
        let service = offered(&database).await;
        let (theirs, at) = offer(&service, &ANA_LOPEZ, 3).await;
        staff_move(&service, ANA_LOPEZ.appointment, &theirs).await;
        service.text(ANA, "1").await;
        service.settle().await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, at);
        // The new time is a visit like any other: it can be moved in turn.
        service.text(ANA, "R").await;
        service.settle().await;
        let (_, again) = offer(&service, &ANA_LOPEZ, 1).await;
        service.text(ANA, "1").await;
        service.settle().await;
        let told = [REMINDER, "< R", OFFER, "< 1", CHANGED, "< R", OFFER, "< 1", MOVED];
        ends(&service, &ANA_LOPEZ, &told).await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, again);
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_visit_that_staff_move_while_we_are_moving_it_stays_where_they_put_it(database: TestDatabase) {
        let service = offered(&database).await;
        let (theirs, at) = offer(&service, &ANA_LOPEZ, 3).await;
        let (ours, _) = offer(&service, &ANA_LOPEZ, 1).await;
        let held = service.ehr.misbehaviour().hold("PATCH", &format!("/fhir/Appointment/{}", ANA_LOPEZ.appointment));
        service.text(ANA, "1").await;
        overtake(&service, held, staff_move(&service, ANA_LOPEZ.appointment, &theirs)).await;
        service.advance(SignedDuration::from_mins(5));
        service.settle().await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, "< 1", CHANGED]).await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, at);
        assert_eq!(in_ehr(&service, &format!("Slot/{ours}")).await["status"], "free", "what we held is given back");
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_visit_that_staff_cancelled_between_offer_and_answer_goes_to_a_person(database: TestDatabase) {
        let service = offered(&database).await;
        let reference = format!("Appointment/{}", ANA_LOPEZ.appointment);
        staff_change(&service, &reference, json!({ "status": "cancelled" })).await;
        service.text(ANA, "1").await;
        service.settle().await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, "< 1", PERSON]).await;
        assert_eq!(visit(&service, ANA_LOPEZ.appointment).await["status"], "cancelled");
        assert_eq!(tasks(&service, &ANA_LOPEZ).await, ["reschedule"]);
        books_are_closed(&service).await;
        service.stop().await;
    }
}
