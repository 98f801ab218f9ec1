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
        assert!(matches!(refused, VaultError::ProviderRefuses { .. }), "a key of the same name is another: {refused}");
    }
    assert!(matches!(kms.vault().check(CLINIC).await, Err(VaultError::DamagedKey { .. })), "and refused at the start");
}

#[tokio::test]
async fn data_keys_that_were_destroyed_are_forgotten_by_every_process_and_no_others_are_made() {
    let bench = Bench::new();
    let (vault, idle) = (bench.vault(), bench.vault());
    let sealed = vault.seal(CLINIC, CLINICAL, HERE, b"text").await.unwrap();
    let theirs = vault.seal(OTHER, CLINICAL, HERE, b"theirs").await.unwrap();
    idle.open(CLINIC, HERE, &sealed).await.unwrap();
    idle.ask_where_due(CLINIC).await.unwrap();
    for record in bench.store.records.lock().unwrap().iter_mut().filter(|record| record.tenant == CLINIC) {
        record.state = KeyState::Destroyed;
        record.wrapped = WrappedKey { kek: String::new(), bytes: Vec::new() };
        record.check_value.clear();
    }
    bench.clock.advance(KEYS_FRESH_FOR);
    let is_destroyed =
        |refused: Option<VaultError>| matches!(refused, Some(VaultError::Destroyed { tenant }) if tenant == CLINIC);
    assert!(is_destroyed(idle.ask_where_due(CLINIC).await.err()));
    vault.ask_where_due(CLINIC).await.unwrap_err();
    for vault in [&vault, &idle, &bench.vault()] {
        assert!(is_destroyed(vault.open(CLINIC, HERE, &sealed).await.err()));
        assert!(is_destroyed(vault.seal(CLINIC, CLINICAL, HERE, b"x").await.err()));
        assert!(is_destroyed(vault.seal(CLINIC, RetentionClass::Session, HERE, b"x").await.err()));
        assert!(is_destroyed(vault.index_token(CLINIC, "number", "+12125550123").await.err()));
        assert!(is_destroyed(vault.check(CLINIC).await.err()));
    }
    assert_eq!(&**vault.open(OTHER, HERE, &theirs).await.unwrap(), b"theirs");
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
