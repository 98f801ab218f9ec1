//! What goes to the transit engine over HTTP, and what its answers mean.

use super::TransitKey;
use crate::{
    kernel::{Exchange, Unanswered},
    vault::KeyBytes,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
    redirect::Policy,
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, IgnoredAny},
};
use std::time::Duration;
use tracing::Instrument as _;
use url::Url;
use zeroize::Zeroizing;

/// How long the KMS may take to accept a connection.
const CONNECTS_WITHIN: Duration = Duration::from_secs(2);
/// How long the KMS may take to answer: a webhook may be waiting for it.
const ANSWERS_WITHIN: Duration = Duration::from_secs(4);
/// The longest answer that is read, in bytes. A key of very many versions takes some tens of thousands.
const LONGEST_ANSWER: usize = 256 * 1024;
/// More than a request or an answer takes, in bytes, in which a data key stands.
const HOLDS_A_KEY: usize = 16 * 1024;

/// No HTTP client could be made for the KMS.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client could be made for the key provider; check the machine's root certificates")]
pub struct NoHttpClient(#[source] reqwest::Error);

/// A KMS, as one tenant's key there is reached.
pub(super) struct Engine {
    http: Client,
    pub(super) key: TransitKey,
}

impl Engine {
    pub(super) fn new(key: TransitKey) -> Result<Self, NoHttpClient> {
        let mut builder = Client::builder()
            // A redirect would carry the token to wherever it points.
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(CONNECTS_WITHIN)
            .timeout(ANSWERS_WITHIN)
            .user_agent(concat!("chartwire/", env!("CARGO_PKG_VERSION")));
        if key.address.scheme() == "http" {
            // Only to this machine; a proxy elsewhere would read the token.
            builder = builder.no_proxy();
        }
        Ok(Self { http: builder.build().map_err(NoHttpClient)?, key })
    }

    /// Has the engine do `operation` with the key.
    pub(super) async fn ask<A: DeserializeOwned>(
        &self,
        method: Method,
        operation: &str,
        body: Option<&impl Serialize>,
    ) -> Result<A, Refusal> {
        let token = self.token().await?;
        let url = self.url(operation)?;
        let exchange = Exchange::begin("transit", method.as_str(), &url);
        let mut request = self.http.request(method, url).header("X-Vault-Token", token);
        // Agents may ask for it, against requests that a browser was led to.
        request = request.header("X-Vault-Request", "true");
        if let Some(namespace) = &self.key.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(wiped(body)?);
        }
        let answered = answered(request).instrument(exchange.span()).await;
        match &answered {
            Ok((status, _)) => exchange.answered(status.as_u16()),
            Err(Refusal::Unreadable) => exchange.unanswered(Unanswered::TooLarge),
            Err(_) => exchange.unanswered(Unanswered::Interrupted),
        }
        let (status, body) = answered?;
        if !status.is_success() {
            return Err(Refusal::of(status, &body));
        }
        let answer: Answer<A> = serde_json::from_slice(&body).map_err(|_| Refusal::Unreadable)?;
        Ok(answer.data)
    }

    async fn token(&self) -> Result<HeaderValue, Refusal> {
        let token = tokio::fs::read(&self.key.token_file).await.map_err(|_| Refusal::TokenUnread)?;
        let token = Zeroizing::new(token);
        let token = token.trim_ascii();
        if token.is_empty() {
            return Err(Refusal::TokenUnread);
        }
        let mut token = HeaderValue::from_bytes(token).map_err(|_| Refusal::TokenUnread)?;
        token.set_sensitive(true);
        Ok(token)
    }

    fn url(&self, operation: &str) -> Result<Url, Refusal> {
        let mut url = self.key.address.clone();
        url.path_segments_mut()
            .map_err(|()| Refusal::Unreachable)?
            .pop_if_empty()
            .push("v1")
            .extend(self.key.mount.split('/'))
            .push(operation)
            .push(&self.key.key);
        Ok(url)
    }
}

/// The body of a request, wiped once it is sent. What the TLS library encrypts it in is not ours to wipe.
fn wiped(body: &impl Serialize) -> Result<Bytes, Refusal> {
    let mut json = Zeroizing::new(Vec::with_capacity(HOLDS_A_KEY));
    serde_json::to_writer(&mut *json, body).map_err(|_| Refusal::Unreachable)?;
    Ok(Bytes::from_owner(json))
}

/// The status of the answer, and its body where that is one to be read.
async fn answered(request: RequestBuilder) -> Result<(StatusCode, Zeroizing<Vec<u8>>), Refusal> {
    // What reqwest says of an error may hold the URL, and is left out.
    let answer = request.send().await.map_err(|_| Refusal::Unreachable)?;
    let status = answer.status();
    let read = status.is_success() || status.is_client_error();
    Ok((status, if read { whole(answer).await? } else { Zeroizing::default() }))
}

