//! The crash rig: load, kills at random moments, restarts, and the books at the end.

use crate::{
    balancer::Balancer,
    books::{self, Books},
    clinic,
    deeds::Deeds,
    load::{Phase, Phone},
    mayhem::{Blows, Mayhem},
    nurse,
    outside::Outside,
    postgres,
    processes::{Installation, Sandbox, Service, free_address},
    quiet::{self, Settled},
    stored::Stored,
    visits::{self, Before, Visits},
};
use anyhow::{Context as _, Result, bail};
use chartwire::{kernel::SeededEntropy, sandbox::clinic::persona};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet};

/// How long a job may take before it is taken over, in seconds: what a kill leaves behind waits so long.
pub(crate) const LEASE: u64 = 20;
/// How long the carrier's list is asked for a text before a person is, in seconds.
const LIST_LAG: u64 = 25;
/// How long the carrier keeps the answer to a send back, in milliseconds: kills then meet texts on their way.
const CARRIER_ANSWERS_IN: u64 = 120;
/// How long the service may take to come to rest.
const REST: Duration = Duration::from_mins(8);
/// How often patients are asked to answer what still waits for them.
const NUDGE: Duration = Duration::from_secs(6);

/// How many disagreements are told.
const MOST_TOLD: usize = 30;

/// How the rig is run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The service's database
    #[arg(long, value_enum, default_value = "sqlite")]
    database: Database,
    /// How many services share it; several only on PostgreSQL
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    processes: u8,
    /// How often a service is killed; of two also paused until its leases have run out
    #[arg(long, default_value_t = 20)]
    kills: u32,
    /// Decides when and what
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the folder with database and logs, and put it here
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

/// Everything that runs.
struct Stage {
    folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
    _sandbox: Sandbox,
    outside: Outside,
    zone: TimeZone,
    installation: Installation,
    services: Vec<Service>,
    balancer: Option<Arc<Balancer>>,
    before: Before,
    /// When the last reminders have fallen due.
    reminded: Instant,
}

/// Runs the rig: whether the books agree.
pub(crate) async fn run(options: &Options) -> Result<bool> {
    let began = Instant::now();
    let mut stage = set(options).await?;
    for service in &mut stage.services {
        service.start()?;
        service.ready(&stage.outside.http).await?;
    }
    stage.outside.slow_sends(CARRIER_ANSWERS_IN).await?;
    let stored = Stored::open(&stage.folder, &stage.installation.overrides).await?;
    known(&stored).await?;
    let deeds = Arc::new(Deeds::default());
    let (phase, busy) = watch::channel(Phase::Busy);
    let mut people = people(&stage.outside, &deeds, options.seed, &busy);
    let mut mayhem = Mayhem::new(SeededEntropy::new(options.seed), stage.outside.http.clone());
    mayhem.rage(&mut stage.services, stage.balancer.as_deref(), options.kills).await?;
    tokio::time::sleep_until(stage.reminded.into()).await;
    let mut settled = Settled::default();
    let hit = mayhem.blows.at.last().copied().unwrap_or_default();
    let left = come_to_rest((&stage.outside, &stored, hit), &phase, &mut people, &mut settled).await?;
    let mut wrong: Vec<String> = left.into_iter().map(|(what, count)| format!("{count} {what}")).collect();
    for service in &mut stage.services {
        service.stop().await?;
    }
    let texts = stored.all().await?;
    let books = books::check(&stage.outside, &stored, &texts, (&deeds, &settled, &mayhem.blows.at)).await?;
    let visits = visits::check(&stage.outside, &stage.before, &texts, &stage.zone, &mut wrong).await?;
    stored.db.close().await;
    wrong.extend(books.wrong.iter().cloned());
    for command in [["audit", "verify"], ["jobs", "list"]] {
        let (well, said) = stage.installation.run(&command)?;
        if !well || (command == ["jobs", "list"] && !said.contains("no job was given up")) {
            wrong.push(format!("chartwire {}: {said}", command.join(" ")));
        }
    }
    println!("{}", report(options, (&mayhem.blows, &deeds), (&books, &settled, &visits), began.elapsed()));
    for what in wrong.iter().take(MOST_TOLD) {
        println!("  WRONG: {what}");
    }
    if wrong.len() > MOST_TOLD {
        println!("  and {} more", wrong.len() - MOST_TOLD);
    }
    if !wrong.is_empty() {
        keep(&mut stage);
    }
    Ok(wrong.is_empty())
}

