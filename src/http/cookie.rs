//! The two cookies: the session, and the launch under way.
//!
//! Both live in the iframe of another site, so they are `SameSite=None` and `Partitioned` (CHIPS): the browser keeps one
//! jar per embedding EHR. `__Host-` (RFC 6265bis section 4.1.3.2) ties them to this host, to TLS and to the path `/`.

use crate::access::SessionToken;
use axum::http::{HeaderMap, HeaderValue};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};

/// The session's cookie.
pub const SESSION: &str = "__Host-chartwire";
/// The cookie that ties a launch to the browser in which it began.
pub const LAUNCH: &str = "__Host-chartwire-launch";

/// How long a launch's cookie lives, in seconds: as long as the launch itself.
const LAUNCH_LIFETIME: u32 = 600;

/// The value of the cookie `name` among a request's headers.
#[must_use]
pub fn value_of(headers: &HeaderMap, name: &str) -> Option<String> {
    CookieJar::from_headers(headers).get(name).map(|cookie| cookie.value().to_owned())
}

/// The session token that a request brings, if it is one.
#[must_use]
pub fn session_of(headers: &HeaderMap) -> Option<SessionToken> {
    SessionToken::from_cookie(&value_of(headers, SESSION)?)
}

/// A `Set-Cookie` value that begins a session. It goes with the browser; the server ends it sooner.
#[must_use]
pub fn begin_session(token: &SessionToken) -> Option<HeaderValue> {
    set(SESSION, token.cookie_value(), None)
}

/// A `Set-Cookie` value that forgets the session.
#[must_use]
pub fn end_session() -> Option<HeaderValue> {
    set(SESSION, "", Some(0))
}

/// A `Set-Cookie` value that ties a launch to this browser for ten minutes.
#[must_use]
pub fn begin_launch(value: &str) -> Option<HeaderValue> {
    set(LAUNCH, value, Some(LAUNCH_LIFETIME))
}

/// A `Set-Cookie` value that forgets the launch.
#[must_use]
pub fn end_launch() -> Option<HeaderValue> {
    set(LAUNCH, "", Some(0))
}

/// `None` for a value that would end early or bring attributes of its own (RFC 6265 section 4.1.1, `cookie-octet`).
fn set(name: &str, value: &str, max_age: Option<u32>) -> Option<HeaderValue> {
    if !value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)) {
        return None;
    }
    let age = max_age.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
    let mut cookie = Cookie::parse(format!("{name}={value}{age}")).ok()?;
    cookie.set_path("/");
    cookie.set_secure(true);
    cookie.set_http_only(true);
    cookie.set_same_site(SameSite::None);
    cookie.set_partitioned(true);
    HeaderValue::from_str(&cookie.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header;

    #[test]
    fn every_attribute_that_a_foreign_iframe_needs_is_there() {
        let begun = begin_launch("abc").unwrap();
        let parts: Vec<&str> = begun.to_str().unwrap().split("; ").collect();
        assert_eq!(parts[0], "__Host-chartwire-launch=abc");
        for part in ["HttpOnly", "SameSite=None", "Secure", "Path=/", "Partitioned", "Max-Age=600"] {
            assert!(parts.contains(&part), "{part}");
        }
        assert!(!begun.to_str().unwrap().contains("Domain"));
        assert!(end_session().unwrap().to_str().unwrap().contains("Max-Age=0"));
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("a=1; __Host-chartwire-launch=xyz;b=2"));
        assert_eq!(value_of(&headers, LAUNCH).as_deref(), Some("xyz"));
        assert_eq!(value_of(&headers, SESSION), None);
    }
}
