//! The EHR as a whole: authorization, FHIR server, pages and faults on one port.

use super::SandboxError;
use super::authorization::{Authorization, Endpoints, LaunchContext, RegisteredClient};
use super::clinic::Clinic;
use super::fhir_server::FhirServer;
use super::misbehaviour::Misbehaviour;
use super::pages::{self, Desk};
use super::request_log::RequestLog;
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
    /// A FHIR server of someone else to hold the clinic in place of ours. It must take `PUT` of new ids and may check
    /// tokens by our JWK set, so it can start after us; [`RunningEhr::seed`] gives it the clinic.
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
    desk: Desk,
    /// The clinic, where someone else's server is to hold it.
    unseeded: Vec<Value>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl RunningEhr {
    /// Starts an EHR with a fresh clinic.
    ///
    /// # Errors
    /// [`SandboxError`]: the address or the key.
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
        let router = RequestLog::default().over(router);
        let stop = CancellationToken::new();
        let serving = serve(port, router, stop.clone());
        let url = |text: &str| Url::parse(text).map_err(|_| SandboxError::Address);
        let (base_url, fhir_base) = (url(&base)?, url(&fhir_base)?);
        let unseeded = if ours { Vec::new() } else { clinic.resources };
        Ok(Self { base_url, fhir_base, misbehaviour, authorization, staff_token, desk, unseeded, stop, serving })
    }

    /// The base URL of the FHIR server. Launches carry it as `iss`, without a slash at its end.
    #[must_use]
    pub fn fhir_base(&self) -> &Url {
        &self.fhir_base
    }

    /// Where the EHR's pages and its authorization are.
    #[must_use]
    pub fn base_url(&self) -> &Url {
        &self.base_url
    }

    /// Gives the clinic to the FHIR server of someone else, what is referred to first. Waits up to `patience` for it to
    /// answer. Does nothing where the FHIR server is ours.
    ///
    /// # Errors
    /// [`SandboxError::Seeding`] with the first resource that was refused.
    pub async fn seed(&self, patience: Duration) -> Result<(), SandboxError> {
        if !self.unseeded.is_empty() {
            self.desk.await_server(patience).await;
        }
        for resource in &self.unseeded {
            self.desk.put(resource).await?;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::clinic::{self, persona};
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

    async fn in_front_of(someone_else: &MockServer) -> RunningEhr {
        let options = EhrOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            instruments: Instruments::system(),
            seed: 1,
            clinic_zone: TimeZone::UTC,
            clients: Vec::new(),
            external_fhir: Some(someone_else.uri().parse().unwrap()),
            token_lifetime: Duration::from_mins(5),
        };
        RunningEhr::start(options).await.unwrap()
    }

    #[tokio::test]
    async fn someone_elses_server_is_given_the_clinic_in_order() {
        let someone_else = MockServer::start().await;
        Mock::given(matchers::any()).respond_with(ResponseTemplate::new(201)).mount(&someone_else).await;
        let ehr = in_front_of(&someone_else).await;
        assert_eq!(ehr.fhir_base().as_str().trim_end_matches('/'), someone_else.uri());
        ehr.seed(Duration::from_secs(5)).await.unwrap();
        let asked = someone_else.received_requests().await.unwrap();
        let puts: Vec<_> = asked.iter().filter(|request| request.method == "PUT").collect();
        let place = |path: &str| puts.iter().position(|request| request.url.path() == path).unwrap();
        assert_eq!(place(&format!("/Organization/{}", clinic::ORGANIZATION)), 0);
        assert!(place(&format!("/Patient/{}", persona::ANA_LOPEZ)) < place("/Appointment/appointment-ana-lopez"));
        let bearer = format!("Bearer {}", ehr.staff_token());
        assert!(puts.iter().all(|request| request.headers["authorization"] == bearer.as_str()));
        ehr.shutdown().await;
    }

    #[tokio::test]
    async fn what_someone_elses_server_refuses_is_named() {
        let someone_else = MockServer::start().await;
        Mock::given(matchers::any()).respond_with(ResponseTemplate::new(422)).mount(&someone_else).await;
        let refused = in_front_of(&someone_else).await.seed(Duration::from_secs(5)).await.unwrap_err();
        assert!(
            matches!(refused, SandboxError::Seeding { status: 422, reference, .. } if reference.starts_with("Organization/"))
        );
    }
}
