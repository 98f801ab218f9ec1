//! Keys are replaced while the KMS goes away.

use super::*;

#[tokio::test]
async fn data_keys_are_not_retired_where_their_successors_cannot_be_made() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    let sealed = seal(&vault).await.unwrap();
    kms.engine.fails_with(503);
    assert!(vault.rotate_data_keys(CLINIC).await.is_err());
    kms.bench.clock.advance(KEYS_FRESH_FOR);
    assert_eq!(seal(&vault).await.unwrap().key_id(), sealed.key_id());
}

#[tokio::test]
async fn a_process_goes_on_when_the_kms_goes_away_just_after_data_keys_were_replaced() {
    let kms = Kms::start().await;
    let (vault, operator) = (kms.vault(), kms.vault());
    let before = seal(&vault).await.unwrap();
    operator.rotate_data_keys(CLINIC).await.unwrap();
    let keys = vault.list_keys(CLINIC).await.unwrap();
    assert_eq!(keys.iter().map(|key| key.state).collect::<Vec<_>>(), [KeyState::Rotated, KeyState::Live]);
    kms.engine.fails_with(503);
    kms.bench.clock.advance(KEYS_FRESH_FOR);
    assert!(opens(&vault, &seal(&vault).await.unwrap()).await.unwrap());
    kms.engine.fails_with(0);
    kms.bench.clock.advance(KEYS_FRESH_FOR);
    assert_ne!(seal(&vault).await.unwrap().key_id(), before.key_id(), "the new one, once it can be opened");
}

#[tokio::test]
async fn wrapping_anew_that_was_cut_off_goes_on_where_it_was() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    let sealed = seal(&vault).await.unwrap();
    for value in [b"a", b"b"] {
        kms.bench.clock.advance(SignedDuration::from_hours(24 * 31));
        vault.seal(CLINIC, CLINICAL, HERE, value).await.unwrap();
    }
    kms.engine.rotate();
    // The key is read, then one data key unwrapped and wrapped, and the next unwrapped.
    kms.engine.goes_away_after(4);
    assert!(vault.rotate_kek(CLINIC).await.is_err());
    kms.engine.goes_away_after(0);
    let under = |version: &str| {
        let records = kms.bench.store.records.lock().unwrap();
        records.iter().filter(|key| key.wrapped.kek.ends_with(version)).count()
    };
    assert_eq!((under("v1"), under("v2")), (2, 1));
    kms.bench.clock.advance(SignedDuration::from_secs(10));
    assert_eq!(vault.rotate_kek(CLINIC).await.unwrap(), 2);
    assert_eq!((under("v1"), under("v2")), (0, 3));
    assert!(opens(&kms.vault(), &sealed).await.unwrap());
}
