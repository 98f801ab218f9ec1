//! A resource as the server sent it: the JSON untouched, with its type, id and version beside it.

use super::element_path::kind_of;
use super::error::{ParseFault, ParseFaultKind};
use super::reference::{ResourceRef, ServerBase};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt;

/// The version of a resource as the server names it (RFC 9110 section 8.8.3). Opaque: kept and sent back as it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(String);

impl ETag {
    /// The value of an `ETag` header.
    #[must_use]
    pub fn from_header(value: &str) -> Self {
        Self(value.to_owned())
    }

    /// The tag that goes with a `meta.versionId` (`W/"3"`, <https://hl7.org/fhir/R4/http.html#versioning>).
    #[must_use]
    pub fn from_version_id(version_id: &str) -> Self {
        Self(format!("W/\"{version_id}\""))
    }

    /// The tag as it is sent in `If-Match`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A resource of one server.
///
/// The JSON is what the server sent, so an edit of it loses nothing; typed readings of it are in
/// [`views`](super::views). `Debug` shows neither content nor narrative.
#[derive(Clone)]
pub struct Resource {
    base: ServerBase,
    kind: String,
    id: Option<String>,
    version: Option<ETag>,
    last_updated: Option<Timestamp>,
    json: Box<RawValue>,
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("resource_type", &self.kind)
            .field("id", &self.id)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "resourceType")]
    resource_type: Option<String>,
    id: Option<String>,
    meta: Option<HeadMeta>,
}

#[derive(Deserialize)]
struct HeadMeta {
    #[serde(rename = "versionId")]
    version_id: Option<String>,
    #[serde(rename = "lastUpdated")]
    last_updated: Option<String>,
}

impl Resource {
    /// Takes a resource of the server at `base`; only its head is read.
    ///
    /// # Errors
    /// [`ParseFault`] when it has no `resourceType`, or an id or meta that are not text.
    pub fn from_raw(base: &ServerBase, json: Box<RawValue>) -> Result<Self, ParseFault> {
        let fault = |kind| ParseFault { expected: "Resource", path: String::new(), kind };
        // serde would also take an array for the fields in their order.
        if !json.get().starts_with('{') {
            return Err(fault(ParseFaultKind::WrongType));
        }
        let head: Head = serde_json::from_str(json.get()).map_err(|error| fault(kind_of(&error)))?;
        let resource_type = head.resource_type.ok_or_else(|| fault(ParseFaultKind::ResourceType))?;
        super::reference::check_type(&resource_type).map_err(|_| fault(ParseFaultKind::ResourceType))?;
        let (version, last_updated) = head.meta.map_or((None, None), |meta| {
            let last_updated = meta.last_updated.and_then(|text| text.parse().ok());
            (meta.version_id.as_deref().map(ETag::from_version_id), last_updated)
        });
        Ok(Self { base: base.clone(), kind: resource_type, id: head.id, version, last_updated, json })
    }

    /// Takes a resource from its JSON text.
    ///
    /// # Errors
    /// [`ParseFault`] as [`Resource::from_raw`], and when it is not JSON.
    pub fn from_json(base: &ServerBase, json: &str) -> Result<Self, ParseFault> {
        let raw: Box<RawValue> = serde_json::from_str(json).map_err(|error| ParseFault {
            expected: "Resource",
            path: String::new(),
            kind: kind_of(&error),
        })?;
        Self::from_raw(base, raw)
    }

    /// The same with the version that the `ETag` header gave, which goes before `meta.versionId`.
    #[must_use]
    pub(super) fn with_version(mut self, version: Option<ETag>) -> Self {
        if version.is_some() {
            self.version = version;
        }
        self
    }

    /// The server that it is from.
    #[must_use]
    pub fn base(&self) -> &ServerBase {
        &self.base
    }

    /// The resource type, such as `Appointment`.
    #[must_use]
    pub fn resource_type(&self) -> &str {
        &self.kind
    }

    /// The logical id; `None` for what has none, such as an `OperationOutcome`.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Type and id, when it has an id that can be asked for.
    #[must_use]
    pub fn reference(&self) -> Option<ResourceRef> {
        ResourceRef::new(&self.kind, self.id.as_deref()?).ok()
    }

    /// Its version, for `If-Match`; `None` where the server does not keep versions.
    #[must_use]
    pub fn version(&self) -> Option<&ETag> {
        self.version.as_ref()
    }

    /// `meta.lastUpdated`.
    #[must_use]
    pub fn last_updated(&self) -> Option<Timestamp> {
        self.last_updated
    }

    /// The JSON text as the server sent it. PHI.
    #[must_use]
    pub fn json(&self) -> &str {
        self.json.get()
    }

    /// The JSON as a tree, to edit and send back whole. PHI.
    ///
    /// # Errors
    /// [`ParseFault`] when it is nested deeper than a tree is built (128 levels): it was kept without looking inside.
    pub fn to_value(&self) -> Result<serde_json::Value, ParseFault> {
        serde_json::from_str(self.json.get()).map_err(|error| ParseFault {
            expected: "Resource",
            path: String::new(),
            kind: kind_of(&error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Resource, ParseFault> {
        Resource::from_json(&ServerBase::new("https://ehr.example/fhir".parse().unwrap()).unwrap(), json)
    }

    #[test]
    fn the_head_is_read_and_the_rest_is_kept_as_it_came() {
        let json = r#"{"resourceType":"Basic","id":"b1","meta":{"versionId":"7","lastUpdated":"2026-11-22T10:00:00+02:00"},"x_unknown": 1.50}"#;
        let resource = read(json).unwrap();
        assert_eq!(resource.json(), json);
        assert_eq!(resource.reference().unwrap().to_string(), "Basic/b1");
        assert_eq!(resource.version().unwrap().as_str(), "W/\"7\"");
        assert_eq!(resource.last_updated().unwrap().to_string(), "2026-11-22T08:00:00Z");
        assert!(!format!("{resource:?}").contains("1.50"));
    }

    #[test]
    fn what_names_no_type_is_refused() {
        assert_eq!(read("{}").unwrap_err().kind, ParseFaultKind::ResourceType);
        assert_eq!(read(r#"{"resourceType":"../x"}"#).unwrap_err().kind, ParseFaultKind::ResourceType);
        assert_eq!(read("[]").unwrap_err().kind, ParseFaultKind::WrongType);
        assert_eq!(read("nope").unwrap_err().kind, ParseFaultKind::Syntax);
    }
}
