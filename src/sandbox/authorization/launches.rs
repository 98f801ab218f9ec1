//! The sandbox's own side of authorization: launches without a browser, where a test or a rehearsal asks the EHR to launch
//! an application as someone, and tokens that end before their time.

use super::{Authorization, LaunchContext};
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use url::Url;

/// The body of `POST /sandbox/launches`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LaunchOrder {
    /// Who launches, and about whom.
    #[serde(flatten)]
    pub context: LaunchContext,
    /// Which application; the first that can be launched where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// A launch that is ready: opening `launch_url` starts it, and no person is asked to choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The opaque value.
    pub launch: String,
    /// The application's launch URL with `iss` and `launch`.
    pub launch_url: Url,
}

pub(super) async fn create(
    State(server): State<Arc<Authorization>>,
    Json(order): Json<LaunchOrder>,
) -> Result<(StatusCode, Json<Launch>), StatusCode> {
    let launch = server.launch(order.context, order.client_id.as_deref()).ok_or(StatusCode::NOT_FOUND)?;
    Ok((StatusCode::CREATED, Json(launch)))
}

/// `DELETE /sandbox/tokens`: ends every access token that clients hold, as when an administrator revokes them.
pub(super) async fn revoke_all(State(server): State<Arc<Authorization>>) -> StatusCode {
    server.tokens().revoke_all();
    StatusCode::NO_CONTENT
}

impl Authorization {
    /// Starts a launch of the application (the first that can be launched where none is named); `None` where there
    /// is none.
    #[must_use]
    pub fn launch(&self, context: LaunchContext, client_id: Option<&str>) -> Option<Launch> {
        let client = match client_id {
            Some(id) => self.client(id)?,
            None => self.launchable()?,
        };
        let mut launch_url = client.launch_url().cloned()?;
        let launch = self.grants.new_launch(context);
        launch_url.query_pairs_mut().append_pair("iss", &self.fhir_base).append_pair("launch", &launch);
        Some(Launch { launch, launch_url })
    }
}
