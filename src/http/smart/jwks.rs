//! `GET /.well-known/jwks.json`: the public halves of our signing keys (RFC 7517), for the EHRs that verify us.

use crate::{http::Failure, smart::SigningKeys};
use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Where EHRs fetch our public keys from. `?registration=` and a name narrows the document to one registration.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";

/// How long an EHR may keep the document: a new key must be published this long before it signs.
const KEPT: &str = "public, max-age=900";

/// The keys of each registration, by its name.
pub type PublishedKeys = Vec<(String, Arc<SigningKeys>)>;

#[derive(Deserialize)]
struct Asked {
    registration: Option<String>,
}

/// The route, for a [`crate::http::Section::api`].
pub fn routes(keys: PublishedKeys) -> Router {
    Router::new().route(JWKS_PATH, get(published)).with_state(Arc::new(keys))
}

async fn published(State(keys): State<Arc<PublishedKeys>>, Query(asked): Query<Asked>) -> Result<Response, Failure> {
    let document = document(&keys, asked.registration.as_deref()).ok_or(Failure::NotFound)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static(KEPT)),
    ];
    Ok((headers, document.to_string()).into_response())
}

/// One registration's keys, or everybody's, each once: several registrations may sign with one key.
fn document(keys: &PublishedKeys, registration: Option<&str>) -> Option<Value> {
    let named = keys.iter().filter(|(name, _)| registration.is_none_or(|asked| asked == name));
    let sets: Vec<Value> = named.map(|(_, set)| set.jwks()).collect();
    if sets.is_empty() && registration.is_some() {
        return None;
    }
    let mut all: Vec<Value> = Vec::new();
    for key in sets.iter().filter_map(|set| set.get("keys")?.as_array()).flatten() {
        if !all.contains(key) {
            all.push(key.clone());
        }
    }
    Some(json!({ "keys": all }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smart::{SigningAlgorithm, SigningKey};

    #[test]
    fn each_key_is_published_once_and_found_by_its_registration() {
        let pem = SigningKey::generate_pem(SigningAlgorithm::Es384).unwrap();
        let set = || {
            let key = SigningKey::from_pem(&pem, SigningAlgorithm::Es384).unwrap();
            Arc::new(SigningKeys::new(vec![key]).unwrap())
        };
        let keys = vec![("launch".to_owned(), set()), ("backend".to_owned(), set())];
        let count = |registration| document(&keys, registration).map(|set| set["keys"].as_array().unwrap().len());
        assert_eq!((count(None), count(Some("backend")), count(Some("other"))), (Some(1), Some(1), None));
        assert_eq!(document(&Vec::new(), None), Some(json!({"keys": []})));
    }
}
