//! How many connections are held, over all and by source.

use super::{ConnectionLimits, Proxies, Source};
use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places that there are.
pub(super) struct Places {
    clients: Arc<Semaphore>,
    proxied: Arc<Semaphore>,
    proxies: Proxies,
    per_source: usize,
    /// Sources that hold a connection: as many as there are places at most.
    held: Mutex<HashMap<Source, usize>>,
}

/// One connection's place; free again when it is dropped.
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
    of: Option<(Source, Arc<Places>)>,
}

impl Places {
    pub(super) fn new(limits: &ConnectionLimits, proxies: Proxies) -> Self {
        let places = || Arc::new(Semaphore::new(limits.at_once));
        Self { clients: places(), proxied: places(), proxies, per_source: limits.per_source, held: Mutex::default() }
    }

    /// A place for a connection from `peer`, or what there is too much of.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Result<Place, &'static str> {
        let of_all = if self.proxies.trust(peer) { &self.proxied } else { &self.clients };
        let place = Arc::clone(of_all).try_acquire_owned().map_err(|_| "connections")?;
        let Some(source) = self.proxies.source_of(peer) else { return Ok(Place { _place: place, of: None }) };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(source).or_default();
        if *count >= self.per_source {
            return Err("connections-of-source");
        }
        *count += 1;
        Ok(Place { _place: place, of: Some((source, Arc::clone(self))) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((source, places)) = &self.of else { return };
        let mut held = places.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = held.entry(*source) {
            if *entry.get() <= 1 {
                entry.remove();
            } else {
                *entry.get_mut() -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::Ipv6Addr, time::Duration};

    fn places(at_once: usize, per_source: usize, proxies: Proxies) -> Arc<Places> {
        let short = Duration::from_secs(1);
        let limits =
            ConnectionLimits { at_once, per_source, head: 8192, head_time: short, idle_time: short, stall_time: short };
        Arc::new(Places::new(&limits, proxies))
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
        assert!(places.held.lock().unwrap().is_empty(), "what is not held is forgotten");
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
