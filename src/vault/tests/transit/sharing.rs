//! Tenants and processes that share a store, and a KMS that is away for some of them.

use super::*;

#[tokio::test]
async fn of_two_tenants_in_a_kms_each_has_its_own_outage() {
    let (kms, theirs) = (Kms::start().await, Kms::start().await);
    let mut provider = provider(&[], &kms.key);
    provider.insert(OTHER, theirs.key.clone()).unwrap();
    let vault = kms.vault_over(provider);
    let sealed = vault.seal(OTHER, CLINICAL, HERE, b"theirs").await.unwrap();
    seal(&vault).await.unwrap();
    kms.engine.fails_with(403);
    kms.bench.clock.advance(SignedDuration::from_mins(5));
    assert!(seal(&vault).await.is_err());
    assert_eq!(&**vault.open(OTHER, HERE, &sealed).await.unwrap(), b"theirs");
    vault.seal(OTHER, RetentionClass::Directory, HERE, b"a new key").await.unwrap();
    assert_eq!(vault.failing_key_providers(), 1);
}

#[tokio::test]
async fn what_cannot_be_opened_uses_up_no_key() {
    let kms = Kms::start().await;
    seal(&kms.vault()).await.unwrap();
    let cold = kms.vault();
    cold.check(CLINIC).await.unwrap();
    kms.engine.fails_with(503);
    for _ in 0..20 {
        assert!(seal(&cold).await.is_err());
        kms.bench.clock.advance(SignedDuration::from_secs(10));
    }
    assert_eq!(kms.bench.store.records.lock().unwrap()[0].reserved, SealLimits::default().block);
}

#[tokio::test]
async fn a_process_that_has_just_started_survives_an_outage_too() {
    let kms = Kms::start().await;
    let running = kms.vault();
    let sealed = seal(&running).await.unwrap();
    let token = running.index_token(CLINIC, "number", "+12125550123").await.unwrap();
    let started = kms.vault();
    started.check(CLINIC).await.unwrap();
    started.open_keys_in_use(CLINIC).await.unwrap();
    kms.engine.fails_with(503);
    kms.bench.clock.advance(SignedDuration::from_hours(7));
    assert!(opens(&started, &sealed).await.unwrap());
    assert!(opens(&started, &seal(&started).await.unwrap()).await.unwrap());
    assert_eq!(started.index_token(CLINIC, "number", "+12125550123").await.unwrap(), token);
}

#[tokio::test]
async fn a_process_with_nothing_to_do_asks_and_forgets_too() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    let sealed = seal(&vault).await.unwrap();
    kms.engine.fails_with(503);
    kms.bench.clock.advance(SignedDuration::from_mins(5));
    vault.ask_where_due(CLINIC).await.unwrap();
    assert_eq!(vault.failing_key_providers(), 1);
    kms.bench.clock.advance(SignedDuration::from_hours(8));
    assert!(vault.ask_where_due(CLINIC).await.is_err());
    // Nothing is left: with the KMS back, the data key has to be unwrapped.
    kms.engine.fails_with(0);
    kms.bench.clock.advance(SignedDuration::from_secs(10));
    vault.ask_where_due(CLINIC).await.unwrap();
    let before = kms.engine.calls();
    assert!(opens(&vault, &sealed).await.unwrap());
    assert_eq!(kms.engine.calls() - before, 1);
}

#[tokio::test]
async fn one_failing_node_behind_a_load_balancer_does_not_put_the_next_ask_off() {
    let kms = Kms::start().await;
    let vault = kms.vault();
    let sealed = seal(&vault).await.unwrap();
    kms.bench.clock.advance(SignedDuration::from_mins(4));
    kms.engine.fails_with(503);
    assert!(vault.content_hash(CLINIC, b"x").await.is_err());
    assert_eq!(vault.failing_key_providers(), 1);
    kms.engine.fails_with(0);
    kms.bench.clock.advance(SignedDuration::from_secs(10));
    vault.content_hash(CLINIC, b"x").await.unwrap();
    assert_eq!(vault.failing_key_providers(), 0, "it does its work again");
    kms.engine.fails_with(403);
    kms.bench.clock.advance(SignedDuration::from_secs(50));
    assert!(opens(&vault, &sealed).await.is_err(), "five minutes after it was last asked");
}

#[tokio::test]
async fn on_the_way_out_nobody_waits_for_a_kms_that_is_away_and_the_local_key_goes_on() {
    let kms = Kms::start().await;
    let old = kms.vault();
    let (first, second) =
        (seal(&old).await.unwrap(), { old.seal(CLINIC, RetentionClass::Directory, HERE, b"a name").await.unwrap() });
    let leaving = TransitKey { only_unwraps: true, ..kms.key.clone() };
    let vault = kms.vault_over(provider(&[&kms.bench.kek], &leaving));
    kms.engine.fails_with(503);
    let before = kms.engine.calls();
    for _ in 0..10 {
        assert!(opens(&vault, &first).await.is_err());
        assert!(vault.open(CLINIC, HERE, &second).await.is_err());
    }
    assert_eq!(kms.engine.calls() - before, 1);
    let sealed = vault.seal(CLINIC, RetentionClass::Session, HERE, b"new").await.unwrap();
    assert_eq!(&**vault.open(CLINIC, HERE, &sealed).await.unwrap(), b"new");
    kms.engine.fails_with(0);
    kms.bench.clock.advance(SignedDuration::from_secs(10));
    assert!(opens(&vault, &first).await.unwrap());
}

#[tokio::test]
async fn a_data_key_copied_to_another_tenant_does_not_open_and_a_value_moved_with_its_key_neither() {
    let bench = Bench::new();
    let vault = bench.vault();
    let sealed = vault.seal(CLINIC, CLINICAL, HERE, b"text").await.unwrap();
    let mut copied = bench.store.records.lock().unwrap()[0].clone();
    let mut local = LocalKeks::new(Arc::new(SystemEntropy));
    for tenant in [CLINIC, OTHER] {
        local.insert(tenant, vec![Kek::from_base64(&bench.kek).unwrap()]).unwrap();
    }
    let bytes = local.unwrap_key(CLINIC, &copied.wrapped, &copied.wrapping_context()).await.unwrap();
    copied.tenant = OTHER;
    bench.store.records.lock().unwrap().push(copied.clone());
    assert!(matches!(vault.open(OTHER, HERE, &sealed).await, Err(VaultError::DamagedKey { .. })));

    // Even where somebody who has the key-encryption key wraps it for the other tenant.
    let context = copied.wrapping_context();
    copied.wrapped = local.wrap_key(OTHER, &bytes, &context).await.unwrap();
    copied.check_value = cipher::check_value(&bytes, &context);
    *bench.store.records.lock().unwrap().last_mut().unwrap() = copied;
    assert!(matches!(vault.open(OTHER, HERE, &sealed).await, Err(VaultError::NotOpenable { .. })));
}
