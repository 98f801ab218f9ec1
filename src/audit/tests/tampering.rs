//! Every way of tampering with the log, as someone with the database's password could, and how it shows.

use super::{
    super::{AuditError, Finding, Position},
    Bench, CLINIC, OTHER,
};
use jiff::SignedDuration;
use rstest::rstest;

#[rstest]
#[case("at = at + 1")]
#[case("actor_kind = 'patient'")]
#[case("actor = 'someone else'")]
#[case("action = 'edit'")]
#[case("purpose = 'payment'")]
#[case("request = id")]
#[case("subjects = '[]'")]
#[case("outcome = 'failed'")]
#[case("detail = '{\"a\":1}'")]
#[case("key_version = 2")]
#[case("mac = chain")]
#[case("chain = mac")]
#[case("id = chain")]
#[tokio::test]
async fn any_changed_column_names_the_row(#[case] change: &'static str, #[values(1, 3, 5)] seq: i64) {
    let bench = Bench::sealed(5).await;
    // An id has 16 bytes, a chain 32.
    let change = change.replace("id = chain", "id = substr(chain, 1, 16)");
    let statement: &'static str = format!("UPDATE audit_row SET {change} WHERE seq = {seq}").leak();
    bench.tamper(statement).await;
    let row = bench.row_at(seq).await;
    assert_eq!(bench.verify().await.findings, [Finding::Changed { row, seq: Some(seq) }]);
}

#[rstest]
#[case("seq = 1", 1, 1, Position::First)]
#[case("seq <= 2", 1, 2, Position::First)]
#[case("seq = 3", 3, 3, Position::Middle)]
#[case("seq IN (2, 3, 4)", 2, 4, Position::Middle)]
#[case("seq = 5", 5, 5, Position::Last)]
#[case("seq >= 4", 4, 5, Position::Last)]
#[case("seq > 0", 1, 5, Position::First)]
#[tokio::test]
async fn removed_rows_are_named_by_their_place(
    #[case] which: &str,
    #[case] first_seq: i64,
    #[case] last_seq: i64,
    #[case] position: Position,
) {
    let bench = Bench::sealed(5).await;
    bench.tamper(format!("DELETE FROM audit_row WHERE {which}").leak()).await;
    assert_eq!(bench.verify().await.findings, [Finding::Missing { first_seq, last_seq, position }]);
}

#[rstest]
#[case(1, 2)]
#[case(2, 4)]
#[case(4, 5)]
#[tokio::test]
async fn two_rows_that_changed_places_are_named(
    #[case] first: i64,
    #[case] second: i64,
    #[values(false, true)] with_chains: bool,
) {
    let bench = Bench::sealed(5).await;
    let (one, two) = (bench.row_at(first).await, bench.row_at(second).await);
    bench.tamper(format!("UPDATE audit_row SET seq = 1000 WHERE seq = {first}").leak()).await;
    bench.tamper(format!("UPDATE audit_row SET seq = {first} WHERE seq = {second}").leak()).await;
    bench.tamper(format!("UPDATE audit_row SET seq = {second} WHERE seq = 1000").leak()).await;
    if with_chains {
        let swap = format!(
            "UPDATE audit_row SET chain = (SELECT chain FROM audit_row AS other \
             WHERE other.seq = {first} + {second} - audit_row.seq) WHERE seq IN ({first}, {second})"
        );
        bench.tamper(swap.leak()).await;
    }
    let findings = bench.verify().await.findings;
    assert!(findings.contains(&Finding::Moved { row: two, seq: first }), "{findings:?}");
    assert!(findings.contains(&Finding::Moved { row: one, seq: second }), "{findings:?}");
    let others = findings.iter().filter(|finding| !matches!(finding, Finding::Moved { .. })).count();
    assert_eq!(others, 0, "{findings:?}");
}

#[tokio::test]
async fn a_row_that_is_put_elsewhere_leaves_a_gap_and_is_named() {
    let bench = Bench::sealed(5).await;
    let moved = bench.row_at(2).await;
    bench.tamper("UPDATE audit_row SET seq = 9 WHERE seq = 2").await;
    assert_eq!(
        bench.verify().await.findings,
        [
            Finding::Missing { first_seq: 2, last_seq: 2, position: Position::Middle },
            Finding::BeyondHead { row: moved, seq: 9 },
        ]
    );
}

