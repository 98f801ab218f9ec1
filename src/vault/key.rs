//! What a data key is for, how long it serves, and how it is stored.

use super::{WrappedKey, encoding::length_prefixed};
use crate::kernel::{Id, Tenant};
use jiff::{Timestamp, tz::TimeZone};
use std::fmt;

/// The kind that data key ids name.
pub enum DataKey {}

/// What a sealed value is and therefore how long it is kept. Values of different classes never share a key, so
/// that a class can be destroyed by destroying its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RetentionClass {
    /// Message texts and whatever else is part of a patient's record.
    Clinical,
    /// What running the practice needs: drafts, templates' parameters, tasks.
    Administrative,
    /// What proves who did what.
    Audit,
    /// Patients' names and numbers.
    Directory,
    /// Grants and tokens of sessions.
    Session,
}

impl RetentionClass {
    /// Every class.
    pub const ALL: [Self; 5] = [Self::Clinical, Self::Administrative, Self::Audit, Self::Directory, Self::Session];
}

/// What a data key does. A key has one purpose for life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyPurpose {
    /// Seals values of a retention class (AES-256-GCM).
    Seal(RetentionClass),
    /// Makes blind index tokens (HMAC-SHA-256).
    Search,
    /// Hashes contents (HMAC-SHA-256).
    ContentHash,
    /// Signs audit rows (HMAC-SHA-256).
    AuditRow,
    /// Chains audit rows and signs the head of the chain (HMAC-SHA-256).
    AuditHead,
}

impl KeyPurpose {
    /// Every purpose.
    pub const ALL: [Self; 9] = [
        Self::Seal(RetentionClass::Clinical),
        Self::Seal(RetentionClass::Administrative),
        Self::Seal(RetentionClass::Audit),
        Self::Seal(RetentionClass::Directory),
        Self::Seal(RetentionClass::Session),
        Self::Search,
        Self::ContentHash,
        Self::AuditRow,
        Self::AuditHead,
    ];

    /// The stored code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Seal(RetentionClass::Clinical) => "seal.clinical",
            Self::Seal(RetentionClass::Administrative) => "seal.administrative",
            Self::Seal(RetentionClass::Audit) => "seal.audit",
            Self::Seal(RetentionClass::Directory) => "seal.directory",
            Self::Seal(RetentionClass::Session) => "seal.session",
            Self::Search => "search",
            Self::ContentHash => "content_hash",
            Self::AuditRow => "audit_row",
            Self::AuditHead => "audit_head",
        }
    }

    /// The purpose with this stored code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.code() == code)
    }

    /// Whether keys of this purpose seal values.
    #[must_use]
    pub const fn seals(self) -> bool {
        matches!(self, Self::Seal(_))
    }
}

/// The time that a key serves: a calendar month in UTC for keys that seal, otherwise no particular one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    /// Not bound to a month.
    Any,
    /// A calendar month in UTC.
    Month {
        /// The year.
        year: i16,
        /// The month, 1 to 12.
        month: i8,
    },
}

impl Period {
    /// The month that `instant` lies in, in UTC.
    #[must_use]
    pub fn month_of(instant: Timestamp) -> Self {
        let date = instant.to_zoned(TimeZone::UTC).date();
        Self::Month { year: date.year(), month: date.month() }
    }

    /// The period with this stored code (`2026-03`, or `any`).
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        if code == "any" {
            return Some(Self::Any);
        }
        let (year, month) = code.split_once('-')?;
        let month = month.parse().ok().filter(|month| (1..=12).contains(month))?;
        Some(Self::Month { year: year.parse().ok()?, month })
    }
}

impl fmt::Display for Period {
    /// The stored code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Month { year, month } => write!(f, "{year:04}-{month:02}"),
        }
    }
}

/// Whether a key may still be used for new values. Every key opens what was sealed under it, until it is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// In use.
    Live,
    /// Has sealed as many values as one key should.
    Full,
    /// Replaced by an operator: what it sealed is to be sealed anew, what it indexed to be indexed anew.
    Rotated,
    /// Destroyed by an operator, with every other key of its tenant: what it sealed is unreadable.
    Destroyed,
}

impl KeyState {
    /// The stored code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Full => "full",
            Self::Rotated => "rotated",
            Self::Destroyed => "destroyed",
        }
    }

    /// The state with this stored code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::Live, Self::Full, Self::Rotated, Self::Destroyed].into_iter().find(|state| state.code() == code)
    }
}

/// A data key as it is stored: wrapped, never in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Whose key it is.
    pub tenant: Id<Tenant>,
    /// Its id, which every sealed value carries.
    pub id: Id<DataKey>,
    /// What it does.
    pub purpose: KeyPurpose,
    /// When it serves.
    pub period: Period,
    /// Counts from 1 within tenant, purpose and period.
    pub version: i64,
    /// Whether it may be used for new values.
    pub state: KeyState,
    /// The key, wrapped under a key-encryption key.
    pub wrapped: WrappedKey,
    /// A value by which the unwrapped key is recognised as the right one, whatever the provider did.
    pub check_value: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on new values use it. Later than `created_at` for keys that every process must know first.
    pub active_from: Timestamp,
    /// How many seals processes have reserved under it.
    pub reserved: i64,
}

impl KeyRecord {
    /// What binds the wrapped key to its row: with any of these changed it does not unwrap.
    #[must_use]
    pub fn wrapping_context(&self) -> Vec<u8> {
        length_prefixed(&[
            b"chartwire data key",
            self.tenant.as_bytes(),
            self.id.as_bytes(),
            self.purpose.code().as_bytes(),
            self.period.to_string().as_bytes(),
            &self.version.to_be_bytes(),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_codes_read_back() {
        for purpose in KeyPurpose::ALL {
            assert_eq!(KeyPurpose::from_code(purpose.code()), Some(purpose));
        }
        for class in RetentionClass::ALL {
            assert!(KeyPurpose::ALL.contains(&KeyPurpose::Seal(class)));
        }
        for state in [KeyState::Live, KeyState::Full, KeyState::Rotated, KeyState::Destroyed] {
            assert_eq!(KeyState::from_code(state.code()), Some(state));
        }
        let march = Period::Month { year: 2026, month: 3 };
        assert_eq!(march.to_string(), "2026-03");
        assert_eq!(Period::from_code("2026-03"), Some(march));
        assert_eq!(Period::from_code("2026-13"), None);
        assert_eq!(Period::from_code("any"), Some(Period::Any));
    }

    #[test]
    fn a_month_ends_at_midnight_utc() {
        let last: Timestamp = "2026-03-31T23:59:59.999Z".parse().unwrap();
        assert_eq!(Period::month_of(last).to_string(), "2026-03");
        let first: Timestamp = "2026-04-01T00:00:00Z".parse().unwrap();
        assert_eq!(Period::month_of(first).to_string(), "2026-04");
    }
}
