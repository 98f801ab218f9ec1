//! What Twilio's webhooks say: texts that patients have sent, and what became of ours.
//!
//! Pure functions over a body whose signature [`super::verify`] has accepted. Form and JSON bodies hold the same
//! fields. Twilio adds fields and statuses without notice: what is not known is passed over or kept as it came.

use super::{
    errors, form,
    keywords::keyword,
    message::{plain_code, plain_sid},
};
use crate::kernel::{Phi, PhoneNumber};
use crate::messaging::carrier_port::{
    CarrierAddress, CarrierInbound, DeliveryStatus, InboundMedia, OptOutType, StatusReport,
};

/// The most pieces of media that are read from one text (Twilio allows ten).
const MOST_MEDIA: u32 = 10;

/// The body of a webhook as it came.
#[derive(Debug, Clone, Copy)]
pub enum WebhookBody<'a> {
    /// `application/x-www-form-urlencoded`, which Twilio sends unless told otherwise.
    Form(&'a [u8]),
    /// `application/json`.
    Json(&'a [u8]),
}

/// Why a webhook cannot be read. Names fields, never what stood in them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// A field that identifies the text is missing or empty.
    #[error("the carrier's webhook has no {field}")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field does not hold what it should.
    #[error("the {field} of the carrier's webhook cannot be read")]
    Unreadable {
        /// The field.
        field: &'static str,
    },
    /// The body says JSON and is not a JSON object.
    #[error("the carrier's webhook is not a JSON object")]
    NotAnObject,
}

impl<'a> WebhookBody<'a> {
    /// The body of a request with this `Content-Type`.
    #[must_use]
    pub fn of(content_type: Option<&str>, bytes: &'a [u8]) -> Self {
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case("application/json") { Self::Json(bytes) } else { Self::Form(bytes) }
    }
}

/// Reads a text that a patient has sent.
///
/// # Errors
/// [`WebhookError`] without a message id, or without a number of ours that it was sent to. Everything else may be
/// missing or odd.
pub fn parse_inbound(body: WebhookBody<'_>) -> Result<CarrierInbound, WebhookError> {
    let fields = Fields::read(body)?;
    let carrier_id = fields.message_sid()?;
    let to = fields.required("To")?;
    let to = PhoneNumber::parse(&to.text).map_err(|_| WebhookError::Unreadable { field: "To" })?;
    let from = fields.get("From").map(|from| CarrierAddress::parse(&from.text));
    let text = fields.get("Body");
    let media_count = fields.get("NumMedia").and_then(|count| count.text.parse().ok()).unwrap_or(0);
    Ok(CarrierInbound {
        carrier_id,
        from: from.unwrap_or_else(|| CarrierAddress::Other(Phi::new(String::new()))),
        to,
        body_damaged: text.is_some_and(|text| text.damaged),
        body: Phi::new(text.map(|text| text.text.clone()).unwrap_or_default()),
        media: (0..media_count.min(MOST_MEDIA)).filter_map(|index| fields.media(index)).collect(),
        media_count,
        received_at: None,
        opt_out_type: fields
            .get("OptOutType")
            .and_then(|kind| opt_out_type(&kind.text))
            .or_else(|| text.and_then(|text| keyword(&text.text))),
    })
}

/// Reads what became of a text of ours.
///
/// # Errors
/// [`WebhookError`] without a message id or a status.
pub fn parse_status(body: WebhookBody<'_>) -> Result<StatusReport, WebhookError> {
    let fields = Fields::read(body)?;
    let carrier_id = fields.message_sid()?;
    let status = fields.get("MessageStatus").or_else(|| fields.get("SmsStatus"));
    let status = status.ok_or(WebhookError::Missing { field: "MessageStatus" })?;
    let error_code = fields.get("ErrorCode").and_then(|code| plain_code(&code.text));
    Ok(StatusReport {
        carrier_id,
        status: DeliveryStatus::from_word(&status.text),
        class: error_code.as_deref().map(errors::class_of),
        error_code,
    })
}

fn opt_out_type(word: &str) -> Option<OptOutType> {
    match word {
        "STOP" => Some(OptOutType::Stop),
        "START" => Some(OptOutType::Start),
        "HELP" => Some(OptOutType::Help),
        _ => None,
    }
}

