//! The EHR as a whole: authorization, FHIR server, pages and faults on one port.

use super::SandboxError;
use super::authorization::{Authorization, Endpoints, LaunchContext, RegisteredClient};
use super::clinic::Clinic;
use super::fhir_server::FhirServer;
use super::misbehaviour::Misbehaviour;
use super::pages::{self, Desk};
use super::server::{BoundPort, serve};
use crate::kernel::{Instruments, SystemClock};
use axum::Router;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

/// How an EHR is set up.
#[derive(Clone)]
pub struct EhrOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The clock decides what "today" is in the clinic and stamps `lastUpdated`; protocol time is real time.
    pub instruments: Instruments,
    /// Varies who fills the calendar, and draws the faults.
    pub seed: u64,
    /// The clinic's zone.
    pub clinic_zone: TimeZone,
    /// The applications that are registered.
    pub clients: Vec<RegisteredClient>,
    /// A FHIR server of someone else to hold the clinic in place of ours. It must take `PUT` of new ids, and check
    /// tokens by our JWK set; it is seeded at start.
    pub external_fhir: Option<Url>,
    /// How long access tokens hold. SMART advises five minutes for backend services, an hour at most for launches.
    pub token_lifetime: Duration,
}

/// An EHR that listens. Dropping it leaves it running; [`RunningEhr::shutdown`] stops it.
pub struct RunningEhr {
    base_url: Url,
    fhir_base: Url,
    misbehaviour: Misbehaviour,
    authorization: Arc<Authorization>,
    staff_token: String,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl RunningEhr {
    /// Starts an EHR with a fresh clinic.
    ///
    /// # Errors
    /// [`SandboxError`]: the address, the key, or the external server's refusal of the clinic.
    pub async fn start(options: EhrOptions) -> Result<Self, SandboxError> {
        let port = BoundPort::bind(options.listen).await.map_err(SandboxError::Listen)?;
        let base = format!("http://{}", port.address);
        let external = options.external_fhir.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
        let fhir_base = external.clone().unwrap_or_else(|| format!("{base}/fhir"));
        let clinic = Clinic::at(options.instruments.now(), &options.clinic_zone, options.seed);
        let authorization = Arc::new(Authorization::new(
            &base,
            &fhir_base,
            (options.clients, clinic.directory),
            options.token_lifetime,
            Arc::new(SystemClock),
            options.instruments.clone(),
        )?);
        let staff_token = authorization.tokens().staff_token().ok_or(SandboxError::Key)?;
        let misbehaviour = Misbehaviour::new(options.seed).sparing(&format!("Bearer {staff_token}"));
        let desk = Desk::new(&fhir_base, &staff_token)?;
        let (protocol, launches) = authorization.routes();
        let ours = external.is_none();
        let fhir = if ours {
            let server = FhirServer::new(
                &fhir_base,
                options.clinic_zone.clone(),
                clinic.resources.clone(),
                Arc::clone(&authorization),
                options.instruments.clone(),
            );
            Arc::new(server).routes()
        } else {
            Router::new()
        };
        let pages = pages::routes(desk.clone(), Arc::clone(&authorization), options.instruments, options.clinic_zone);
        let router =
            misbehaviour.over(protocol.merge(fhir)).merge(launches).merge(misbehaviour.control_routes()).merge(pages);
        let stop = CancellationToken::new();
        let serving = serve(port, router, stop.clone());
        if !ours {
            seed(&desk, &clinic.resources).await?;
        }
        let url = |text: &str| Url::parse(text).map_err(|_| SandboxError::Address);
        let (base_url, fhir_base) = (url(&base)?, url(&fhir_base)?);
        Ok(Self { base_url, fhir_base, misbehaviour, authorization, staff_token, stop, serving })
    }

    /// The base URL of the FHIR server, without a slash at its end: the `iss` of launches.
    #[must_use]
    pub fn fhir_base(&self) -> &Url {
        &self.fhir_base
    }

    /// Where the EHR's pages and its authorization are.
    #[must_use]
    pub fn base_url(&self) -> &Url {
        &self.base_url
    }

    /// Where the authorization server's parts are, for an external FHIR server that checks our tokens.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        self.authorization.endpoints()
    }

    /// The faults in force. They hit authorization and FHIR, never the sandbox's own staff.
    #[must_use]
    pub const fn misbehaviour(&self) -> &Misbehaviour {
        &self.misbehaviour
    }

    /// A bearer token that may do everything, as the EHR's own staff and machinery may.
    #[must_use]
    pub fn staff_token(&self) -> &str {
        &self.staff_token
    }

    /// Ends every access token that clients hold, as when an administrator revokes them. A FHIR server of someone
    /// else, which only reads signatures, does not notice.
    pub fn revoke_tokens(&self) {
        self.authorization.tokens().revoke_all();
    }

    /// The URL that launches an application (the first that can be launched where none is named) as someone; `None`
    /// where none is registered.
    #[must_use]
    pub fn launch(&self, context: LaunchContext, client_id: Option<&str>) -> Option<Url> {
        self.authorization.launch(context, client_id).map(|launch| launch.launch_url)
    }

    /// Stops listening, finishes the requests in hand, and forgets the clinic.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if self.serving.await.is_err() {
            tracing::error!("the sandbox EHR did not stop cleanly");
        }
    }
}

/// Writes the clinic to someone else's server, what is referred to first.
async fn seed(desk: &Desk, resources: &[Value]) -> Result<(), SandboxError> {
    for resource in resources {
        desk.put(resource).await?;
    }
    Ok(())
}
