//! Reading and writing one resource (<https://hl7.org/fhir/R4/http.html>).

use super::outcome::{FhirError, fhir_json, issue};
use super::search::Search;
use super::store::{Shelves, Version};
use super::validation;
use super::{Admitted, FhirServer, Permission, booking};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

type Body = Result<Bytes, BytesRejection>;

pub(super) async fn read(
    State(server): State<Arc<FhirServer>>,
    Path((kind, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, FhirError> {
    let caller = server.admit(&headers, &kind, Permission::Read)?;
    server.store.read(|shelves| {
        let resource = caller.current(shelves, &id)?;
        let version = shelves.newest(&kind, &id).ok_or(FhirError::NotFound)?;
        Ok(with_version(fhir_json(StatusCode::OK, resource), version))
    })
}

pub(super) async fn read_version(
    State(server): State<Arc<FhirServer>>,
    Path((kind, id, number)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, FhirError> {
    let caller = server.admit(&headers, &kind, Permission::Read)?;
    let number = number.parse().map_err(|_| FhirError::NotFound)?;
    server.store.read(|shelves| {
        let version = shelves.version(&kind, &id, number).ok_or(FhirError::NotFound)?;
        let resource = version.resource.as_ref().ok_or(FhirError::Deleted)?;
        caller.reaches(resource).then_some(()).ok_or(FhirError::NotFound)?;
        Ok(with_version(fhir_json(StatusCode::OK, resource), version))
    })
}

pub(super) async fn create(
    State(server): State<Arc<FhirServer>>,
    Path(kind): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, FhirError> {
    let caller = server.admit(&headers, &kind, Permission::Create)?;
    let resource = read_resource(&headers, body)?;
    let condition = if_none_exist(&server, &caller, &headers)?;
    let id = server.store.new_id();
    server.store.write(|shelves, now| {
        if let Some(condition) = condition {
            let existing = condition.matches(shelves, &server.frame);
            match existing.as_slice() {
                [] => {}
                [existing] => return existing_answer(&server, &caller, shelves, &headers, existing),
                _ => return Err(FhirError::PreconditionFailed("If-None-Exist matches several resources")),
            }
        }
        let version = commit(&server, &caller, shelves, now, &id, resource)?;
        Ok(written(&server, &kind, &id, &headers, StatusCode::CREATED, &version))
    })
}

fn if_none_exist(server: &FhirServer, caller: &Admitted, headers: &HeaderMap) -> Result<Option<Search>, FhirError> {
    let Some(query) = text_header(headers, &HeaderName::from_static("if-none-exist")) else { return Ok(None) };
    let query = query.rsplit_once('?').map_or(query, |(_, query)| query);
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    if pairs.is_empty() {
        return Err(FhirError::Invalid(
            "If-None-Exist holds search parameters, such as identifier=system|value".into(),
        ));
    }
    Search::read(caller.kind, &pairs, &server.frame).map(Some)
}

fn existing_answer(
    server: &FhirServer,
    caller: &Admitted,
    shelves: &Shelves,
    headers: &HeaderMap,
    existing: &Value,
) -> Result<Response, FhirError> {
    let id = existing.get("id").and_then(Value::as_str).unwrap_or_default();
    let version = shelves.newest(caller.kind.name, id).ok_or(FhirError::NotFound)?;
    Ok(written(server, caller.kind.name, id, headers, StatusCode::OK, version))
}

pub(super) async fn update(
    State(server): State<Arc<FhirServer>>,
    Path((kind, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, FhirError> {
    let caller = server.admit(&headers, &kind, Permission::Update)?;
    let resource = read_resource(&headers, body)?;
    validation::check_id(&id)?;
    if resource.get("id").and_then(Value::as_str) != Some(id.as_str()) {
        return Err(FhirError::Invalid("the body's id is not the one in the URL".into()));
    }
    server.store.write(|shelves, now| {
        if_match(&headers, shelves.newest(&kind, &id))?;
        let exists = shelves.current(&kind, &id).is_ok();
        if exists {
            caller.current(shelves, &id)?;
        }
        let version = commit(&server, &caller, shelves, now, &id, resource)?;
        let status = if exists { StatusCode::OK } else { StatusCode::CREATED };
        Ok(written(&server, &kind, &id, &headers, status, &version))
    })
}

pub(super) async fn patch(
    State(server): State<Arc<FhirServer>>,
    Path((kind, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, FhirError> {
    let caller = server.admit(&headers, &kind, Permission::Update)?;
    media_type(&headers, &["application/json-patch+json"], "application/json-patch+json")?;
    let operations: json_patch::Patch = serde_json::from_slice(&read_bytes(body)?)
        .map_err(|_| FhirError::Invalid("the body is not a JSON Patch (RFC 6902)".into()))?;
    server.store.write(|shelves, now| {
        let mut resource = Value::clone(caller.current(shelves, &id)?);
        if_match(&headers, shelves.newest(&kind, &id))?;
        json_patch::patch(&mut resource, &operations).map_err(|_| {
            FhirError::Unprocessable("the patch, or a test in it, does not fit the resource as it stands".into())
        })?;
        if resource.get("id").and_then(Value::as_str) != Some(id.as_str()) {
            return Err(FhirError::Unprocessable("a patch cannot change the id".into()));
        }
        let version = commit(&server, &caller, shelves, now, &id, resource)?;
        Ok(written(&server, &kind, &id, &headers, StatusCode::OK, &version))
    })
}

pub(super) async fn delete(
    State(server): State<Arc<FhirServer>>,
    Path((kind, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, FhirError> {
    let caller = server.admit(&headers, &kind, Permission::Delete)?;
    server.store.write(|shelves, now| {
        match caller.current(shelves, &id) {
            Ok(_) => {}
            // Deleting twice is no error.
            Err(FhirError::Deleted) => return Ok(StatusCode::NO_CONTENT.into_response()),
            Err(refusal) => return Err(refusal),
        }
        if_match(&headers, shelves.newest(&kind, &id))?;
        let version = shelves.delete(&kind, &id, now).ok_or(FhirError::NotFound)?;
        Ok(with_version(StatusCode::NO_CONTENT.into_response(), &version))
    })
}

/// Checks a write against the type's rules and the booking desk's, then does it.
fn commit(
    server: &FhirServer,
    caller: &Admitted,
    shelves: &mut Shelves,
    now: Timestamp,
    id: &str,
    mut resource: Value,
) -> Result<Version, FhirError> {
    validation::check(caller.kind, &resource, shelves, server.base())?;
    caller.reaches(&resource).then_some(()).ok_or(FhirError::InsufficientScope)?;
    if let Some(members) = resource.as_object_mut() {
        members.insert("id".into(), json!(id));
    }
    let before = shelves.current(caller.kind.name, id).ok().map(Arc::clone);
    let changes = booking::slot_changes(shelves, server.base(), before.as_deref(), &resource)?;
    let version = shelves.put(caller.kind.name, id, resource, now);
    changes.apply(shelves, now);
    Ok(version)
}

fn read_resource(headers: &HeaderMap, body: Body) -> Result<Value, FhirError> {
    media_type(headers, &["application/fhir+json", "application/json"], "application/fhir+json")?;
    let resource: Value =
        serde_json::from_slice(&read_bytes(body)?).map_err(|_| FhirError::Invalid("the body is not JSON".into()))?;
    resource.is_object().then_some(resource).ok_or_else(|| FhirError::Invalid("the body is not a resource".into()))
}

fn read_bytes(body: Body) -> Result<Bytes, FhirError> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => FhirError::TooLarge,
        _ => FhirError::Invalid("the body could not be read".into()),
    })
}

fn media_type(headers: &HeaderMap, taken: &[&str], shown: &'static str) -> Result<(), FhirError> {
    let media = text_header(headers, &header::CONTENT_TYPE).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    taken.contains(&media.as_str()).then_some(()).ok_or(FhirError::UnsupportedMediaType(shown))
}

/// `If-Match` names the version that the caller has seen; without it the write is unconditional.
fn if_match(headers: &HeaderMap, newest: Option<&Version>) -> Result<(), FhirError> {
    let Some(wanted) = text_header(headers, &header::IF_MATCH) else { return Ok(()) };
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    match newest {
        Some(version) if version.resource.is_some() && opaque(wanted) == version.number.to_string() => Ok(()),
        _ => Err(FhirError::PreconditionFailed("If-Match names another version: read the resource again")),
    }
}

fn text_header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The answer to a write, as full as `Prefer: return=…` asks (representation where it does not).
fn written(
    server: &FhirServer,
    kind: &str,
    id: &str,
    headers: &HeaderMap,
    status: StatusCode,
    version: &Version,
) -> Response {
    let prefer = text_header(headers, &HeaderName::from_static("prefer")).unwrap_or_default();
    let mut answer = if prefer.contains("return=minimal") {
        status.into_response()
    } else if prefer.contains("return=OperationOutcome") {
        fhir_json(status, &issue("information", "informational", "done"))
    } else {
        fhir_json(status, version.resource.as_deref().unwrap_or(&Value::Null))
    };
    let location = format!("{}/{kind}/{id}/_history/{}", server.base(), version.number);
    if let Ok(location) = HeaderValue::from_str(&location) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    with_version(answer, version)
}

fn with_version(mut answer: Response, version: &Version) -> Response {
    if let Ok(etag) = HeaderValue::from_str(&version.etag()) {
        answer.headers_mut().insert(header::ETAG, etag);
    }
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&version.last_updated).ok();
    if let Some(date) = date.and_then(|date| HeaderValue::from_str(&date).ok()) {
        answer.headers_mut().insert(header::LAST_MODIFIED, date);
    }
    answer
}
