//! The service beside its peers, all over HTTP: an EHR, a carrier with phones, one practice.
//!
//! Time stands still unless a test moves it, and due jobs run when a test says so: nothing here waits for a clock.

mod agree;
mod elsewhere;

use self::{agree::Agree, elsewhere::Serving};
use crate::{database::TestDatabase, settings_file::SettingsFile};
use chartwire::{
    app::{App, Running},
    config::{Settings, Surroundings},
    consent::Category,
    kernel::{Id, Instruments, Language, ManualClock, Patient, Phi, PhoneNumber, SeededEntropy, SystemEntropy, Tenant},
    messaging::{Author, Class, Content, Message, NewText, Outbox, Queue},
    patient::{Directory, EhrPatient, NumberKind, PersonName, Telecom, zones_of_state},
    sandbox::{
        EhrOptions, RegisteredClient, RunningEhr,
        carrier::{CarrierNumber, CarrierOptions, Phone, PhoneKind, RunningCarrier},
        clinic,
    },
    smart::{RefreshPolicy, SigningAlgorithm, SigningKey, SigningKeys},
    template::{Params, TextKey},
    vault::Kek,
};
use jiff::{SignedDuration, Timestamp};
use std::{io, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

pub(crate) const SLUG: &str = "riverside";
pub(crate) const CLINIC: &str = "+12125550199";
pub(crate) const AUTH_TOKEN: &str = "a-token-that-only-tests-know-0123";
pub(crate) const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";

/// How the practice differs from a plain one.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) carrier_answers_keywords: bool,
    pub(crate) texts_before_verification: bool,
    /// Automated texts a day and a week.
    pub(crate) caps: Option<(u32, u32)>,
    pub(crate) now: &'static str,
    /// What else stands under `[tenants.policies]`.
    pub(crate) policies: &'static str,
    /// What else stands under `[tenants.ehr]`.
    pub(crate) ehr: &'static str,
    /// Another practice on the same EHR.
    pub(crate) neighbour: Option<Neighbour>,
}

/// A practice beside the one that most tests are about; nobody texts it.
#[derive(Clone, Copy)]
pub(crate) struct Neighbour {
    pub(crate) slug: &'static str,
    pub(crate) ehr: &'static str,
}

impl Default for Setting {
    /// A Monday noon at the clinic, where we answer keywords ourselves.
    fn default() -> Self {
        Self {
            carrier_answers_keywords: false,
            texts_before_verification: true,
            caps: None,
            now: "2026-11-23T17:00:00Z",
            policies: "",
            ehr: "",
            neighbour: None,
        }
    }
}

pub(crate) struct Service {
    pub(crate) app: App,
    pub(crate) carrier: RunningCarrier,
    pub(crate) ehr: RunningEhr,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) instruments: Instruments,
    pub(crate) base: String,
    pub(crate) tenant: Id<Tenant>,
    setting: Setting,
    settings: Settings,
    /// The settings as they are written, and the signing key.
    written: (String, String),
    serving: Serving,
    folder: tempfile::TempDir,
}

/// The phones in the room: patients, one of them on a landline, and a stranger.
pub(crate) const ANA: &str = "+12125550101";
pub(crate) const LUIS: &str = "+12125550102";
pub(crate) const STRANGER: &str = "+12125550177";
pub(crate) const JAMES: &str = "+12125550107";
pub(crate) const PRIYA: &str = "+12125550110";

/// Tokens go by the real clock, which no test waits for.
fn running(instruments: &Instruments) -> Running {
    let zero = SignedDuration::ZERO;
    let token_refresh = RefreshPolicy { least_interval: zero, failure_stands: zero, ..RefreshPolicy::default() };
    Running { token_refresh, ..Running::with(instruments.clone()) }
}