async fn whole(mut answer: Response) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    // One that grows leaves copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(HOLDS_A_KEY));
    while let Some(chunk) = answer.chunk().await.map_err(|_| Refusal::Unreachable)? {
        if body.len().saturating_add(chunk.len()) > LONGEST_ANSWER {
            return Err(Refusal::Unreadable);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Why the KMS did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it cannot be reached, or does not answer in time; check tenants.transit.address and the network")]
    Unreachable,
    #[error("its answer is not the transit engine's; check tenants.transit.address and mount")]
    Unreadable,
    #[error("tenants.transit.token_file cannot be read or holds no token; check the path and what writes it")]
    TokenUnread,
    #[error("it redirects (HTTP status {0}), which is not followed; write the address of a node that answers itself")]
    Redirects(u16),
    #[error("it is sealed, on standby or overloaded (HTTP status {0})")]
    Away(u16),
    #[error(
        "it does not allow it to this token (HTTP status 403); check tenants.transit.mount, key and namespace, the token's policy, and what renews the token"
    )]
    Forbidden,
    #[error(
        "it has no such key, or no transit engine there (HTTP status 404); check tenants.transit.mount, key and namespace"
    )]
    Missing,
    #[error(
        "it cannot do it with this key (HTTP status 400): the key was deleted there, or is derived or of a type without associated data; use aes256-gcm96"
    )]
    Invalid,
    #[error(
        "it answers with HTTP status {0}, but not as the KMS does; check tenants.transit.address and what stands before the KMS"
    )]
    NotItsOwn(u16),
    #[error(
        "the key is exportable, derived, or of a type without associated data; make one of type aes256-gcm96 that is neither"
    )]
    Unfit,
    #[error("it answers with HTTP status {0}")]
    Other(u16),
}

impl Refusal {
    /// The statuses of <https://developer.hashicorp.com/vault/api-docs#http-status-codes>. Whatever stands before the KMS
    /// may answer with the same ones: a no counts where `body` is the KMS's own.
    fn of(status: StatusCode, body: &[u8]) -> Self {
        match status.as_u16() {
            status @ 400..500 if serde_json::from_slice::<Errors>(body).is_err() => Self::NotItsOwn(status),
            400 => Self::Invalid,
            403 => Self::Forbidden,
            404 => Self::Missing,
            // 412: a standby that has not read yet what another node wrote. 472 and 473: standbys of a cluster.
            status @ (408 | 412 | 425 | 429 | 472 | 473 | 500..) => Self::Away(status),
            status @ 300..400 => Self::Redirects(status),
            status => Self::Other(status),
        }
    }

    /// Whether it says nothing of the key and the token: neither was taken away.
    pub(super) const fn may_pass(self) -> bool {
        match self {
            Self::Unreachable
            | Self::Unreadable
            | Self::TokenUnread
            | Self::Redirects(_)
            | Self::Away(_)
            | Self::NotItsOwn(_) => true,
            Self::Forbidden | Self::Missing | Self::Invalid | Self::Unfit | Self::Other(_) => false,
        }
    }
}

/// A key in base64, wiped when dropped.
pub(super) struct Encoded(Zeroizing<String>);

impl Encoded {
    pub(super) fn of(key: &KeyBytes) -> Self {
        Self(Zeroizing::new(STANDARD.encode(key.as_slice())))
    }

    /// The key, where it is one.
    pub(super) fn key(&self) -> Option<KeyBytes> {
        let decoded = Zeroizing::new(STANDARD.decode(self.0.as_bytes()).ok()?);
        let mut key = KeyBytes::default();
        if decoded.len() != key.len() {
            return None;
        }
        key.copy_from_slice(&decoded);
        Some(key)
    }
}

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

pub(super) fn base64_of(context: &[u8]) -> String {
    STANDARD.encode(context)
}

/// What surrounds every answer.
#[derive(Deserialize)]
struct Answer<A> {
    data: A,
}

/// What stands in every no of the KMS (<https://developer.hashicorp.com/vault/api-docs#error-response>). It may tell of
/// the request, and is not kept.
#[derive(Deserialize)]
struct Errors {
    #[serde(rename = "errors")]
    _errors: Vec<IgnoredAny>,
}

/// `POST encrypt/KEY`
#[derive(Serialize)]
pub(super) struct Encrypt {
    pub(super) plaintext: Encoded,
    pub(super) associated_data: String,
}

#[derive(Deserialize)]
pub(super) struct Encrypted {
    pub(super) ciphertext: String,
}

/// `POST decrypt/KEY`
#[derive(Serialize)]
pub(super) struct Decrypt<'a> {
    pub(super) ciphertext: &'a str,
    pub(super) associated_data: String,
}

#[derive(Deserialize)]
pub(super) struct Decrypted {
    pub(super) plaintext: Encoded,
}

/// `GET keys/KEY`
#[derive(Deserialize)]
pub(super) struct KeyRead {
    pub(super) latest_version: u64,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    derived: bool,
    #[serde(default)]
    exportable: bool,
}

impl KeyRead {
    /// Whether data keys may be wrapped under it: it binds them to their rows, and nobody can copy it out.
    pub(super) fn is_fit(&self) -> bool {
        let kind = self.kind.as_deref();
        let binds = kind.is_none_or(|kind| matches!(kind, "aes256-gcm96" | "aes128-gcm96" | "chacha20-poly1305"));
        binds && !self.derived && !self.exportable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_speaks_of_the_key_or_the_token_ends_the_use_of_open_keys() {
        let of = |status: u16, body: &str| Refusal::of(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        let passes = |status: u16| of(status, "{\"errors\":[]}").may_pass();
        for status in [301, 307, 408, 412, 429, 472, 473, 500, 502, 503, 504] {
            assert!(passes(status), "{status}");
        }
        for status in [400, 401, 403, 404, 405, 410] {
            assert!(!passes(status), "{status}");
            for body in ["", "<html>Forbidden</html>", "{}", "{\"errors\":\"no\"}", "[\"errors\"]"] {
                assert!(of(status, body).may_pass(), "{status} {body}: a proxy's");
            }
            assert!(!of(status, "{\"errors\":[\"permission denied\"],\"warnings\":null}").may_pass());
        }
    }
}
