//! The canary: charts whose every name, number, date and reason is marked, texts whose words are, a service that logs
//! all it can, and callers and parties that misbehave. Then logs, answers to strangers, metrics, traces, URLs, what commands
//! print, and the database as it lies on the disk are searched. Only sealed columns, and what goes to the EHR and the carrier,
//! may hold a mark (law 9).

use crate::{
    clinic,
    collector::Collector,
    deeds::Deeds,
    load::{Phase, Phone},
    needles::{self, BORN, MARK, Needles},
    nurse,
    outside::{Outside, text},
    postgres,
    processes::{Installation, Sandbox, Service, free_address},
    stage::Database,
    stored::Stored,
};
use anyhow::{Context as _, Result, bail, ensure};
use chartwire::{
    db::sql,
    kernel::SeededEntropy,
    sandbox::clinic::{patients, persona},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet};

/// How long patients and staff write.
const BUSY: Duration = Duration::from_secs(25);
/// How long the service may take to read what patients wrote.
const READ: Duration = Duration::from_mins(4);
/// More marked texts than these make a run worth its name.
const FEWEST: usize = 20;

/// How the canary is run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The service's database
    #[arg(long, value_enum, default_value = "sqlite")]
    database: Database,
    /// Decides who writes what and when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the folder with database and logs, and put it here
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Runs the canary: whether nothing was found where nothing may be.
pub(crate) async fn run(options: &Options) -> Result<bool> {
    ensure!(needles::find_what_they_should(), "the search itself is broken");
    let temporary = tempfile::Builder::new().prefix("chartwire-canary-").tempdir()?;
    let folder = options.folder.clone().unwrap_or_else(|| temporary.path().to_owned());
    let folder = std::path::absolute(folder)?;
    fs::create_dir_all(&folder)?;
    let url = match options.database {
        Database::Sqlite => "sqlite:chartwire.db".to_owned(),
        Database::Postgres => postgres::new_database().await.context("PostgreSQL is not installed")?,
    };
    fs::write(folder.join("database-url"), url)?;
    let front = free_address();
    let zone = clinic::morning_zone(Timestamp::now());
    let sandbox = Sandbox::start(&folder, front, &zone).await?;
    let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
    let outside = Outside::new(http.clone(), &sandbox.places);
    clinic::clear_shared_phone(&outside).await?;
    clinic::book(&outside, Timestamp::now(), &TimeZone::get(&zone)?).await?;
    mark_charts(&outside).await?;
    let collector = Collector::start().await?;
    let installation = installation(&folder, &zone, &collector)?;
    let mut service = Service::new("service", &installation, front);
    service.start()?;
    service.ready(&http).await?;
    let stored = Stored::open(&folder, &installation.overrides).await?;
    let mut found = Findings::default();
    live(&outside, &stored, options.seed, (&mut found, front)).await?;

    let metrics = http.get(format!("http://{front}/metrics")).send().await?.error_for_status()?;
    found.search("metrics", &metrics.bytes().await?);
    service.stop().await?;
    found.search("traces", &collector.told());
    let followed = collector.follows_texts_into_the_chart(&stored).await?;
    ensure!(followed > 0, "no text came in that stands in the chart");
    let marked = marked(&stored).await?;
    found.places(&outside, &installation, &stored, &folder).await?;
    stored.db.close().await;
    // After the service has closed it, everything is in the file itself.
    found.files(&folder)?;
    println!("{followed} texts can be followed from their webhooks into the chart");
    println!("{marked} marked texts were stored and opened again; {} places were searched", found.searched);
    for (place, what) in &found.found {
        println!("  FOUND: {place}: {what}");
    }
    if !found.found.is_empty() && options.folder.is_none() {
        println!("  database and logs: {}", temporary.keep().display());
    }
    Ok(found.found.is_empty())
}

fn installation(folder: &Path, zone: &str, collector: &Collector) -> Result<Installation> {
    let set = |key: &str, value: String| (format!("CHARTWIRE__{key}"), value);
    let lasts = SignedDuration::try_from(BUSY)?;
    let overrides = vec![
        set("DATABASE__URL", "{ file = \"database-url\" }".to_owned()),
        set("LOG__LEVEL", "trace".to_owned()),
        set("TRACES__COLLECTOR", format!("http://{}", collector.address)),
        set("TENANTS__0__REMINDERS", clinic::reminders(Timestamp::now(), &TimeZone::get(zone)?, lasts)),
    ];
    Ok(Installation { folder: folder.to_owned(), overrides })
}

