//! What was done during a run, as far as the doers know.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// What was done, by everyone.
#[derive(Default)]
pub(crate) struct Deeds {
    /// Texts that patients wrote.
    pub(crate) written: AtomicU64,
    /// Launches that ended in a thread.
    pub(crate) launched: AtomicU64,
    /// Launches and replies that a kill broke off.
    pub(crate) interrupted: AtomicU64,
    /// Words of staff that the service has taken.
    taken: Mutex<Vec<String>>,
    /// Words of staff that it may have taken: it never said.
    unsure: Mutex<Vec<String>>,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Deeds {
    pub(crate) fn taken(&self, words: String) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(words);
    }

    pub(crate) fn unsure(&self, words: String) {
        self.unsure.lock().unwrap_or_else(PoisonError::into_inner).push(words);
    }

    /// The words that were taken, and those that may have been.
    pub(crate) fn words(&self) -> (Vec<String>, Vec<String>) {
        let copy = |words: &Mutex<Vec<String>>| words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (copy(&self.taken), copy(&self.unsure))
    }
}
