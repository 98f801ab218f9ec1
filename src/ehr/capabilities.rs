//! What the EHR says it can do: its `CapabilityStatement` (<https://hl7.org/fhir/R4/capabilitystatement.html>), read once
//! and again after a day. What it does not advertise is not relied on.

use super::{Ehr, EhrError};
use crate::fhir::{ParseFault, ParseFaultKind, Resource};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use tokio::sync::Mutex;

/// How long a statement is taken for true.
const HOLDS_FOR: SignedDuration = SignedDuration::from_hours(24);

/// What the EHR advertises.
#[derive(Debug, Default)]
pub struct Capabilities {
    types: HashMap<String, TypeCapabilities>,
    json_patch: bool,
}

#[derive(Debug, Default)]
struct TypeCapabilities {
    interactions: HashSet<String>,
    parameters: HashSet<String>,
    conditional_create: bool,
}

impl Capabilities {
    /// Reads a `CapabilityStatement`; of its `rest` parts only the server's count.
    ///
    /// # Errors
    /// [`ParseFault`] where it departs from R4.
    pub fn read(resource: &Resource) -> Result<Self, ParseFault> {
        let statement: Statement = serde_json::from_str(resource.json()).map_err(|_| ParseFault {
            expected: "CapabilityStatement",
            path: String::new(),
            kind: ParseFaultKind::WrongType,
        })?;
        // Where the formats of patches are not listed, JSON Patch is the one that R4 shows for JSON.
        let json_patch = statement.patch_format.is_empty()
            || statement.patch_format.iter().any(|format| format.contains("json-patch"));
        let rest = statement.rest.into_iter().filter(|rest| rest.mode.as_deref() != Some("client"));
        let types = rest.flat_map(|rest| rest.resource).map(|entry| (entry.kind.clone(), entry.into())).collect();
        Ok(Self { types, json_patch })
    }

    /// Whether resources of this type can be created.
    #[must_use]
    pub fn creates(&self, resource_type: &str) -> bool {
        self.interacts(resource_type, "create")
    }

    /// Whether `If-None-Exist` is honoured for this type.
    #[must_use]
    pub fn creates_conditionally(&self, resource_type: &str) -> bool {
        self.types.get(resource_type).is_some_and(|known| known.conditional_create)
    }

    /// Whether JSON Patch is taken for this type.
    #[must_use]
    pub fn patches(&self, resource_type: &str) -> bool {
        self.json_patch && self.interacts(resource_type, "patch")
    }

    /// Whether resources of this type can be replaced by PUT.
    #[must_use]
    pub fn updates(&self, resource_type: &str) -> bool {
        self.interacts(resource_type, "update")
    }

    /// Whether this type can be searched by this parameter.
    #[must_use]
    pub fn searches_by(&self, resource_type: &str, parameter: &str) -> bool {
        self.interacts(resource_type, "search-type")
            && self.types.get(resource_type).is_some_and(|known| known.parameters.contains(parameter))
    }

    fn interacts(&self, resource_type: &str, interaction: &str) -> bool {
        self.types.get(resource_type).is_some_and(|known| known.interactions.contains(interaction))
    }
}

#[derive(Deserialize)]
struct Statement {
    #[serde(default, rename = "patchFormat")]
    patch_format: Vec<String>,
    #[serde(default)]
    rest: Vec<Rest>,
}

#[derive(Deserialize)]
struct Rest {
    mode: Option<String>,
    #[serde(default)]
    resource: Vec<RestResource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestResource {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    interaction: Vec<Interaction>,
    #[serde(default)]
    search_param: Vec<SearchParameter>,
    #[serde(default)]
    conditional_create: bool,
}

#[derive(Deserialize)]
struct Interaction {
    code: String,
}

#[derive(Deserialize)]
struct SearchParameter {
    name: String,
}

impl From<RestResource> for TypeCapabilities {
    fn from(entry: RestResource) -> Self {
        Self {
            interactions: entry.interaction.into_iter().map(|interaction| interaction.code).collect(),
            parameters: entry.search_param.into_iter().map(|parameter| parameter.name).collect(),
            conditional_create: entry.conditional_create,
        }
    }
}

/// The statement as it was read last, and when.
#[derive(Debug, Default)]
pub struct CapabilityCache(Mutex<Option<(Timestamp, Arc<Capabilities>)>>);

impl Ehr {
    /// What the EHR can do, as of today. A statement that cannot be read again stays in force.
    ///
    /// # Errors
    /// [`EhrError`] when the EHR has never told.
    pub async fn capabilities(&self, now: Timestamp) -> Result<Arc<Capabilities>, EhrError> {
        let mut cached = self.capabilities.0.lock().await;
        if let Some((read_at, known)) = &*cached
            && now.duration_since(*read_at) < HOLDS_FOR
        {
            return Ok(Arc::clone(known));
        }
        let told = match self.client.metadata().await {
            Ok(resource) => Capabilities::read(&resource).map_err(EhrError::from),
            Err(error) => Err(error.into()),
        };
        match (told, &*cached) {
            (Ok(told), _) => {
                let told = Arc::new(told);
                *cached = Some((now, Arc::clone(&told)));
                Ok(told)
            }
            (Err(error), Some((_, known))) => {
                tracing::warn!(%error, "the EHR's capabilities could not be read again");
                Ok(Arc::clone(known))
            }
            (Err(error), None) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::ServerBase;

    fn read(json: &str) -> Result<Capabilities, ParseFault> {
        let base = ServerBase::new("https://ehr.example/fhir".parse().unwrap()).unwrap();
        Capabilities::read(&Resource::from_json(&base, json).unwrap())
    }

    #[test]
    fn only_what_is_advertised_counts() {
        let can = read(
            r#"{"resourceType":"CapabilityStatement","patchFormat":["application/json-patch+json"],"rest":[
            {"mode":"client","resource":[{"type":"Task","interaction":[{"code":"create"}]}]},
            {"mode":"server","resource":[
                {"type":"Slot","interaction":[{"code":"read"},{"code":"search-type"},{"code":"patch"}],
                 "searchParam":[{"name":"start","type":"date"}]},
                {"type":"Communication","interaction":[{"code":"create"},{"code":"update"}],"conditionalCreate":true}]}]}"#,
        )
        .unwrap();
        assert!(can.patches("Slot") && !can.updates("Slot") && !can.creates("Slot"));
        assert!(can.searches_by("Slot", "start") && !can.searches_by("Slot", "schedule"));
        assert!(can.creates("Communication") && can.creates_conditionally("Communication"));
        assert!(!can.creates_conditionally("Slot") && !can.creates("Task"));
    }

    #[test]
    fn patches_in_another_format_are_none_of_ours() {
        let json = r#"{"resourceType":"CapabilityStatement","patchFormat":["application/fhir+json"],"rest":[
            {"mode":"server","resource":[{"type":"Slot","interaction":[{"code":"patch"}]}]}]}"#;
        assert!(!read(json).unwrap().patches("Slot"));
        assert!(read(r#"{"resourceType":"CapabilityStatement","rest":"x"}"#).is_err());
    }
}
