//! The vault over a key store in memory.

mod rotation;
mod transit;
mod under_load;

use super::{memory_store::MemoryStore, *};
use crate::kernel::{Id, Instruments, ManualClock, Phi, SystemEntropy, Tenant};
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use jiff::{SignedDuration, Timestamp};
use std::sync::{Arc, atomic::Ordering};

enum Message {}

const CLINIC: Id<Tenant> = Id::from_bytes([1; 16]);
const OTHER: Id<Tenant> = Id::from_bytes([2; 16]);
const ROW: Id<Message> = Id::from_bytes([9; 16]);
const HERE: Place<'static> = Place::new("message", &ROW, "body");
const CLINICAL: RetentionClass = RetentionClass::Clinical;

struct Bench {
    clock: Arc<ManualClock>,
    instruments: Instruments,
    store: Arc<MemoryStore>,
    kek: String,
}

impl Bench {
    fn new() -> Self {
        let start: Timestamp = "2026-03-31T12:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::at(start));
        let instruments = Instruments::new(clock.clone(), Arc::new(SystemEntropy));
        let kek = Kek::generate(&SystemEntropy).to_base64().to_string();
        Self { clock, instruments, store: Arc::default(), kek }
    }

    fn vault(&self) -> Vault {
        self.vault_with(&[&self.kek], SealLimits::default())
    }

    fn vault_with(&self, keks: &[&str], limits: SealLimits) -> Vault {
        let mut provider = LocalKeks::new(Arc::new(SystemEntropy));
        for tenant in [CLINIC, OTHER] {
            provider.insert(tenant, keks.iter().map(|kek| Kek::from_base64(kek).unwrap()).collect()).unwrap();
        }
        Vault::with_limits(self.store.clone(), Arc::new(provider), self.instruments.clone(), limits)
    }
}

fn another_kek() -> String {
    Kek::generate(&SystemEntropy).to_base64().to_string()
}

#[tokio::test]
async fn what_is_sealed_opens_in_its_place_and_only_there() {
    let vault = Bench::new().vault();
    let sealed = vault.seal_text(CLINIC, CLINICAL, HERE, &Phi::new("see you at 10")).await.unwrap();
    assert_eq!(vault.open_text(CLINIC, HERE, &sealed).await.unwrap().expose(), "see you at 10");

    let row = Id::<Message>::from_bytes([8; 16]);
    for elsewhere in [
        Place::new("message", &row, "body"),
        Place::new("draft", &ROW, "body"),
        Place::new("message", &ROW, "parameters"),
    ] {
        let refused = vault.open(CLINIC, elsewhere, &sealed).await;
        assert!(matches!(refused, Err(VaultError::NotOpenable { key }) if key == sealed.key_id()));
    }
    let refused = vault.open(OTHER, HERE, &sealed).await;
    assert!(matches!(refused, Err(VaultError::UnknownKey { key }) if key == sealed.key_id()));
}

#[tokio::test]
async fn every_single_byte_is_protected() {
    let vault = Bench::new().vault();
    let sealed = vault.seal(CLINIC, CLINICAL, HERE, b"yes").await.unwrap();
    for position in 0..sealed.as_bytes().len() {
        let mut bytes = sealed.as_bytes().to_vec();
        bytes[position] ^= 0x40;
        let refused = match Sealed::from_bytes(bytes) {
            Ok(tampered) => vault.open(CLINIC, HERE, &tampered).await.is_err(),
            Err(error) => matches!(error, VaultError::NotSealed),
        };
        assert!(refused, "byte {position}");
    }
}

#[tokio::test]
async fn short_input_is_an_error_and_the_empty_text_is_not() {
    let vault = Bench::new().vault();
    let sealed = vault.seal(CLINIC, CLINICAL, HERE, b"").await.unwrap();
    assert!(vault.open(CLINIC, HERE, &sealed).await.unwrap().is_empty());
    for length in 0..sealed.as_bytes().len() {
        let cut = sealed.as_bytes()[..length].to_vec();
        assert!(matches!(Sealed::from_bytes(cut), Err(VaultError::NotSealed)), "{length} bytes");
    }
}

