use super::super::clinic::persona;
use super::super::rehearsal::Rehearsal;
use super::super::{Fault, FaultRule};
use super::element::{at_path, text_at};
use reqwest::{Method, Response};
use rstest::rstest;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PATCH: &str = "application/json-patch+json";

async fn post(rehearsal: &Rehearsal, resource: &Value, if_none_exist: Option<&str>) -> Response {
    let kind = text_at(resource, "resourceType").unwrap();
    let mut request =
        rehearsal.staff(Method::POST, kind).header("content-type", "application/fhir+json").body(resource.to_string());
    if let Some(query) = if_none_exist {
        request = request.header("if-none-exist", query);
    }
    request.send().await.unwrap()
}

async fn patch(rehearsal: &Rehearsal, path: &str, if_match: Option<&str>, operations: Value) -> Response {
    let mut request = rehearsal.staff(Method::PATCH, path).header("content-type", PATCH).body(operations.to_string());
    if let Some(version) = if_match {
        request = request.header("if-match", version);
    }
    request.send().await.unwrap()
}

async fn outcome(answer: Response, status: u16) -> Value {
    assert_eq!(answer.status().as_u16(), status);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("application/fhir+json"));
    let outcome: Value = answer.json().await.unwrap();
    assert_eq!(outcome["resourceType"], "OperationOutcome");
    outcome
}

/// Free slots of Dr. Smith, from the day after tomorrow on, so that a test does not depend on the hour.
async fn free_slots(rehearsal: &Rehearsal) -> Vec<Value> {
    let found = rehearsal
        .read("Slot?status=free&schedule.actor=Practitioner/practitioner-john-smith&start=ge2026-11-24&_sort=start&_count=20")
        .await;
    at_path(&found, "entry.resource").into_iter().cloned().collect()
}

fn moved_to(slot: &Value) -> Value {
    json!([
        {"op": "replace", "path": "/start", "value": slot["start"]},
        {"op": "replace", "path": "/end", "value": slot["end"]},
        {"op": "replace", "path": "/slot", "value": [{"reference": format!("Slot/{}", slot["id"].as_str().unwrap())}]},
    ])
}

#[tokio::test]
async fn pages_follow_one_another_and_miss_nothing() {
    let rehearsal = Rehearsal::start().await;
    let mut url = rehearsal.url("/fhir/Patient?_count=7&_sort=_id");
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let request = rehearsal.http.get(&url).bearer_auth(rehearsal.ehr.staff_token());
        let bundle: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(bundle["total"], 26);
        seen.extend(at_path(&bundle, "entry.resource.id").into_iter().map(|id| id.as_str().unwrap().to_owned()));
        pages += 1;
        let links = at_path(&bundle, "link");
        let Some(next) = links.iter().find(|link| link["relation"] == "next") else { break };
        url = next["url"].as_str().unwrap().to_owned();
        assert!(!url.contains("_sort"), "the link is opaque");
    }
    assert_eq!((pages, seen.len()), (4, 26));
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 26);
    assert!(seen.is_sorted());
}

