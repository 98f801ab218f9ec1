//! The EHR's schedule reaches us, and texts reach the chart.

use crate::{
    database::both_databases,
    service::{ANA, Service, Setting},
};
use chartwire::{
    db::sql,
    jobs::counts,
    kernel::{Id, Patient},
    sandbox::{
        Fault, FaultRule,
        clinic::{self, persona},
    },
};
use jiff::SignedDuration;
use serde_json::Value;

async fn count(service: &Service, text: &'static str) -> i64 {
    service.app.db().one(sql(text)).await.unwrap().get("n").unwrap()
}

fn slashed(service: &Service) -> String {
    format!("{}/", service.ehr.fhir_base().as_str().trim_end_matches('/'))
}

/// What the guard knows of a patient's chart.
async fn chart_terms(service: &Service, patient: Id<Patient>) -> Vec<String> {
    let (terms, _) = service.directory().chart_terms(service.tenant, patient).await.unwrap().unwrap();
    terms.expose().iter().map(|(kind, name)| format!("{kind} {name}")).collect()
}

/// What the EHR itself says, with its staff's token.
pub(crate) async fn chart(service: &Service, query: &str) -> Vec<Value> {
    let url = format!("{}{query}", slashed(service));
    let bundle: Value = reqwest::Client::new()
        .get(url)
        .bearer_auth(service.ehr.staff_token())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    bundle["entry"].as_array().cloned().unwrap_or_default().into_iter().map(|entry| entry["resource"].clone()).collect()
}