/// Sets the stage: the sandbox runs, the visits are booked, the services are not started yet.
async fn set(options: &Options) -> Result<Stage> {
    let temporary = tempfile::Builder::new().prefix("chartwire-rig-").tempdir()?;
    let (folder, temporary) = match &options.folder {
        Some(folder) => (std::path::absolute(folder)?, None),
        None => (temporary.path().to_owned(), Some(temporary)),
    };
    std::fs::create_dir_all(&folder)?;
    let url = match options.database {
        Database::Sqlite if options.processes > 1 => bail!("two services share a PostgreSQL"),
        Database::Sqlite => "sqlite:chartwire.db".to_owned(),
        Database::Postgres => postgres::new_database().await.context("PostgreSQL is not installed")?,
    };
    let zone_name = clinic::morning_zone(Timestamp::now());
    let zone = TimeZone::get(&zone_name)?;
    std::fs::write(folder.join("database-url"), url)?;
    let front = free_address();
    let sandbox = Sandbox::start(&folder, front, &zone_name).await?;
    let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
    let outside = Outside::new(http, &sandbox.places);
    clinic::clear_shared_phone(&outside).await?;
    clinic::book(&outside, Timestamp::now(), &zone).await?;
    let before = Before::read(&outside).await?;
    let each = if options.processes > 1 { SignedDuration::from_secs(7) } else { SignedDuration::from_millis(2_600) };
    let lasts = each * i32::try_from(options.kills)?;
    let now = Timestamp::now();
    let reminders = clinic::reminders(now, &zone, lasts);
    let reminded = Instant::now() + Duration::try_from(clinic::FIRST_DUE + lasts)? + Duration::from_secs(3);
    let set = |key: &str, value: String| (format!("CHARTWIRE__{key}"), value);
    let overrides = vec![
        // In a file of its own: it may hold a password.
        set("DATABASE__URL", "{ file = \"database-url\" }".to_owned()),
        set("LOG__LEVEL", "info".to_owned()),
        set("JOBS__LEASE_SECONDS", LEASE.to_string()),
        set("TENANTS__0__CARRIER__LIST_LAG_SECONDS", LIST_LAG.to_string()),
        set("TENANTS__0__REMINDERS", reminders),
    ];
    let installation = Installation { folder: folder.clone(), overrides };
    let (services, balancer) = services(&installation, front, options.processes).await?;
    let (folder, _temporary, _sandbox) = (folder, temporary, sandbox);
    Ok(Stage { folder, _temporary, _sandbox, outside, zone, installation, services, balancer, before, reminded })
}

/// One service at the public address, or two behind a balancer.
async fn services(
    installation: &Installation,
    front: SocketAddr,
    processes: u8,
) -> Result<(Vec<Service>, Option<Arc<Balancer>>)> {
    if processes == 1 {
        return Ok((vec![Service::new("service", installation, front)], None));
    }
    let services: Vec<Service> =
        ["first", "second"].into_iter().map(|name| Service::new(name, installation, free_address())).collect();
    let addresses: Vec<SocketAddr> = services.iter().map(|service| service.address).collect();
    Ok((services, Some(Balancer::start(front, &addresses).await?)))
}

