//! The clock as an argument. Domain code never asks the system for the time (law 10).

use jiff::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};

/// Tells the time. Instants are truncated to the millisecond, because that is what is stored: what was
/// written and what is held in memory compare equal.
pub trait Clock: Send + Sync + 'static {
    /// The instant now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        truncated(Timestamp::now())
    }
}

/// A clock that stands still until it is moved. Tests and rehearsals use it.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn at(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.as_millisecond()))
    }

    /// Moves the clock to `instant`.
    pub fn set(&self, instant: Timestamp) {
        self.0.store(instant.as_millisecond(), Ordering::SeqCst);
    }

    /// Moves the clock forward (or back, where negative) by `span`.
    pub fn advance(&self, span: jiff::SignedDuration) {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// The instant `millis` milliseconds after the Unix epoch; out of range saturates.
#[must_use]
pub fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

fn truncated(instant: Timestamp) -> Timestamp {
    from_millis(instant.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(from_millis(1_000));
        assert_eq!(clock.now(), clock.now());
        clock.advance(jiff::SignedDuration::from_secs(2));
        assert_eq!(clock.now().as_millisecond(), 3_000);
    }

    #[test]
    fn the_system_clock_is_cut_to_milliseconds() {
        assert_eq!(SystemClock.now().subsec_nanosecond() % 1_000_000, 0);
    }
}
