//! What this server knows of each resource type: search parameters, what is required, its codes.
//!
//! One table, read by the search, by the validation and by the `CapabilityStatement`, so that what is advertised is
//! what is done. Definitions: <https://hl7.org/fhir/R4/searchparameter-registry.html> and each type's page.

/// How a search parameter compares (<https://hl7.org/fhir/R4/search.html#ptypes>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// Codes, identifiers, booleans: `code`, `system|code`, `|code`, `system|`.
    Token,
    /// A contact point of this system, such as a phone number.
    Contact(&'static str),
    /// A reference; only to these types where any are named.
    Reference(&'static [&'static str]),
    /// An instant, date or period, with prefixes.
    Date,
    /// Text that starts with the value, whatever its case and accents.
    Text,
    /// A parameter of the type that the element refers to.
    Chain(&'static str, &'static str),
}

/// A search parameter of one type.
#[derive(Debug, Clone, Copy)]
pub struct SearchParameter {
    /// Its name in the query.
    pub name: &'static str,
    /// How it compares.
    pub kind: ParameterKind,
    /// Where the compared elements stand.
    pub paths: &'static [&'static str],
}

/// A resource type that the server stores.
#[derive(Debug, Clone, Copy)]
pub struct ResourceType {
    /// Its name.
    pub name: &'static str,
    /// Its search parameters, beside `_id` and `_lastUpdated`.
    pub parameters: &'static [SearchParameter],
    /// Elements that a client must send (cardinality 1..).
    pub required: &'static [&'static str],
    /// The codes that `status` may take; empty where the type has no coded status.
    pub statuses: &'static [&'static str],
    /// Where the patient is named, for `patient/` scopes; empty for types that speak of no patient.
    pub compartment: &'static [&'static str],
}

use ParameterKind::{Chain, Contact, Date, Reference, Text, Token};