#[tokio::test]
async fn nothing_that_is_printed_holds_the_text_or_a_key() {
    let vault = Bench::new().vault();
    let sealed = vault.seal(CLINIC, CLINICAL, HERE, b"lithium").await.unwrap();
    assert_eq!(format!("{sealed:?}"), "Sealed(52 bytes)");
    assert!(!sealed.as_bytes().windows(7).any(|window| window == b"lithium"));
    let token = vault.index_token(CLINIC, "number", "+12125550123").await.unwrap();
    assert_eq!(format!("{token:?}"), "IndexToken(key version 1)");
    let binary = vault.seal(CLINIC, CLINICAL, HERE, &[0xff, 0xfe]).await.unwrap();
    assert!(matches!(vault.open_text(CLINIC, HERE, &binary).await, Err(VaultError::NotText { .. })));
}

#[tokio::test]
async fn a_key_serves_one_tenant_one_month_and_one_class() {
    let bench = Bench::new();
    let vault = bench.vault();
    let march = vault.seal(CLINIC, CLINICAL, HERE, b"1").await.unwrap();
    let names = vault.seal(CLINIC, RetentionClass::Directory, HERE, b"2").await.unwrap();
    let theirs = vault.seal(OTHER, CLINICAL, HERE, b"3").await.unwrap();
    bench.clock.advance(SignedDuration::from_hours(12));
    let april = vault.seal(CLINIC, CLINICAL, HERE, b"4").await.unwrap();
    let keys = std::collections::HashSet::from([march.key_id(), names.key_id(), theirs.key_id(), april.key_id()]);
    assert_eq!(keys.len(), 4);
    assert_eq!(&*vault.open(CLINIC, HERE, &march).await.unwrap(), b"1");
}

#[tokio::test]
async fn sealing_asks_the_store_once_and_then_once_a_minute() {
    let bench = Bench::new();
    let vault = bench.vault();
    vault.seal(CLINIC, CLINICAL, HERE, b"first").await.unwrap();
    let asked = bench.store.calls.load(Ordering::SeqCst);
    for _ in 0..1_000 {
        let sealed = vault.seal(CLINIC, CLINICAL, HERE, b"next").await.unwrap();
        vault.open(CLINIC, HERE, &sealed).await.unwrap();
    }
    assert_eq!(bench.store.calls.load(Ordering::SeqCst), asked);
    bench.clock.advance(KEYS_FRESH_FOR);
    vault.seal(CLINIC, CLINICAL, HERE, b"later").await.unwrap();
    assert_eq!(bench.store.calls.load(Ordering::SeqCst), asked + 1);
    // Being asked again costs the key nothing.
    let reserved = bench.store.records.lock().unwrap()[0].reserved;
    assert_eq!(reserved, SealLimits::default().block);
}

