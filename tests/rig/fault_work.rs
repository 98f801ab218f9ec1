//! Brings a fault on, takes it away, and tells what happened meanwhile.

use crate::{
    fault_list::{Deed, Fault, Trouble, UNCOUNTED},
    flood::{self, Flooded},
    outside::{Outside, text},
    processes::Service,
    proxy::{Passage, Proxy},
    quiet::{self, Settled},
    stored::Stored,
};
use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// To this size files may be written while the disk is full: to none that matters.
const FULL: u64 = 512;
/// The practice of the sandbox in URLs.
const PRACTICE: &str = "riverside";
/// How often it is looked whether a fault has struck, and the tokens are revoked.
const TICK: Duration = Duration::from_millis(500);
/// How much longer a fault lasts that has not struck yet.
const STRIKES_WITHIN: Duration = Duration::from_secs(30);

/// What happened during a fault.
pub(crate) struct Figures {
    /// How often it struck.
    pub(crate) struck: u64,
    /// Texts that patients wrote.
    pub(crate) written: usize,
    /// Webhooks that failed, by the status of the answer.
    pub(crate) failed: BTreeMap<u64, u64>,
    /// Texts that the carrier accepted.
    pub(crate) accepted: usize,
    /// How long after its end the service said that it is ready.
    pub(crate) ready_after: Duration,
    pub(crate) flooded: Option<Flooded>,
}

/// What the faults are brought on with.
pub(crate) struct Scene {
    outside: Outside,
    pub(crate) service: Service,
    front: Arc<Proxy>,
    database: Option<Arc<Proxy>>,
    folder: PathBuf,
    /// Holds the lock of a SQLite database.
    locking: Option<SqliteConnection>,
    /// Every second at which something was wrong.
    pub(crate) blows: Vec<Timestamp>,
    /// When texts were last kept from coming in.
    pub(crate) kept_away: Option<Timestamp>,
}

/// What is counted before and after.
struct Counted {
    inbound: usize,
    outbound: usize,
    failed: BTreeMap<u64, u64>,
    /// How often a token was asked for; counted only where tokens are revoked.
    renewed: u64,
    /// Requests to the carrier; counted only where its fault does not count itself.
    asked: u64,
    /// Connections that the proxies struck.
    struck: u64,
}

impl Scene {
    pub(crate) fn new(
        outside: Outside,
        service: Service,
        (front, database): (Arc<Proxy>, Option<Arc<Proxy>>),
        folder: PathBuf,
    ) -> Self {
        Self { outside, service, front, database, folder, locking: None, blows: Vec::new(), kept_away: None }
    }

    /// Brings the fault on for so long, takes it away and waits until the service says that it is ready.
    pub(crate) async fn bring_on(&mut self, fault: &Fault, seconds: u64, wrong: &mut Vec<String>) -> Result<Figures> {
        let before = self.count(&fault.deed).await?;
        let (mut writing, mut flooded) = (JoinSet::new(), None);
        self.begin(&fault.deed).await?;
        let until = Instant::now() + Duration::from_secs(seconds);
        if let Deed::Flood(_) = fault.deed {
            writing = flood::write(&self.outside);
            flooded = Some(flood::hold(&self.service, PRACTICE).await?);
        }
        let mut struck = 0;
        while Instant::now() < until || (struck == 0 && Instant::now() < until + STRIKES_WITHIN) {
            self.blows.push(Timestamp::now());
            tokio::time::sleep(TICK).await;
            if let Deed::Tokens(_) = fault.deed {
                self.outside.revoke_tokens().await?;
            }
            struck = self.struck(&fault.deed, &before).await?;
        }
        self.end(&fault.deed).await?;
        self.blows.push(Timestamp::now());
        if keeps_texts_away(fault) {
            self.kept_away = self.blows.last().copied();
        }
        let ended = Instant::now();
        self.service.ready(&self.outside.http).await?;
        let ready_after = ended.elapsed();
        while writing.join_next().await.is_some() {}
        let after = self.count(&fault.deed).await?;
        let failed = since(&before.failed, &after.failed);
        let (written, accepted) = (after.inbound - before.inbound, after.outbound - before.outbound);
        let figures = Figures { struck, written, failed, accepted, ready_after, flooded };
        judge(fault, &figures, wrong);
        Ok(figures)
    }

    /// How often the fault that is on has struck so far.
    async fn struck(&self, deed: &Deed, before: &Counted) -> Result<u64> {
        Ok(match deed {
            Deed::Ehr(ordered) | Deed::Carrier(ordered) if is_counted(ordered) => {
                let times = ordered.iter().filter_map(|fault| fault.get("times")?.as_u64()).sum::<u64>();
                times.saturating_sub(self.outside.faults_left().await?)
            }
            Deed::Ehr(_) | Deed::Carrier(_) => self.count(deed).await?.asked - before.asked,
            Deed::Tokens(_) => self.count(deed).await?.renewed - before.renewed,
            Deed::Front => self.struck_connections() - before.struck,
            // Whoever writes is kept waiting for the lock.
            Deed::Database(Trouble::Locked) => (self.count(deed).await?.inbound - before.inbound) as u64,
            Deed::Database(_) | Deed::Flood(_) => match &self.database {
                Some(_) => self.struck_connections() - before.struck,
                None => since(&before.failed, &self.count(deed).await?.failed).values().sum(),
            },
        })
    }

