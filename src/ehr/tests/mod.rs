//! Writes and scheduling against an EHR over HTTP that takes, refuses and loses them.

mod holds;
mod sole_writer;

use super::*;
use crate::{
    db::{Db, DbKeyStore, sql},
    fhir::{Limits, ResourceRef, ServerBase, TokioPacer, views::AppointmentView},
    jobs::{Worker, WorkerLimits},
    kernel::{Instruments, ManualClock, SystemClock, SystemEntropy},
    sandbox::{EhrOptions, Fault, FaultRule, RegisteredClient, RunningEhr, clinic::persona},
    smart::{
        BackendServices, ClientAuthentication, ClientRegistration, EhrServer, RefreshPolicy, SigningAlgorithm,
        SigningKey, SigningKeys, SmartClient,
    },
    vault::{Kek, LocalKeks, Vault},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use std::{net::Ipv4Addr, time::Duration};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

const TENANT: Id<Tenant> = Id::from_bytes([1; 16]);
const NOW: &str = "2026-11-23T17:00:00Z";

struct Bench {
    sandbox: RunningEhr,
    ehr: Arc<Ehr>,
    ledger: Ledger,
    scheduling: Scheduling,
    db: Db,
    clock: Arc<ManualClock>,
    instruments: Instruments,
    _jwks: MockServer,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", folder.path().join("ehr.db").display())).await.unwrap();
        let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
        let instruments = Instruments::new(clock.clone(), Arc::new(SystemEntropy));
        let mut keks = LocalKeks::new(Arc::new(SystemEntropy));
        keks.insert(TENANT, vec![Kek::generate(&SystemEntropy)]).unwrap();
        let vault = Vault::new(Arc::new(DbKeyStore::new(db.clone())), Arc::new(keks), instruments.clone());
        let pem = SigningKey::generate_pem(SigningAlgorithm::Es384).unwrap();
        let signing = || SigningKeys::new(vec![SigningKey::from_pem(&pem, SigningAlgorithm::Es384).unwrap()]).unwrap();
        let jwks = MockServer::start().await;
        let answer = ResponseTemplate::new(200).set_body_json(signing().jwks());
        Mock::given(matchers::any()).respond_with(answer).mount(&jwks).await;
        let sandbox = sandbox(&jwks, &instruments).await;
        let ehr = Arc::new(ehr(&sandbox, signing()));
        let ledger = Ledger::new(db.clone(), vault, instruments.clone());
        let scheduling = Scheduling::new(db.clone(), instruments.clone(), ledger.clone());
        Self { sandbox, ehr, ledger, scheduling, db, clock, instruments, _jwks: jwks, _folder: folder }
    }

    fn fault(&self, fault: Fault, method: &str, path: &str) {
        self.sandbox.misbehaviour().add(FaultRule::once(fault, method, &format!("/fhir/{path}")));
    }

    async fn read(&self, reference: &ResourceRef) -> Value {
        self.ehr.client.read(reference).await.unwrap().to_value().unwrap()
    }

    async fn appointment(&self, id: &str) -> (ResourceRef, AppointmentView) {
        let reference = ResourceRef::new("Appointment", id).unwrap();
        let view = self.scheduling.appointment(&self.ehr, &reference).await.unwrap();
        (reference, view)
    }

    async fn offers(&self, view: &AppointmentView, count: usize) -> Vec<OfferedSlot> {
        let zone = TimeZone::get("America/New_York").unwrap();
        let wanted = Wanted { from: self.instruments.now(), count, exclude: &[], zone: &zone };
        self.scheduling.free_slots(&self.ehr, view, wanted).await.unwrap()
    }

    /// Ana Lopez's visit, and the first slot that she is offered.
    async fn anas_move(&self) -> Move {
        let (appointment, view) = self.appointment("appointment-ana-lopez").await;
        let slot = self.offers(&view, 1).await.remove(0).slot;
        Move { holder: self.instruments.new_id(), appointment, expected_start: view.start.unwrap(), slot }
    }

    /// What the EHR's own staff does to a resource.
    async fn staff_patch(&self, reference: &ResourceRef, operations: Value) {
        let url = format!("{}/{reference}", self.sandbox.fhir_base().as_str().trim_end_matches('/'));
        let request = reqwest::Client::new().patch(url).bearer_auth(self.sandbox.staff_token());
        let request = request.header("content-type", "application/json-patch+json").body(operations.to_string());
        assert!(request.send().await.unwrap().status().is_success());
    }

    /// Runs what ends holds.
    fn worker(&self) -> Worker {
        let (scheduling, ehrs) =
            (self.scheduling.clone(), Ehrs(Arc::new(HashMap::from([(TENANT, Arc::clone(&self.ehr))]))));
        let last = scheduling.clone();
        Worker::new(self.db.clone(), self.instruments.clone(), WorkerLimits::default())
            .bind(RELEASE_SLOT_HOLD, move |job| {
                let (scheduling, ehrs) = (scheduling.clone(), ehrs.clone());
                async move { scheduling.release_hold(&ehrs, job).await }
            })
            .bind_last_resort(RELEASE_SLOT_HOLD, move |job, _| {
                let scheduling = last.clone();
                async move { scheduling.strand_hold(job).await }
            })
    }

    async fn rows(&self, text: &'static str) -> i64 {
        self.db.one(sql(text)).await.unwrap().get("n").unwrap()
    }

    async fn assert_moved(&self, wanted: &Move, outcome: &MoveOutcome) {
        let slot = self.read(&wanted.slot).await;
        let MoveOutcome::Moved { start, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(slot["start"], start.to_string());
        assert_eq!(slot["status"], "busy");
        let appointment = self.read(&wanted.appointment).await;
        assert_eq!(appointment["start"], start.to_string());
        assert_eq!(appointment["slot"], json!([{ "reference": wanted.slot.to_string() }]));
        assert_eq!(self.rows("SELECT COUNT(*) AS n FROM slot_hold").await, 0);
    }
}

async fn sandbox(jwks: &MockServer, instruments: &Instruments) -> RunningEhr {
    RunningEhr::start(EhrOptions {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        instruments: instruments.clone(),
        seed: 7,
        clinic_zone: TimeZone::get("America/New_York").unwrap(),
        clients: vec![RegisteredClient::Backend {
            client_id: "backend".to_owned(),
            jwks_url: jwks.uri().parse().unwrap(),
            scopes: "system/*.cruds".to_owned(),
        }],
        external_fhir: None,
        token_lifetime: Duration::from_mins(10),
    })
    .await
    .unwrap()
}

fn ehr(sandbox: &RunningEhr, keys: SigningKeys) -> Ehr {
    let real = Instruments::new(Arc::new(SystemClock), Arc::new(SystemEntropy));
    let base = ServerBase::new(sandbox.fhir_base().clone()).unwrap();
    let registration = ClientRegistration {
        client_id: "backend".to_owned(),
        authentication: ClientAuthentication::PrivateKeyJwt {
            algorithm: SigningAlgorithm::Es384,
            keys: Arc::new(keys),
        },
        scopes: vec!["system/*.cruds".to_owned()],
    };
    let smart = SmartClient::new(&Limits::default(), real).unwrap();
    let token = BackendServices::new(smart, EhrServer::new(base.clone()), registration, RefreshPolicy::default());
    let client = FhirClient::new(
        base,
        Arc::new(token),
        Limits { max_tries: 1, ..Limits::default() },
        Arc::new(TokioPacer),
        Arc::new(SystemClock),
    )
    .unwrap();
    Ehr {
        tenant: TENANT,
        client,
        organization: None,
        scope: Scope::default(),
        roles: vec![],
        capabilities: CapabilityCache::default(),
    }
}

#[tokio::test]
async fn offers_are_free_slots_of_the_same_practitioner_on_different_days() {
    let bench = Bench::new().await;
    let (_, view) = bench.appointment("appointment-ana-lopez").await;
    let offers = bench.offers(&view, 3).await;
    assert_eq!(offers.len(), 3);
    let soonest: Timestamp = NOW.parse::<Timestamp>().unwrap() + SignedDuration::from_hours(2);
    for offer in &offers {
        let slot = bench.read(&offer.slot).await;
        assert_eq!(slot["status"], "free");
        assert_eq!(slot["schedule"]["reference"], "Schedule/schedule-john-smith");
        assert!(offer.start >= soonest && Some(offer.start) != view.start);
    }
    let days: std::collections::BTreeSet<_> =
        offers.iter().map(|offer| offer.start.to_string()[..10].to_owned()).collect();
    assert_eq!(days.len(), 3);
}

#[tokio::test]
async fn an_appointment_moves_and_its_old_slot_is_free_again() {
    let bench = Bench::new().await;
    let wanted = bench.anas_move().await;
    let (_, before) = bench.appointment("appointment-ana-lopez").await;
    let outcome = bench.scheduling.move_appointment(&bench.ehr, &wanted).await.unwrap();
    bench.assert_moved(&wanted, &outcome).await;
    assert_eq!(bench.read(&before.slots[0]).await["status"], "free");
    // Asked again, as after a crash, it is found done.
    assert_eq!(bench.scheduling.move_appointment(&bench.ehr, &wanted).await.unwrap(), outcome);
    assert_eq!(bench.rows("SELECT COUNT(*) AS n FROM ehr_write WHERE state <> 'written'").await, 0);
}

#[tokio::test]
async fn of_two_who_reach_for_one_slot_one_gets_it() {
    let bench = Bench::new().await;
    let first = bench.anas_move().await;
    let (appointment, view) = bench.appointment("appointment-priya-nair").await;
    let second = Move {
        holder: bench.instruments.new_id(),
        appointment,
        expected_start: view.start.unwrap(),
        slot: first.slot.clone(),
    };
    let (one, other) = tokio::join!(
        bench.scheduling.move_appointment(&bench.ehr, &first),
        bench.scheduling.move_appointment(&bench.ehr, &second)
    );
    let outcomes = [one.unwrap(), other.unwrap()];
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == MoveOutcome::SlotTaken).count(), 1, "{outcomes:?}");
    let (winner, loser) = if outcomes[0] == MoveOutcome::SlotTaken { (&second, &first) } else { (&first, &second) };
    let won = outcomes.iter().find(|outcome| **outcome != MoveOutcome::SlotTaken).unwrap();
    bench.assert_moved(winner, won).await;
    let (_, kept) = bench.appointment(loser.appointment.id()).await;
    assert_eq!(kept.start, Some(loser.expected_start));
    assert!(!bench.offers(&kept, 50).await.iter().any(|offer| offer.slot == first.slot));
}

