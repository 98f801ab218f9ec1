//! Keys in a KMS, against a server that answers as Vault's documentation of the transit engine says.

use super::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fs,
    sync::{
        Mutex,
        atomic::{AtomicU16, AtomicU64, AtomicUsize},
    },
};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

const TOKEN: &str = "hvs.only-this-test-knows-it";

/// The engine: what it has encrypted, under what it answers for now.
#[derive(Clone, Default)]
struct Engine(Arc<EngineState>);

#[derive(Default)]
struct EngineState {
    version: AtomicU64,
    /// Answered instead, where it is not 0.
    status: AtomicU16,
    calls: AtomicUsize,
    kept: Mutex<HashMap<String, (String, String)>>,
}

impl Engine {
    fn answer(&self, request: &Request) -> Result<Value, u16> {
        let state = &self.0;
        state.calls.fetch_add(1, Ordering::SeqCst);
        if request.headers.get("X-Vault-Token").is_none_or(|token| token != TOKEN) {
            return Err(403);
        }
        if request.headers.get("X-Vault-Namespace").is_none_or(|namespace| namespace != "clinics") {
            return Err(404);
        }
        let status = state.status.load(Ordering::SeqCst);
        if status != 0 {
            return Err(status);
        }
        let version = 1 + state.version.load(Ordering::SeqCst);
        let text = |body: &Value, field: &str| body[field].as_str().map(str::to_owned).ok_or(400_u16);
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut kept = state.kept.lock().unwrap();
        match (request.method.as_str(), request.url.path()) {
            ("GET", "/v1/kms/transit/keys/elm") => Ok(json!({ "latest_version": version, "type": "aes256-gcm96" })),
            ("POST", "/v1/kms/transit/encrypt/elm") => {
                let ciphertext = format!("vault:v{version}:{}", STANDARD.encode(kept.len().to_string()));
                kept.insert(ciphertext.clone(), (text(&body, "plaintext")?, text(&body, "associated_data")?));
                Ok(json!({ "ciphertext": ciphertext, "key_version": version }))
            }
            ("POST", "/v1/kms/transit/decrypt/elm") => {
                let (plaintext, bound_to) = kept.get(&text(&body, "ciphertext")?).ok_or(400_u16)?;
                if *bound_to == text(&body, "associated_data")? {
                    Ok(json!({ "plaintext": plaintext }))
                } else {
                    Err(400)
                }
            }
            _ => Err(404),
        }
    }

    fn fails_with(&self, status: u16) {
        self.0.status.store(status, Ordering::SeqCst);
    }

    fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }
}

impl Respond for Engine {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        match self.answer(request) {
            Ok(data) => ResponseTemplate::new(200).set_body_json(json!({ "request_id": "r", "data": data })),
            Err(status) => ResponseTemplate::new(status).set_body_json(json!({ "errors": ["no"] })),
        }
    }
}

/// A vault over an engine, and over a local key for what was sealed before.
struct Kms {
    bench: Bench,
    engine: Engine,
    _server: MockServer,
    folder: tempfile::TempDir,
    key: TransitKey,
}

impl Kms {
    async fn start() -> Self {
        let (server, engine) = (MockServer::start().await, Engine::default());
        Mock::given(any()).respond_with(engine.clone()).mount(&server).await;
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
        let outage = Outage { asks_every: SignedDuration::from_mins(5), survives: SignedDuration::from_hours(8) };
        let key = TransitKey {
            address: server.uri().parse().unwrap(),
            mount: "kms/transit".to_owned(),
            key: "elm".to_owned(),
            namespace: Some("clinics".to_owned()),
            token_file,
            outage,
        };
        Self { bench: Bench::new(), engine, _server: server, folder, key }
    }

    /// A vault of a process that has just started.
    fn vault(&self, local: bool) -> Vault {
        let mut keks = LocalKeks::new(Arc::new(SystemEntropy));
        if local {
            keks.insert(CLINIC, vec![Kek::from_base64(&self.bench.kek).unwrap()]).unwrap();
        }
        let mut provider = TransitKeks::over(keks).unwrap();
        provider.insert(CLINIC, self.key.clone());
        Vault::new(self.bench.store.clone(), Arc::new(provider), self.bench.instruments.clone())
    }
}

async fn seal(vault: &Vault) -> Result<Sealed, VaultError> {
    vault.seal_text(CLINIC, CLINICAL, HERE, &Phi::new("see you at 10")).await
}

async fn opens(vault: &Vault, sealed: &Sealed) -> Result<bool, VaultError> {
    Ok(vault.open_text(CLINIC, HERE, sealed).await?.expose() == "see you at 10")
}

