//! The clocks that a patient lives by, as far as their address tells: the zones of a state of the United States.
//!
//! Of an address nothing but these zones is kept. A state with several gives all of them: which one holds for a street
//! is not guessed, and whoever asks whether it is night there asks for each.

use crate::{
    db::{DbError, Tx, sql},
    kernel::{Id, Patient, Tenant},
};
use jiff::tz::TimeZone;

const EASTERN: &str = "America/New_York";
const CENTRAL: &str = "America/Chicago";
const MOUNTAIN: &str = "America/Denver";
const PACIFIC: &str = "America/Los_Angeles";

/// States, territories and the capital by USPS code and name, with the IANA zones that some part of them keeps
/// (49 CFR part 71; IANA tz database, zone1970.tab). One clock is named once, whatever it is called locally.
const STATES: [(&str, &str, &[&str]); 56] = [
    ("AK", "Alaska", &["America/Anchorage", "America/Adak"]),
    ("AL", "Alabama", &[CENTRAL]),
    ("AR", "Arkansas", &[CENTRAL]),
    ("AS", "American Samoa", &["Pacific/Pago_Pago"]),
    // The Navajo Nation changes its clocks.
    ("AZ", "Arizona", &["America/Phoenix", MOUNTAIN]),
    ("CA", "California", &[PACIFIC]),
    ("CO", "Colorado", &[MOUNTAIN]),
    ("CT", "Connecticut", &[EASTERN]),
    ("DC", "District of Columbia", &[EASTERN]),
    ("DE", "Delaware", &[EASTERN]),
    ("FL", "Florida", &[EASTERN, CENTRAL]),
    ("GA", "Georgia", &[EASTERN]),
    ("GU", "Guam", &["Pacific/Guam"]),
    ("HI", "Hawaii", &["Pacific/Honolulu"]),
    ("IA", "Iowa", &[CENTRAL]),
    ("ID", "Idaho", &[MOUNTAIN, PACIFIC]),
    ("IL", "Illinois", &[CENTRAL]),
    ("IN", "Indiana", &[EASTERN, CENTRAL]),
    ("KS", "Kansas", &[CENTRAL, MOUNTAIN]),
    ("KY", "Kentucky", &[EASTERN, CENTRAL]),
    ("LA", "Louisiana", &[CENTRAL]),
    ("MA", "Massachusetts", &[EASTERN]),
    ("MD", "Maryland", &[EASTERN]),
    ("ME", "Maine", &[EASTERN]),
    ("MI", "Michigan", &[EASTERN, CENTRAL]),
    ("MN", "Minnesota", &[CENTRAL]),
    ("MO", "Missouri", &[CENTRAL]),
    ("MP", "Northern Mariana Islands", &["Pacific/Guam"]),
    ("MS", "Mississippi", &[CENTRAL]),
    ("MT", "Montana", &[MOUNTAIN]),
    ("NC", "North Carolina", &[EASTERN]),
    ("ND", "North Dakota", &[CENTRAL, MOUNTAIN]),
    ("NE", "Nebraska", &[CENTRAL, MOUNTAIN]),
    ("NH", "New Hampshire", &[EASTERN]),
    ("NJ", "New Jersey", &[EASTERN]),
    ("NM", "New Mexico", &[MOUNTAIN]),
    ("NV", "Nevada", &[PACIFIC, MOUNTAIN]),
    ("NY", "New York", &[EASTERN]),
    ("OH", "Ohio", &[EASTERN]),
    ("OK", "Oklahoma", &[CENTRAL]),
    ("OR", "Oregon", &[PACIFIC, MOUNTAIN]),
    ("PA", "Pennsylvania", &[EASTERN]),
    ("PR", "Puerto Rico", &["America/Puerto_Rico"]),
    ("RI", "Rhode Island", &[EASTERN]),
    ("SC", "South Carolina", &[EASTERN]),
    ("SD", "South Dakota", &[CENTRAL, MOUNTAIN]),
    ("TN", "Tennessee", &[EASTERN, CENTRAL]),
    ("TX", "Texas", &[CENTRAL, MOUNTAIN]),
    ("UT", "Utah", &[MOUNTAIN]),
    ("VA", "Virginia", &[EASTERN]),
    ("VI", "Virgin Islands", &["America/Puerto_Rico"]),
    ("VT", "Vermont", &[EASTERN]),
    ("WA", "Washington", &[PACIFIC]),
    ("WI", "Wisconsin", &[CENTRAL]),
    ("WV", "West Virginia", &[EASTERN]),
    ("WY", "Wyoming", &[MOUNTAIN]),
];

/// The IANA zones of the state with this USPS code or English name, as addresses write it; none where it is no state of
/// the United States.
#[must_use]
pub fn zones_of_state(state: &str) -> &'static [&'static str] {
    let state = state.trim();
    let known =
        STATES.iter().find(|(code, name, _)| code.eq_ignore_ascii_case(state) || name.eq_ignore_ascii_case(state));
    known.map_or(&[], |(.., zones)| zones)
}

/// Zones as they are stored: names between spaces.
pub(super) fn stored(zones: &[&'static str]) -> String {
    let mut zones = zones.to_vec();
    zones.sort_unstable();
    zones.dedup();
    zones.join(" ")
}

/// Zones as they were stored.
pub(super) fn read(stored: &str) -> Vec<TimeZone> {
    stored.split_whitespace().filter_map(|name| TimeZone::get(name).ok()).collect()
}

/// The zones that the address of `patient` leaves open, in this transaction; after a merge, the survivor's. None where
/// it tells nothing.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn zones_of(tx: &mut Tx, tenant: Id<Tenant>, patient: Id<Patient>) -> Result<Vec<TimeZone>, DbError> {
    let row = tx
        .optional(
            sql("SELECT s.zones FROM patient p JOIN patient s ON s.tenant = p.tenant AND s.id = COALESCE(p.merged_into, p.id) \
                 WHERE p.tenant = $1 AND p.id = $2")
            .bind(tenant)
            .bind(patient),
        )
        .await?;
    Ok(row.map(|row| row.get::<String>("zones")).transpose()?.map_or_else(Vec::new, |zones| read(&zones)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_is_one_that_this_program_knows() {
        for (code, name, zones) in STATES {
            assert_eq!(zones_of_state(code), zones);
            assert_eq!(zones_of_state(&name.to_uppercase()), zones);
            assert_eq!(read(&stored(zones)).len(), zones.len(), "{name}");
        }
    }

    #[test]
    fn a_state_with_two_clocks_gives_both_and_what_is_no_state_none() {
        assert_eq!(zones_of_state(" tx "), ["America/Chicago", "America/Denver"]);
        assert_eq!(zones_of_state("Hawaii"), ["Pacific/Honolulu"]);
        for elsewhere in ["", "ON", "Baja California", "AE", "NYC"] {
            assert!(zones_of_state(elsewhere).is_empty(), "{elsewhere}");
        }
        assert_eq!(stored(&[MOUNTAIN, CENTRAL, MOUNTAIN]), "America/Chicago America/Denver");
    }
}