/// Waits until the service has met every patient: until then nobody knows whose texts are whose.
async fn known(stored: &Stored) -> Result<()> {
    let began = Instant::now();
    let all = i64::try_from(clinic::participants().len())?;
    while stored.count("SELECT COUNT(*) AS n FROM patient_number WHERE current = 1").await? < all {
        if began.elapsed() > REST {
            bail!("the service does not read the schedule");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// The patients and the staff.
fn people(outside: &Outside, deeds: &Arc<Deeds>, seed: u64, phase: &watch::Receiver<Phase>) -> JoinSet<()> {
    let mut people = JoinSet::new();
    let mut seed = seed.wrapping_mul(1_000);
    let mut chance = || {
        seed = seed.wrapping_add(1);
        SeededEntropy::new(seed)
    };
    for person in clinic::participants() {
        let (outside, deeds, phase) = (outside.clone(), Arc::clone(deeds), phase.clone());
        people.spawn(Phone { outside, person, deeds, chance: chance(), phase }.live());
    }
    for practitioner in [persona::NURSE_REED, persona::DR_SMITH] {
        people.spawn(nurse::work(outside.clone(), practitioner, Arc::clone(deeds), chance(), phase.clone()));
    }
    people
}

/// Waits until nothing is left to be done, with patients who answer and staff who settle; what is left when patience is
/// up.
async fn come_to_rest(
    (outside, stored, hit): (&Outside, &Stored, Timestamp),
    phase: &watch::Sender<Phase>,
    people: &mut JoinSet<()>,
    settled: &mut Settled,
) -> Result<Vec<(String, i64)>> {
    let (began, mut nudged, mut nudges) = (Instant::now(), Instant::now(), 0);
    phase.send_replace(Phase::Ending(0));
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        quiet::settle(outside, stored, settled).await?;
        let left = quiet::left(stored, hit).await?;
        let over = began.elapsed() > REST;
        if (left.is_empty() || over) && *phase.borrow() != Phase::Over {
            // What was answered meanwhile is followed to its end too.
            phase.send_replace(Phase::Over);
            while people.join_next().await.is_some() {}
            outside.settled().await?;
            continue;
        }
        if left.is_empty() || over {
            return Ok(left);
        }
        // Only those that wait for an answer: more texts would only keep the service busy.
        if nudged.elapsed() > NUDGE && *phase.borrow() != Phase::Over && quiet::held(stored).await? > 0 {
            (nudged, nudges) = (Instant::now(), nudges + 1);
            phase.send_replace(Phase::Ending(nudges));
        }
    }
}

fn report(
    options: &Options,
    (blows, deeds): (&Blows, &Deeds),
    (books, settled, visits): (&Books, &Settled, &Visits),
    took: Duration,
) -> String {
    let database = if options.database == Database::Sqlite { "SQLite" } else { "PostgreSQL" };
    let mut told = String::new();
    let _ = writeln!(
        told,
        "{database}, {} process(es), seed {}: {} kills ({} during the start), {} pauses, in {} s",
        options.processes,
        options.seed,
        blows.kills,
        blows.in_start,
        blows.pauses,
        took.as_secs(),
    );
    let _ = writeln!(
        told,
        "  in: {} texts acknowledged, {} more fetched; out: {} accepted by the carrier, {} dropped or refused",
        books.acknowledged, books.fetched, books.sent, books.not_sent
    );
    let _ = writeln!(
        told,
        "  chart: {} texts; staff: {} launches, {} replies, {} broken off; visits: {} moved, {} cancelled, {} confirmed",
        books.filed,
        deeds.launched.load(Ordering::Relaxed),
        books.replies,
        deeds.interrupted.load(Ordering::Relaxed),
        visits.moved,
        visits.cancelled,
        visits.confirmed
    );
    let _ = write!(
        told,
        "  left to a person: {} texts; disagreements: {}",
        settled.by_person.len(),
        if books.wrong.is_empty() { "none".to_owned() } else { books.wrong.len().to_string() }
    );
    told
}

/// Keeps the folder of a run that did not end well.
fn keep(stage: &mut Stage) {
    if let Some(temporary) = stage._temporary.take() {
        println!("  database and logs: {}", temporary.keep().display());
    }
}
