//! What holds while the KMS does not answer, and once it takes a key away.

use super::*;
use futures_util::future::join_all;

/// What one ask takes: reading the key, wrapping and unwrapping, and unwrapping a data key in use.
const ASK: usize = 4;

#[tokio::test]
async fn open_keys_survive_an_outage_for_the_stated_time_and_no_longer() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    let sealed = seal(&vault).await.unwrap();
    kms.engine.fails_with(503);
    for _ in 0..7 {
        kms.bench.clock.advance(SignedDuration::from_hours(1));
        assert!(opens(&vault, &sealed).await.unwrap());
        assert!(opens(&vault, &seal(&vault).await.unwrap()).await.unwrap());
    }
    assert_eq!(vault.failing_key_providers(), 1);
    kms.bench.clock.advance(SignedDuration::from_hours(1) - SignedDuration::from_millis(1));
    assert!(opens(&vault, &sealed).await.unwrap());
    kms.bench.clock.advance(SignedDuration::from_millis(1));
    for refused in [opens(&vault, &sealed).await.map(drop), seal(&vault).await.map(drop)] {
        assert!(matches!(&refused, Err(VaultError::ProviderUnavailable { .. })), "{refused:?}");
    }
    assert!(vault.content_hash(CLINIC, b"x").await.is_err());
    kms.engine.fails_with(0);
    kms.bench.clock.advance(SignedDuration::from_secs(10));
    assert!(opens(&vault, &sealed).await.unwrap());
    assert_eq!(vault.failing_key_providers(), 0);
}

#[tokio::test]
async fn an_outage_that_lasts_into_the_next_month_is_survived_too() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    seal(&vault).await.unwrap();
    // 31 March, 19:55 UTC: the last that is heard of the KMS.
    kms.bench.clock.advance(SignedDuration::from_mins(7 * 60 + 55));
    seal(&vault).await.unwrap();
    kms.engine.fails_with(503);
    kms.bench.clock.advance(SignedDuration::from_hours(5));
    let sealed = seal(&vault).await.unwrap();
    let keys = vault.list_keys(CLINIC).await.unwrap();
    let april = keys.iter().find(|key| key.id == sealed.key_id()).unwrap();
    assert_eq!(april.period.to_string(), "2026-04");
    assert!(opens(&vault, &sealed).await.unwrap());
}

#[tokio::test]
async fn it_is_asked_by_one_caller_and_not_more_often_than_stated() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    vault.check(CLINIC).await.unwrap();
    let sealed = seal(&vault).await.unwrap();
    let everybody = || join_all((0..50).map(|_| opens(&vault, &sealed)));
    let calls_of = async |round: &dyn Fn() -> usize| {
        let before = round();
        let all = everybody().await;
        (round() - before, all)
    };
    let calls = || kms.engine.calls();

    kms.bench.clock.advance(SignedDuration::from_mins(5) - SignedDuration::from_millis(1));
    assert_eq!(calls_of(&calls).await.0, 0, "it was asked at the start");
    kms.bench.clock.advance(SignedDuration::from_millis(1));
    assert_eq!(calls_of(&calls).await.0, ASK);
    kms.engine.fails_with(500);
    kms.bench.clock.advance(SignedDuration::from_mins(5));
    assert_eq!(calls_of(&calls).await.0, 1, "one caller meets the outage");
    kms.bench.clock.advance(SignedDuration::from_mins(4));
    assert_eq!(calls_of(&calls).await.0, 0);

    kms.bench.clock.advance(SignedDuration::from_hours(9));
    let (asked, refused) = calls_of(&calls).await;
    assert_eq!(asked, 1, "the others wait for that one answer");
    assert!(refused.iter().all(Result::is_err));
    assert_eq!(calls_of(&calls).await.0, 0, "and then for ten seconds for none");
    kms.engine.fails_with(0);
    kms.bench.clock.advance(SignedDuration::from_secs(10));
    let (asked, opened) = calls_of(&calls).await;
    assert_eq!(asked, ASK + 1, "one ask, and then the data key that was forgotten");
    assert!(opened.iter().all(|opened| matches!(opened, Ok(true))));
}

#[tokio::test]
async fn keys_that_are_not_open_do_not_make_every_caller_wait_for_the_same_silence() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    seal(&vault).await.unwrap();
    kms.engine.fails_with(503);
    let before = kms.engine.calls();
    for _ in 0..20 {
        assert!(vault.index_token(CLINIC, "number", "+12125550123").await.is_err());
    }
    assert_eq!(kms.engine.calls() - before, 1);
}

#[tokio::test]
async fn a_key_that_was_taken_away_in_the_kms_is_forgotten_at_the_next_ask() {
    for status in [400, 403, 404] {
        let kms = Kms::start().await;
        let vault = kms.vault();
        let sealed = seal(&vault).await.unwrap();
        kms.engine.fails_with(status);
        assert!(opens(&vault, &sealed).await.unwrap(), "not asked again yet");
        kms.bench.clock.advance(SignedDuration::from_mins(5));
        for refused in [opens(&vault, &sealed).await.map(drop), seal(&vault).await.map(drop)] {
            assert!(matches!(&refused, Err(VaultError::ProviderRefuses { .. })), "{status}: {refused:?}");
        }
        assert!(opens(&kms.vault(), &sealed).await.is_err());
        // Nothing is left that could survive an outage.
        kms.engine.fails_with(503);
        kms.bench.clock.advance(SignedDuration::from_mins(5));
        assert!(opens(&vault, &sealed).await.is_err(), "{status}");
        kms.engine.fails_with(0);
        kms.bench.clock.advance(SignedDuration::from_mins(5));
        assert!(opens(&vault, &sealed).await.unwrap(), "{status}: access was given back");
    }
}

#[tokio::test]
async fn a_refusal_met_while_a_key_is_unwrapped_counts_as_one() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    let sealed = seal(&vault).await.unwrap();
    kms.engine.fails_with(403);
    assert!(vault.index_token(CLINIC, "number", "+12125550123").await.is_err());
    assert!(opens(&vault, &sealed).await.is_err(), "forgotten although it was not due to be asked");
}

#[tokio::test]
async fn one_tenants_outage_is_not_anothers() {
    let kms = Kms::start().await;
    let mut local = LocalKeks::new(Arc::new(SystemEntropy));
    local.insert(OTHER, vec![Kek::from_base64(&kms.bench.kek).unwrap()]).unwrap();
    let mut provider = TransitKeks::over(local);
    provider.insert(CLINIC, kms.key.clone()).unwrap();
    let vault = kms.vault_over(provider);
    kms.engine.fails_with(403);
    assert!(seal(&vault).await.is_err());
    let sealed = vault.seal(OTHER, CLINICAL, HERE, b"theirs").await.unwrap();
    assert_eq!(&**vault.open(OTHER, HERE, &sealed).await.unwrap(), b"theirs");
}
