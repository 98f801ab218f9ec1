//! What the rigs that hold books stand on: a folder, a sandbox, visits to be reminded of, people, and rest at the end.

use crate::{
    books::{self, Books},
    clinic,
    deeds::Deeds,
    load::{Phase, Phone},
    nurse,
    outside::Outside,
    postgres,
    processes::{Installation, Sandbox},
    quiet::{self, Settled},
    stored::Stored,
    stuck,
    visits::{self, Before, Visits},
};
use anyhow::{Context as _, Result, bail};
use chartwire::{db::sql, kernel::SeededEntropy, sandbox::clinic::persona};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use std::{
    collections::HashSet,
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet};

/// How long a job may take before it is taken over, in seconds: what a kill leaves behind waits so long.
pub(crate) const LEASE: u64 = 20;
/// How long the carrier's list is asked for a text before a person is, in seconds.
const LIST_LAG: u64 = 25;
/// How long the service may take to come to rest.
const REST: Duration = Duration::from_mins(8);
/// How often patients are asked to answer what still waits for them.
const NUDGE: Duration = Duration::from_secs(6);
/// How many disagreements are told.
const MOST_TOLD: usize = 30;

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// What runs beside the services.
pub(crate) struct Stage {
    pub(crate) folder: PathBuf,
    temporary: Option<tempfile::TempDir>,
    _sandbox: Sandbox,
    pub(crate) outside: Outside,
    zone: TimeZone,
    pub(crate) installation: Installation,
    before: Before,
    /// When the last reminders have fallen due.
    pub(crate) reminded: Instant,
    /// Where the database is, without anything in between.
    pub(crate) database_url: String,
}

/// What was found in the end.
pub(crate) struct Found {
    pub(crate) books: Books,
    pub(crate) visits: Visits,
}

impl Stage {
    /// Starts the sandbox, which reaches the service at `front`, and books visits whose reminders fall due over a run that
    /// takes `lasts`. Services are not started.
    pub(crate) async fn set(
        database: Database,
        folder: Option<&Path>,
        front: SocketAddr,
        lasts: SignedDuration,
    ) -> Result<Self> {
        let temporary = tempfile::Builder::new().prefix("chartwire-rig-").tempdir()?;
        let (folder, temporary) = match folder {
            Some(folder) => (std::path::absolute(folder)?, None),
            None => (temporary.path().to_owned(), Some(temporary)),
        };
        std::fs::create_dir_all(&folder)?;
        let database_url = match database {
            Database::Sqlite => "sqlite:chartwire.db".to_owned(),
            Database::Postgres => postgres::new_database().await.context("PostgreSQL is not installed")?,
        };
        let zone_name = clinic::morning_zone(Timestamp::now());
        let zone = TimeZone::get(&zone_name)?;
        std::fs::write(folder.join("database-url"), &database_url)?;
        let sandbox = Sandbox::start(&folder, front, &zone_name).await?;
        let http = reqwest::Client::builder().timeout(Duration::from_mins(1)).build()?;
        let outside = Outside::new(http, &sandbox.places);
        clinic::clear_shared_phone(&outside).await?;
        clinic::book(&outside, Timestamp::now(), &zone).await?;
        let before = Before::read(&outside).await?;
        let reminders = clinic::reminders(Timestamp::now(), &zone, lasts);
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
        Ok(Self { folder, temporary, _sandbox: sandbox, outside, zone, installation, before, reminded, database_url })
    }

