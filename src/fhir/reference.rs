//! The server's base address, and references to resources on it.

use super::error::{AddressFault, LinkFault};
use std::fmt;
use std::sync::Arc;
use url::Url;

/// The base address of one FHIR server, ending in `/`. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerBase(Arc<Url>);

impl fmt::Debug for ServerBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerBase({})", self.0)
    }
}

impl ServerBase {
    /// Checks a base address: `https`, or `http` on loopback; no query, fragment or credentials.
    ///
    /// # Errors
    /// [`AddressFault::Base`] otherwise.
    pub fn new(mut url: Url) -> Result<Self, AddressFault> {
        let plain = url.query().is_none() && url.fragment().is_none() && has_no_credentials(&url);
        if !plain || !is_protected(&url) {
            return Err(AddressFault::Base);
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Self(Arc::new(url)))
    }

    /// The address with its final `/`.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The address as it is registered and sent as `aud`: without the final `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The address of a type, a resource or an operation below the base.
    pub(super) fn join(&self, segments: &[&str]) -> Url {
        let mut url = (*self.0).clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// The address of a `next` link found on a page of `resource_type`, when it may be followed: the same origin, below
    /// the base. Relative links are resolved against the base, and those that are only a query against the type.
    ///
    /// # Errors
    /// [`LinkFault`] when it must not be followed.
    pub fn follow(&self, resource_type: &str, link: &str) -> Result<Url, LinkFault> {
        let from = if link.starts_with('?') { self.join(&[resource_type]) } else { (*self.0).clone() };
        let url = from.join(link).map_err(|_| LinkFault::Malformed)?;
        if url.origin() != self.0.origin() || !has_no_credentials(&url) {
            return Err(LinkFault::OtherOrigin);
        }
        // The base itself with a query is where HAPI keeps its pages.
        let base_path = self.0.path();
        if !url.path().starts_with(base_path) && url.path() != base_path.trim_end_matches('/') {
            return Err(LinkFault::OutsideBase);
        }
        Ok(url)
    }

    /// Reads a literal reference as it stands in a resource or a token response: relative (`Patient/1`) or absolute on
    /// this server, with or without a version. `None` for contained (`#…`), `urn:` and other servers' resources.
    #[must_use]
    pub fn reference(&self, text: &str) -> Option<ResourceRef> {
        let relative = if text.contains(':') {
            let url = Url::parse(text).ok()?;
            if url.origin() != self.0.origin() || url.query().is_some() || !has_no_credentials(&url) {
                return None;
            }
            url.path().strip_prefix(self.0.path())?.to_owned()
        } else {
            text.to_owned()
        };
        let mut parts = relative.split('/');
        let (resource_type, id) = (parts.next()?, parts.next()?);
        match (parts.next(), parts.next(), parts.next()) {
            (None, ..) | (Some("_history"), Some(_), None) => ResourceRef::new(resource_type, id).ok(),
            _ => None,
        }
    }
}

/// Whether the address is protected by TLS, or never leaves the machine.
pub(crate) fn is_protected(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => return false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

fn has_no_credentials(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// A resource on the server at hand: type and id, checked to be fit for a path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceRef {
    resource_type: String,
    id: String,
}

impl ResourceRef {
    /// Names a resource.
    ///
    /// # Errors
    /// [`AddressFault`] when either part does not have the form that FHIR gives it. Ids may be longer than the 64
    /// characters of the specification, because some EHRs' are, and hold `_`.
    pub fn new(resource_type: &str, id: &str) -> Result<Self, AddressFault> {
        check_type(resource_type)?;
        let form = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if id.is_empty() || id.len() > 256 || id.chars().all(|c| c == '.') || !id.chars().all(form) {
            return Err(AddressFault::Id);
        }
        Ok(Self { resource_type: resource_type.to_owned(), id: id.to_owned() })
    }

    /// The resource type, such as `Patient`.
    #[must_use]
    pub fn resource_type(&self) -> &str {
        &self.resource_type
    }

    /// The logical id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether this names a resource of `resource_type`.
    #[must_use]
    pub fn is(&self, resource_type: &str) -> bool {
        self.resource_type == resource_type
    }
}

/// `Patient/1`, as it stands in resources.
impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.resource_type, self.id)
    }
}

