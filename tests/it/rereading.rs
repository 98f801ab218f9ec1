//! What the EHR's people do between two looks of ours: nobody is texted on the strength of what we knew before.

use crate::{
    conversation::{ANA_LOPEZ, in_ehr, staff_change, staff_move, start, visit},
    database::{TestDatabase, both_databases},
    feed::chart,
    service::{ANA, Service, Setting},
};
use chartwire::{
    db::sql,
    sandbox::{Fault, FaultRule},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const CONSENT: &str = "Consent/consent-ana-lopez";
const REMINDER: &str = "Reply C to confirm";
/// At the clinic 09:30, half an hour before Ana's reminder.
const EVE: &str = "2026-11-23T14:30:00Z";

async fn started(database: &TestDatabase, now: &'static str) -> Service {
    let service = Service::start(database, Setting { now, ..Setting::default() }).await;
    service.app.schedule().await.unwrap();
    service.settle().await;
    assert_eq!(service.on(ANA), [""; 0], "nothing is due yet");
    service
}

async fn after(service: &Service, span: SignedDuration) -> Vec<String> {
    service.advance(span);
    service.settle().await;
    service.on(ANA)
}

/// When Ana's reminder is due.
async fn reminder_time(service: &Service) -> Vec<String> {
    after(service, SignedDuration::from_mins(31)).await
}

fn is_reminded(texts: &[String]) -> bool {
    texts.iter().any(|text| text.contains(REMINDER))
}

async fn delete(service: &Service, reference: &str) {
    let url = format!("{}/{reference}", service.ehr.fhir_base().as_str().trim_end_matches('/'));
    let request = reqwest::Client::new().delete(url).bearer_auth(service.ehr.staff_token());
    assert!(request.send().await.unwrap().status().is_success());
}

async fn known(service: &Service) -> (String, Timestamp) {
    let query = sql("SELECT status, start_at FROM appointment WHERE fhir_id = $1").bind(ANA_LOPEZ.appointment);
    let row = service.app.db().one(query).await.unwrap();
    (row.get("status").unwrap(), row.get("start_at").unwrap())
}

async fn refused(service: &Service) -> Vec<String> {
    let rows = service.app.db().all(sql("SELECT feed, code, times FROM feed_refusal ORDER BY feed")).await.unwrap();
    let word = |row: &chartwire::db::Row, column| row.get::<String>(column).unwrap();
    rows.iter().map(|row| format!("{} {}", word(row, "feed"), word(row, "code"))).collect()
}

async fn readiness(service: &Service) -> (u16, Value) {
    let answer = reqwest::get(format!("{}readyz", service.base)).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

both_databases! {
    async fn who_is_not_touched_is_reminded(database: TestDatabase) {
        let service = started(&database, EVE).await;
        assert!(is_reminded(&reminder_time(&service).await));
        service.stop().await;
    }

    async fn a_consent_set_to_inactive_overtakes_an_earlier_start(database: TestDatabase) {
        let service = started(&database, EVE).await;
        service.text(ANA, "STOP").await;
        service.settle().await;
        service.text(ANA, "START").await;
        service.settle().await;
        service.advance(SignedDuration::from_mins(1));
        // It keeps the date on which it was given, two months ago.
        staff_change(&service, CONSENT, json!({ "status": "inactive" })).await;
        assert!(!is_reminded(&reminder_time(&service).await));
        let reason = sql("SELECT state_reason FROM message WHERE template_key = 'reminder' AND state = 'dropped'");
        assert_eq!(service.app.db().one(reason).await.unwrap().get::<String>("state_reason").unwrap(), "no-consent");
        // START said after it counts again.
        service.text(ANA, "STOP").await;
        service.text(ANA, "START").await;
        service.settle().await;
        service.stop().await;
    }

    async fn a_consent_that_is_deleted_permits_nothing(database: TestDatabase) {
        let service = started(&database, EVE).await;
        delete(&service, CONSENT).await;
        assert!(!is_reminded(&reminder_time(&service).await));
        service.stop().await;
    }

    async fn a_consent_ends_with_the_time_that_it_was_given_for(database: TestDatabase) {
        let service = Service::start(&database, Setting { now: EVE, ..Setting::default() }).await;
        let mut provision = in_ehr(&service, CONSENT).await["provision"].clone();
        provision["period"] = json!({ "end": "2026-11-23T14:50:00Z" });
        staff_change(&service, CONSENT, json!({ "provision": provision })).await;
        service.app.schedule().await.unwrap();
        service.settle().await;
        let granted = sql("SELECT COUNT(*) AS n FROM consent_entry WHERE decision = 'granted' AND ends_at IS NOT NULL");
        assert!(service.app.db().one(granted).await.unwrap().get::<i64>("n").unwrap() > 0, "it holds at first");
        assert!(!is_reminded(&reminder_time(&service).await));
        service.stop().await;
    }

    async fn consents_that_could_not_be_read_are_read_as_soon_as_they_can_be(database: TestDatabase) {
        let service = Service::start(&database, Setting { now: EVE, ..Setting::default() }).await;
        service.ehr.misbehaviour().add(FaultRule::on(Fault::Unavailable, "GET", "/fhir/Consent"));
        service.app.schedule().await.unwrap();
        service.settle().await;
        service.ehr.misbehaviour().clear();
        after(&service, SignedDuration::from_mins(15)).await;
        assert!(is_reminded(&reminder_time(&service).await));
        service.stop().await;
    }

    async fn a_text_that_waits_for_the_morning_is_not_sent_to_who_withdrew_in_the_night(database: TestDatabase) {
        // 21:30 at the clinic: texts wait until nine.
        let service = started(&database, "2026-11-24T02:30:00Z").await;
        let slot = chart(&service, "Slot?status=free&_count=1").await.remove(0)["id"].as_str().unwrap().to_owned();
        staff_move(&service, ANA_LOPEZ.appointment, &slot).await;
        assert_eq!(after(&service, SignedDuration::from_mins(10)).await, [""; 0]);
        let waiting = sql("SELECT COUNT(*) AS n FROM message WHERE template_key = 'changed' AND state = 'queued'");
        assert_eq!(service.app.db().one(waiting).await.unwrap().get::<i64>("n").unwrap(), 1);
        staff_change(&service, CONSENT, json!({ "status": "inactive" })).await;
        let texts = after(&service, SignedDuration::from_hours(12)).await;
        assert!(texts.iter().all(|text| !text.contains("your visit is now")), "{texts:?}");
        service.stop().await;
    }

    async fn a_visit_that_staff_moved_beyond_the_window_is_not_reminded_of(database: TestDatabase) {
        let service = started(&database, EVE).await;
        let there = json!({ "start": "2026-12-28T15:00:00Z", "end": "2026-12-28T15:30:00Z" });
        staff_change(&service, &format!("Appointment/{}", ANA_LOPEZ.appointment), there).await;
        let texts = reminder_time(&service).await;
        assert!(!is_reminded(&texts), "{texts:?}");
        assert_eq!(known(&service).await, ("booked".to_owned(), "2026-12-28T15:00:00Z".parse().unwrap()));
        let texts = after(&service, SignedDuration::from_mins(5)).await;
        assert!(texts.iter().any(|text| text.contains("your visit is now")), "the patient is told: {texts:?}");
        service.stop().await;
    }

    async fn a_visit_that_was_deleted_is_not_reminded_of(database: TestDatabase) {
        let service = started(&database, EVE).await;
        delete(&service, &format!("Appointment/{}", ANA_LOPEZ.appointment)).await;
        let texts = reminder_time(&service).await;
        assert!(!is_reminded(&texts), "{texts:?}");
        assert_eq!(known(&service).await.0, "gone");
        service.stop().await;
    }

    async fn a_visit_that_a_poll_does_not_show_is_asked_for_by_name(database: TestDatabase) {
        let service = started(&database, EVE).await;
        let there = json!({ "start": "2026-12-28T15:00:00Z", "end": "2026-12-28T15:30:00Z" });
        staff_change(&service, &format!("Appointment/{}", ANA_LOPEZ.appointment), there).await;
        // The next poll, long before the reminder.
        after(&service, SignedDuration::from_mins(3)).await;
        assert_eq!(known(&service).await.1, "2026-12-28T15:00:00Z".parse().unwrap());
        service.stop().await;
    }

    async fn a_page_read_before_the_patient_moved_the_visit_changes_nothing(database: TestDatabase) {
        let service = started(&database, EVE).await;
        reminder_time(&service).await;
        // The patient is due to be read again, between the page and the books.
        service.advance(SignedDuration::from_hours(13));
        let note = json!({ "description": "Bring the scans" });
        staff_change(&service, &format!("Appointment/{}", ANA_LOPEZ.appointment), note).await;
        let held = service.ehr.misbehaviour().hold("GET", &format!("/fhir/Patient/{}", ANA_LOPEZ.id));
        let moving = async {
            let open = held.reached().await.unwrap();
            for words in ["R", "2"] {
                service.text(ANA, words).await;
                service.app.worker().run_due().await.unwrap();
                service.carrier.settled().await;
            }
            open.send(()).unwrap();
        };
        tokio::join!(service.settle(), moving);
        let moved = start(&service, ANA_LOPEZ.appointment).await;
        assert_eq!(known(&service).await, ("booked".to_owned(), moved));
        let texts = after(&service, SignedDuration::from_hours(11)).await;
        assert_eq!(texts.iter().filter(|text| text.contains("Done. Your visit is now")).count(), 1, "{texts:#?}");
        assert!(texts.iter().all(|text| !text.contains(": your visit is now")), "nothing was changed by staff: {texts:#?}");
        assert_eq!(visit(&service, ANA_LOPEZ.appointment).await["start"], moved.to_string());
        service.stop().await;
    }

    async fn what_the_ehr_refuses_is_seen_until_it_does_not_any_more(database: TestDatabase) {
        let service = Service::start(&database, Setting { now: EVE, ..Setting::default() }).await;
        service.ehr.misbehaviour().add(FaultRule::on(Fault::Forbidden, "GET", "/fhir/MedicationRequest"));
        service.app.schedule().await.unwrap();
        service.settle().await;
        assert_eq!(refused(&service).await, ["refills ehr-forbidden"]);
        let (status, parts) = readiness(&service).await;
        assert_eq!((status, &parts["parts"]["feeds"]), (200, &json!("not ready")), "{parts}");
        service.ehr.misbehaviour().clear();
        after(&service, SignedDuration::from_mins(61)).await;
        assert_eq!(refused(&service).await, [""; 0]);
        assert_eq!(readiness(&service).await.1["parts"]["feeds"], "ready");
        service.stop().await;
    }
}