#[rstest]
#[case("Patient?phone=%2B12125550103", 2)]
#[case("Patient?phone=(212)%20555-0103", 2)]
#[case("Patient?name=jimenez", 1)]
#[case("Patient?link=Patient/patient-robert-chen", 1)]
#[case("Patient?_id=patient-ana-lopez,patient-mia-santos", 2)]
#[case("Appointment?patient=Patient/patient-helen-ward", 2)]
#[case("Appointment?patient=patient-helen-ward&practitioner=practitioner-anjali-patel", 1)]
#[case("Appointment?patient=patient-ana-lopez&date=2026-11-25", 1)]
#[case("Appointment?patient=patient-ana-lopez&date=ge2026-11-25&date=lt2026-11-26&status=booked,pending", 1)]
#[case("Appointment?patient=patient-ana-lopez&date=gt2026-11-25", 0)]
#[case("Appointment?patient=patient-ana-lopez&status:not=cancelled", 1)]
#[case("PractitionerRole?practitioner=Practitioner/practitioner-carla-reed", 1)]
#[case("PractitionerRole?practitioner=practitioner-sam-lee", 0)]
#[case("PractitionerRole?role=http://terminology.hl7.org/CodeSystem/practitioner-role|doctor", 2)]
#[case("Consent?patient=patient-grace-kim&category=http://loinc.org|59284-0&status=active", 1)]
#[case("Consent?patient=patient-peter-novak", 0)]
#[case("MedicationRequest?patient=patient-james-carter&status=active&intent=order", 2)]
#[case("Schedule?actor=Practitioner/practitioner-john-smith&date=ge2026-11-25&date=le2026-11-25", 1)]
#[case("Patient?_lastUpdated=gt2026-11-22T15:00:01Z", 0)]
#[tokio::test]
async fn searches_find_what_they_ask_for(#[case] query: &str, #[case] total: u64) {
    let rehearsal = Rehearsal::start().await;
    assert_eq!(rehearsal.read(query).await["total"], total, "{query}");
}

#[tokio::test]
async fn a_posted_search_keeps_what_it_asks_for_out_of_links() {
    let rehearsal = Rehearsal::start().await;
    let form = [("phone", "+12125550103"), ("_count", "1")];
    let bundle: Value =
        rehearsal.staff(Method::POST, "Patient/_search").form(&form).send().await.unwrap().json().await.unwrap();
    assert_eq!(bundle["total"], 2);
    assert_eq!(at_path(&bundle, "link").len(), 2);
    assert!(!bundle["link"].to_string().contains("0103"));
}

#[tokio::test]
async fn includes_come_along_and_sorting_holds() {
    let rehearsal = Rehearsal::start().await;
    let bundle = rehearsal.read("Slot?status=free&_sort=-start&_count=3&_include=Slot:schedule").await;
    let modes: Vec<&str> = at_path(&bundle, "entry.search.mode").into_iter().filter_map(Value::as_str).collect();
    assert_eq!(modes[..3], ["match"; 3]);
    assert!(modes.len() > 3 && modes[3..].iter().all(|mode| *mode == "include"));
    let starts: Vec<&str> = at_path(&bundle, "entry.resource.start").into_iter().filter_map(Value::as_str).collect();
    assert!(starts.is_sorted_by(|left, right| left >= right));
}

#[rstest]
#[case("Patient?colour=green", 400)]
#[case("Patient?name:sounds-like=lopez", 400)]
#[case("Appointment?date=tomorrow", 400)]
#[case("Appointment?_sort=colour", 400)]
#[case("Slot?_include=Slot:nothing", 400)]
#[case("Patient?_page=forgotten", 400)]
#[case("Spaceship", 404)]
#[case("Patient/nobody", 404)]
#[case("Patient/a/b/c/d", 404)]
#[tokio::test]
async fn what_is_not_understood_is_refused(#[case] path: &str, #[case] status: u16) {
    let rehearsal = Rehearsal::start().await;
    outcome(rehearsal.staff(Method::GET, path).send().await.unwrap(), status).await;
}

#[tokio::test]
async fn a_conditional_create_finds_what_is_there() {
    let rehearsal = Rehearsal::start().await;
    let text = json!({
        "resourceType": "Communication", "status": "completed",
        "identifier": [{"system": "urn:carrier", "value": "SM1"}],
        "subject": {"reference": "Patient/patient-ana-lopez"},
    });
    let first = post(&rehearsal, &text, Some("identifier=urn:carrier|SM1")).await;
    assert_eq!((first.status().as_u16(), first.headers()["etag"].to_str().unwrap()), (201, "W/\"1\""));
    let location = first.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with(rehearsal.ehr.fhir_base().as_str()) && location.ends_with("/_history/1"));
    let again = post(&rehearsal, &text, Some("identifier=urn:carrier|SM1")).await;
    assert_eq!((again.status().as_u16(), again.headers()["location"].to_str().unwrap()), (200, location.as_str()));
    assert_eq!(post(&rehearsal, &text, None).await.status(), 201);
    outcome(post(&rehearsal, &text, Some("identifier=urn:carrier|SM1")).await, 412).await;
    assert_eq!(rehearsal.read("Communication?identifier=urn:carrier|SM1").await["total"], 2);
}

