//! `serve`: a process of the service.

use super::{CommandError, Ended};
#[cfg(feature = "otel")]
use crate::config::traces::Traces;
use crate::{
    app::{ProcessRole, Running, Service},
    config::{Settings, logging, metrics::Metrics},
    jobs::WorkerLimits,
    kernel::Instruments,
};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often histograms are folded, so that they do not grow where nobody reads `/metrics`.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

pub(super) async fn serve(
    settings: &Settings,
    roles: &[ProcessRole],
    instruments: &Instruments,
) -> Result<Ended, CommandError> {
    let _traced = Traced::begin(settings)?;
    let metrics = Metrics::install().map_err(|_| CommandError::Instrumentation("metrics are set up already"))?;
    // Before anything is opened: a stop during the start ends the process cleanly too.
    let stop = stop_at_signal()?;
    let workers = WorkerLimits { lease: settings.jobs.lease, ..WorkerLimits::default() };
    let running = Running { metrics: Some(metrics.handle()), workers, ..Running::with(instruments.clone()) };
    let service = Service::start(settings, running, roles).await?;
    tokio::spawn(keep_up(metrics, stop.clone()));
    service.run(stop).await?;
    Ok(Ended::Well)
}

/// Logging, and traces where the settings want them: the last are sent when this ends.
struct Traced {
    #[cfg(feature = "otel")]
    _traces: Option<Traces>,
}

impl Traced {
    fn begin(settings: &Settings) -> Result<Self, CommandError> {
        let twice = |_| CommandError::Instrumentation("logging is set up already");
        #[cfg(feature = "otel")]
        if let Some(to) = &settings.traces {
            let traces = Traces::to_collector(to)?;
            logging::install_with(settings.log, &traces).map_err(twice)?;
            return Ok(Self { _traces: Some(traces) });
        }
        logging::install(settings.log).map_err(twice)?;
        Ok(Self {
            #[cfg(feature = "otel")]
            _traces: None,
        })
    }
}

async fn keep_up(metrics: Metrics, stop: CancellationToken) {
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(UPKEEP_EVERY) => metrics.upkeep(),
        }
    }
}

/// Cancelled at SIGTERM (where there is such a thing) and at ctrl-c.
pub(super) fn stop_at_signal() -> Result<CancellationToken, CommandError> {
    let stop = CancellationToken::new();
    let told = stop.clone();
    #[cfg(unix)]
    let mut terminate =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(CommandError::Signals)?;
    tokio::spawn(async move {
        #[cfg(unix)]
        let terminated = terminate.recv();
        #[cfg(not(unix))]
        let terminated = std::future::pending::<Option<()>>();
        tokio::select! {
            _ = terminated => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("told to stop");
        told.cancel();
    });
    Ok(stop)
}
