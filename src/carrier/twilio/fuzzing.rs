//! What must hold for any webhook and any answer of Twilio's.
#![allow(clippy::unwrap_used, reason = "a target fails by panicking, and none of this is in what is built for use")]

use super::{
    form,
    list::{Next, Page, Pages},
    message::MessageResource,
    sending, signature,
    webhook::{self, WebhookBody, WebhookError},
};
use crate::{
    carrier::AuthToken,
    fuzzing::{MARK, keeps_back, lines, tells_nothing, text_lines},
    messaging::carrier_port::{CarrierInbound, SendOutcome},
};
use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderValue, RETRY_AFTER},
};
use std::{collections::BTreeSet, fmt::Write as _, time::Duration};
use url::{Url, form_urlencoded};

/// A form body: read as the `url` crate reads it, and again when it is written out.
pub(crate) fn webhook_form(data: &[u8]) {
    let ours: Vec<(String, String)> = form::fields(data)
        .into_iter()
        .map(|(name, value)| (String::from_utf8_lossy(&name).into(), String::from_utf8_lossy(&value).into()))
        .collect();
    let theirs: Vec<(String, String)> = form_urlencoded::parse(data).into_owned().collect();
    assert_eq!(ours, theirs);
    status(WebhookBody::Form(data));
    let Some(read) = inbound(webhook::parse_inbound(WebhookBody::Form(data))) else { return };
    let body = theirs.iter().find(|(name, _)| name == "Body").map_or("", |(_, value)| value.as_str());
    assert_eq!(read.body.as_str(), body);
    let written = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields_of(&read)).finish();
    same(&read, &webhook::parse_inbound(WebhookBody::Form(written.as_bytes())).unwrap());
}

/// A JSON body: the same, by `serde_json`.
pub(crate) fn webhook_json(data: &[u8]) {
    status(WebhookBody::Json(data));
    let Some(read) = inbound(webhook::parse_inbound(WebhookBody::Json(data))) else { return };
    let object: serde_json::Map<String, serde_json::Value> =
        fields_of(&read).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let written = serde_json::to_vec(&object).unwrap();
    same(&read, &webhook::parse_inbound(WebhookBody::Json(&written)).unwrap());
}

fn inbound(read: Result<CarrierInbound, WebhookError>) -> Option<CarrierInbound> {
    let read = read.inspect_err(tells_nothing).ok()?;
    assert!(is_id(&read.carrier_id));
    assert!(read.media.len() <= 10);
    let shown_as_it_came =
        read.media.iter().filter_map(|media| media.content_type.as_deref()).chain([read.carrier_id.as_str()]);
    if !shown_as_it_came.into_iter().any(|shown| shown.contains(MARK)) {
        keeps_back(&format!("{read:?}"));
    }
    Some(read)
}

fn status(body: WebhookBody<'_>) {
    match webhook::parse_status(body) {
        Ok(report) => {
            assert!(is_id(&report.carrier_id));
            assert!(report.error_code.is_none_or(|code| code.bytes().all(|byte| byte.is_ascii_digit())));
        }
        Err(error) => tells_nothing(&error),
    }
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn fields_of(text: &CarrierInbound) -> [(&'static str, String); 4] {
    let from = text.from.number().map_or_else(String::new, |from| from.as_e164().to_owned());
    [
        ("MessageSid", text.carrier_id.clone()),
        ("To", text.to.as_e164().to_owned()),
        ("From", from),
        ("Body", text.body.as_str().to_owned()),
    ]
}

fn same(one: &CarrierInbound, other: &CarrierInbound) {
    assert_eq!(one.carrier_id, other.carrier_id);
    assert_eq!(one.to, other.to);
    assert_eq!(one.from.number(), other.from.number());
    assert_eq!(one.body.as_str(), other.body.as_str());
    assert!(!other.body_damaged);
}

const URL: &str = "https://texts.example/carriers/twilio/elm/inbound";

/// A signature, a query and a body: what is made up is refused, what is right is taken, and only for that URL, body
/// and token.
pub(crate) fn webhook_signature(data: &[u8]) {
    let [claimed, query, body] = lines::<3>(data);
    let (claimed, query) = (String::from_utf8_lossy(claimed), String::from_utf8_lossy(query));
    let tokens = [AuthToken::new(String::new()), AuthToken::new("9f2a".into()), AuthToken::new("77c1".into())];
    let url = format!("{URL}?{query}");
    for kind in [WebhookBody::Form(body), WebhookBody::Json(body)] {
        let refused = signature::verify(&tokens, Some(&claimed), &url, kind).unwrap_err();
        tells_nothing(&refused);
    }
    signed_form(&tokens, &url, body);
    signed_json(&tokens, body);
}

fn signed_form(tokens: &[AuthToken], url: &str, body: &[u8]) {
    if Url::parse(url).is_err() {
        return;
    }
    let fields: BTreeSet<form::Field> = form::fields(body).into_iter().collect();
    let message = fields.iter().fold(url.as_bytes().to_vec(), |text, (name, value)| [&text, &**name, value].concat());
    let accepts = |signature: &str, url: &str, body: &[u8]| {
        signature::verify(tokens, Some(signature), url, WebhookBody::Form(body)).is_ok()
    };
    assert!(accepts(&sign(b"77c1", &message), url, body), "what Twilio signs is refused");
    assert!(!accepts(&sign(b"", &message), url, body), "an empty token signs");
    assert!(!accepts(&sign(b"77c2", &message), url, body), "another token signs");
    let right = sign(b"9f2a", &message);
    assert!(!accepts(&right, &format!("{URL}/x"), body), "it is taken for another path");
    if !fields.contains(&(b"Zz".to_vec(), b"1".to_vec())) {
        assert!(!accepts(&right, url, &[body, b"&Zz=1"].concat()), "it is taken with a field more");
    }
}

fn signed_json(tokens: &[AuthToken], body: &[u8]) {
    let hash = digest::digest(&digest::SHA256, body).as_ref().iter().fold(String::new(), |mut hash, byte| {
        let _ = write!(hash, "{byte:02x}");
        hash
    });
    let url = format!("{URL}?bodySHA256={hash}");
    let right = sign(b"9f2a", url.as_bytes());
    let accepts = |body: &[u8]| signature::verify(tokens, Some(&right), &url, WebhookBody::Json(body)).is_ok();
    assert!(accepts(body), "what Twilio signs is refused");
    assert!(!accepts(&[body, b" "].concat()), "it is taken for another body");
}

fn sign(token: &[u8], message: &[u8]) -> String {
    STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token), message))
}

