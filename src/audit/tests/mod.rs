//! The log on a real database.

mod put_back;
mod tampering;

use super::*;
use crate::{
    db::{Command, Db, DbError, DbKeyStore, Query, Tx, sql},
    kernel::{Id, Instruments, ManualClock, Patient, StaffUser, SystemEntropy, Tenant},
    vault::{Kek, LocalKeks, Vault},
};
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
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
        Sealer::new(self.db.clone(), self.vault.clone(), self.instruments.clone(), self.export(), nobody_is_there)
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

/// No session is open.
fn nobody_is_there(_tx: &mut Tx, _tenant: Id<Tenant>, _at: Timestamp) -> BoxFuture<'_, Result<u64, DbError>> {
    Box::pin(async { Ok(0) })
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