const fn parameter(name: &'static str, kind: ParameterKind, paths: &'static [&'static str]) -> SearchParameter {
    SearchParameter { name, kind, paths }
}

const fn identifier() -> SearchParameter {
    parameter("identifier", Token, &["identifier"])
}

const fn status() -> SearchParameter {
    parameter("status", Token, &["status"])
}

/// Parameters that every type has.
pub static COMMON: [SearchParameter; 2] =
    [parameter("_id", Token, &["id"]), parameter("_lastUpdated", Date, &["meta.lastUpdated"])];

const PATIENT: ParameterKind = Reference(&["Patient"]);
const ANY: ParameterKind = Reference(&[]);

/// Every type that this server stores.
pub const RESOURCE_TYPES: &[ResourceType] = &[
    ResourceType {
        name: "Appointment",
        parameters: &[
            parameter("patient", PATIENT, &["participant.actor"]),
            parameter("practitioner", Reference(&["Practitioner"]), &["participant.actor"]),
            parameter("location", Reference(&["Location"]), &["participant.actor"]),
            parameter("actor", ANY, &["participant.actor"]),
            parameter("part-status", Token, &["participant.status"]),
            parameter("date", Date, &["start"]),
            parameter("service-type", Token, &["serviceType"]),
            parameter("slot", ANY, &["slot"]),
            status(),
            identifier(),
        ],
        required: &["status", "participant"],
        statuses: &[
            "proposed",
            "pending",
            "booked",
            "arrived",
            "fulfilled",
            "cancelled",
            "noshow",
            "entered-in-error",
            "checked-in",
            "waitlist",
        ],
        compartment: &["participant.actor"],
    },
    ResourceType {
        name: "AuditEvent",
        parameters: &[
            parameter("date", Date, &["recorded"]),
            parameter("patient", PATIENT, &["agent.who", "entity.what"]),
            parameter("entity", ANY, &["entity.what"]),
            parameter("agent", ANY, &["agent.who"]),
            parameter("type", Token, &["type"]),
        ],
        required: &["type", "recorded", "agent", "source"],
        statuses: &[],
        compartment: &["agent.who", "entity.what"],
    },
    ResourceType {
        name: "Basic",
        parameters: &[
            parameter("code", Token, &["code"]),
            parameter("patient", PATIENT, &["subject"]),
            parameter("subject", ANY, &["subject"]),
            identifier(),
        ],
        required: &["code"],
        statuses: &[],
        compartment: &["subject"],
    },
    ResourceType {
        name: "Communication",
        parameters: &[
            parameter("patient", PATIENT, &["subject"]),
            parameter("subject", ANY, &["subject"]),
            parameter("sender", ANY, &["sender"]),
            parameter("recipient", ANY, &["recipient"]),
            parameter("encounter", ANY, &["encounter"]),
            parameter("part-of", ANY, &["partOf"]),
            parameter("based-on", ANY, &["basedOn"]),
            parameter("category", Token, &["category"]),
            parameter("medium", Token, &["medium"]),
            parameter("sent", Date, &["sent"]),
            parameter("received", Date, &["received"]),
            status(),
            identifier(),
        ],
        required: &["status"],
        statuses: &[
            "preparation",
            "in-progress",
            "not-done",
            "on-hold",
            "stopped",
            "completed",
            "entered-in-error",
            "unknown",
        ],
        compartment: &["subject", "sender", "recipient"],
    },
    ResourceType {
        name: "Condition",
        parameters: &[
            parameter("patient", PATIENT, &["subject"]),
            parameter("subject", ANY, &["subject"]),
            parameter("clinical-status", Token, &["clinicalStatus"]),
            parameter("category", Token, &["category"]),
            parameter("code", Token, &["code"]),
        ],
        required: &["subject"],
        statuses: &[],
        compartment: &["subject"],
    },
    ResourceType {
        name: "Consent",
        parameters: &[
            parameter("patient", PATIENT, &["patient"]),
            parameter("category", Token, &["category"]),
            parameter("scope", Token, &["scope"]),
            parameter("date", Date, &["dateTime"]),
            status(),
            identifier(),
        ],
        required: &["status", "scope", "category"],
        statuses: &["draft", "proposed", "active", "rejected", "inactive", "entered-in-error"],
        compartment: &["patient"],
    },
    ResourceType {
        name: "Device",
        parameters: &[identifier()],
        required: &[],
        statuses: &["active", "inactive", "entered-in-error", "unknown"],
        compartment: &[],
    },
    ResourceType {
        name: "DocumentReference",
        parameters: &[
            parameter("patient", PATIENT, &["subject"]),
            parameter("subject", ANY, &["subject"]),
            parameter("type", Token, &["type"]),
            parameter("category", Token, &["category"]),
            parameter("date", Date, &["date"]),
            status(),
            identifier(),
        ],
        required: &["status", "content"],
        statuses: &["current", "superseded", "entered-in-error"],
        compartment: &["subject"],
    },
    ResourceType {
        name: "Location",
        parameters: &[
            parameter("name", Text, &["name"]),
            parameter("organization", ANY, &["managingOrganization"]),
            status(),
            identifier(),
        ],
        required: &[],
        statuses: &["active", "suspended", "inactive"],
        compartment: &[],
    },
    ResourceType {
        name: "MedicationRequest",
        parameters: &[
            parameter("patient", PATIENT, &["subject"]),
            parameter("subject", ANY, &["subject"]),
            parameter("intent", Token, &["intent"]),
            parameter("requester", ANY, &["requester"]),
            parameter("authoredon", Date, &["authoredOn"]),
            status(),
            identifier(),
        ],
        required: &["status", "intent", "subject"],
        statuses: &["active", "on-hold", "cancelled", "completed", "entered-in-error", "stopped", "draft", "unknown"],
        compartment: &["subject"],
    },
    ResourceType {
        name: "Organization",
        parameters: &[parameter("name", Text, &["name"]), identifier()],
        required: &[],
        statuses: &[],
        compartment: &[],
    },
    ResourceType {
        name: "Patient",
        parameters: &[
            parameter("name", Text, &["name"]),
            parameter("family", Text, &["name.family"]),
            parameter("given", Text, &["name.given"]),
            parameter("phone", Contact("phone"), &["telecom"]),
            parameter("telecom", Token, &["telecom"]),
            parameter("birthdate", Date, &["birthDate"]),
            parameter("link", ANY, &["link.other"]),
            parameter("active", Token, &["active"]),
            identifier(),
        ],
        required: &[],
        statuses: &[],
        compartment: &["."],
    },
    ResourceType {
        name: "Practitioner",
        parameters: &[
            parameter("name", Text, &["name"]),
            parameter("family", Text, &["name.family"]),
            parameter("given", Text, &["name.given"]),
            parameter("active", Token, &["active"]),
            identifier(),
        ],
        required: &[],
        statuses: &[],
        compartment: &[],
    },
    ResourceType {
        name: "PractitionerRole",
        parameters: &[
            parameter("practitioner", ANY, &["practitioner"]),
            parameter("organization", ANY, &["organization"]),
            parameter("location", ANY, &["location"]),
            parameter("role", Token, &["code"]),
            parameter("specialty", Token, &["specialty"]),
            parameter("active", Token, &["active"]),
            identifier(),
        ],
        required: &[],
        statuses: &[],
        compartment: &[],
    },
    ResourceType {
        name: "Provenance",
        parameters: &[
            parameter("target", ANY, &["target"]),
            parameter("patient", PATIENT, &["target"]),
            parameter("agent", ANY, &["agent.who"]),
            parameter("recorded", Date, &["recorded"]),
        ],
        required: &["target", "recorded", "agent"],
        statuses: &[],
        compartment: &["target"],
    },
    ResourceType {
        name: "RelatedPerson",
        parameters: &[
            parameter("patient", PATIENT, &["patient"]),
            parameter("name", Text, &["name"]),
            parameter("phone", Contact("phone"), &["telecom"]),
            identifier(),
        ],
        required: &["patient"],
        statuses: &[],
        compartment: &["patient"],
    },
    ResourceType {
        name: "Schedule",
        parameters: &[
            parameter("actor", ANY, &["actor"]),
            parameter("service-type", Token, &["serviceType"]),
            parameter("date", Date, &["planningHorizon"]),
            parameter("active", Token, &["active"]),
            identifier(),
        ],
        required: &["actor"],
        statuses: &[],
        compartment: &[],
    },
    ResourceType {
        name: "Slot",
        parameters: &[
            parameter("schedule", ANY, &["schedule"]),
            parameter("schedule.actor", Chain("Schedule", "actor"), &["schedule"]),
            parameter("start", Date, &["start"]),
            parameter("service-type", Token, &["serviceType"]),
            status(),
            identifier(),
        ],
        required: &["schedule", "status", "start", "end"],
        statuses: &["busy", "free", "busy-unavailable", "busy-tentative", "entered-in-error"],
        compartment: &[],
    },
    ResourceType {
        name: "Task",
        parameters: &[
            parameter("patient", PATIENT, &["for"]),
            parameter("subject", ANY, &["for"]),
            parameter("owner", ANY, &["owner"]),
            parameter("requester", ANY, &["requester"]),
            parameter("focus", ANY, &["focus"]),
            parameter("based-on", ANY, &["basedOn"]),
            parameter("part-of", ANY, &["partOf"]),
            parameter("code", Token, &["code"]),
            parameter("intent", Token, &["intent"]),
            parameter("priority", Token, &["priority"]),
            parameter("authored-on", Date, &["authoredOn"]),
            parameter("modified", Date, &["lastModified"]),
            status(),
            identifier(),
        ],
        required: &["status", "intent"],
        statuses: &[
            "draft",
            "requested",
            "received",
            "accepted",
            "rejected",
            "ready",
            "cancelled",
            "in-progress",
            "on-hold",
            "failed",
            "completed",
            "entered-in-error",
        ],
        compartment: &["for"],
    },
];

/// What is known of `name`; `None` for a type that the server does not store.
#[must_use]
pub fn resource_type(name: &str) -> Option<&'static ResourceType> {
    RESOURCE_TYPES.iter().find(|kind| kind.name == name)
}

impl ResourceType {
    /// The search parameter `name`, be it common or the type's own.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'static SearchParameter> {
        let own: &'static [SearchParameter] = self.parameters;
        COMMON.iter().chain(own).find(|parameter| parameter.name == name)
    }
}
