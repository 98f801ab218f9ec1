//! A conversation about a visit as everybody sees it at the end: the patient's phone, the EHR's schedule, the chart, and
//! our own books.

use crate::{
    database::TestDatabase,
    feed::chart,
    service::{ANA, JAMES, PRIYA, Service, Setting},
};
use chartwire::{
    db::{sql, sql_built},
    kernel::{Id, Patient},
    sandbox::{Fault, FaultRule, HeldRequest, carrier::Direction, clinic::persona},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A patient with a visit at Dr. Smith's.
pub(crate) struct Person {
    pub(crate) id: &'static str,
    pub(crate) phone: &'static str,
    pub(crate) appointment: &'static str,
}

pub(crate) const ANA_LOPEZ: Person =
    Person { id: persona::ANA_LOPEZ, phone: ANA, appointment: "appointment-ana-lopez" };
pub(crate) const JAMES_CARTER: Person =
    Person { id: persona::JAMES_CARTER, phone: JAMES, appointment: "appointment-james-carter" };
pub(crate) const PRIYA_NAIR: Person =
    Person { id: persona::PRIYA_NAIR, phone: PRIYA, appointment: "appointment-priya-nair" };

/// Anybody else who has a visit, for the EHR's other bookers.
pub(crate) const SOMEBODY_ELSE: &str = "appointment-grace-kim";

pub(crate) const REMINDER: &str = "> Reply C to confirm or R to reschedule.";
pub(crate) const OFFER: &str = "> Open times: 1)";
pub(crate) const TAKEN: &str = "> that time was just taken. Open now: 1)";
pub(crate) const MOVED: &str = "> Done. Your visit is now";
pub(crate) const CHANGED: &str = "> your visit is now";
pub(crate) const PERSON: &str = "> a team member will text you back";
pub(crate) const CONFIRMED: &str = "> you are confirmed for";

/// The schedule is known on the eve, so that the reminder three days before falls due while the service runs.
pub(crate) async fn reminded(database: &TestDatabase) -> Service {
    let service = Service::start(database, Setting { now: "2026-11-23T14:30:00Z", ..Setting::default() }).await;
    service.app.schedule().await.unwrap();
    service.settle().await;
    assert_eq!(service.on(ANA).len(), 0, "nothing is due at half past nine: {:?}", service.on(ANA));
    service.advance(SignedDuration::from_mins(31));
    service.settle().await;
    service
}

/// The reminder was answered with R, and times were offered.
pub(crate) async fn offered(database: &TestDatabase) -> Service {
    let service = reminded(database).await;
    service.text(ANA, "R").await;
    service.settle().await;
    service
}

async fn patient(service: &Service, person: &Person) -> Id<Patient> {
    service.directory().by_fhir_id(service.tenant, person.id).await.unwrap().unwrap().id
}

/// A time that a patient was offered: the slot's id, and when.
pub(crate) async fn offer(service: &Service, person: &Person, number: u8) -> (String, Timestamp) {
    let patient = patient(service, person).await;
    let query = sql(
        "SELECT offered FROM question WHERE context = 'reschedule_offer' AND patient = $1 ORDER BY id DESC LIMIT 1",
    );
    let row = service.app.db().one(query.bind(patient)).await.unwrap();
    let asked: Value = serde_json::from_str(&row.get::<String>("offered").unwrap()).unwrap();
    let offered = asked["offered"].as_array().unwrap().iter().find(|offered| offered["number"] == number).unwrap();
    let slot = offered["slot"].as_str().unwrap().strip_prefix("Slot/").unwrap();
    (slot.to_owned(), offered["start"].as_str().unwrap().parse().unwrap())
}

/// What the EHR has under this reference.
pub(crate) async fn in_ehr(service: &Service, reference: &str) -> Value {
    let (kind, id) = reference.split_once('/').unwrap();
    chart(service, &format!("{kind}?_id={id}")).await.remove(0)
}

pub(crate) async fn visit(service: &Service, appointment: &str) -> Value {
    in_ehr(service, &format!("Appointment/{appointment}")).await
}

/// When the visit starts, as the EHR has it.
pub(crate) async fn start(service: &Service, appointment: &str) -> Timestamp {
    visit(service, appointment).await["start"].as_str().unwrap().parse().unwrap()
}

/// The EHR's own staff change a resource.
pub(crate) async fn staff_change(service: &Service, reference: &str, changes: Value) {
    let url = format!("{}/{reference}", service.ehr.fhir_base().as_str().trim_end_matches('/'));
    let mut resource = in_ehr(service, reference).await;
    let etag = format!("W/\"{}\"", resource["meta"]["versionId"].as_str().unwrap());
    for (name, value) in changes.as_object().unwrap() {
        resource[name] = value.clone();
    }
    let request = reqwest::Client::new().put(url).bearer_auth(service.ehr.staff_token()).header("If-Match", etag);
    let put = request.json(&resource).send().await.unwrap();
    assert!(put.status().is_success(), "{}", put.text().await.unwrap());
}

/// The EHR's own staff move a visit to a slot.
pub(crate) async fn staff_move(service: &Service, appointment: &str, slot: &str) {
    let place = in_ehr(service, &format!("Slot/{slot}")).await;
    let changes = json!({
        "start": place["start"], "end": place["end"], "slot": [{ "reference": format!("Slot/{slot}") }],
    });
    staff_change(service, &format!("Appointment/{appointment}"), changes).await;
}

/// Somebody else's write comes between: the held request waits until it is done.
pub(crate) async fn overtake(service: &Service, held: HeldRequest, others: impl Future<Output = ()>) {
    let mut settling = std::pin::pin!(service.settle());
    let open = tokio::select! {
        () = &mut settling => panic!("the request did not come"),
        open = held.reached() => open.unwrap(),
    };
    others.await;
    open.send(()).unwrap();
    settling.await;
}

/// The EHR is down for an hour, in which jobs fall due every few minutes.
pub(crate) async fn an_hour_without_ehr(service: &Service) {
    service.ehr.misbehaviour().add(FaultRule::always(Fault::Unavailable));
    for _ in 0..12 {
        service.advance(SignedDuration::from_mins(5));
        service.settle().await;
    }
}

/// The EHR is up again, and as much time has passed as it takes to notice.
pub(crate) async fn the_ehr_is_back(service: &Service) {
    service.ehr.misbehaviour().clear();
    service.advance(SignedDuration::from_mins(10));
    service.settle().await;
}

/// The conversation stands on the patient's phone and in the chart, equal in words, order and number, as `told`: each
/// one `>` (to the patient) or `<` (from the patient) and words that it contains. Nothing of it is waiting.
pub(crate) async fn ends(service: &Service, person: &Person, told: &[&str]) {
    // Filing looks again soon where a text was just leaving, and the schedule is read once more.
    service.advance(SignedDuration::from_mins(2));
    service.settle().await;
    let on_the_phone = service.carrier.on_phone(person.phone).into_iter().map(|text| {
        let sign = if text.direction == Direction::Inbound { "<" } else { ">" };
        format!("{sign} {}", text.body)
    });
    let on_the_phone: Vec<String> = on_the_phone.collect();
    assert_eq!(on_the_phone.len(), told.len(), "{on_the_phone:#?}");
    for (text, told) in on_the_phone.iter().zip(told) {
        let (sign, words) = told.split_once(' ').unwrap();
        assert!(text.starts_with(sign) && text.contains(words), "{told}: {on_the_phone:#?}");
    }
    let filed = chart(service, &format!("Communication?subject=Patient/{}&_count=500", person.id)).await;
    let in_the_chart: Vec<String> = filed.iter().map(shown).collect();
    assert_eq!(in_the_chart, on_the_phone);
    assert!(filed.iter().all(|text| text["status"] == "completed"), "{filed:#?}");
    let sent: Vec<Timestamp> = filed.iter().map(|text| text["sent"].as_str().unwrap().parse().unwrap()).collect();
    assert!(sent.is_sorted(), "{sent:?}");
    let waiting =
        sql("SELECT COUNT(*) AS n FROM message WHERE patient = $1 AND state IN ('received', 'queued', 'sending')");
    let waiting = service.app.db().one(waiting.bind(patient(service, person).await)).await.unwrap();
    assert_eq!(waiting.get::<i64>("n").unwrap(), 0);
}

/// A Communication as [`ends`] writes it.
fn shown(text: &Value) -> String {
    let from_the_patient = text["sender"]["reference"] == text["subject"]["reference"];
    let sign = if from_the_patient { "<" } else { ">" };
    format!("{sign} {}", text["payload"][0]["contentString"].as_str().unwrap())
}

/// The EHR's schedule is whole: a slot is busy if and only if one visit fills it, at its time; nothing is held. And our
/// own books hold nothing open.
pub(crate) async fn books_are_closed(service: &Service) {
    let appointments = chart(service, "Appointment?status=booked,fulfilled&_count=500").await;
    let mut filled: BTreeMap<String, &Value> = BTreeMap::new();
    for appointment in &appointments {
        for slot in appointment["slot"].as_array().into_iter().flatten() {
            let other = filled.insert(slot["reference"].as_str().unwrap().to_owned(), appointment);
            assert!(other.is_none(), "two visits in one slot: {appointment} {other:?}");
        }
    }
    for slot in chart(service, "Slot?status=busy,busy-tentative&_count=500").await {
        assert_eq!(slot["status"], "busy", "held: {slot}");
        let visit = filled.remove(&format!("Slot/{}", slot["id"].as_str().unwrap()));
        let visit = visit.unwrap_or_else(|| panic!("busy with nobody in it: {slot}"));
        assert_eq!((&visit["start"], &visit["end"]), (&slot["start"], &slot["end"]));
    }
    assert!(filled.is_empty(), "booked and not busy: {filled:?}");
    for open in ["slot_hold", "ehr_write WHERE state NOT IN ('written', 'rejected')", "job WHERE state = 'dead'"] {
        let text = format!("SELECT COUNT(*) AS n FROM {open}");
        assert_eq!(service.app.db().one(sql_built(text)).await.unwrap().get::<i64>("n").unwrap(), 0, "{open}");
    }
}

/// The open work for people about a patient, by its reason.
pub(crate) async fn tasks(service: &Service, person: &Person) -> Vec<String> {
    let patient = patient(service, person).await;
    let query = sql("SELECT reason FROM staff_task WHERE patient = $1 AND state = 'open' ORDER BY id").bind(patient);
    let rows = service.app.db().all(query).await.unwrap();
    rows.iter().map(|row| row.get("reason").unwrap()).collect()
}

/// How the ledger has the newest write of this kind, and how often it was tried.
pub(crate) async fn ledger(service: &Service, intent: &str) -> (String, i64) {
    let query = sql("SELECT state, attempts FROM ehr_write WHERE intent LIKE $1 ORDER BY id DESC LIMIT 1");
    let row = service.app.db().one(query.bind(format!("{intent}%"))).await.unwrap();
    (row.get("state").unwrap(), row.get("attempts").unwrap())
}
