//! Workflows beside real messaging, routing, vault and queue.

use super::{
    super::*,
    peers::{FakeCarrier, FakeEhr},
};
use crate::{
    consent::{self, Category, Decision, NewEntry, Source},
    db::{DbError, DbKeyStore, Tx, sql},
    jobs::{LeasedJob, NewJob, Worker, WorkerLimits, enqueue},
    kernel::{Language, ManualClock, Phi, PhoneNumber, SystemEntropy},
    messaging::{
        self, Inbox, Sender, Settler,
        carrier_port::{Carrier, CarrierAddress, CarrierInbound},
    },
    patient::{EhrPatient, NumberKind, PersonName, Telecom},
    practice::{ClinicNumber, KeywordAnswerer, OptOutNotice, QuietHours, ReminderRule},
    routing::{self, ReplyReader},
    template::Catalogue,
    vault::{Kek, LocalKeks, Place, RetentionClass, Sealed},
};
use futures_util::future::{BoxFuture, FutureExt as _};
use jiff::{SignedDuration, Timestamp, civil::time, tz::TimeZone};
use std::{collections::HashMap, sync::Mutex, time::Duration};

pub(super) const TENANT: Id<Tenant> = Id::from_bytes([1; 16]);
const CLINIC: &str = "+12125550199";
pub(super) const ANA: &str = "+12125550101";
pub(super) const LUIS: &str = "+12125550102";

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) struct Bench {
    pub(super) db: Db,
    pub(super) clock: Arc<ManualClock>,
    pub(super) instruments: Instruments,
    pub(super) ehr: Arc<FakeEhr>,
    practice: Arc<Practice>,
    directory: Directory,
    vault: Vault,
    inbox: Inbox,
    pub(super) carrier: Arc<FakeCarrier>,
    pub(super) worker: Worker,
    /// Reads texts and acts on none.
    pub(super) reading: Worker,
    texts_in: Mutex<u32>,
    _folder: tempfile::TempDir,
}

fn practice() -> Practice {
    let rule = |days_before| ReminderRule { days_before, at: time(10, 0, 0, 0) };
    Practice {
        tenant: TENANT,
        slug: "cedar".into(),
        clinic_name: "Cedar Clinic".into(),
        phone: PhoneNumber::parse("+12125550190").unwrap(),
        zone: TimeZone::get("America/New_York").unwrap(),
        default_language: Language::English,
        quiet_hours: QuietHours { opens: time(8, 0, 0, 0), closes: time(21, 0, 0, 0) },
        reminders: vec![rule(3), rule(1)],
        numbers: vec![ClinicNumber {
            number: PhoneNumber::parse(CLINIC).unwrap(),
            keywords: KeywordAnswerer::Chartwire,
        }],
        unverified_numbers_allowed: true,
        first_name_in_texts: true,
        confirm_stop: true,
        opt_out_notice: OptOutNotice::EveryText,
        caps: None,
        poll_every: Duration::from_mins(1),
        public_url: "https://texts.example.org/".parse().unwrap(),
    }
}

