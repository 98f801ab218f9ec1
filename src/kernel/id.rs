//! Typed ids: UUID version 7 (RFC 9562 section 5.7), 16 bytes, ascending within a process.
//!
//! An [`Id`] carries what it names in its type, so a message id cannot stand where a patient id is asked for.

use super::{Clock, Entropy};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// The id of a `K`. Opaque: it may stand in columns, URLs and logs.
pub struct Id<K> {
    uuid: Uuid,
    kind: PhantomData<fn() -> K>,
}

impl<K> Id<K> {
    /// An id with these 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self { uuid: Uuid::from_bytes(bytes), kind: PhantomData }
    }

    /// An id from a stored column; `None` when it is not 16 bytes long.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(|uuid| Self { uuid, kind: PhantomData })
    }

    /// The 16 bytes, as stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.uuid.as_bytes()
    }

    /// The same bytes as the id of another kind. For the few places where one thing stands for another.
    #[must_use]
    pub const fn cast<L>(self) -> Id<L> {
        Id { uuid: self.uuid, kind: PhantomData }
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.uuid.cmp(&other.uuid)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}
impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.uuid.hyphenated(), f)
    }
}
impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl<K> FromStr for Id<K> {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::from_str(text).map(|uuid| Self { uuid, kind: PhantomData })
    }
}
impl<K> serde::Serialize for Id<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de, K> serde::Deserialize<'de> for Id<K> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Makes ids that ascend within the process: 48 bits of milliseconds, a 12-bit counter within the
/// millisecond, 62 random bits. A clock that stands still or goes back does not break the order.
pub struct IdSource {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    last: Mutex<(u64, u16)>,
}

impl IdSource {
    /// A source over this clock and this randomness.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, last: Mutex::new((0, 0)) }
    }

    /// The next id.
    #[must_use]
    pub fn next<K>(&self) -> Id<K> {
        let now = u64::try_from(self.clock.now().as_millisecond()).unwrap_or(0);
        let (millis, counter) = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = match *last {
                (millis, _) if now > millis => (now, 0),
                (millis, 0x0fff) => (millis + 1, 0),
                (millis, counter) => (millis, counter + 1),
            };
            *last
        };
        let mut random = [0_u8; 10];
        self.entropy.fill(&mut random);
        let [r0, r1, rest @ ..] = random;
        let [_, _, t0, t1, t2, t3, t4, t5] = millis.to_be_bytes();
        let [c0, c1] = counter.to_be_bytes();
        let [r2, r3, r4, r5, r6, r7, ..] = rest;
        // Version 7 in the high bits of byte 6, variant 10 in those of byte 8.
        Id::from_bytes([t0, t1, t2, t3, t4, t5, 0x70 | c0, c1, 0x80 | (r0 & 0x3f), r1, r2, r3, r4, r5, r6, r7])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{ManualClock, SeededEntropy, clock::from_millis};

    struct Thing;

    #[test]
    fn ids_ascend_even_when_the_clock_stands_still() {
        let clock = Arc::new(ManualClock::at(from_millis(1_700_000_000_000)));
        let source = IdSource::new(clock, Arc::new(SeededEntropy::new(1)));
        let ids: Vec<Id<Thing>> = (0..10_000).map(|_| source.next()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Uuid::from_bytes(*ids[0].as_bytes()).get_version_num(), 7);
    }

    #[test]
    fn text_and_bytes_give_the_id_back() {
        let id = Id::<Thing>::from_bytes([9; 16]);
        assert_eq!(id.to_string().parse::<Id<Thing>>().unwrap(), id);
        assert_eq!(Id::<Thing>::from_slice(id.as_bytes()), Some(id));
        assert_eq!(Id::<Thing>::from_slice(&[1, 2]), None);
        assert_eq!(format!("{:?}", Some(id)), format!("Some({id})"), "in logs an id looks as everywhere");
    }
}
