//! How soon a process is ready, and how much memory it takes: `cargo bench -- start`.
//!
//! The program is started as an operator starts it. What it takes after a million texts is measured on SQLite, with the
//! texts coming in by webhook and being read meanwhile.

use crate::load::Client;
use crate::{
    database::{Database, Engine},
    inbound,
    installation::{Beside, Installation},
    memory::Memory,
    report::{self, Arguments, median, rounded},
};
use anyhow::{Result, ensure};
use chartwire::db::{Db, sql};
use serde_json::json;
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_chartwire");
/// Longer than any start may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// After this long without a request a process is idle.
const SETTLES_IN: Duration = Duration::from_secs(5);
/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1/";
const CONNECTIONS: usize = 64;
/// How many requests are made at once.
const BATCH: usize = 20_000;

/// A process of the service. It is killed with this value.
struct Process {
    child: Child,
    address: SocketAddr,
    /// From its start to its readiness.
    ready_after: Duration,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    async fn start(installation: &Installation) -> Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg("--config").arg(installation.file());
        command.env("CHARTWIRE__SERVER__LISTEN", address.to_string()).env("CHARTWIRE__LOG__LEVEL", "error");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = Instant::now();
        let mut process = Self { child: command.spawn()?, address, ready_after: Duration::ZERO };
        while !is_ready(address).await {
            ensure!(process.child.try_wait()?.is_none(), "the program has ended");
            ensure!(started.elapsed() < PATIENCE, "the program does not become ready");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        process.ready_after = started.elapsed();
        Ok(process)
    }

    fn memory(&self) -> Result<Memory> {
        Memory::of(&self.child.id().to_string())
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    let ask = async {
        let mut connection = TcpStream::connect(address).await.ok()?;
        connection.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ok()?;
        let mut answer = [0; 12];
        connection.read_exact(&mut answer).await.ok()?;
        Some(answer.starts_with(b"HTTP/1.1 200"))
    };
    ask.await.unwrap_or(false)
}

async fn starts(arguments: &Arguments, engine: Engine) -> Result<()> {
    let database = Database::new(engine).await?;
    let installation = Installation::new(&Beside { database: &database.url, ehr: NOWHERE, carrier: NOWHERE })?;
    // The first makes the schema and the keys.
    let first = Process::start(&installation).await?.ready_after;
    let mut times = Vec::new();
    for _ in 0..arguments.size(11, 2) {
        times.push(Process::start(&installation).await?.ready_after.as_secs_f64() * 1000.0);
    }
    let process = Process::start(&installation).await?;
    tokio::time::sleep(SETTLES_IN).await;
    let idle = process.memory()?;
    report::print(&json!({
        "name": "start",
        "database": engine.to_string(),
        "what": "from exec to /readyz, median",
        "unit": "ms",
        "measured": rounded(median(&times)),
        "goal": "< 300",
        "met": median(&times) < 300.0,
        "count": times.len(),
        "more": {
            "slowest": rounded(times.iter().copied().fold(0.0, f64::max)),
            "first_start_with_migrations_and_keys": rounded(first.as_secs_f64() * 1000.0),
        },
    }));
    report::print(&json!({
        "name": "start",
        "database": engine.to_string(),
        "what": "resident memory of an idle process",
        "unit": "MB",
        "measured": rounded(idle.resident),
        "goal": "< 50",
        "met": idle.resident < 50.0,
        "seconds": SETTLES_IN.as_secs(),
    }));
    Ok(())
}

async fn after_many(count: usize) -> Result<()> {
    let database = Database::new(Engine::Sqlite).await?;
    let installation = Installation::new(&Beside { database: &database.url, ehr: NOWHERE, carrier: NOWHERE })?;
    let process = Process::start(&installation).await?;
    let client = Client { address: process.address, connections: CONNECTIONS };
    let started = Instant::now();
    for from in (0..count).step_by(BATCH) {
        let requests = inbound::webhooks(from, (from + BATCH).min(count));
        client.as_fast_as_it_goes(Arc::new(requests)).await?;
    }
    let took = started.elapsed();
    tokio::time::sleep(SETTLES_IN).await;
    let memory = process.memory()?;
    let db = Db::open_as_it_stands(&database.url).await?;
    let kept = sql(
        "SELECT COUNT(*) AS kept, SUM(CASE WHEN state = 'read' THEN 1 ELSE 0 END) AS read FROM message WHERE direction = 'in'",
    );
    let kept = db.one(kept).await?;
    db.close().await;
    report::print(&json!({
        "name": "start",
        "database": "sqlite",
        "what": "resident memory after a million texts, by webhook, being read meanwhile",
        "unit": "MB",
        "measured": rounded(memory.resident),
        "goal": "< 100",
        "met": memory.resident < 100.0,
        "seconds": rounded(took.as_secs_f64()),
        "count": kept.get::<i64>("kept")?,
        "more": { "peak": rounded(memory.peak), "read": kept.get::<i64>("read")? },
    }));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "bytes of one file")]
fn program_size() -> Result<()> {
    report::print(&json!({
        "name": "start",
        "what": "size of the stripped program",
        "unit": "MB",
        "measured": rounded(fs::metadata(PROGRAM)?.len() as f64 / 1_000_000.0),
        "more": { "with_sandbox": cfg!(feature = "sandbox") },
    }));
    Ok(())
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    program_size()?;
    for engine in arguments.engines() {
        starts(arguments, engine).await?;
    }
    if arguments.engines().contains(&Engine::Sqlite) {
        after_many(arguments.size(1_000_000, 500)).await?;
    }
    Ok(())
}
