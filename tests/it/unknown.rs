//! Texts of which nobody knows at first whether they left: never sent twice (law 4).

use crate::{
    database::both_databases,
    launch::Browser,
    outbound::{is, state},
    service::{ANA, Service, Setting},
};
use chartwire::{
    db::{Command, DbError, Tx, sql},
    kernel::{Id, StaffUser},
    messaging::{Message, PERSON_DECIDES, PersonSettles, Settler},
    sandbox::{
        carrier::{Fault, FaultKind, Requests},
        clinic::persona,
    },
};
use jiff::SignedDuration;
use reqwest::StatusCode;
use std::{collections::HashMap, sync::Arc};

/// Between two looks into the carrier's list.
const BETWEEN_LOOKS: SignedDuration = SignedDuration::from_secs(90);

fn clerk(service: &Service) -> (Settler, Id<StaffUser>) {
    let (db, vault) = (service.app.db().clone(), service.app.vault().clone());
    // A person's decision asks no carrier.
    (Settler::new(db, vault, service.instruments.clone(), Arc::new(HashMap::new())), service.instruments.new_id())
}

/// A text that the carrier never took, though nobody here can know.
async fn lost(service: &Service) -> Id<Message> {
    let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
    service.carrier.faults().add(Fault::new(FaultKind::ErrorBefore).times(1));
    let text = service.queue(service.reminder(ana, ANA)).await;
    service.settle().await;
    for _ in 0..8 {
        assert_eq!(state(service, text).await.0, "unknown");
        service.advance(BETWEEN_LOOKS);
        service.settle().await;
    }
    assert_eq!(state(service, text).await, is("unknown", PERSON_DECIDES));
    text
}

/// How many texts people are asked to decide about.
async fn to_decide(service: &Service) -> i64 {
    let query = sql("SELECT COUNT(*) AS n FROM staff_task WHERE reason = 'delivery-unknown' AND state = 'open'");
    service.app.db().one(query).await.unwrap().get("n").unwrap()
}

/// The leases of a worker that is gone run out.
struct LeasesRunOut;

impl Command for LeasesRunOut {
    type Output = u64;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<u64, DbError> {
        tx.execute(sql("UPDATE job SET lease_until = 1 WHERE state = 'leased'")).await
    }
}