/// Marks every chart, before the service has read any.
async fn mark_charts(outside: &Outside) -> Result<()> {
    for mut patient in outside.search("Patient?_count=100").await? {
        for name in patient["name"].as_array_mut().into_iter().flatten() {
            let (given, family) = (text(name, "/given/0").to_owned(), text(name, "/family").to_owned());
            name["given"] = json!([format!("{given}{MARK}")]);
            name["family"] = json!(format!("{MARK}{family}"));
        }
        let day = 10 + text(&patient, "/id").len() % 18;
        patient["birthDate"] = json!(format!("{BORN}-{day}"));
        patient["address"] = json!([{ "use": "home", "line": [format!("1 {MARK} Street")], "state": "NY" }]);
        patient["identifier"][0]["value"] = json!(format!("{MARK}-0001"));
        outside.update(&patient).await?;
    }
    let words = |text: &str| json!({ "text": format!("{text} {MARK}") });
    for mut visit in outside.search("Appointment?_count=200&status=booked").await? {
        visit["reasonCode"] = json!([words("checked for")]);
        visit["description"] = json!(format!("{MARK} visit"));
        visit["comment"] = json!(format!("bring {MARK}"));
        outside.update(&visit).await?;
    }
    for mut condition in outside.search("Condition?_count=100").await? {
        condition["code"]["text"] = json!(format!("{MARK} disease"));
        outside.update(&condition).await?;
    }
    for mut request in outside.search("MedicationRequest?_count=100").await? {
        request["medicationCodeableConcept"]["text"] = json!(format!("{MARK}ol 20 mg"));
        outside.update(&request).await?;
    }
    Ok(())
}

