//! Two practices on one EHR: each has its own visits, prescriptions and staff, and nothing of the other's (law 8).

use crate::{
    conversation::{ANA_LOPEZ, staff_change, visit},
    database::{TestDatabase, both_databases},
    feed::chart,
    service::{SLUG, Service, Setting},
};
use chartwire::{
    db::{Query, sql},
    kernel::{Id, Tenant},
};
use jiff::SignedDuration;
use serde_json::json;
use std::collections::BTreeSet;

const MAIN: &str = "Location/location-main";
const ANNEX: &str = "Location/location-annex";
const OTHER: &str = "hilltop";

async fn shared(database: &TestDatabase) -> (Service, Id<Tenant>, Id<Tenant>) {
    let other = crate::service::Neighbour { slug: OTHER, ehr: "locations = [\"Location/location-annex\"]" };
    let setting = Setting {
        now: "2026-11-23T14:30:00Z",
        ehr: "locations = [\"Location/location-main\"]",
        neighbour: Some(other),
        ..Setting::default()
    };
    let service = Service::start(database, setting).await;
    service.app.schedule().await.unwrap();
    service.settle().await;
    let (ours, theirs) = (service.app.tenant(SLUG).unwrap(), service.app.tenant(OTHER).unwrap());
    (service, ours, theirs)
}

async fn column(service: &Service, query: Query, column: &'static str) -> BTreeSet<String> {
    let rows = service.app.db().all(query).await.unwrap();
    rows.iter().map(|row| row.get(column).unwrap()).collect()
}

async fn places(service: &Service, tenant: Id<Tenant>) -> BTreeSet<String> {
    let query = sql("SELECT DISTINCT location FROM appointment WHERE tenant = $1").bind(tenant);
    column(service, query, "location").await
}

both_databases! {
    async fn each_practice_takes_in_its_own_visits(database: TestDatabase) {
        let (service, ours, theirs) = shared(&database).await;
        assert_eq!(places(&service, ours).await, BTreeSet::from([MAIN.to_owned()]));
        assert_eq!(places(&service, theirs).await, BTreeSet::from([ANNEX.to_owned()]));
        service.stop().await;
    }

    async fn a_visit_that_goes_to_the_other_practice_is_theirs_alone(database: TestDatabase) {
        let (service, ours, theirs) = shared(&database).await;
        let mut participants = visit(&service, ANA_LOPEZ.appointment).await["participant"].clone();
        for participant in participants.as_array_mut().unwrap() {
            if participant["actor"]["reference"] == MAIN {
                participant["actor"] = json!({ "reference": ANNEX });
            }
        }
        let reference = format!("Appointment/{}", ANA_LOPEZ.appointment);
        staff_change(&service, &reference, json!({ "participant": participants })).await;
        service.advance(SignedDuration::from_mins(31));
        service.settle().await;
        let states = sql("SELECT tenant, status FROM appointment WHERE fhir_id = $1").bind(ANA_LOPEZ.appointment);
        let rows = service.app.db().all(states).await.unwrap();
        let mut states: Vec<(Id<Tenant>, String)> =
            rows.iter().map(|row| (row.get("tenant").unwrap(), row.get("status").unwrap())).collect();
        states.sort();
        let mut expected = vec![(ours, "gone".to_owned()), (theirs, "booked".to_owned())];
        expected.sort();
        assert_eq!(states, expected);
        let reminded = sql("SELECT COUNT(*) AS n FROM message WHERE tenant = $1 AND about = $2 AND state <> 'dropped'");
        let reminded = service.app.db().one(reminded.bind(ours).bind(reference)).await.unwrap();
        assert_eq!(reminded.get::<i64>("n").unwrap(), 0);
        service.stop().await;
    }

    async fn a_refill_is_offered_by_the_practice_that_prescribed_it(database: TestDatabase) {
        let (service, ours, theirs) = shared(&database).await;
        // Those who run out are looked at again once the visits are known.
        service.advance(SignedDuration::from_mins(61));
        service.settle().await;
        let mut all = BTreeSet::new();
        for (tenant, practice) in [(ours, "practitioner-john-smith"), (theirs, "practitioner-anjali-patel")] {
            let query = sql("SELECT medication_request FROM refill_notice WHERE tenant = $1").bind(tenant);
            for prescription in column(&service, query, "medication_request").await {
                let found = chart(&service, &format!("MedicationRequest?_id={prescription}")).await;
                assert_eq!(found[0]["requester"]["reference"], format!("Practitioner/{practice}"), "{prescription}");
                assert!(all.insert(prescription), "twice");
            }
        }
        assert!(!all.is_empty());
        service.stop().await;
    }
}
