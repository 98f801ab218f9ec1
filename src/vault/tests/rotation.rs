//! Replacing keys, and sealing anew what older keys sealed.

use super::{
    super::{
        AnyRow, Place, ResealCursor, ResealPlan, RowKey, SealLimits, Sealed, SealedColumn, SealedRow, SealedRows,
        VaultError,
    },
    Bench, CLINIC, CLINICAL, HERE, OTHER, another_kek,
};
use crate::kernel::{Id, Tenant};
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use jiff::SignedDuration;
use std::sync::Mutex;

#[tokio::test]
async fn rotating_the_key_encryption_key_rewraps_at_once_and_touches_no_value() {
    let bench = Bench::new();
    let old = bench.vault();
    let sealed = old.seal(CLINIC, CLINICAL, HERE, b"old").await.unwrap();
    let token = old.index_token(CLINIC, "number", "+12125550123").await.unwrap();
    let fresh = another_kek();

    let both = bench.vault_with(&[&fresh, &bench.kek], SealLimits::default());
    assert_eq!(both.rotate_kek(CLINIC).await.unwrap(), 2);
    assert_eq!(both.rotate_kek(CLINIC).await.unwrap(), 0);

    let only_fresh = bench.vault_with(&[&fresh], SealLimits::default());
    let check = only_fresh.check(CLINIC).await.unwrap();
    assert_eq!(check.keks_in_use.into_iter().collect::<Vec<_>>(), [check.current_kek]);
    assert_eq!(&**only_fresh.open(CLINIC, HERE, &sealed).await.unwrap(), b"old");
    assert_eq!(only_fresh.index_token(CLINIC, "number", "+12125550123").await.unwrap(), token);
    // A process that still runs with the old key goes on with the keys it has in memory.
    assert_eq!(&**old.open(CLINIC, HERE, &sealed).await.unwrap(), b"old");
}

#[tokio::test]
async fn rotated_data_keys_are_not_used_again_by_any_process() {
    let bench = Bench::new();
    let (one, two) = (bench.vault(), bench.vault());
    let before = one.seal(CLINIC, CLINICAL, HERE, b"text").await.unwrap();
    two.seal(CLINIC, CLINICAL, HERE, b"text").await.unwrap();
    let rotation = one.rotate_data_keys(CLINIC).await.unwrap();
    assert_eq!(rotation.keys, 1);
    bench.clock.set(rotation.settled_at);
    for vault in [&one, &two] {
        assert_ne!(vault.seal(CLINIC, CLINICAL, HERE, b"x").await.unwrap().key_id(), before.key_id());
    }
    assert_eq!(&**two.open(CLINIC, HERE, &before).await.unwrap(), b"text");

    // A month later: the value keeps its month, so that it can be destroyed with its like.
    bench.clock.advance(SignedDuration::from_hours(24 * 30));
    let after = two.reseal(CLINIC, HERE, &before).await.unwrap().unwrap();
    assert_eq!(&**one.open(CLINIC, HERE, &after).await.unwrap(), b"text");
    assert_eq!(two.reseal(CLINIC, HERE, &after).await.unwrap(), None);
    let keys = one.list_keys(CLINIC).await.unwrap();
    let period = |id| keys.iter().find(|key| key.id == id).map(|key| key.period);
    assert_eq!(period(after.key_id()), period(before.key_id()));
}

#[tokio::test]
async fn a_value_is_found_by_its_token_in_its_field_and_tenant_only_whatever_is_rotated() {
    let bench = Bench::new();
    let (one, two) = (bench.vault(), bench.vault());
    let token = one.index_token(CLINIC, "number", "+12125550123").await.unwrap();
    assert_ne!(one.index_token(CLINIC, "name", "+12125550123").await.unwrap().bytes, token.bytes);
    assert_ne!(one.index_token(OTHER, "number", "+12125550123").await.unwrap().bytes, token.bytes);
    one.rotate_kek(CLINIC).await.unwrap();
    let settled_at = one.rotate_data_keys(CLINIC).await.unwrap().settled_at;
    bench.clock.set(settled_at);
    assert_eq!(two.index_token(CLINIC, "number", "+12125550123").await.unwrap(), token);
}

/// Sealed values in a list, one column.
struct Rows(Mutex<Vec<(Id<AnyRow>, Vec<u8>)>>);

impl SealedRows for Rows {
    fn page(
        &self,
        _: Id<Tenant>,
        _: SealedColumn,
        after: Option<RowKey>,
        limit: i64,
    ) -> BoxFuture<'_, Result<Vec<SealedRow>, VaultError>> {
        let rows = self.0.lock().unwrap();
        let after = after.map(|key| if let RowKey::Id(id) = key { id } else { panic!("an id") });
        let page = rows.iter().filter(|(row, _)| after.is_none_or(|after| *row > after));
        let page = page.take(usize::try_from(limit).unwrap());
        let page = page.map(|(row, value)| SealedRow { row: RowKey::Id(*row), value: value.clone() }).collect();
        ready(Ok(page)).boxed()
    }

    fn replace(
        &self,
        _: Id<Tenant>,
        _: SealedColumn,
        previous: SealedRow,
        value: Sealed,
    ) -> BoxFuture<'_, Result<bool, VaultError>> {
        let mut rows = self.0.lock().unwrap();
        let found = rows.iter_mut().find(|(row, old)| RowKey::Id(*row) == previous.row && *old == previous.value);
        ready(Ok(found.is_some_and(|found| {
            found.1 = value.into_bytes();
            true
        })))
        .boxed()
    }
}

#[tokio::test]
async fn the_walk_seals_every_value_anew_and_names_the_row_that_it_cannot() {
    let bench = Bench::new();
    let vault = bench.vault();
    let column = SealedColumn::new("message", "body");
    let mut sealed = Vec::new();
    for number in 1..=5 {
        let row = Id::<AnyRow>::from_bytes([number; 16]);
        let place = Place::new("message", &row, "body");
        sealed.push((row, vault.seal(CLINIC, CLINICAL, place, &[number]).await.unwrap().into_bytes()));
    }
    let rows = Rows(Mutex::new(sealed));
    let rotation = vault.rotate_data_keys(CLINIC).await.unwrap();
    bench.clock.set(rotation.settled_at);

    let plan = ResealPlan::new(vec![column]);
    let (mut cursor, mut resealed, mut steps) = (Some(ResealCursor::default()), 0, 0);
    while let Some(at) = cursor {
        let carried = serde_json::from_str(&serde_json::to_string(&at).unwrap()).unwrap();
        let step = plan.step(&vault, &rows, CLINIC, carried, 2).await.unwrap();
        resealed += step.resealed;
        steps += 1;
        cursor = step.next;
    }
    assert_eq!((resealed, steps), (5, 4));
    let rotated = vault.rotated_keys(CLINIC).await.unwrap();
    let renewed = rows.0.lock().unwrap().clone();
    for (row, value) in renewed {
        let sealed = Sealed::from_bytes(value).unwrap();
        assert!(!rotated.contains(&sealed.key_id()));
        vault.open(CLINIC, Place::new("message", &row, "body"), &sealed).await.unwrap();
    }

    vault.rotate_data_keys(CLINIC).await.unwrap();
    rows.0.lock().unwrap()[2].1.truncate(20);
    let stopped = plan.step(&vault, &rows, CLINIC, ResealCursor::default(), 10).await.unwrap_err();
    assert!(
        matches!(&stopped, VaultError::NotResealable { row, .. } if *row == Id::<AnyRow>::from_bytes([3; 16]).to_string())
    );
}
