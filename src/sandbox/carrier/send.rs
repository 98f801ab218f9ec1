//! `POST Messages.json`: every documented parameter checked, the message entered and sent on its way.
//!
//! Source: the vendor's `OpenAPI` document (`CreateMessage`), its error dictionary, and its magic test numbers.

use super::{
    delivery,
    exchange::Exchange,
    inbound::LONGEST_VALIDITY,
    message::{Direction, Media, Message, Status},
    refusal::Refusal,
    segments,
};
use crate::kernel::PhoneNumber;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use url::{Url, form_urlencoded};

/// The longest body, in characters.
const LONGEST_BODY: usize = 1600;
/// The most pictures and files in one message.
const MOST_MEDIA: usize = 10;
/// A test sender that is always accepted and never sends anything.
const TEST_SENDER: &str = "+15005550006";

/// The parameters of a form request; a name may be repeated.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// The last value of a parameter, empty ones included.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }

    fn filled(&self, name: &str) -> Option<&str> {
        self.one(name).filter(|value| !value.trim().is_empty())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(candidate, value)| candidate == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    fn is_true(&self, name: &str) -> bool {
        self.one(name) == Some("true")
    }
}

/// Accepts a message, or says why not. What is returned is entered and on its way.
pub(super) fn create(exchange: &Arc<Exchange>, form: &Form) -> Result<Message, Refusal> {
    let to = recipient(form)?;
    let service = service(exchange, form)?;
    let sender = sender(exchange, form, service.is_some())?;
    if sender.as_ref() == Some(&to) {
        return Err(Refusal::bad_request(21266, "'To' and 'From' number cannot be the same"));
    }
    if !to.as_e164().starts_with("+1") {
        let message = "Permission to send an SMS has not been enabled for the region indicated by the 'To' number";
        return Err(Refusal::bad_request(21408, format!("{message}: {}", to.as_e164())));
    }
    let media = media(exchange, form)?;
    let body = body(form, !media.is_empty())?;
    let status_callback = status_callback(form)?;
    let validity = validity(form)?;
    let send_at = send_at(exchange.now(), form, service.is_some())?;
    enumerations(form)?;
    // With a messaging service this is found out later, and told by a callback.
    if service.is_none() && sender.as_ref().is_some_and(|from| exchange.read(|books| books.has_stopped(from, &to))) {
        return Err(Refusal::bad_request(21610, "Attempt to send to unsubscribed recipient"));
    }
    let now = exchange.now();
    let is_mms = !media.is_empty() || form.is_true("SendAsMms");
    let message = Message {
        sequence: 0,
        deleted: false,
        sid: exchange.sid(if is_mms { "MM" } else { "SM" }),
        direction: Direction::OutboundApi,
        to,
        segments: segments::count(&body),
        body,
        on_handset: None,
        status: match (&service, send_at) {
            (_, Some(_)) => Status::Scheduled,
            (Some(_), None) => Status::Accepted,
            (None, None) => Status::Queued,
        },
        error_code: None,
        created: now,
        updated: now,
        sent: None,
        media,
        service,
        status_callback,
        validity,
        send_at,
        discard_body: form.one("ContentRetention") == Some("discard"),
        from: sender,
    };
    exchange.write(|books| books.enter(message.clone()));
    if message.from.as_ref().is_none_or(|from| from.as_e164() != TEST_SENDER) {
        delivery::dispatch(exchange, message.sid.clone());
    }
    Ok(message)
}

fn recipient(form: &Form) -> Result<PhoneNumber, Refusal> {
    let text = form.filled("To").ok_or_else(|| Refusal::bad_request(21604, "A 'To' phone number is required."))?;
    let refused = match text.trim() {
        "+15005550001" => Some((21211, format!("Invalid 'To' Phone Number: {text}"))),
        "+15005550002" => Some((21612, format!("The 'To' phone number: {text}, is not currently reachable via SMS."))),
        "+15005550003" => Some((
            21408,
            format!(
                "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: {text}"
            ),
        )),
        "+15005550004" => Some((21610, "Attempt to send to unsubscribed recipient".to_owned())),
        "+15005550009" => Some((21614, format!("'To' number: {text}, is not a valid mobile number"))),
        _ => None,
    };
    match refused {
        Some((code, message)) => Err(Refusal::bad_request(code, message)),
        None => PhoneNumber::parse(text)
            .map_err(|_| Refusal::bad_request(21211, format!("Invalid 'To' Phone Number: {text}"))),
    }
}

fn service(exchange: &Exchange, form: &Form) -> Result<Option<String>, Refusal> {
    let Some(sid) = form.filled("MessagingServiceSid") else { return Ok(None) };
    if sid != exchange.service_sid() {
        return Err(Refusal::bad_request(21701, "The Messaging Service does not exist"));
    }
    if !exchange.numbers.iter().any(|number| number.answers_keywords) {
        return Err(Refusal::bad_request(21704, "The Messaging Service contains no phone numbers."));
    }
    Ok(Some(sid.to_owned()))
}

fn sender(exchange: &Exchange, form: &Form, has_service: bool) -> Result<Option<PhoneNumber>, Refusal> {
    let Some(text) = form.filled("From") else {
        let message = "A 'From' or 'MessagingServiceSid' parameter is required to send a message.";
        return if has_service { Ok(None) } else { Err(Refusal::bad_request(21603, message)) };
    };
    let invalid = || {
        let message =
            format!("The 'From' number {text} is not a valid phone number, shortcode, or alphanumeric sender ID.");
        Refusal::bad_request(21212, message)
    };
    match text.trim() {
        "+15005550001" => return Err(invalid()),
        "+15005550008" => {
            let message = "This 'From' number has exceeded the maximum number of queued messages";
            return Err(Refusal::bad_request(21611, message));
        }
        _ => {}
    }
    let number = PhoneNumber::parse(text).map_err(|_| invalid())?;
    if number.as_e164() != TEST_SENDER && exchange.number(&number).is_none() {
        let message = format!(
            "The From phone number {text} is not a valid, SMS-capable inbound phone number or short code for your account."
        );
        return Err(Refusal::bad_request(21606, message));
    }
    Ok(Some(number))
}

