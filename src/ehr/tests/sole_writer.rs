//! Resources that one job alone writes: what it begins without its lease, and what it leaves open.

use super::*;
use crate::{
    db::{Command, DbError, Tx},
    fhir::PatchOperation,
    jobs::{LeasedJob, NewJob, enqueue},
};
use std::sync::Mutex;

const WRITES: &str = "WritesForTheTest";

struct Enqueue(NewJob);

impl Command for Enqueue {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        enqueue(tx, &self.0).await
    }
}

impl Bench {
    /// A job that has been leased; `work` runs while it is, and afterwards it is done.
    async fn under_lease<F, R>(&self, work: F) -> LeasedJob
    where
        F: Fn(LeasedJob) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let job = NewJob::new(&self.instruments, TENANT, WRITES, &json!({})).unwrap();
        self.db.execute(Enqueue(job)).await.unwrap();
        let seen = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&seen);
        let worker = Worker::new(self.db.clone(), self.instruments.clone(), WorkerLimits::default());
        let worker = worker.bind(WRITES, move |job| {
            *keep.lock().unwrap() = Some(job.clone());
            let work = work(job);
            async move {
                work.await;
                Ok(())
            }
        });
        worker.run_due().await.unwrap();
        seen.lock().unwrap().take().expect("the job has run")
    }

    async fn a_text_in_the_chart(&self) -> ResourceRef {
        let body = json!({
            "resourceType": "Communication", "status": "in-progress",
            "subject": { "reference": format!("Patient/{}", persona::ANA_LOPEZ) },
        });
        let intent = WriteIntent { tenant: TENANT, words: "urn:uuid:a".to_owned(), sole_writer: None };
        let written = self.ledger.create(&self.ehr, &intent, "Communication", &body).await.unwrap();
        written.reference.parse().unwrap()
    }

    async fn states(&self) -> Vec<(String, String)> {
        let rows = self.db.all(sql("SELECT intent, state FROM ehr_write WHERE intent LIKE 'text %' ORDER BY intent"));
        rows.await.unwrap().iter().map(|row| (row.get("intent").unwrap(), row.get("state").unwrap())).collect()
    }
}

async fn set_status(
    (ledger, ehr): (&Ledger, &Ehr),
    job: &LeasedJob,
    text: &ResourceRef,
    status: &str,
) -> Result<WrittenRef, EhrError> {
    let resource = ehr.client.read(text).await?;
    let words = format!("text {status}");
    let intent = WriteIntent { tenant: TENANT, words, sole_writer: Some(job.clone()) };
    let operation = PatchOperation::Replace { path: "/status".to_owned(), value: json!(status) };
    ledger.edit(ehr, &intent, &resource, &[operation]).await
}

#[tokio::test]
async fn who_has_lost_the_lease_begins_no_write() {
    let bench = Bench::new().await;
    let text = bench.a_text_in_the_chart().await;
    let gone = bench.under_lease(|_| async {}).await;
    let outcome = set_status((&bench.ledger, &bench.ehr), &gone, &text, "completed").await;
    assert!(matches!(outcome, Err(EhrError::Db(DbError::NotFound))), "{outcome:?}");
    assert_eq!(bench.states().await, []);
    assert_eq!(bench.read(&text).await["status"], "in-progress");
}

#[tokio::test]
async fn what_was_left_open_on_the_resource_is_overtaken_by_what_is_written_now() {
    let bench = Bench::new().await;
    let text = bench.a_text_in_the_chart().await;
    bench.fault(Fault::LoseAnswer, "PATCH", "Communication");
    let (ledger, ehr, target) = (bench.ledger.clone(), Arc::clone(&bench.ehr), text.clone());
    bench
        .under_lease(move |job| {
            let (ledger, ehr, target) = (ledger.clone(), Arc::clone(&ehr), target.clone());
            async move {
                let lost = set_status((&ledger, &ehr), &job, &target, "unknown").await;
                assert!(matches!(lost, Err(EhrError::Unknown)), "{lost:?}");
                set_status((&ledger, &ehr), &job, &target, "completed").await.unwrap();
            }
        })
        .await;
    let state = |intent: &str, state: &str| (intent.to_owned(), state.to_owned());
    assert_eq!(bench.states().await, [state("text completed", "written"), state("text unknown", "overtaken")]);
}

#[tokio::test]
async fn what_was_left_open_is_overtaken_too_where_the_chart_shows_the_rest_already() {
    let bench = Bench::new().await;
    let text = bench.a_text_in_the_chart().await;
    bench.fault(Fault::ErrorBefore, "PATCH", "Communication");
    let (ledger, ehr, target) = (bench.ledger.clone(), Arc::clone(&bench.ehr), text.clone());
    bench
        .under_lease(move |job| {
            let (ledger, ehr, target) = (ledger.clone(), Arc::clone(&ehr), target.clone());
            async move {
                set_status((&ledger, &ehr), &job, &target, "unknown").await.unwrap_err();
                let words = "text in-progress".to_owned();
                let intent = WriteIntent { tenant: TENANT, words, sole_writer: Some(job) };
                let written = WrittenRef { reference: target.to_string(), version: None };
                ledger.shown(&intent, &written).await.unwrap();
            }
        })
        .await;
    assert_eq!(bench.states().await, [("text unknown".to_owned(), "overtaken".to_owned())]);
}
