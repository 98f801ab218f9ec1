//! What every other room stands on: time, randomness, ids, protected values, phone numbers, languages.
//!
//! Owns nothing that is stored and calls nobody. Everything here is pure, measures, or is the one place where the
//! process touches the system clock ([`clock::SystemClock`]) and the system's randomness
//! ([`entropy::SystemEntropy`]); the rest of the program receives both as arguments.

pub mod calendar;
pub mod clock;
pub mod entropy;
pub mod exchange;
pub mod id;
pub mod language;
pub mod party;
pub mod phi;
pub mod phone;
pub mod phrase;
pub mod text_trace;
pub mod words;

pub use calendar::local_instant;
pub use clock::{Clock, ManualClock, SystemClock};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use exchange::{Exchange, Unanswered};
pub use id::{Id, IdSource};
pub use language::Language;
pub use party::{Patient, StaffUser, Tenant};
pub use phi::Phi;
pub use phone::{PhoneNumber, PhoneNumberError};
pub use text_trace::about_text;

use std::sync::Arc;

/// The clock, the randomness and the id source that a part of the program works with.
///
/// One value is made in the composition root and handed down; tests hand down a [`ManualClock`] and a
/// [`SeededEntropy`] instead.
#[derive(Clone)]
pub struct Instruments {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives random bytes fit for keys, nonces and tokens.
    pub entropy: Arc<dyn Entropy>,
    /// Makes new ids, in ascending order within this process.
    pub ids: Arc<IdSource>,
}

impl Instruments {
    /// Bundles a clock and a source of randomness, with an id source over both.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let ids = Arc::new(IdSource::new(Arc::clone(&clock), Arc::clone(&entropy)));
        Self { clock, entropy, ids }
    }

    /// The real clock and the system's randomness.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
    }

    /// The time now, to the millisecond (the resolution that is stored).
    #[must_use]
    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// A new id of kind `K`.
    #[must_use]
    pub fn new_id<K>(&self) -> Id<K> {
        self.ids.next()
    }

    /// A random token of `bytes` random bytes, base64url without padding (RFC 4648 section 5).
    #[must_use]
    pub fn token(&self, bytes: usize) -> String {
        use base64::Engine as _;
        let mut raw = vec![0_u8; bytes];
        self.entropy.fill(&mut raw);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(raw)
    }
}
