//! The versioned store: every resource, every version, in memory.
//!
//! Called by the interactions. A write holds the lock over its checks and its changes, so two callers who race see
//! one another; versions count from 1 without gaps and `lastUpdated` never goes back.

use super::outcome::FhirError;
use crate::kernel::Instruments;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// One version of a resource.
#[derive(Debug, Clone)]
pub struct Version {
    /// `meta.versionId`, from 1.
    pub number: u64,
    /// `meta.lastUpdated`.
    pub last_updated: Timestamp,
    /// The place among all writes; breaks ties of `last_updated`.
    pub order: u64,
    /// The resource with its `meta`; `None` where this version is the deletion.
    pub resource: Option<Arc<Value>>,
}

impl Version {
    /// The weak entity tag (<https://hl7.org/fhir/R4/http.html#versioning>).
    #[must_use]
    pub fn etag(&self) -> String {
        format!("W/\"{}\"", self.number)
    }
}

/// Everything that is stored, by type and id, oldest version first.
#[derive(Debug, Default)]
pub struct Shelves {
    types: BTreeMap<String, BTreeMap<String, Vec<Version>>>,
    order: u64,
    latest: Option<Timestamp>,
}

impl Shelves {
    /// The newest version, a deletion included.
    #[must_use]
    pub fn newest(&self, kind: &str, id: &str) -> Option<&Version> {
        self.types.get(kind)?.get(id)?.last()
    }

    /// The version with this number.
    #[must_use]
    pub fn version(&self, kind: &str, id: &str, number: u64) -> Option<&Version> {
        self.types.get(kind)?.get(id)?.iter().find(|version| version.number == number)
    }

    /// The resource as it stands.
    ///
    /// # Errors
    /// [`FhirError::NotFound`] where there never was one, [`FhirError::Deleted`] where it was deleted.
    pub fn current(&self, kind: &str, id: &str) -> Result<&Arc<Value>, FhirError> {
        let version = self.newest(kind, id).ok_or(FhirError::NotFound)?;
        version.resource.as_ref().ok_or(FhirError::Deleted)
    }

    /// Every resource of a type as it stands, in the order of ids.
    pub fn all<'a>(&'a self, kind: &str) -> impl Iterator<Item = (&'a Version, &'a Arc<Value>)> + use<'a> {
        let ids = self.types.get(kind).into_iter().flat_map(BTreeMap::values);
        ids.filter_map(|versions| versions.last()).filter_map(|version| Some((version, version.resource.as_ref()?)))
    }

    /// Writes the next version and stamps `id` and `meta` on it.
    pub fn put(&mut self, kind: &str, id: &str, mut resource: Value, now: Timestamp) -> Version {
        let now = self.latest.map_or(now, |latest| latest.max(now));
        let number = self.newest(kind, id).map_or(1, |version| version.number + 1);
        if let Some(members) = resource.as_object_mut() {
            members.insert("id".into(), json!(id));
            let meta = members.entry("meta").or_insert_with(|| json!({}));
            if let Some(meta) = meta.as_object_mut() {
                meta.insert("versionId".into(), json!(number.to_string()));
                meta.insert("lastUpdated".into(), json!(now.to_string()));
            }
        }
        self.append(kind, id, number, Some(Arc::new(resource)), now)
    }

    /// Deletes: the next version has no resource.
    pub fn delete(&mut self, kind: &str, id: &str, now: Timestamp) -> Option<Version> {
        let number = self.newest(kind, id)?.number + 1;
        Some(self.append(kind, id, number, None, now))
    }

    fn append(&mut self, kind: &str, id: &str, number: u64, resource: Option<Arc<Value>>, now: Timestamp) -> Version {
        self.order += 1;
        self.latest = Some(now);
        let version = Version { number, last_updated: now, order: self.order, resource };
        let ids = self.types.entry(kind.to_owned()).or_default();
        ids.entry(id.to_owned()).or_default().push(version.clone());
        version
    }
}

/// The shelves behind their lock, with the clock that stamps versions.
pub struct Store {
    shelves: RwLock<Shelves>,
    instruments: Instruments,
}

impl Store {
    /// An empty store whose `lastUpdated` comes from `instruments`.
    #[must_use]
    pub fn new(instruments: Instruments) -> Self {
        Self { shelves: RwLock::default(), instruments }
    }

    /// Looks without changing.
    pub fn read<T>(&self, look: impl FnOnce(&Shelves) -> T) -> T {
        look(&self.shelves.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Checks and changes in one step that nobody else sees the middle of.
    pub fn write<T>(&self, change: impl FnOnce(&mut Shelves, Timestamp) -> T) -> T {
        let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut shelves, self.instruments.now())
    }

    /// An id for a new resource.
    #[must_use]
    pub fn new_id(&self) -> String {
        self.instruments.new_id::<Version>().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_without_gaps_and_time_never_goes_back() {
        let mut shelves = Shelves::default();
        let (early, late) = (Timestamp::from_second(10).unwrap(), Timestamp::from_second(20).unwrap());
        shelves.put("Basic", "a", json!({"resourceType": "Basic"}), late);
        let second = shelves.put("Basic", "a", json!({"resourceType": "Basic"}), early);
        assert_eq!((second.number, second.last_updated), (2, late));
        shelves.delete("Basic", "a", late);
        assert_eq!(shelves.current("Basic", "a"), Err(FhirError::Deleted));
        assert_eq!(shelves.all("Basic").count(), 0);
        assert_eq!(shelves.put("Basic", "a", json!({}), late).number, 4);
    }
}
