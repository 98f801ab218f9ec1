//! Pages of a search result, held by the server behind opaque links.
//!
//! A link says nothing of the query, so a search that was posted to keep a phone number out of URLs stays so.

use super::search::Search;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// How many unread pages are remembered; the oldest are forgotten first, as servers do.
const REMEMBERED: usize = 1_000;

/// The whole result of one search, as it stood when it was made.
pub(super) struct SearchResult {
    /// What was asked.
    pub search: Search,
    /// Everything that matched.
    pub matches: Vec<Arc<Value>>,
}

/// A place within a result.
#[derive(Clone)]
pub(super) struct Page {
    /// The result.
    pub result: Arc<SearchResult>,
    /// The first entry of the page.
    pub offset: usize,
}

impl Page {
    /// The matches on this page.
    #[must_use]
    pub(super) fn matches(&self) -> &[Arc<Value>] {
        let end = self.offset.saturating_add(self.result.search.count).min(self.result.matches.len());
        self.result.matches.get(self.offset..end).unwrap_or_default()
    }

    /// The page after this one.
    #[must_use]
    pub(super) fn next(&self) -> Option<Self> {
        let offset = self.offset.saturating_add(self.result.search.count);
        let more = self.result.search.count > 0 && offset < self.result.matches.len();
        more.then(|| Self { result: Arc::clone(&self.result), offset })
    }
}

/// The pages that links point to.
#[derive(Default)]
pub(super) struct Pages(Mutex<VecDeque<(String, Page)>>);

impl Pages {
    /// Remembers a page under a token.
    pub(super) fn remember(&self, token: String, page: Page) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= REMEMBERED {
            held.pop_front();
        }
        held.push_back((token, page));
    }

    /// The page of a token; a link may be followed again.
    #[must_use]
    pub(super) fn find(&self, token: &str) -> Option<Page> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().find(|(name, _)| name == token).map(|(_, page)| page.clone())
    }
}
