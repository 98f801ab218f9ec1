//! What the authorization server remembers: launches, requests that wait for a person, codes, refresh tokens, and
//! the assertions that were used.

use super::scopes::ScopeSet;
use crate::kernel::{Clock, Instruments};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// How long a launch value may be used, in seconds. Long enough for a person to reload the page.
const LAUNCH_SECONDS: i64 = 3_600;
/// How long a code may be exchanged, in seconds (SMART: about a minute).
const CODE_SECONDS: i64 = 60;
/// How long a person may take over the picker, in seconds.
const DECISION_SECONDS: i64 = 900;
/// How long a refresh token holds, in seconds.
const REFRESH_SECONDS: i64 = 90 * 24 * 3_600;

/// What the EHR knows when it launches an application: who, about whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchContext {
    /// The id of the Practitioner, or a reference (`Practitioner/…`, `PractitionerRole/…`).
    pub practitioner: String,
    /// The id of the Patient.
    pub patient: String,
    /// The id of the Encounter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encounter: Option<String>,
    /// The id of the Appointment that the launch started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appointment: Option<String>,
}

impl LaunchContext {
    /// The signed-in person as `Type/id`.
    #[must_use]
    pub fn person(&self) -> String {
        let is_reference = self.practitioner.contains('/');
        if is_reference { self.practitioner.clone() } else { format!("Practitioner/{}", self.practitioner) }
    }
}

/// An authorization request that was checked.
#[derive(Debug, Clone)]
pub(super) struct CheckedRequest {
    /// The client.
    pub client_id: String,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// The client's state, given back as it came.
    pub state: String,
    /// PKCE (RFC 7636), method S256.
    pub code_challenge: String,
    /// What may be granted.
    pub scopes: ScopeSet,
    /// The id token's nonce.
    pub nonce: Option<String>,
}

/// What a person (or a launch) has authorized.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    /// The request.
    pub request: CheckedRequest,
    /// Who and about whom.
    pub context: LaunchContext,
    /// All refresh tokens that descend from one code share it; one used twice ends them all.
    pub family: String,
}

#[derive(Default)]
struct Held {
    launches: BTreeMap<String, (i64, LaunchContext)>,
    undecided: BTreeMap<String, (i64, CheckedRequest)>,
    codes: BTreeMap<String, (i64, Grant)>,
    refresh: BTreeMap<String, (i64, Grant)>,
    used_refresh: BTreeMap<String, (i64, String)>,
    ended_families: BTreeSet<String>,
    used_assertions: BTreeMap<(String, String), i64>,
}

/// The authorization server's memory. Values that have expired are as if they had never been.
pub(super) struct Grants {
    held: Mutex<Held>,
    clock: Arc<dyn Clock>,
    instruments: Instruments,
}

impl Grants {
    /// An empty memory. `clock` is real time, as for all of the protocol.
    #[must_use]
    pub(super) fn new(clock: Arc<dyn Clock>, instruments: Instruments) -> Self {
        Self { held: Mutex::default(), clock, instruments }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Held, i64) -> T) -> T {
        let now = self.clock.now().as_second();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.launches.retain(|_, (until, _)| *until > now);
        held.undecided.retain(|_, (until, _)| *until > now);
        held.codes.retain(|_, (until, _)| *until > now);
        held.refresh.retain(|_, (until, _)| *until > now);
        held.used_refresh.retain(|_, (until, _)| *until > now);
        held.used_assertions.retain(|_, until| *until > now);
        change(&mut held, now)
    }

    /// A launch value for this context. It may be used again until it expires, as a reloaded page does.
    #[must_use]
    pub(super) fn new_launch(&self, context: LaunchContext) -> String {
        let launch = self.instruments.token(24);
        self.with(|held, now| held.launches.insert(launch.clone(), (now + LAUNCH_SECONDS, context)));
        launch
    }

    /// The context of a launch value.
    #[must_use]
    pub(super) fn launch(&self, launch: &str) -> Option<LaunchContext> {
        self.with(|held, _| held.launches.get(launch).map(|(_, context)| context.clone()))
    }

    /// Keeps a request until a person has chosen; the key goes into the form.
    #[must_use]
    pub(super) fn await_decision(&self, request: CheckedRequest) -> String {
        let key = self.instruments.token(24);
        self.with(|held, now| held.undecided.insert(key.clone(), (now + DECISION_SECONDS, request)));
        key
    }

    /// Takes the request that a person has decided on.
    #[must_use]
    pub(super) fn take_decided(&self, key: &str) -> Option<CheckedRequest> {
        self.with(|held, _| held.undecided.remove(key).map(|(_, request)| request))
    }

    /// An authorization code for what was authorized.
    #[must_use]
    pub(super) fn new_code(&self, request: CheckedRequest, context: LaunchContext) -> String {
        let (code, family) = (self.instruments.token(32), self.instruments.token(16));
        let grant = Grant { request, context, family };
        self.with(|held, now| held.codes.insert(code.clone(), (now + CODE_SECONDS, grant)));
        code
    }

    /// Takes the grant of a code: a second exchange finds nothing.
    #[must_use]
    pub(super) fn take_code(&self, code: &str) -> Option<Grant> {
        self.with(|held, _| held.codes.remove(code).map(|(_, grant)| grant))
    }

    /// A refresh token for the grant.
    #[must_use]
    pub(super) fn new_refresh(&self, grant: Grant) -> String {
        let token = self.instruments.token(32);
        self.with(|held, now| held.refresh.insert(token.clone(), (now + REFRESH_SECONDS, grant)));
        token
    }

    /// Takes the grant of a refresh token. One that was used before ends its whole family: one of its two users has
    /// stolen it.
    #[must_use]
    pub(super) fn take_refresh(&self, token: &str) -> Option<Grant> {
        self.with(|held, _| {
            if let Some((_, family)) = held.used_refresh.get(token) {
                held.ended_families.insert(family.clone());
                return None;
            }
            let (until, grant) = held.refresh.remove(token)?;
            held.used_refresh.insert(token.to_owned(), (until, grant.family.clone()));
            (!held.ended_families.contains(&grant.family)).then_some(grant)
        })
    }

    /// Gives back a refresh token whose request was refused for another reason.
    pub(super) fn restore_refresh(&self, token: &str, grant: Grant) {
        self.with(|held, now| {
            held.used_refresh.remove(token);
            held.refresh.insert(token.to_owned(), (now + REFRESH_SECONDS, grant));
        });
    }

    /// Ends a refresh token.
    pub(super) fn revoke_refresh(&self, token: &str) {
        self.with(|held, _| held.refresh.remove(token));
    }

    /// Records a client assertion's `jti` until the assertion expires; false where it was used before.
    #[must_use]
    pub(super) fn first_use(&self, client_id: &str, jti: &str, expires: i64) -> bool {
        self.with(|held, _| held.used_assertions.insert((client_id.to_owned(), jti.to_owned()), expires).is_none())
    }
}
