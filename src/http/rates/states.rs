//! What `governor` keeps for each key, within bounds, and the time that it goes by.

use crate::kernel::Clock;
use governor::{Quota, nanos::Nanos, state::StateStore};
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Keys that are told apart. More than these at once are let through: to limit together those for whom there is no room
/// would let whoever has many addresses lock everybody else out. `requests_at_once` bounds them.
pub(super) const KEYS: usize = 16_384;
/// Room is looked for at most so often.
const SWEEP_EVERY: u64 = 1_000_000_000;

/// The state of each key: when it would be as if it had never asked.
pub(super) struct States<K> {
    /// How far one request puts that off.
    apart: u64,
    kept: Mutex<Kept<K>>,
}

struct Kept<K> {
    arrivals: HashMap<K, Nanos>,
    swept: Option<u64>,
}

impl<K> States<K> {
    /// None yet, for limits of this quota.
    pub(super) fn of(quota: &Quota) -> Self {
        let apart = u64::try_from(quota.replenish_interval().as_nanos()).unwrap_or(u64::MAX);
        Self { apart, kept: Mutex::new(Kept { arrivals: HashMap::new(), swept: None }) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<K>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> StateStore for States<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut kept = self.kept();
        if let Some(arrival) = kept.arrivals.get_mut(key) {
            let (outcome, next) = decide(Some(*arrival))?;
            *arrival = next;
            return Ok(outcome);
        }
        let (outcome, next) = decide(None)?;
        if kept.arrivals.len() >= KEYS {
            kept.sweep(next.as_u64().saturating_sub(self.apart));
        }
        if kept.arrivals.len() < KEYS {
            kept.arrivals.insert(key.clone(), next);
        }
        Ok(outcome)
    }
}

impl<K: Hash + Eq> Kept<K> {
    /// Forgets those that are, by now, as if they had never asked.
    fn sweep(&mut self, now: u64) {
        if self.swept.is_some_and(|swept| now.saturating_sub(swept) < SWEEP_EVERY) {
            return;
        }
        self.swept = Some(now);
        self.arrivals.retain(|_, arrival| arrival.as_u64() > now);
    }
}

/// Time that goes by on a clock of ours. A clock that is set back stands still for that moment: what it showed before
/// would otherwise shut everybody out until it shows that again.
#[derive(Clone)]
pub(super) struct Elapsed {
    clock: Arc<dyn Clock>,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    millis: i64,
    elapsed: u64,
}

impl Elapsed {
    pub(super) fn by(clock: Arc<dyn Clock>) -> Self {
        let millis = clock.now().as_millisecond();
        Self { clock, seen: Arc::new(Mutex::new(Seen { millis, elapsed: 0 })) }
    }
}

impl governor::clock::Clock for Elapsed {
    type Instant = Duration;

    fn now(&self) -> Duration {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: two readings must not look like a clock that was set back.
        let millis = self.clock.now().as_millisecond();
        let passed = u64::try_from(millis.saturating_sub(seen.millis)).unwrap_or(0);
        seen.elapsed = seen.elapsed.saturating_add(passed);
        seen.millis = millis;
        Duration::from_millis(seen.elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::ManualClock;
    use governor::{RateLimiter, clock::Clock as _, middleware::NoOpMiddleware};
    use jiff::SignedDuration;
    use std::num::NonZeroU32;

    type Limiter = RateLimiter<usize, States<usize>, Elapsed, NoOpMiddleware<Duration>>;

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::at("2026-11-23T17:00:00Z".parse().unwrap()))
    }

    #[test]
    fn a_clock_that_is_set_back_goes_on_from_there() {
        let clock = clock();
        let elapsed = Elapsed::by(clock.clone());
        clock.advance(SignedDuration::from_secs(5));
        assert_eq!(elapsed.now(), Duration::from_secs(5));
        clock.advance(SignedDuration::from_hours(-3));
        assert_eq!(elapsed.now(), Duration::from_secs(5));
        clock.advance(SignedDuration::from_secs(2));
        assert_eq!(elapsed.now(), Duration::from_secs(7));
    }

    #[test]
    fn many_keys_fill_no_memory_and_free_nobody_who_is_limited() {
        let clock = clock();
        let elapsed = Elapsed::by(clock.clone());
        let quota = Quota::per_minute(NonZeroU32::new(2).unwrap());
        let limiter: Limiter = RateLimiter::new(quota, States::of(&quota), elapsed.clone());
        let flooder = usize::MAX;
        while limiter.check_key(&flooder).is_ok() {}
        assert!((0..KEYS * 2).all(|key| limiter.check_key(&key).is_ok()), "each asks once");
        assert!(limiter.check_key(&flooder).is_err());
        // A minute later all of them are as new, and one more finds room.
        clock.advance(SignedDuration::from_mins(1));
        assert!(limiter.check_key(&(KEYS * 3)).is_ok());
        let states = limiter.into_state_store();
        assert_eq!(states.kept().arrivals.len(), 1);
    }

    #[test]
    fn memory_is_bounded_while_everybody_is_limited() {
        let quota = Quota::per_minute(NonZeroU32::MIN);
        let limiter: Limiter = RateLimiter::new(quota, States::of(&quota), Elapsed::by(clock()));
        for key in 0..KEYS + 1000 {
            assert!(limiter.check_key(&key).is_ok());
        }
        assert_eq!(limiter.into_state_store().kept().arrivals.len(), KEYS);
    }
}
