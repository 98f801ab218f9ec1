//! What the service bears, each figure beside its limit: one binary, so that it links once.
//!
//! `cargo bench -- webhook` runs one benchmark, `cargo bench` all of them; `--quick` sees that they work. The figures are
//! JSON lines. How they are read, and what they were, stands in `docs/performance.md`.

mod bare_webhook;
mod carrier;
mod chart;
mod database;
mod fhir_server;
mod inbound;
mod installation;
mod load;
mod memory;
mod numbers;
mod patients;
mod peer;
#[cfg(test)]
#[path = "../tests/it/postgres.rs"]
mod postgres;
mod report;
mod send;
#[path = "../tests/it/settings_file.rs"]
mod settings_file;
mod start;
mod sweep;
mod sweep_limit;
mod visits;
mod webhook;

use anyhow::Result;
use clap::{Parser as _, ValueEnum as _};
use report::{Arguments, Benchmark};

/// Here a commit waits for the disk, as in production.
const POSTGRES_FSYNC: &str = "on";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let benchmarks = if arguments.benchmarks.is_empty() { Benchmark::value_variants() } else { &arguments.benchmarks };
    for benchmark in benchmarks {
        match benchmark {
            Benchmark::Webhook => webhook::run(&arguments).await?,
            Benchmark::Send => Box::pin(send::run(&arguments)).await?,
            Benchmark::Chart => Box::pin(chart::run(&arguments)).await?,
            Benchmark::Sweep => Box::pin(sweep::run(&arguments)).await?,
            Benchmark::Start => start::run(&arguments).await?,
        }
    }
    Ok(())
}
