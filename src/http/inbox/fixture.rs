//! A small clinic for tests of the pages: fixed texts, a guard that knows one word, and a note of what was asked.

use super::source::*;
use crate::{
    access::*,
    config::RateSettings,
    db::{Command, Db, DbError, Topic, Tx},
    http::{Limits, Rates, Section, inbox, router},
    kernel::{Id, Instruments, Language, ManualClock, Patient, Phi, SeededEntropy, Tenant},
    routing::InForce,
    vault::{Kek, LocalKeks, Vault, memory_store::MemoryStore},
};
use futures_util::future::{FutureExt as _, ready};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

mod consent;
pub(super) mod worklist;

pub(super) const TENANT: Id<Tenant> = Id::from_bytes([1; 16]);
pub(super) const ANA: Id<Patient> = Id::from_bytes([7; 16]);
const COUNT: NonZeroU32 = NonZeroU32::new(60).unwrap();
/// Twelve replies in a minute, sixty requests of a session.
const RATES: RateSettings = RateSettings {
    refusals: COUNT,
    launches: COUNT,
    session_requests: COUNT,
    replies: NonZeroU32::new(12).unwrap(),
    practice_replies: COUNT,
};
const NOW: &str = "2026-03-03T19:10:00Z";

pub(super) fn phi(text: &str) -> Phi<String> {
    Phi::new(text.to_owned())
}

fn at(minutes_ago: i64) -> Timestamp {
    NOW.parse::<Timestamp>().unwrap() - SignedDuration::from_mins(minutes_ago)
}

fn text(number: u8, minutes_ago: i64, author: TextAuthor, body: &str) -> TextView {
    let is_inbound = matches!(author, TextAuthor::Patient);
    TextView {
        id: Id::from_bytes([number; 16]),
        author,
        at: at(minutes_ago),
        body: Body::Text(phi(body)),
        media: 0,
        delivery: (!is_inbound).then(|| Delivery {
            state: DeliveryState::Delivered,
            words: "The phone had it two seconds later.".to_owned(),
        }),
        filing: Filing { state: FilingState::Filed, words: "Communication, filed 9:02 AM.".to_owned() },
        reading: None,
    }
}

/// A thread as a nurse meets it between two rooms.
pub(super) fn normal() -> ThreadView {
    let system = |what: &str| TextAuthor::System(what.to_owned());
    let mut worse = text(4, 4, TextAuthor::Patient, "pain is worse today, should I still come? <b>thanks</b>");
    worse.reading =
        Some(Reading {
            label: phi("clinical, question"), urgency: Urgency::Prompt, reason: phi("“pain”, “worse”")
        });
    worse.filing =
        Filing { state: FilingState::Waiting, words: "The EHR is slow; tried again in a minute.".to_owned() };
    let mut confirm = text(2, 1_445, TextAuthor::Patient, "C");
    confirm.reading =
        Some(Reading { label: phi("confirms"), urgency: Urgency::Routine, reason: phi("answer to the reminder") });
    ThreadView {
        clinic: "Lakeside Clinic".to_owned(),
        patient: PatientHeader {
            name: phi("Ana Lopez"),
            first_name: phi("Ana"),
            details: phi("F 41"),
            language: Language::Spanish,
            number_ends: Some("23".to_owned()),
        },
        next_visit: Some(Visit { at: at(-2_870), with: phi("Dr. Smith"), confirmed: true }),
        consent: ConsentLine { granted: vec!["appointments".to_owned(), "refills".to_owned()], stopped_since: None },
        shared_with: 1,
        texts: vec![
            text(
                1,
                1_448,
                system("reminder"),
                "Lakeside Clinic: Hi Ana, you have a visit Thu 2:00 PM with Dr. Smith. Reply C to confirm or R to reschedule. STOP to end texts.",
            ),
            confirm,
            text(
                3,
                1_444,
                system("confirmed"),
                "Lakeside Clinic: Thank you, you are confirmed for Thu 2:00 PM. Reply R if that changes.",
            ),
            worse,
        ],
        has_older: false,
        tasks: vec![TaskView {
            id: Id::from_bytes([9; 16]),
            team: Team::Nursing,
            reason: phi("Pain is worse"),
            urgency: Urgency::Prompt,
            since: at(4),
            about: Some(Id::from_bytes([4; 16])),
        }],
        waiting: Waiting::default(),
        restored_as_of: None,
        composer: Composer::Open { quiet_until: None, warnings: Vec::new() },
    }
}