#[tokio::test]
async fn data_keys_are_wrapped_by_the_kms_and_opened_by_another_process() {
    let kms = Kms::start().await;
    let check = kms.vault(false).check(CLINIC).await.unwrap();
    assert_eq!(check.current_kek, "transit:kms/transit/elm:v1");
    let sealed = seal(&kms.vault(false)).await.unwrap();
    assert!(opens(&kms.vault(false), &sealed).await.unwrap());
    let keys = kms.vault(false).list_keys(CLINIC).await.unwrap();
    assert!(keys.iter().all(|key| key.wrapped.kek == "transit:kms/transit/elm:v1"), "{keys:?}");
}

#[tokio::test]
async fn keys_move_from_a_file_to_the_kms_and_to_its_new_versions() {
    let kms = Kms::start().await;
    let sealed = seal(&kms.bench.vault()).await.unwrap();
    assert!(opens(&kms.vault(true), &sealed).await.unwrap(), "the file's key still opens");
    assert_eq!(kms.vault(true).rotate_kek(CLINIC).await.unwrap(), 1);
    assert!(opens(&kms.vault(false), &sealed).await.unwrap(), "the file may go");
    kms.engine.0.version.store(1, Ordering::SeqCst);
    assert_eq!(kms.vault(false).rotate_kek(CLINIC).await.unwrap(), 1);
    assert_eq!(
        kms.vault(false).check(CLINIC).await.unwrap().keks_in_use,
        ["transit:kms/transit/elm:v2".to_owned()].into()
    );
    assert!(opens(&kms.vault(false), &sealed).await.unwrap());
}

#[tokio::test]
async fn open_keys_survive_an_outage_for_the_stated_time_and_no_longer() {
    let kms = Kms::start().await;
    let vault = kms.vault(false);
    let sealed = seal(&vault).await.unwrap();
    kms.engine.fails_with(503);
    kms.bench.clock.advance(SignedDuration::from_hours(7));
    assert!(opens(&vault, &sealed).await.unwrap());
    assert!(opens(&vault, &seal(&vault).await.unwrap()).await.unwrap());
    let asked = kms.engine.calls();
    assert!(opens(&vault, &sealed).await.unwrap());
    assert_eq!(kms.engine.calls(), asked, "it is not asked by every call");
    kms.bench.clock.advance(SignedDuration::from_hours(1));
    for refused in [opens(&vault, &sealed).await.map(drop), seal(&vault).await.map(drop)] {
        assert!(refused.as_ref().is_err_and(VaultError::is_transient), "{refused:?}");
    }
    kms.engine.fails_with(0);
    kms.bench.clock.advance(SignedDuration::from_secs(11));
    assert!(opens(&vault, &sealed).await.unwrap());
}

#[tokio::test]
async fn a_key_that_was_taken_away_in_the_kms_is_not_used_any_more() {
    let kms = Kms::start().await;
    let vault = kms.vault(false);
    let sealed = seal(&vault).await.unwrap();
    kms.engine.fails_with(404);
    assert!(opens(&vault, &sealed).await.unwrap(), "not asked again yet");
    kms.bench.clock.advance(SignedDuration::from_mins(6));
    let refused = opens(&vault, &sealed).await;
    assert!(matches!(&refused, Err(VaultError::KekRefused { .. })), "{refused:?}");
    assert!(opens(&kms.vault(false), &sealed).await.is_err());
}

#[tokio::test]
async fn the_token_is_followed_and_never_told() {
    let kms = Kms::start().await;
    let vault = kms.vault(false);
    let sealed = seal(&vault).await.unwrap();
    fs::write(kms.folder.path().join("token"), "hvs.run-out").unwrap();
    let refused = opens(&kms.vault(false), &sealed).await.unwrap_err();
    assert!(refused.is_transient(), "{refused:?}");
    assert!(!format!("{refused:?} {refused}").contains("hvs."));
    fs::write(kms.folder.path().join("token"), TOKEN).unwrap();
    assert!(opens(&kms.vault(false), &sealed).await.unwrap());
}

#[tokio::test]
async fn a_data_key_moved_to_another_row_does_not_open() {
    let kms = Kms::start().await;
    let vault = kms.vault(false);
    seal(&vault).await.unwrap();
    vault.content_hash(CLINIC, b"x").await.unwrap();
    let keys = vault.list_keys(CLINIC).await.unwrap();
    let [one, other, ..] = keys.as_slice() else { panic!("{keys:?}") };
    let provider = {
        let mut provider = TransitKeks::over(LocalKeks::new(Arc::new(SystemEntropy))).unwrap();
        provider.insert(CLINIC, kms.key.clone());
        provider
    };
    assert!(provider.unwrap_key(CLINIC, &one.wrapped, &one.wrapping_context()).await.is_ok());
    let moved = provider.unwrap_key(CLINIC, &one.wrapped, &other.wrapping_context()).await;
    assert!(matches!(moved, Err(VaultError::KekRefused { .. })));
}