    /// Leaves the service in peace; staff settle what is left to them.
    pub(crate) async fn peace(&self, seconds: u64, stored: &Stored, settled: &mut Settled) {
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // What does not work now is done at the next turn.
            let _ = quiet::settle(&self.outside, stored, settled).await;
        }
    }

    async fn begin(&mut self, deed: &Deed) -> Result<()> {
        match deed {
            Deed::Ehr(rules) | Deed::Tokens(rules) => self.outside.misbehave(&json!({ "rules": rules })).await?,
            Deed::Carrier(faults) => {
                for fault in faults {
                    self.outside.carrier_fault(fault).await?;
                }
            }
            Deed::Front => self.front.set(Passage::Cut),
            Deed::Database(trouble) | Deed::Flood(trouble) => match trouble {
                Trouble::Cut => self.database()?.set(Passage::Cut),
                Trouble::Silent => self.database()?.set(Passage::Silent),
                Trouble::Vanished => self.database()?.set(Passage::Vanished),
                Trouble::Full => self.service.bound_files(Some(FULL))?,
                Trouble::Locked => {
                    let url = format!("sqlite:{}", self.folder.join("chartwire.db").display());
                    let mut connection = SqliteConnection::connect(&url).await?;
                    connection.execute("BEGIN IMMEDIATE").await?;
                    self.locking = Some(connection);
                }
            },
        }
        Ok(())
    }

    /// Takes the fault away.
    async fn end(&mut self, deed: &Deed) -> Result<()> {
        if let Deed::Ehr(_) | Deed::Tokens(_) | Deed::Carrier(_) = deed {
            self.outside.behave().await?;
        }
        self.front.set(Passage::Open);
        if let Some(database) = &self.database {
            database.set(Passage::Open);
        }
        if let Deed::Database(Trouble::Full) = deed {
            self.service.bound_files(None)?;
        }
        if let Some(mut connection) = self.locking.take() {
            connection.execute("ROLLBACK").await?;
            connection.close().await?;
        }
        Ok(())
    }

    fn database(&self) -> Result<&Proxy> {
        self.database.as_deref().context("this database is behind no proxy")
    }

    fn struck_connections(&self) -> u64 {
        self.front.struck() + self.database.as_ref().map_or(0, |database| database.struck())
    }

    async fn count(&self, deed: &Deed) -> Result<Counted> {
        let messages = self.outside.messages().await?;
        let inbound = messages.iter().filter(|one| text(one, "/direction") == "inbound").count();
        let (ehr, carrier) = match deed {
            Deed::Tokens(_) => self.outside.requests().await?,
            Deed::Carrier(ordered) if !is_counted(ordered) => self.outside.requests().await?,
            _ => Default::default(),
        };
        let renewed = ehr.iter().filter(|request| request.starts_with("POST /auth/token")).count() as u64;
        Ok(Counted {
            inbound,
            outbound: messages.len() - inbound,
            failed: self.outside.failed_webhooks().await?,
            renewed,
            asked: carrier.len() as u64,
            struck: self.struck_connections(),
        })
    }
}

/// Whether the party that misbehaves counts how often it did.
fn is_counted(ordered: &[Value]) -> bool {
    ordered.iter().any(|fault| fault.get("times").is_some())
}

/// Whether inbound texts may have to be fetched after it.
fn keeps_texts_away(fault: &Fault) -> bool {
    match &fault.deed {
        Deed::Front | Deed::Database(_) | Deed::Flood(_) => true,
        Deed::Carrier(faults) => faults.iter().any(|fault| text(fault, "/kind") == "all_down"),
        Deed::Ehr(_) | Deed::Tokens(_) => false,
    }
}

fn since(before: &BTreeMap<u64, u64>, after: &BTreeMap<u64, u64>) -> BTreeMap<u64, u64> {
    let grown = |(status, count): (&u64, &u64)| (*status, count - before.get(status).copied().unwrap_or_default());
    after.iter().map(grown).filter(|(_, count)| *count > 0).collect()
}

/// What a fault has to have shown while it lasted.
fn judge(fault: &Fault, figures: &Figures, wrong: &mut Vec<String>) {
    let mut say = |what: String| wrong.push(format!("{}: {what}", fault.name));
    if figures.struck == 0 || figures.struck >= UNCOUNTED {
        say("it struck nothing: nothing was tried".to_owned());
    }
    // A webhook is refused in two ways: not now, or by a front that breaks off.
    let allowed = |status: &u64| matches!(status, 0 | 503);
    let odd: Vec<u64> = figures.failed.keys().copied().filter(|status| !allowed(status)).collect();
    if !odd.is_empty() {
        say(format!("webhooks were answered with {odd:?}"));
    }
    if matches!(fault.deed, Deed::Database(Trouble::Full)) && !figures.failed.contains_key(&503) {
        say("no webhook was answered 503".to_owned());
    }
    if let Some(flooded) = &figures.flooded {
        let grown = flooded.most.saturating_sub(flooded.before);
        if grown > flood::MAY_GROW {
            say(format!("the service's memory grew by {} MB", grown >> 20));
        }
        if flooded.refused == 0 || !figures.failed.contains_key(&503) {
            say("nothing was refused: nothing was tried".to_owned());
        }
    }
}