impl Bench {
    pub(super) async fn new(now: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", folder.path().join("flows.db").display())).await.unwrap();
        let clock = Arc::new(ManualClock::at(at(now)));
        let instruments = Instruments::new(clock.clone(), Arc::new(SystemEntropy));
        let mut keks = LocalKeks::new(Arc::new(SystemEntropy));
        keks.insert(TENANT, vec![Kek::generate(&SystemEntropy)]).unwrap();
        let vault = Vault::new(Arc::new(DbKeyStore::new(db.clone())), Arc::new(keks), instruments.clone());
        let practices = Arc::new(Practices::new(vec![practice()]));
        let directory = Directory::new(db.clone(), vault.clone(), instruments.clone());
        let ehr = Arc::new(FakeEhr::default());
        let carrier = Arc::new(FakeCarrier::default());
        let flows = Workflows::new(
            db.clone(),
            vault.clone(),
            instruments.clone(),
            Arc::clone(&practices),
            directory.clone(),
            ehr.clone(),
            ehr.clone(),
        );
        let carriers: HashMap<Id<Tenant>, Arc<dyn Carrier>> = HashMap::from([(TENANT, carrier.clone() as _)]);
        let settler = Settler::new(db.clone(), vault.clone(), instruments.clone(), Arc::new(carriers));
        let sender = Sender::new(
            settler,
            Arc::clone(&practices),
            Arc::new(Catalogue::house().unwrap()),
            Arc::new(AppointmentRelevance),
            ehr.clone(),
            directory.clone(),
        );
        let reader =
            ReplyReader::new(db.clone(), vault.clone(), instruments.clone(), Arc::clone(&practices), directory.clone());
        let read = move |job| {
            let reader = reader.clone();
            async move { reader.read(job).await }
        };
        let reading = Worker::new(db.clone(), instruments.clone(), WorkerLimits::default());
        let reading = reading.bind(messaging::TEXT_RECEIVED, read.clone());
        let worker = bind(Worker::new(db.clone(), instruments.clone(), WorkerLimits::default()), &flows)
            .bind(messaging::SEND_TEXT, move |job| {
                let sender = sender.clone();
                async move { sender.send(job).await }
            })
            .bind(messaging::TEXT_RECEIVED, read)
            .bind(messaging::TEXT_CHANGED, move |job| {
                let flows = flows.clone();
                async move {
                    let messaging::TextChanged { message } = job.payload()?;
                    flows.text_changed(job.tenant, message).await
                }
            });
        let inbox = Inbox::new(db.clone(), vault.clone(), instruments.clone());
        Self {
            practice: practices.get(TENANT).unwrap(),
            db,
            clock,
            instruments,
            ehr,
            directory,
            vault,
            inbox,
            carrier,
            worker,
            reading,
            texts_in: Mutex::new(0),
            _folder: folder,
        }
    }

    pub(super) async fn settle(&self) {
        // What waits for another text of the same number looks again soon; the clock does not move by itself.
        for _ in 0..3 {
            while self.worker.run_due().await.unwrap() > 0 {}
            self.clock.advance(SignedDuration::from_secs(3));
        }
    }

    /// Moves the clock there and does what has fallen due.
    pub(super) async fn at(&self, instant: &str) {
        self.clock.set(at(instant));
        self.settle().await;
    }

    pub(super) fn on(&self, phone: &str) -> Vec<String> {
        let sent = self.carrier.sent.lock().unwrap();
        sent.iter().filter(|(to, _)| to == phone).map(|(_, body)| body.clone()).collect()
    }

    /// The last text on a phone, of so many.
    pub(super) fn last_of(&self, phone: &str, count: usize) -> String {
        let texts = self.on(phone);
        assert_eq!(texts.len(), count, "{texts:#?}");
        texts.last().unwrap().clone()
    }

    pub(super) async fn text(&self, from: &str, body: &str) {
        self.accept(from, body).await;
        self.settle().await;
    }

    /// A text has come, and nobody has read it.
    pub(super) async fn accept(&self, from: &str, body: &str) {
        let number = {
            let mut texts = self.texts_in.lock().unwrap();
            *texts += 1;
            *texts
        };
        let text = CarrierInbound {
            carrier_id: format!("IN{number}"),
            from: CarrierAddress::parse(from),
            to: PhoneNumber::parse(CLINIC).unwrap(),
            body: Phi::new(body.to_owned()),
            body_damaged: false,
            media: vec![],
            media_count: 0,
            received_at: None,
            opt_out_type: None,
        };
        self.inbox.accept(&self.practice, "fake", &text).await.unwrap();
    }