#[tokio::test]
async fn a_key_is_retired_at_its_limit_counted_over_all_processes() {
    let bench = Bench::new();
    let limits = SealLimits { block: 4, per_key: 8 };
    let (one, two) = (bench.vault_with(&[&bench.kek], limits), bench.vault_with(&[&bench.kek], limits));
    let mut seals = std::collections::HashMap::<_, usize>::new();
    for _ in 0..10 {
        for vault in [&one, &two] {
            let sealed = vault.seal(CLINIC, CLINICAL, HERE, b"text").await.unwrap();
            *seals.entry(sealed.key_id()).or_default() += 1;
            assert_eq!(&**two.open(CLINIC, HERE, &sealed).await.unwrap(), b"text");
        }
    }
    assert!(seals.values().all(|&count| count <= 8), "{seals:?}");
    assert_eq!(seals.values().sum::<usize>(), 20);
    let records = bench.store.records.lock().unwrap();
    assert_eq!(records.iter().filter(|key| key.state == KeyState::Full).count(), 2);
    assert_eq!(records.iter().map(|key| key.version).collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test]
async fn two_processes_that_make_this_months_key_end_with_one() {
    let bench = Bench::new();
    let vaults: Vec<Vault> = (0..8).map(|_| bench.vault()).collect();
    let sealed =
        futures_util::future::join_all(vaults.iter().map(|vault| vault.seal(CLINIC, CLINICAL, HERE, b"x"))).await;
    let first = sealed[0].as_ref().unwrap().key_id();
    assert!(sealed.iter().all(|sealed| sealed.as_ref().unwrap().key_id() == first));
    assert_eq!(bench.store.records.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_wrong_or_missing_key_encryption_key_is_refused_by_name() {
    let bench = Bench::new();
    let right = Kek::from_base64(&bench.kek).unwrap();
    let sealed = bench.vault().seal(CLINIC, CLINICAL, HERE, b"text").await.unwrap();
    let check = bench.vault().check(CLINIC).await.unwrap();
    assert_eq!((check.current_kek.as_str(), check.data_keys), (right.id(), 1));

    let wrong = bench.vault_with(&[&another_kek()], SealLimits::default());
    let refused = wrong.check(CLINIC).await.unwrap_err();
    assert!(matches!(&refused, VaultError::WrongKek { needed, .. } if needed == right.id()));
    assert!(refused.to_string().contains("configure"), "{refused}");
    assert!(matches!(wrong.open(CLINIC, HERE, &sealed).await, Err(VaultError::WrongKek { .. })));

    let none =
        Vault::new(bench.store.clone(), Arc::new(LocalKeks::new(Arc::new(SystemEntropy))), bench.instruments.clone());
    let refused = none.check(CLINIC).await.unwrap_err();
    assert!(matches!(refused, VaultError::NoKek { tenant } if tenant == CLINIC));
    assert!(refused.to_string().contains("keys generate"));
}

#[tokio::test]
async fn a_changed_or_exchanged_key_row_is_named() {
    let bench = Bench::new();
    let vault = bench.vault();
    vault.seal(CLINIC, CLINICAL, HERE, b"a").await.unwrap();
    vault.seal(CLINIC, RetentionClass::Directory, HERE, b"b").await.unwrap();
    let id = {
        let mut records = bench.store.records.lock().unwrap();
        let other = records[1].wrapped.clone();
        records[0].wrapped = other;
        records[0].id
    };
    assert!(matches!(bench.vault().check(CLINIC).await, Err(VaultError::DamagedKey { key }) if key == id));
}

/// A KMS that answers with another key than it was given, and ignores the context.
struct ConfusedKms;

impl KeyProvider for ConfusedKms {
    fn name(&self) -> &'static str {
        "confused"
    }
    fn current_kek(&self, _: Id<Tenant>) -> BoxFuture<'_, Result<String, VaultError>> {
        ready(Ok("kms/1".to_owned())).boxed()
    }
    fn wrap_key<'a>(
        &'a self,
        _: Id<Tenant>,
        _: &'a KeyBytes,
        _: &'a [u8],
    ) -> BoxFuture<'a, Result<WrappedKey, VaultError>> {
        ready(Ok(WrappedKey { kek: "kms/1".to_owned(), bytes: vec![1] })).boxed()
    }
    fn unwrap_key<'a>(
        &'a self,
        _: Id<Tenant>,
        _: &'a WrappedKey,
        _: &'a [u8],
    ) -> BoxFuture<'a, Result<KeyBytes, VaultError>> {
        ready(Ok(KeyBytes::new([7; 32]))).boxed()
    }
}

#[tokio::test]
async fn a_provider_that_gives_another_key_is_caught_by_the_check_value() {
    let bench = Bench::new();
    let vault = Vault::new(bench.store.clone(), Arc::new(ConfusedKms), bench.instruments.clone());
    assert!(matches!(vault.check(CLINIC).await, Err(VaultError::KekRefused { .. })));
    assert!(matches!(vault.seal(CLINIC, CLINICAL, HERE, b"x").await, Err(VaultError::DamagedKey { .. })));
}

#[tokio::test]
async fn hashes_and_macs_depend_on_tenant_and_purpose() {
    let vault = Bench::new().vault();
    let hash = vault.content_hash(CLINIC, b"YES").await.unwrap();
    assert_eq!(hash, vault.content_hash(CLINIC, b"YES").await.unwrap());
    assert_ne!(hash, vault.content_hash(OTHER, b"YES").await.unwrap());
    let row = vault.mac_key(CLINIC, MacPurpose::AuditRow).await.unwrap();
    let head = vault.mac_key(CLINIC, MacPurpose::AuditHead).await.unwrap();
    let tag = row.sign(&[b"a", b"b"]);
    assert!(row.verify(&[b"a", b"b"], &tag));
    assert!(!row.verify(&[b"ab", b""], &tag));
    assert!(!head.verify(&[b"a", b"b"], &tag));
    assert!(!row.verify(&[b"a", b"b"], &tag[..31]));
}

#[test]
fn a_key_encryption_key_must_be_32_random_bytes() {
    let kek = Kek::generate(&SystemEntropy);
    let again = Kek::from_base64(&format!("  {}\n", *kek.to_base64())).unwrap();
    assert_eq!(kek.id(), again.id());
    assert_eq!(kek.id().len(), 16);
    assert!(kek.placement().contains(kek.id()));
    assert!(!kek.placement().contains(kek.to_base64().as_str()));
    for bad in ["", "c2hvcnQ=", "not base64!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
        assert!(matches!(Kek::from_base64(bad), Err(VaultError::BadKek)), "{bad}");
    }
}
