//! Who a request really comes from, behind reverse proxies.

use crate::config::ServerSettings;
use axum::{
    extract::{ConnectInfo, Request, State},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

/// A source of requests as limits tell them apart: an IPv4 address, or the network of an IPv6 address (its first 64
/// bits), which is what one subscriber has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The source that an address belongs to.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))),
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

/// The reverse proxies in front, and so whether sources can be told apart.
#[derive(Debug, Clone)]
pub struct Proxies {
    trusted: Arc<[IpAddr]>,
    sources_are_known: bool,
}

impl Proxies {
    /// Those whose `X-Forwarded-For` is believed. Where sources are not known, everybody seems to come from one address,
    /// and nobody is limited by it.
    #[must_use]
    pub fn new(trusted: &[IpAddr], sources_are_known: bool) -> Self {
        Self { trusted: trusted.into(), sources_are_known }
    }

    /// As the settings say.
    #[must_use]
    pub fn of(settings: &ServerSettings) -> Self {
        Self::new(&settings.trusted_proxies, settings.sources_are_known())
    }

    /// Whether this is the address of one of them.
    pub(super) fn trust(&self, address: IpAddr) -> bool {
        self.trusted.contains(&address.to_canonical())
    }

    /// The source at an address; none where it is a proxy's own, or nobody's in particular.
    pub(super) fn source_of(&self, address: IpAddr) -> Option<Source> {
        (self.sources_are_known && !self.trust(address)).then(|| Source::of(address))
    }

    fn client_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let told = headers.get_all("x-forwarded-for").iter().rev().filter_map(|value| value.to_str().ok());
        for address in told.flat_map(|line| line.rsplit(',')) {
            if !self.trust(client) {
                break;
            }
            // A proxy that writes something else tells nothing beyond itself.
            let Ok(address) = address.trim().parse::<IpAddr>() else { break };
            client = address.to_canonical();
        }
        client
    }
}

/// Replaces the connection's address by the client's where the connection is a trusted proxy's, and adds the client's
/// [`Source`]. Of `X-Forwarded-For` only what trusted proxies wrote is believed: it is read from its end, up to the first
/// address that is none of them.
pub(super) async fn behind_proxies(State(proxies): State<Proxies>, mut request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        let client = proxies.client_of(peer.ip(), request.headers());
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(client, peer.port())));
        if let Some(source) = proxies.source_of(client) {
            request.extensions_mut().insert(source);
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::no_proxy("203.0.113.9", &["198.51.100.1"], "203.0.113.9")]
    #[case::one_proxy("10.0.0.7", &["198.51.100.1"], "198.51.100.1")]
    #[case::what_the_client_wrote_itself("10.0.0.7", &["192.0.2.1, 198.51.100.1"], "198.51.100.1")]
    #[case::two_proxies("10.0.0.7", &["192.0.2.1, 198.51.100.1, 10.0.0.8"], "198.51.100.1")]
    #[case::two_lines("10.0.0.7", &["198.51.100.1", "10.0.0.8"], "198.51.100.1")]
    #[case::nonsense("10.0.0.7", &["198.51.100.1, unknown"], "10.0.0.7")]
    #[case::nothing("10.0.0.7", &[], "10.0.0.7")]
    fn only_trusted_proxies_are_believed(#[case] peer: &str, #[case] told: &[&str], #[case] client: &str) {
        let trusted = ["10.0.0.7".parse().unwrap(), "10.0.0.8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for line in told {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let proxies = Proxies::new(&trusted, true);
        assert_eq!(proxies.client_of(peer.parse().unwrap(), &headers), client.parse::<IpAddr>().unwrap());
    }

    #[rstest]
    #[case::the_same_network("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true)]
    #[case::the_next_network("2001:db8:1:2::1", "2001:db8:1:3::1", false)]
    #[case::one_address_in_two_words("192.0.2.1", "::ffff:192.0.2.1", true)]
    #[case::neighbours("192.0.2.1", "192.0.2.2", false)]
    fn a_source_is_an_address_or_an_ipv6_network(#[case] one: &str, #[case] other: &str, #[case] same: bool) {
        let source = |address: &str| Source::of(address.parse().unwrap());
        assert_eq!(source(one) == source(other), same);
    }

    #[test]
    fn a_proxy_is_no_source_and_behind_one_without_a_name_nobody_is() {
        let (proxy, client) = ("10.0.0.7".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let proxies = Proxies::new(&[proxy], true);
        assert_eq!((proxies.source_of(proxy), proxies.source_of(client)), (None, Some(Source::of(client))));
        assert_eq!(Proxies::new(&[], false).source_of(client), None);
    }
}
