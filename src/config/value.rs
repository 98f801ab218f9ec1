//! How single values are written, each with what to do when they are not.

use crate::kernel::{Language, PhoneNumber};
use jiff::{civil, tz::TimeZone};
use std::{net::IpAddr, ops::RangeInclusive};
use toml::Value;
use url::{Host, Url};

/// What is wrong with a value, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) problem: String,
    pub(super) fix: String,
}

impl Wrong {
    pub(super) fn new(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { problem: problem.into(), fix: fix.into() }
    }
}

/// A value, or what is wrong with it.
pub(super) type Parsed<T> = Result<T, Wrong>;

/// Text that is not empty.
pub(super) fn text(value: &Value) -> Parsed<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Value::String(_) => Err(Wrong::new("this is empty", "write something, or leave the key out")),
        _ => Err(Wrong::new("this is not text", "write it in double quotes")),
    }
}

/// Text of at most `longest` characters, without line breaks and braces (which are a template's).
pub(super) fn name(longest: usize) -> impl Fn(&Value) -> Parsed<String> {
    move |value| {
        let text = text(value)?;
        if text.chars().count() > longest {
            return Err(Wrong::new(
                format!("this is longer than {longest} characters"),
                "shorten it: it stands in every text",
            ));
        }
        if text.contains(['{', '}']) || text.contains(char::is_control) {
            return Err(Wrong::new("this has a brace or a line break in it", "write plain words"));
        }
        Ok(text)
    }
}

/// Lower-case letters, digits and hyphens, as they stand in URLs.
pub(super) fn slug(value: &Value) -> Parsed<String> {
    let text = text(value)?;
    let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if plain && text.len() <= 40 && !text.starts_with('-') && !text.ends_with('-') {
        Ok(text)
    } else {
        Err(Wrong::new(
            "this is no short name for URLs",
            "use lower-case letters, digits and hyphens, 40 at most, as in \"elm-street\"",
        ))
    }
}

/// true or false.
pub(super) fn boolean(value: &Value) -> Parsed<bool> {
    value.as_bool().ok_or_else(|| Wrong::new("this is neither true nor false", "write true or false, without quotes"))
}

/// A whole number within `range`.
pub(super) fn integer(range: RangeInclusive<i64>) -> impl Fn(&Value) -> Parsed<i64> {
    move |value| {
        let fix = format!("write a whole number from {} to {}, without quotes", range.start(), range.end());
        let number = value.as_integer().ok_or_else(|| Wrong::new("this is not a whole number", fix.as_str()))?;
        if range.contains(&number) { Ok(number) } else { Err(Wrong::new("this is out of range", fix)) }
    }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(choices: &'static [(&'static str, T)]) -> impl Fn(&Value) -> Parsed<T> {
    move |value| {
        let chosen = value.as_str().and_then(|word| choices.iter().find(|(name, _)| *name == word));
        chosen.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            Wrong::new("this is not one of the choices", format!("write {}", names.join(" or ")))
        })
    }
}

/// A URL that is https, or http to this machine, without user, password, query and fragment.
pub(super) fn url(value: &Value) -> Parsed<Url> {
    const EXAMPLE: &str = "write it like \"https://ehr.example.org/fhir/r4\"";
    let url = Url::parse(&text(value)?).map_err(|_| Wrong::new("this is no absolute URL", EXAMPLE))?;
    if !url.has_host() {
        return Err(Wrong::new("this URL names no host", EXAMPLE));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Wrong::new("this URL has a user or a password in it", "take them out"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Wrong::new("this URL has a query or a fragment", "end it before ? and #"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_this_machine(&url) => Ok(url),
        "http" => Err(Wrong::new("patient data would travel unencrypted", "use https (http only on this machine)")),
        _ => Err(Wrong::new("this is not a web address", "use https")),
    }
}

/// A URL whose exact spelling counts, such as a token's issuer.
pub(super) fn exact_url(value: &Value) -> Parsed<String> {
    url(value)?;
    text(value)
}

/// A scheme, a host and perhaps a port, as a browser names an origin.
pub(super) fn origin(value: &Value) -> Parsed<String> {
    let url = url(value)?;
    if url.path() == "/" {
        Ok(url.origin().ascii_serialization())
    } else {
        Err(Wrong::new("this is more than an origin", "write scheme, host and port only: \"https://ehr.example.org\""))
    }
}

/// Whether the URL's host is a loopback address or `localhost`.
pub(super) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// An IP address.
pub(super) fn address(value: &Value) -> Parsed<IpAddr> {
    text(value)?.parse().map_err(|_| Wrong::new("this is no IP address", "write it like \"10.0.0.7\""))
}

/// A phone number with its country code.
pub(super) fn phone(value: &Value) -> Parsed<PhoneNumber> {
    PhoneNumber::parse(&text(value)?)
        .map_err(|_| Wrong::new("this is no valid phone number", "write it with its country code: \"+12125550123\""))
}

/// An IANA time zone.
pub(super) fn zone(value: &Value) -> Parsed<TimeZone> {
    TimeZone::get(&text(value)?)
        .map_err(|_| Wrong::new("there is no such time zone", "use a name of the IANA list: \"America/New_York\""))
}

/// A language with templates.
pub(super) fn language(value: &Value) -> Parsed<Language> {
    Language::from_tag(&text(value)?)
        .ok_or_else(|| Wrong::new("there are no templates in this language", "write \"en\" or \"es\""))
}

/// A time of day to the minute, or to the second.
pub(super) fn time(value: &Value) -> Parsed<civil::Time> {
    let text = text(value)?;
    civil::Time::strptime("%H:%M", &text)
        .or_else(|_| civil::Time::strptime("%H:%M:%S", &text))
        .map_err(|_| Wrong::new("this is no time of day", "write hours and minutes: \"09:30\""))
}

/// A day.
pub(super) fn date(value: &Value) -> Parsed<civil::Date> {
    text(value)?.parse().map_err(|_| Wrong::new("this is no date", "write it as \"2026-03-01\""))
}