impl fmt::Debug for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Reads the relative form, `Patient/1`.
impl std::str::FromStr for ResourceRef {
    type Err = AddressFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (resource_type, id) = text.split_once('/').ok_or(AddressFault::Id)?;
        Self::new(resource_type, id)
    }
}

pub(super) fn check_type(resource_type: &str) -> Result<(), AddressFault> {
    let form = resource_type.starts_with(|c: char| c.is_ascii_uppercase())
        && resource_type.len() <= 64
        && resource_type.chars().all(|c| c.is_ascii_alphanumeric());
    if form { Ok(()) } else { Err(AddressFault::ResourceType) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn base() -> ServerBase {
        ServerBase::new("https://ehr.example/fhir/R4".parse().unwrap()).unwrap()
    }

    #[rstest]
    #[case("http://ehr.example/fhir")]
    #[case("https://user:pw@ehr.example/fhir")]
    #[case("https://ehr.example/fhir?tenant=1")]
    #[case("ftp://ehr.example/fhir")]
    #[case("data:text/plain,x")]
    fn a_base_must_be_protected_and_plain(#[case] url: &str) {
        assert_eq!(ServerBase::new(url.parse().unwrap()), Err(AddressFault::Base));
    }

    #[rstest]
    #[case("https://ehr.example/fhir/R4/Patient?page=2", Ok("https://ehr.example/fhir/R4/Patient?page=2"))]
    #[case("https://ehr.example/fhir/R4?_getpages=x", Ok("https://ehr.example/fhir/R4?_getpages=x"))]
    #[case("Patient?page=2", Ok("https://ehr.example/fhir/R4/Patient?page=2"))]
    #[case("/fhir/R4/Patient?page=2", Ok("https://ehr.example/fhir/R4/Patient?page=2"))]
    #[case("?page=2", Ok("https://ehr.example/fhir/R4/Patient?page=2"))]
    #[case("https://evil.example/fhir/R4/Patient?page=2", Err(LinkFault::OtherOrigin))]
    #[case("http://ehr.example/fhir/R4/Patient?page=2", Err(LinkFault::OtherOrigin))]
    #[case("https://ehr.example:8443/fhir/R4/Patient", Err(LinkFault::OtherOrigin))]
    #[case("https://a@ehr.example/fhir/R4/Patient", Err(LinkFault::OtherOrigin))]
    #[case("//evil.example/fhir/R4/Patient", Err(LinkFault::OtherOrigin))]
    #[case("https://ehr.example/fhir/R4/../../admin", Err(LinkFault::OutsideBase))]
    #[case("https://ehr.example/fhir/R4/%2e%2e/%2e%2e/admin", Err(LinkFault::OutsideBase))]
    #[case("https://ehr.example/fhir/R4b/Patient", Err(LinkFault::OutsideBase))]
    #[case("../oauth2", Err(LinkFault::OutsideBase))]
    #[case("https://", Err(LinkFault::Malformed))]
    fn next_links_stay_on_the_server(#[case] link: &str, #[case] expected: Result<&str, LinkFault>) {
        assert_eq!(base().follow("Patient", link).map(String::from), expected.map(str::to_owned));
    }

    #[rstest]
    #[case("Practitioner/p1", Some("Practitioner/p1"))]
    #[case("https://ehr.example/fhir/R4/Practitioner/p1", Some("Practitioner/p1"))]
    #[case("Practitioner/p1/_history/3", Some("Practitioner/p1"))]
    #[case("https://other.example/fhir/R4/Practitioner/p1", None)]
    #[case("https://ehr.example/other/Practitioner/p1", None)]
    #[case("#contained", None)]
    #[case("urn:uuid:7b7e…", None)]
    #[case("Practitioner/p1?x=1", None)]
    #[case("Practitioner/..", None)]
    #[case("practitioner/p1", None)]
    #[case("", None)]
    fn references_are_read_relative_to_the_base(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(base().reference(text).map(|reference| reference.to_string()).as_deref(), expected);
    }

    #[test]
    fn ids_never_leave_their_path_segment() {
        for id in ["", "..", "a/b", "a?b", "a b", "ä"] {
            assert_eq!(ResourceRef::new("Patient", id), Err(AddressFault::Id), "{id}");
        }
    }
}