    /// Opens the database beside the service, once that has met every patient: until then nobody knows whose texts are
    /// whose.
    pub(crate) async fn stored(&self) -> Result<Stored> {
        let stored = Stored::open(&self.folder, &self.installation.overrides).await?;
        let began = Instant::now();
        let met = "SELECT DISTINCT e.fhir_id AS id FROM patient_ehr_id e JOIN patient_number n ON n.tenant = e.tenant \
             AND n.patient = e.patient WHERE n.current = 1";
        loop {
            let met = stored.db.all(sql(met)).await?;
            let met: HashSet<String> = met.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?;
            if clinic::participants().iter().all(|person| met.contains(person.id)) {
                break;
            }
            if began.elapsed() > REST {
                bail!("the service does not read the schedule");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(stored)
    }

    /// The patients and the staff.
    pub(crate) fn people(&self, deeds: &Arc<Deeds>, seed: u64, phase: &watch::Receiver<Phase>) -> JoinSet<()> {
        let mut people = JoinSet::new();
        let mut seed = seed.wrapping_mul(1_000);
        let mut chance = || {
            seed = seed.wrapping_add(1);
            SeededEntropy::new(seed)
        };
        for person in clinic::participants() {
            let (outside, deeds, phase) = (self.outside.clone(), Arc::clone(deeds), phase.clone());
            people.spawn(Phone { outside, person, deeds, chance: chance(), phase }.live());
        }
        for practitioner in [persona::NURSE_REED, persona::DR_SMITH] {
            let (outside, deeds, phase) = (self.outside.clone(), Arc::clone(deeds), phase.clone());
            people.spawn(nurse::work(outside, practitioner, deeds, chance(), phase));
        }
        people
    }

    /// Waits until nothing is left to be done, with patients who answer and staff who settle; what is left when patience is
    /// up. The carrier's list has to be read once after `hit`.
    pub(crate) async fn come_to_rest(
        &self,
        (stored, hit): (&Stored, Timestamp),
        phase: &watch::Sender<Phase>,
        people: &mut JoinSet<()>,
        settled: &mut Settled,
    ) -> Result<Vec<String>> {
        let (began, mut last_nudge, mut nudges) = (Instant::now(), Instant::now(), 0);
        phase.send_replace(Phase::Ending(0));
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            quiet::settle(&self.outside, stored, settled).await?;
            let left = quiet::left(stored, hit).await?;
            let over = began.elapsed() > REST;
            if (left.is_empty() || over) && *phase.borrow() != Phase::Over {
                // What was answered meanwhile is followed to its end too.
                phase.send_replace(Phase::Over);
                while people.join_next().await.is_some() {}
                self.outside.settled().await?;
                continue;
            }
            if left.is_empty() || over {
                let mut told: Vec<String> = left.into_iter().map(|(what, count)| format!("{count} {what}")).collect();
                told.extend(stuck::explain(stored).await?);
                return Ok(told);
            }
            // Only those that wait for an answer: more texts would only keep the service busy.
            if last_nudge.elapsed() > NUDGE && *phase.borrow() != Phase::Over && quiet::held(stored).await? > 0 {
                (last_nudge, nudges) = (Instant::now(), nudges + 1);
                phase.send_replace(Phase::Ending(nudges));
            }
        }
    }

    /// Holds the books of carrier, service, chart and schedule against each other. `blows` are the instants at which
    /// something was done to the service or to what it depends on.
    pub(crate) async fn hold_books(
        &self,
        stored: &Stored,
        (deeds, settled, blows): (&Deeds, &Settled, &[Timestamp]),
        wrong: &mut Vec<String>,
    ) -> Result<Found> {
        let texts = stored.all().await?;
        let books = books::check(&self.outside, stored, &texts, (deeds, settled, blows)).await?;
        let visits = visits::check(&self.outside, &self.before, &texts, &self.zone, wrong).await?;
        wrong.extend(books.wrong.iter().cloned());
        Ok(Found { books, visits })
    }

    /// Has the commands look, once no service runs any more.
    pub(crate) fn ask_commands(&self, wrong: &mut Vec<String>) -> Result<()> {
        for command in [["audit", "verify"], ["jobs", "list"]] {
            let (well, said) = self.installation.run(&command)?;
            if !well || (command == ["jobs", "list"] && !said.contains("no job was given up")) {
                wrong.push(format!("chartwire {}: {said}", command.join(" ")));
            }
        }
        Ok(())
    }

    /// Keeps the tables of a run that did not end well: a PostgreSQL of the rig's own goes away with it.
    pub(crate) async fn keep_tables(&self, stored: &Stored, wrong: &[String]) -> Result<()> {
        if !wrong.is_empty() {
            let mut file = String::new();
            for (table, rows) in stored.tables().await? {
                writeln!(file, "== {table}\n{rows}")?;
            }
            std::fs::write(self.folder.join("tables.txt"), file)?;
        }
        Ok(())
    }

    /// Tells what does not agree, and keeps the folder of a run that did not end well.
    pub(crate) fn tell(&mut self, wrong: &[String]) {
        for what in wrong.iter().take(MOST_TOLD) {
            println!("  WRONG: {what}");
        }
        if wrong.len() > MOST_TOLD {
            println!("  and {} more", wrong.len() - MOST_TOLD);
        }
        if let (false, Some(temporary)) = (wrong.is_empty(), self.temporary.take()) {
            println!("  database and logs: {}", temporary.keep().display());
        }
    }
}
