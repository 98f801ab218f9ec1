//! What the KMS is asked for: that it still unwraps what new values are sealed under, and what its no means.

use super::*;

const ASKED_AGAIN: SignedDuration = SignedDuration::from_mins(5);

#[tokio::test]
async fn nothing_is_sealed_any_more_once_a_key_was_made_anew_between_two_asks() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    let sealed = seal(&vault).await.unwrap();
    kms.engine.delete();
    kms.engine.make_anew();
    for wait in [ASKED_AGAIN, SignedDuration::from_secs(10), ASKED_AGAIN] {
        kms.bench.clock.advance(wait);
        for refused in [seal(&vault).await.map(drop), opens(&vault, &sealed).await.map(drop)] {
            let refused = refused.unwrap_err();
            assert!(matches!(refused, VaultError::ProviderRefuses { .. }) && refused.is_transient(), "{refused}");
        }
        assert_eq!(vault.failing_key_providers(), 1, "and it stays so");
    }
}

#[tokio::test]
async fn nothing_is_sealed_any_more_once_the_version_that_wrapped_its_key_may_not_unwrap() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    seal(&vault).await.unwrap();
    kms.engine.rotate();
    kms.bench.clock.advance(ASKED_AGAIN);
    seal(&vault).await.unwrap();
    kms.engine.decrypts_from(2);
    kms.bench.clock.advance(ASKED_AGAIN);
    assert!(matches!(seal(&vault).await, Err(VaultError::ProviderRefuses { .. })));
    kms.engine.decrypts_from(1);
    kms.bench.clock.advance(ASKED_AGAIN);
    seal(&vault).await.unwrap();
}

#[tokio::test]
async fn one_damaged_row_is_not_taken_for_a_key_that_is_gone() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    let sealed = seal(&vault).await.unwrap();
    kms.bench.clock.advance(SignedDuration::from_secs(1));
    vault.content_hash(CLINIC, b"x").await.unwrap();
    kms.bench.store.records.lock().unwrap()[1].check_value[0] ^= 1;
    kms.bench.clock.advance(ASKED_AGAIN);
    assert!(opens(&vault, &sealed).await.unwrap());
    assert_eq!(vault.failing_key_providers(), 0);
    let cold = kms.vault();
    assert!(matches!(cold.content_hash(CLINIC, b"x").await, Err(VaultError::DamagedKey { .. })), "it is named");
    assert!(opens(&cold, &sealed).await.unwrap());
}

#[tokio::test]
async fn a_no_of_what_stands_before_the_kms_takes_no_key_away() {
    for status in [400, 401, 403, 404, 413] {
        let kms = Kms::start().await;
        let vault = kms.vault();
        let sealed = seal(&vault).await.unwrap();
        kms.engine.proxy_answers_with(status);
        kms.bench.clock.advance(ASKED_AGAIN);
        assert!(opens(&vault, &sealed).await.unwrap(), "{status}");
        assert_eq!(vault.failing_key_providers(), 1, "{status}: it is away");
        let cold = kms.vault().check(CLINIC).await.unwrap_err();
        assert!(
            cold.to_string().contains("what stands before the KMS") && !cold.to_string().contains("html"),
            "{cold}"
        );
    }
}

#[tokio::test]
async fn a_standby_that_lags_behind_is_asked_twice() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    let sealed = seal(&vault).await.unwrap();
    kms.engine.lags_for(1);
    kms.bench.clock.advance(ASKED_AGAIN);
    assert!(opens(&vault, &sealed).await.unwrap());
    assert_eq!(vault.failing_key_providers(), 0);
    kms.engine.lags_for(2);
    kms.bench.clock.advance(ASKED_AGAIN);
    let refused = opens(&vault, &sealed).await.unwrap_err();
    assert!(matches!(refused, VaultError::ProviderRefuses { .. }) && refused.is_transient(), "{refused}");
}

#[tokio::test]
async fn a_key_that_can_be_copied_out_is_refused() {
    let kms = Kms::start().await;
    kms.engine.0.exportable.store(true, Ordering::SeqCst);
    let refused = kms.vault().check(CLINIC).await.unwrap_err();
    assert!(refused.to_string().contains("exportable"), "{refused}");
}