#[tokio::test]
async fn a_slot_that_staff_has_taken_is_taken() {
    let bench = Bench::new().await;
    let wanted = bench.anas_move().await;
    bench.staff_patch(&wanted.slot, json!([{ "op": "replace", "path": "/status", "value": "busy-tentative" }])).await;
    let outcome = bench.scheduling.move_appointment(&bench.ehr, &wanted).await.unwrap();
    assert_eq!(outcome, MoveOutcome::SlotTaken);
    assert_eq!(bench.read(&wanted.slot).await["status"], "busy-tentative", "it is not ours to give back");
    let (_, view) = bench.appointment("appointment-ana-lopez").await;
    assert_eq!(view.start, Some(wanted.expected_start));
}

#[tokio::test]
async fn an_appointment_that_staff_has_cancelled_is_not_moved() {
    let bench = Bench::new().await;
    let wanted = bench.anas_move().await;
    let cancel = json!([{ "op": "replace", "path": "/status", "value": "cancelled" }]);
    bench.staff_patch(&wanted.appointment, cancel).await;
    let outcome = bench.scheduling.move_appointment(&bench.ehr, &wanted).await.unwrap();
    assert_eq!(outcome, MoveOutcome::AppointmentChanged);
    assert_eq!(bench.read(&wanted.slot).await["status"], "free");
}

