//! Rigs that run the service as a process among processes and treat it badly. Not part of `cargo test`:
//!
//! ```sh
//! cargo test --test rig -- crash --database sqlite --kills 20 --seed 7
//! cargo test --test rig -- faults --database sqlite --seed 7
//! ```
//!
//! The modules are marked as tests for the lints' sake: in tests, and only there, a failure may panic.

#[cfg(test)]
mod balancer;
#[cfg(test)]
mod books;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod clinic;
#[cfg(test)]
mod collector;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod deeds;
#[cfg(test)]
mod fault_list;
#[cfg(test)]
mod fault_work;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod flood;
#[cfg(test)]
mod load;
#[cfg(test)]
mod mayhem;
#[cfg(test)]
mod needles;
#[cfg(test)]
mod nurse;
#[cfg(test)]
mod outside;
#[cfg(test)]
#[path = "../it/postgres.rs"]
mod postgres;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod quiet;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod stored;
mod stuck;
#[cfg(test)]
mod visits;

use clap::Parser as _;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// The rigs kill the service, not the database's server.
#[cfg(test)]
const POSTGRES_FSYNC: &str = "off";

#[derive(clap::Parser)]
#[command(name = "rig")]
enum Rig {
    /// Kills the service at random moments under load, and checks the books
    Crash(crash::Options),
    /// Has EHR, carrier and database fail in every way there is under load, and checks the books
    Faults(faults::Options),
    /// Marks what is a patient's, runs the service at its most talkative, and looks for the marks where none may be
    Canary(canary::Options),
}

/// Ends with what `work` ends with, or at a signal; then nothing that was started is left running.
async fn until_told_to_stop(work: impl Future<Output = anyhow::Result<bool>>) -> anyhow::Result<bool> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = work => ended,
        _ = terminated.recv() => anyhow::bail!("told to stop"),
        _ = tokio::signal::ctrl_c() => anyhow::bail!("told to stop"),
    }
}

fn main() -> ExitCode {
    let rig = Rig::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no threads could be started: {error}");
            return ExitCode::from(2);
        }
    };
    let run = async {
        match rig {
            Rig::Crash(options) => crash::run(&options).await,
            Rig::Faults(options) => faults::run(&options).await,
            Rig::Canary(options) => canary::run(&options).await,
        }
    };
    match runtime.block_on(until_told_to_stop(run)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the rig could not do its work: {error:#}");
            ExitCode::from(2)
        }
    }
}
