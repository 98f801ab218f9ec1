//! What Twilio's error codes mean for us: `errors.toml`, read once.

use crate::messaging::carrier_port::FailureClass;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A row of the table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownError {
    /// What it means for us.
    pub class: FailureClass,
    /// What Twilio says that it means, in English, for operators.
    pub meaning: String,
}

// A table that cannot be read would make every code unknown, which only a person resolves: slow, never wrong. The
// tests below make sure that it can be read.
static TABLE: LazyLock<BTreeMap<String, KnownError>> =
    LazyLock::new(|| toml::from_str(include_str!("errors.toml")).unwrap_or_default());

/// The row of `code`, if it has one.
#[must_use]
pub fn known(code: &str) -> Option<&'static KnownError> {
    TABLE.get(code)
}

/// What `code` means for us; a code without a row is [`FailureClass::Unknown`].
#[must_use]
pub fn class_of(code: &str) -> FailureClass {
    known(code).map_or(FailureClass::Unknown, |row| row.class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn the_table_can_be_read() {
        let table: BTreeMap<String, KnownError> = toml::from_str(include_str!("errors.toml")).unwrap();
        assert_eq!(table.len(), TABLE.len());
    }

    #[rstest]
    #[case::number_is_bad(&["21211", "30005"], FailureClass::UnknownNumber)]
    #[case::landline(&["21614", "30006"], FailureClass::Landline)]
    #[case::opted_out(&["21610"], FailureClass::OptedOut)]
    #[case::blocked(&["30004"], FailureClass::Blocked)]
    #[case::unreachable(&["21612", "30003"], FailureClass::Unreachable)]
    #[case::filtered(&["30007"], FailureClass::Filtered)]
    #[case::content(&["21602", "21617"], FailureClass::Content)]
    #[case::settings(&["20003", "21212", "21408", "21603", "21606", "21659", "21703", "21704", "30002"], FailureClass::Configuration)]
    #[case::scheduling(&["35111", "35114", "35115", "35117", "35118"], FailureClass::Configuration)]
    #[case::rate(&["20429", "14107", "21611", "30022", "63017"], FailureClass::RateLimited)]
    #[case::daily(&["63038", "30023", "30027"], FailureClass::DailyCap)]
    #[case::warned(&["30025", "30026"], FailureClass::CapWarning)]
    #[case::transient(&["30001", "30008", "30017"], FailureClass::Transient)]
    #[case::registration(&["30032", "30034"], FailureClass::Unregistered)]
    fn documented_codes_have_their_class(#[case] codes: &[&str], #[case] class: FailureClass) {
        for code in codes {
            assert!(known(code).is_some(), "{code} is not in the table");
            assert_eq!(class_of(code), class, "{code}");
        }
    }

    #[test]
    fn a_new_code_is_unknown() {
        assert_eq!(class_of("39999"), FailureClass::Unknown);
        assert_eq!(class_of(""), FailureClass::Unknown);
    }
}