impl Service {
    pub(crate) async fn start(database: &TestDatabase, setting: Setting) -> Self {
        let clock = Arc::new(ManualClock::at(setting.now.parse().unwrap()));
        let instruments = Instruments::new(clock.clone(), Arc::new(SystemEntropy));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let carrier = start_carrier(&base, &instruments, setting, 0).await;
        let key = SigningKey::generate_pem(SigningAlgorithm::Es384).unwrap();
        let ehr = start_ehr(&base, &key, &instruments).await;
        let folder = tempfile::tempdir().unwrap();
        let text = settings(&base, carrier.api_base().as_str(), &ehr, setting);
        let secrets = Secrets { database: database.url().to_owned(), key: key.to_string() };
        let settings = Settings::parse(&text, folder.path(), &secrets).unwrap_or_else(|error| panic!("{error}"));
        let app = Box::pin(App::build(&settings, running(&instruments))).await.unwrap();
        let tenant = app.tenant(SLUG).unwrap();
        let serving = Serving::start(listener, &app);
        let written = (text, key.to_string());
        Self { app, carrier, ehr, clock, instruments, base, tenant, setting, settings, written, serving, folder }
    }

    /// Another node of the same installation, with connections of its own, in the runtime that asks for it.
    pub(crate) async fn another_node(&self) -> App {
        Box::pin(App::build(&self.settings, running(&self.instruments))).await.unwrap()
    }

    /// Puts another carrier in this one's place, on `port` or on a free one. Who knows only the old port is refused.
    pub(crate) async fn replace_carrier(&mut self, port: u16) {
        let other = start_carrier(&self.base, &self.instruments, self.setting, port).await;
        std::mem::replace(&mut self.carrier, other).shutdown().await;
    }

    /// A reminder of a visit in three days.
    pub(crate) fn reminder(&self, patient: Id<Patient>, phone: &str) -> NewText {
        let zone = jiff::tz::TimeZone::get("America/New_York").unwrap();
        let params = Params::new("Riverside Clinic", &zone)
            .first(None)
            .when(self.now() + SignedDuration::from_hours(72))
            .provider(None);
        NewText {
            tenant: self.tenant,
            patient: Some(patient),
            our_number: PhoneNumber::parse(CLINIC).unwrap(),
            number: PhoneNumber::parse(phone).unwrap(),
            class: Class::Automated,
            category: Category::Appointment,
            language: Language::English,
            content: Content::Template { key: TextKey::Reminder, params: Box::new(params) },
            author: Author::System,
            about: None,
            about_version: None,
            workflow: None,
            question: None,
            in_response_to: None,
            due_at: None,
            not_before: None,
            expires_at: None,
            quiet_overridden: false,
        }
    }

    /// Queues a text for the gate.
    pub(crate) async fn queue(&self, text: NewText) -> Id<Message> {
        let outbox = Outbox::new(self.app.vault().clone(), self.instruments.clone());
        let prepared = outbox.prepare(text).await.unwrap();
        let id = prepared.id;
        self.app.db().execute(Queue(vec![prepared])).await.unwrap();
        id
    }

    /// Runs due jobs and lets the carrier deliver and report, until nothing is left to do.
    pub(crate) async fn settle(&self) {
        loop {
            let ran = self.app.worker().run_due().await.unwrap();
            self.carrier.settled().await;
            if ran == 0 && self.app.worker().run_due().await.unwrap() == 0 {
                return;
            }
        }
    }

    pub(crate) fn advance(&self, span: SignedDuration) {
        self.clock.advance(span);
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.instruments.now()
    }

    /// What arrived on a phone, oldest first.
    pub(crate) fn on(&self, phone: &str) -> Vec<String> {
        self.carrier.sent_to(phone).into_iter().map(|text| text.body).collect()
    }

    pub(crate) async fn text(&self, from: &str, body: &str) {
        self.carrier.text_from(from, CLINIC, body).await.unwrap();
    }

    /// A patient whom the practice knows, who agreed to texts about visits and refills.
    pub(crate) async fn patient(&self, fhir_id: &str, given: &str, phone: &str) -> Id<Patient> {
        let patient = self.acquaintance(fhir_id, given, phone).await;
        for category in [Category::Appointment, Category::Refill, Category::Clinical] {
            let (tenant, id, at) = (self.tenant, self.instruments.new_id(), self.now());
            self.app.db().execute(Agree { tenant, id, patient, category, at }).await.unwrap();
        }
        patient
    }