/// The same, seen by somebody who reads visits only.
pub(super) fn redacted() -> ThreadView {
    let mut view = normal();
    for text in &mut view.texts {
        if text.reading.as_ref().is_some_and(|reading| reading.urgency == Urgency::Prompt) {
            text.body = Body::Redacted(Scope::Clinical);
            text.reading = None;
        }
    }
    view.tasks.clear();
    view
}

/// Nothing was ever sent.
pub(super) fn empty() -> ThreadView {
    ThreadView { texts: Vec::new(), tasks: Vec::new(), next_visit: None, shared_with: 0, ..normal() }
}

/// The number said STOP, and nobody knows of the last text.
pub(super) fn stopped() -> ThreadView {
    let mut view = normal();
    let mut unknown = text(5, 3, TextAuthor::Staff(phi("Rosa Diaz, RN")), "Please call us at 212-555-0100 today.");
    unknown.delivery =
        Some(Delivery { state: DeliveryState::Unknown, words: "The carrier did not answer.".to_owned() });
    view.texts.push(unknown);
    view.texts.push(text(6, 1, TextAuthor::Patient, "STOP"));
    view.consent = ConsentLine { granted: Vec::new(), stopped_since: Some(at(1)) };
    view.composer = Composer::Blocked(Blocked::Stopped);
    view
}

/// Shows one view; its guard knows the word `metformin`.
pub(super) struct Fake {
    pub(super) view: Mutex<ThreadView>,
    pub(super) consent: Mutex<ConsentView>,
    pub(super) worklist: Mutex<WorklistView>,
    pub(super) asked: Mutex<Vec<String>>,
    origin: String,
}

impl Fake {
    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    fn check_of(text: &str) -> DraftCheck {
        let found = text.find("metformin").map(|byte| text[..byte].chars().count());
        let neutral = found.map(|_| phi(&text.replace("metformin", "your medicine")));
        let finding = |start| DraftFinding {
            category: "medication_name",
            start,
            end: start + 9,
            advice: "A text may not name a medicine. Say “your medicine”.".to_owned(),
        };
        DraftCheck {
            segments: 1 + u32::try_from(text.chars().count() / 161).unwrap(),
            encoding: Encoding::Gsm7,
            findings: found.map(finding).into_iter().collect(),
            neutral,
            blocked: None,
            quiet_until: None,
        }
    }
}

impl InboxSource for Fake {
    fn embedding(&self, tenant: Option<Id<Tenant>>) -> Embedding {
        let own_origins = vec![self.origin.clone()];
        match tenant {
            Some(_) => Embedding { frame_ancestors: vec!["https://ehr.example".to_owned()], own_origins },
            None => Embedding { frame_ancestors: Vec::new(), own_origins },
        }
    }

    fn zone(&self, _tenant: Id<Tenant>) -> TimeZone {
        TimeZone::get("America/New_York").unwrap()
    }

    fn thread<'a>(&'a self, _viewer: &'a Viewer, patient: Id<Patient>) -> Answer<'a, ThreadView> {
        let known = patient == ANA;
        ready(if known { Ok(self.view.lock().unwrap().clone()) } else { Err(InboxError::NotFound) }).boxed()
    }