#[tokio::test]
async fn writes_name_the_version_that_they_have_seen() {
    let rehearsal = Rehearsal::start().await;
    let path = "Appointment/appointment-ana-lopez";
    let confirm = json!([{"op": "replace", "path": "/participant/0/status", "value": "accepted"}]);
    let done = patch(&rehearsal, path, Some("W/\"1\""), confirm.clone()).await;
    assert_eq!((done.status().as_u16(), done.headers()["etag"].to_str().unwrap()), (200, "W/\"2\""));
    outcome(patch(&rehearsal, path, Some("W/\"1\""), confirm).await, 412).await;
    let mut resource = rehearsal.read(path).await;
    assert_eq!(resource["participant"][0]["status"], "accepted");
    resource["comment"] = json!("x");
    let put = async |version: &str| {
        let request = rehearsal.staff(Method::PUT, path).header("content-type", "application/fhir+json");
        request.header("if-match", version).body(resource.to_string()).send().await.unwrap()
    };
    outcome(put("W/\"1\"").await, 412).await;
    assert_eq!(put("W/\"2\"").await.status(), 200);
    let old = rehearsal.read(&format!("{path}/_history/1")).await;
    assert_eq!(old["participant"][0]["status"], "needs-action");
}

#[tokio::test]
async fn a_patch_that_cannot_be_applied_changes_nothing() {
    let rehearsal = Rehearsal::start().await;
    let path = "Appointment/appointment-ana-lopez";
    let missing = json!([{"op": "replace", "path": "/nothing/here", "value": 1}]);
    outcome(patch(&rehearsal, path, None, missing).await, 422).await;
    let test = json!([{"op": "test", "path": "/status", "value": "cancelled"}]);
    outcome(patch(&rehearsal, path, None, test).await, 422).await;
    let renamed = json!([{"op": "replace", "path": "/id", "value": "another"}]);
    outcome(patch(&rehearsal, path, None, renamed).await, 422).await;
    outcome(patch(&rehearsal, path, None, json!({"op": "add"})).await, 400).await;
    assert_eq!(rehearsal.read(path).await["meta"]["versionId"], "1");
}

#[tokio::test]
async fn a_deleted_resource_is_gone() {
    let rehearsal = Rehearsal::start().await;
    let path = "Condition/condition-01";
    assert_eq!(rehearsal.staff(Method::DELETE, path).send().await.unwrap().status(), 204);
    outcome(rehearsal.staff(Method::GET, path).send().await.unwrap(), 410).await;
    assert_eq!(rehearsal.staff(Method::DELETE, path).send().await.unwrap().status(), 204);
}

#[tokio::test]
async fn prefer_decides_what_comes_back() {
    let rehearsal = Rehearsal::start().await;
    let task = json!({"resourceType": "Task", "status": "requested", "intent": "order"});
    let request = rehearsal.staff(Method::POST, "Task").header("content-type", "application/fhir+json");
    let answer = request.header("prefer", "return=minimal").body(task.to_string()).send().await.unwrap();
    assert!(answer.headers().contains_key("location") && answer.headers().contains_key("last-modified"));
    assert_eq!(answer.text().await.unwrap(), "");
    let full: Value = post(&rehearsal, &task, None).await.json().await.unwrap();
    assert_eq!(full["meta"]["versionId"], "1");
}