    pub(super) async fn patient(&self, fhir_id: &str, given: &str, phone: Option<&str>) -> Id<Patient> {
        let told = EhrPatient {
            fhir_id: fhir_id.to_owned(),
            version: None,
            name: Phi::new(PersonName { given: given.to_owned(), family: "Example".to_owned() }),
            birth_date: Phi::new(None),
            gender: Phi::new(None),
            language: Some(Language::English),
            deceased: false,
            zones: vec![],
            telecom: phone
                .map(|phone| Telecom { number: PhoneNumber::parse(phone).unwrap(), kind: NumberKind::Mobile, rank: 1 })
                .into_iter()
                .collect(),
            replaced_by: None,
            replaces: vec![],
        };
        let patient = self.directory.refresh(TENANT, &told).await.unwrap();
        for category in [Category::Appointment, Category::Refill] {
            let entry = NewEntry {
                id: self.instruments.new_id(),
                tenant: TENANT,
                patient: Some(patient),
                number_token: None,
                category,
                decision: Decision::Granted,
                source: Source::Desk,
                wording: "desk:1".to_owned(),
                recorded_by: "system".to_owned(),
                proof: None,
                origin: None,
                effective_at: self.instruments.now(),
                period: consent::Period::default(),
                recorded_at: self.instruments.now(),
            };
            self.db.execute(Agree(entry)).await.unwrap();
        }
        patient
    }

    /// What the feed does when it has read the appointment.
    pub(super) async fn in_the_ehr(&self, id: &str, patient: Id<Patient>, start: &str, status: &str, place: &str) {
        let (start, end) = (at(start), at(start).checked_add(SignedDuration::from_mins(30)).unwrap());
        let state = AppointmentState { status: status.into(), start, end, version: None };
        self.ehr.appointments.lock().unwrap().insert(id.to_owned(), state);
        let labels = serde_json::json!({ "provider": "Dr. Lee", "place": place }).to_string();
        let seal_place = Place::keyed("appointment", id, "labels");
        let labels = self.vault.seal(TENANT, RetentionClass::Directory, seal_place, labels.as_bytes()).await.unwrap();
        let changed = AppointmentChanged { appointment: id.to_owned() };
        let job = NewJob::new(&self.instruments, TENANT, "AppointmentChanged", &changed).unwrap();
        let take =
            TakeIn { id: id.to_owned(), patient, start, end, status: status.into(), place: place.into(), labels, job };
        self.db.execute(take).await.unwrap();
        self.settle().await;
    }

    pub(super) async fn visit(&self, id: &str, patient: Id<Patient>, start: &str) {
        self.in_the_ehr(id, patient, start, "booked", "Main St").await;
    }

    /// The feed has written that the appointment is at `start`; its announcement has not been handled.
    pub(super) async fn moves_unheard(&self, id: &str, start: &str) {
        self.db.execute(MoveUnheard(id.to_owned(), at(start))).await.unwrap();
    }

    pub(super) fn free(&self, starts: &[&str]) {
        let slot = |(number, start): (usize, &&str)| FreeSlot { slot: format!("Slot/{number}"), start: at(start) };
        *self.ehr.slots.lock().unwrap() = starts.iter().enumerate().map(slot).collect();
    }

    pub(super) async fn job(&self, kind: &'static str, payload: impl Serialize) {
        let job = NewJob::new(&self.instruments, TENANT, kind, &payload).unwrap();
        self.db.execute(Enqueue(job)).await.unwrap();
        self.settle().await;
    }

    /// Why people have to look, oldest first.
    pub(super) async fn tasks(&self) -> Vec<String> {
        let query = sql("SELECT reason FROM staff_task WHERE tenant = $1 AND state = 'open' ORDER BY id").bind(TENANT);
        self.db.all(query).await.unwrap().iter().map(|row| row.get("reason").unwrap()).collect()
    }

    /// The state of the only workflow of a kind, and the answer that is acted on for it.
    pub(super) async fn workflow(&self, kind: &str) -> (String, serde_json::Value) {
        let query = sql("SELECT state, data FROM workflow WHERE tenant = $1 AND kind = $2").bind(TENANT).bind(kind);
        let row = self.db.one(query).await.unwrap();
        let data: serde_json::Value = serde_json::from_str(&row.get::<String>("data").unwrap()).unwrap();
        (row.get("state").unwrap(), data["acting"].clone())
    }

