//! Quiet hours: what waits for the morning, and when the carrier gives a text up.

use crate::{
    database::both_databases,
    outbound::{is, state, waits_for},
    service::{ANA, Service, Setting},
};
use chartwire::{
    db::sql,
    sandbox::{
        carrier::{Fault, FaultKind, Status},
        clinic::persona,
    },
};
use jiff::SignedDuration;

both_databases! {
    async fn quiet_hours_wait_until_the_morning(database: TestDatabase) {
        let service = Service::start(&database, Setting { now: "2026-11-24T01:30:00Z", ..Setting::default() }).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        let text = service.queue(service.reminder(ana, ANA)).await;
        for wait in [SignedDuration::ZERO, SignedDuration::from_mins(749)] {
            service.advance(wait);
            service.settle().await;
            assert_eq!(service.on(ANA).len(), 0, "at {}", service.now());
        }
        assert_eq!(waits_for(&service, text).await.as_deref(), Some("quiet-hours"));
        service.advance(SignedDuration::from_mins(1));
        service.settle().await;
        assert_eq!(service.on(ANA).len(), 1, "nine in the morning");
        service.stop().await;
    }

    async fn who_lives_further_west_is_not_texted_before_morning_there(database: TestDatabase) {
        // Half past nine at the clinic, in New York.
        let service = Service::start(&database, Setting { now: "2026-11-23T14:30:00Z", ..Setting::default() }).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.lives_in("ana", "Ana", ANA, "TX").await;
        let text = service.queue(service.reminder(ana, ANA)).await;
        for wait in [0, 30, 59] {
            service.advance(SignedDuration::from_mins(wait));
            service.settle().await;
            assert_eq!(waits_for(&service, text).await.as_deref(), Some("quiet-hours"), "at {}", service.now());
        }
        // Nine in El Paso, which keeps Denver's clocks.
        service.advance(SignedDuration::from_mins(1));
        service.settle().await;
        assert_eq!(service.on(ANA).len(), 1);
        service.stop().await;
    }

    async fn the_carrier_gives_a_text_up_when_night_falls_on_the_patient(database: TestDatabase) {
        // A minute to eight in Puerto Rico, an hour earlier in New York.
        let service = Service::start(&database, Setting { now: "2026-11-23T23:59:00Z", ..Setting::default() }).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.lives_in("ana", "Ana", ANA, "PR").await;
        service.carrier.faults().add(Fault::new(FaultKind::HoldQueue));
        let text = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        service.advance(SignedDuration::from_secs(61));
        service.carrier.faults().clear();
        service.carrier.wait_for(|texts| texts.iter().all(|text| text.status == Status::Failed)).await;
        service.settle().await;
        assert_eq!(state(&service, text).await, is("failed", "expired"));
        service.stop().await;
    }

    async fn where_a_patient_lives_is_read_from_the_ehr_and_kept_as_zones(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let url = format!("{}/Patient/{}", service.ehr.fhir_base().as_str().trim_end_matches('/'), persona::ANA_LOPEZ);
        let client = reqwest::Client::new();
        let read = client.get(&url).bearer_auth(service.ehr.staff_token()).send().await.unwrap();
        let mut patient: serde_json::Value = serde_json::from_str(&read.text().await.unwrap()).unwrap();
        patient["address"] = serde_json::json!([{ "use": "home", "line": ["1 Canary Row"], "state": "TX" }]);
        let put = client.put(&url).bearer_auth(service.ehr.staff_token()).header("Content-Type", "application/fhir+json");
        assert!(put.body(patient.to_string()).send().await.unwrap().status().is_success());
        service.app.schedule().await.unwrap();
        service.settle().await;
        let zones = sql("SELECT p.zones FROM patient p JOIN patient_ehr_id e ON e.tenant = p.tenant AND e.patient = p.id WHERE e.fhir_id = $1");
        let zones = service.app.db().one(zones.bind(persona::ANA_LOPEZ)).await.unwrap();
        assert_eq!(zones.get::<String>("zones").unwrap(), "America/Chicago America/Denver");
        service.stop().await;
    }

    async fn the_carrier_gives_a_text_up_when_quiet_hours_begin(database: TestDatabase) {
        let service = Service::start(&database, Setting { now: "2026-11-24T00:59:00Z", ..Setting::default() }).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::HoldQueue));
        let text = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        service.advance(SignedDuration::from_secs(61));
        service.carrier.faults().clear();
        service.carrier.wait_for(|texts| texts.iter().all(|text| text.status == Status::Failed)).await;
        service.settle().await;
        assert_eq!(state(&service, text).await, is("failed", "expired"));
        assert_eq!(service.on(ANA).len(), 0);
        service.stop().await;
    }
}
