//! Where an EHR's authorization lives: `.well-known/smart-configuration` (SMART App Launch 2.2, "Conformance") and
//! OpenID Connect discovery.

use super::authorization_http::AuthorizationHttp;
use super::error::DiscoveryFault;
use super::registration::EhrServer;
use crate::fhir::reference::is_protected;
use crate::kernel::Clock;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use url::Url;

/// How long a document is used before it is fetched again.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

/// An EHR's smart-configuration, checked: every address is absolute, protected and on an expected host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmartConfiguration {
    /// The issuer of its ID tokens.
    pub issuer: Option<String>,
    /// The issuer's keys.
    pub jwks_uri: Option<Url>,
    /// Where the browser is sent; absent on servers for Backend Services only.
    pub authorization_endpoint: Option<Url>,
    /// Where codes and assertions become tokens.
    pub token_endpoint: Url,
    /// Where a token can be looked at.
    pub introspection_endpoint: Option<Url>,
    /// Where a token can be given back.
    pub revocation_endpoint: Option<Url>,
    /// What it can do, such as `launch-ehr` or `permission-v2`.
    pub capabilities: Vec<String>,
    /// Whether PKCE with S256 is offered, without which no launch begins.
    pub s256: bool,
}

impl SmartConfiguration {
    /// Whether the server names this capability.
    #[must_use]
    pub fn is_capable_of(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|own| own == capability)
    }
}

#[derive(Deserialize)]
pub(super) struct WireSmartConfiguration {
    issuer: Option<String>,
    jwks_uri: Option<String>,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    introspection_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct WireOpenidConfiguration {
    issuer: Option<String>,
    jwks_uri: Option<String>,
}

/// The documents of the servers that are registered. Only their addresses are ever fetched, so it cannot grow.
pub(super) struct Discovery {
    http: AuthorizationHttp,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<String, (Timestamp, Arc<SmartConfiguration>)>>,
    key_sets: Mutex<HashMap<String, (Timestamp, Url)>>,
}

impl Discovery {
    pub(super) fn new(http: AuthorizationHttp, clock: Arc<dyn Clock>) -> Self {
        Self { http, clock, known: Mutex::default(), key_sets: Mutex::default() }
    }

    /// The server's smart-configuration.
    pub(super) async fn smart_configuration(
        &self,
        server: &EhrServer,
    ) -> Result<Arc<SmartConfiguration>, DiscoveryFault> {
        let now = self.clock.now();
        let name = server.base.as_str();
        if let Some(fresh) = fresh(&self.known, name, now) {
            return Ok(fresh);
        }
        let url = well_known(server.base.url(), "smart-configuration")?;
        let wire: WireSmartConfiguration = self.http.get(&url).await?;
        let checked = Arc::new(checked(server, wire)?);
        keep(&self.known, name, now, Arc::clone(&checked));
        Ok(checked)
    }

    /// Where the keys of `issuer` are, by its openid-configuration. The caller has checked that the issuer is allowed.
    pub(super) async fn key_set_of(
        &self,
        server: &EhrServer,
        configuration: &SmartConfiguration,
        issuer: &str,
    ) -> Result<Url, DiscoveryFault> {
        let now = self.clock.now();
        if let Some(fresh) = fresh(&self.key_sets, issuer, now) {
            return Ok(fresh);
        }
        let address = Url::parse(issuer).map_err(|_| DiscoveryFault::Issuer)?;
        if !is_protected(&address) {
            return Err(DiscoveryFault::Issuer);
        }
        let wire: WireOpenidConfiguration = self.http.get(&well_known(&address, "openid-configuration")?).await?;
        let url = key_set_address(server, configuration.issuer.as_deref(), issuer, wire)?;
        keep(&self.key_sets, issuer, now, url.clone());
        Ok(url)
    }
}

fn fresh<T: Clone>(known: &Mutex<HashMap<String, (Timestamp, T)>>, name: &str, now: Timestamp) -> Option<T> {
    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let (fetched, document) = known.get(name)?;
    (now.duration_since(*fetched) < FRESH).then(|| document.clone())
}

fn keep<T>(known: &Mutex<HashMap<String, (Timestamp, T)>>, name: &str, now: Timestamp, document: T) {
    known.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), (now, document));
}

/// `{address}/.well-known/{name}`: appended, even where the address has a path.
fn well_known(address: &Url, name: &str) -> Result<Url, DiscoveryFault> {
    let mut url = address.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().map_err(|()| DiscoveryFault::Issuer)?.pop_if_empty().extend([".well-known", name]);
    Ok(url)
}

