//! `chartwire sandbox`: the EHR, the carrier and the phones alone, for a service that runs as a process of its own.
//!
//! Writes the practice's settings and secrets for that service into a folder, and last of all [`PLACES`], which tells
//! programs where everything is: who waits for that file finds the sandbox ready.

use super::{
    DemoError,
    peers::{Peers, Places},
    practice, secrets,
};
use crate::kernel::Instruments;
use jiff::tz::TimeZone;
use serde_json::json;
use std::{io::Write, net::SocketAddr, path::PathBuf};
use tokio_util::sync::CancellationToken;

/// The settings of the practice.
const SETTINGS: &str = "chartwire.toml";
/// Where the sandbox's parts are, as JSON: `ehr`, `fhir`, `carrier`, and `staff_token`, with which the EHR's own staff read
/// and write its charts.
const PLACES: &str = "sandbox.json";

/// How the sandbox is started alone.
#[derive(Debug, Clone, clap::Args)]
pub struct SandboxOptions {
    /// Where the EHR listens; a loopback address
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Where the service will listen
    #[arg(long, default_value = "127.0.0.1:8080")]
    service: SocketAddr,
    /// The folder that the practice's settings (chartwire.toml) and secrets are written to
    #[arg(long)]
    data: PathBuf,
    /// The clinic's IANA time zone
    #[arg(long, value_parser = zone, default_value = super::peers::ZONE)]
    zone: TimeZone,
}

fn zone(name: &str) -> Result<TimeZone, jiff::Error> {
    TimeZone::get(name)
}

/// Runs the sandbox until `stop`.
///
/// # Errors
/// [`DemoError`]: an address that is taken or not on this machine, or the folder.
pub async fn stand_alone(
    options: SandboxOptions,
    instruments: &Instruments,
    out: &mut (dyn Write + Send),
    stop: CancellationToken,
) -> Result<(), DemoError> {
    let SandboxOptions { listen, service, data, zone } = options;
    if !(listen.ip().is_loopback() && service.ip().is_loopback()) {
        return Err(DemoError::NotLoopback);
    }
    std::fs::create_dir_all(&data)?;
    secrets::keep(&data, instruments)?;
    let places = Places { service, beside: false, ehr: Some(listen), fhir: None, zone: zone.clone() };
    let peers = Peers::start(places, instruments).await?;
    let settings = data.join(SETTINGS);
    std::fs::write(&settings, practice::settings(service, &zone, &peers, instruments))?;
    let places = json!({
        "ehr": peers.ehr.base_url(),
        "fhir": peers.ehr.fhir_base(),
        "carrier": peers.carrier.api_base(),
        "staff_token": peers.ehr.staff_token(),
    });
    std::fs::write(data.join("sandbox.json.new"), places.to_string())?;
    std::fs::rename(data.join("sandbox.json.new"), data.join(PLACES))?;
    writeln!(out, "The sandbox is running. Nothing of it leaves this machine.\n")?;
    writeln!(out, "  The EHR      {}", peers.ehr.base_url())?;
    writeln!(out, "  The phones   {}", peers.carrier.phones_url())?;
    writeln!(out, "  The service  chartwire serve --config {}\n", settings.display())?;
    practice::print(out)?;
    out.flush()?;
    stop.cancelled().await;
    peers.shutdown().await;
    Ok(())
}