#[tokio::test]
async fn a_row_copied_from_another_tenant_or_unsealed_again_is_noticed() {
    let bench = Bench::sealed(2).await;
    bench.add(OTHER).await;
    bench.tamper("UPDATE audit_row SET tenant = (SELECT tenant FROM audit_head) WHERE seq IS NULL").await;
    let report = bench.verify().await;
    assert!(matches!(report.findings[..], [Finding::Changed { seq: None, .. }]), "{report:?}");

    let bench = Bench::sealed(3).await;
    bench.tamper("UPDATE audit_row SET seq = NULL, chain = NULL WHERE seq = 2").await;
    bench.sealer().seal(CLINIC).await.unwrap();
    let report = bench.verify().await;
    assert_eq!(report.findings, [Finding::Missing { first_seq: 2, last_seq: 2, position: Position::Middle }]);
}

#[rstest]
#[case("UPDATE audit_head SET row_count = 2")]
#[case("UPDATE audit_head SET last_seq = 2")]
#[case("UPDATE audit_head SET last_chain = mac")]
#[case("UPDATE audit_head SET sealed_at = sealed_at + 1")]
#[case("UPDATE audit_head SET key_version = 2")]
#[case("UPDATE audit_head SET mac = last_chain")]
#[tokio::test]
async fn an_edited_head_is_noticed_and_nothing_is_sealed_to_it(#[case] change: &'static str) {
    let bench = Bench::sealed(3).await;
    bench.tamper(change).await;
    assert_eq!(bench.verify().await.findings, [Finding::HeadForged]);
    bench.add(CLINIC).await;
    assert!(matches!(bench.sealer().seal(CLINIC).await, Err(AuditError::HeadForged { tenant }) if tenant == CLINIC));
}

#[tokio::test]
async fn a_removed_head_is_noticed_and_not_made_anew() {
    let bench = Bench::sealed(3).await;
    bench.tamper("DELETE FROM audit_head").await;
    assert_eq!(bench.verify().await.findings, [Finding::HeadMissing]);
    bench.add(CLINIC).await;
    assert!(
        matches!(bench.sealer().seal(CLINIC).await, Err(AuditError::HeadBehindRows { tenant }) if tenant == CLINIC)
    );
}

#[tokio::test]
async fn an_older_head_put_back_is_noticed() {
    let bench = Bench::sealed(2).await;
    let kept = bench.head_row().await;
    bench.add(CLINIC).await;
    bench.sealer().seal(CLINIC).await.unwrap();
    bench.put_head_back(&kept).await;
    let row = bench.row_at(3).await;
    assert_eq!(bench.verify().await.findings, [Finding::BeyondHead { row, seq: 3 }]);
    bench.add(CLINIC).await;
    assert!(matches!(bench.sealer().seal(CLINIC).await, Err(AuditError::HeadBehindRows { .. })));
}

#[tokio::test]
async fn a_log_put_back_as_a_whole_is_noticed_against_the_export() {
    let bench = Bench::sealed(2).await;
    let kept = bench.head_row().await;
    bench.add(CLINIC).await;
    bench.sealer().seal(CLINIC).await.unwrap();
    let exported = bench.export().latest(CLINIC).unwrap().unwrap();
    bench.tamper("DELETE FROM audit_row WHERE seq = 3").await;
    bench.put_head_back(&kept).await;

    assert!(bench.verify().await.is_clean(), "within the database nothing shows");
    let behind = Finding::BehindExport { last_seq: 2, exported_seq: 3 };
    assert_eq!(bench.verify_against(Some(&exported)).await.findings, [behind]);

    // The log goes on from there and passes the exported place: it shows still, and the proof is not written over.
    for _ in 0..2 {
        bench.add(CLINIC).await;
        bench.clock.advance(SignedDuration::from_secs(1));
    }
    assert!(matches!(bench.sealer().seal(CLINIC).await, Err(AuditError::BehindExport { tenant }) if tenant == CLINIC));
    assert_eq!(bench.export().latest(CLINIC).unwrap().unwrap(), exported);
    let row = bench.row_at(3).await;
    assert_eq!(bench.verify_against(Some(&exported)).await.findings, [Finding::ExportDiffers { row, seq: 3 }]);
}

#[tokio::test]
async fn an_edited_export_is_noticed() {
    let bench = Bench::sealed(2).await;
    let mut exported = bench.export().latest(CLINIC).unwrap().unwrap();
    exported.last_seq = 1;
    assert_eq!(bench.verify_against(Some(&exported)).await.findings, [Finding::ExportForged]);
}
