//! The port that carriers implement: what may be handed to one, and what one can answer.
//!
//! The gate builds a [`ClearedText`], the attempt that was committed for it hands it to a [`Carrier`], and the
//! [`SendOutcome`] settles the attempt. Always: nothing but a cleared text can be sent; a cleared text is consumed by
//! sending, so it cannot be sent twice; an outcome claims that a text did not leave only where that is certain
//! (laws 3 and 4).

mod delivery;
mod failure;
mod unreadable;

pub use delivery::{DeliveryStatus, StatusReport};
pub use failure::{FailureClass, Remedy};
pub use unreadable::Unreadable;

use crate::kernel::{Id, Phi, PhoneNumber, Tenant};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::time::Duration;
use url::Url;

/// Marks ids of attempts to send: one call of a carrier for one text.
pub enum Attempt {}

/// A text with all that a carrier needs to know to send it.
#[derive(Debug)]
pub struct OutgoingText {
    /// Whose text it is.
    pub tenant: Id<Tenant>,
    /// The committed attempt that this call is.
    pub attempt: Id<Attempt>,
    /// Our number.
    pub from: PhoneNumber,
    /// The patient's number.
    pub to: PhoneNumber,
    /// What the patient reads, 1600 characters at most.
    pub body: Phi<String>,
    /// Where the carrier reports what became of the text; names the attempt, so that a report settles it.
    pub status_callback: Url,
    /// How long the carrier may go on trying before it gives the text up.
    pub validity: Duration,
    /// The last instant at which the text may leave; checked right before the bytes are written.
    pub send_by: Timestamp,
}

/// A text that the gate has let through. The only thing that a [`Carrier`] accepts; nothing outside the messaging room
/// can make one.
#[derive(Debug)]
pub struct ClearedText(OutgoingText);

impl ClearedText {
    /// Marks `text` as cleared. Called by the gate and by nobody else.
    pub(in crate::messaging) fn cleared_by_gate(text: OutgoingText) -> Self {
        Self(text)
    }

    /// A cleared text for tests of carriers.
    #[cfg(test)]
    pub(crate) fn cleared_for_test(text: OutgoingText) -> Self {
        Self::cleared_by_gate(text)
    }

    /// What is to be sent. Takes the clearance with it.
    #[must_use]
    pub fn into_outgoing(self) -> OutgoingText {
        self.0
    }
}

/// A carrier's list of what one number has received.
#[derive(Debug, Clone, Default)]
pub struct ReceivedTexts {
    /// The texts, oldest first.
    pub texts: Vec<CarrierInbound>,
    /// Entries of the list that could not be read.
    pub unreadable: Unreadable,
}

/// A carrier's list of what one number has sent.
#[derive(Debug, Clone, Default)]
pub struct SentTexts {
    /// The texts, oldest first.
    pub texts: Vec<CarrierOutbound>,
    /// Entries of the list that could not be read.
    pub unreadable: Unreadable,
}

/// A company that carries texts, with one account's credentials.
pub trait Carrier: Send + Sync {
    /// The name under which messages and watermarks of this carrier are stored, such as `twilio`. Its webhooks are at
    /// `/carriers/{name}/{practice}/…`.
    fn name(&self) -> &'static str;

    /// The longest time for which the carrier can be asked to go on trying ([`OutgoingText::validity`]).
    fn longest_validity(&self) -> Duration;

    /// How long [`Carrier::send`] may take at the most, from its call to its outcome. An attempt without an outcome is
    /// left alone until its send-by plus twice this.
    fn answers_within(&self) -> Duration;

    /// How long after a send the carrier's list may not show the text yet. What it does not show by then is left to a
    /// person.
    fn listed_within(&self) -> Duration;

    /// Sends one text, once. Never tries again by itself.
    fn send(&self, text: ClearedText) -> BoxFuture<'_, SendOutcome>;