pub(super) fn checked(server: &EhrServer, wire: WireSmartConfiguration) -> Result<SmartConfiguration, DiscoveryFault> {
    if let Some(issuer) = &wire.issuer {
        let allowed = server.id_token_issuers.is_empty() || server.id_token_issuers.contains(issuer);
        // Oracle Health signs id_tokens as another issuer than its smart-configuration names: what matters is that it
        // is the same party, which its host tells.
        let known_host = host_of(issuer)
            .is_some_and(|host| server.id_token_issuers.iter().filter_map(|own| host_of(own)).any(|own| own == host));
        if !allowed && !known_host {
            return Err(DiscoveryFault::Issuer);
        }
    }
    let hosts = allowed_hosts(server, wire.issuer.as_deref());
    let token_endpoint = endpoint(&hosts, "token_endpoint", wire.token_endpoint)?;
    Ok(SmartConfiguration {
        jwks_uri: endpoint(&hosts, "jwks_uri", wire.jwks_uri)?,
        authorization_endpoint: endpoint(&hosts, "authorization_endpoint", wire.authorization_endpoint)?,
        token_endpoint: token_endpoint.ok_or(DiscoveryFault::Missing("token_endpoint"))?,
        introspection_endpoint: endpoint(&hosts, "introspection_endpoint", wire.introspection_endpoint)?,
        revocation_endpoint: endpoint(&hosts, "revocation_endpoint", wire.revocation_endpoint)?,
        capabilities: wire.capabilities,
        s256: wire.code_challenge_methods_supported.iter().any(|method| method == "S256"),
        issuer: wire.issuer,
    })
}

/// The key set that an issuer's own document names, when the document is that issuer's and the address may be used.
pub(super) fn key_set_address(
    server: &EhrServer,
    configured_issuer: Option<&str>,
    issuer: &str,
    wire: WireOpenidConfiguration,
) -> Result<Url, DiscoveryFault> {
    if wire.issuer.as_deref() != Some(issuer) {
        return Err(DiscoveryFault::Issuer);
    }
    let hosts = allowed_hosts(server, configured_issuer);
    endpoint(&hosts, "jwks_uri", wire.jwks_uri)?.ok_or(DiscoveryFault::Missing("jwks_uri"))
}

/// The hosts where a server's endpoints may be: its own, its issuers', and those that the operator names.
fn allowed_hosts(server: &EhrServer, issuer: Option<&str>) -> Vec<String> {
    let issuers = server.id_token_issuers.iter().map(String::as_str).chain(issuer);
    let mut hosts: Vec<String> = issuers.filter_map(host_of).collect();
    hosts.extend(server.base.url().host_str().map(str::to_owned));
    hosts.extend(server.endpoint_hosts.iter().cloned());
    hosts
}

fn host_of(address: &str) -> Option<String> {
    Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned))
}

fn endpoint(hosts: &[String], name: &'static str, address: Option<String>) -> Result<Option<Url>, DiscoveryFault> {
    let Some(address) = address else {
        return Ok(None);
    };
    let url = Url::parse(&address).map_err(|_| DiscoveryFault::Endpoint(name))?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let expected = url.host_str().is_some_and(|host| hosts.iter().any(|own| own == host));
    if plain && expected && is_protected(&url) { Ok(Some(url)) } else { Err(DiscoveryFault::Endpoint(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::ServerBase;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn server() -> EhrServer {
        EhrServer::new(ServerBase::new("https://ehr.example/fhir".parse().unwrap()).unwrap())
    }

    fn document() -> Value {
        json!({"authorization_endpoint": "https://ehr.example/authorize", "token_endpoint": "https://ehr.example/token",
            "capabilities": ["launch-ehr"], "code_challenge_methods_supported": ["S256"], "grant_types_supported": ["authorization_code"]})
    }

    fn check(server: &EhrServer, document: Value) -> Result<SmartConfiguration, DiscoveryFault> {
        checked(server, serde_json::from_value(document).unwrap())
    }

    #[test]
    fn a_plain_document_is_taken() {
        let configuration = check(&server(), document()).unwrap();
        assert!(configuration.s256 && configuration.is_capable_of("launch-ehr"));
    }

    #[rstest]
    #[case::relative("token_endpoint", "/token")]
    #[case::plain_http("token_endpoint", "http://ehr.example/token")]
    #[case::another_host("token_endpoint", "https://evil.example/token")]
    #[case::credentials("authorization_endpoint", "https://a:b@ehr.example/authorize")]
    #[case::inner_host("jwks_uri", "https://169.254.169.254/keys")]
    #[case::script("authorization_endpoint", "javascript:alert(1)")]
    fn an_address_that_does_not_belong_is_refused(#[case] field: &'static str, #[case] address: &str) {
        let mut document = document();
        document[field] = json!(address);
        assert_eq!(check(&server(), document), Err(DiscoveryFault::Endpoint(field)));
    }

    #[test]
    fn the_operator_names_issuers_and_hosts() {
        let mut document = document();
        document["issuer"] = json!("https://login.example/tenants/1");
        document["token_endpoint"] = json!("https://login.example/token");
        document["jwks_uri"] = json!("https://keys.example/jwk");
        let mut server = server();
        assert_eq!(check(&server, document.clone()), Err(DiscoveryFault::Endpoint("jwks_uri")));
        server.endpoint_hosts = vec!["keys.example".to_owned()];
        check(&server, document.clone()).unwrap();
        server.id_token_issuers = vec!["https://login.example/tenants/1/idsp/".to_owned()];
        check(&server, document.clone()).unwrap();
        server.id_token_issuers = vec!["https://other.example/".to_owned()];
        assert_eq!(check(&server, document), Err(DiscoveryFault::Issuer));
    }

    #[test]
    fn well_known_is_appended_to_the_path() {
        for base in ["https://ehr.example/fhir/r4", "https://ehr.example/fhir/r4/"] {
            let url = well_known(&base.parse().unwrap(), "smart-configuration").unwrap();
            assert_eq!(url.as_str(), "https://ehr.example/fhir/r4/.well-known/smart-configuration");
        }
    }
}
