//! The log on a real database, and every way of tampering with it.

use super::*;
use crate::{
    db::{Command, Db, DbError, DbKeyStore, Query, Tx, sql},
    kernel::{Id, Instruments, ManualClock, Patient, StaffUser, SystemEntropy, Tenant},
    vault::{Kek, LocalKeks, Vault},
};
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use std::sync::Arc;

const CLINIC: Id<Tenant> = Id::from_bytes([1; 16]);
const OTHER: Id<Tenant> = Id::from_bytes([2; 16]);
const PATIENT: Id<Patient> = Id::from_bytes([7; 16]);
const NURSE: Id<StaffUser> = Id::from_bytes([8; 16]);

struct Bench {
    db: Db,
    vault: Vault,
    clock: Arc<ManualClock>,
    instruments: Instruments,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", folder.path().join("audit.db").display())).await.unwrap();
        let start: Timestamp = "2026-03-10T12:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::at(start));
        let instruments = Instruments::new(clock.clone(), Arc::new(SystemEntropy));
        let mut provider = LocalKeks::new(Arc::new(SystemEntropy));
        for tenant in [CLINIC, OTHER] {
            provider.insert(tenant, vec![Kek::generate(&SystemEntropy)]).unwrap();
        }
        let store = Arc::new(DbKeyStore::new(db.clone()));
        let vault = Vault::new(store, Arc::new(provider), instruments.clone());
        Self { db, vault, clock, instruments, folder }
    }

    /// A log of `rows` sealed rows.
    async fn sealed(rows: usize) -> Self {
        let bench = Self::new().await;
        for _ in 0..rows {
            bench.add(CLINIC).await;
        }
        bench.sealer().seal(CLINIC).await.unwrap();
        bench
    }

    fn export(&self) -> HeadExport {
        HeadExport::new(self.folder.path())
    }

    fn sealer(&self) -> Sealer {
        Sealer::new(self.db.clone(), self.vault.clone(), self.instruments.clone(), self.export())
    }

    async fn add(&self, tenant: Id<Tenant>) -> Id<AuditRow> {
        let entry = AuditEntry::new(Actor::Staff(NURSE), Action::Read, "treatment").about("patient", PATIENT);
        let signer = AuditSigner::new(&self.vault, self.instruments.clone(), tenant).await.unwrap();
        record_alone(&self.db, entry, signer).await.unwrap()
    }

    async fn tamper(&self, statement: &'static str) {
        assert!(self.db.execute(Tamper(sql(statement))).await.unwrap() > 0, "{statement} touched nothing");
    }

    async fn row_at(&self, seq: i64) -> Id<AuditRow> {
        let query = sql("SELECT id FROM audit_row WHERE tenant = $1 AND seq = $2").bind(CLINIC).bind(seq);
        self.db.one(query).await.unwrap().get("id").unwrap()
    }

    async fn head_row(&self) -> Head {
        Head::read(&self.db.one(sql("SELECT * FROM audit_head")).await.unwrap()).unwrap()
    }

    async fn put_head_back(&self, head: &Head) {
        let query =
            sql("UPDATE audit_head SET row_count = $1, last_seq = $1, last_chain = $2, sealed_at = $3, mac = $4");
        let query = query.bind(head.last_seq).bind(head.last_chain.as_slice()).bind(head.sealed_at);
        self.db.execute(Tamper(query.bind(head.mac.as_slice()))).await.unwrap();
    }

    async fn verify(&self) -> AuditReport {
        self.verify_against(None).await
    }

    async fn verify_against(&self, exported: Option<&Head>) -> AuditReport {
        verify(&self.db, &self.vault, CLINIC, exported, self.instruments.now()).await.unwrap()
    }
}

/// What an intruder with the database's password does.
struct Tamper(Query);

impl Command for Tamper {
    type Output = u64;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<u64, DbError> {
        tx.execute(self.0.clone()).await
    }
}

