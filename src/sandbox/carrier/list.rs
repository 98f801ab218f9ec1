//! `GET Messages.json`: filters, order and paging as the vendor's list has them.
//!
//! Newest first. A page token names the message beside which the page begins, so texts that arrive in between move
//! no page.

use super::{
    exchange::Exchange,
    faults::FaultKind,
    message::{API_VERSION, Message},
    refusal::Refusal,
};
use crate::kernel::PhoneNumber;
use jiff::{Timestamp, civil, tz::TimeZone};
use serde_json::{Value, json};
use url::form_urlencoded;

const DEFAULT_PAGE: usize = 50;
const LARGEST_PAGE: usize = 1000;

/// A list request, read.
struct Request {
    to: Option<PhoneNumber>,
    from: Option<PhoneNumber>,
    /// Messages sent at or after this instant.
    earliest: Option<Timestamp>,
    /// Messages sent before this instant.
    before: Option<Timestamp>,
    page_size: usize,
    page: usize,
    token: Option<Token>,
}

/// Where a page begins.
enum Token {
    /// Just after (older than) the message at this place in the order.
    After(u64),
    /// It ends just before (newer than) it.
    Before(u64),
}

/// Answers a list request; `query` is its raw query string.
pub(super) fn list(exchange: &Exchange, query: &str) -> Result<Value, Refusal> {
    let request = Request::read(query)?;
    let matching = exchange
        .read(|books| books.newest_first().filter(|message| request.matches(message)).cloned().collect::<Vec<_>>());
    let start = match request.token {
        None => request.page.saturating_mul(request.page_size),
        Some(Token::After(place)) => matching.iter().take_while(|message| message.sequence >= place).count(),
        Some(Token::Before(place)) => {
            let newer = matching.iter().take_while(|message| message.sequence > place).count();
            newer.saturating_sub(request.page_size)
        }
    };
    let messages: Vec<_> = matching.iter().skip(start).take(request.page_size).collect();
    let has_more = start + messages.len() < matching.len();
    let next = messages.last().filter(|_| has_more).map(|last| format!("PA{}", token(last)));
    let previous = messages.first().filter(|_| start > 0).map(|first| format!("PB{}", token(first)));
    let first_index = request.page.saturating_mul(request.page_size);
    let uri = |page, token| request.uri(&exchange.account_sid, query, page, token);
    let mut entries: Vec<_> = messages.iter().map(|message| message.resource(&exchange.account_sid, false)).collect();
    if let Some(newest) = entries.first_mut().filter(|_| exchange.faults.strikes(FaultKind::OddListEntry)) {
        *newest = json!({ "sid": 7 });
    }
    Ok(json!({
        "end": (first_index + messages.len()).saturating_sub(1).max(first_index),
        "first_page_uri": uri(0, None),
        "messages": entries,
        "next_page_uri": next.map(|token| uri(request.page + 1, Some(token))),
        "page": request.page,
        "page_size": request.page_size,
        "previous_page_uri": previous.map(|token| uri(request.page.saturating_sub(1), Some(token))),
        "start": first_index,
        "uri": uri(request.page, None),
    }))
}

/// The place of a message in the order, and its SID as the vendor's tokens show it.
fn token(message: &Message) -> String {
    format!("{}.{}", message.sid, message.sequence)
}

impl Request {
    fn read(query: &str) -> Result<Self, Refusal> {
        let mut request =
            Self { to: None, from: None, earliest: None, before: None, page_size: DEFAULT_PAGE, page: 0, token: None };
        for (name, value) in form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
            let invalid = || Refusal::bad_request(20001, format!("Invalid parameter: {name}"));
            match &*name {
                "To" => request.to = Some(PhoneNumber::parse(&value).map_err(|_| invalid())?),
                "From" => request.from = Some(PhoneNumber::parse(&value).map_err(|_| invalid())?),
                "DateSent" | "DateSent>" | "DateSent<" => {
                    let (first, after) = span(&value).ok_or_else(invalid)?;
                    if *name != *"DateSent<" {
                        request.earliest = Some(first);
                    }
                    if *name != *"DateSent>" {
                        request.before = Some(after);
                    }
                }
                "PageSize" => {
                    let size: usize = value.parse().map_err(|_| invalid())?;
                    request.page_size = size.clamp(1, LARGEST_PAGE);
                }
                "Page" => request.page = value.parse().map_err(|_| invalid())?,
                "PageToken" => request.token = Some(Token::read(&value).ok_or_else(invalid)?),
                _ => {}
            }
        }
        Ok(request)
    }

    fn matches(&self, message: &Message) -> bool {
        self.to.as_ref().is_none_or(|to| message.to == *to)
            && self.from.as_ref().is_none_or(|from| message.from.as_ref() == Some(from))
            && self.earliest.is_none_or(|earliest| message.sent.is_some_and(|sent| sent >= earliest))
            && self.before.is_none_or(|before| message.sent.is_some_and(|sent| sent < before))
    }

    /// The address of a page of this list, with the same filters.
    fn uri(&self, account: &str, query: &str, page: usize, token: Option<String>) -> String {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !matches!(&*name, "PageSize" | "Page" | "PageToken") {
                pairs.append_pair(&name, &value);
            }
        }
        pairs.append_pair("PageSize", &self.page_size.to_string());
        pairs.append_pair("Page", &page.to_string());
        if let Some(token) = token {
            pairs.append_pair("PageToken", &token);
        }
        format!("/{API_VERSION}/Accounts/{account}/Messages.json?{}", pairs.finish())
    }
}

impl Token {
    fn read(text: &str) -> Option<Self> {
        let place = text.rsplit('.').next()?.parse().ok()?;
        match text.get(..2)? {
            "PA" => Some(Self::After(place)),
            "PB" => Some(Self::Before(place)),
            _ => None,
        }
    }
}

/// What a date filter covers, from its first instant to the one after its last: a GMT day, or a second. The vendor
/// takes ISO and RFC 2822 forms.
fn span(text: &str) -> Option<(Timestamp, Timestamp)> {
    let gmt = |time: civil::DateTime| time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    if let Ok(day) = civil::Date::strptime("%Y-%m-%d", text) {
        return Some((
            gmt(day.to_datetime(civil::Time::midnight()))?,
            gmt(day.tomorrow().ok()?.to_datetime(civil::Time::midnight()))?,
        ));
    }
    let instant = text
        .parse::<Timestamp>()
        .ok()
        .or_else(|| text.replacen(' ', "T", 1).parse::<civil::DateTime>().ok().and_then(gmt))
        .or_else(|| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp()))?;
    let second = Timestamp::from_second(instant.as_second()).ok()?;
    Some((second, second.checked_add(jiff::SignedDuration::from_secs(1)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("2026-11-22", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z")]
    #[case("2026-11-22T20:05:25Z", "2026-11-22T20:05:25Z", "2026-11-22T20:05:26Z")]
    #[case("2026-11-22 20:05:25.000", "2026-11-22T20:05:25Z", "2026-11-22T20:05:26Z")]
    #[case("Sun, 22 Nov 2026 20:05:25 -0000", "2026-11-22T20:05:25Z", "2026-11-22T20:05:26Z")]
    fn dates_are_read_in_the_vendors_forms(#[case] text: &str, #[case] first: &str, #[case] after: &str) {
        assert_eq!(span(text), Some((first.parse().unwrap(), after.parse().unwrap())));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        assert_eq!(span("yesterday"), None);
        assert!(Request::read("DateSent%3E=yesterday").is_err_and(|refusal| refusal.code() == 20001));
    }
}
