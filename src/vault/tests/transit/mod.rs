//! Keys in a KMS, against a server that answers as the published API of the transit engine says.

mod destruction;
mod outage;
mod proof;
mod refusals;
mod replacing;
mod sharing;

use super::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize},
    },
};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

pub(super) const TOKEN: &str = "hvs.only-this-test-knows-it";

/// The engine: what it has encrypted, under what it answers for now.
#[derive(Clone, Default)]
pub(super) struct Transit(Arc<State>);

#[derive(Default)]
struct State {
    /// One less than the latest version.
    rotations: AtomicU64,
    deleted: AtomicBool,
    /// Answered instead, where it is not 0.
    status: AtomicU16,
    /// Whether that comes from a proxy before it.
    proxied: AtomicBool,
    /// `min_decryption_version`, or the oldest version that was not trimmed.
    oldest: AtomicU64,
    /// Decryptions that are refused before one is done, as by a standby that lags behind.
    lagging: AtomicUsize,
    /// Calls that are answered before it goes away, where it is not 0.
    goes_away_after: AtomicUsize,
    /// What else `read key` says of it.
    exportable: AtomicBool,
    calls: AtomicUsize,
    kept: Mutex<HashMap<String, (String, String)>>,
}

impl Transit {
    /// <https://developer.hashicorp.com/vault/api-docs/secret/transit>: `read key`, `encrypt data`, `decrypt data`.
    fn answer(&self, request: &Request) -> Result<Value, u16> {
        let state = &self.0;
        let call = state.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let answered = state.goes_away_after.load(Ordering::SeqCst);
        if answered != 0 && call > answered {
            return Err(503);
        }
        if request.headers.get("X-Vault-Token").is_none_or(|token| token != TOKEN) {
            return Err(403);
        }
        let status = state.status.load(Ordering::SeqCst);
        if status != 0 {
            return Err(status);
        }
        if request.headers.get("X-Vault-Namespace").is_none_or(|namespace| namespace != "clinics") {
            return Err(404);
        }
        let latest = 1 + state.rotations.load(Ordering::SeqCst);
        let deleted = state.deleted.load(Ordering::SeqCst);
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let text = |field: &str| body[field].as_str().map(str::to_owned).ok_or(400_u16);
        let mut kept = state.kept.lock().unwrap();
        match (request.method.as_str(), request.url.path()) {
            ("GET", "/v1/kms/transit/keys/elm") if deleted => Err(404),
            ("GET", "/v1/kms/transit/keys/elm") => {
                let exportable = state.exportable.load(Ordering::SeqCst);
                Ok(json!({ "latest_version": latest, "type": "aes256-gcm96", "exportable": exportable }))
            }
            // The policy allows `update`, not `create`: the key is not made anew.
            ("POST", "/v1/kms/transit/encrypt/elm") if deleted => Err(403),
            ("POST", "/v1/kms/transit/encrypt/elm") => {
                let ciphertext = format!("vault:v{latest}:{}", STANDARD.encode(call.to_string()));
                kept.insert(ciphertext.clone(), (text("plaintext")?, text("associated_data")?));
                Ok(json!({ "ciphertext": ciphertext, "key_version": latest }))
            }
            ("POST", "/v1/kms/transit/decrypt/elm") => {
                let lags = |left: usize| left.checked_sub(1);
                if state.lagging.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lags).is_ok() {
                    return Err(400);
                }
                let ciphertext = text("ciphertext")?;
                let version =
                    ciphertext.strip_prefix("vault:v").and_then(|rest| rest.split_once(':')).ok_or(400_u16)?.0;
                if version.parse::<u64>().map_err(|_| 400_u16)? < state.oldest.load(Ordering::SeqCst) {
                    return Err(400);
                }
                let (plaintext, bound_to) = kept.get(&ciphertext).ok_or(400_u16)?;
                if *bound_to == text("associated_data")? { Ok(json!({ "plaintext": plaintext })) } else { Err(400) }
            }
            _ => Err(404),
        }
    }

    pub(super) fn fails_with(&self, status: u16) {
        self.0.status.store(status, Ordering::SeqCst);
    }

    /// A proxy before it answers instead.
    fn proxy_answers_with(&self, status: u16) {
        self.0.proxied.store(true, Ordering::SeqCst);
        self.fails_with(status);
    }

    /// `POST keys/elm/config` with `min_decryption_version`, or `POST keys/elm/trim`.
    fn decrypts_from(&self, version: u64) {
        self.0.oldest.store(version, Ordering::SeqCst);
    }

    fn lags_for(&self, decryptions: usize) {
        self.0.lagging.store(decryptions, Ordering::SeqCst);
    }

    fn goes_away_after(&self, calls: usize) {
        self.0.goes_away_after.store(if calls == 0 { 0 } else { self.calls() + calls }, Ordering::SeqCst);
    }

    /// `POST keys/elm/rotate`
    pub(super) fn rotate(&self) {
        self.0.rotations.fetch_add(1, Ordering::SeqCst);
    }

    /// `DELETE keys/elm`: every version is gone.
    fn delete(&self) {
        self.0.deleted.store(true, Ordering::SeqCst);
        self.0.kept.lock().unwrap().clear();
    }

    /// Somebody makes a key of the same name.
    fn make_anew(&self) {
        self.0.deleted.store(false, Ordering::SeqCst);
    }

    fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// What it was given to encrypt: nobody else may have seen it.
    fn plaintexts(&self) -> Vec<String> {
        self.0.kept.lock().unwrap().values().map(|(plaintext, _)| plaintext.clone()).collect()
    }
}