#[tokio::test]
async fn an_untouched_log_is_clean_and_grows() {
    let bench = Bench::sealed(3).await;
    let report = bench.verify().await;
    assert_eq!((report.rows, report.unsealed, report.findings), (3, 0, vec![]));
    bench.add(CLINIC).await;
    assert_eq!(bench.sealer().seal(CLINIC).await.unwrap(), 1);
    assert_eq!(bench.sealer().seal(CLINIC).await.unwrap(), 0);
    let exported = bench.export().latest(CLINIC).unwrap().unwrap();
    assert_eq!(exported.last_seq, 4);
    assert!(bench.verify_against(Some(&exported)).await.is_clean());
}

#[tokio::test]
async fn an_action_that_is_rolled_back_leaves_no_row() {
    struct Refused(AuditSigner);
    impl Command for Refused {
        type Output = ();
        type Error = DbError;
        async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
            let entry = AuditEntry::new(Actor::System("test"), Action::Edit, "operations");
            record(tx, &entry, &self.0).await?;
            Err(DbError::NotFound)
        }
    }
    let bench = Bench::new().await;
    let signer = AuditSigner::new(&bench.vault, bench.instruments.clone(), CLINIC).await.unwrap();
    assert_eq!(bench.db.execute(Refused(signer)).await, Err(DbError::NotFound));
    assert!(bench.db.all(sql("SELECT id FROM audit_row")).await.unwrap().is_empty());
}

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

#[tokio::test]
async fn a_torn_line_of_the_export_is_passed_over() {
    use std::io::Write as _;
    let bench = Bench::sealed(1).await;
    let path = bench.folder.path().join(format!("{CLINIC}-2026-03-10.jsonl"));
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"tenant\":\"01").unwrap();
    assert_eq!(bench.export().latest(CLINIC).unwrap().unwrap().last_seq, 1);
    bench.add(CLINIC).await;
    bench.sealer().seal(CLINIC).await.unwrap();
    assert_eq!(bench.export().latest(CLINIC).unwrap().unwrap().last_seq, 2);
    // The next day has a file of its own.
    bench.clock.advance(SignedDuration::from_hours(24));
    bench.add(CLINIC).await;
    bench.sealer().seal(CLINIC).await.unwrap();
    assert!(bench.folder.path().join(format!("{CLINIC}-2026-03-11.jsonl")).exists());
    assert_eq!(bench.export().latest(CLINIC).unwrap().unwrap().last_seq, 3);
    assert_eq!(bench.export().latest(OTHER).unwrap(), None);
}

