//! Who a request really comes from, behind reverse proxies.

use axum::{
    extract::{ConnectInfo, Request, State},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Replaces the connection's address by the client's where the connection is a trusted proxy's. Of `X-Forwarded-For`
/// only what trusted proxies wrote is believed: it is read from its end, up to the first address that is none of them.
pub(super) async fn behind_proxies(State(trusted): State<Arc<[IpAddr]>>, mut request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        let client = client_of(peer.ip(), request.headers(), &trusted);
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(client, peer.port())));
    }
    next.run(request).await
}

fn client_of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    let mut client = peer.to_canonical();
    let told = headers.get_all("x-forwarded-for").iter().rev().filter_map(|value| value.to_str().ok());
    for address in told.flat_map(|line| line.rsplit(',')) {
        if !trusted.contains(&client) {
            break;
        }
        // A proxy that writes something else tells nothing beyond itself.
        let Ok(address) = address.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
    }
    client
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
        assert_eq!(client_of(peer.parse().unwrap(), &headers, &trusted), client.parse::<IpAddr>().unwrap());
    }
}
