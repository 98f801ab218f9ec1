//! An EHR that is down for an hour, or does not answer: what it did not confirm is not said, and nothing is done twice.

use crate::{
    conversation::{
        ANA_LOPEZ, CHANGED, CONFIRMED, MOVED, OFFER, PRIYA_NAIR, Person, REMINDER, an_hour_without_ehr,
        books_are_closed, ends, ledger, offer, offered, overtake, reminded, staff_move, start, tasks, the_ehr_is_back,
        visit,
    },
    database::both_databases,
    feed::chart,
    launch::{Browser, field},
    service::{ANA, Service},
};
use chartwire::sandbox::{
    Fault, FaultRule,
    carrier::{Fault as CarrierFault, FaultKind},
    clinic::persona,
};
use jiff::SignedDuration;
use reqwest::StatusCode;

/// The answer to the next such write is lost, and then the EHR is down for an hour.
async fn lost_and_down_for_an_hour(service: &Service, fault: Fault, method: &str, path: &str, answer: &str) {
    let held = service.ehr.misbehaviour().hold(method, path);
    service.text(ANA, answer).await;
    overtake(service, held, async {
        service.ehr.misbehaviour().add(FaultRule::once(fault, method, path));
        service.ehr.misbehaviour().add(FaultRule::always(Fault::Unavailable));
    })
    .await;
    an_hour_without_ehr_says_nothing(service).await;
}

async fn an_hour_without_ehr_says_nothing(service: &Service) {
    let told = service.on(ANA).len();
    an_hour_without_ehr(service).await;
    assert_eq!(service.on(ANA).len(), told, "{:?}", service.on(ANA));
    the_ehr_is_back(service).await;
}

/// How often the visit has been written.
async fn version(service: &Service, person: &Person) -> String {
    visit(service, person.appointment).await["meta"]["versionId"].as_str().unwrap().to_owned()
}

