//! The fault rig: what the service depends on fails, one way after the other, under load; then the books.

use crate::{
    deeds::Deeds,
    fault_list::{Fault, UNCOUNTED, faults},
    fault_work::{Figures, Scene},
    load::Phase,
    processes::{Installation, Service, free_address},
    proxy::Proxy,
    quiet::Settled,
    stage::{Database, Found, Stage},
};
use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long the service is left in peace between two faults, in seconds.
const PEACE: u64 = 2;

/// How the rig is run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The service's database
    #[arg(long, value_enum, default_value = "sqlite")]
    database: Database,
    /// Only these faults
    #[arg(long, num_args = 1..)]
    only: Vec<String>,
    /// How long each fault lasts, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(3..=3600))]
    seconds: u64,
    /// Hold the books after each fault, and not only after all of them
    #[arg(long)]
    each: bool,
    /// How many requests of a kind the service takes at once; a large number shows what a flood does without a bound
    #[arg(long, default_value_t = 32)]
    requests_at_once: u32,
    /// Decides who writes what and when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the folder with database and logs, and put it here
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Runs the rig: whether the books agree.
pub(crate) async fn run(options: &Options) -> Result<bool> {
    let began = Instant::now();
    let faults = chosen(options)?;
    println!("{}, seed {}: {} faults of {} s", options.database.name(), options.seed, faults.len(), options.seconds);
    let front = free_address();
    let lasts = SignedDuration::from_secs(i64::try_from((options.seconds + PEACE) * faults.len() as u64)?);
    let mut stage = Stage::set(options.database, options.folder.as_deref(), front, lasts).await?;
    let (installation, database) = behind_proxy(&stage, options).await?;
    let mut service = Service::new("service", &installation, free_address());
    let front = Proxy::start(front, service.address, b"POST /carriers").await?;
    service.start()?;
    service.ready(&stage.outside.http).await?;
    let stored = stage.stored().await?;
    let mut scene = Scene::new(stage.outside.clone(), service, (front, database), stage.folder.clone());
    let (deeds, mut settled, mut wrong) = (Arc::new(Deeds::default()), Settled::default(), Vec::new());
    let groups: Vec<&[Fault]> = if options.each { faults.chunks(1).collect() } else { vec![&faults] };
    for (number, group) in groups.iter().enumerate() {
        let (phase, busy) = watch::channel(Phase::Busy);
        let mut people = stage.people(&deeds, options.seed.wrapping_add(number as u64), &busy);
        for fault in *group {
            tell(fault, &scene.bring_on(fault, options.seconds, &mut wrong).await?);
            scene.peace(PEACE, &stored, &mut settled).await;
        }
        if number + 1 == groups.len() {
            tokio::time::sleep_until(stage.reminded.into()).await;
        }
        let kept_away = scene.kept_away.unwrap_or(Timestamp::MIN);
        wrong.extend(stage.come_to_rest((&stored, kept_away), &phase, &mut people, &mut settled).await?);
        let found = stage.hold_books(&stored, (&deeds, &settled, &scene.blows), &mut wrong).await?;
        println!("{}", report(&deeds, (&found, &settled), began.elapsed()));
    }
    scene.service.stop().await?;
    stage.keep_tables(&stored, &wrong).await?;
    stored.db.close().await;
    stage.ask_commands(&mut wrong)?;
    wrong.dedup();
    stage.tell(&wrong);
    Ok(wrong.is_empty())
}

fn chosen(options: &Options) -> Result<Vec<Fault>> {
    let mut all = faults(options.database);
    let names: Vec<&str> = all.iter().map(|fault| fault.name).collect();
    for name in &options.only {
        ensure!(names.contains(&name.as_str()), "there is no fault {name:?}; there are: {}", names.join(", "));
    }
    all.retain(|fault| options.only.is_empty() || options.only.iter().any(|name| name == fault.name));
    Ok(all)
}

/// The service's settings, and the proxy that its database is behind, where that is a server.
async fn behind_proxy(stage: &Stage, options: &Options) -> Result<(Installation, Option<Arc<Proxy>>)> {
    let mut installation = stage.installation.clone();
    let at_once = options.requests_at_once.to_string();
    installation.overrides.push(("CHARTWIRE__SERVER__REQUESTS_AT_ONCE".to_owned(), at_once));
    if options.database == Database::Sqlite {
        return Ok((installation, None));
    }
    let mut url: url::Url = stage.database_url.parse()?;
    let server = url.socket_addrs(|| None)?.into_iter().next().context("a database without an address")?;
    let listen = free_address();
    ensure!(url.set_port(Some(listen.port())).is_ok(), "the database's URL takes no port");
    std::fs::write(stage.folder.join("database-url-behind-proxy"), url.as_str())?;
    let place = "{ file = \"database-url-behind-proxy\" }".to_owned();
    installation.overrides.push(("CHARTWIRE__DATABASE__URL".to_owned(), place));
    Ok((installation, Some(Proxy::start(listen, server, b"").await?)))
}

fn tell(fault: &Fault, figures: &Figures) {
    let failed: Vec<String> = figures
        .failed
        .iter()
        .map(
            |(status, count)| if *status == 0 { format!("{count} unanswered") } else { format!("{count} of {status}") },
        )
        .collect();
    let memory = figures.flooded.as_ref().map_or_else(String::new, |flooded| {
        format!(
            "; {} texts at once, {} large bodies refused; resident {} MB before, {} MB at most",
            flooded.written,
            flooded.refused,
            flooded.before >> 20,
            flooded.most >> 20
        )
    });
    println!(
        "  {:<32} struck {:>4}; in: {} texts, webhooks failed: {}; out: {} accepted; ready again after {} ms{memory}",
        fault.name,
        figures.struck,
        figures.written,
        if failed.is_empty() { "none".to_owned() } else { failed.join(", ") },
        figures.accepted,
        figures.ready_after.as_millis(),
    );
    debug_assert!(figures.struck < UNCOUNTED, "a count that ran out");
}

fn report(deeds: &Deeds, (Found { books, visits }, settled): (&Found, &Settled), took: Duration) -> String {
    format!(
        "  after {} s: in {} acknowledged, {} fetched; out {} accepted, {} not sent; chart {}; {} launches, {} replies, \
         {} broken off; visits {} moved, {} cancelled, {} confirmed; {} texts left to a person; disagreements: {}",
        took.as_secs(),
        books.acknowledged,
        books.fetched,
        books.sent,
        books.not_sent,
        books.filed,
        deeds.launched.load(Ordering::Relaxed),
        books.replies,
        deeds.interrupted.load(Ordering::Relaxed),
        visits.moved,
        visits.cancelled,
        visits.confirmed,
        settled.by_person.len(),
        if books.wrong.is_empty() { "none".to_owned() } else { books.wrong.len().to_string() }
    )
}
