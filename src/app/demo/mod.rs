//! `chartwire demo`: the service beside the sandbox's EHR, carrier and phones, on an embedded database.
//!
//! Owns the demo practice's settings and where its peers listen. The service runs exactly as in production: it reaches
//! EHR and carrier over HTTP, and nothing inside it knows that this is a demo (law 11). What differs is the practice's
//! settings, and they are printed.

mod browser;
mod peers;
mod practice;
mod sandbox;
mod secrets;
mod tour;

pub use peers::Peers;
use peers::Places;
pub use sandbox::{SandboxOptions, stand_alone};

use super::{AppError, ProcessRole, Running, Service};
use crate::{
    config::{
        ConfigError, Settings,
        logging::{self, LoggingError},
    },
    jobs::WorkerLimits,
    kernel::Instruments,
    sandbox::{SandboxError, carrier::CarrierError},
};
use jiff::tz::TimeZone;
use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

/// How long someone else's FHIR server may take to start.
const FHIR_PATIENCE: Duration = Duration::from_mins(2);

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
    /// Where the sandbox's EHR listens; the port after the service's, or any free one for a tour, unless given
    #[arg(long, value_name = "ADDRESS")]
    ehr_listen: Option<SocketAddr>,
    /// A FHIR R4 server of someone else on this machine to hold the charts in place of the sandbox's
    ///
    /// It should be empty: the demo waits until it answers and writes the clinic into it. It asks for access tokens of the
    /// sandbox's EHR: the issuer is `http://ADDRESS/auth`, its keys are at `/jwks` below the issuer, the audience is this URL
    /// without a slash at its end. Its smart-configuration names `/authorize` and `/token` below the issuer.
    /// tests/peers/README.md does it with helios-hfs.
    #[arg(long, value_name = "URL", requires = "ehr_listen")]
    fhir: Option<Url>,
}

impl DemoOptions {
    /// Everything stays on this machine.
    fn check(&self) -> Result<(), DemoError> {
        let is_here = match self.fhir.as_ref().map(Url::host) {
            None => true,
            Some(Some(Host::Domain(name))) => name == "localhost",
            Some(Some(Host::Ipv4(address))) => address.is_loopback(),
            Some(Some(Host::Ipv6(address))) => address.is_loopback(),
            Some(None) => false,
        };
        if !is_here {
            return Err(DemoError::FhirNotLoopback);
        }
        let mut listening = [Some(self.listen), self.ehr_listen].into_iter().flatten();
        if listening.all(|address| address.ip().is_loopback()) { Ok(()) } else { Err(DemoError::NotLoopback) }
    }
}

