//! Search over HTTP: by query, by posted form, by the link to a further page.

use super::outcome::{FhirError, fhir_json};
use super::paging::{Page, SearchResult};
use super::search::Search;
use super::{Admitted, FhirServer, Permission};
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;

type Pairs = Vec<(String, String)>;

pub(super) async fn by_query(
    State(server): State<Arc<FhirServer>>,
    Path(kind): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, FhirError> {
    let caller = server.admit(&headers, &kind, Permission::Search)?;
    let query = query.unwrap_or_default();
    let pairs = decoded(query.as_bytes());
    let own_link = format!("{}/{kind}?{query}", server.base());
    if let [(name, token)] = pairs.as_slice()
        && name == "_page"
    {
        let gone = || FhirError::Invalid("this page is no longer held: search again".into());
        let page = server.pages.find(token).filter(|page| page.result.search.kind.name == caller.kind.name);
        return Ok(bundle(&server, &caller, &page.ok_or_else(gone)?, &own_link));
    }
    search(&server, &caller, &pairs, &own_link)
}

pub(super) async fn by_form(
    State(server): State<Arc<FhirServer>>,
    Path(kind): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, FhirError> {
    let caller = server.admit(&headers, &kind, Permission::Search)?;
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !body.is_empty() && !media.starts_with("application/x-www-form-urlencoded") {
        return Err(FhirError::UnsupportedMediaType("application/x-www-form-urlencoded"));
    }
    let mut pairs = decoded(&body);
    pairs.extend(decoded(query.unwrap_or_default().as_bytes()));
    // What was posted to stay out of URLs stays out of the answer's link too.
    search(&server, &caller, &pairs, &format!("{}/{kind}/_search", server.base()))
}

fn decoded(query: &[u8]) -> Pairs {
    url::form_urlencoded::parse(query).into_owned().collect()
}

fn search(server: &FhirServer, caller: &Admitted, pairs: &Pairs, own_link: &str) -> Result<Response, FhirError> {
    let search = Search::read(caller.kind, pairs, &server.frame)?;
    let matches = server.store.read(|shelves| search.matches(shelves, &server.frame));
    let matches = matches.into_iter().filter(|resource| caller.reaches(resource)).collect();
    let page = Page { result: Arc::new(SearchResult { search, matches }), offset: 0 };
    Ok(bundle(server, caller, &page, own_link))
}

fn bundle(server: &FhirServer, caller: &Admitted, page: &Page, own_link: &str) -> Response {
    // A further page may be asked for by another token than the first.
    let matches: Vec<_> = page.matches().iter().filter(|resource| caller.reaches(resource)).map(Arc::clone).collect();
    let mut included = server.store.read(|shelves| page.result.search.included(&matches, shelves, &server.frame));
    included.retain(|resource| caller.may_read(resource));
    let mut links = vec![json!({"relation": "self", "url": own_link})];
    if let Some(next) = page.next() {
        let token = server.instruments.token(18);
        links.push(json!({
            "relation": "next",
            "url": format!("{}/{}?_page={token}", server.base(), caller.kind.name),
        }));
        server.pages.remember(token, next);
    }
    let entries = matches.iter().map(|resource| entry(server, resource, "match"));
    let entries: Vec<Value> =
        entries.chain(included.iter().map(|resource| entry(server, resource, "include"))).collect();
    let mut bundle = json!({
        "resourceType": "Bundle",
        "type": "searchset",
        "total": page.result.matches.len(),
        "link": links,
    });
    if let (Some(members), false) = (bundle.as_object_mut(), entries.is_empty()) {
        members.insert("entry".into(), Value::Array(entries));
    }
    fhir_json(StatusCode::OK, &bundle)
}

fn entry(server: &FhirServer, resource: &Value, mode: &str) -> Value {
    let name = |member: &str| resource.get(member).and_then(Value::as_str).unwrap_or_default();
    json!({
        "fullUrl": format!("{}/{}/{}", server.base(), name("resourceType"), name("id")),
        "resource": resource,
        "search": {"mode": mode},
    })
}
