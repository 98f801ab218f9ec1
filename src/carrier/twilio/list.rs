//! Twilio's list of messages: whole, or an error.

use super::message::{MessageResource, plain_sid};
use crate::messaging::carrier_port::Unreadable;
use serde::Deserialize;
use std::collections::HashSet;
use url::Url;

/// How many messages are asked for at once (Twilio allows 1000).
pub(super) const PAGE_SIZE: u32 = 500;

/// How many pages are read at the most.
pub(super) const MOST_PAGES: usize = 400;

/// One page.
#[derive(Deserialize)]
pub(super) struct Page {
    /// Kept unread, so that one odd entry does not take the others with it.
    pub(super) messages: Vec<Box<serde_json::value::RawValue>>,
    next_page_uri: Option<String>,
}

impl Page {
    /// The entries that can be read, and those that cannot.
    pub(super) fn entries(&self) -> (Vec<MessageResource>, Unreadable) {
        let (mut read, mut unreadable) = (Vec::with_capacity(self.messages.len()), Unreadable::default());
        for entry in &self.messages {
            match serde_json::from_str(entry.get()) {
                Ok(message) => read.push(message),
                Err(_) => unreadable.add(named(entry.get())),
            }
        }
        (read, unreadable)
    }
}

/// The id of an entry of which the rest may be anything.
fn named(entry: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        sid: String,
    }
    serde_json::from_str(entry).ok().map(|Named { sid }| sid).filter(|sid| plain_sid(sid))
}

/// Walks from page to page, within one origin and never in a circle.
pub(super) struct Pages {
    base: Url,
    seen: HashSet<String>,
}

/// What comes after a page.
pub(super) enum Next {
    /// This one.
    Page(Url),
    /// Nothing: that was the last.
    End,
    /// A link that leads elsewhere, in a circle, or too far.
    Astray(Stray),
}

/// How a list goes astray.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stray {
    /// It cannot be followed: another origin, credentials of its own, or a page that was read before.
    Broken,
    /// It is longer than we read.
    TooLong,
}

impl Pages {
    /// A walk over the pages of the API at `base`.
    pub(super) fn new(base: Url) -> Self {
        Self { base, seen: HashSet::new() }
    }

    /// Where to go after `page`. Credentials go with every request, so a link to another origin is not followed.
    pub(super) fn after(&mut self, page: &Page) -> Next {
        let Some(link) = page.next_page_uri.as_deref().filter(|link| !link.is_empty()) else { return Next::End };
        let Ok(url) = self.base.join(link) else { return Next::Astray(Stray::Broken) };
        // Nor one that brings credentials of its own.
        let theirs = !url.username().is_empty() || url.password().is_some();
        if theirs || url.origin() != self.base.origin() || !self.seen.insert(url.as_str().to_owned()) {
            return Next::Astray(Stray::Broken);
        }
        if self.seen.len() >= MOST_PAGES {
            return Next::Astray(Stray::TooLong);
        }
        Next::Page(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_named_where_its_id_can_be() {
        let page = r#"{"messages": [{"sid": "SM1", "direction": "inbound"}, {"sid": "SM2", "num_media": []},
            {"sid": "SM 3", "body": 1}, {"sid": 7}, [], {"sid": "SM2", "num_media": []}]}"#;
        let (read, unreadable) = serde_json::from_str::<Page>(page).unwrap().entries();
        assert_eq!(read.len(), 1);
        assert_eq!(unreadable.to_string(), "SM2, and 3 without an id");
    }
}
