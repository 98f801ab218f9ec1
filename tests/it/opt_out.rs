//! How patients are told to stop, and what leaves for those who have.

use crate::{
    database::both_databases,
    outbound::{attempts, is, state},
    service::{ANA, CLINIC, LUIS, Service, Setting},
};
use chartwire::{
    consent::{self, Source},
    db::{Command, DbError, Tx, sql},
    kernel::{Id, Tenant},
    sandbox::carrier::{Fault, FaultKind},
};
use jiff::{SignedDuration, Timestamp};

const HOW: &str = "STOP to end texts.";

/// Whether each text that arrived on Ana's phone tells how to stop, oldest first.
fn told_how(service: &Service) -> Vec<bool> {
    service.on(ANA).iter().map(|text| text.ends_with(HOW)).collect()
}

/// The carrier says that it blocks a number.
struct Blocked(Id<Tenant>, Vec<u8>, Timestamp);

impl Command for Blocked {
    type Output = bool;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        consent::suppress(tx, self.0, &self.1, Source::Carrier, self.2).await
    }
}

both_databases! {
    async fn every_automated_text_says_how_to_stop(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        for _ in 0..2 {
            service.queue(service.reminder(ana, ANA)).await;
            service.settle().await;
        }
        assert_eq!(told_how(&service), [true, true]);
        service.stop().await;
    }

    async fn where_policy_allows_it_the_first_says_how_to_stop_and_one_a_month_later(database: TestDatabase) {
        let setting = Setting { policies: "opt_out_wording = \"first-and-monthly\"", ..Setting::default() };
        let service = Service::start(&database, setting).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        for days in [0, 1, 28, 1, 1] {
            service.advance(SignedDuration::from_hours(24 * days));
            service.queue(service.reminder(ana, ANA)).await;
            service.settle().await;
        }
        assert_eq!(told_how(&service), [true, false, false, true, false]);
        service.stop().await;
    }

    async fn a_notice_that_did_not_arrive_stands_for_nothing(database: TestDatabase) {
        let setting = Setting { policies: "opt_out_wording = \"first-and-monthly\"", ..Setting::default() };
        let service = Service::start(&database, setting).await;
        let luis = service.patient("luis", "Luis", LUIS).await;
        for _ in 0..2 {
            service.queue(service.reminder(luis, LUIS)).await;
            service.settle().await;
        }
        let said = sql("SELECT says_how_to_stop FROM message WHERE state = 'undelivered'");
        let said = service.app.db().all(said).await.unwrap();
        assert_eq!(said.iter().map(|row| row.get::<bool>("says_how_to_stop").unwrap()).collect::<Vec<_>>(), [true, true]);
        service.stop().await;
    }

    async fn a_number_that_the_carrier_blocks_is_stopped_here_too(database: TestDatabase) {
        let setting = Setting { carrier_answers_keywords: true, ..Setting::default() };
        let service = Service::start(&database, setting).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        // We never hear of this STOP.
        service.carrier.faults().add(Fault::new(FaultKind::WebhooksRefused));
        service.text(ANA, "STOP").await;
        let text = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!(state(&service, text).await, is("failed", "opted_out"));
        let later = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!(state(&service, later).await, is("dropped", "stopped"));
        assert_eq!(attempts(&service, later).await.len(), 0);
        service.stop().await;
    }

    async fn a_start_from_before_a_stop_releases_no_number_that_the_carrier_had_blocked(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.app.schedule().await.unwrap();
        service.settle().await;
        let token = service.app.vault().index_token(service.tenant, "phone", ANA).await.unwrap().bytes.to_vec();
        assert!(service.app.db().execute(Blocked(service.tenant, token, service.now())).await.unwrap());
        service.advance(SignedDuration::from_mins(1));
        // It stands in the carrier's list until that is read.
        service.carrier.faults().add(Fault::new(FaultKind::WebhooksRefused).times(1));
        service.text(ANA, "START").await;
        service.advance(SignedDuration::from_mins(1));
        service.text(ANA, "STOP").await;
        service.settle().await;
        service.advance(SignedDuration::from_mins(5));
        service.settle().await;
        let read = sql("SELECT COUNT(*) AS n FROM reading");
        assert_eq!(service.app.db().one(read).await.unwrap().get::<i64>("n").unwrap(), 2);
        let text = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!(state(&service, text).await, is("dropped", "stopped"));
        service.stop().await;
    }

    async fn texts_that_were_on_their_way_when_stop_came_are_listed(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::AnswerLost).times(1));
        service.carrier.faults().add(Fault::new(FaultKind::DropCallbacks));
        let text = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        service.carrier.text_from(ANA, CLINIC, "STOP").await.unwrap();
        service.settle().await;
        let attempt = attempts(&service, text).await[0].to_string();
        let rows = service.app.db().all(sql("SELECT subjects FROM audit_row WHERE action = 'consent'")).await.unwrap();
        let subjects = rows[0].get::<String>("subjects").unwrap();
        assert!(subjects.contains("attempt-in-flight") && subjects.contains(&attempt), "{subjects}");
        // The confirmation waits until it is known what became of that text, and still comes in time.
        service.advance(SignedDuration::from_secs(90));
        service.settle().await;
        assert!(service.on(ANA).last().unwrap().contains("no more texts"), "{:?}", service.on(ANA));
        service.stop().await;
    }
}