#[tokio::test]
async fn a_head_that_a_crash_kept_from_being_exported_is_exported_at_start() {
    let bench = Bench::sealed(2).await;
    let path = bench.folder.path().join(format!("{CLINIC}-2026-03-10.jsonl"));
    std::fs::remove_file(&path).unwrap();
    bench.sealer().export_unexported().await.unwrap();
    bench.sealer().export_unexported().await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn a_row_that_commits_late_with_a_smaller_id_is_sealed_all_the_same() {
    let bench = Bench::sealed(2).await;
    bench.clock.advance(SignedDuration::from_mins(-10));
    // Another process, whose clock and ids are behind.
    let behind = Instruments::new(bench.clock.clone(), Arc::new(SystemEntropy));
    let signer = AuditSigner::new(&bench.vault, behind, CLINIC).await.unwrap();
    let entry = AuditEntry::new(Actor::System("test"), Action::Send, "operations");
    let late = record_alone(&bench.db, entry, signer).await.unwrap();
    assert!(late < bench.row_at(1).await);
    assert_eq!(bench.sealer().seal(CLINIC).await.unwrap(), 1);
    assert_eq!(bench.row_at(3).await, late);
    assert!(bench.verify().await.is_clean());
}

#[tokio::test]
async fn more_rows_than_a_batch_and_two_sealers_make_one_chain() {
    let bench = Bench::new().await;
    let signer = AuditSigner::new(&bench.vault, bench.instruments.clone(), CLINIC).await.unwrap();
    let entry = AuditEntry::new(Actor::System("test"), Action::Send, "operations");
    let writes = (0..600).map(|_| record_alone(&bench.db, entry.clone(), signer.clone()));
    futures_util::future::try_join_all(writes).await.unwrap();
    let (one, two) = (bench.sealer(), bench.sealer());
    let (first, second) = tokio::join!(one.seal(CLINIC), two.seal(CLINIC));
    assert_eq!(first.unwrap() + second.unwrap(), 600);
    let report = bench.verify().await;
    assert_eq!((report.rows, report.is_clean()), (600, true));
}

#[tokio::test]
async fn a_row_that_waits_for_more_than_a_minute_is_reported() {
    let bench = Bench::sealed(1).await;
    let row = bench.add(CLINIC).await;
    let since = bench.instruments.now();
    bench.clock.advance(UNSEALED_FOR);
    let report = bench.verify().await;
    assert_eq!((report.unsealed, report.is_clean()), (1, true));
    bench.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(bench.verify().await.findings, [Finding::Unsealed { row, since }]);
}

#[tokio::test]
async fn the_running_sealer_seals_what_is_committed_and_finishes_at_the_end() {
    let bench = Bench::new().await;
    let (sealer, stop) = (bench.sealer(), tokio_util::sync::CancellationToken::new());
    stop.cancel();
    bench.add(CLINIC).await;
    bench.add(OTHER).await;
    sealer.run(stop).await;
    let unsealed = bench.db.all(sql("SELECT id FROM audit_row WHERE seq IS NULL")).await.unwrap();
    assert!(unsealed.is_empty());
}

#[tokio::test]
async fn the_export_has_one_line_for_each_row_in_order() {
    let bench = Bench::sealed(3).await;
    let mut out = Vec::new();
    assert_eq!(export(&bench.db, CLINIC, 1, &mut out).await.unwrap(), 2);
    let lines: Vec<serde_json::Value> =
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["seq"], 2);
    assert_eq!(lines[1]["action"], "read");
    assert_eq!(lines[1]["actor"], NURSE.to_string());
    assert_eq!(lines[1]["subjects"][0]["id"], PATIENT.to_string());
}

#[tokio::test]
async fn refusals_are_counted_per_source_and_minute() {
    let bench = Bench::new().await;
    let refusals = CoalescedRefusals::new(bench.instruments.clone());
    let (one, two) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
    for _ in 0..50 {
        refusals.note(CLINIC, "carrier.twilio", "forged_signature", one);
    }
    refusals.note(CLINIC, "carrier.twilio", "forged_signature", two);
    refusals.flush(&bench.db, &bench.vault).await.unwrap();
    assert!(bench.db.all(sql("SELECT id FROM audit_row")).await.unwrap().is_empty(), "the minute is not over");
    bench.clock.advance(SignedDuration::from_mins(1));
    refusals.note(CLINIC, "carrier.twilio", "forged_signature", one);
    refusals.flush(&bench.db, &bench.vault).await.unwrap();
    refusals.flush_all(&bench.db, &bench.vault).await.unwrap();
    refusals.flush_all(&bench.db, &bench.vault).await.unwrap();
    let rows = bench.db.all(sql("SELECT detail, outcome FROM audit_row ORDER BY detail")).await.unwrap();
    let mut counts: Vec<i64> = rows
        .iter()
        .map(|row| serde_json::from_str::<serde_json::Value>(&row.get::<String>("detail").unwrap()).unwrap())
        .map(|detail| detail["refusals"].as_i64().unwrap())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 1, 50]);
    assert_eq!(rows[0].get::<String>("outcome").unwrap(), "refused");
}

#[tokio::test]
async fn a_flood_from_many_sources_fills_neither_memory_nor_log() {
    let bench = Bench::new().await;
    let refusals = CoalescedRefusals::new(bench.instruments.clone());
    for source in 0..10_000_u32 {
        refusals.note(CLINIC, "carrier.twilio", "forged_signature", std::net::Ipv4Addr::from(source).into());
    }
    refusals.flush_all(&bench.db, &bench.vault).await.unwrap();
    let rows = bench.db.one(sql("SELECT COUNT(*) AS rows FROM audit_row")).await.unwrap();
    assert_eq!(rows.get::<i64>("rows").unwrap(), 4_097);
}