both_databases! {
    async fn an_error_after_the_text_was_taken_is_settled_by_its_callback(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::ErrorAfterAccept).times(1));
        let text = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!(state(&service, text).await, is("delivered", ""));
        service.advance(SignedDuration::from_hours(1));
        service.settle().await;
        assert_eq!(service.carrier.accepted_count(None), 1);
        service.stop().await;
    }

    async fn an_end_that_no_report_told_is_asked_for(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        service.app.schedule().await.unwrap();
        let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::DropCallbacks));
        let text = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!(state(&service, text).await, is("accepted", ""), "its reports may still come");
        for _ in 0..3 {
            service.advance(BETWEEN_LOOKS * 5);
            service.settle().await;
        }
        assert_eq!(state(&service, text).await, is("delivered", ""));
        service.stop().await;
    }

    async fn a_lost_answer_is_settled_by_the_carriers_list(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::AnswerLost).times(1));
        service.carrier.faults().add(Fault::new(FaultKind::DropCallbacks));
        let text = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!(state(&service, text).await, is("unknown", "no-answer"));
        service.advance(BETWEEN_LOOKS);
        service.settle().await;
        assert_eq!(state(&service, text).await, is("delivered", ""));
        assert_eq!(service.carrier.accepted_count(None), 1);
        service.stop().await;
    }

    async fn the_list_is_asked_until_it_answers(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::AnswerLost).times(1));
        service.carrier.faults().add(Fault::new(FaultKind::DropCallbacks));
        service.carrier.faults().add(Fault::new(FaultKind::ErrorBefore).on(Requests::Reads).times(40));
        let text = service.queue(service.reminder(ana, ANA)).await;
        for _ in 0..40 {
            service.settle().await;
            assert_eq!(state(&service, text).await, is("unknown", "no-answer"));
            service.advance(BETWEEN_LOOKS);
        }
        for _ in 0..2 {
            service.settle().await;
            service.advance(BETWEEN_LOOKS);
        }
        assert_eq!(state(&service, text).await, is("delivered", ""), "an hour later");
        service.stop().await;
    }

    async fn what_nothing_settles_waits_for_a_person_and_may_then_leave_once(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let text = lost(&service).await;
        assert_eq!(to_decide(&service).await, 1, "a person is asked, once");
        let later = service.queue(service.reminder(service.patient(persona::ANA_LOPEZ, "Ana", ANA).await, ANA)).await;
        service.settle().await;
        assert_eq!((state(&service, later).await.0.as_str(), service.carrier.accepted_count(None)), ("queued", 0));
        let (settler, person) = clerk(&service);
        let decide = || settler.settle_by_person(service.tenant, text, PersonSettles::AsNotSent, person, None);
        assert!(decide().await.unwrap());
        assert!(!decide().await.unwrap(), "it is settled");
        service.settle().await;
        service.advance(SignedDuration::from_hours(1));
        service.settle().await;
        assert_eq!((state(&service, text).await, state(&service, later).await), (is("delivered", ""), is("delivered", "")));
        assert_eq!(service.carrier.accepted_count(None), 2, "each once");
        assert_eq!(to_decide(&service).await, 0, "it is decided");
        let query = sql("SELECT COUNT(*) AS n FROM audit_row WHERE purpose = 'attempt-settled' AND actor_kind = 'staff'");
        assert_eq!(service.app.db().one(query).await.unwrap().get::<i64>("n").unwrap(), 1);
        service.stop().await;
    }

    async fn it_can_be_decided_however_many_texts_have_come_since(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let text = lost(&service).await;
        service.carrier.faults().clear();
        for number in 0..120 {
            service.text(ANA, &format!("is anybody there? {number}")).await;
        }
        service.settle().await;
        let browser = Browser::new(&service);
        assert_eq!(browser.launch(&service, persona::NURSE_REED).await.status(), StatusCode::SEE_OTHER);
        let thread = browser.page("inbox").await.text().await.unwrap();
        assert!(thread.contains(&format!("texts/{text}/settle")), "nobody can see that it waits");
        let form_token = thread.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let form = [("form_token", form_token), ("verdict", "sent")];
        let decided = browser.post(&format!("inbox/texts/{text}/settle"), &form).await;
        assert_eq!(decided.status(), StatusCode::SEE_OTHER);
        service.settle().await;
        assert_eq!(to_decide(&service).await, 0, "it is decided");
        service.stop().await;
    }

    async fn the_answer_to_an_emergency_does_not_wait_for_it(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let text = lost(&service).await;
        service.carrier.faults().clear();
        service.text(ANA, "I have chest pain and can't breathe").await;
        let later = service.queue(service.reminder(service.patient(persona::ANA_LOPEZ, "Ana", ANA).await, ANA)).await;
        service.settle().await;
        assert!(service.on(ANA).last().is_some_and(|text| text.contains("911")), "{:?}", service.on(ANA));
        assert_eq!(state(&service, text).await, is("unknown", PERSON_DECIDES));
        assert_eq!(state(&service, later).await.0, "queued", "anything else still waits for it");
        service.stop().await;
    }

    async fn a_text_that_becomes_unknown_again_is_decided_again(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let text = lost(&service).await;
        let (settler, person) = clerk(&service);
        service.carrier.faults().add(Fault::new(FaultKind::ErrorBefore).times(1));
        let decided = settler.settle_by_person(service.tenant, text, PersonSettles::AsNotSent, person, None).await;
        assert!(decided.unwrap());
        for _ in 0..8 {
            service.settle().await;
            service.advance(BETWEEN_LOOKS);
        }
        assert_eq!((state(&service, text).await, to_decide(&service).await), (is("unknown", PERSON_DECIDES), 1));
        service.stop().await;
    }

    async fn what_a_person_takes_for_sent_does_not_leave(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let text = lost(&service).await;
        let later = service.queue(service.reminder(service.patient(persona::ANA_LOPEZ, "Ana", ANA).await, ANA)).await;
        let (settler, person) = clerk(&service);
        assert!(settler.settle_by_person(service.tenant, text, PersonSettles::AsSent, person, None).await.unwrap());
        service.settle().await;
        assert_eq!(state(&service, text).await, is("sent", "person-sent"));
        assert_eq!((state(&service, later).await.0.as_str(), service.carrier.accepted_count(None)), ("delivered", 1));
        service.stop().await;
    }

    async fn a_node_that_dies_while_it_sends_leaves_one_text(database: TestDatabase) {
        let service = Arc::new(Service::start(&database, Setting::default()).await);
        let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::Delay { millis: 100 }).times(1));
        service.carrier.faults().add(Fault::new(FaultKind::DropCallbacks));
        let text = service.queue(service.reminder(ana, ANA)).await;
        // A node with a runtime of its own, which ends the moment that the carrier has taken the text.
        let alive = Arc::clone(&service);
        let dying = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let node = alive.another_node().await;
                tokio::select! {
                    biased;
                    () = alive.carrier.wait_for(|texts| !texts.is_empty()) => {}
                    ran = node.worker().run_due() => panic!("it lived to the end: {ran:?}"),
                }
            });
        });
        dying.await.unwrap();
        assert!(service.app.db().execute(LeasesRunOut).await.unwrap() > 0);
        service.settle().await;
        assert_eq!(state(&service, text).await.0, "sending", "nobody touches it yet");
        service.advance(SignedDuration::from_mins(5));
        service.settle().await;
        assert_eq!(state(&service, text).await, is("unknown", "no-answer"));
        service.advance(BETWEEN_LOOKS);
        service.settle().await;
        assert_eq!(state(&service, text).await, is("delivered", ""));
        assert_eq!(service.carrier.accepted_count(None), 1);
        Arc::into_inner(service).unwrap().stop().await;
    }

    /// The window that law 4 leaves: between the last look at the clock and the carrier a node or a network may stand still.
    async fn a_text_that_leaves_after_a_person_took_it_for_not_sent_is_told(database: TestDatabase) {
        let service = Arc::new(Service::start(&database, Setting::default()).await);
        let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::HeldOnTheWay).times(1));
        let text = service.queue(service.reminder(ana, ANA)).await;
        let alive = Arc::clone(&service);
        let dying = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let node = alive.another_node().await;
                tokio::select! {
                    biased;
                    () = alive.carrier.faults().used_up() => {}
                    ran = node.worker().run_due() => panic!("it lived to the end: {ran:?}"),
                }
            });
        });
        dying.await.unwrap();
        assert!(service.app.db().execute(LeasesRunOut).await.unwrap() > 0);
        service.advance(SignedDuration::from_mins(5));
        for _ in 0..8 {
            service.settle().await;
            service.advance(BETWEEN_LOOKS);
        }
        assert_eq!(state(&service, text).await, is("unknown", PERSON_DECIDES), "the carrier's list does not show it");
        let (settler, person) = clerk(&service);
        assert!(settler.settle_by_person(service.tenant, text, PersonSettles::AsNotSent, person, None).await.unwrap());
        service.settle().await;
        assert_eq!((state(&service, text).await, service.carrier.accepted_count(None)), (is("delivered", ""), 1));

        service.carrier.faults().clear();
        service.carrier.wait_for(|texts| texts.len() == 2).await;
        service.settle().await;
        let states = sql("SELECT state FROM attempt WHERE message = $1 ORDER BY id").bind(text);
        let states: Vec<String> =
            service.app.db().all(states).await.unwrap().iter().map(|row| row.get("state").unwrap()).collect();
        assert_eq!(states, ["left-late", "accepted"], "it is counted apart");
        let told = sql("SELECT COUNT(*) AS n FROM audit_row WHERE purpose = 'left-late'");
        assert_eq!(service.app.db().one(told).await.unwrap().get::<i64>("n").unwrap(), 1, "once, of three reports");
        Arc::into_inner(service).unwrap().stop().await;
    }

    async fn two_texts_to_one_number_are_never_on_their_way_at_once(database: TestDatabase) {
        let service = Arc::new(Service::start(&database, Setting::default()).await);
        let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::Delay { millis: 20 }));
        for _ in 0..5 {
            service.queue(service.reminder(ana, ANA)).await;
        }
        let worker = service.app.worker().clone();
        let working = tokio::spawn(async move { worker.run_due().await.unwrap() });
        let mut seen = 0;
        while !working.is_finished() {
            let query = sql("SELECT COUNT(*) AS n FROM attempt WHERE settled_at IS NULL");
            let under_way = service.app.db().one(query).await.unwrap().get::<i64>("n").unwrap();
            assert!(under_way <= 1, "{under_way} at once");
            seen += under_way;
        }
        assert!(seen > 0, "the attempts were watched");
        for _ in 0..40 {
            service.settle().await;
            service.advance(SignedDuration::from_secs(2));
        }
        assert_eq!(service.carrier.accepted_count(Some(ANA)), 5);
        Arc::into_inner(service).unwrap().stop().await;
    }
}
