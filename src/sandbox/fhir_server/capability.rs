//! The `CapabilityStatement`: what this server does, from the same table that does it.

use super::resource_types::{COMMON, ParameterKind, RESOURCE_TYPES, ResourceType, SearchParameter};
use serde_json::{Value, json};

/// The statement of the server at `base`, whose authorization endpoints are `authorize` and `token`.
#[must_use]
pub(super) fn capability_statement(base: &str, authorize: &str, token: &str, today: &str) -> Value {
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": today,
        "kind": "instance",
        "software": {"name": "Sandbox EHR", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "A family practice that does not exist", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["json", "application/fhir+json"],
        "patchFormat": ["application/json-patch+json"],
        "rest": [{
            "mode": "server",
            "security": {
                "cors": false,
                "service": [{"coding": [{
                    "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                    "code": "SMART-on-FHIR",
                }]}],
                "extension": [{
                    "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                    "extension": [
                        {"url": "authorize", "valueUri": authorize},
                        {"url": "token", "valueUri": token},
                    ],
                }],
            },
            "resource": RESOURCE_TYPES.iter().map(resource).collect::<Vec<_>>(),
        }],
    })
}

fn resource(kind: &ResourceType) -> Value {
    let interactions = ["read", "vread", "create", "update", "patch", "delete", "search-type"];
    let parameters: Vec<Value> = COMMON.iter().chain(kind.parameters).filter_map(parameter).collect();
    let references = kind.parameters.iter().filter(|one| matches!(one.kind, ParameterKind::Reference(_)));
    let includes: Vec<String> = references.map(|one| format!("{}:{}", kind.name, one.name)).collect();
    let mut resource = json!({
        "type": kind.name,
        "interaction": interactions.map(|code| json!({"code": code})),
        "versioning": "versioned-update",
        "readHistory": true,
        "updateCreate": true,
        "conditionalCreate": true,
        "conditionalUpdate": false,
        "conditionalDelete": "not-supported",
        "searchParam": parameters,
    });
    if let (Some(members), false) = (resource.as_object_mut(), includes.is_empty()) {
        members.insert("searchInclude".into(), json!(includes));
    }
    resource
}

/// A chained parameter is no parameter of its own: it is left to the one that it goes through.
fn parameter(parameter: &SearchParameter) -> Option<Value> {
    let kind = match parameter.kind {
        ParameterKind::Token | ParameterKind::Contact(_) => "token",
        ParameterKind::Reference(_) => "reference",
        ParameterKind::Date => "date",
        ParameterKind::Text => "string",
        ParameterKind::Chain(..) => return None,
    };
    Some(json!({"name": parameter.name, "type": kind}))
}
