//! Searches: parameters, the two ways of sending them, and paging that stays within bounds.

use super::bundle::Page;
use super::client::FhirClient;
use super::error::{FhirError, LinkFault};
use std::collections::HashSet;
use std::fmt;
use url::Url;

/// Search parameters in order (<https://hl7.org/fhir/R4/search.html>). Values may be PHI: `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SearchParams(Vec<(String, String)>);

impl SearchParams {
    /// No parameters yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter, such as `date` with `ge2026-11-22`. The same name again narrows the search (AND).
    ///
    /// `value` is taken as it is: where it is one value that could hold `,`, `|`, `$` or `\`, pass it through
    /// [`SearchParams::escape`] first.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }

    /// Adds a token parameter, `system|code`.
    #[must_use]
    pub fn with_token(self, name: impl Into<String>, system: &str, code: &str) -> Self {
        self.with(name, format!("{}|{}", Self::escape(system), Self::escape(code)))
    }

    /// One value with its separators escaped (<https://hl7.org/fhir/R4/search.html#escaping>).
    #[must_use]
    pub fn escape(value: &str) -> String {
        let mut escaped = String::with_capacity(value.len());
        for c in value.chars() {
            if matches!(c, '\\' | ',' | '|' | '$') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        escaped
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

impl fmt::Debug for SearchParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// How the parameters travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchMethod {
    /// In the URL. Only for parameters that are not PHI.
    Get,
    /// In the body of `POST [type]/_search`.
    Post,
}

/// The next request of a search.
enum Step {
    First,
    Link(Url),
    Done,
}

/// A search in progress: one page per call, within the client's limits on pages and entries.
pub struct SearchPager {
    client: FhirClient,
    resource_type: String,
    params: SearchParams,
    method: SearchMethod,
    step: Step,
    pages: usize,
    entries: usize,
    seen: HashSet<Url>,
}

impl fmt::Debug for SearchPager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchPager")
            .field("resource_type", &self.resource_type)
            .field("params", &self.params)
            .field("pages", &self.pages)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

impl SearchPager {
    pub(super) fn new(client: FhirClient, resource_type: &str, params: SearchParams, method: SearchMethod) -> Self {
        Self {
            client,
            resource_type: resource_type.to_owned(),
            params,
            method,
            step: Step::First,
            pages: 0,
            entries: 0,
            seen: HashSet::new(),
        }
    }

    /// Where the next page is, to go on with by [`FhirClient::resume_search`]; `None` before the first and after the last.
    #[must_use]
    pub fn next_link(&self) -> Option<&str> {
        match &self.step {
            Step::Link(url) => Some(url.as_str()),
            Step::First | Step::Done => None,
        }
    }

    pub(super) fn at(self, link: Url) -> Self {
        Self { step: Step::Link(link), ..self }
    }

    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// [`FhirError`]; after one the same call asks for the same page again. [`FhirError::TooMany`] when there is more
    /// than the limits allow: results are never cut short in silence.
    pub async fn next_page(&mut self) -> Result<Option<Page>, FhirError> {
        let answer = match &self.step {
            Step::Done => return Ok(None),
            Step::First => self.client.ask(|| self.first_request()).await?,
            Step::Link(url) => {
                if self.pages >= self.client.limits.max_pages || self.entries >= self.client.limits.max_entries {
                    return Err(FhirError::TooMany { pages: self.pages, entries: self.entries });
                }
                self.client.ask(|| self.client.http().get(url.clone())).await?
            }
        };
        let page = Page::from_json(&self.client.base, &self.resource_type, &answer.body)?;
        let entries = self.entries.saturating_add(page.entries());
        if entries > self.client.limits.max_entries {
            return Err(FhirError::TooMany { pages: self.pages, entries });
        }
        let next = page.next.as_deref().map(|link| self.client.base.follow(&self.resource_type, link)).transpose()?;
        self.step = match next {
            Some(url) if !self.seen.insert(url.clone()) => return Err(LinkFault::Loop.into()),
            Some(url) => Step::Link(url),
            None => Step::Done,
        };
        self.pages = self.pages.saturating_add(1);
        self.entries = entries;
        Ok(Some(page))
    }

    /// All pages as one.
    ///
    /// # Errors
    /// [`FhirError`] of any page.
    pub async fn all(mut self) -> Result<Page, FhirError> {
        let mut whole = Page::default();
        while let Some(page) = self.next_page().await? {
            let offset = whole.entries();
            whole.matches.extend(page.matches);
            whole.included.extend(page.included);
            whole.issues.extend(page.issues);
            whole.quarantined.extend(page.quarantined.into_iter().map(|mut entry| {
                entry.index = entry.index.saturating_add(offset);
                entry
            }));
            whole.total = whole.total.or(page.total);
        }
        Ok(whole)
    }

    fn first_request(&self) -> reqwest::RequestBuilder {
        let client = &self.client;
        match self.method {
            SearchMethod::Get => {
                client.http().get(client.base.join(&[self.resource_type.as_str()])).query(self.params.pairs())
            }
            SearchMethod::Post => client
                .http()
                .post(client.base.join(&[self.resource_type.as_str(), "_search"]))
                .form(self.params.pairs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_kept_out_of_debug_output() {
        let params = SearchParams::new().with_token("identifier", "urn:sys", "a,b|c").with("name", "Lopez");
        assert_eq!(params.pairs()[0].1, r"urn:sys|a\,b\|c");
        assert_eq!(format!("{params:?}"), r#"["identifier", "name"]"#);
    }
}
