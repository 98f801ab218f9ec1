//! An EHR and a carrier that do as they are told.

use super::super::*;
use crate::{
    kernel::PhoneNumber,
    messaging::{
        self,
        carrier_port::{
            Carrier, CarrierError, CarrierOutbound, ClearedText, DeliveryStatus, FailureClass, ReceivedTexts, Refusal,
            SendOutcome, SentTexts,
        },
    },
};
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
    time::Duration,
};
use tokio::sync::oneshot;

/// An EHR that holds appointments and free slots.
#[derive(Default)]
pub(super) struct FakeEhr {
    pub(super) appointments: Mutex<HashMap<String, AppointmentState>>,
    pub(super) confirmed: Mutex<Vec<String>>,
    pub(super) slots: Mutex<Vec<FreeSlot>>,
    /// What the next moves end in, before the EHR does as it should.
    pub(super) moves: Mutex<VecDeque<MoveOutcome>>,
    /// How often a move is still to be found beside another visit.
    contested: Mutex<usize>,
    pub(super) away: Mutex<bool>,
    /// The appointments that were read again.
    pub(super) refreshed: Mutex<Vec<String>>,
    pub(super) requests: Mutex<Vec<String>>,
    /// The next request for a refill says that it has come, and then waits.
    pub(super) waiting_request: Mutex<Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>>,
    /// Whether reading an appointment or asking for a refill panics.
    pub(super) panics: Mutex<bool>,
    pub(super) refill: Mutex<Option<RefillStatus>>,
}

impl FakeEhr {
    fn reachable<T>(&self, value: T) -> Result<T, EhrTrouble> {
        if *self.away.lock().unwrap() { Err(EhrTrouble::Unavailable { retry_after: None }) } else { Ok(value) }
    }

    /// The next move is made, and then so many looks find another visit at its time, that of the answer among them.
    pub(super) fn contested_times(&self, looks: usize) {
        *self.contested.lock().unwrap() = looks;
    }

    fn is_contested(&self) -> bool {
        let mut contested = self.contested.lock().unwrap();
        let is = *contested > 0;
        *contested = contested.saturating_sub(1);
        is
    }

    pub(super) fn start_of(&self, appointment: &str) -> Timestamp {
        self.appointments.lock().unwrap()[appointment].start
    }
}

impl Scheduling for FakeEhr {
    fn current<'a>(
        &'a self,
        _: Id<Tenant>,
        appointment: &'a str,
    ) -> BoxFuture<'a, Result<Option<AppointmentState>, EhrTrouble>> {
        assert!(!*self.panics.lock().unwrap(), "as a test wants it");
        let found = self.appointments.lock().unwrap().get(appointment).cloned();
        ready(self.reachable(found)).boxed()
    }

    fn refresh<'a>(&'a self, _: Id<Tenant>, appointment: &'a str) -> BoxFuture<'a, Result<(), EhrTrouble>> {
        self.refreshed.lock().unwrap().push(appointment.to_owned());
        ready(self.reachable(())).boxed()
    }

    fn refresh_patient(&self, _: Id<Tenant>, _: Id<Patient>) -> BoxFuture<'_, Result<(), EhrTrouble>> {
        ready(self.reachable(())).boxed()
    }

    fn free_slots<'a>(&'a self, wish: SlotWish<'a>) -> BoxFuture<'a, Result<Vec<FreeSlot>, EhrTrouble>> {
        let slots = self.slots.lock().unwrap();
        let free = slots.iter().filter(|slot| slot.start > wish.after && !wish.except.contains(&slot.slot));
        ready(self.reachable(free.take(wish.count).cloned().collect())).boxed()
    }

    fn move_appointment<'a>(&'a self, wanted: Move<'a>) -> BoxFuture<'a, MoveOutcome> {
        if let Some(told) = self.moves.lock().unwrap().pop_front() {
            return ready(told).boxed();
        }
        if self.start_of(wanted.appointment) == wanted.to.start {
            if self.is_contested() {
                return ready(MoveOutcome::Contested).boxed();
            }
            let (start, end) = (wanted.to.start, wanted.to.start.checked_add(SignedDuration::from_mins(30)).unwrap());
            return ready(MoveOutcome::Moved { start, end, version: Some("own".into()) }).boxed();
        }
        let mut slots = self.slots.lock().unwrap();
        let Some(index) = slots.iter().position(|slot| slot.slot == wanted.to.slot) else {
            return ready(MoveOutcome::SlotTaken).boxed();
        };
        let slot = slots.remove(index);
        let mut appointments = self.appointments.lock().unwrap();
        let appointment = appointments.get_mut(wanted.appointment).unwrap();
        assert_eq!(appointment.start, wanted.from);
        appointment.start = slot.start;
        appointment.end = slot.start.checked_add(SignedDuration::from_mins(30)).unwrap();
        if self.is_contested() {
            return ready(MoveOutcome::Contested).boxed();
        }
        let moved = MoveOutcome::Moved { start: slot.start, end: appointment.end, version: Some("own".into()) };
        ready(moved).boxed()
    }

    fn cancel_appointment<'a>(&'a self, change: VisitChange<'a>) -> BoxFuture<'a, ChangeOutcome> {
        let mut appointments = self.appointments.lock().unwrap();
        appointments.get_mut(change.appointment).unwrap().status = "cancelled".into();
        ready(ChangeOutcome::Done { version: Some("own".into()) }).boxed()
    }

    fn confirm_appointment<'a>(&'a self, change: VisitChange<'a>) -> BoxFuture<'a, ChangeOutcome> {
        self.confirmed.lock().unwrap().push(change.appointment.to_owned());
        ready(ChangeOutcome::Done { version: Some("own".into()) }).boxed()
    }
}

