//! What is refused at the start, what is followed, and what is never told.

use super::*;
use std::{fmt::Write as _, io};
use tracing::level_filters::LevelFilter;

#[tokio::test]
async fn a_wrong_token_key_mount_or_address_is_refused_at_the_start_with_what_to_check() {
    let kms = Kms::start().await;
    let refused = async |key: TransitKey| {
        let vault = kms.vault_over(provider(&[], &key));
        vault.check(CLINIC).await.unwrap_err().to_string()
    };
    let right = || kms.key.clone();
    for (key, told) in [
        (TransitKey { key: "oak".to_owned(), ..right() }, "transit.mount, key and namespace"),
        (TransitKey { mount: "transit".to_owned(), ..right() }, "no transit engine there (HTTP status 404)"),
        (TransitKey { namespace: None, ..right() }, "namespace"),
        (TransitKey { token_file: kms.folder.path().join("none"), ..right() }, "transit.token_file"),
        (TransitKey { address: "http://127.0.0.1:1".parse().unwrap(), ..right() }, "transit.address"),
    ] {
        let text = refused(key).await;
        assert!(text.contains(told), "{text}");
    }
    kms.token("hvs.another");
    let text = refused(right()).await;
    assert!(text.contains("403") && text.contains("the token's policy"), "{text}");
    kms.token(" \n");
    assert!(refused(right()).await.contains("holds no token"));
    kms.token(TOKEN);
    kms.engine.fails_with(503);
    assert!(refused(right()).await.contains("sealed, on standby"));
    assert_eq!(kms.bench.store.calls.load(Ordering::SeqCst), 0, "nothing was written");
}

#[tokio::test]
async fn the_token_file_is_followed() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    let sealed = seal(&vault).await.unwrap();
    let ask_again = async || {
        kms.bench.clock.advance(SignedDuration::from_mins(5));
        opens(&vault, &sealed).await
    };
    kms.token("hvs.run-out");
    assert!(ask_again().await.is_err());
    kms.token(TOKEN);
    assert!(ask_again().await.unwrap());
    // Nobody has taken the key away: it is as when the KMS does not answer.
    fs::remove_file(&kms.key.token_file).unwrap();
    assert!(ask_again().await.unwrap());
    assert_eq!(vault.failing_key_providers(), 1);
}

#[tokio::test]
async fn the_token_goes_nowhere_else() {
    let (elsewhere, kms) = (MockServer::start().await, Kms::start().await);
    Mock::given(any()).respond_with(kms.engine.clone()).mount(&elsewhere).await;
    let moved = MockServer::start().await;
    let to = format!("{}/v1/kms/transit/keys/elm", elsewhere.uri());
    Mock::given(any()).respond_with(ResponseTemplate::new(307).insert_header("Location", to)).mount(&moved).await;
    let key = TransitKey { address: moved.uri().parse().unwrap(), ..kms.key.clone() };
    let refused = kms.vault_over(provider(&[], &key)).check(CLINIC).await.unwrap_err();
    assert!(
        matches!(refused, VaultError::ProviderUnavailable { .. }),
        "a standby that sends elsewhere takes no key away"
    );
    assert!(refused.to_string().contains("redirects (HTTP status 307)"), "{refused}");
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_none_is_an_error_and_not_kept() {
    let (server, kms) = (MockServer::start().await, Kms::start().await);
    let key = TransitKey { address: server.uri().parse().unwrap(), ..kms.key.clone() };
    let vault = kms.vault_over(provider(&[], &key));
    let data =
        json!({ "latest_version": 1, "ciphertext": "vault:v1:eA==", "plaintext": "eA==", "more": " ".repeat(300_000) });
    for body in ["<html>".to_owned(), "{\"data\":{}}".to_owned(), json!({ "data": data }).to_string()] {
        server.reset().await;
        Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_string(body)).mount(&server).await;
        let refused = vault.check(CLINIC).await.unwrap_err();
        assert!(refused.to_string().contains("not the transit engine's"), "{refused}");
    }
}

/// What is logged, at the finest level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_token_nor_keys_stand_in_logs_errors_or_urls() {
    let (kms, log) = (Kms::start().await, Log::default());
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(move || writer.clone()).finish();
    let mut told = String::new();
    {
        let _logging = tracing::subscriber::set_default(subscriber);
        let vault = kms.vault();
        let sealed = seal(&vault).await.unwrap();
        assert!(opens(&kms.vault(), &sealed).await.unwrap());
        for status in [400, 403, 404, 500, 503] {
            // What other tests' threads log first is taken for what nobody listens to, until it is looked at from here.
            tracing::callsite::rebuild_interest_cache();
            kms.engine.fails_with(status);
            kms.bench.clock.advance(SignedDuration::from_hours(9));
            let refused = seal(&vault).await.unwrap_err();
            writeln!(told, "{refused} {refused:?}").unwrap();
        }
    }
    writeln!(told, "{:?}", kms.key).unwrap();
    for request in kms.server.received_requests().await.unwrap() {
        writeln!(told, "{}", request.url).unwrap();
    }
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("data keys are forgotten"), "{logged}");
    assert!(told.contains("/v1/kms/transit/encrypt/elm"), "{told}");
    let plaintexts = kms.engine.plaintexts();
    assert!(!plaintexts.is_empty());
    for secret in plaintexts.iter().map(String::as_str).chain([TOKEN, "see you at 10"]) {
        assert!(!logged.contains(secret) && !told.contains(secret));
    }
}
