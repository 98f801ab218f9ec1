//! What a browser sends: query strings and cookies.

use super::{keeps_back, lines};
use crate::{http::cookie, http::smart::fuzzing::asked, smart::Callback};
use axum::{
    extract::Query,
    http::{HeaderMap, HeaderValue, Uri, header},
};

/// A query and two cookie headers: a launch is asked for with what stands there, and what a cookie is set to cannot
/// bring attributes of its own.
pub(super) fn request(data: &[u8]) {
    let [query, first, second] = lines::<3>(data);
    if let Ok(uri) = Uri::try_from([b"/smart/launch?", query].concat().as_slice()) {
        asked(&uri);
        if let Ok(Query(callback)) = Query::<Callback>::try_from_uri(&uri) {
            keeps_back(&format!("{callback:?}"));
        }
    }
    let mut headers = HeaderMap::new();
    for value in [first, second] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(header::COOKIE, value);
        }
    }
    if let Some(value) = cookie::value_of(&headers, cookie::LAUNCH) {
        set(cookie::begin_launch(&value), cookie::LAUNCH);
    }
    if let Some(token) = cookie::session_of(&headers) {
        let begun = cookie::begin_session(&token).expect("a token can be set");
        let text = begun.to_str().expect("text");
        assert_eq!(text.split(';').next(), Some(format!("{}={}", cookie::SESSION, token.cookie_value()).as_str()));
        set(Some(begun), cookie::SESSION);
    }
}

/// A `Set-Cookie` value: of that name, for this site alone, kept from scripts.
fn set(value: Option<HeaderValue>, name: &str) {
    let Some(value) = value else { return };
    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut parts = text.split("; ");
    let pair = parts.next().unwrap_or_default();
    assert!(pair.starts_with(&format!("{name}=")), "another cookie is set");
    let attributes: Vec<&str> = parts.collect();
    for needed in ["Secure", "HttpOnly", "SameSite=None", "Path=/", "Partitioned"] {
        assert_eq!(attributes.iter().filter(|own| **own == needed).count(), 1, "{needed} in {text:?}");
    }
    let named = |name: &str| attributes.iter().any(|own| own.to_ascii_lowercase().starts_with(name));
    assert!(!named("domain"), "it is given to other hosts");
    assert!(attributes.len() <= 6, "it brings attributes of its own: {text:?}");
}
