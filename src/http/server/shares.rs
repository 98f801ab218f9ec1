//! How much of something each source holds at once.

use super::Source;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

/// The shares that are held: no more sources than holders.
pub(in crate::http) struct Shares {
    most: usize,
    held: Mutex<HashMap<Source, usize>>,
}

/// One of them; given back when it is dropped.
pub(in crate::http) struct Share {
    source: Source,
    shares: Arc<Shares>,
}

impl Shares {
    /// `most` for each source, one at least.
    pub(in crate::http) fn of(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), held: Mutex::default() })
    }

    /// One more for `source`; none where it holds as many as it may.
    pub(in crate::http) fn take(self: &Arc<Self>, source: Source) -> Option<Share> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(source).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { source, shares: Arc::clone(self) })
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.held.lock().unwrap().is_empty()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = held.entry(self.source) {
            if *entry.get() <= 1 {
                entry.remove();
            } else {
                *entry.get_mut() -= 1;
            }
        }
    }
}
