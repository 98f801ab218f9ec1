//! Keys are replaced while many tasks seal and open, in two processes: nobody fails, nobody waits for it to end.

use super::{
    transit::{Kms, opens, seal},
    *,
};
use std::sync::atomic::{AtomicBool, AtomicUsize};

const TASKS: usize = 24;
/// Seals, opens and look-ups of each task at least.
const ROUNDS: usize = 40;

/// Seals and opens until `rotated`, and what `before` sealed; gives how often.
async fn at_work(vaults: [Vault; 2], before: Sealed, rotated: Arc<AtomicBool>) -> usize {
    let mut rounds = 0;
    while rounds < ROUNDS || !rotated.load(Ordering::SeqCst) {
        let [one, other] = &vaults;
        let sealed = seal(one).await.unwrap();
        assert!(opens(other, &sealed).await.unwrap());
        assert!(opens(one, &before).await.unwrap());
        let token = one.index_token(CLINIC, "number", "+12125550123").await.unwrap();
        assert!(other.index_tokens(CLINIC, "number", "+12125550123").await.unwrap().contains(&token));
        rounds += 1;
        tokio::task::yield_now().await;
    }
    rounds
}

/// Has tasks work over `vaults` while `rotate` runs; the clock goes on, so that processes look at the store again.
async fn works_throughout(vaults: [Vault; 2], clock: Arc<ManualClock>, rotate: impl AsyncFnOnce()) {
    let before = seal(&vaults[0]).await.unwrap();
    let rotated = Arc::new(AtomicBool::new(false));
    let started = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let [one, other] = vaults.clone();
            let vaults = if task % 2 == 0 { [one, other] } else { [other, one] };
            let (before, rotated, started) = (before.clone(), rotated.clone(), started.clone());
            tokio::spawn(async move {
                started.fetch_add(1, Ordering::SeqCst);
                at_work(vaults, before, rotated).await
            })
        })
        .collect();
    while started.load(Ordering::SeqCst) < TASKS {
        tokio::task::yield_now().await;
    }
    rotate().await;
    clock.advance(KEYS_FRESH_FOR);
    rotated.store(true, Ordering::SeqCst);
    for task in tasks {
        assert!(task.await.unwrap() >= ROUNDS);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn local_keys_are_replaced_under_load_without_a_failure() {
    let bench = Bench::new();
    let fresh = another_kek();
    // One process still has the old key first, as between two restarts.
    let one = bench.vault_with(&[&bench.kek, &fresh], SealLimits::default());
    let other = bench.vault_with(&[&fresh, &bench.kek], SealLimits::default());
    let (rotating, clock) = (other.clone(), bench.clock.clone());
    works_throughout([one, other], bench.clock.clone(), async || {
        for _ in 0..10 {
            rotating.rotate_kek(CLINIC).await.unwrap();
            rotating.rotate_data_keys(CLINIC).await.unwrap();
            clock.advance(KEYS_FRESH_FOR);
            tokio::task::yield_now().await;
        }
    })
    .await;
    let last = bench.vault_with(&[&fresh, &bench.kek], SealLimits::default());
    last.rotate_kek(CLINIC).await.unwrap();
    let check = bench.vault_with(&[&fresh], SealLimits::default()).check(CLINIC).await.unwrap();
    assert_eq!(check.keks_in_use.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_in_a_kms_are_replaced_under_load_without_a_failure() {
    let kms = Kms::start().await;
    let vaults = [kms.vault(), kms.vault()];
    let (rotating, clock, engine) = (kms.vault(), kms.bench.clock.clone(), kms.engine.clone());
    works_throughout(vaults, kms.bench.clock.clone(), async || {
        for _ in 0..5 {
            engine.rotate();
            rotating.rotate_kek(CLINIC).await.unwrap();
            rotating.rotate_data_keys(CLINIC).await.unwrap();
            clock.advance(KEYS_FRESH_FOR);
        }
    })
    .await;
    kms.vault().rotate_kek(CLINIC).await.unwrap();
    assert_eq!(kms.vault().check(CLINIC).await.unwrap().keks_in_use, ["transit:kms/transit/elm:v6".to_owned()].into());
}