    /// Every text that `ours` has received since `since`, oldest first. The whole list or an error, never a part of it
    /// in silence: entries that cannot be read are named. May repeat texts that are known already: they are told
    /// apart by [`CarrierInbound::carrier_id`].
    fn received_since<'a>(
        &'a self,
        ours: &'a PhoneNumber,
        since: Timestamp,
    ) -> BoxFuture<'a, Result<ReceivedTexts, CarrierError>>;

    /// Every text from `from` to `to` since `since`, oldest first; the whole list or an error. Settles attempts whose
    /// answer was lost, where the texts can be told apart. That a text is not in it proves nothing: it may come yet.
    fn sent_to<'a>(
        &'a self,
        from: &'a PhoneNumber,
        to: &'a PhoneNumber,
        since: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<CarrierOutbound>, CarrierError>>;

    /// Every text that was handed over for `ours` since `since`, to whomever, oldest first; those among them that have
    /// not left yet, too. The whole list or an error, never a part of it in silence: entries that cannot be read are
    /// named. What the carrier itself has answered in our name is not in it.
    fn sent_since<'a>(
        &'a self,
        ours: &'a PhoneNumber,
        since: Timestamp,
    ) -> BoxFuture<'a, Result<SentTexts, CarrierError>>;

    /// What the carrier knows now of the text that it calls `carrier_id`.
    fn status_of<'a>(&'a self, carrier_id: &'a str) -> BoxFuture<'a, Result<CarrierOutbound, CarrierError>>;
}

/// What became of one call of [`Carrier::send`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    /// The carrier has taken the text.
    Accepted {
        /// What the carrier calls the text.
        carrier_id: String,
        /// How far it is already.
        status: DeliveryStatus,
        /// How many segments the carrier counts, where it says.
        segments: Option<u32>,
    },
    /// The carrier has said no. The text has not left and never will by this attempt.
    Refused(Refusal),
    /// It is certain that the carrier has not processed the text. Another attempt is safe after another gate.
    NotSent {
        /// Why.
        reason: NotSentReason,
        /// How long the carrier asked us to wait.
        retry_after: Option<Duration>,
    },
    /// Nobody knows whether the carrier has the text. Only a status report, the carrier's list or a person settles it.
    Unknown {
        /// What is known.
        reason: UnknownReason,
    },
}

/// A carrier's no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The carrier's own code; `http-NNN` where it gave none.
    pub code: String,
    /// What the code means for us.
    pub class: FailureClass,
    /// How long the carrier asked us to wait.
    pub retry_after: Option<Duration>,
}

/// Why it is certain that a text has not left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSentReason {
    /// Its send-by instant had passed when the bytes were about to be written.
    SendByPassed,
    /// The carrier could not be reached; no byte of the text was written.
    ConnectFailed,
    /// The carrier turned the request away before processing it.
    Throttled,
}

/// Why it is not known whether a text has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownReason {
    /// The text was written, but no whole answer came back in time.
    NoAnswer,
    /// The carrier answered with this HTTP status, which says nothing about the text.
    Status(u16),
    /// The carrier took the text, but its answer does not name it.
    UnreadableAnswer,
}

/// The other side of a text: mostly a phone number.
#[derive(Debug, Clone)]
pub enum CarrierAddress {
    /// A phone number.
    Number(PhoneNumber),
    /// A short code, an alphanumeric sender or the address of another channel, as the carrier writes it.
    Other(Phi<String>),
}

impl CarrierAddress {
    /// Reads an address as a carrier writes it.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        // Short codes have five or six digits; without this rule some would be read as numbers of small countries.
        if text.starts_with('+')
            && let Ok(number) = PhoneNumber::parse(text)
        {
            return Self::Number(number);
        }
        Self::Other(Phi::new(text.to_owned()))
    }

    /// The address as the carrier writes it. Not for display.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Number(number) => number.as_e164(),
            Self::Other(address) => address.as_str(),
        }
    }

    /// The phone number, where it is one.
    #[must_use]
    pub const fn number(&self) -> Option<&PhoneNumber> {
        match self {
            Self::Number(number) => Some(number),
            Self::Other(_) => None,
        }
    }
}

