//! `/healthz`, `/readyz` and `/metrics`.
//!
//! Readiness asks own parts only: an EHR, a carrier or a key service that is away must not take every node out of service.
//! What an EHR refuses, that a key service does not answer, and that texts are held after a restore, is named beside them.

use crate::{
    db::{Db, Recovery, sql},
    feed,
    practice::Practices,
    vault::Vault,
};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use futures_util::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Map, json};
use std::{sync::Arc, time::Duration};

/// How long a part may take to answer before it counts as not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// A part of the process that must work for it to take requests.
#[derive(Clone)]
pub struct Part {
    name: &'static str,
    ready: Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>,
    /// What it says stands in the answer without deciding it: no other node would do better.
    advisory: bool,
}

impl Part {
    /// A part that is asked by `ready`.
    pub fn new(name: &'static str, ready: impl Fn() -> BoxFuture<'static, bool> + Send + Sync + 'static) -> Self {
        Self { name, ready: Arc::new(ready), advisory: false }
    }

    /// The EHRs' feeds: none is refused. Taking nodes out of service would mend nothing there, but operators have to see it.
    #[must_use]
    pub fn feeds(db: Db) -> Self {
        let part = Self::new("feeds", move || {
            let db = db.clone();
            Box::pin(async move { feed::refused_feeds(&db).await.is_ok_and(|refused| refused == 0) })
        });
        Self { advisory: true, ..part }
    }

    /// No practice is being recovered of those that are served. One that is takes what comes in, and no other node would
    /// send more.
    #[must_use]
    pub fn recovery(db: Db, served: Arc<Practices>) -> Self {
        let part = Self::new("recovery", move || {
            let (db, served) = (db.clone(), Arc::clone(&served));
            let is_served = move |recovery: &Recovery| served.get(recovery.tenant).is_some();
            Box::pin(
                async move { Recovery::under_way(&db).await.is_ok_and(|under_way| !under_way.iter().any(is_served)) },
            )
        });
        Self { advisory: true, ..part }
    }

    /// Every key service outside let the practices' keys be used when it was last asked. What is open already goes on for a
    /// while without one, and no other node would be answered either.
    #[must_use]
    pub fn key_providers(vault: Vault) -> Self {
        let part = Self::new("keys", move || {
            let failing = vault.failing_key_providers();
            Box::pin(async move { failing == 0 })
        });
        Self { advisory: true, ..part }
    }

    /// The database: it answers a statement.
    #[must_use]
    pub fn database(db: Db) -> Self {
        Self::new("database", move || {
            let db = db.clone();
            Box::pin(async move { db.one(sql("SELECT 1 AS one")).await.is_ok() })
        })
    }
}

/// The routes. `metrics` is absent where no recorder was installed.
pub fn routes(parts: Vec<Part>, metrics: Option<PrometheusHandle>) -> Router {
    let routes = Router::new()
        .route("/healthz", get(|| async { Json(json!({ "status": "alive" })) }))
        .route("/readyz", get(ready).with_state(Arc::<[Part]>::from(parts)));
    match metrics {
        Some(handle) => routes.route("/metrics", get(render).with_state(handle)),
        None => routes,
    }
}

async fn ready(State(parts): State<Arc<[Part]>>) -> impl IntoResponse {
    let mut parts_now = Map::new();
    let mut all = true;
    for part in parts.iter() {
        let ready = tokio::time::timeout(PATIENCE, (part.ready)()).await.unwrap_or(false);
        all &= ready || part.advisory;
        parts_now.insert(part.name.to_owned(), json!(if ready { "ready" } else { "not ready" }));
    }
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "status": if all { "ready" } else { "not ready" }, "parts": parts_now })))
}

async fn render(State(handle): State<PrometheusHandle>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render())
}
