//! `chartwire demo`: the service beside the sandbox's EHR, carrier and phones, on an embedded database.
//!
//! Owns the demo practice's settings and where its peers listen. The service runs exactly as in production: it reaches
//! EHR and carrier over HTTP, and nothing inside it knows that this is a demo (law 11). What differs is the practice's
//! settings, and they are printed.

mod browser;
mod peers;
mod practice;
mod secrets;
mod tour;

pub use peers::Peers;

use super::{AppError, ProcessRole, Running, Service};
use crate::{
    config::{ConfigError, Settings},
    jobs::WorkerLimits,
    kernel::Instruments,
    sandbox::{SandboxError, carrier::CarrierError},
};
use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How the demo is started.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoOptions {
    /// Do the main job without a browser, print each step, and end
    #[arg(long)]
    tour: bool,
    /// Where the service listens; other addresses than loopback are refused, because the demo has no TLS
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the demo's database and keys are kept; a folder of its own that is removed at the end, unless given
    #[arg(long)]
    data: Option<PathBuf>,
}

/// Why the demo did not run, or the tour did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Not a loopback address.
    #[error("the demo speaks plain HTTP: --listen must be a loopback address such as 127.0.0.1:8080")]
    NotLoopback,
    /// The sandbox's EHR.
    #[error("the sandbox's EHR does not start: {0}")]
    Ehr(#[from] SandboxError),
    /// The sandbox's carrier.
    #[error("the sandbox's carrier does not start: {0}")]
    Carrier(#[from] CarrierError),
    /// The demo practice's settings.
    #[error("the demo practice's settings are wrong: {0}")]
    Settings(#[from] ConfigError),
    /// The service.
    #[error("the service does not start: {0}")]
    App(#[from] AppError),
    /// A folder, a file or the output.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A key could not be made.
    #[error("the demo could not make its keys")]
    Keys,
    /// A step of the tour did not happen.
    #[error("the tour stops here: {0}")]
    Step(String),
}

/// Runs the demo until ctrl-c, or the tour to its end.
///
/// # Errors
/// [`DemoError`]; a tour ends well only if every step of it happened.
pub async fn run(
    options: &DemoOptions,
    instruments: &Instruments,
    out: &mut (dyn Write + Send),
) -> Result<(), DemoError> {
    if !options.listen.ip().is_loopback() {
        return Err(DemoError::NotLoopback);
    }
    // Only so that nothing is removed while it is in use.
    let (folder, _temporary) = if let Some(folder) = &options.data {
        (folder.clone(), None)
    } else {
        let temporary = secrets::TemporaryFolder::create(instruments)?;
        (temporary.path().to_path_buf(), Some(temporary))
    };
    std::fs::create_dir_all(&folder)?;
    let listen = if options.tour { free_address()? } else { options.listen };
    let secrets = secrets::Secrets::of(&folder, instruments)?;
    practice::wait_out_midnight(instruments).await;
    let peers = Peers::start(listen, !options.tour, instruments).await?;
    let text = practice::settings(listen, &peers, instruments);
    let settings = Settings::parse(&text, &folder, &secrets)?;
    let mut running = Running::with(instruments.clone());
    running.workers = WorkerLimits { longest_backoff: Duration::from_secs(5), ..WorkerLimits::default() };
    let service = Service::start(&settings, running, &[ProcessRole::Web, ProcessRole::Worker]).await?;
    let stop = CancellationToken::new();
    let ended = if options.tour {
        practice::print(out)?;
        let running = tokio::spawn(service.run(stop.clone()));
        let walked = tour::walk(&peers, listen, out).await;
        stop.cancel();
        running.await.map_err(|_| DemoError::Step("the service stopped in the middle".to_owned()))??;
        match walked {
            Ok(()) => tour::verify_audit(&settings, instruments, out).await,
            Err(error) => Err(error),
        }
    } else {
        welcome(out, listen, &peers)?;
        let asked = stop.clone();
        tokio::spawn(async move {
            let _ = tokio::signal::ctrl_c().await;
            asked.cancel();
        });
        Ok(service.run(stop).await?)
    };
    peers.shutdown().await;
    ended
}

/// A loopback port that nothing listens on.
fn free_address() -> io::Result<SocketAddr> {
    std::net::TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0))?.local_addr()
}

fn welcome(out: &mut (dyn Write + Send), listen: SocketAddr, peers: &Peers) -> io::Result<()> {
    writeln!(out, "Chartwire's demo is running. Nothing of it leaves this machine.\n")?;
    writeln!(out, "  1. The EHR      {}", peers.ehr.base_url())?;
    writeln!(out, "     Choose who you are, then a patient; the texting sidebar opens inside the chart.")?;
    writeln!(out, "  2. The phones   {}", peers.carrier.phones_url())?;
    writeln!(out, "     Answer as a patient: C, R, \"thu 10\", YES, STOP, or in your own words.")?;
    writeln!(out, "  3. The service  http://{listen}/healthz\n")?;
    practice::print(out)?;
    writeln!(out, "\nStop with ctrl-c.")?;
    out.flush()
}