    fn check<'a>(
        &'a self,
        _viewer: &'a Viewer,
        _patient: Id<Patient>,
        text: &'a Phi<String>,
    ) -> Answer<'a, DraftCheck> {
        ready(Ok(Self::check_of(text.as_str()))).boxed()
    }

    fn reply<'a>(&'a self, viewer: &'a Viewer, _patient: Id<Patient>, reply: &'a NewReply) -> Answer<'a, ReplyOutcome> {
        let check = Self::check_of(reply.text.as_str());
        if !check.findings.is_empty() {
            return ready(Ok(ReplyOutcome::Refused(check))).boxed();
        }
        self.note(format!("reply {:?} now={}", reply.text.as_str(), reply.override_quiet_hours));
        let mut sent = text(8, 0, TextAuthor::Staff(viewer.session.name.clone()), reply.text.as_str());
        sent.delivery =
            Some(Delivery { state: DeliveryState::Sending, words: "On its way to the carrier.".to_owned() });
        self.view.lock().unwrap().texts.push(sent);
        ready(Ok(ReplyOutcome::Queued)).boxed()
    }

    fn settle<'a>(&'a self, _: &'a Viewer, _: Id<Patient>, text: Id<ThreadText>, verdict: Verdict) -> Answer<'a, ()> {
        self.note(format!("settle {text} {verdict:?}"));
        ready(Ok(())).boxed()
    }

    fn consent<'a>(&'a self, viewer: &'a Viewer, patient: Id<Patient>) -> Answer<'a, ConsentView> {
        let mut view = self.consent.lock().unwrap().clone();
        let right = consent_right(&viewer.session.roles);
        ready(match right {
            Some(right) if patient == ANA => {
                view.right = right.min(view.right);
                Ok(view)
            }
            Some(_) => Err(InboxError::NotFound),
            None => Err(InboxError::NotAllowed),
        })
        .boxed()
    }

    fn record_consent<'a>(&'a self, _: &'a Viewer, _: Id<Patient>, told: &'a ToldByPatient) -> Answer<'a, InForce> {
        let word = match &told.word {
            PatientsWord::Agrees { wording, proof } => format!("agrees to {wording} proof={:?}", proof.as_str()),
            PatientsWord::WantsNone => "wants none".to_owned(),
        };
        let categories: Vec<&str> = told.categories.iter().map(|category| category.code()).collect();
        self.note(format!("{} {word}: {} {}", told.number, categories.join(","), told.method.code()));
        let view = self.consent.lock().unwrap();
        let stopped = view.numbers.iter().any(|number| number.key == told.number && number.stopped.is_some());
        let agrees = matches!(told.word, PatientsWord::Agrees { .. });
        ready(Ok(if stopped && agrees { InForce::StaysStopped } else { InForce::Holds })).boxed()
    }

    fn close_task<'a>(&'a self, _: &'a Viewer, _: Id<Patient>, task: Id<ThreadTask>) -> Answer<'a, ()> {
        let mut view = self.view.lock().unwrap();
        let before = view.tasks.len();
        view.tasks.retain(|open| open.id != task);
        ready(if view.tasks.len() < before { Ok(()) } else { Err(InboxError::Changed) }).boxed()
    }
}

/// A service with one nurse signed in.
pub(super) struct Served {
    pub(super) address: String,
    pub(super) cookie: String,
    /// Where the pages of the last launch are.
    pub(super) at: String,
    pub(super) fake: Arc<Fake>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) db: Db,
    pub(super) parts: inbox::Parts,
    pub(super) client: reqwest::Client,
    member: StaffMember,
    _folder: tempfile::TempDir,
}

