//! One message as the carrier keeps it, its states, and the form in which the REST API and the sandbox show it.

use crate::kernel::PhoneNumber;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Serialize;
use serde_json::{Value, json};

/// The version in every path of the REST API.
pub(super) const API_VERSION: &str = "2010-04-01";

/// Price of a segment in millionths of a US dollar. Any will do: a client only must cope with there being one.
const MICRODOLLARS_PER_SEGMENT: u32 = 7_900;

/// Which way a message went, and who started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From a handset to one of the account's numbers.
    Inbound,
    /// Sent through the REST API.
    OutboundApi,
    /// Sent as the answer to an incoming text: by its webhook, or the carrier's own keyword confirmation.
    OutboundReply,
}

/// How far a message has come (`message_enum_status`, without those of other channels).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Taken on by a messaging service that has not chosen a sender yet.
    Accepted,
    /// Waiting for its time.
    Scheduled,
    /// Waiting to be sent.
    Queued,
    /// Being handed to the network.
    Sending,
    /// Taken on by the network.
    Sent,
    /// On the handset.
    Delivered,
    /// Refused by the network or the handset.
    Undelivered,
    /// Not sent.
    Failed,
    /// Called off before it was sent.
    Canceled,
    /// An incoming text.
    Received,
}

impl Status {
    /// The vendor's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Received => "received",
        }
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Undelivered | Self::Failed | Self::Canceled | Self::Received)
    }

    /// Whether it has not been handed to the network yet.
    pub(super) const fn is_waiting(self) -> bool {
        matches!(self, Self::Accepted | Self::Scheduled | Self::Queued)
    }
}

/// A picture or other file of a message.
#[derive(Debug, Clone)]
pub(super) struct Media {
    /// `ME` and 32 hexadecimal digits.
    pub(super) sid: String,
    /// Where it comes from.
    pub(super) source: String,
}

impl Media {
    /// The media type, told by the ending of the address.
    pub(super) fn content_type(&self) -> &'static str {
        let path = self.source.split(['?', '#']).next().unwrap_or_default();
        match path.rsplit('.').next().map(str::to_ascii_lowercase).as_deref() {
            Some("png") => "image/png",
            Some("gif") => "image/gif",
            Some("pdf") => "application/pdf",
            Some("mp4") => "video/mp4",
            Some("vcf") => "text/vcard",
            _ => "image/jpeg",
        }
    }
}

/// A message in the carrier's books.
#[derive(Clone)]
pub(super) struct Message {
    /// Its place in the order in which the carrier took messages on.
    pub(super) sequence: u64,
    pub(super) sid: String,
    pub(super) direction: Direction,
    /// Absent until a messaging service has chosen a sender.
    pub(super) from: Option<PhoneNumber>,
    pub(super) to: PhoneNumber,
    /// What the API shows; emptied by redaction.
    pub(super) body: String,
    /// What the handset shows, once it is there; no redaction reaches it.
    pub(super) on_handset: Option<String>,
    pub(super) status: Status,
    pub(super) error_code: Option<u32>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) sent: Option<Timestamp>,
    pub(super) media: Vec<Media>,
    pub(super) service: Option<String>,
    /// As the client wrote it: its signature covers these very characters.
    pub(super) status_callback: Option<String>,
    pub(super) validity: SignedDuration,
    pub(super) send_at: Option<Timestamp>,
    /// `ContentRetention=discard`: the body is emptied when the message is final.
    pub(super) discard_body: bool,
    pub(super) segments: u32,
    /// Deleted through the API; the handset keeps it.
    pub(super) deleted: bool,
}

impl Message {
    /// Its path in the REST API, without the ending.
    fn path(&self, account: &str) -> String {
        format!("/{API_VERSION}/Accounts/{account}/Messages/{}", self.sid)
    }

    /// The vendor's `api.v2010.account.message`. `feedback` is among the sub-resources except in the answer that
    /// creates the message.
    pub(super) fn resource(&self, account: &str, just_created: bool) -> Value {
        let path = self.path(account);
        let mut parts = json!({ "media": format!("{path}/Media.json") });
        if !just_created && let Some(parts) = parts.as_object_mut() {
            parts.insert("feedback".to_owned(), json!(format!("{path}/Feedback.json")));
        }
        // A messaging service counts segments when it has chosen the sender.
        let segments = if self.service.is_some() && self.status.is_waiting() { 0 } else { self.segments };
        json!({
            "account_sid": account,
            "api_version": API_VERSION,
            "body": self.body,
            "date_created": rfc2822(self.created),
            "date_sent": self.sent.map(rfc2822),
            "date_updated": rfc2822(self.updated),
            "direction": self.direction,
            "error_code": self.error_code,
            "error_message": self.error_code.map(super::refusal::meaning),
            "from": self.from.as_ref().map(PhoneNumber::as_e164),
            "messaging_service_sid": self.service,
            "num_media": self.media.len().to_string(),
            "num_segments": segments.to_string(),
            "price": self.price(),
            "price_unit": "USD",
            "sid": self.sid,
            "status": self.status.as_str(),
            "subresource_uris": parts,
            "to": self.to.as_e164(),
            "uri": format!("{path}.json"),
        })
    }

    /// Known once the message was sent or received.
    fn price(&self) -> Option<String> {
        let billed = matches!(self.status, Status::Delivered | Status::Undelivered | Status::Received);
        let microdollars = self.segments * MICRODOLLARS_PER_SEGMENT;
        billed.then(|| format!("-{}.{:05}", microdollars / 1_000_000, microdollars % 1_000_000 / 10))
    }

    /// How the sandbox shows it.
    pub(super) fn simulated(&self) -> SimulatedText {
        SimulatedText {
            sid: self.sid.clone(),
            direction: self.direction,
            from: self.from.as_ref().map(|number| number.as_e164().to_owned()),
            to: self.to.as_e164().to_owned(),
            body: self.on_handset.clone().unwrap_or_else(|| self.body.clone()),
            status: self.status,
            error_code: self.error_code,
            segments: self.segments,
            media_urls: self.media.iter().map(|media| media.source.clone()).collect(),
            status_callback: self.status_callback.clone(),
            at: self.sent.unwrap_or(self.created),
        }
    }
}

/// A text as the people of the sandbox see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SimulatedText {
    /// The carrier's id of the message.
    pub sid: String,
    /// Which way it went.
    pub direction: Direction,
    /// Sender, E.164; absent while a messaging service has not chosen one.
    pub from: Option<String>,
    /// Recipient, E.164.
    pub to: String,
    /// The text.
    pub body: String,
    /// How far it has come.
    pub status: Status,
    /// The vendor's code where it did not arrive.
    pub error_code: Option<u32>,
    /// How many segments it took.
    pub segments: u32,
    /// Addresses of its pictures and files.
    pub media_urls: Vec<String>,
    /// Where the client asked to be told of its statuses, as the client wrote it.
    pub status_callback: Option<String>,
    /// When it was sent or received; when it was taken on where it was not sent yet.
    pub at: Timestamp,
}

/// A date of the API: RFC 2822, in GMT.
pub(super) fn rfc2822(instant: Timestamp) -> String {
    instant.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_the_vendor_writes_them() {
        let instant: Timestamp = "2023-08-24T05:01:45.123Z".parse().unwrap();
        assert_eq!(rfc2822(instant), "Thu, 24 Aug 2023 05:01:45 +0000");
        let instant: Timestamp = "2026-11-02T05:01:45Z".parse().unwrap();
        assert_eq!(rfc2822(instant), "Mon, 02 Nov 2026 05:01:45 +0000");
    }
}