#[tokio::test]
async fn whatever_answer_is_lost_the_move_ends_once() {
    for (method, path) in [("PATCH", "Slot"), ("PATCH", "Appointment"), ("GET", "Slot"), ("GET", "Appointment")] {
        for fault in [Fault::LoseAnswer, Fault::ErrorAfter, Fault::ErrorBefore, Fault::Unavailable] {
            let bench = Bench::new().await;
            let wanted = bench.anas_move().await;
            bench.fault(fault, method, path);
            let mut outcome = bench.scheduling.move_appointment(&bench.ehr, &wanted).await;
            if matches!(outcome, Err(EhrError::Unknown | EhrError::Unavailable { .. })) {
                outcome = bench.scheduling.move_appointment(&bench.ehr, &wanted).await;
            }
            bench
                .assert_moved(&wanted, &outcome.unwrap_or_else(|error| panic!("{method} {path} {fault:?}: {error}")))
                .await;
            assert_eq!(
                bench.rows("SELECT COUNT(*) AS n FROM ehr_write WHERE state IN ('pending', 'unknown')").await,
                0
            );
        }
    }
}

#[tokio::test]
async fn a_hold_that_nobody_came_back_for_runs_out() {
    let bench = Bench::new().await;
    let wanted = bench.anas_move().await;
    // The EHR goes away for good between the hold and the move.
    bench.sandbox.misbehaviour().add(FaultRule::on(Fault::Unavailable, "PATCH", "/fhir/Appointment"));
    assert!(bench.scheduling.move_appointment(&bench.ehr, &wanted).await.is_err());
    bench.sandbox.misbehaviour().clear();
    let other = Move { holder: bench.instruments.new_id(), ..wanted.clone() };
    assert_eq!(bench.scheduling.move_appointment(&bench.ehr, &other).await.unwrap(), MoveOutcome::SlotTaken);
    let worker = bench.worker();
    bench.clock.advance(SignedDuration::from_mins(6));
    worker.run_due().await.unwrap();
    assert_eq!(bench.read(&wanted.slot).await["status"], "free");
    let outcome = bench.scheduling.move_appointment(&bench.ehr, &other).await.unwrap();
    bench.assert_moved(&other, &outcome).await;
}

