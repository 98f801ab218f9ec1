//! Answers that are none: pages of a proxy, damaged JSON, bytes. They are neither a yes nor a no.

use crate::{
    conversation::{
        ANA_LOPEZ, MOVED, OFFER, PRIYA_NAIR, REMINDER, books_are_closed, ends, offer, offered, reminded, start, visit,
    },
    database::both_databases,
    feed::chart,
    service::{ANA, Service},
};
use chartwire::{
    db::sql,
    kernel::Id,
    messaging::{Message, PersonSettles, Settler},
    sandbox::{
        Fault, FaultRule,
        carrier::{Fault as CarrierFault, FaultKind},
    },
};
use jiff::SignedDuration;
use std::{collections::HashMap, sync::Arc};

/// Lets an hour pass in steps, so that what failed is tried again.
async fn an_hour(service: &Service) {
    for _ in 0..12 {
        service.advance(SignedDuration::from_mins(5));
        service.settle().await;
    }
}

async fn dead_jobs(service: &Service) -> i64 {
    service.app.db().one(sql("SELECT COUNT(*) AS n FROM job WHERE state = 'dead'")).await.unwrap().get("n").unwrap()
}

/// The text that nobody knows to have left.
async fn unknown(service: &Service) -> Id<Message> {
    let query = sql("SELECT id FROM message WHERE state = 'unknown'");
    service.app.db().one(query).await.unwrap().get("id").unwrap()
}

both_databases! {
    async fn a_move_that_a_proxys_page_answers_is_not_made_and_not_told_until_it_is(database: TestDatabase) {
        let service = offered(&database).await;
        let (_, at) = offer(&service, &ANA_LOPEZ, 1).await;
        let before = start(&service, ANA_LOPEZ.appointment).await;
        service.ehr.misbehaviour().add(FaultRule::on(Fault::Page, "PATCH", "/fhir/Appointment"));
        service.text(ANA, "1").await;
        service.settle().await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, before);
        assert!(service.on(ANA).iter().all(|text| !text.contains("Done.")), "{:?}", service.on(ANA));
        service.ehr.misbehaviour().clear();
        an_hour(&service).await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER, "< 1", "> You keep your current time", MOVED]).await;
        assert_eq!(start(&service, ANA_LOPEZ.appointment).await, at);
        assert_eq!(visit(&service, ANA_LOPEZ.appointment).await["meta"]["versionId"], "2", "written once");
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_move_whose_answer_is_damaged_is_made_once_and_told(database: TestDatabase) {
        let service = reminded(&database).await;
        for (person, fault) in [(ANA_LOPEZ, Fault::Garbage), (PRIYA_NAIR, Fault::Truncated)] {
            service.text(person.phone, "R").await;
            service.settle().await;
            let (_, at) = offer(&service, &person, 1).await;
            service.ehr.misbehaviour().add(FaultRule::once(fault, "PATCH", "/fhir/Appointment"));
            service.text(person.phone, "1").await;
            service.settle().await;
            ends(&service, &person, &[REMINDER, "< R", OFFER, "< 1", MOVED]).await;
            assert_eq!(start(&service, person.appointment).await, at);
            assert_eq!(visit(&service, person.appointment).await["meta"]["versionId"], "2", "written once");
        }
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn an_ehr_that_answers_nonsense_for_a_while_gives_up_no_reminder_and_no_text(database: TestDatabase) {
        let service = reminded(&database).await;
        for fault in [Fault::Garbage, Fault::Page, Fault::Truncated] {
            service.ehr.misbehaviour().add(FaultRule { percent: Some(60), ..FaultRule::always(fault) });
        }
        service.text(ANA, "R").await;
        service.settle().await;
        service.advance(SignedDuration::from_hours(1));
        service.settle().await;
        assert_eq!(dead_jobs(&service).await, 0);
        service.ehr.misbehaviour().clear();
        an_hour(&service).await;
        ends(&service, &ANA_LOPEZ, &[REMINDER, "< R", OFFER]).await;
        books_are_closed(&service).await;
        service.stop().await;
    }

    async fn a_text_that_was_filed_as_unknown_and_then_not_let_out_is_not_done_in_the_chart(database: TestDatabase) {
        let service = reminded(&database).await;
        service.carrier.faults().add(CarrierFault::new(FaultKind::ErrorBefore).times(1));
        service.text(ANA, "C").await;
        service.settle().await;
        let text = unknown(&service).await;
        for _ in 0..8 {
            service.advance(SignedDuration::from_secs(90));
            service.settle().await;
        }
        service.text(ANA, "STOP").await;
        service.settle().await;
        let (db, vault) = (service.app.db().clone(), service.app.vault().clone());
        let settler = Settler::new(db, vault, service.instruments.clone(), Arc::new(HashMap::new()));
        let person = service.instruments.new_id();
        assert!(settler.settle_by_person(service.tenant, text, PersonSettles::AsNotSent, person, None).await.unwrap());
        an_hour(&service).await;
        let filed = chart(&service, &format!("Communication?subject=Patient/{}&_count=50", ANA_LOPEZ.id)).await;
        let identifier = format!("urn:uuid:{text}");
        let shown: Vec<_> = filed.iter().filter(|one| one["identifier"][0]["value"] == identifier.as_str()).collect();
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0]["status"], "not-done", "{:#}", shown[0]);
        assert_eq!(shown[0]["statusReason"]["coding"][0]["code"], "patient-objection");
        service.stop().await;
    }
}
