//! Slots that the EHR does not let us hold, or does not take back.

use super::*;

impl Bench {
    /// The EHR's own staff book Dr. Smith's time at the slot for somebody else, without naming the slot.
    async fn staff_books_the_time_of(&self, slot: &ResourceRef) -> ResourceRef {
        let place = self.read(slot).await;
        let actor = |actor: String| json!({ "actor": { "reference": actor }, "status": "accepted" });
        let body = json!({
            "resourceType": "Appointment", "status": "booked", "start": place["start"], "end": place["end"],
            "participant": [
                actor(format!("Patient/{}", persona::JAMES_CARTER)), actor(format!("Practitioner/{}", persona::DR_SMITH)),
            ],
        });
        let url = format!("{}/Appointment", self.sandbox.fhir_base().as_str().trim_end_matches('/'));
        let request = reqwest::Client::new().post(url).bearer_auth(self.sandbox.staff_token());
        let request = request.header("content-type", "application/fhir+json").body(body.to_string());
        let created = request.send().await.unwrap();
        assert!(created.status().is_success(), "{}", created.text().await.unwrap());
        let created: Value = serde_json::from_str(&created.text().await.unwrap()).unwrap();
        ResourceRef::new("Appointment", created["id"].as_str().unwrap()).unwrap()
    }

    /// The EHR keeps its slots to itself.
    fn slots_are_read_only(&self) {
        self.sandbox.misbehaviour().add(FaultRule::on(Fault::Forbidden, "PATCH", "/fhir/Slot"));
    }
}

#[tokio::test]
async fn a_time_that_the_ehrs_own_staff_booked_is_taken_although_its_slot_says_free() {
    let bench = Bench::new().await;
    let wanted = bench.anas_move().await;
    bench.slots_are_read_only();
    let other = bench.staff_books_the_time_of(&wanted.slot).await;
    assert_eq!(bench.read(&wanted.slot).await["status"], "free");
    assert_eq!(bench.scheduling.move_appointment(&bench.ehr, &wanted).await.unwrap(), MoveOutcome::SlotTaken);
    let (_, view) = bench.appointment("appointment-ana-lopez").await;
    assert_eq!(view.start, Some(wanted.expected_start), "it has not been moved");
    // One that is off takes no time.
    bench.staff_patch(&other, json!([{ "op": "replace", "path": "/status", "value": "cancelled" }])).await;
    let outcome = bench.scheduling.move_appointment(&bench.ehr, &wanted).await.unwrap();
    bench.assert_moved(&wanted, &outcome).await;
}

#[tokio::test]
async fn a_time_that_is_booked_while_we_move_there_unheld_is_contested_until_a_person_has_decided() {
    let bench = Bench::new().await;
    let wanted = bench.anas_move().await;
    bench.slots_are_read_only();
    let held = bench.sandbox.misbehaviour().hold("PATCH", "/fhir/Appointment");
    let booked = async {
        let open = held.reached().await.unwrap();
        let other = bench.staff_books_the_time_of(&wanted.slot).await;
        open.send(()).unwrap();
        other
    };
    let (outcome, other) = tokio::join!(bench.scheduling.move_appointment(&bench.ehr, &wanted), booked);
    assert_eq!(outcome.unwrap(), MoveOutcome::Contested);
    assert_eq!(bench.scheduling.move_appointment(&bench.ehr, &wanted).await.unwrap(), MoveOutcome::Contested);
    // Where nobody can look, nobody says that it is ours alone.
    bench.staff_patch(&other, json!([{ "op": "replace", "path": "/status", "value": "cancelled" }])).await;
    let cannot_look =
        FaultRule { skip: 2, times: Some(1), ..FaultRule::on(Fault::Forbidden, "GET", "/fhir/Appointment") };
    bench.sandbox.misbehaviour().add(cannot_look);
    assert_eq!(bench.scheduling.move_appointment(&bench.ehr, &wanted).await.unwrap(), MoveOutcome::Contested);
    let outcome = bench.scheduling.move_appointment(&bench.ehr, &wanted).await.unwrap();
    bench.clock.advance(SignedDuration::from_mins(6));
    bench.worker().run_due().await.unwrap();
    bench.assert_moved(&wanted, &outcome).await;
}

