//! A service that is thrown away, and comes back elsewhere under its old address; its peers go on meanwhile.

use super::{SLUG, Secrets, Service};
use crate::installation::Installation;
use chartwire::{
    app::{App, Running},
    config::Surroundings as _,
};
use std::{net::SocketAddr, path::PathBuf};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What answers over HTTP.
pub(super) struct Serving {
    pub(super) stop: CancellationToken,
    pub(super) server: tokio::task::JoinHandle<()>,
}

impl Serving {
    pub(super) fn start(listener: TcpListener, app: &App) -> Self {
        let stop = CancellationToken::new();
        let router = app.router().into_make_service_with_connect_info::<SocketAddr>();
        let stopped = stop.clone().cancelled_owned();
        let serve = axum::serve(listener, router).with_graceful_shutdown(stopped);
        Self { stop, server: tokio::spawn(async move { serve.await.unwrap() }) }
    }
}

impl Service {
    /// This installation as an operator would set it up elsewhere, its secrets in files, over the database at `url`.
    pub(crate) fn installed_over(&self, url: &str) -> Installation {
        let (text, key) = &self.written;
        let (clock, instruments) = (self.clock.clone(), self.instruments.clone());
        let installation = Installation { folder: tempfile::tempdir().unwrap(), clock, instruments };
        let secrets = Secrets { database: url.to_owned(), key: key.clone() };
        let mut text = text.clone();
        for name in ["KEK", "NEIGHBOUR_KEK", "DATABASE", "TOKEN", "KEY"] {
            text = text.replace(&format!("env = \"{name}\""), &format!("file = \"{name}\""));
            installation.write(name, &secrets.variable(name).unwrap());
        }
        installation.write("chartwire.toml", &text);
        installation
    }

    /// Where this installation's audit heads are exported to.
    pub(crate) fn heads(&self) -> PathBuf {
        self.folder.path().join("heads")
    }

    /// The service is gone. Its peers go on.
    pub(crate) async fn die(&mut self) {
        self.serving.stop.cancel();
        (&mut self.serving.server).await.unwrap();
        self.app.close().await;
    }

    /// The service comes back elsewhere, under its old address.
    pub(crate) async fn come_back(&mut self, installation: &Installation) {
        self.settings = installation.settings();
        self.app = App::build(&self.settings, Running::with(self.instruments.clone())).await.unwrap();
        self.tenant = self.app.tenant(SLUG).unwrap();
        let address = self.base.trim_start_matches("http://").trim_end_matches('/');
        self.serving = Serving::start(TcpListener::bind(address).await.unwrap(), &self.app);
    }
}