    /// A patient whom the practice knows, whom nobody has asked about texts.
    pub(crate) async fn acquaintance(&self, fhir_id: &str, given: &str, phone: &str) -> Id<Patient> {
        self.directory().refresh(self.tenant, &told(fhir_id, given, phone)).await.unwrap()
    }

    /// The EHR tells an address in this state of a patient whom the practice knows.
    pub(crate) async fn lives_in(&self, fhir_id: &str, given: &str, phone: &str, state: &str) {
        let told = EhrPatient { zones: zones_of_state(state).to_vec(), ..told(fhir_id, given, phone) };
        self.directory().refresh(self.tenant, &told).await.unwrap();
    }

    pub(crate) fn directory(&self) -> Directory {
        Directory::new(self.app.db().clone(), self.app.vault().clone(), self.instruments.clone())
    }

    pub(crate) async fn stop(self) {
        self.serving.server.abort();
        self.carrier.shutdown().await;
        self.ehr.shutdown().await;
        self.app.close().await;
    }
}

/// A patient as the EHR tells of one, with an address that tells no zone.
fn told(fhir_id: &str, given: &str, phone: &str) -> EhrPatient {
    EhrPatient {
        fhir_id: fhir_id.to_owned(),
        version: Some("1".to_owned()),
        name: Phi::new(PersonName { given: given.to_owned(), family: "Example".to_owned() }),
        birth_date: Phi::new(None),
        gender: Phi::new(None),
        language: Some(Language::English),
        deceased: false,
        zones: vec![],
        telecom: vec![Telecom { number: PhoneNumber::parse(phone).unwrap(), kind: NumberKind::Mobile, rank: 1 }],
        replaced_by: None,
        replaces: vec![],
    }
}

async fn start_carrier(base: &str, instruments: &Instruments, setting: Setting, port: u16) -> RunningCarrier {
    let phone = |name: &str, number: &str, kind| Phone {
        name: name.to_owned(),
        number: PhoneNumber::parse(number).unwrap(),
        kind,
        language: Language::English,
    };
    RunningCarrier::start(CarrierOptions {
        listen: (Ipv4Addr::LOCALHOST, port).into(),
        instruments: Instruments::new(instruments.clock.clone(), Arc::new(SeededEntropy::new(11))),
        seed: 11,
        account_sid: ACCOUNT.to_owned(),
        auth_token: AUTH_TOKEN.to_owned(),
        numbers: vec![CarrierNumber {
            number: PhoneNumber::parse(CLINIC).unwrap(),
            inbound_webhook: format!("{base}carriers/twilio/{SLUG}/inbound").parse().unwrap(),
            fallback_webhook: None,
            answers_keywords: setting.carrier_answers_keywords,
        }],
        phones: vec![
            phone("Ana", ANA, PhoneKind::Mobile),
            phone("Luis", LUIS, PhoneKind::Landline),
            phone("Stranger", STRANGER, PhoneKind::Mobile),
            phone("James", JAMES, PhoneKind::Mobile),
            phone("Priya", PRIYA, PhoneKind::Mobile),
        ],
        callback_delay: Duration::ZERO,
    })
    .await
    .unwrap()
}

/// Secrets of the tests.
struct Secrets {
    database: String,
    key: String,
}

