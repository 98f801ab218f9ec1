//! One Twilio account: where it is, who we are there, how long we wait.

use crate::carrier::AuthToken;
use std::time::Duration;
use url::{Host, Url};

/// One account at Twilio.
#[derive(Debug, Clone)]
pub struct TwilioAccount {
    /// `https://api.twilio.com/`, or a regional or simulated one. Plain HTTP is allowed on loopback only.
    pub base_url: Url,
    /// The account, `AC` and 32 hexadecimal digits.
    pub account_sid: String,
    /// Who signs in.
    pub credential: Credential,
    /// The messaging service that our numbers belong to, `MG` and 32 hexadecimal digits. Named beside the sender, so
    /// that the service's opt-out settings apply.
    pub messaging_service_sid: Option<String>,
    /// How long we wait.
    pub timeouts: Timeouts,
}

/// Who signs in to the account.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The account's SID, or that of an API key (`SK…`).
    pub user: String,
    /// The account's token, or the API key's secret.
    pub secret: AuthToken,
}

/// How long we wait for Twilio.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Duration,
    /// From the start of a request to the end of its answer, the connection included.
    pub answer: Duration,
    /// From a send until the list shows it for certain.
    pub listed: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), answer: Duration::from_secs(15), listed: Duration::from_secs(450) }
    }
}

/// What is wrong with an account's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Credentials and texts would travel in the clear.
    #[error("base_url must be https (http is allowed on 127.0.0.1, ::1 and localhost only)")]
    NotEncrypted,
    /// The account's SID has another form.
    #[error("account_sid must be AC and 32 hexadecimal digits")]
    AccountSid,
    /// The messaging service's SID has another form.
    #[error("messaging_service_sid must be MG and 32 hexadecimal digits")]
    MessagingServiceSid,
    /// A timeout is zero, or connecting may take longer than the whole.
    #[error("timeouts must be above zero, and connect no longer than answer")]
    Timeouts,
    /// The HTTP client could not be made.
    #[error("the HTTP client for the carrier could not be set up; check the system's TLS certificates")]
    HttpClient,
}

impl TwilioAccount {
    /// Holds the settings against what Twilio's interface asks for.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn check(&self) -> Result<(), AccountError> {
        if self.base_url.scheme() != "https" && !self.is_on_loopback() {
            return Err(AccountError::NotEncrypted);
        }
        if !is_sid(&self.account_sid, &["AC"]) {
            return Err(AccountError::AccountSid);
        }
        if self.messaging_service_sid.as_deref().is_some_and(|sid| !is_sid(sid, &["MG"])) {
            return Err(AccountError::MessagingServiceSid);
        }
        let Timeouts { connect, answer, .. } = self.timeouts;
        if connect.is_zero() || connect > answer {
            return Err(AccountError::Timeouts);
        }
        Ok(())
    }

    /// Whether the account is simulated on this machine.
    pub(super) fn is_on_loopback(&self) -> bool {
        self.base_url.scheme() == "http"
            && match self.base_url.host() {
                Some(Host::Domain(name)) => name == "localhost",
                Some(Host::Ipv4(address)) => address.is_loopback(),
                Some(Host::Ipv6(address)) => address.is_loopback(),
                None => false,
            }
    }

    /// The URL of the account's messages, or of one of them.
    pub(super) fn messages_url(&self, message_sid: Option<&str>) -> Url {
        let mut url = self.base_url.clone();
        let name = message_sid.map_or_else(|| "Messages.json".to_owned(), |sid| format!("Messages/{sid}.json"));
        url.set_path(&format!("/2010-04-01/Accounts/{}/{name}", self.account_sid));
        url.set_query(None);
        url
    }
}

/// Whether `text` is a Twilio SID with one of these prefixes: two letters and 32 hexadecimal digits.
pub(super) fn is_sid(text: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| {
        text.strip_prefix(prefix)
            .is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An account at `base_url` that passes its check.
    pub(in crate::carrier::twilio) fn account_at(base_url: &str) -> TwilioAccount {
        TwilioAccount {
            base_url: base_url.parse().unwrap(),
            account_sid: format!("AC{}", "0".repeat(32)),
            credential: Credential {
                user: format!("SK{}", "1".repeat(32)),
                secret: AuthToken::new("key secret".into()),
            },
            messaging_service_sid: None,
            timeouts: Timeouts::default(),
        }
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for allowed in ["https://api.twilio.com", "http://127.0.0.1:4010", "http://localhost:1", "http://[::1]:1"] {
            assert_eq!(account_at(allowed).check(), Ok(()), "{allowed}");
        }
        for refused in ["http://api.twilio.com", "http://10.0.0.1", "ftp://127.0.0.1"] {
            assert_eq!(account_at(refused).check(), Err(AccountError::NotEncrypted), "{refused}");
        }
    }

    #[test]
    fn ids_of_another_form_are_refused() {
        let mut account = account_at("https://api.twilio.com");
        account.messaging_service_sid = Some("MG12".into());
        assert_eq!(account.check(), Err(AccountError::MessagingServiceSid));
        account.account_sid = format!("AC{}/../x", "0".repeat(27));
        assert_eq!(account.check(), Err(AccountError::AccountSid));
    }

    #[test]
    fn the_path_is_that_of_the_documentation() {
        let url = account_at("http://127.0.0.1:4010/").messages_url(Some("SM1"));
        assert_eq!(url.path(), format!("/2010-04-01/Accounts/AC{}/Messages/SM1.json", "0".repeat(32)));
    }
}