impl Served {
    pub(super) async fn showing(view: ThreadView) -> Self {
        let patient = view.patient.clone();
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", folder.path().join("a.db").display())).await.unwrap();
        let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
        let entropy = Arc::new(SeededEntropy::new(5));
        let mut keks = LocalKeks::new(entropy.clone());
        keks.insert(TENANT, vec![Kek::generate(&*entropy)]).unwrap();
        let instruments = Instruments::new(clock.clone(), entropy);
        let vault = Vault::new(Arc::new(MemoryStore::default()), Arc::new(keks), instruments.clone());
        let idle: IdleTimeouts = Arc::new(|_| IdleTimeout::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let fake = Arc::new(Fake {
            view: Mutex::new(view),
            consent: Mutex::new(consent::of(&patient)),
            worklist: Mutex::new(worklist::waiting()),
            asked: Mutex::default(),
            origin: address.clone(),
        });
        let parts = inbox::Parts {
            sessions: Sessions::new(db.clone(), vault.clone(), instruments.clone(), idle),
            drafts: Drafts::new(db.clone(), vault.clone(), instruments.clone()),
            db: db.clone(),
            source: fake.clone(),
            rates: Arc::new(Rates::new(RATES, &instruments.clock)),
            instruments: instruments.clone(),
            stop: CancellationToken::new(),
        };
        let rosa = NewStaffMember {
            tenant: TENANT,
            issuer: "https://ehr.example".to_owned(),
            fhir_user: "https://ehr.example/Practitioner/1".to_owned(),
            name: phi("Rosa Diaz, RN"),
            roles: Roles::from([Role::Nurse]),
        };
        let member = StaffDirectory::new(db.clone(), vault, instruments.clone()).refresh(rosa).await.unwrap();
        let app = router(
            vec![Section::pages(inbox::routes(parts.clone()))],
            Limits::of(1 << 16, Duration::from_secs(20), 64),
            &instruments,
        );
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut served = Self {
            address,
            cookie: String::new(),
            at: String::new(),
            fake,
            clock,
            db,
            parts,
            client,
            member,
            _folder: folder,
        };
        (served.cookie, served.at) = served.launch(Some(ANA)).await;
        served
    }

    /// Signs the nurse in; gives the cookie and the address of the inbox.
    pub(super) async fn launch(&self, patient: Option<Id<Patient>>) -> (String, String) {
        let new = NewSession {
            member: self.member.clone(),
            patient,
            authentication: "amr:mfa".to_owned(),
            grant: None,
            previous: None,
            request: None,
        };
        let started = self.parts.sessions.start(new).await.ok().unwrap();
        let line = crate::http::cookie::begin_session(&started.token).unwrap();
        (line.to_str().unwrap().split(';').next().unwrap().to_owned(), inbox::address(started.id))
    }

    /// The whole address of a path: `/inbox` is that of this launch, where it does not name one.
    pub(super) fn url(&self, path: &str) -> String {
        let own =
            path.strip_prefix("/inbox").filter(|rest| !rest.starts_with("/static") && !path.starts_with(&self.at));
        format!("{}{}", self.address, own.map_or_else(|| path.to_owned(), |rest| format!("{}{rest}", self.at)))
    }

    pub(super) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(self.url(path)).header("cookie", &self.cookie)
    }

    /// A form of our own page, as a browser sends it.
    pub(super) fn form(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let url = self.url(path);
        let form = self.client.post(url).header("cookie", &self.cookie).header("sec-fetch-site", "same-origin");
        form.header("origin", "null").form(fields)
    }

    pub(super) async fn page(&self) -> String {
        self.get("/inbox").send().await.unwrap().text().await.unwrap()
    }

    /// The form token of the page.
    pub(super) async fn form_token(&self) -> String {
        let page = self.page().await;
        page.split("data-form=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }

    /// Tells listeners that Ana's thread has changed.
    pub(super) async fn change(&self) {
        self.publish(Topic::Thread, format!("{TENANT}/{ANA}")).await;
    }

    /// Tells listeners of a change.
    pub(super) async fn publish(&self, topic: Topic, key: String) {
        struct Changed(Topic, String);
        impl Command for Changed {
            type Output = ();
            type Error = DbError;
            async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
                tx.publish(self.0, self.1.clone());
                Ok(())
            }
        }
        self.db.execute(Changed(topic, key)).await.unwrap();
    }
}