/// A move that the EHR refuses after it has let us hold the slot, and refuses to free it `times` times.
async fn refused_and_kept(bench: &Bench, times: Option<u32>) -> Move {
    let wanted = bench.anas_move().await;
    bench.fault(Fault::Forbidden, "PATCH", "Appointment");
    let kept = FaultRule { skip: 1, times, ..FaultRule::on(Fault::Forbidden, "PATCH", "/fhir/Slot") };
    bench.sandbox.misbehaviour().add(kept);
    let outcome = bench.scheduling.move_appointment(&bench.ehr, &wanted).await;
    assert!(matches!(outcome, Err(EhrError::Refused { .. })), "{outcome:?}");
    assert_eq!(bench.read(&wanted.slot).await["status"], "busy-tentative");
    wanted
}

const STRANDED: &str = "SELECT COUNT(*) AS n FROM job WHERE kind = 'SlotStranded'";

#[tokio::test]
async fn a_held_slot_that_the_ehr_once_refused_to_free_is_freed_later() {
    let bench = Bench::new().await;
    let wanted = refused_and_kept(&bench, Some(2)).await;
    let worker = bench.worker();
    for _ in 0..3 {
        bench.clock.advance(SignedDuration::from_mins(6));
        worker.run_due().await.unwrap();
    }
    assert_eq!(bench.read(&wanted.slot).await["status"], "free");
    assert_eq!(bench.rows("SELECT COUNT(*) AS n FROM slot_hold").await, 0);
    assert_eq!(bench.rows(STRANDED).await, 0, "nobody has to see to it");
}

#[tokio::test]
async fn a_held_slot_that_the_ehr_never_frees_is_told_to_a_person_once() {
    let bench = Bench::new().await;
    let wanted = refused_and_kept(&bench, None).await;
    let worker = bench.worker();
    for _ in 0..60 {
        bench.clock.advance(SignedDuration::from_mins(11));
        worker.run_due().await.unwrap();
    }
    assert_eq!(bench.rows(STRANDED).await, 1);
    let told = bench.db.one(sql("SELECT payload FROM job WHERE kind = 'SlotStranded'")).await.unwrap();
    let told: Value = serde_json::from_str(&told.get::<String>("payload").unwrap()).unwrap();
    assert_eq!(told, json!({ "slot": wanted.slot.to_string(), "appointment": wanted.appointment.id() }));
    assert_eq!(bench.rows("SELECT COUNT(*) AS n FROM slot_hold").await, 0);
    assert_eq!(bench.rows("SELECT COUNT(*) AS n FROM job WHERE kind = 'ReleaseSlotHold'").await, 0);
}

#[tokio::test]
async fn a_hold_that_has_run_out_is_neither_offered_nor_taken_until_it_is_ended() {
    let bench = Bench::new().await;
    // Not the first slot: minutes later it is too soon to be offered.
    let first = bench.anas_move().await;
    let (_, view) = bench.appointment("appointment-ana-lopez").await;
    let wanted = Move { slot: bench.offers(&view, 3).await.remove(2).slot, ..first };
    // The hold never reaches the EHR.
    bench.sandbox.misbehaviour().add(FaultRule::on(Fault::Unavailable, "PATCH", "/fhir/Slot"));
    assert!(bench.scheduling.move_appointment(&bench.ehr, &wanted).await.is_err());
    bench.sandbox.misbehaviour().clear();
    bench.clock.advance(SignedDuration::from_mins(6));
    assert_eq!(bench.read(&wanted.slot).await["status"], "free");
    let other = Move { holder: bench.instruments.new_id(), ..wanted.clone() };
    let offered = async || bench.offers(&view, 50).await.iter().any(|offer| offer.slot == wanted.slot);
    assert!(!offered().await);
    assert_eq!(bench.scheduling.move_appointment(&bench.ehr, &other).await.unwrap(), MoveOutcome::SlotTaken);
    bench.worker().run_due().await.unwrap();
    assert!(offered().await);
    let outcome = bench.scheduling.move_appointment(&bench.ehr, &other).await.unwrap();
    bench.assert_moved(&other, &outcome).await;
}
