//! How much one source, one session, one person and one practice may ask for. What comes beyond is answered 429 with
//! `Retry-After`, and counted by what it was, never by whose.
//!
//! What always holds:
//! - Who proves who they are is never limited by what others do at the same address: a webhook with the carrier's
//!   signature always gets in, and so does a session that stands. By source only that is limited which was refused, and
//!   launches, which prove nothing before they are under way.
//! - A limit holds for each process by itself, and is forgotten at its end.
//! - The state that is kept has a largest size ([`states`]).

mod states;

use super::{Failure, server::Source};
use crate::{
    access::Session,
    config::RateSettings,
    kernel::{Clock, Id, StaffUser, Tenant},
};
use governor::{Quota, RateLimiter, clock::Clock as _, middleware::NoOpMiddleware};
use states::{Elapsed, States};
use std::{hash::Hash, num::NonZeroU32, sync::Arc, time::Duration};

/// The limits of this process.
pub struct Rates {
    refused: Rate<Source>,
    launches: Rate<Source>,
    sessions: Rate<Id<Session>>,
    repliers: Rate<(Id<Tenant>, Id<StaffUser>)>,
    practices: Rate<Id<Tenant>>,
}

impl Rates {
    /// As the settings say, by this clock.
    #[must_use]
    pub fn new(settings: RateSettings, clock: &Arc<dyn Clock>) -> Self {
        Self {
            refused: Rate::per_minute(settings.refusals, clock),
            launches: Rate::per_minute(settings.launches, clock),
            sessions: Rate::per_minute(settings.session_requests, clock),
            repliers: Rate::per_minute(settings.replies, clock),
            practices: Rate::per_minute(settings.practice_replies, clock),
        }
    }

    /// Counts a request that is refused.
    ///
    /// # Errors
    /// [`Failure::TooMany`] where its source was refused too often: the answer, in the place of why it is refused.
    pub(super) fn refused(&self, what: &'static str, source: Option<Source>) -> Result<(), Failure> {
        source.map_or(Ok(()), |source| self.refused.take(what, &source))
    }

    /// Counts a step of a launch.
    ///
    /// # Errors
    /// [`Failure::TooMany`].
    pub(super) fn launch(&self, source: Option<Source>) -> Result<(), Failure> {
        source.map_or(Ok(()), |source| self.launches.take("launch", &source))
    }

    /// Counts a request of a session.
    ///
    /// # Errors
    /// [`Failure::TooMany`].
    pub(super) fn session(&self, session: Id<Session>) -> Result<(), Failure> {
        self.sessions.take("session", &session)
    }

    /// Counts a reply, for the person who sends it off in whatever session, and for the practice: a script that runs away
    /// must not text all of its patients.
    ///
    /// # Errors
    /// [`Failure::TooMany`].
    pub(super) fn reply(&self, tenant: Id<Tenant>, staff: Id<StaffUser>) -> Result<(), Failure> {
        // The person's first: what they may not send is not taken from their colleagues.
        self.repliers.take("reply", &(tenant, staff))?;
        self.practices.take("practice-replies", &tenant)
    }
}

/// Counts what was limited.
pub(super) fn limited(what: &'static str) {
    metrics::counter!("chartwire_http_limited_total", "what" => what).increment(1);
}

/// So many in a minute for each key, all at once or spread.
struct Rate<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, States<K>, Elapsed, NoOpMiddleware<Duration>>,
    elapsed: Elapsed,
}

impl<K: Hash + Eq + Clone> Rate<K> {
    fn per_minute(count: NonZeroU32, clock: &Arc<dyn Clock>) -> Self {
        let (quota, elapsed) = (Quota::per_minute(count), Elapsed::by(Arc::clone(clock)));
        Self { limiter: RateLimiter::new(quota, States::of(&quota), elapsed.clone()), elapsed }
    }

    fn take(&self, what: &'static str, key: &K) -> Result<(), Failure> {
        self.limiter.check_key(key).map_err(|not_until| {
            limited(what);
            let wait = not_until.wait_time_from(self.elapsed.now());
            // Whole seconds, so that whoever keeps to it gets in.
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
            Failure::TooMany(u32::try_from(seconds).unwrap_or(u32::MAX))
        })
    }
}

#[cfg(test)]
mod tests;