impl messaging::Upstream for FakeEhr {
    fn refresh<'a>(&'a self, _: Id<Tenant>, _: Id<Patient>, _: Option<&'a str>) -> BoxFuture<'a, Result<(), JobError>> {
        ready(self.reachable(()).map_err(JobError::from)).boxed()
    }
}

impl Refills for FakeEhr {
    fn request_refill<'a>(&'a self, wish: RefillWish<'a>) -> BoxFuture<'a, RequestOutcome> {
        assert!(!*self.panics.lock().unwrap(), "as a test wants it");
        self.requests.lock().unwrap().push(format!("{}@{}", wish.medication_request, wish.due_on));
        let waiting = self.waiting_request.lock().unwrap().take();
        async {
            if let Some((reached, open)) = waiting {
                reached.send(()).unwrap();
                open.await.unwrap();
            }
            RequestOutcome::Requested { task: "Task/7".into() }
        }
        .boxed()
    }

    fn refill_status<'a>(
        &'a self,
        _: Id<Tenant>,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<RefillStatus>, EhrTrouble>> {
        ready(self.reachable(*self.refill.lock().unwrap())).boxed()
    }
}

/// A carrier that takes everything and remembers it.
#[derive(Default)]
pub(super) struct FakeCarrier {
    pub(super) sent: Mutex<Vec<(String, String)>>,
    /// Whether it turns texts away, because no phone has the number.
    pub(super) refuses: Mutex<bool>,
}

impl Carrier for FakeCarrier {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn longest_validity(&self) -> Duration {
        Duration::from_hours(10)
    }

    fn answers_within(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn listed_within(&self) -> Duration {
        Duration::from_secs(450)
    }

    fn send(&self, text: ClearedText) -> BoxFuture<'_, SendOutcome> {
        let text = text.into_outgoing();
        if *self.refuses.lock().unwrap() {
            let refusal = Refusal { code: "30008".into(), class: FailureClass::Unknown, retry_after: None };
            return ready(SendOutcome::Refused(refusal)).boxed();
        }
        let mut sent = self.sent.lock().unwrap();
        sent.push((text.to.as_e164().to_owned(), text.body.expose().clone()));
        let carrier_id = format!("SM{}", sent.len());
        ready(SendOutcome::Accepted { carrier_id, status: DeliveryStatus::Sent, segments: None }).boxed()
    }

    fn received_since<'a>(
        &'a self,
        _: &'a PhoneNumber,
        _: Timestamp,
    ) -> BoxFuture<'a, Result<ReceivedTexts, CarrierError>> {
        ready(Ok(ReceivedTexts::default())).boxed()
    }

    fn sent_since<'a>(&'a self, _: &'a PhoneNumber, _: Timestamp) -> BoxFuture<'a, Result<SentTexts, CarrierError>> {
        ready(Ok(SentTexts::default())).boxed()
    }

    fn sent_to<'a>(
        &'a self,
        _: &'a PhoneNumber,
        _: &'a PhoneNumber,
        _: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<CarrierOutbound>, CarrierError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn status_of<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<CarrierOutbound, CarrierError>> {
        ready(Err(CarrierError::NoSuchText)).boxed()
    }
}