/// A text that a carrier has received for us, from its webhook or its list.
#[derive(Debug, Clone)]
pub struct CarrierInbound {
    /// What the carrier calls the text; the same in its webhook and its list.
    pub carrier_id: String,
    /// Who sent it.
    pub from: CarrierAddress,
    /// Our number.
    pub to: PhoneNumber,
    /// The text; empty for a picture alone.
    pub body: Phi<String>,
    /// The text held bytes that are not UTF-8; each such place now holds U+FFFD.
    pub body_damaged: bool,
    /// What came with it, where the carrier says; a list may only count.
    pub media: Vec<InboundMedia>,
    /// How many pieces of media came with it.
    pub media_count: u32,
    /// When the carrier received it, where it says.
    pub received_at: Option<Timestamp>,
    /// The keyword that this text is to the carrier: it says so, or the whole text is a word that it documents. Where it
    /// answers keywords it has acted on it.
    pub opt_out_type: Option<OptOutType>,
}

/// A picture or file that came with a text.
#[derive(Debug, Clone)]
pub struct InboundMedia {
    /// Where it can be fetched with the carrier's credentials.
    pub url: Phi<String>,
    /// Its media type, as the carrier says.
    pub content_type: Option<String>,
}

/// The keyword that a carrier has recognised and acted on before handing us the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptOutType {
    /// The sender is blocked at the carrier from now on.
    Stop,
    /// The sender is no longer blocked.
    Start,
    /// The carrier has given help.
    Help,
}

/// A text that a carrier has sent for us, as its list tells it.
#[derive(Debug, Clone)]
pub struct CarrierOutbound {
    /// What the carrier calls the text.
    pub carrier_id: String,
    /// Who received it.
    pub to: Option<PhoneNumber>,
    /// The text; empty where the carrier has redacted it.
    pub body: Phi<String>,
    /// How far it is, and why it failed.
    pub report: StatusReport,
    /// How many segments the carrier counts, where it says.
    pub segments: Option<u32>,
    /// When the carrier took it.
    pub created_at: Option<Timestamp>,
    /// When the carrier sent it.
    pub sent_at: Option<Timestamp>,
}

/// Why a carrier could not be asked about texts. Repeats nothing of what was asked or answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CarrierError {
    /// No answer: try again later.
    #[error("the carrier cannot be reached or did not answer in time; try again later")]
    Unreachable,
    /// Too many requests: wait.
    #[error("the carrier asks us to slow down; try again later")]
    Throttled {
        /// How long it asked us to wait.
        retry_after: Option<Duration>,
    },
    /// The account is not let in, or the request is wrong.
    #[error("the carrier refuses with code {}; check the account's settings", .0.code)]
    Refused(Refusal),
    /// It knows no such text.
    #[error("the carrier knows no such text")]
    NoSuchText,
    /// It failed.
    #[error("the carrier failed with HTTP status {0}; try again later")]
    Failed(u16),
    /// Its answer is not what its documentation says.
    #[error("the carrier's answer cannot be read")]
    UnreadableAnswer,
    /// The list does not end.
    #[error("the carrier's list is longer than we read at once; ask for a shorter time")]
    TooLong,
    /// The id cannot be one of this carrier.
    #[error("this is not an id that the carrier gives to texts")]
    NotAnId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_in_international_form_are_numbers() {
        assert!(CarrierAddress::parse("+12125550123").number().is_some());
        for other in ["72345", "CLINIC", "whatsapp:+12125550123", "+1", ""] {
            assert!(CarrierAddress::parse(other).number().is_none(), "{other}");
        }
    }

    #[test]
    fn nothing_of_a_text_is_printed() {
        let inbound = CarrierInbound {
            carrier_id: "SM1".into(),
            from: CarrierAddress::parse("72345"),
            to: PhoneNumber::parse("+12125550123").unwrap(),
            body: Phi::new("my chest hurts".into()),
            body_damaged: false,
            media: vec![],
            media_count: 0,
            received_at: None,
            opt_out_type: None,
        };
        let printed = format!("{inbound:?}");
        assert!(!printed.contains("chest") && !printed.contains("72345") && !printed.contains("5550123"), "{printed}");
    }
}
