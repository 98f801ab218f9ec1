//! Logs whose database was put back to an earlier state, and the heads that were exported of them.

use super::*;
use crate::db::recovery::{self, HowMarked, Recovery};
use std::fs;

/// Marks the clinic as put back, and lifts the mark.
struct RecoveredAt(Timestamp);

impl Command for RecoveredAt {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        recovery::mark(tx, CLINIC, self.0, HowMarked::Operator, self.0).await?;
        recovery::lift(tx, CLINIC, self.0, self.0).await.map(|_| ())
    }
}

/// A log of three sealed and exported rows, of which the database has lost the last.
async fn put_back() -> Bench {
    let bench = Bench::sealed(2).await;
    let kept = bench.head_row().await;
    bench.clock.advance(SignedDuration::from_secs(10));
    bench.add(CLINIC).await;
    bench.sealer().seal(CLINIC).await.unwrap();
    bench.tamper("DELETE FROM audit_row WHERE seq = 3").await;
    bench.put_head_back(&kept).await;
    bench
}

async fn marked(bench: &Bench) -> bool {
    let export = bench.export();
    let whose = (CLINIC, &export);
    mark_if_behind(&bench.db, &bench.vault, &bench.instruments, whose, nobody_is_there).await.unwrap()
}

#[tokio::test]
async fn a_log_that_lacks_what_was_exported_of_it_is_marked() {
    let bench = put_back().await;
    assert!(marked(&bench).await);
    let recovery = Recovery::of(&bench.db, CLINIC).await.unwrap().unwrap();
    assert_eq!(recovery.since, bench.instruments.now() - SignedDuration::from_secs(10));
    assert!(!marked(&bench).await, "once");
}

#[tokio::test]
async fn heads_of_a_log_that_ended_before_a_recovery_are_set_aside() {
    let bench = put_back().await;
    let recovered_at = bench.instruments.now() + SignedDuration::from_secs(1);
    bench.db.execute(RecoveredAt(recovered_at)).await.unwrap();
    assert!(!marked(&bench).await, "another machine's folder knew nothing of the recovery");
    assert!(!Recovery::of(&bench.db, CLINIC).await.unwrap().unwrap().is_under_way());
    assert_eq!(bench.export().latest(CLINIC).unwrap(), None);
    let aside = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("before-restore-");
    let folders: Vec<_> = fs::read_dir(bench.folder.path()).unwrap().map(Result::unwrap).filter(aside).collect();
    assert_eq!(fs::read_dir(folders[0].path()).unwrap().count(), 1, "nothing is deleted");
    bench.sealer().seal(CLINIC).await.unwrap();
    assert!(bench.export().latest(CLINIC).unwrap().is_some(), "the log that goes on is exported");
}

#[tokio::test]
async fn a_second_restore_is_noticed_where_the_heads_are_of_the_log_since_the_first() {
    let bench = put_back().await;
    let exported = bench.export().latest(CLINIC).unwrap().unwrap();
    bench.db.execute(RecoveredAt(exported.sealed_at)).await.unwrap();
    assert!(marked(&bench).await);
}

#[tokio::test]
async fn whose_heads_were_exported_the_names_of_the_files_tell() {
    let bench = Bench::sealed(1).await;
    bench.add(OTHER).await;
    bench.sealer().seal(OTHER).await.unwrap();
    fs::write(bench.folder.path().join("notes.jsonl"), "").unwrap();
    fs::create_dir(bench.folder.path().join("before-restore-1")).unwrap();
    assert_eq!(bench.export().tenants().unwrap().into_iter().collect::<Vec<_>>(), [CLINIC, OTHER]);
    assert!(HeadExport::new(bench.folder.path().join("none")).tenants().unwrap().is_empty());
}
