//! What can go wrong with an EHR, as far as it matters to who asked.

use crate::{
    db::DbError,
    fhir::{AddressFault, FhirError, NotSentCause, ParseFault, UnknownCause},
    jobs::JobError,
    vault::VaultError,
};
use std::time::Duration;

/// The constant word of [`EhrError::NotAdmitted`].
pub const NOT_ADMITTED: &str = "ehr-not-admitted";

/// An error of the EHR or of our books about it. Holds nothing of any resource.
#[derive(Debug, thiserror::Error)]
pub enum EhrError {
    /// The tenant has no EHR configured.
    #[error("this practice has no EHR configured")]
    NotConfigured,
    /// The EHR is away or asks for patience; trying again may help.
    #[error("the EHR is not available ({code})")]
    Unavailable {
        /// What kind of trouble.
        code: &'static str,
        /// When it said so.
        retry_after: Option<Duration>,
    },
    /// The EHR's authorization server gives the service no token: it could not fetch our keys just now, or the registration
    /// has to be mended. Either way the request itself was never asked, and is as good as before once that is over.
    #[error("the EHR does not let the service in; check its registration, its key and the granted scopes")]
    NotAdmitted,
    /// Nobody knows whether the EHR has done it; the next try looks first.
    #[error("the EHR did not answer; the next try looks first")]
    Unknown,
    /// Somebody else changed the resource meanwhile.
    #[error("the resource was changed in the EHR meanwhile")]
    Conflict,
    /// The EHR says no, and trying again will not help.
    #[error("the EHR refused ({code})")]
    Refused {
        /// What kind of refusal.
        code: &'static str,
    },
    /// The EHR does not have it.
    #[error("the EHR does not have the resource")]
    NotFound,
    /// The resource is not what R4 says.
    #[error("the EHR's resource cannot be read")]
    Unreadable,
    /// Our database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Our vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl From<FhirError> for EhrError {
    fn from(error: FhirError) -> Self {
        match error {
            FhirError::Throttled { retry_after } => Self::Unavailable { code: "ehr-throttled", retry_after },
            FhirError::NotFound => Self::NotFound,
            FhirError::NotFhir(_) if error.is_passing() => Self::Unavailable { code: "ehr-garbled", retry_after: None },
            FhirError::NotFhir(_) => Self::Unreadable,
            FhirError::TooMany { .. } => Self::Refused { code: "ehr-too-many" },
            FhirError::Forbidden(_) => Self::Refused { code: "ehr-forbidden" },
            FhirError::Token(error) if !error.is_passing() => Self::NotAdmitted,
            // A token that was just given: the server has not heard of it yet, or takes none of ours at the moment.
            FhirError::Unauthorized => Self::NotAdmitted,
            error if error.is_passing() => Self::Unavailable { code: "ehr-unavailable", retry_after: None },
            _ => Self::Refused { code: "ehr-refused" },
        }
    }
}

impl From<ParseFault> for EhrError {
    fn from(_: ParseFault) -> Self {
        Self::Unreadable
    }
}

impl From<AddressFault> for EhrError {
    fn from(_: AddressFault) -> Self {
        Self::Unreadable
    }
}

impl From<NotSentCause> for EhrError {
    fn from(cause: NotSentCause) -> Self {
        match cause {
            NotSentCause::Throttled { retry_after } => Self::Unavailable { code: "ehr-throttled", retry_after },
            NotSentCause::Connect => Self::Unavailable { code: "ehr-unreachable", retry_after: None },
            NotSentCause::Token(error) if error.is_passing() => {
                Self::Unavailable { code: "ehr-token", retry_after: None }
            }
            NotSentCause::Token(_) => Self::NotAdmitted,
            _ => Self::Refused { code: "ehr-not-sent" },
        }
    }
}

impl From<UnknownCause> for EhrError {
    fn from(_: UnknownCause) -> Self {
        Self::Unknown
    }
}

impl From<EhrError> for JobError {
    fn from(error: EhrError) -> Self {
        match error {
            EhrError::Db(error) => error.into(),
            EhrError::Vault(_) => Self::retry("vault"),
            EhrError::Unavailable { code, retry_after } => Self::Retry { code, after: retry_after },
            EhrError::NotAdmitted => Self::retry(NOT_ADMITTED),
            EhrError::Unknown => Self::retry("ehr-unknown"),
            EhrError::Conflict => Self::retry("ehr-conflict"),
            EhrError::NotConfigured => Self::retry("tenant-not-configured"),
            EhrError::Refused { code } => Self::dead(code),
            EhrError::NotFound => Self::dead("ehr-not-found"),
            EhrError::Unreadable => Self::dead("ehr-unreadable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::{ParseFaultKind, TokenError};
    use rstest::rstest;

    #[test]
    fn whoever_is_refused_with_a_fresh_token_asks_again() {
        assert_eq!(JobError::from(EhrError::from(FhirError::Unauthorized)), JobError::retry(NOT_ADMITTED));
    }

    #[test]
    fn what_is_no_json_is_asked_for_again_and_a_resource_of_another_form_is_not() {
        let job = |kind| {
            JobError::from(EhrError::from(FhirError::from(ParseFault {
                expected: "Patient",
                path: String::new(),
                kind,
            })))
        };
        assert_eq!(job(ParseFaultKind::Syntax), JobError::retry("ehr-garbled"));
        assert_eq!(job(ParseFaultKind::WrongType), JobError::dead("ehr-unreadable"));
    }

    #[rstest]
    #[case::keys_not_fetched(TokenError::Refused { code: "invalid_client" })]
    #[case::not_a_token(TokenError::Malformed)]
    #[case::no_key(TokenError::Key)]
    fn whoever_is_not_let_in_asks_again(#[case] error: TokenError) {
        let read = EhrError::from(FhirError::Token(error.clone()));
        let write = EhrError::from(NotSentCause::Token(error));
        for error in [read, write] {
            assert!(matches!(error, EhrError::NotAdmitted), "{error:?}");
            assert_eq!(JobError::from(error), JobError::retry(NOT_ADMITTED));
        }
    }
}