fn media(exchange: &Exchange, form: &Form) -> Result<Vec<Media>, Refusal> {
    let media: Vec<_> =
        form.all("MediaUrl").map(|source| Media { sid: exchange.sid("ME"), source: source.to_owned() }).collect();
    if media.len() > MOST_MEDIA {
        return Err(Refusal::bad_request(21623, "Number of media files exceeds allowed limit"));
    }
    if media.iter().any(|media| !is_web_address(&media.source)) {
        return Err(Refusal::bad_request(21620, "Invalid media URL(s)"));
    }
    Ok(media)
}

fn body(form: &Form, has_media: bool) -> Result<String, Refusal> {
    if form.filled("ContentSid").is_some() {
        return Err(Refusal::bad_request(21655, "The ContentSid is Invalid"));
    }
    let body = form.one("Body").unwrap_or_default();
    if body.is_empty() && !has_media {
        return Err(Refusal::bad_request(21602, "Message body is required."));
    }
    if body.chars().count() > LONGEST_BODY {
        let message = "The concatenated message body exceeds the 1600 character limit.";
        return Err(Refusal::bad_request(21617, message));
    }
    Ok(if form.is_true("SmartEncoded") { segments::smart_encode(body) } else { body.to_owned() })
}

fn status_callback(form: &Form) -> Result<Option<String>, Refusal> {
    let Some(target) = form.filled("StatusCallback") else { return Ok(None) };
    let host_is_good = Url::parse(target).is_ok_and(|url| url.host_str().is_some_and(|host| !host.contains('_')));
    if !is_web_address(target) || !host_is_good {
        let message = format!("The 'StatusCallback' URL {target} is not a valid URL.");
        return Err(Refusal::bad_request(21609, message));
    }
    Ok(Some(target.to_owned()))
}

fn is_web_address(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn validity(form: &Form) -> Result<SignedDuration, Refusal> {
    let Some(text) = form.filled("ValidityPeriod") else { return Ok(SignedDuration::from_secs(LONGEST_VALIDITY)) };
    match text.parse() {
        Ok(seconds @ 1..=LONGEST_VALIDITY) => Ok(SignedDuration::from_secs(seconds)),
        _ => Err(Refusal::bad_request(21624, "Invalid validity period value")),
    }
}

/// Scheduling needs a messaging service and a time between five minutes and 35 days from now.
fn send_at(now: Timestamp, form: &Form, has_service: bool) -> Result<Option<Timestamp>, Refusal> {
    let refuse = |code, message| Err(Refusal::bad_request(code, message));
    match (form.filled("ScheduleType"), form.filled("SendAt")) {
        (None, None) => Ok(None),
        (None, Some(_)) => refuse(35119, "SendAt can only be used when ScheduleType is 'fixed'"),
        (Some("fixed"), _) if !has_service => refuse(35118, "MessagingServiceSid is required to schedule a message"),
        (Some("fixed"), None) => refuse(35111, "SendAt timestamp is missing"),
        (Some("fixed"), Some(text)) => {
            let (soonest, latest) = (SignedDuration::from_secs(300), SignedDuration::from_hours(35 * 24));
            match text.parse::<Timestamp>().map(|at| (at, at.duration_since(now))) {
                Ok((at, ahead)) if ahead > soonest && ahead <= latest => Ok(Some(at)),
                _ => refuse(35114, "Scheduling does not support this timestamp"),
            }
        }
        (Some(_), _) => refuse(20001, "Invalid parameter: ScheduleType"),
    }
}

/// Parameters that the simulator does not act on, and their allowed values.
fn enumerations(form: &Form) -> Result<(), Refusal> {
    const BOOLEAN: &[&str] = &["true", "false", "True", "False", "TRUE", "FALSE"];
    let allowed: [(&str, &[&str]); 9] = [
        ("ContentRetention", &["retain", "discard"]),
        ("AddressRetention", &["retain", "obfuscate"]),
        ("RiskCheck", &["enable", "disable"]),
        ("TrafficType", &["free"]),
        ("SmartEncoded", BOOLEAN),
        ("ShortenUrls", BOOLEAN),
        ("ProvideFeedback", BOOLEAN),
        ("ForceDelivery", BOOLEAN),
        ("SendAsMms", BOOLEAN),
    ];
    let wrong = allowed.iter().find(|(name, values)| form.filled(name).is_some_and(|value| !values.contains(&value)));
    let numeric = ["Attempt", "MaxPrice"];
    let not_a_number = numeric.iter().find(|name| form.filled(name).is_some_and(|value| value.parse::<f64>().is_err()));
    let bad_application = form.filled("ApplicationSid").is_some_and(|sid| !is_sid(sid, "AP"));
    let wrong = wrong.map(|(name, _)| *name).or(not_a_number.copied()).or(bad_application.then_some("ApplicationSid"));
    wrong.map_or(Ok(()), |name| Err(Refusal::bad_request(20001, format!("Invalid parameter: {name}"))))
}

/// Whether a text is the prefix and 32 hexadecimal digits.
pub(super) fn is_sid(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