both_databases! {
    async fn a_move_waits_for_the_ehr_and_is_told_when_it_is_made(database: TestDatabase) {
        let service = offered(&database).await;
        let before = version(&service, &ANA_LOPEZ).await;
        let (_, at) = offer(&service, &ANA_LOPEZ, 2).await;
        service.ehr.misbehaviour().add(FaultRule::always(Fault::Unavailable));
        service.text(ANA, "2").await;
        service.settle().await;
        an_hour_without_ehr_says_nothing(&service).await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, "< 2", MOVED]).await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, at);
        assert_eq!((before.as_str(), version(&service, &ANA_LOPEZ).await.as_str()), ("1", "2"), "written once");
        assert_eq!(ledger(&service, "move").await, ("written".to_owned(), 1));
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn texts_of_both_sides_are_filed_in_order_when_the_ehr_is_back(database: TestDatabase) {
        let service = reminded(&database).await;
        let nurse = Browser::new(&service);
        nurse.launch(&service, persona::NURSE_REED).await;
        service.ehr.misbehaviour().add(FaultRule::always(Fault::Unavailable));
        service.text(ANA, "my knee hurts more today").await;
        service.settle().await;
        let page = nurse.page("inbox").await.text().await.unwrap();
        let (form_token, once) = (field(&page, "form_token"), field(&page, "once"));
        let reply = [("form_token", form_token.as_str()), ("once", &once), ("text", "Please call us this afternoon.")];
        assert_eq!(nurse.post("inbox/reply", &reply).await.status(), StatusCode::SEE_OTHER);
        service.settle().await;
        service.advance(SignedDuration::from_mins(1));
        service.text(ANA, "C").await;
        service.settle().await;
        an_hour_without_ehr_says_nothing(&service).await;
        let told = [REMINDER, "< my knee", "> Please call us this afternoon.", "< C", CONFIRMED];
        ends(&service, &ANA_LOPEZ, &told).await;
        assert_eq!(visit(&service, ANA_LOPEZ.appointment).await["participant"][0]["status"], "accepted");
        assert_eq!(version(&service, &ANA_LOPEZ).await, "2");
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_text_is_filed_although_fresh_tokens_were_refused_for_a_while(database: TestDatabase) {
        let service = reminded(&database).await;
        let refuse = |method| FaultRule { times: Some(4), ..FaultRule::on(Fault::Unauthorized, method, "/fhir/") };
        service.ehr.misbehaviour().add(refuse("POST"));
        service.ehr.misbehaviour().add(refuse("GET"));
        service.text(ANA, "my knee hurts more today").await;
        service.settle().await;
        assert!(service.ehr.misbehaviour().rules()[0].times < Some(3), "twice in a row, and so not by a renewed token");
        an_hour_without_ehr(&service).await;
        the_ehr_is_back(&service).await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< my knee"]).await;
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn an_update_in_the_chart_that_was_not_confirmed_is_found_written(database: TestDatabase) {
        let service = reminded(&database).await;
        service.carrier.faults().add(CarrierFault::new(FaultKind::HoldQueue));
        service.text(ANA, "C").await;
        service.settle().await;
        service.ehr.misbehaviour().add(FaultRule::once(Fault::LoseAnswer, "PATCH", "/fhir/Communication"));
        service.carrier.faults().clear();
        service.carrier.wait_for(|texts| texts.iter().all(|text| text.status.is_final())).await;
        service.settle().await;
        assert_eq!(service.ehr.misbehaviour().rules()[0].times, Some(0), "the answer was lost");
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< C", CONFIRMED]).await;
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_text_that_went_on_while_its_filing_was_unsure_is_brought_up_to_date(database: TestDatabase) {
        let service = reminded(&database).await;
        service.carrier.faults().add(CarrierFault::new(FaultKind::HoldQueue));
        service.text(ANA, "C").await;
        service.ehr.misbehaviour().add(FaultRule {
            skip: 1,
            ..FaultRule::once(Fault::LoseAnswer, "POST", "/fhir/Communication")
        });
        service.settle().await;
        assert_eq!(service.ehr.misbehaviour().rules()[0].times, Some(0), "the answer was lost");
        service.carrier.faults().clear();
        service.carrier.wait_for(|texts| texts.iter().all(|text| text.status.is_final())).await;
        service.settle().await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< C", CONFIRMED]).await;
        let filed = chart(&service, &format!("Communication?subject=Patient/{}&_count=50", ANA_LOPEZ.id)).await;
        assert!(filed.iter().all(|text| text["status"] == "completed"), "{filed:#?}");
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_text_that_had_to_wait_is_filed_where_it_left(database: TestDatabase) {
        let service = offered(&database).await;
        let (theirs, at) = offer(&service, &ANA_LOPEZ, 3).await;
        staff_move(&service, ANA_LOPEZ.appointment, &theirs).await;
        service.advance(SignedDuration::from_secs(150));
        service.settle().await;
        // The text about it waits for further edits; meanwhile the patient writes, and the EHR goes down.
        service.ehr.misbehaviour().add(FaultRule::always(Fault::Unavailable));
        service.advance(SignedDuration::from_secs(30));
        service.text(ANA, "my knee hurts more today").await;
        service.settle().await;
        an_hour_without_ehr(&service).await;
        the_ehr_is_back(&service).await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, "< my knee", CHANGED]).await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, at);
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_move_whose_answer_is_lost_is_found_and_not_made_twice(database: TestDatabase) {
        let service = reminded(&database).await;
        for (person, fault) in [(ANA_LOPEZ, Fault::ErrorAfter), (PRIYA_NAIR, Fault::LoseAnswer)] {
            service.text(person.phone, "R").await;
            service.settle().await;
            let (_, at) = offer(&service, &person, 1).await;
            service.ehr.misbehaviour().add(FaultRule::once(fault, "PATCH", "/fhir/Appointment"));
            service.text(person.phone, "1").await;
            service.settle().await;
            ends(&service, &person, &[REMINDER, "< R", OFFER, "< 1", MOVED]).await;
            assert_eq!(start(&service, person.appointment).await, at);
            assert_eq!(version(&service, &person).await, "2");
            assert_eq!(ledger(&service, "move").await, ("written".to_owned(), 1));
        }
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_move_whose_answer_is_lost_as_the_ehr_goes_down_is_found_when_it_is_back(database: TestDatabase) {
        let service = offered(&database).await;
        let (_, at) = offer(&service, &ANA_LOPEZ, 1).await;
        lost_and_down_for_an_hour(&service, Fault::LoseAnswer, "PATCH", "/fhir/Appointment", "1").await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, "< 1", MOVED]).await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, at);
        assert_eq!(version(&service, &ANA_LOPEZ).await, "2");
        assert_eq!(ledger(&service, "move").await, ("written".to_owned(), 1));
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_hold_whose_answer_is_lost_as_the_ehr_goes_down_is_ours_when_it_is_back(database: TestDatabase) {
        let service = offered(&database).await;
        let (_, at) = offer(&service, &ANA_LOPEZ, 1).await;
        lost_and_down_for_an_hour(&service, Fault::LoseAnswer, "PATCH", "/fhir/Slot", "1").await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, "< 1", MOVED]).await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, at);
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_move_that_never_arrived_is_promised_to_nobody_and_made_once(database: TestDatabase) {
        let service = offered(&database).await;
        let (_, at) = offer(&service, &ANA_LOPEZ, 1).await;
        service.ehr.misbehaviour().add(FaultRule::once(Fault::Refuse, "PATCH", "/fhir/Appointment"));
        service.text(ANA, "1").await;
        service.settle().await;
        assert!(service.on(ANA)[2].contains("We asked the front desk for"), "{:?}", service.on(ANA));
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, "< 1", "> You keep your current time", MOVED]).await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, at);
        assert_eq!(version(&service, &ANA_LOPEZ).await, "2");
        assert_eq!(ledger(&service, "move").await, ("written".to_owned(), 2));
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_confirmation_whose_answer_is_lost_as_the_ehr_goes_down_is_found(database: TestDatabase) {
        let service = reminded(&database).await;
        lost_and_down_for_an_hour(&service, Fault::ErrorAfter, "PATCH", "/fhir/Appointment", "C").await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< C", CONFIRMED]).await;
        assert_eq!(visit(&service, ANA_LOPEZ.appointment).await["participant"][0]["status"], "accepted");
        assert_eq!(version(&service, &ANA_LOPEZ).await, "2");
        assert_eq!(ledger(&service, "confirm").await, ("written".to_owned(), 1));
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_cancellation_whose_answer_is_lost_as_the_ehr_goes_down_is_found(database: TestDatabase) {
        let service = reminded(&database).await;
        service.text(ANA, "please cancel my appointment").await;
        service.settle().await;
        lost_and_down_for_an_hour(&service, Fault::LoseAnswer, "PATCH", "/fhir/Appointment", "YES").await;
        let told = [REMINDER, "< please cancel", "> Reply YES to drop it", "< YES", "> is taken off the schedule"];
        ends(&service, &ANA_LOPEZ, &told).await;
        assert_eq!(visit(&service, ANA_LOPEZ.appointment).await["status"], "cancelled");
        assert_eq!(ledger(&service, "cancel").await, ("written".to_owned(), 1));
        assert_eq!(tasks(&service, &ANA_LOPEZ).await, [""; 0]);
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_filing_whose_answer_is_lost_as_the_ehr_goes_down_stands_once(database: TestDatabase) {
        let service = reminded(&database).await;
        lost_and_down_for_an_hour(&service, Fault::ErrorAfter, "POST", "/fhir/Communication", "R").await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER]).await;
        books_are_closed(&service).await;
        service.stop().await;
    }
}
