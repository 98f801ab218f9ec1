//! Twilio's Message resource, read leniently.

use super::{errors, keywords::keyword};
use crate::kernel::{Phi, PhoneNumber};
use crate::messaging::carrier_port::{CarrierAddress, CarrierInbound, CarrierOutbound, DeliveryStatus, StatusReport};
use jiff::Timestamp;
use serde::Deserialize;

/// The fields that we read. All may be null (`api.v2010.account.message` in Twilio's description).
#[derive(Deserialize)]
pub(super) struct MessageResource {
    sid: Option<String>,
    direction: Option<String>,
    from: Option<String>,
    to: Option<String>,
    body: Option<String>,
    status: Option<String>,
    num_segments: Option<Count>,
    num_media: Option<Count>,
    error_code: Option<Code>,
    date_created: Option<String>,
    date_sent: Option<String>,
}

/// A count, which Twilio writes as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Count {
    Text(String),
    Number(u32),
}

/// An error code, which Twilio writes as a number here and as text elsewhere.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Code {
    Number(u64),
    Text(String),
}

impl Count {
    fn value(&self) -> Option<u32> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Number(number) => Some(*number),
        }
    }
}

impl Code {
    /// The code as text, if it looks like one: whatever else stands there is not carried on.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Number(0) => None,
            Self::Number(number) => Some(number.to_string()),
            Self::Text(text) => plain_code(text),
        }
    }
}

/// Whether `sid` can be the id of a text: Twilio's are letters and digits.
pub(super) fn plain_sid(sid: &str) -> bool {
    (1..=64).contains(&sid.len()) && sid.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `text` where it is a code: digits, ten at most. Twilio writes 0 for "none" in places.
pub(super) fn plain_code(text: &str) -> Option<String> {
    let is_code = (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) && text != "0";
    is_code.then(|| text.to_owned())
}

impl MessageResource {
    /// Whether somebody sent it to us.
    pub(super) fn is_inbound(&self) -> bool {
        self.direction.as_deref() == Some("inbound")
    }

    /// Whether it was handed to the API to be sent; keywords and calls are answered by other ways.
    pub(super) fn is_sent_by_api(&self) -> bool {
        self.direction.as_deref() == Some("outbound-api")
    }

    /// When it was sent or, failing that, taken.
    pub(super) fn happened_at(&self) -> Option<Timestamp> {
        instant(self.date_sent.as_deref()).or_else(|| instant(self.date_created.as_deref()))
    }

    /// How many segments it has; a messaging service says 0 until it has chosen a sender.
    pub(super) fn segments(&self) -> Option<u32> {
        self.num_segments.as_ref().and_then(Count::value).filter(|count| *count > 0)
    }

    /// Its id. `None` where there is none or where it is none: ids go into rows, logs and addresses.
    pub(super) fn id(&self) -> Option<String> {
        self.sid.clone().filter(|sid| plain_sid(sid))
    }

    /// How far it is. `None` without an id.
    pub(super) fn report(&self) -> Option<StatusReport> {
        let error_code = self.error_code.as_ref().and_then(Code::text);
        Some(StatusReport {
            carrier_id: self.id()?,
            status: DeliveryStatus::from_word(self.status.as_deref().unwrap_or_default()),
            class: error_code.as_deref().map(errors::class_of),
            error_code,
        })
    }

    /// As a text that we have received. `None` without an id or without a number of ours.
    pub(super) fn into_inbound(self) -> Option<CarrierInbound> {
        let body = self.body.clone().unwrap_or_default();
        Some(CarrierInbound {
            received_at: self.happened_at(),
            carrier_id: self.id()?,
            from: CarrierAddress::parse(self.from.as_deref().unwrap_or_default()),
            to: PhoneNumber::parse(self.to.as_deref()?).ok()?,
            opt_out_type: keyword(&body),
            body: Phi::new(body),
            body_damaged: false,
            media: Vec::new(),
            media_count: self.num_media.as_ref().and_then(Count::value).unwrap_or(0),
        })
    }

    /// As a text that we have sent. `None` without an id.
    pub(super) fn into_outbound(self) -> Option<CarrierOutbound> {
        Some(CarrierOutbound {
            carrier_id: self.id()?,
            report: self.report()?,
            segments: self.segments(),
            created_at: instant(self.date_created.as_deref()),
            sent_at: instant(self.date_sent.as_deref()),
            to: self.to.and_then(|to| PhoneNumber::parse(&to).ok()),
            body: Phi::new(self.body.unwrap_or_default()),
        })
    }
}

/// A date as in e-mail (RFC 2822), such as `Thu, 24 Aug 2023 05:01:45 +0000`.
fn instant(text: Option<&str>) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text?).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Twilio's own description of `FetchMessage`.
    const FILTERED: &str = r#"{"body": "testing", "date_created": "Fri, 24 May 2019 17:18:27 +0000",
        "date_sent": "Fri, 24 May 2019 17:18:28 +0000", "direction": "outbound-api", "error_code": 30007,
        "error_message": "Carrier violation", "from": "+12019235161", "num_media": "0", "num_segments": "1",
        "sid": "SMb7c0a2ce80504485a6f653a7110836f5", "status": "undelivered", "to": "+18182008801"}"#;

    #[test]
    fn twilios_example_is_read() {
        let text = serde_json::from_str::<MessageResource>(FILTERED).unwrap().into_outbound().unwrap();
        assert_eq!(text.carrier_id, "SMb7c0a2ce80504485a6f653a7110836f5");
        assert_eq!(text.report.status, DeliveryStatus::Undelivered);
        assert_eq!(text.report.error_code.as_deref(), Some("30007"));
        assert_eq!(text.report.class, Some(crate::messaging::carrier_port::FailureClass::Filtered));
        assert_eq!(text.segments, Some(1));
        assert_eq!(text.sent_at, Some("2019-05-24T17:18:28Z".parse().unwrap()));
    }

    #[test]
    fn a_resource_of_nulls_is_no_text_and_no_panic() {
        let resource: MessageResource = serde_json::from_str("{}").unwrap();
        assert!(resource.into_inbound().is_none());
        let resource: MessageResource = serde_json::from_str(r#"{"sid":"SM1","to":"72345","status":null}"#).unwrap();
        assert!(resource.into_inbound().is_none());
    }

    #[test]
    fn what_is_not_a_code_is_not_carried_on() {
        for text in ["", "0", "Ana Lopez", "300071234567", "-1"] {
            assert_eq!(plain_code(text), None, "{text}");
        }
    }
}