#[tokio::test]
async fn a_move_that_happened_although_nobody_came_back_leaves_its_old_slot_free() {
    let bench = Bench::new().await;
    let wanted = bench.anas_move().await;
    let (_, before) = bench.appointment("appointment-ana-lopez").await;
    // The EHR books and goes away at once.
    bench.fault(Fault::LoseAnswer, "PATCH", "Appointment");
    let away = FaultRule { skip: 2, ..FaultRule::on(Fault::Unavailable, "GET", "/fhir/Appointment") };
    bench.sandbox.misbehaviour().add(away);
    assert!(bench.scheduling.move_appointment(&bench.ehr, &wanted).await.is_err());
    bench.sandbox.misbehaviour().clear();
    let worker = bench.worker();
    worker.run_due().await.unwrap();
    assert_eq!(bench.rows("SELECT COUNT(*) AS n FROM slot_hold").await, 1, "it has not run out");
    bench.clock.advance(SignedDuration::from_mins(6));
    worker.run_due().await.unwrap();
    assert_eq!(bench.rows("SELECT COUNT(*) AS n FROM slot_hold").await, 0);
    assert_eq!(bench.read(&before.slots[0]).await["status"], "free");
    let outcome = bench.scheduling.move_appointment(&bench.ehr, &wanted).await.unwrap();
    bench.assert_moved(&wanted, &outcome).await;
}

#[tokio::test]
async fn a_visit_is_confirmed_once_and_cancelled_with_its_slot() {
    let bench = Bench::new().await;
    let (appointment, view) = bench.appointment("appointment-ana-lopez").await;
    let visit = VisitChange { holder: bench.instruments.new_id(), appointment, expected_start: view.start.unwrap() };
    let confirmed = bench.scheduling.confirm_appointment(&bench.ehr, &visit).await.unwrap();
    let patient = bench.read(&visit.appointment).await["participant"][0].clone();
    assert_eq!(patient["actor"]["reference"], format!("Patient/{}", persona::ANA_LOPEZ));
    assert_eq!(patient["status"], "accepted");
    assert_eq!(bench.scheduling.confirm_appointment(&bench.ehr, &visit).await.unwrap(), confirmed);

    let late = VisitChange { expected_start: visit.expected_start + SignedDuration::from_mins(30), ..visit.clone() };
    assert_eq!(bench.scheduling.cancel_appointment(&bench.ehr, &late).await.unwrap(), ChangeOutcome::Changed);
    bench.fault(Fault::LoseAnswer, "PATCH", "Appointment");
    let cancelled = bench.scheduling.cancel_appointment(&bench.ehr, &visit).await.unwrap();
    assert!(matches!(cancelled, ChangeOutcome::Done { .. }));
    let appointment = bench.read(&visit.appointment).await;
    assert_eq!(appointment["status"], "cancelled");
    assert_eq!(appointment["cancelationReason"]["coding"][0]["code"], "pat-crs");
    assert_eq!(bench.read(&view.slots[0]).await["status"], "free");
    assert_eq!(bench.scheduling.confirm_appointment(&bench.ehr, &visit).await.unwrap(), ChangeOutcome::Changed);
}

