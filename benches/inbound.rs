//! Inbound texts as Twilio's webhooks bring them: forms with all the fields that it sends, signed.

use crate::{
    installation::{AUTH_TOKEN, CLINIC, PUBLIC_URL, SLUG},
    numbers::phone,
};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use std::collections::BTreeMap;
use url::form_urlencoded;

const WORDS: [&str; 5] = [
    "C",
    "Yes, I will be there, thank you!",
    "Can I come a bit later that day? I have to pick up my daughter at 3.",
    "R",
    "Where do I park?",
];

/// Requests `from..until`, each from a number of its own.
pub(crate) fn webhooks(from: usize, until: usize) -> Vec<Bytes> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, AUTH_TOKEN.as_bytes());
    (from..until).map(|number| webhook(&key, number)).collect()
}

fn webhook(key: &hmac::Key, number: usize) -> Bytes {
    let path = format!("carriers/twilio/{SLUG}/inbound");
    let (from, sid) = (phone(number), format!("SM{number:032x}"));
    let words = WORDS.get(number % WORDS.len()).copied().unwrap_or_default();
    let fields = BTreeMap::from([
        ("AccountSid", "AC0123456789abcdef0123456789abcdef"),
        ("ApiVersion", "2010-04-01"),
        ("Body", words),
        ("From", &from),
        ("FromCity", "NEW YORK"),
        ("FromCountry", "US"),
        ("FromState", "NY"),
        ("FromZip", "10001"),
        ("MessageSid", &sid),
        ("NumMedia", "0"),
        ("NumSegments", "1"),
        ("SmsMessageSid", &sid),
        ("SmsSid", &sid),
        ("SmsStatus", "received"),
        ("To", CLINIC),
        ("ToCity", "NEW YORK"),
        ("ToCountry", "US"),
        ("ToState", "NY"),
        ("ToZip", "10001"),
    ]);
    let mut signed = format!("{PUBLIC_URL}{path}");
    for (name, value) in &fields {
        signed.push_str(name);
        signed.push_str(value);
    }
    let signature = STANDARD.encode(hmac::sign(key, signed.as_bytes()));
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    Bytes::from(format!(
        "POST /{path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: TwilioProxy/1.1\r\naccept: */*\r\n\
         content-type: application/x-www-form-urlencoded; charset=UTF-8\r\ni-twilio-idempotency-token: {sid}\r\n\
         x-twilio-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}