both_databases! {
    async fn the_schedule_is_read_with_its_patients_and_consents(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        service.app.schedule().await.unwrap();
        service.settle().await;
        assert!(count(&service, "SELECT COUNT(*) AS n FROM appointment WHERE status = 'booked'").await > 10);
        let ana = service.directory().by_fhir_id(service.tenant, persona::ANA_LOPEZ).await.unwrap().unwrap();
        assert_eq!(ana.name.expose().given, "Ana");
        assert_eq!(ana.numbers[0].number.as_e164(), ANA);
        assert!(count(&service, "SELECT COUNT(*) AS n FROM consent_entry WHERE decision = 'granted'").await > 20);
        assert!(count(&service, "SELECT COUNT(*) AS n FROM consent_entry WHERE decision = 'denied'").await > 0);
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM quarantine").await, 0);
        // A merged patient is one patient, on whichever id the schedule names.
        let chen = service.directory().by_fhir_id(service.tenant, persona::ROBERT_CHEN).await.unwrap();
        if let (Some(chen), Some(duplicate)) =
            (chen, service.directory().by_fhir_id(service.tenant, persona::ROBERT_CHEN_DUPLICATE).await.unwrap())
        {
            assert_eq!(chen.id, duplicate.id);
            assert_eq!(duplicate.fhir_id, persona::ROBERT_CHEN);
        }
        service.stop().await;
    }

    async fn chart_terms_that_cannot_be_read_stay_as_they_were_and_are_read_again(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        service.app.schedule().await.unwrap();
        service.settle().await;
        let ana = service.directory().by_fhir_id(service.tenant, persona::ANA_LOPEZ).await.unwrap().unwrap().id;
        let known = chart_terms(&service, ana).await;
        assert!(known.iter().any(|term| term.contains("Hypertension")), "{known:?}");
        let condition = chart(&service, &format!("Condition?patient=Patient/{}", persona::ANA_LOPEZ)).await.remove(0);
        let url = format!("{}Condition/{}", slashed(&service), condition["id"].as_str().unwrap());
        let gone = reqwest::Client::new().delete(url).bearer_auth(service.ehr.staff_token()).send().await.unwrap();
        assert!(gone.status().is_success());
        service.ehr.misbehaviour().add(FaultRule::on(Fault::Unavailable, "GET", "/fhir/Condition"));
        service.advance(SignedDuration::from_hours(13));
        service.settle().await;
        assert_eq!(chart_terms(&service, ana).await, known, "what could not be read is not taken for empty");
        service.ehr.misbehaviour().clear();
        service.advance(SignedDuration::from_mins(11));
        service.settle().await;
        let now = chart_terms(&service, ana).await;
        assert!(!now.is_empty() && !now.iter().any(|term| term.contains("Hypertension")), "{now:?}");
        assert_eq!(counts(service.app.db()).await.unwrap().dead, 0);
        service.stop().await;
    }

    async fn a_patient_whose_consents_cannot_be_read_is_not_taken_for_known(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        service.ehr.misbehaviour().add(FaultRule::on(Fault::Unavailable, "GET", "/fhir/Consent"));
        service.app.schedule().await.unwrap();
        service.settle().await;
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM appointment").await, 0);
        service.ehr.misbehaviour().clear();
        service.advance(SignedDuration::from_mins(15));
        service.settle().await;
        assert!(count(&service, "SELECT COUNT(*) AS n FROM appointment WHERE status = 'booked'").await > 10);
        assert!(count(&service, "SELECT COUNT(*) AS n FROM consent_entry WHERE decision = 'denied'").await > 0);
        service.stop().await;
    }

    async fn both_sides_stand_in_the_chart_once_and_in_order(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        service.app.schedule().await.unwrap();
        service.settle().await;
        service.text(ANA, "my knee hurts more today").await;
        service.settle().await;
        service.text(ANA, "help").await;
        service.settle().await;
        let filed = chart(&service, &format!("Communication?subject=Patient/{}", persona::ANA_LOPEZ)).await;
        let words: Vec<&str> = filed.iter().map(|text| text["payload"][0]["contentString"].as_str().unwrap()).collect();
        assert_eq!(words.len(), 3, "{words:?}");
        assert!(words.contains(&"my knee hurts more today"));
        assert!(filed.iter().all(|text| text["status"] == "completed"), "{filed:?}");
        let inbound = filed.iter().find(|text| text["payload"][0]["contentString"] == "my knee hurts more today").unwrap();
        assert_eq!(inbound["sender"]["reference"], format!("Patient/{}", persona::ANA_LOPEZ));
        service.stop().await;
    }

    async fn an_ehr_that_is_down_for_an_hour_loses_nothing(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        service.app.schedule().await.unwrap();
        service.settle().await;
        let before = count(&service, "SELECT COUNT(*) AS n FROM chart_filing WHERE reference IS NOT NULL").await;
        service.ehr.misbehaviour().add(FaultRule::always(Fault::Unavailable));
        for minute in 0..12 {
            service.text(ANA, &format!("pain is {minute} of 12")).await;
            service.settle().await;
            service.advance(SignedDuration::from_mins(5));
        }
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM chart_filing WHERE reference IS NOT NULL").await, before);
        service.ehr.misbehaviour().clear();
        service.advance(SignedDuration::from_mins(15));
        service.settle().await;
        let filed = chart(&service, &format!("Communication?subject=Patient/{}&_count=100", persona::ANA_LOPEZ)).await;
        assert_eq!(filed.len(), 12);
        let sent: Vec<&str> = filed.iter().map(|text| text["sent"].as_str().unwrap()).collect();
        assert!(sent.windows(2).all(|pair| pair[0] != pair[1]));
        service.stop().await;
    }

    async fn a_write_whose_answer_is_lost_stands_once(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        service.app.schedule().await.unwrap();
        service.settle().await;
        service.ehr.misbehaviour().add(FaultRule::once(Fault::LoseAnswer, "POST", "/fhir/Communication"));
        service.text(ANA, "the swelling is back").await;
        service.settle().await;
        service.advance(SignedDuration::from_mins(2));
        service.settle().await;
        let filed = chart(&service, &format!("Communication?subject=Patient/{}", persona::ANA_LOPEZ)).await;
        assert_eq!(filed.len(), 1, "{filed:?}");
        service.stop().await;
    }

    async fn what_the_ehr_will_not_take_is_work_for_people(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        service.app.schedule().await.unwrap();
        service.settle().await;
        // The EHR takes nothing about a patient whom it does not have.
        let patient = format!("{}Patient/{}", slashed(&service), persona::ANA_LOPEZ);
        let gone = reqwest::Client::new().delete(patient).bearer_auth(service.ehr.staff_token());
        assert!(gone.send().await.unwrap().status().is_success());
        service.text(ANA, "my knee hurts more today").await;
        service.text(ANA, "it is warm, too").await;
        service.settle().await;
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM chart_filing WHERE code = 'ehr-rejected'").await, 2);
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM staff_task WHERE reason = 'not-filed'").await, 2);
        service.stop().await;
    }

    async fn a_text_in_the_chart_says_who_what_and_how(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        service.app.schedule().await.unwrap();
        service.settle().await;
        service.text(ANA, "help").await;
        service.settle().await;
        let patient = format!("Patient/{}", persona::ANA_LOPEZ);
        let filed = chart(&service, &format!("Communication?subject={patient}")).await;
        let inbound = filed.iter().find(|text| text["sender"]["reference"] == *patient).unwrap();
        let answer = filed.iter().find(|text| text["recipient"][0]["reference"] == *patient).unwrap();
        for text in [inbound, answer] {
            assert_eq!(text["medium"][0]["coding"][0]["code"], "SMSWRIT");
            assert_eq!(text["subject"]["reference"], *patient);
            let systems: Vec<&str> =
                text["identifier"].as_array().unwrap().iter().map(|one| one["system"].as_str().unwrap()).collect();
            assert_eq!(systems.len(), 3, "ours, the conversation's and the carrier's: {systems:?}");
            assert!(systems.iter().all(|system| system.starts_with("urn:")), "names that are ours to give: {systems:?}");
            assert!(text["sent"].is_string() && text["received"].is_string(), "{text}");
        }
        assert_eq!(inbound["identifier"][1], answer["identifier"][1]);
        let practice = format!("Organization/{}", clinic::ORGANIZATION);
        assert_eq!((&inbound["recipient"][0]["reference"], &answer["sender"]["reference"]), (&practice.clone().into(), &practice.into()));
        assert_eq!(answer["inResponseTo"][0]["reference"], format!("Communication/{}", inbound["id"].as_str().unwrap()));
        service.stop().await;
    }
}
