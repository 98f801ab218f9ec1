//! Every fault that the rig brings on, and how it is ordered from the party that misbehaves.

use crate::stage::Database;
use serde_json::{Value, json};

/// So often a fault may strike that is not counted otherwise: what is left of it tells how often it did.
pub(crate) const UNCOUNTED: u64 = 1_000_000;

/// What is done.
pub(crate) enum Deed {
    /// The EHR misbehaves by these rules.
    Ehr(Vec<Value>),
    /// The carrier has these faults.
    Carrier(Vec<Value>),
    /// Every access token is revoked, again and again, and the EHR misbehaves by these rules.
    Tokens(Vec<Value>),
    /// The service's front takes no webhooks.
    Front,
    /// The database does this.
    Database(Trouble),
    /// Texts come in from everywhere at once while the database does this, and connections hold large bodies open.
    Flood(Trouble),
}

/// What becomes of the database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// PostgreSQL: connections break and none is made.
    Cut,
    /// PostgreSQL: connections stand, and nothing is answered.
    Silent,
    /// PostgreSQL: as silent, and the connections that stood never answer again.
    Vanished,
    /// SQLite: no file can be written to any more.
    Full,
    /// SQLite: another process holds the lock for writing.
    Locked,
}

/// A fault by its name.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) deed: Deed,
}

/// All of them for this database. What keeps inbound texts away comes first: the carrier's list is read every few minutes.
pub(crate) fn faults(database: Database) -> Vec<Fault> {
    let mut faults = of_database(database);
    faults.push(Fault { name: "webhooks-refused", deed: Deed::Front });
    faults.extend(of_carrier());
    faults.extend(of_ehr());
    faults
}

fn of_database(database: Database) -> Vec<Fault> {
    let trouble = |name, trouble| Fault { name, deed: Deed::Database(trouble) };
    match database {
        Database::Postgres => vec![
            Fault { name: "flood", deed: Deed::Flood(Trouble::Cut) },
            trouble("database-cut", Trouble::Cut),
            trouble("database-silent", Trouble::Silent),
            trouble("database-vanished", Trouble::Vanished),
        ],
        Database::Sqlite => vec![
            Fault { name: "flood", deed: Deed::Flood(Trouble::Locked) },
            trouble("disk-full", Trouble::Full),
            trouble("database-locked", Trouble::Locked),
        ],
    }
}

/// A fault of the carrier's on requests of this class (`sends`, `reads`, `any`), `times` often at most.
fn carrier(kind: &str, requests: &str, chance: u8, times: u64) -> Value {
    json!({ "kind": kind, "requests": requests, "chance": chance, "times": times })
}

fn late(kind: &str, millis: u64, requests: &str, times: u64) -> Value {
    json!({ "kind": kind, "millis": millis, "requests": requests, "times": times })
}

fn of_carrier() -> Vec<Fault> {
    let one = |name, fault| Fault { name, deed: Deed::Carrier(vec![fault]) };
    // Where nobody can know whether a text left, a number waits for a person: few at a time, or nobody is left to text.
    vec![
        one("carrier-gone", json!({ "kind": "all_down" })),
        one("carrier-slow", late("delay", 2_000, "any", UNCOUNTED)),
        one("carrier-late", late("delay", 17_000, "sends", 4)),
        one("carrier-answer-lost", carrier("answer_lost", "sends", 60, UNCOUNTED)),
        Fault {
            name: "carrier-answer-and-reports-lost",
            deed: Deed::Carrier(vec![
                carrier("answer_lost", "sends", 100, 5),
                carrier("drop_callbacks", "sends", 100, UNCOUNTED),
            ]),
        },
        one(
            "carrier-429",
            json!({ "kind": "too_many_requests", "retry_after_secs": 2, "requests": "any", "times": UNCOUNTED }),
        ),
        one("carrier-500-before", carrier("error_before", "sends", 50, 4)),
        one("carrier-500-after", carrier("error_after_accept", "sends", 60, UNCOUNTED)),
        one("carrier-garbage", carrier("garbage_answer", "any", 60, UNCOUNTED)),
        one("carrier-page", carrier("page_answer", "any", 50, 4)),
        one("carrier-truncated", carrier("truncated_answer", "any", 60, UNCOUNTED)),
        one("reports-twice", carrier("duplicate_callbacks", "sends", 100, UNCOUNTED)),
        one("reports-reordered", carrier("reorder_callbacks", "sends", 100, UNCOUNTED)),
        one("reports-dropped", carrier("drop_callbacks", "sends", 100, UNCOUNTED)),
        one("webhooks-twice", carrier("duplicate_webhooks", "sends", 100, UNCOUNTED)),
    ]
}

/// The same fault of the EHR's on each of these methods; on every request where none is named.
fn ehr(fault: &Value, methods: &[&str], percent: u8, times: u64) -> Deed {
    let rule = |method: Option<&str>| {
        let mut rule = json!({ "fault": fault, "path_prefix": "/fhir", "percent": percent, "times": times });
        if let Some(method) = method {
            rule["method"] = json!(method);
        }
        rule
    };
    if methods.is_empty() {
        return Deed::Ehr(vec![rule(None)]);
    }
    Deed::Ehr(methods.iter().map(|method| rule(Some(method))).collect())
}

/// Each of these faults on a part of what the token endpoint is asked.
fn at_token_endpoint(kinds: &[&str]) -> Vec<Value> {
    let rule = |kind: &&str| json!({ "fault": { "kind": kind }, "path_prefix": "/auth/token", "percent": 30, "times": UNCOUNTED });
    kinds.iter().map(rule).collect()
}

fn of_ehr() -> Vec<Fault> {
    const WRITES: [&str; 3] = ["POST", "PUT", "PATCH"];
    let kind = |kind: &str| json!({ "kind": kind });
    let gone = json!({ "fault": { "kind": "refuse" }, "times": UNCOUNTED });
    let fault = |name, deed| Fault { name, deed };
    vec![
        fault("ehr-slow", ehr(&json!({ "kind": "delay", "millis": 1_500 }), &[], 100, UNCOUNTED)),
        fault("ehr-late", ehr(&json!({ "kind": "late", "millis": 35_000 }), &WRITES, 100, 3)),
        fault("ehr-answer-lost", ehr(&kind("lose_answer"), &WRITES, 60, UNCOUNTED)),
        fault("ehr-429", ehr(&json!({ "kind": "too_many_requests", "retry_after_seconds": 2 }), &[], 80, UNCOUNTED)),
        fault("ehr-500-before", ehr(&kind("error_before"), &[], 80, UNCOUNTED)),
        fault("ehr-500-after", ehr(&kind("error_after"), &WRITES, 60, UNCOUNTED)),
        fault("ehr-garbage", ehr(&kind("garbage"), &[], 60, UNCOUNTED)),
        fault("ehr-page", ehr(&kind("page"), &[], 60, UNCOUNTED)),
        fault("ehr-truncated", ehr(&kind("truncated"), &[], 60, UNCOUNTED)),
        fault("ehr-401", ehr(&kind("unauthorized"), &[], 50, UNCOUNTED)),
        fault("ehr-tokens-revoked", Deed::Tokens(Vec::new())),
        fault(
            "ehr-token-endpoint-fails",
            Deed::Tokens(at_token_endpoint(&["garbage", "page", "error_before", "lose_answer"])),
        ),
        fault("ehr-gone", Deed::Ehr(vec![gone])),
    ]
}