#[tokio::test]
async fn bodies_and_tokens_are_checked_before_anything_else() {
    let rehearsal = Rehearsal::start().await;
    let anonymous = rehearsal.http.get(rehearsal.url("/fhir/Patient")).send().await.unwrap();
    outcome(anonymous, 401).await;
    outcome(rehearsal.fhir(Method::GET, "Patient", "forged.token.here").send().await.unwrap(), 401).await;
    let send = async |media: &str, body: String| {
        rehearsal.staff(Method::POST, "Task").header("content-type", media).body(body).send().await.unwrap()
    };
    outcome(send("text/plain", "{}".into()).await, 415).await;
    outcome(send("application/fhir+json", "{".into()).await, 400).await;
    outcome(send("application/fhir+json", json!({"resourceType": "Patient"}).to_string()).await, 400).await;
    outcome(
        send("application/fhir+json", json!({"resourceType": "Task", "status": "requested"}).to_string()).await,
        422,
    )
    .await;
    outcome(send("application/fhir+json", " ".repeat(3 * 1024 * 1024)).await, 413).await;
    let xml = rehearsal.staff(Method::GET, "Patient").header("accept", "application/fhir+xml").send().await.unwrap();
    outcome(xml, 406).await;
}

#[tokio::test]
async fn a_slot_follows_its_appointment() {
    let rehearsal = Rehearsal::start().await;
    let path = "Appointment/appointment-ana-lopez";
    let before = rehearsal.read(path).await;
    let old_slot = text_at(&before, "slot.reference").unwrap().to_owned();
    let new = free_slots(&rehearsal).await.remove(0);
    let new_slot = format!("Slot/{}", new["id"].as_str().unwrap());
    let hold = patch(
        &rehearsal,
        &new_slot,
        Some("W/\"1\""),
        json!([{"op": "replace", "path": "/status", "value": "busy-tentative"}]),
    )
    .await;
    assert_eq!(hold.status(), 200);
    assert_eq!(patch(&rehearsal, path, Some("W/\"1\""), moved_to(&new)).await.status(), 200);
    assert_eq!(rehearsal.read(&new_slot).await["status"], "busy");
    assert_eq!(rehearsal.read(&old_slot).await["status"], "free");
    let cancel = json!([{"op": "replace", "path": "/status", "value": "cancelled"}]);
    assert_eq!(patch(&rehearsal, path, None, cancel).await.status(), 200);
    assert_eq!(rehearsal.read(&new_slot).await["status"], "free");
}

#[tokio::test]
async fn of_two_who_race_for_a_slot_one_gets_it() {
    let rehearsal = Rehearsal::start().await;
    let slot = free_slots(&rehearsal).await.remove(0);
    let (priya, tom) = tokio::join!(
        patch(&rehearsal, "Appointment/appointment-priya-nair", Some("W/\"1\""), moved_to(&slot)),
        patch(&rehearsal, "Appointment/appointment-tom-becker", Some("W/\"1\""), moved_to(&slot)),
    );
    let mut statuses = [priya.status().as_u16(), tom.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let holders = rehearsal.read(&format!("Appointment?slot=Slot/{}", slot["id"].as_str().unwrap())).await;
    assert_eq!(holders["total"], 1);
}

#[tokio::test]
async fn a_slot_that_is_held_or_booked_is_not_given_again() {
    let rehearsal = Rehearsal::start().await;
    let slot = free_slots(&rehearsal).await.remove(0);
    let path = format!("Slot/{}", slot["id"].as_str().unwrap());
    let set = |status: &str| json!([{"op": "replace", "path": "/status", "value": status}]);
    assert_eq!(patch(&rehearsal, &path, None, set("busy-tentative")).await.status(), 200);
    outcome(patch(&rehearsal, &path, None, set("busy-tentative")).await, 409).await;
    assert_eq!(patch(&rehearsal, &path, None, set("free")).await.status(), 200);
    assert_eq!(patch(&rehearsal, "Appointment/appointment-tom-becker", None, moved_to(&slot)).await.status(), 200);
    outcome(patch(&rehearsal, &path, None, set("free")).await, 409).await;
    let mut late = moved_to(&free_slots(&rehearsal).await.remove(0));
    late[0]["value"] = json!("2026-11-30T02:00:00Z");
    outcome(patch(&rehearsal, "Appointment/appointment-priya-nair", None, late).await, 422).await;
}

#[tokio::test]
async fn the_clinic_passes_the_rules_for_clients() {
    let rehearsal = Rehearsal::start().await;
    for kind in super::resource_types::RESOURCE_TYPES {
        let bundle = rehearsal.read(&format!("{}?_count=500", kind.name)).await;
        for resource in at_path(&bundle, "entry.resource") {
            let path = format!("{}/{}", kind.name, text_at(resource, "id").unwrap());
            let request = rehearsal.staff(Method::PUT, &path).header("content-type", "application/fhir+json");
            let answer = request.body(resource.to_string()).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}: {}", answer.text().await.unwrap());
        }
    }
}