impl Respond for Transit {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        match self.answer(request) {
            Ok(data) => ResponseTemplate::new(200).set_body_json(json!({ "request_id": "r", "data": data })),
            Err(status) if self.0.proxied.load(Ordering::SeqCst) => {
                ResponseTemplate::new(status).set_body_string("<html>Forbidden</html>")
            }
            Err(status) => ResponseTemplate::new(status).set_body_json(json!({ "errors": ["no"] })),
        }
    }
}

/// What a process wraps with: local keys, and a key in a KMS.
fn provider(keks: &[&str], key: &TransitKey) -> TransitKeks {
    let mut local = LocalKeks::new(Arc::new(SystemEntropy));
    if !keks.is_empty() {
        local.insert(CLINIC, keks.iter().map(|kek| Kek::from_base64(kek).unwrap()).collect()).unwrap();
    }
    let mut provider = TransitKeks::over(local);
    provider.insert(CLINIC, key.clone()).unwrap();
    provider
}

/// A KMS, and vaults of processes that use it.
pub(super) struct Kms {
    pub(super) bench: Bench,
    pub(super) engine: Transit,
    server: MockServer,
    folder: tempfile::TempDir,
    key: TransitKey,
}

impl Kms {
    pub(super) async fn start() -> Self {
        let (server, engine) = (MockServer::start().await, Transit::default());
        Mock::given(any()).respond_with(engine.clone()).mount(&server).await;
        let folder = tempfile::tempdir().unwrap();
        let key = TransitKey {
            address: server.uri().parse().unwrap(),
            mount: "kms/transit".to_owned(),
            key: "elm".to_owned(),
            namespace: Some("clinics".to_owned()),
            token_file: folder.path().join("token"),
            outage: Outage { asks_every: SignedDuration::from_mins(5), survives: SignedDuration::from_hours(8) },
            only_unwraps: false,
        };
        let kms = Self { bench: Bench::new(), engine, server, folder, key };
        kms.token(&format!("{TOKEN}\n"));
        kms
    }

    fn token(&self, token: &str) {
        fs::write(self.folder.path().join("token"), token).unwrap();
    }

    fn vault_over(&self, provider: TransitKeks) -> Vault {
        Vault::new(self.bench.store.clone(), Arc::new(provider), self.bench.instruments.clone())
    }

