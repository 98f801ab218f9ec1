//! Phone numbers in E.164 form, validated by the `phonenumber` crate.

use std::fmt;

/// A valid phone number in E.164 form (ITU-T E.164: `+`, country code, national number, 15 digits at most).
///
/// A patient's number is PHI: `Debug` shows the last two digits only, and there is no `Display` or `Serialize`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhoneNumber(String);

/// Why a text is not a phone number. Does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneNumberError {
    /// It cannot be read as a number at all.
    #[error("this is not a phone number; write it like +12125550123")]
    NotANumber,
    /// It has the shape of a number, but no such number can exist in its country's plan.
    #[error("this phone number does not exist in its country's numbering plan")]
    NotValid,
}

impl PhoneNumber {
    /// Reads a number as people and EHRs write it; a number without a country code is taken as North American.
    ///
    /// # Errors
    /// [`PhoneNumberError`] when it is not a number, or not a possible one.
    pub fn parse(text: &str) -> Result<Self, PhoneNumberError> {
        let number =
            phonenumber::parse(Some(phonenumber::country::US), text).map_err(|_| PhoneNumberError::NotANumber)?;
        // 555-01XX numbers are reserved for fiction and documentation; the metadata knows them as valid only for
        // some area codes, so a demonstration clinic would depend on the area code it picked.
        if !phonenumber::is_valid(&number) && !is_reserved_for_fiction(&number) {
            return Err(PhoneNumberError::NotValid);
        }
        Ok(Self(number.format().mode(phonenumber::Mode::E164).to_string()))
    }

    /// The number as `+12125550123`.
    #[must_use]
    pub fn as_e164(&self) -> &str {
        &self.0
    }

    /// The number as it is written in the United States where it is one of there (`212-555-0123`), and in E.164 form
    /// elsewhere. Both can be tapped.
    #[must_use]
    pub fn as_written(&self) -> String {
        let national = self.0.strip_prefix("+1").map(|rest| (rest.get(..3), rest.get(3..6), rest.get(6..)));
        match national {
            Some((Some(area), Some(exchange), Some(line))) => format!("{area}-{exchange}-{line}"),
            _ => self.0.clone(),
        }
    }

    /// The last two digits, to recognise a number without telling it.
    #[must_use]
    pub fn last_two_digits(&self) -> &str {
        self.0.len().checked_sub(2).and_then(|start| self.0.get(start..)).unwrap_or_default()
    }

    /// Loads the numbering plans, so that the first text is not slower than the rest. Called at start.
    pub fn warm_up() {
        let _ = Self::parse("+12025550123");
    }
}

/// `+1 NXX 555-01XX` (ATIS-0300115).
fn is_reserved_for_fiction(number: &phonenumber::PhoneNumber) -> bool {
    let national = number.national().value();
    number.code().value() == 1
        && national / 10_000_000_000 == 0
        && (national % 10_000_000) / 100 == 55_501
        && national >= 2_000_000_000
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhoneNumber(…{})", self.last_two_digits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for text in ["+12125550123", "(212) 555-0123", "212.555.0123", "1 212 555 0123"] {
            assert_eq!(PhoneNumber::parse(text).unwrap().as_e164(), "+12125550123", "{text}");
        }
    }

    #[test]
    fn what_cannot_be_a_number_is_refused() {
        assert_eq!(PhoneNumber::parse("call me"), Err(PhoneNumberError::NotANumber));
        assert_eq!(PhoneNumber::parse("+1 111 111 1111"), Err(PhoneNumberError::NotValid));
        assert!(PhoneNumber::parse("").is_err());
    }

    #[test]
    fn numbers_of_the_north_american_plan_are_written_without_their_country_code() {
        assert_eq!(PhoneNumber::parse("+12125550123").unwrap().as_written(), "212-555-0123");
        assert_eq!(PhoneNumber::parse("+525512345678").unwrap().as_written(), "+525512345678");
    }

    #[test]
    fn debug_output_keeps_the_number_back() {
        assert_eq!(format!("{:?}", PhoneNumber::parse("+12125550123").unwrap()), "PhoneNumber(…23)");
    }
}
