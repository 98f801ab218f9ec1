//! Riverside Family Medicine, a practice that does not exist.
//!
//! Owns the people, the calendar and the charts that a sandbox EHR starts with. Everything follows from the clock,
//! the clinic's zone and the seed: the same three give the same clinic. The practice is open every day, so that what
//! is tried in it does not depend on the weekday. Phone numbers are 555-01XX, reserved for fiction (ATIS-0300115).

mod appointments;
mod calendar;
mod charts;
mod patients;
mod staff;

pub use patients::{Person, Texting, patients};
pub use staff::{Colleague, colleagues};

use super::authorization::{Choice, Directory};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;

/// The practice's name.
pub const NAME: &str = "Riverside Family Medicine";
/// The practice's voice line.
pub const PHONE: &str = "+12125550199";
/// The prefix of the practice's own code systems and identifier systems.
pub const SYSTEM: &str = "https://riverside-family-medicine.example/fhir";
/// The id of its Organization.
pub const ORGANIZATION: &str = "riverside-family-medicine";
/// The code of a consent to be texted, in the practice's code system `consent-category`.
pub const TEXTING_CONSENT: &str = "sms-outreach";

/// People whom demonstrations and tests call by name.
pub mod persona {
    /// English, consented to everything, a visit in three days at 14:00 with Dr. Smith.
    pub const ANA_LOPEZ: &str = "patient-ana-lopez";
    /// Spanish speaker, a visit in three days.
    pub const ROSA_JIMENEZ: &str = "patient-rosa-jimenez";
    /// Shares her phone with her daughter Mia; a visit tomorrow.
    pub const MARIA_SANTOS: &str = "patient-maria-santos";
    /// Nine years old, on her mother's phone; a visit tomorrow.
    pub const MIA_SANTOS: &str = "patient-mia-santos";
    /// Has only a landline; a visit tomorrow.
    pub const WALTER_BROOKS: &str = "patient-walter-brooks";
    /// Has refused texts: an active Consent that denies; a visit in three days.
    pub const GRACE_KIM: &str = "patient-grace-kim";
    /// Nobody has asked him about texts yet; a visit in three days.
    pub const PETER_NOVAK: &str = "patient-peter-novak";
    /// A prescription with repeats left runs out in three days.
    pub const JAMES_CARTER: &str = "patient-james-carter";
    /// A prescription without repeats left runs out tomorrow.
    pub const LINDA_OKAFOR: &str = "patient-linda-okafor";
    /// Two visits on one day, in three days.
    pub const HELEN_WARD: &str = "patient-helen-ward";
    /// A visit in three days with Dr. Smith, half an hour before Tom Becker's.
    pub const PRIYA_NAIR: &str = "patient-priya-nair";
    /// A visit in three days with Dr. Smith, half an hour after Priya Nair's.
    pub const TOM_BECKER: &str = "patient-tom-becker";
    /// The record that stayed when a duplicate was found.
    pub const ROBERT_CHEN: &str = "patient-robert-chen";
    /// The duplicate, inactive, replaced by [`ROBERT_CHEN`].
    pub const ROBERT_CHEN_DUPLICATE: &str = "patient-robert-chen-duplicate";
    /// Has no phone at all.
    pub const AGNES_COLE: &str = "patient-agnes-cole";

    /// Doctor; Ana Lopez is a patient of his.
    pub const DR_SMITH: &str = "practitioner-john-smith";
    /// Doctor.
    pub const DR_PATEL: &str = "practitioner-anjali-patel";
    /// Nurse.
    pub const NURSE_REED: &str = "practitioner-carla-reed";
    /// Front desk.
    pub const SCHEDULER_DIAZ: &str = "practitioner-luis-diaz";
    /// Pharmacist.
    pub const PHARMACIST_HALL: &str = "practitioner-omar-hall";
    /// Has an account but no role.
    pub const WITHOUT_ROLE: &str = "practitioner-sam-lee";
}

/// When and where the clinic is looked at.
#[derive(Debug, Clone)]
pub(super) struct Day {
    now: Timestamp,
    today: Date,
    zone: TimeZone,
    seed: u64,
}

impl Day {
    fn date(&self, days: i64) -> Date {
        self.today.saturating_add(jiff::Span::new().days(days))
    }

    fn instant(&self, days: i64, (hour, minute): (i8, i8)) -> Timestamp {
        let time = jiff::civil::Time::midnight()
            .saturating_add(jiff::Span::new().minutes(i64::from(hour) * 60 + i64::from(minute)));
        crate::kernel::local_instant(self.date(days), time, &self.zone)
    }
}

/// The clinic as it stands at one instant.
#[derive(Debug, Clone)]
pub struct Clinic {
    /// Every resource, what is referred to before what refers to it.
    pub resources: Vec<Value>,
    /// Who can sign in, and about whom.
    pub directory: Directory,
}

impl Clinic {
    /// The clinic at `now` in its `zone`. `seed` varies who fills the calendar beside the people called by name.
    #[must_use]
    pub fn at(now: Timestamp, zone: &TimeZone, seed: u64) -> Self {
        let day = Day { now, today: now.to_zoned(zone.clone()).date(), zone: zone.clone(), seed };
        let mut resources = staff::resources();
        resources.extend(patients::resources(&day));
        resources.extend(charts::resources(&day));
        resources.extend(calendar::resources(&day));
        let directory = Directory {
            practitioners: colleagues().iter().map(Colleague::choice).collect(),
            patients: patients()
                .iter()
                .map(|person| Choice { id: person.id.to_owned(), label: person.label() })
                .collect(),
        };
        Self { resources, directory }
    }
}

#[cfg(test)]
mod tests;
