//! A process of the service, from its start to a clean stop.
//!
//! `serve` runs one; the demo and tests may. Always: it takes requests only once everything is built; after the stop it
//! takes none, finishes the requests and jobs in hand within the grace that the settings give, and closes the database
//! last. What the grace cuts off is safe: a request was not acknowledged, and a job's lease runs out.

use super::{App, AppError, Running};
use crate::{
    config::{ServerSettings, Settings},
    http::server::{self, ConnectionLimits, Proxies},
};
use std::{net::SocketAddr, time::Duration};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

/// What a process does. One process may do all of it; several may share it over one PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ProcessRole {
    /// Takes webhooks and serves staff and patients.
    Web,
    /// Runs jobs and seals the audit log.
    Worker,
}

/// A process that is ready to take requests.
pub struct Service {
    app: App,
    listener: TcpListener,
    address: SocketAddr,
    roles: Vec<ProcessRole>,
    grace: Duration,
    limits: ConnectionLimits,
    proxies: Proxies,
}

impl Service {
    /// Builds the service and takes its address.
    ///
    /// # Errors
    /// [`AppError`]; [`AppError::NotEncrypted`] before anything is opened.
    pub async fn start(settings: &Settings, running: Running, roles: &[ProcessRole]) -> Result<Self, AppError> {
        let server = &settings.server;
        protected(server)?;
        if !server.sources_are_known() {
            tracing::warn!("nobody is limited by address: name the reverse proxy in server.trusted_proxies");
        }
        let app = App::build(settings, running).await?;
        let taken = |cause| AppError::Listen { listen: server.listen, cause };
        let listener = TcpListener::bind(server.listen).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        Ok(Self {
            app,
            listener,
            address,
            roles: roles.to_vec(),
            grace: server.shutdown_grace,
            limits: server.connections.into(),
            proxies: Proxies::of(server),
        })
    }

    /// The address that was taken; tells the port where the settings left it to the system.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The rooms behind it.
    #[must_use]
    pub const fn app(&self) -> &App {
        &self.app
    }

    /// Serves until `stop`, then ends cleanly.
    ///
    /// # Errors
    /// [`AppError`] when what repeats by itself cannot be scheduled.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AppError> {
        let works = self.roles.contains(&ProcessRole::Worker);
        if works {
            self.app.schedule().await?;
        }
        let router = if self.roles.contains(&ProcessRole::Web) { self.app.router() } else { self.app.health_router() };
        tracing::info!(address = %self.address, roles = ?self.roles, "ready");
        let grace_ends = grace_ends(stop.clone(), self.grace);
        let served = CancellationToken::new();
        let answering = Box::pin(server::serve(self.listener, router, self.limits, self.proxies, stop.clone()));
        let serving = async {
            tokio::select! {
                () = answering => {}
                () = grace_ends.cancelled() => tracing::warn!("requests in hand are cut off: the grace is over"),
            }
            // Without an end of its own: when nothing is served any more, nothing should go on working either.
            stop.cancel();
            served.cancel();
        };
        let working = async {
            if works {
                tokio::select! {
                    () = Box::pin(self.app.work(stop.clone())) => {}
                    () = grace_ends.cancelled() => tracing::warn!("jobs in hand are left to their leases: the grace is over"),
                }
            }
        };
        tokio::join!(
            serving,
            working,
            self.app.keep_refusals(served.clone()),
            self.app.keep_asking_key_providers(served.clone()),
            self.app.end_streams(stop.clone())
        );
        if works {
            self.app.seal_what_is_left().await;
        }
        self.app.close().await;
        Ok(())
    }
}

/// Refuses to listen beyond this machine where nothing in front speaks TLS.
///
/// # Errors
/// [`AppError::NotEncrypted`].
pub(super) fn protected(server: &ServerSettings) -> Result<(), AppError> {
    if server.listen.ip().is_loopback() || server.public_url.scheme() == "https" {
        Ok(())
    } else {
        Err(AppError::NotEncrypted { listen: server.listen })
    }
}

/// Cancelled when the grace after `stop` is over.
fn grace_ends(stop: CancellationToken, grace: Duration) -> CancellationToken {
    let over = CancellationToken::new();
    let ends = over.clone();
    tokio::spawn(async move {
        stop.cancelled().await;
        tokio::time::sleep_until(Instant::now() + grace).await;
        ends.cancel();
    });
    over
}