    /// Each planned reminder of a visit as `start days state`.
    pub(super) async fn plans(&self, appointment: &str) -> Vec<String> {
        let query =
            sql("SELECT start_at, days_before, state FROM reminder_plan WHERE tenant = $1 AND appointment = $2 \
             ORDER BY start_at, days_before DESC");
        let rows = self.db.all(query.bind(TENANT).bind(appointment)).await.unwrap();
        let plan = |row: &crate::db::Row| {
            let (start, days): (Timestamp, u32) = (row.get("start_at").unwrap(), row.get("days_before").unwrap());
            format!("{start} {days} {}", row.get::<String>("state").unwrap())
        };
        rows.iter().map(plan).collect()
    }

    /// No job is dead.
    pub(super) async fn nothing_failed(&self) {
        let dead = crate::jobs::dead_letters(&self.db).await.unwrap();
        assert!(dead.is_empty(), "{:?}", dead.iter().map(|job| (&job.kind, &job.last_error)).collect::<Vec<_>>());
    }
}

fn bind(worker: Worker, flows: &Workflows) -> Worker {
    fn to<F, R>(
        flows: &Workflows,
        handle: F,
    ) -> impl Fn(LeasedJob) -> BoxFuture<'static, crate::jobs::Outcome> + use<F, R>
    where
        F: Fn(Workflows, LeasedJob) -> R + Send + Sync + 'static,
        R: Future<Output = crate::jobs::Outcome> + Send + 'static,
    {
        let flows = flows.clone();
        move |job| handle(flows.clone(), job).boxed()
    }
    worker
        .bind("AppointmentChanged", to(flows, |flows, job| async move { flows.appointment_changed(job).await }))
        .bind(REMINDER_DUE, to(flows, |flows, job| async move { flows.reminder_due(job).await }))
        .bind(routing::REPLY_READ, to(flows, |flows, job| async move { flows.reply_read(job).await }))
        .bind_last_resort(routing::REPLY_READ, {
            let give_up = to(flows, |flows, job| async move { flows.reply_given_up(job).await });
            move |job, _| give_up(job)
        })
        .bind(WORKFLOW_TIMEOUT, to(flows, |flows, job| async move { flows.timeout(job).await }))
        .bind("SlotStranded", to(flows, |flows, job| async move { flows.slot_stranded(job).await }))
        .bind("RefillDue", to(flows, |flows, job| async move { flows.refill_due(job).await }))
        .bind("RefillTaskChanged", to(flows, |flows, job| async move { flows.refill_task_changed(job).await }))
}

struct Agree(NewEntry);

impl Command for Agree {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        consent::record(tx, &self.0).await.map(|_| ())
    }
}

struct Enqueue(NewJob);

impl Command for Enqueue {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        enqueue(tx, &self.0).await
    }
}

struct MoveUnheard(String, Timestamp);

impl Command for MoveUnheard {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let query = sql("UPDATE appointment SET start_at = $3 WHERE tenant = $1 AND fhir_id = $2");
        tx.execute(query.bind(TENANT).bind(self.0.clone()).bind(self.1)).await.map(|_| ())
    }
}

struct TakeIn {
    id: String,
    patient: Id<Patient>,
    start: Timestamp,
    end: Timestamp,
    status: String,
    place: String,
    labels: Sealed,
    job: NewJob,
}

impl Command for TakeIn {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("INSERT INTO appointment (tenant, fhir_id, patient, status, start_at, end_at, location, slots, labels, seen_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, '[]', $8, $5) ON CONFLICT (tenant, fhir_id) DO UPDATE SET \
                 status = excluded.status, start_at = excluded.start_at, end_at = excluded.end_at, \
                 location = excluded.location, labels = excluded.labels")
            .bind(TENANT)
            .bind(self.id.clone())
            .bind(self.patient)
            .bind(self.status.clone())
            .bind(self.start)
            .bind(self.end)
            .bind(self.place.clone())
            .bind(self.labels.as_bytes()),
        )
        .await?;
        enqueue(tx, &self.job).await
    }
}
