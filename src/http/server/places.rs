//! How many connections are held, over all and by source.

use super::{
    ConnectionLimits, Proxies,
    shares::{Share, Shares},
};
use std::{net::IpAddr, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places that there are.
pub(super) struct Places {
    clients: Arc<Semaphore>,
    proxied: Arc<Semaphore>,
    proxies: Proxies,
    shares: Arc<Shares>,
}

/// One connection's place; free again when it is dropped.
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
    _share: Option<Share>,
}

impl Places {
    pub(super) fn new(limits: &ConnectionLimits, proxies: Proxies) -> Self {
        let places = || Arc::new(Semaphore::new(limits.at_once));
        Self { clients: places(), proxied: places(), proxies, shares: Shares::of(limits.per_source) }
    }

    /// A place for a connection from `peer`, or what there is too much of.
    pub(super) fn take(&self, peer: IpAddr) -> Result<Place, &'static str> {
        let of_all = if self.proxies.trust(peer) { &self.proxied } else { &self.clients };
        let place = Arc::clone(of_all).try_acquire_owned().map_err(|_| "connections")?;
        let share = match self.proxies.source_of(peer) {
            Some(source) => Some(self.shares.take(source).ok_or("connections-of-source")?),
            None => None,
        };
        Ok(Place { _place: place, _share: share })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::Ipv6Addr, time::Duration};

    fn places(at_once: usize, per_source: usize, proxies: Proxies) -> Places {
        let short = Duration::from_secs(1);
        let limits =
            ConnectionLimits { at_once, per_source, head: 8192, head_time: short, idle_time: short, stall_time: short };
        Places::new(&limits, proxies)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_has_its_share_and_what_it_gives_back_is_free_again() {
        let places = places(8, 2, Proxies::new(&[], true));
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let first = places.take(one).ok().unwrap();
        let _second = places.take(one).ok().unwrap();
        assert_eq!(places.take(one).err(), Some("connections-of-source"));
        // The same source in other words.
        assert_eq!(places.take(address("::ffff:192.0.2.1")).err(), Some("connections-of-source"));
        assert!(places.take(other).is_ok());
        drop(first);
        assert!(places.take(one).is_ok());
    }

    #[test]
    fn all_sources_together_have_an_end_and_leave_nothing_behind() {
        let places = places(4, 2, Proxies::new(&[], true));
        let from = |network: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, 1));
        let held: Vec<Place> = (0..100).filter_map(|network| places.take(from(network)).ok()).collect();
        assert_eq!(held.len(), 4);
        assert_eq!(places.take(from(200)).err(), Some("connections"));
        drop(held);
        assert!(places.shares.is_empty(), "what is not held is forgotten");
        assert_eq!(places.clients.available_permits(), 4);
    }

    #[test]
    fn a_trusted_proxy_has_places_of_its_own_and_no_share() {
        let proxy = address("10.0.0.7");
        let places = places(3, 1, Proxies::new(&[proxy], true));
        let held: Vec<Place> = (0..3).filter_map(|_| places.take(proxy).ok()).collect();
        assert_eq!(held.len(), 3);
        assert_eq!(places.take(proxy).err(), Some("connections"));
        assert!(places.take(address("192.0.2.1")).is_ok(), "others have theirs");
        assert_eq!(places.take(address("192.0.2.1")).err(), None, "and the first gave his back");
    }
}
