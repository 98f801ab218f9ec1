//! A key-encryption key that is destroyed takes with it what its data keys sealed.

use super::*;

#[tokio::test]
async fn a_key_deleted_in_the_kms_makes_what_it_sealed_unreadable_for_good() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    let sealed = seal(&vault).await.unwrap();
    kms.engine.delete();
    kms.bench.clock.advance(SignedDuration::from_mins(5));
    let refused = opens(&vault, &sealed).await.unwrap_err();
    assert!(matches!(refused, VaultError::ProviderRefuses { .. }), "{refused}");
    assert!(kms.vault().check(CLINIC).await.is_err());

    kms.engine.make_anew();
    for vault in [&vault, &kms.vault()] {
        kms.bench.clock.advance(SignedDuration::from_mins(5));
        let refused = opens(vault, &sealed).await.unwrap_err();
        assert!(matches!(refused, VaultError::DamagedKey { .. }), "a key of the same name is another: {refused}");
    }
    assert!(matches!(kms.vault().check(CLINIC).await, Err(VaultError::DamagedKey { .. })), "and refused at the start");
}

#[tokio::test]
async fn a_key_made_anew_between_two_asks_seals_nothing_that_could_not_be_opened_again() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    let sealed = seal(&vault).await.unwrap();
    kms.engine.delete();
    kms.engine.make_anew();
    kms.bench.clock.advance(SignedDuration::from_mins(5));
    for refused in [opens(&vault, &sealed).await.map(drop), seal(&vault).await.map(drop)] {
        assert!(matches!(&refused, Err(VaultError::DamagedKey { .. })), "{refused:?}");
    }
    assert_eq!(vault.failing_key_providers(), 1);
}

#[tokio::test]
async fn a_local_key_that_is_gone_makes_what_it_sealed_unreadable_for_good() {
    let bench = Bench::new();
    let sealed = bench.vault().seal(CLINIC, CLINICAL, HERE, b"text").await.unwrap();
    let another = another_kek();
    let without = || bench.vault_with(&[&another], SealLimits::default());
    assert!(matches!(without().open(CLINIC, HERE, &sealed).await, Err(VaultError::WrongKek { .. })));
    assert!(matches!(without().check(CLINIC).await, Err(VaultError::WrongKek { .. })));
    // Nor is it the name alone that keeps it closed.
    for record in bench.store.records.lock().unwrap().iter_mut() {
        record.wrapped.kek = Kek::from_base64(&another).unwrap().id().to_owned();
    }
    assert!(matches!(without().open(CLINIC, HERE, &sealed).await, Err(VaultError::DamagedKey { .. })));
}
