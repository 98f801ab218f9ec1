//! The front desk: what the EHR's staff do on its pages, done over FHIR with the staff's token.
//!
//! Works against our FHIR server and against someone else's alike; the latter does not move slots along with
//! appointments, so the desk sees to that.

use super::super::SandboxError;
use super::super::fhir_server::element::{at_path, text_at};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

/// Why staff could not do what they wanted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    /// No answer.
    #[error("the FHIR server does not answer")]
    NoAnswer(#[from] reqwest::Error),
    /// The server refused.
    #[error("the FHIR server refused ({0}): somebody else may have changed it; look again")]
    Refused(StatusCode),
    /// The slot is not free.
    #[error("the slot is not free any more: choose another time")]
    Taken,
    /// A resource lacks what the desk needs.
    #[error("the resource lacks {0}")]
    Incomplete(&'static str),
}

/// A FHIR client with the staff's token.
#[derive(Clone)]
pub(crate) struct Desk {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Desk {
    /// A desk in front of the FHIR server at `base`.
    ///
    /// # Errors
    /// [`SandboxError::Client`].
    pub(crate) fn new(base: &str, token: &str) -> Result<Self, SandboxError> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build()?;
        Ok(Self { http, base: base.to_owned(), token: token.to_owned() })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/{path}", self.base);
        self.http.request(method, url).bearer_auth(&self.token).header("Accept", "application/fhir+json")
    }

    /// Waits until the server says anything at all, or patience is up.
    pub(crate) async fn await_server(&self, patience: Duration) {
        let answers = async {
            while self.request(Method::GET, "metadata").send().await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        // Where it never answers, the first write says so.
        drop(tokio::time::timeout(patience, answers).await);
    }

    /// Writes a resource under its own id.
    ///
    /// # Errors
    /// [`SandboxError::Seeding`] where the server refuses it.
    pub(crate) async fn put(&self, resource: &Value) -> Result<(), SandboxError> {
        let name = |member: &str| text_at(resource, member).unwrap_or_default();
        let reference = format!("{}/{}", name("resourceType"), name("id"));
        let sent = self
            .request(Method::PUT, &reference)
            .header("Content-Type", "application/fhir+json")
            .body(resource.to_string())
            .send()
            .await;
        let refused = |status, outcome| SandboxError::Seeding { reference: reference.clone(), status, outcome };
        let answer = sent.map_err(|_| refused(0, "no answer".to_owned()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(refused(status.as_u16(), answer.text().await.unwrap_or_default()))
    }

    /// One resource as it stands.
    ///
    /// # Errors
    /// [`DeskError`].
    pub(crate) async fn read(&self, reference: &str) -> Result<Value, DeskError> {
        Ok(succeeded(self.request(Method::GET, reference).send().await?)?.json().await?)
    }

    /// What a search finds, further pages included.
    ///
    /// # Errors
    /// [`DeskError`].
    pub(crate) async fn search(&self, kind: &str, query: &[(&str, &str)]) -> Result<Vec<Value>, DeskError> {
        let mut request = self.request(Method::GET, kind).query(query);
        let mut found = Vec::new();
        for _page in 0..20 {
            let bundle: Value = succeeded(request.send().await?)?.json().await?;
            found.extend(at_path(&bundle, "entry.resource").into_iter().cloned());
            let links = at_path(&bundle, "link");
            let next = links.into_iter().find(|link| text_at(link, "relation") == Some("next"));
            let Some(next) = next.and_then(|link| text_at(link, "url")) else { break };
            request = self.http.get(next).bearer_auth(&self.token);
        }
        Ok(found)
    }

    async fn patch(&self, resource: &Value, operations: &Value) -> Result<(), DeskError> {
        let (kind, id) = (text_at(resource, "resourceType"), text_at(resource, "id"));
        let path = format!("{}/{}", kind.unwrap_or_default(), id.unwrap_or_default());
        let version = text_at(resource, "meta.versionId").ok_or(DeskError::Incomplete("meta.versionId"))?;
        let request = self
            .request(Method::PATCH, &path)
            .header("Content-Type", "application/json-patch+json")
            .header("If-Match", format!("W/\"{version}\""))
            .body(operations.to_string());
        succeeded(request.send().await?).map(drop)
    }

    /// Moves an appointment to a slot: its time, its doctor and its place.
    ///
    /// # Errors
    /// [`DeskError`].
    pub(crate) async fn move_appointment(&self, id: &str, slot_id: &str) -> Result<(), DeskError> {
        let appointment = self.read(&format!("Appointment/{id}")).await?;
        let slot = self.free_slot(slot_id).await?;
        let mut participants: Vec<Value> = at_path(&appointment, "participant")
            .into_iter()
            .filter(|participant| {
                text_at(participant, "actor.reference").is_some_and(|actor| actor.starts_with("Patient/"))
            })
            .map(Value::clone)
            .collect();
        participants.extend(self.attendants(&slot).await?);
        let operations = json!([
            {"op": "add", "path": "/start", "value": slot.get("start")},
            {"op": "add", "path": "/end", "value": slot.get("end")},
            {"op": "add", "path": "/slot", "value": [{"reference": format!("Slot/{slot_id}")}]},
            {"op": "add", "path": "/participant", "value": participants},
        ]);
        self.patch(&appointment, &operations).await?;
        for old in slots_of(&appointment).filter(|old| old != slot_id) {
            self.settle(&old, "free").await?;
        }
        self.settle(slot_id, "busy").await
    }

    /// Cancels an appointment on the practice's behalf.
    ///
    /// # Errors
    /// [`DeskError`].
    pub(crate) async fn cancel_appointment(&self, id: &str) -> Result<(), DeskError> {
        let appointment = self.read(&format!("Appointment/{id}")).await?;
        let reason = json!({"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason", "code": "prov",
        }]});
        let operations = json!([
            {"op": "replace", "path": "/status", "value": "cancelled"},
            {"op": "add", "path": "/cancelationReason", "value": reason},
        ]);
        self.patch(&appointment, &operations).await?;
        for slot in slots_of(&appointment) {
            self.settle(&slot, "free").await?;
        }
        Ok(())
    }

    /// Books a visit for a patient into a slot.
    ///
    /// # Errors
    /// [`DeskError`].
    pub(crate) async fn book_appointment(&self, patient: &str, slot_id: &str) -> Result<(), DeskError> {
        let slot = self.free_slot(slot_id).await?;
        let mut participants = vec![json!({
            "actor": {"reference": format!("Patient/{patient}")}, "required": "required", "status": "needs-action",
        })];
        participants.extend(self.attendants(&slot).await?);
        let services: Vec<Value> = at_path(&slot, "serviceType").into_iter().take(1).map(Value::clone).collect();
        let appointment = json!({
            "resourceType": "Appointment",
            "status": "booked",
            "serviceType": services,
            "start": slot.get("start"),
            "end": slot.get("end"),
            "slot": [{"reference": format!("Slot/{slot_id}")}],
            "participant": participants,
        });
        let request = self
            .request(Method::POST, "Appointment")
            .header("Content-Type", "application/fhir+json")
            .body(appointment.to_string());
        succeeded(request.send().await?)?;
        self.settle(slot_id, "busy").await
    }

    /// A slot that can be taken. Someone else's server may not arbitrate: the desk looks before it books.
    async fn free_slot(&self, id: &str) -> Result<Value, DeskError> {
        let slot = self.read(&format!("Slot/{id}")).await?;
        if text_at(&slot, "status") == Some("free") { Ok(slot) } else { Err(DeskError::Taken) }
    }

    /// The doctor and the place of a slot, as participants.
    async fn attendants(&self, slot: &Value) -> Result<Vec<Value>, DeskError> {
        let schedule = text_at(slot, "schedule.reference").ok_or(DeskError::Incomplete("schedule"))?;
        let schedule = self.read(schedule).await?;
        let attendant = |actor: &Value| json!({"actor": actor, "required": "required", "status": "accepted"});
        Ok(at_path(&schedule, "actor").into_iter().map(attendant).collect())
    }

    /// Sees to it that a slot has this status.
    async fn settle(&self, slot_id: &str, status: &str) -> Result<(), DeskError> {
        let slot = self.read(&format!("Slot/{slot_id}")).await?;
        if text_at(&slot, "status") == Some(status) {
            return Ok(());
        }
        self.patch(&slot, &json!([{"op": "replace", "path": "/status", "value": status}])).await
    }
}

fn slots_of(appointment: &Value) -> impl Iterator<Item = String> {
    let references = at_path(appointment, "slot.reference").into_iter().filter_map(Value::as_str);
    references.filter_map(|text| text.strip_prefix("Slot/")).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn succeeded(answer: Response) -> Result<Response, DeskError> {
    let status = answer.status();
    if status.is_success() { Ok(answer) } else { Err(DeskError::Refused(status)) }
}
