//! A page of search results: the envelope is read here, each entry by itself.

use super::element_path::kind_of;
use super::error::{ParseFault, ParseFaultKind};
use super::outcome::Issues;
use super::reference::ServerBase;
use super::resource::Resource;
use serde::Deserialize;
use serde_json::value::RawValue;

/// One page of a search (<https://hl7.org/fhir/R4/bundle.html#searchset>).
#[derive(Debug, Default)]
pub struct Page {
    /// What matched, in the server's order.
    pub matches: Vec<Resource>,
    /// What came along by `_include` or `_revinclude`.
    pub included: Vec<Resource>,
    /// What the server has to say about the search itself.
    pub issues: Issues,
    /// Entries that are no resources; the rest of the page is used.
    pub quarantined: Vec<Quarantined>,
    /// How many match in all, where the server says so.
    pub total: Option<u64>,
    pub(super) next: Option<String>,
}

/// An entry that was set aside, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its place among the entries that were read together.
    pub index: usize,
    /// Its id, where it could be read, so that staff can look at it in the EHR.
    pub id: Option<String>,
    /// Why it was set aside.
    pub fault: ParseFault,
}

/// What typed reading made of several resources.
#[derive(Debug)]
pub struct Parsed<T> {
    /// The readable ones, in their order.
    pub good: Vec<T>,
    /// The others.
    pub quarantined: Vec<Quarantined>,
}

impl<T> Parsed<T> {
    /// Reads each of `resources`; one that cannot be read, or is of another type, is set aside.
    pub fn read(resources: &[Resource], read: fn(&Resource) -> Result<T, ParseFault>) -> Self {
        let mut parsed = Self { good: Vec::with_capacity(resources.len()), quarantined: Vec::new() };
        for (index, resource) in resources.iter().enumerate() {
            match read(resource) {
                Ok(view) => parsed.good.push(view),
                Err(fault) => {
                    let id = resource.reference().map(|reference| reference.id().to_owned());
                    parsed.quarantined.push(Quarantined { index, id, fault });
                }
            }
        }
        parsed
    }
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "resourceType")]
    resource_type: Option<String>,
    #[serde(default)]
    total: Option<serde_json::Value>,
    #[serde(default)]
    link: Vec<Link>,
    #[serde(default)]
    entry: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Link {
    relation: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    resource: Option<Box<RawValue>>,
    search: Option<EntrySearch>,
}

#[derive(Deserialize)]
struct EntrySearch {
    mode: Option<String>,
}

impl Page {
    /// Reads a page from the server's answer.
    ///
    /// # Errors
    /// [`ParseFault`] when the envelope is no `Bundle`; a bad entry is no error.
    pub(super) fn from_json(base: &ServerBase, searched: &str, body: &[u8]) -> Result<Self, ParseFault> {
        let fault = |kind| ParseFault { expected: "Bundle", path: String::new(), kind };
        let envelope: Envelope = serde_json::from_slice(body).map_err(|error| fault(kind_of(&error)))?;
        if envelope.resource_type.as_deref() != Some("Bundle") {
            return Err(fault(ParseFaultKind::ResourceType));
        }
        let next = envelope.link.into_iter().find(|link| link.relation.as_deref() == Some("next"));
        let mut page = Self {
            total: envelope.total.as_ref().and_then(serde_json::Value::as_u64),
            next: next.and_then(|link| link.url),
            ..Self::default()
        };
        for (index, entry) in envelope.entry.into_iter().enumerate() {
            if let Err(fault) = page.take(base, searched, &entry) {
                page.quarantined.push(Quarantined { index, id: None, fault });
            }
        }
        Ok(page)
    }

    fn take(&mut self, base: &ServerBase, searched: &str, entry: &RawValue) -> Result<(), ParseFault> {
        let fault = |kind| ParseFault { expected: "Bundle", path: "entry".to_owned(), kind };
        let entry: Entry = serde_json::from_str(entry.get()).map_err(|error| fault(kind_of(&error)))?;
        let resource = Resource::from_raw(base, entry.resource.ok_or_else(|| fault(ParseFaultKind::Missing))?)?;
        let mode = entry.search.and_then(|search| search.mode);
        match (mode.as_deref(), resource.resource_type()) {
            (_, "OperationOutcome") => self.issues.extend(Issues::from_json(resource.json().as_bytes())),
            (Some("include"), _) => self.included.push(resource),
            (_, found) if found == searched => self.matches.push(resource),
            (Some("match"), _) => return Err(fault(ParseFaultKind::ResourceType)),
            // Without a mode, another type than the one searched for can only have been included.
            _ => self.included.push(resource),
        }
        Ok(())
    }

    /// Entries of all kinds.
    pub(super) fn entries(&self) -> usize {
        self.matches.len() + self.included.len() + self.quarantined.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: &str) -> Result<Page, ParseFault> {
        let base = ServerBase::new("https://ehr.example/fhir".parse().unwrap()).unwrap();
        Page::from_json(&base, "Patient", body.as_bytes())
    }

    #[test]
    fn a_bad_entry_costs_itself_only() {
        let page = page(
            r#"{"resourceType":"Bundle","total":"many","link":[{"relation":"self","url":"x"},{"relation":"next","url":"?p=2"}],"entry":[
            {"resource":{"resourceType":"Patient","id":"a"},"search":{"mode":"match"}},
            {"resource":{"resourceType":"Patient","id":7}},
            42,
            {"fullUrl":"urn:uuid:1"},
            {"resource":{"resourceType":"Slot","id":"s"},"search":{"mode":"match"}},
            {"resource":{"resourceType":"Patient","id":"b"}},
            {"resource":{"resourceType":"Organization","id":"o"},"search":{"mode":"include"}},
            {"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"warning","code":"informational"}]},"search":{"mode":"outcome"}}]}"#,
        )
        .unwrap();
        let ids: Vec<_> = page.matches.iter().filter_map(Resource::id).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(page.included.len(), 1);
        assert!(page.issues.has_code("informational"));
        assert_eq!(page.quarantined.iter().map(|entry| entry.index).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!((page.total, page.next.as_deref()), (None, Some("?p=2")));
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        assert_eq!(page(r#"{"resourceType":"Patient"}"#).unwrap_err().kind, ParseFaultKind::ResourceType);
        assert_eq!(page("<html>").unwrap_err().kind, ParseFaultKind::Syntax);
    }
}