impl Surroundings for Secrets {
    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        let value = match name {
            "KEK" => Kek::generate(&SeededEntropy::new(5)).to_base64().to_string(),
            "NEIGHBOUR_KEK" => Kek::generate(&SeededEntropy::new(6)).to_base64().to_string(),
            "DATABASE" => self.database.clone(),
            "TOKEN" => AUTH_TOKEN.to_owned(),
            "KEY" => self.key.clone(),
            _ => return None,
        };
        Some(Zeroizing::new(value))
    }

    fn overrides(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn file(&self, _path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// The EHR, which knows the service by its public key and launches it.
pub(crate) async fn start_ehr(base: &str, key: &str, instruments: &Instruments) -> RunningEhr {
    let key = SigningKey::from_pem(key, SigningAlgorithm::Es384).unwrap();
    let jwks = SigningKeys::new(vec![key]).unwrap().jwks();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let jwks_url = format!("http://{}/jwks.json", listener.local_addr().unwrap()).parse().unwrap();
    let router = axum::Router::new().route("/jwks.json", axum::routing::get(async move || axum::Json(jwks)));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    RunningEhr::start(EhrOptions {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        instruments: Instruments::new(instruments.clock.clone(), Arc::new(SystemEntropy)),
        seed: 7,
        clinic_zone: jiff::tz::TimeZone::get("America/New_York").unwrap(),
        clients: vec![
            RegisteredClient::Backend {
                client_id: "backend".to_owned(),
                jwks_url,
                scopes: "system/*.cruds".to_owned(),
            },
            RegisteredClient::LaunchPublic {
                client_id: "launch".to_owned(),
                redirect_uris: vec![format!("{base}smart/callback").parse().unwrap()],
                launch_url: format!("{base}smart/launch").parse().unwrap(),
                scopes: "openid fhirUser launch user/*.rs".to_owned(),
            },
        ],
        external_fhir: None,
        token_lifetime: Duration::from_mins(10),
    })
    .await
    .unwrap()
}

/// Who else of the clinic's staff has a role.
const ROLES: &str = r#"
    { system = "http://terminology.hl7.org/CodeSystem/practitioner-role", code = "pharmacist", roles = ["pharmacy"] },
    { system = "https://riverside-family-medicine.example/fhir/CodeSystem/staff-role", code = "scheduler", roles = ["scheduler"] },
"#;

fn settings(base: &str, api_base: &str, ehr: &RunningEhr, setting: Setting) -> String {
    let (issuer, ehr_more) = (&ehr.endpoints().issuer, setting.ehr);
    let caps = setting.caps.map_or_else(String::new, |(per_day, per_week)| {
        format!("[tenants.caps]\nper_day = {per_day}\nper_week = {per_week}")
    });
    let policies = format!(
        "first_name_in_texts = true\ntexts_before_verification = {}\n{}\n{caps}",
        setting.texts_before_verification, setting.policies
    );
    let organization = format!("Organization/{}", clinic::ORGANIZATION);
    let in_ehr = format!("{ehr_more}\nid_token_issuers = [\"{issuer}\"]\norganization = \"{organization}\"");
    let plain = SettingsFile {
        slug: SLUG,
        text_name: "Riverside Clinic",
        public_url: base,
        database: "{ env = \"DATABASE\" }",
        signing_key: "{ env = \"KEY\" }",
        key_encryption_key: "{ env = \"KEK\" }",
        auth_token: "{ env = \"TOKEN\" }",
        number: CLINIC,
        answers_keywords: if setting.carrier_answers_keywords { "carrier" } else { "chartwire" },
        reminders: &[3, 1],
        policies: &policies,
        fhir_base: ehr.fhir_base().as_str(),
        ehr: &in_ehr,
        roles: ROLES,
        account: ACCOUNT,
        api_base,
    }
    .text();
    let Some(Neighbour { slug, ehr }) = setting.neighbour else { return plain };
    // The same practice under other names, with a number and a key of its own.
    let (_, practice) = plain.split_once("[[tenants]]").unwrap();
    let practice = practice
        .replace(SLUG, slug)
        .replace(CLINIC, "+12125550188")
        .replace("env = \"KEK\"", "env = \"NEIGHBOUR_KEK\"")
        .replace("AC0123", "AC9123")
        .replace(&format!("/{slug}-family-medicine"), &format!("/{SLUG}-family-medicine"))
        .replace(&format!("//{slug}-"), &format!("//{SLUG}-"))
        .replace(ehr_more, ehr);
    format!("{plain}\n[[tenants]]{practice}")
}