#[tokio::test]
async fn due_refills_are_found_and_asked_for_once() {
    let bench = Bench::new().await;
    let found = due_refills(&bench.ehr, "2026-11-23".parse().unwrap(), None).await.unwrap();
    let patients: Vec<&str> = found.due.iter().map(|due| due.patient.id()).collect();
    assert_eq!(patients.len(), 3, "{patients:?}");
    assert!(patients.contains(&persona::JAMES_CARTER) && patients.contains(&persona::LINDA_OKAFOR));
    let due = found.due.iter().find(|due| due.patient.id() == persona::JAMES_CARTER).unwrap();
    assert_eq!(due.due_on.to_string(), "2026-11-26");

    let refills = Refills::new(bench.instruments.clone(), bench.ledger.clone());
    let request = format!("urn:uuid:{}", bench.instruments.new_id::<SlotHolder>());
    bench.fault(Fault::LoseAnswer, "POST", "Task");
    let lost = refills.request(&bench.ehr, &request, &due.medication_request).await;
    assert!(matches!(lost, Err(EhrError::Unknown)), "{lost:?}");
    for _ in 0..2 {
        let outcome = refills.request(&bench.ehr, &request, &due.medication_request).await.unwrap();
        let RefillOutcome::Requested(task) = outcome else { panic!("{outcome:?}") };
        let task: ResourceRef = task.reference.parse().unwrap();
        assert_eq!(bench.read(&task).await["owner"]["reference"], format!("Practitioner/{}", persona::DR_SMITH));
        assert_eq!(task_status(&bench.ehr, &task).await.unwrap(), crate::fhir::views::TaskStatus::Requested);
    }
    let params = crate::fhir::SearchParams::new().with("patient", format!("Patient/{}", persona::JAMES_CARTER));
    let tasks = bench.ehr.client.search("Task", params, crate::fhir::SearchMethod::Get).unwrap().all().await.unwrap();
    assert_eq!(tasks.matches.len(), 1);
}

#[tokio::test]
async fn a_role_at_another_practice_of_the_same_ehr_gives_none_here() {
    let mut bench = Bench::new().await;
    let nurse = ResourceRef::new("Practitioner", persona::NURSE_REED).unwrap();
    let now = bench.instruments.now();
    let rule = RoleRule {
        system: "http://terminology.hl7.org/CodeSystem/practitioner-role".to_owned(),
        code: "nurse".to_owned(),
        roles: [crate::access::Role::Nurse].into_iter().collect(),
    };
    for (place, expected) in [("Location/location-main", 1), ("Location/location-annex", 0)] {
        let ehr = Arc::get_mut(&mut bench.ehr).unwrap();
        ehr.roles = vec![rule.clone()];
        ehr.scope = Scope::new(None, vec![place.parse().unwrap()], true);
        let (_, roles) = mirrored_roles(&bench.ehr, &nurse, now).await.unwrap();
        assert_eq!(roles.iter().count(), expected, "{place}");
    }
}

#[tokio::test]
async fn an_organizations_places_are_those_that_the_ehr_says_it_manages() {
    let mut bench = Bench::new().await;
    let now = bench.instruments.now();
    let organization = format!("Organization/{}", crate::sandbox::clinic::ORGANIZATION);
    for (organization, expected) in [(organization.as_str(), true), ("Organization/another", false)] {
        Arc::get_mut(&mut bench.ehr).unwrap().scope = Scope::new(organization.parse().ok(), vec![], true);
        let (_, view) = bench.appointment("appointment-ana-lopez").await;
        assert_eq!(bench.ehr.takes_visit(&view, now).await.unwrap(), expected);
        let narrowed = bench.ehr.appointments_of_scope(now).await;
        assert_eq!(narrowed.is_ok(), expected, "no place is not every place");
    }
}