/// Patients and staff write, strangers knock, parties fail; then all that came is read.
async fn live(
    outside: &Outside,
    stored: &Stored,
    seed: u64,
    (found, front): (&mut Findings, SocketAddr),
) -> Result<()> {
    let deeds = Arc::new(Deeds::default());
    let (phase, busy) = watch::channel(Phase::Busy);
    let mut people = JoinSet::new();
    let chance = |number: u64| SeededEntropy::new(seed.wrapping_mul(1_000).wrapping_add(number));
    for (number, person) in (0..).zip(clinic::participants()) {
        let (outside, deeds, phase) = (outside.clone(), Arc::clone(&deeds), busy.clone());
        people.spawn(Phone { outside, person, deeds, chance: chance(number), phase }.live());
    }
    for (number, practitioner) in (900..).zip([persona::NURSE_REED, persona::DR_SMITH]) {
        people.spawn(nurse::work(outside.clone(), practitioner, Arc::clone(&deeds), chance(number), busy.clone()));
    }
    let began = Instant::now();
    // What cannot be filed or sent is what gets talked about.
    let faults = ["error_before", "error_after", "lose_answer", "forbidden", "unavailable"];
    outside.misbehave(&json!({ "rules": faults.map(|kind| json!({ "fault": { "kind": kind }, "times": 12, "percent": 10, "path_prefix": "/fhir" })) })).await?;
    for kind in ["error_before", "error_after_accept", "answer_lost", "filtered", "webhooks_refused"] {
        outside.carrier_fault(&json!({ "kind": kind, "times": 3, "chance": 20 })).await?;
    }
    for (what, answer) in strangers(outside, front).await? {
        found.search(&what, &answer);
    }
    while began.elapsed() < BUSY || !enough(outside, stored).await? {
        ensure!(began.elapsed() < READ, "too little has happened: is the service at work?");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    phase.send_replace(Phase::Over);
    while people.join_next().await.is_some() {}
    let began = Instant::now();
    // What is under way is not waited for: the books are the crash rig's matter.
    while stored.count("SELECT COUNT(*) AS n FROM message WHERE direction = 'in' AND state <> 'read'").await? > 0 {
        if began.elapsed() > READ {
            bail!("the service does not read what patients wrote");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Whether enough has happened to find something.
async fn enough(outside: &Outside, stored: &Stored) -> Result<bool> {
    let (ehr, carrier) = outside.requests().await?;
    let filed = stored.count("SELECT COUNT(*) AS n FROM chart_filing WHERE reference IS NOT NULL").await?;
    Ok(ehr.len() > 150 && carrier.len() > 40 && filed > 20 && marked(stored).await? > FEWEST)
}

/// How many marked texts are stored, and can be opened.
async fn marked(stored: &Stored) -> Result<usize> {
    let texts = stored.all().await?;
    Ok(texts.iter().filter(|text| text.words.as_ref().is_some_and(|words| words.contains(MARK))).count())
}

/// What the service answers to those who have no business with it, or bring nonsense.
async fn strangers(outside: &Outside, front: SocketAddr) -> Result<Vec<(String, Vec<u8>)>> {
    let url = |path: &str| format!("http://{front}{path}");
    let form = format!("MessageSid=SM1&From=%2B12125550101&To=%2B12125550199&Body={MARK}");
    let json = json!({ "MessageSid": MARK, "From": "+12125550101", "Body": MARK }).to_string();
    let post = |path: &str, kind: &'static str, body: String| {
        outside.http.post(url(path)).header("content-type", kind).header("x-twilio-signature", MARK).body(body)
    };
    let get = |path: &str| outside.http.get(url(path));
    let hook = "/carriers/twilio/riverside/inbound";
    let requests = [
        ("a forged text", post(hook, "application/x-www-form-urlencoded", form.clone())),
        ("a forged text in JSON", post(hook, "application/json", json.clone())),
        ("a forged report", post("/carriers/twilio/riverside/status", "application/json", json)),
        ("a text for nobody", post(&format!("/carriers/twilio/{MARK}/inbound"), "text/plain", form)),
        ("a launch from elsewhere", get(&format!("/smart/launch?iss=https://{MARK}.example/fhir&launch={MARK}"))),
        ("a callback of nobody's", get(&format!("/smart/callback?code={MARK}&state={MARK}"))),
        ("a callback that fails", get(&format!("/smart/callback?error={MARK}&error_description={MARK}&state={MARK}"))),
        ("an inbox of nobody's", get(&format!("/inbox/{MARK}")).header("cookie", format!("__Host-chartwire={MARK}"))),
        ("a page that is not there", get(&format!("/{MARK}?{MARK}={MARK}"))),
    ];
    let mut answers = Vec::new();
    for (what, request) in requests {
        let answer = request.send().await?;
        let told = format!("{} {:?}\n", answer.status(), answer.headers());
        ensure!(!answer.status().is_server_error(), "{what} is answered with {}", answer.status());
        answers.push((format!("the answer to {what}"), [told.as_bytes(), &answer.bytes().await?].concat()));
    }
    Ok(answers)
}

/// What was found, and where.
struct Findings {
    needles: Needles,
    searched: usize,
    found: BTreeSet<(String, String)>,
}

impl Default for Findings {
    fn default() -> Self {
        let numbers: Vec<&str> =
            patients().iter().map(|person| person.phone).filter(|phone| !phone.is_empty()).collect();
        Self { needles: Needles::new(&numbers), searched: 0, found: BTreeSet::new() }
    }
}

impl Findings {
    fn search(&mut self, place: &str, hay: &[u8]) {
        self.searched += 1;
        self.found.extend(self.needles.in_bytes(hay).into_iter().map(|what| (place.to_owned(), what)));
    }

    /// URLs, what commands print, and every row.
    async fn places(
        &mut self,
        outside: &Outside,
        installation: &Installation,
        stored: &Stored,
        folder: &Path,
    ) -> Result<()> {
        let (ehr, carrier) = outside.requests().await?;
        self.search("URLs at the EHR", ehr.join("\n").as_bytes());
        // The carrier has no other way to ask for the texts to one number.
        let others: Vec<&String> = carrier.iter().filter(|one| !one.contains("/Messages.json?")).collect();
        self.search(
            "URLs at the carrier",
            others.iter().map(|one| one.as_str()).collect::<Vec<_>>().join("\n").as_bytes(),
        );
        let export = ["audit", "export", "--tenant", "riverside"];
        for command in [&["audit", "verify"][..], &export, &["jobs", "list"], &["keys", "list"]] {
            let (well, said) = installation.run(command)?;
            ensure!(well, "chartwire {} fails: {said}", command.join(" "));
            self.search(&format!("chartwire {}", command.join(" ")), said.as_bytes());
        }
        let (_, said) = installation.run(&["check"])?;
        self.search("chartwire check", said.as_bytes());
        for (table, rows) in stored.tables().await? {
            self.search(&format!("the table {table}"), rows.as_bytes());
        }
        let database = fs::read_to_string(folder.join("database-url"))?;
        if database.starts_with("postgres") {
            let at: String = stored
                .db
                .one(sql("SELECT setting FROM pg_settings WHERE name = 'data_directory'"))
                .await?
                .get("setting")?;
            // So that what lies in memory lies in the files too.
            stored.checkpoint().await?;
            self.folder("PostgreSQL's files", Path::new(&at))?;
        }
        Ok(())
    }

    /// Everything in the service's folder: its log, its database, audit heads.
    fn files(&mut self, folder: &Path) -> Result<()> {
        let log = fs::read_to_string(folder.join("service.log"))?;
        ensure!(log.lines().count() > 100, "the service said too little: was its log at its most talkative level?");
        self.folder("the service's folder", folder)
    }

    fn folder(&mut self, what: &str, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if path.is_dir() {
                self.folder(&format!("{what}, {name}"), &path)?;
            } else if path.is_file() && !name.starts_with("sandbox.") {
                self.search(&format!("{what}, {name}"), &fs::read(&path)?);
            }
        }
        Ok(())
    }
}
