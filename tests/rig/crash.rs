//! The crash rig: load, kills at random moments, restarts, and the books at the end.

use crate::{
    balancer::Balancer,
    deeds::Deeds,
    load::Phase,
    mayhem::{Blows, Mayhem},
    processes::{Installation, Service, free_address},
    quiet::Settled,
    stage::{Database, Found, Stage},
};
use anyhow::{Result, ensure};
use chartwire::kernel::SeededEntropy;
use jiff::SignedDuration;
use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long the carrier keeps the answer to a send back, in milliseconds: kills then meet texts on their way.
const CARRIER_ANSWERS_IN: u64 = 120;

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

/// Runs the rig: whether the books agree.
pub(crate) async fn run(options: &Options) -> Result<bool> {
    let began = Instant::now();
    ensure!(options.processes == 1 || options.database == Database::Postgres, "two services share a PostgreSQL");
    let front = free_address();
    let each = if options.processes > 1 { SignedDuration::from_secs(7) } else { SignedDuration::from_millis(2_600) };
    let lasts = each * i32::try_from(options.kills)?;
    let mut stage = Stage::set(options.database, options.folder.as_deref(), front, lasts).await?;
    let (mut services, balancer) = services(&stage.installation, front, options.processes).await?;
    for service in &mut services {
        service.start()?;
        service.ready(&stage.outside.http).await?;
    }
    stage.outside.slow_sends(CARRIER_ANSWERS_IN).await?;
    let stored = stage.stored().await?;
    let deeds = Arc::new(Deeds::default());
    let (phase, busy) = watch::channel(Phase::Busy);
    let mut people = stage.people(&deeds, options.seed, &busy);
    let mut mayhem = Mayhem::new(SeededEntropy::new(options.seed), stage.outside.http.clone());
    mayhem.rage(&mut services, balancer.as_deref(), options.kills).await?;
    tokio::time::sleep_until(stage.reminded.into()).await;
    let mut settled = Settled::default();
    let hit = mayhem.blows.at.last().copied().unwrap_or_default();
    let mut wrong = stage.come_to_rest((&stored, hit), &phase, &mut people, &mut settled).await?;
    for service in &mut services {
        service.stop().await?;
    }
    let found = stage.hold_books(&stored, (&deeds, &settled, &mayhem.blows.at), &mut wrong).await?;
    stage.keep_tables(&stored, &wrong).await?;
    stored.db.close().await;
    stage.ask_commands(&mut wrong)?;
    println!("{}", report(options, (&mayhem.blows, &deeds), (&found, &settled), began.elapsed()));
    stage.tell(&wrong);
    Ok(wrong.is_empty())
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

fn report(
    options: &Options,
    (blows, deeds): (&Blows, &Deeds),
    (Found { books, visits }, settled): (&Found, &Settled),
    took: Duration,
) -> String {
    let database = options.database.name();
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