/// A value as text.
struct Value {
    text: String,
    /// It held bytes that are not UTF-8, or escapes that no character has.
    damaged: bool,
}

/// The named values of a body.
struct Fields(Vec<(String, Value)>);

impl Fields {
    fn read(body: WebhookBody<'_>) -> Result<Self, WebhookError> {
        match body {
            WebhookBody::Form(bytes) => {
                let named = |(name, value): form::Field| (String::from_utf8_lossy(&name).into_owned(), text_of(&value));
                Ok(Self(form::fields(bytes).into_iter().map(named).collect()))
            }
            WebhookBody::Json(bytes) => Self::read_json(bytes),
        }
    }

    fn read_json(bytes: &[u8]) -> Result<Self, WebhookError> {
        let body = text_of(bytes);
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&body.text).map_err(|_| WebhookError::NotAnObject)?;
        let plain = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => Some(text),
            serde_json::Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let named = |(name, value)| {
            let text = plain(value)?;
            let damaged = body.damaged && text.contains('\u{fffd}');
            Some((name, Value { text, damaged }))
        };
        Ok(Self(object.into_iter().filter_map(named).collect()))
    }

    /// The first value of that name, unless it is empty.
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value).filter(|value| !value.text.is_empty())
    }

    fn required(&self, field: &'static str) -> Result<&Value, WebhookError> {
        self.get(field).ok_or(WebhookError::Missing { field })
    }

    /// The id of the text, under its new name or an old one.
    fn message_sid(&self) -> Result<String, WebhookError> {
        let sid = self.get("MessageSid").or_else(|| self.get("SmsMessageSid")).or_else(|| self.get("SmsSid"));
        let sid = &sid.ok_or(WebhookError::Missing { field: "MessageSid" })?.text;
        if !plain_sid(sid) {
            return Err(WebhookError::Unreadable { field: "MessageSid" });
        }
        Ok(sid.clone())
    }

    fn media(&self, index: u32) -> Option<InboundMedia> {
        Some(InboundMedia {
            url: Phi::new(self.get(&format!("MediaUrl{index}"))?.text.clone()),
            content_type: self.get(&format!("MediaContentType{index}")).map(|kind| kind.text.clone()),
        })
    }
}

