//! Signed inbound webhooks acknowledged over 256 connections: `cargo bench -- webhook`.
//!
//! The limit is the same HTTP server over the same group commit: it reads the body, commits rows of the same tables and
//! sizes, and does nothing else. No signature, no form, no sealing, no rule.

use crate::load::{Client, Requests, percentile};
use crate::{
    bare_webhook,
    database::{Database, Engine},
    inbound,
    installation::{Beside, Installation},
    report::{self, Arguments, Measured, Round, Subject, rounded},
};
use anyhow::{Result, ensure};
use chartwire::{
    app::{ProcessRole, Running, Service},
    db::{Db, sql},
    kernel::Instruments,
};
use serde_json::json;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Where nobody listens: nothing of this needs the EHR or the carrier's API.
const NOWHERE: &str = "http://127.0.0.1:1/";
const CONNECTIONS: usize = 256;
const LIMIT: &str = "the same server, reading the body and group-committing the same rows";

/// Who answers the webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// The service; its jobs are run by another process.
    Web,
    /// The service, all in one process: it reads the texts as they come.
    WebAndWorker,
    /// The limit.
    Bare,
}

/// A server that runs, over a database of its own.
struct OneServer {
    address: SocketAddr,
    db: Db,
    stop: CancellationToken,
    serving: JoinHandle<Result<()>>,
    _installation: Option<Installation>,
    _database: Database,
}

impl OneServer {
    async fn start(engine: Engine, server: Server) -> Result<Self> {
        let database = Database::new(engine).await?;
        let stop = CancellationToken::new();
        if server == Server::Bare {
            let (address, db, serving) = bare_webhook::serve(&database.url, stop.clone()).await?;
            return Ok(Self { address, db, stop, serving, _installation: None, _database: database });
        }
        let beside = Beside { database: &database.url, ehr: NOWHERE, carrier: NOWHERE };
        let installation = Installation::new(&beside)?;
        let roles: &[ProcessRole] =
            if server == Server::Web { &[ProcessRole::Web] } else { &[ProcessRole::Web, ProcessRole::Worker] };
        let service = Service::start(&installation.settings()?, Running::with(Instruments::system()), roles).await?;
        let (address, db) = (service.address(), service.app().db().clone());
        let ends = stop.clone();
        let serving = tokio::spawn(async move { Ok(service.run(ends).await?) });
        Ok(Self { address, db, stop, serving, _installation: Some(installation), _database: database })
    }

    /// Holds the books against what was acknowledged, and stops.
    async fn stop(self, acknowledged: usize) -> Result<()> {
        let kept: i64 = self.db.one(sql("SELECT COUNT(*) AS n FROM message WHERE direction = 'in'")).await?.get("n")?;
        ensure!(usize::try_from(kept)? == acknowledged, "{acknowledged} acknowledged, {kept} kept");
        drop(self.db);
        self.stop.cancel();
        self.serving.await?
    }
}

/// How much is sent.
#[derive(Clone, Copy)]
struct Size {
    warm_up: usize,
    count: usize,
    /// How long the constant rate is kept.
    steady: Duration,
}

/// As fast as it goes, after a warm-up.
async fn throughput(engine: Engine, server: Server, size: Size) -> Result<Measured> {
    let running = OneServer::start(engine, server).await?;
    let client = Client { address: running.address, connections: CONNECTIONS };
    client.as_fast_as_it_goes(Arc::new(inbound::webhooks(0, size.warm_up))).await?;
    let requests: Requests = Arc::new(inbound::webhooks(size.warm_up, size.warm_up + size.count));
    let took = client.as_fast_as_it_goes(requests).await?;
    running.stop(size.warm_up + size.count).await?;
    Ok(Measured { count: size.count, took })
}

/// The median, the 99th percentile and the longest at a constant rate, in milliseconds.
async fn latency(engine: Engine, server: Server, size: Size, rate: f64) -> Result<[f64; 3]> {
    let running = OneServer::start(engine, server).await?;
    let client = Client { address: running.address, connections: CONNECTIONS };
    client.as_fast_as_it_goes(Arc::new(inbound::webhooks(0, size.warm_up))).await?;
    let count = texts_in(size.steady, rate);
    let requests: Requests = Arc::new(inbound::webhooks(size.warm_up, size.warm_up + count));
    let latencies = client.at_rate(requests, rate).await?;
    running.stop(size.warm_up + count).await?;
    Ok([0.5, 0.99, 1.0].map(|share| percentile(&latencies, share)))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands")]
fn texts_in(span: Duration, rate: f64) -> usize {
    (span.as_secs_f64() * rate) as usize
}

async fn measure(arguments: &Arguments, engine: Engine) -> Result<()> {
    let size = Size {
        warm_up: arguments.size(3_000, 100),
        count: arguments.size(60_000, 400),
        steady: Duration::from_secs(arguments.size(10, 1) as u64),
    };
    let (mut apart, mut together) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds() {
        let limit = throughput(engine, Server::Bare, size).await?;
        let ours = throughput(engine, Server::Web, size).await?;
        apart.push(Round { ours, limit });
        let ours = throughput(engine, Server::WebAndWorker, size).await?;
        together.push(Round { ours, limit });
    }
    let subject = Subject {
        name: "webhook",
        database: engine,
        what: "signed inbound texts acknowledged over 256 connections by a web process",
        limit: LIMIT,
        unit: "texts/s",
        goal: Some(0.7),
    };
    let rate = report::compare(&subject, &apart, &json!({}));
    let subject =
        Subject { what: "the same while the same process reads and answers the texts", goal: None, ..subject };
    report::compare(&subject, &together, &json!({}));
    steady(arguments, engine, size, rate / 2.0).await
}

/// At half of what it bears, with the limit beside it at the same rate.
async fn steady(arguments: &Arguments, engine: Engine, size: Size, rate: f64) -> Result<()> {
    let (mut ours, mut limit) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds() {
        limit.push(latency(engine, Server::Bare, size, rate).await?);
        ours.push(latency(engine, Server::Web, size, rate).await?);
    }
    let best = |runs: &[[f64; 3]]| {
        let best = runs.iter().min_by(|a, b| f64::total_cmp(&a[1], &b[1])).copied().unwrap_or([f64::NAN; 3]);
        json!({ "p50": rounded(best[0]), "p99": rounded(best[1]), "longest": rounded(best[2]) })
    };
    let (best_of_ours, best_of_limit) = (best(&ours), best(&limit));
    let p99 = |runs: &[[f64; 3]]| runs.iter().map(|run| rounded(run[1])).collect::<Vec<f64>>();
    report::print(&json!({
        "name": "webhook",
        "database": engine.to_string(),
        "what": "time from when a text was due to its acknowledgement, at half of that rate, open loop, best run",
        "limit_is": LIMIT,
        "unit": "ms",
        "measured": best_of_ours,
        "limit": best_of_limit,
        "goal": "p99 < 25",
        "met": p99(&ours).iter().any(|p99| *p99 < 25.0),
        "rounds": { "measured_p99": p99(&ours), "limit_p99": p99(&limit) },
        "per_second": rounded(rate),
        "seconds": size.steady.as_secs(),
        "count": texts_in(size.steady, rate),
    }));
    Ok(())
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    for engine in arguments.engines() {
        measure(arguments, engine).await?;
    }
    Ok(())
}