#[tokio::test]
async fn an_answer_can_be_lost_after_the_write() {
    let rehearsal = Rehearsal::start().await;
    let token = rehearsal.backend_token("system/Communication.cruds").await;
    rehearsal.ehr.misbehaviour().add(FaultRule::once(Fault::LoseAnswer, "POST", "/fhir/Communication"));
    let text = json!({
        "resourceType": "Communication", "status": "completed", "identifier": [{"system": "urn:carrier", "value": "SM2"}],
    });
    let request = rehearsal.fhir(Method::POST, "Communication", &token).header("content-type", "application/fhir+json");
    assert!(request.body(text.to_string()).send().await.is_err());
    assert_eq!(rehearsal.read("Communication?identifier=urn:carrier|SM2").await["total"], 1);
}

#[tokio::test]
async fn the_capability_statement_names_what_is_searched() {
    let rehearsal = Rehearsal::start().await;
    let statement: Value =
        rehearsal.http.get(rehearsal.url("/fhir/metadata")).send().await.unwrap().json().await.unwrap();
    assert_eq!(statement["fhirVersion"], "4.0.1");
    for resource in at_path(&statement, "rest.resource") {
        for parameter in at_path(resource, "searchParam") {
            let value = match text_at(parameter, "type").unwrap() {
                "date" => "2026-01-01",
                _ => "x",
            };
            let query =
                format!("{}?{}={value}", text_at(resource, "type").unwrap(), text_at(parameter, "name").unwrap());
            assert_eq!(rehearsal.read(&query).await["resourceType"], "Bundle", "{query}");
        }
    }
}

#[tokio::test]
async fn staff_move_book_and_cancel_on_the_pages() {
    let rehearsal = Rehearsal::start().await;
    let who = format!("patient={}&practitioner={}", persona::ANA_LOPEZ, persona::SCHEDULER_DIAZ);
    let page = rehearsal.http.get(rehearsal.url(&format!("/ehr?{who}"))).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Ana Lopez") && page.contains("<iframe") && page.contains("Dr. John Smith"));
    let slots = free_slots(&rehearsal).await;
    let send = async |path: &str, slot: &Value| {
        let slot = slot["id"].as_str().unwrap_or_default();
        let form = [("patient", persona::ANA_LOPEZ), ("practitioner", persona::SCHEDULER_DIAZ), ("slot", slot)];
        rehearsal.http.post(rehearsal.url(path)).form(&form).send().await.unwrap().status().as_u16()
    };
    assert_eq!(send("/ehr/appointments/appointment-ana-lopez/move", &slots[0]).await, 303);
    let moved = rehearsal.read("Appointment/appointment-ana-lopez").await;
    assert_eq!(moved["start"], slots[0]["start"]);
    assert_eq!(send("/ehr/appointments", &slots[1]).await, 303);
    assert_eq!(rehearsal.read("Appointment?patient=patient-ana-lopez&status=booked").await["total"], 2);
    assert_eq!(send("/ehr/appointments", &slots[1]).await, 502, "the slot is taken");
    assert_eq!(send("/ehr/appointments/appointment-ana-lopez/cancel", &Value::Null).await, 303);
    assert_eq!(rehearsal.read("Appointment/appointment-ana-lopez").await["status"], "cancelled");
    let home = rehearsal.http.get(rehearsal.url("/")).send().await.unwrap().text().await.unwrap();
    assert!(home.contains("Calendar") && home.contains("Rosa Jim"));
}