/// A page of the list: one odd entry costs itself, ids are ids, and no link leads elsewhere.
pub(crate) fn carrier_list(data: &[u8]) {
    let Ok(page) = serde_json::from_slice::<Page>(data) else { return };
    let base = Url::parse("https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json").unwrap();
    let mut pages = Pages::new(base.clone());
    if let Next::Page(next) = pages.after(&page) {
        assert_eq!(next.origin(), base.origin());
        assert!(next.username().is_empty() && next.password().is_none(), "the link brings credentials of its own");
        assert!(!matches!(pages.after(&page), Next::Page(_)), "the list leads in a circle");
    }
    let (entries, unreadable) = page.entries();
    assert!(entries.len() + unreadable.count() <= page.messages.len(), "one id may stand there twice");
    assert!(unreadable.is_empty() == (entries.len() == page.messages.len()));
    assert!(unreadable.ids.iter().all(|id| is_id(id)));
    for entry in entries {
        message(entry);
    }
    for entry in page.messages {
        let entry = serde_json::from_str::<MessageResource>(entry.get()).ok();
        if let Some(text) = entry.and_then(MessageResource::into_inbound) {
            assert!(is_id(&text.carrier_id));
            keeps_back_unless_named(&text.carrier_id, &format!("{text:?}"));
        }
    }
}

fn message(entry: MessageResource) {
    let _ = (entry.is_inbound(), entry.happened_at());
    assert_ne!(entry.segments(), Some(0));
    let report = entry.report();
    let Some(text) = entry.into_outbound() else { return };
    let report = report.unwrap();
    assert!(is_id(&text.carrier_id));
    let named = format!("{} {}", text.carrier_id, report.status.as_str());
    keeps_back_unless_named(&named, &format!("{text:?}"));
}

/// Ids and states are shown as they came.
fn keeps_back_unless_named(named: &str, shown: &str) {
    if !named.contains(MARK) {
        keeps_back(shown);
    }
}

/// A status, a `Retry-After` and a body answer a text: law 4 by what they may mean.
pub(crate) fn carrier_send(data: &[u8]) {
    let [status, wait, _] = text_lines::<3>(data);
    let [_, _, body] = lines::<3>(data);
    let Some(status) = status.parse().ok().and_then(|status: u16| StatusCode::from_u16(status).ok()) else { return };
    let mut headers = HeaderMap::new();
    if let Ok(wait) = HeaderValue::from_str(&wait) {
        headers.insert(RETRY_AFTER, wait);
    }
    let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
    let wait = sending::retry_after(&headers, now);
    assert!(wait.is_none_or(|wait| wait <= Duration::from_hours(24)));
    let whole = sending::outcome(status, &headers, Some(body), now);
    let broken = sending::outcome(status, &headers, None, now);
    assert!(!matches!(broken, SendOutcome::Accepted { .. }), "nobody said that it was taken");
    let throttled = sending::error_code(body).as_deref() == Some("20429");
    let may_have_left = status.is_success() || status.is_server_error() || status.is_redirection();
    for outcome in [&whole, &broken] {
        if may_have_left && !throttled {
            assert!(!matches!(outcome, SendOutcome::NotSent { .. }), "it may have left and would be sent again");
        }
        if let SendOutcome::Accepted { carrier_id, .. } = outcome {
            assert!(status.is_success() && is_id(carrier_id));
        }
    }
    match &whole {
        SendOutcome::Accepted { carrier_id, status, .. } => {
            keeps_back_unless_named(&format!("{carrier_id} {}", status.as_str()), &format!("{whole:?}"));
        }
        _ => keeps_back(&format!("{whole:?}")),
    }
}