fn text_of(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value { text: text.to_owned(), damaged: false },
        Err(_) => Value { text: String::from_utf8_lossy(bytes).into_owned(), damaged: true },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messaging::carrier_port::FailureClass;
    use proptest::prelude::*;

    const INBOUND: &[u8] =
        b"ToCountry=US&SmsMessageSid=SM2&NumMedia=1&SmsSid=SM2&FromCity=NEW+YORK&Body=Yes+%F0%9F%91%8D\
        &SmsStatus=received&To=%2B18005551212&NumSegments=1&MessageSid=SM2&AccountSid=AC1&From=%2B12125550123\
        &MediaUrl0=https%3A%2F%2Fapi.twilio.com%2Fm&MediaContentType0=image%2Fjpeg&ApiVersion=2010-04-01";

    #[test]
    fn an_inbound_form_is_read() {
        let text = parse_inbound(WebhookBody::Form(INBOUND)).unwrap();
        assert_eq!(text.carrier_id, "SM2");
        assert_eq!(text.from.number().unwrap().as_e164(), "+12125550123");
        assert_eq!(text.to.as_e164(), "+18005551212");
        assert_eq!(text.body.as_str(), "Yes 👍");
        assert!(!text.body_damaged);
        assert_eq!(text.media[0].content_type.as_deref(), Some("image/jpeg"));
        assert_eq!(text.opt_out_type, None);
    }

    #[test]
    fn the_same_as_json() {
        let body = br#"{"MessageSid":"SM2","From":"+12125550123","To":"+18005551212","Body":"STOP","NumMedia":0,
            "OptOutType":"STOP","Unheard":{"of":[1]}}"#;
        let text = parse_inbound(WebhookBody::of(Some("Application/JSON; charset=utf-8"), body)).unwrap();
        assert_eq!((text.body.as_str(), text.opt_out_type), ("STOP", Some(OptOutType::Stop)));
    }

    #[test]
    fn odd_texts_are_kept() {
        let read = |body: &str| {
            let form = format!("MessageSid=MM3&To=%2B18005551212&{body}");
            parse_inbound(WebhookBody::Form(form.as_bytes())).unwrap()
        };
        let invalid = read("From=%2B12125550123&Body=caf%E9+at+2%FF");
        assert_eq!((invalid.body.as_str(), invalid.body_damaged), ("caf\u{fffd} at 2\u{fffd}", true));
        assert!(!read("Body=%EF%BF%BD").body_damaged);
        assert_eq!(read("From=%2B12125550123&NumMedia=1").body.as_str(), "");
        assert_eq!(read("NumMedia=4000000000&Body=x").media_count, 4_000_000_000);
        assert!(read("From=72345&Body=win").from.number().is_none());
        assert!(read("Body=no+sender").from.number().is_none());
        assert_eq!(read(&format!("Body={}", "x".repeat(5000))).body.as_str().len(), 5000);
    }

    #[test]
    fn a_json_body_with_invalid_utf8_is_kept_and_marked() {
        let body = b"{\"MessageSid\":\"SM1\",\"To\":\"+18005551212\",\"From\":\"+12125550123\",\"Body\":\"caf\xe9\"}";
        let text = parse_inbound(WebhookBody::Json(body)).unwrap();
        assert_eq!((text.body.as_str(), text.body_damaged), ("caf\u{fffd}", true));
    }

    #[test]
    fn what_identifies_a_text_must_be_there() {
        let refused = |body: &[u8]| parse_inbound(WebhookBody::Form(body)).unwrap_err();
        assert_eq!(refused(b"From=%2B12125550123"), WebhookError::Missing { field: "MessageSid" });
        assert_eq!(refused(b"MessageSid=SM1&Body=x"), WebhookError::Missing { field: "To" });
        assert_eq!(refused(b"MessageSid=SM1&To=clinic"), WebhookError::Unreadable { field: "To" });
        assert_eq!(refused(b"MessageSid=SM1%2F..&To=x"), WebhookError::Unreadable { field: "MessageSid" });
        assert_eq!(parse_inbound(WebhookBody::Json(b"[1]")).unwrap_err(), WebhookError::NotAnObject);
    }

    #[test]
    fn a_status_is_read_with_its_meaning() {
        let body = b"SmsSid=SM4&SmsStatus=undelivered&MessageStatus=undelivered&To=%2B12125550123&MessageSid=SM4\
            &AccountSid=AC1&From=%2B18005551212&ErrorCode=30006&RawDlrDoneDate=2611221200";
        let report = parse_status(WebhookBody::Form(body)).unwrap();
        assert_eq!(report.status, DeliveryStatus::Undelivered);
        assert_eq!((report.error_code.as_deref(), report.class), (Some("30006"), Some(FailureClass::Landline)));
    }

    #[test]
    fn a_status_that_nobody_documented_is_kept() {
        let report = parse_status(WebhookBody::Form(b"MessageSid=SM4&MessageStatus=levitating")).unwrap();
        assert_eq!(report.status.as_str(), "levitating");
        assert_eq!(report.class, None);
        let report = parse_status(WebhookBody::Form(b"MessageSid=SM4&MessageStatus=failed&ErrorCode=39999")).unwrap();
        assert_eq!(report.class, Some(FailureClass::Unknown));
        let missing = parse_status(WebhookBody::Form(b"MessageSid=SM4")).unwrap_err();
        assert_eq!(missing, WebhookError::Missing { field: "MessageStatus" });
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for body in [WebhookBody::Form(&bytes), WebhookBody::Json(&bytes)] {
                let _ = (parse_inbound(body), parse_status(body));
            }
        }

        #[test]
        fn any_text_comes_through_whole(text in any::<String>(), from in any::<String>()) {
            let form = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("MessageSid", "SM1").append_pair("To", "+18005551212")
                .append_pair("From", &from).append_pair("Body", &text).finish();
            let read = parse_inbound(WebhookBody::Form(form.as_bytes())).unwrap();
            prop_assert_eq!(read.body.as_str(), &text);
            let json = serde_json::json!({"MessageSid": "SM1", "To": "+18005551212", "From": from, "Body": text}).to_string();
            let read = parse_inbound(WebhookBody::Json(json.as_bytes())).unwrap();
            prop_assert_eq!(read.body.as_str(), &text);
            prop_assert!(!read.body_damaged);
        }
    }
}