    /// A vault of a process that has just started.
    pub(super) fn vault(&self) -> Vault {
        self.vault_over(provider(&[], &self.key))
    }

    fn vault_with_file(&self) -> Vault {
        self.vault_over(provider(&[&self.bench.kek], &self.key))
    }
}

pub(super) async fn seal(vault: &Vault) -> Result<Sealed, VaultError> {
    vault.seal_text(CLINIC, CLINICAL, HERE, &Phi::new("see you at 10")).await
}

pub(super) async fn opens(vault: &Vault, sealed: &Sealed) -> Result<bool, VaultError> {
    Ok(vault.open_text(CLINIC, HERE, sealed).await?.expose() == "see you at 10")
}

#[tokio::test]
async fn data_keys_are_wrapped_by_the_kms_and_opened_by_another_process() {
    let kms = Kms::start().await;
    let check = kms.vault().check(CLINIC).await.unwrap();
    assert_eq!(check.current_kek, "transit:kms/transit/elm:v1");
    let sealed = seal(&kms.vault()).await.unwrap();
    assert!(opens(&kms.vault(), &sealed).await.unwrap());
    let keys = kms.vault().list_keys(CLINIC).await.unwrap();
    assert!(keys.iter().all(|key| key.wrapped.kek == "transit:kms/transit/elm:v1"), "{keys:?}");
}

#[tokio::test]
async fn keys_move_from_a_file_to_the_kms_and_to_its_new_versions_and_back() {
    let kms = Kms::start().await;
    let sealed = seal(&kms.bench.vault()).await.unwrap();
    assert!(opens(&kms.vault_with_file(), &sealed).await.unwrap(), "the file's key still opens");
    assert_eq!(kms.vault_with_file().rotate_kek(CLINIC).await.unwrap(), 1);
    assert!(opens(&kms.vault(), &sealed).await.unwrap(), "the file may go");
    kms.engine.rotate();
    assert_eq!(kms.vault().rotate_kek(CLINIC).await.unwrap(), 1);
    assert_eq!(kms.vault().check(CLINIC).await.unwrap().keks_in_use, ["transit:kms/transit/elm:v2".to_owned()].into());
    assert!(opens(&kms.vault(), &sealed).await.unwrap());

    let leaving = TransitKey { only_unwraps: true, ..kms.key.clone() };
    let vault = kms.vault_over(provider(&[&kms.bench.kek], &leaving));
    assert_eq!(vault.rotate_kek(CLINIC).await.unwrap(), 1);
    kms.engine.delete();
    assert!(opens(&kms.bench.vault(), &sealed).await.unwrap(), "the KMS may go");
}

#[tokio::test]
async fn a_key_of_another_name_in_the_kms_is_asked_for_by_name() {
    let kms = Kms::start().await;
    let sealed = seal(&kms.vault()).await.unwrap();
    let other = TransitKey { key: "oak".to_owned(), ..kms.key.clone() };
    let vault = kms.vault_over(provider(&[], &TransitKey { only_unwraps: true, ..other }));
    let refused = opens(&vault, &sealed).await.unwrap_err();
    assert!(matches!(refused, VaultError::WrongKek { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("transit:kms/transit/elm:v1") && text.contains("only transit:kms/transit/oak"), "{text}");
}

#[tokio::test]
async fn a_wrapped_key_moved_to_another_row_does_not_open() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    seal(&vault).await.unwrap();
    vault.content_hash(CLINIC, b"x").await.unwrap();
    let keys = vault.list_keys(CLINIC).await.unwrap();
    let [one, other, ..] = keys.as_slice() else { panic!("{keys:?}") };
    let engine = provider(&[], &kms.key);
    assert!(engine.unwrap_key(CLINIC, &one.wrapped, &one.wrapping_context()).await.is_ok());
    let moved = engine.unwrap_key(CLINIC, &one.wrapped, &other.wrapping_context()).await;
    assert!(matches!(moved, Err(VaultError::KekRefused { .. })));
}
