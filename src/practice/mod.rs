//! A practice: one tenant's policy, hours and numbers.
//!
//! Owns what the practice has decided; the composition root seeds it from the settings and hands it down as
//! [`Practices`]. Always: calendar arithmetic for a practice uses its own zone; a practice's numbers are its own, so a
//! webhook's receiving number decides whether it belongs to the tenant of its path (law 8).

mod hours;

pub use hours::QuietHours;

use crate::kernel::{Id, Language, PhoneNumber, Tenant};
use jiff::{SignedDuration, civil, tz::TimeZone};
use std::{collections::HashMap, sync::Arc, time::Duration};
use url::Url;

/// Who answers STOP, START and HELP for a number: never both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeywordAnswerer {
    /// The carrier confirms and blocks by itself (Twilio's default).
    Carrier,
    /// We do.
    Chartwire,
}

/// A number that the practice texts from.
#[derive(Debug, Clone)]
pub struct ClinicNumber {
    /// The number.
    pub number: PhoneNumber,
    /// Who answers keywords there.
    pub keywords: KeywordAnswerer,
}

/// A reminder so many calendar days before the visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReminderRule {
    /// Days before the visit, counted in the practice's zone.
    pub days_before: u32,
    /// The time of day in the practice's zone.
    pub at: civil::Time,
}

/// How many automated texts a number may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Within 24 hours.
    pub per_day: u32,
    /// Within 7 days.
    pub per_week: u32,
}

/// Which automated texts say how to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OptOutNotice {
    /// Every one.
    #[default]
    EveryText,
    /// The first to a phone, and one once the last that reached it is 30 days old.
    FirstAndMonthly,
}

impl OptOutNotice {
    /// For how long a notice that reached a phone stands for the texts after it; `None` where each has its own.
    #[must_use]
    pub const fn stands_for(self) -> Option<SignedDuration> {
        match self {
            Self::EveryText => None,
            Self::FirstAndMonthly => Some(SignedDuration::from_hours(30 * 24)),
        }
    }
}

/// One tenant as the domain sees it.
#[derive(Debug, Clone)]
pub struct Practice {
    /// The tenant.
    pub tenant: Id<Tenant>,
    /// Its name in URLs.
    pub slug: String,
    /// What patients read: the name, or the neutral label of a practice whose name tells its specialty.
    pub clinic_name: String,
    /// The number that patients are told to call.
    pub phone: PhoneNumber,
    /// The practice's zone.
    pub zone: TimeZone,
    /// The language of patients whose language is not known.
    pub default_language: Language,
    /// When automated texts wait.
    pub quiet_hours: QuietHours,
    /// When reminders go out.
    pub reminders: Vec<ReminderRule>,
    /// The numbers it texts from; the first is used where nothing else decides.
    pub numbers: Vec<ClinicNumber>,
    /// Whether texts may go to numbers that were never verified.
    pub unverified_numbers_allowed: bool,
    /// Whether texts greet by first name.
    pub first_name_in_texts: bool,
    /// Whether we confirm a STOP where the carrier does not.
    pub confirm_stop: bool,
    /// Which automated texts say how to stop.
    pub opt_out_notice: OptOutNotice,
    /// Frequency caps, where the practice's legal basis asks for them.
    pub caps: Option<Caps>,
    /// How often the schedule is read.
    pub poll_every: Duration,
    /// The address under which carriers and browsers reach us.
    pub public_url: Url,
}

impl Practice {
    /// The practice's number that equals `number`.
    #[must_use]
    pub fn own_number(&self, number: &PhoneNumber) -> Option<&ClinicNumber> {
        self.numbers.iter().find(|own| own.number == *number)
    }
}

/// Every practice that this installation serves.
#[derive(Debug, Clone, Default)]
pub struct Practices {
    by_tenant: HashMap<Id<Tenant>, Arc<Practice>>,
    by_slug: HashMap<String, Id<Tenant>>,
}

impl Practices {
    /// A registry of these practices.
    #[must_use]
    pub fn new(practices: Vec<Practice>) -> Self {
        let by_slug = practices.iter().map(|practice| (practice.slug.clone(), practice.tenant)).collect();
        let by_tenant = practices.into_iter().map(|practice| (practice.tenant, Arc::new(practice))).collect();
        Self { by_tenant, by_slug }
    }

    /// The practice of `tenant`.
    #[must_use]
    pub fn get(&self, tenant: Id<Tenant>) -> Option<Arc<Practice>> {
        self.by_tenant.get(&tenant).cloned()
    }

    /// The practice with this name in URLs.
    #[must_use]
    pub fn by_slug(&self, slug: &str) -> Option<Arc<Practice>> {
        self.get(*self.by_slug.get(slug)?)
    }

    /// Every practice, in no particular order.
    pub fn all(&self) -> impl Iterator<Item = Arc<Practice>> + '_ {
        self.by_tenant.values().cloned()
    }
}