/// Why the demo did not run, or the tour did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Not a loopback address.
    #[error("the demo speaks plain HTTP: --listen and --ehr-listen must be loopback addresses such as 127.0.0.1:8080")]
    NotLoopback,
    /// The FHIR server is elsewhere.
    #[error("the demo writes a made-up clinic: --fhir must be a server on this machine, such as http://127.0.0.1:8090")]
    FhirNotLoopback,
    /// The sandbox's EHR.
    #[error("the sandbox's EHR does not start: {0}")]
    Ehr(#[from] SandboxError),
    /// The sandbox's carrier.
    #[error("the sandbox's carrier does not start: {0}")]
    Carrier(#[from] CarrierError),
    /// The demo practice's settings.
    #[error("the demo practice's settings are wrong: {0}")]
    Settings(#[from] ConfigError),
    /// The process has logging already.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// The service.
    #[error("the service does not start: {0}")]
    App(#[from] AppError),
    /// A folder, a file or the output.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A key could not be made.
    #[error("the demo could not make its keys")]
    Keys,
    /// Told to stop.
    #[error("stopped before it was done")]
    Stopped,
    /// A step of the tour did not happen.
    #[error("the tour stops here: {0}")]
    Step(String),
}

/// Runs the demo until `stop`, or the tour to its end.
///
/// # Errors
/// [`DemoError`]; a tour ends well only if every step of it happened.
pub async fn run(
    options: &DemoOptions,
    instruments: &Instruments,
    out: &mut (dyn Write + Send),
    stop: CancellationToken,
) -> Result<(), DemoError> {
    options.check()?;
    // Only so that nothing is removed while it is in use.
    let (folder, _temporary) = if let Some(folder) = &options.data {
        (folder.clone(), None)
    } else {
        let temporary = secrets::TemporaryFolder::create(instruments)?;
        (temporary.path().to_path_buf(), Some(temporary))
    };
    std::fs::create_dir_all(&folder)?;
    let listen = if options.tour { free_address()? } else { options.listen };
    secrets::keep(&folder, instruments)?;
    let zone = practice::zone();
    let peers = tokio::select! {
        peers = surroundings(options, (listen, &zone), instruments, out) => peers?,
        () = stop.cancelled() => return Err(DemoError::Stopped),
    };
    let text = practice::settings(listen, &zone, &peers, instruments);
    let settings = Settings::parse(&text, &folder, &secrets::FilesAlone)?;
    // What goes wrong is seen beside what is printed, on standard error.
    logging::install(settings.log)?;
    let mut running = Running::with(instruments.clone());
    running.workers = WorkerLimits { longest_backoff: Duration::from_secs(5), ..WorkerLimits::default() };
    let service = Service::start(&settings, running, &[ProcessRole::Web, ProcessRole::Worker]).await?;
    let ended = if options.tour {
        practice::print(out)?;
        let running = tokio::spawn(service.run(stop.clone()));
        let walked = tokio::select! {
            walked = tour::walk(&peers, listen, out) => walked,
            () = stop.cancelled() => Err(DemoError::Stopped),
        };
        stop.cancel();
        running.await.map_err(|_| DemoError::Step("the service stopped in the middle".to_owned()))??;
        match walked {
            Ok(()) => tour::verify_audit(&settings, instruments, out).await,
            Err(error) => Err(error),
        }
    } else {
        welcome(out, listen, &peers)?;
        Ok(service.run(stop).await?)
    };
    peers.shutdown().await;
    ended
}

/// What the service is put among: its peers, with the clinic wherever the charts are kept.
async fn surroundings(
    options: &DemoOptions,
    (service, zone): (SocketAddr, &TimeZone),
    instruments: &Instruments,
    out: &mut (dyn Write + Send),
) -> Result<Peers, DemoError> {
    let (ehr, fhir) = (options.ehr_listen, options.fhir.clone());
    let places = Places { service, beside: !options.tour, ehr, fhir, zone: zone.clone() };
    practice::wait_out_midnight(instruments, zone, if options.fhir.is_some() { FHIR_PATIENCE } else { Duration::ZERO })
        .await;
    let peers = Peers::start(places, instruments).await?;
    if let Some(fhir) = &options.fhir {
        await_fhir(out, fhir, &peers)?;
        peers.ehr.seed(FHIR_PATIENCE).await?;
    }
    Ok(peers)
}

/// Says what the FHIR server has to know: it may be started only now, and may want the keys at its own start.
fn await_fhir(out: &mut (dyn Write + Send), fhir: &Url, peers: &Peers) -> io::Result<()> {
    let at = peers.ehr.endpoints();
    writeln!(out, "The charts are kept by the FHIR server at {fhir}")?;
    writeln!(out, "  it accepts access tokens of {}, signed by the keys at {}", at.issuer, at.jwks)?;
    writeln!(out, "  waiting for it for up to {} seconds, then writing the clinic into it\n", FHIR_PATIENCE.as_secs())?;
    out.flush()
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use rstest::rstest;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: DemoOptions,
    }

    fn parsed(arguments: &[&str]) -> Option<DemoOptions> {
        Line::try_parse_from([&["demo"], arguments].concat()).ok().map(|line| line.options)
    }

    #[rstest]
    #[case::alone(&[])]
    #[case::here(&["--ehr-listen", "127.0.0.1:9000", "--fhir", "http://127.0.0.1:8090"])]
    #[case::by_name(&["--ehr-listen", "[::1]:9000", "--fhir", "http://localhost:8090/fhir"])]
    fn what_stays_on_this_machine_is_taken(#[case] arguments: &[&str]) {
        parsed(arguments).unwrap().check().unwrap();
    }

    #[rstest]
    #[case::service(&["--listen", "0.0.0.0:8080"])]
    #[case::ehr(&["--ehr-listen", "192.0.2.1:9000"])]
    #[case::fhir(&["--ehr-listen", "127.0.0.1:9000", "--fhir", "https://ehr.example/fhir"])]
    #[case::look_alike(&["--ehr-listen", "127.0.0.1:9000", "--fhir", "http://127.0.0.1.example/fhir"])]
    #[case::no_host(&["--ehr-listen", "127.0.0.1:9000", "--fhir", "data:text/plain,x"])]
    fn what_leaves_this_machine_is_refused(#[case] arguments: &[&str]) {
        parsed(arguments).unwrap().check().unwrap_err();
    }

    #[test]
    fn a_fhir_server_has_to_know_where_the_ehr_is() {
        assert!(parsed(&["--fhir", "http://127.0.0.1:8090"]).is_none());
    }
}
