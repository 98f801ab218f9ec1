use super::*;
use crate::{
    db::{Command, Db},
    kernel::{ManualClock, SeededEntropy, clock::from_millis},
};
use futures_util::{FutureExt as _, future::BoxFuture};
use jiff::SignedDuration;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

struct Enqueue(NewJob);
impl Command for Enqueue {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        enqueue(tx, &self.0).await
    }
}

struct Bench {
    db: Db,
    clock: Arc<ManualClock>,
    instruments: Instruments,
    _folder: tempfile::TempDir,
}

const TENANT: Id<Tenant> = Id::from_bytes([1; 16]);

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", folder.path().join("jobs.db").display())).await.unwrap();
        let clock = Arc::new(ManualClock::at(from_millis(1_000_000)));
        let instruments = Instruments::new(clock.clone(), Arc::new(SeededEntropy::new(3)));
        Self { db, clock, instruments, _folder: folder }
    }

    fn job(&self, payload: &str) -> NewJob {
        NewJob::new(&self.instruments, TENANT, "Test", &payload).unwrap()
    }

    async fn enqueue(&self, job: NewJob) {
        self.db.execute(Enqueue(job)).await.unwrap();
    }

    fn worker(&self) -> Worker {
        Worker::new(self.db.clone(), self.instruments.clone(), WorkerLimits::default())
    }

    /// A worker whose handler notes what it got and answers with `outcome`.
    fn noting(&self, outcome: fn(&LeasedJob) -> Outcome) -> (Worker, Arc<Mutex<Vec<String>>>) {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&notes);
        let worker = self.worker().bind("Test", move |job| {
            taken.lock().unwrap().push(job.payload::<String>().unwrap());
            async move { outcome(&job) }
        });
        (worker, notes)
    }
}

#[tokio::test]
async fn kinds_that_hang_keep_nobody_with_places_of_its_own_waiting() {
    let bench = Bench::new().await;
    let hanging = |payload| NewJob::new(&bench.instruments, TENANT, "Hanging", &payload).unwrap();
    for payload in ["one", "two", "three"] {
        bench.enqueue(hanging(payload)).await;
    }
    let (read, mut done) = tokio::sync::mpsc::unbounded_channel();
    let limits = WorkerLimits { at_once: 2, ..WorkerLimits::default() };
    let never = CancellationToken::new();
    let until = never.clone();
    let worker = Worker::new(bench.db.clone(), bench.instruments.clone(), limits)
        .bind("Hanging", move |_| until.clone().cancelled_owned().map(Ok))
        .bind("Test", move |job| {
            let _ = read.send(job.payload::<String>());
            async { Ok(()) }
        })
        .reserve(&["Test"]);
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { worker.run(stop).await }
    });
    bench.enqueue(bench.job("urgent")).await;
    let urgent = tokio::time::timeout(Duration::from_secs(30), done.recv()).await;
    assert_eq!(urgent.unwrap().unwrap().unwrap(), "urgent", "all places of the others are taken");
    never.cancel();
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_lane_keeps_its_order_even_past_a_failure() {
    let bench = Bench::new().await;
    for payload in ["first", "second", "third"] {
        bench.enqueue(bench.job(payload).in_lane("conversation")).await;
    }
    let (worker, notes) = bench.noting(|job| {
        let failing = job.attempt == 1 && job.payload::<String>()? == "first";
        if failing { Err(JobError::retry("not-yet")) } else { Ok(()) }
    });
    worker.run_due().await.unwrap();
    assert_eq!(*notes.lock().unwrap(), ["first"], "the rest of the lane waits");
    bench.clock.advance(SignedDuration::from_secs(60));
    worker.run_due().await.unwrap();
    assert_eq!(*notes.lock().unwrap(), ["first", "first", "second", "third"]);
    assert_eq!(counts(&bench.db).await.unwrap(), JobCounts::default());
}

#[tokio::test]
async fn a_job_that_keeps_failing_is_a_dead_letter_until_it_is_released() {
    let bench = Bench::new().await;
    bench.enqueue(bench.job("poison").attempts(2)).await;
    let (worker, notes) = bench.noting(|_| Err(JobError::retry("broken")));
    for _ in 0..4 {
        worker.run_due().await.unwrap();
        bench.clock.advance(SignedDuration::from_hours(1));
    }
    assert_eq!(notes.lock().unwrap().len(), 2);
    let dead = dead_letters(&bench.db).await.unwrap();
    assert_eq!((dead.len(), dead[0].last_error.as_deref()), (1, Some("broken")));
    let release = ReleaseDead { tenant: TENANT, id: dead[0].id, run_at: bench.instruments.now() };
    assert!(bench.db.execute(release).await.unwrap());
    bench.noting(|_| Ok(())).0.run_due().await.unwrap();
    assert_eq!(counts(&bench.db).await.unwrap(), JobCounts::default());
}

#[tokio::test]
async fn a_unique_job_waits_once_and_runs_again_when_asked_for_while_running() {
    let bench = Bench::new().await;
    for _ in 0..3 {
        bench.enqueue(bench.job("sweep").unique("sweep")).await;
    }
    let runs = Arc::new(Mutex::new(0));
    let (db, again, seen) = (bench.db.clone(), bench.job("sweep").unique("sweep"), Arc::clone(&runs));
    let worker = bench.worker().bind("Test", move |_| {
        let (db, again, seen) = (db.clone(), again.clone(), Arc::clone(&seen));
        async move {
            let run = {
                let mut seen = seen.lock().unwrap();
                *seen += 1;
                *seen
            };
            if run == 1 {
                db.execute(Enqueue(again)).await?;
            }
            Ok(())
        }
    });
    worker.run_due().await.unwrap();
    assert_eq!(*runs.lock().unwrap(), 2);
}

struct EnqueueAll(Vec<NewJob>);
impl Command for EnqueueAll {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        enqueue_all(tx, &self.0.iter().collect::<Vec<_>>()).await
    }
}

#[tokio::test]
async fn of_jobs_enqueued_together_those_with_one_key_are_one_and_as_early_as_the_earliest() {
    let bench = Bench::new().await;
    let later = from_millis(2_000_000);
    let jobs = ["a", "b", "c"].map(|payload| bench.job(payload).unique("same").at(later));
    let [first, second, third] = jobs;
    let early = second.at(from_millis(1_000_000));
    bench.db.execute(EnqueueAll(vec![first, early, third, bench.job("d"), bench.job("e")])).await.unwrap();
    assert_eq!(counts(&bench.db).await.unwrap().ready, 3);
    let (worker, notes) = bench.noting(|_| Ok(()));
    worker.run_due().await.unwrap();
    let mut notes = notes.lock().unwrap().clone();
    notes.sort();
    assert_eq!(notes, ["a", "d", "e"], "each without a key, and the first of the three");
}

struct Hasten(&'static str, Option<&'static str>, Timestamp);
impl Command for Hasten {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        hasten(tx, TENANT, "Test", self.0, self.1, self.2).await
    }
}

/// How often a job runs that waits for a line to be free, when the line becomes free while it looks.
async fn looks(except: Option<&'static str>) -> usize {
    let bench = Bench::new().await;
    bench.enqueue(bench.job("waits").unique("waits").waits_for("line")).await;
    let runs = Arc::new(Mutex::new(0));
    let (db, now, seen) = (bench.db.clone(), bench.instruments.now(), Arc::clone(&runs));
    let worker = bench.worker().bind("Test", move |_| {
        let (db, seen) = (db.clone(), Arc::clone(&seen));
        async move {
            let run = {
                let mut seen = seen.lock().unwrap();
                *seen += 1;
                *seen
            };
            if run > 1 {
                return Ok(());
            }
            db.execute(Hasten("line", except, now)).await?;
            Err(JobError::Postpone { code: "line", until: from_millis(9_000_000) })
        }
    });
    worker.run_due().await.unwrap();
    *runs.lock().unwrap()
}

#[tokio::test]
async fn a_wake_up_that_comes_while_a_job_decides_to_wait_is_not_lost() {
    assert_eq!(looks(None).await, 2);
    assert_eq!(looks(Some("waits")).await, 1, "its own doing does not wake it");
}

#[tokio::test]
async fn who_lost_the_lease_cannot_finish() {
    struct FinishWithEffect(LeasedJob);
    impl Command for FinishWithEffect {
        type Output = ();
        type Error = DbError;
        async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
            self.0.finish_in(tx).await
        }
    }
    let bench = Bench::new().await;
    bench.enqueue(bench.job("long")).await;
    let claim = |token| lease::Claim {
        token: [token; 16],
        now: bench.instruments.now(),
        lease: Duration::from_mins(1),
        limit: 1,
        kinds: lease::Kinds { free: vec!["Test"], held: vec![] },
    };
    let slow = bench.db.execute(claim(1)).await.unwrap().remove(0);
    assert!(bench.db.execute(claim(2)).await.unwrap().is_empty(), "it is held");
    bench.clock.advance(SignedDuration::from_secs(61));
    let next = bench.db.execute(claim(3)).await.unwrap().remove(0);
    assert_eq!(bench.db.execute(FinishWithEffect(slow)).await, Err(DbError::NotFound));
    assert_eq!(bench.db.execute(FinishWithEffect(next)).await, Ok(()));
}

#[tokio::test]
async fn a_panic_and_a_postponement_lose_nothing() {
    let bench = Bench::new().await;
    bench.enqueue(bench.job("careful").attempts(3)).await;
    let panicking = bench.worker().bind("Test", |_| async { panic!("handler") });
    panicking.run_due().await.unwrap();
    bench.clock.advance(SignedDuration::from_mins(1));
    let (postponing, _) =
        bench.noting(|_| Err(JobError::Postpone { code: "quiet-hours", until: from_millis(1_000_000 + 3_600_000) }));
    postponing.run_due().await.unwrap();
    bench.clock.advance(SignedDuration::from_hours(1));
    let (worker, notes) = bench.noting(|job| if job.attempt == 2 { Ok(()) } else { Err(JobError::dead("counted")) });
    worker.run_due().await.unwrap();
    assert_eq!(notes.lock().unwrap().len(), 1);
    assert_eq!(counts(&bench.db).await.unwrap(), JobCounts::default());
}

/// A worker whose handler ends by `attempt`, and what its last resort was told.
fn with_last_resort<F, R>(bench: &Bench, limits: WorkerLimits, attempt: F) -> (Worker, Arc<Mutex<Vec<&'static str>>>)
where
    F: Fn(LeasedJob) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&told);
    let worker = Worker::new(bench.db.clone(), bench.instruments.clone(), limits);
    let worker = worker.bind("Test", attempt).bind_last_resort("Test", move |_, code| {
        notes.lock().unwrap().push(code);
        async { Ok(()) }
    });
    (worker, told)
}

async fn attempts(bench: &Bench, worker: &Worker, count: usize) {
    for _ in 0..count {
        worker.run_due().await.unwrap();
        bench.clock.advance(SignedDuration::from_mins(20));
    }
}

#[tokio::test]
async fn what_no_attempt_could_do_goes_to_the_last_resort_however_the_last_one_ended() {
    type Attempt = fn(LeasedJob) -> BoxFuture<'static, Outcome>;
    let limits = WorkerLimits { lease: Duration::from_millis(40), ..WorkerLimits::default() };
    let endings: [(&str, Attempt); 4] = [
        ("broken", |_| async { Err(JobError::retry("broken")) }.boxed()),
        ("no-use", |_| async { Err(JobError::dead("no-use")) }.boxed()),
        ("panic", |_| async { panic!("as a test wants it") }.boxed()),
        ("timeout", |_| std::future::pending().boxed()),
    ];
    for (code, ending) in endings {
        let bench = Bench::new().await;
        bench.enqueue(bench.job("doomed").attempts(2)).await;
        let (worker, told) = with_last_resort(&bench, limits, ending);
        attempts(&bench, &worker, 4).await;
        assert_eq!(*told.lock().unwrap(), [code]);
        assert_eq!(counts(&bench.db).await.unwrap(), JobCounts::default(), "{code}: no dead letter");
    }
}

#[tokio::test]
async fn a_job_whose_last_attempt_never_concluded_is_not_attempted_again() {
    let bench = Bench::new().await;
    bench.enqueue(bench.job("deadly").attempts(1)).await;
    // The process comes to an end within the attempt.
    let claim = super::lease::Claim {
        token: [9; 16],
        now: bench.instruments.now(),
        lease: Duration::from_secs(10),
        limit: 1,
        kinds: lease::Kinds { free: vec!["Test"], held: vec![] },
    };
    assert_eq!(bench.db.execute(claim).await.unwrap().len(), 1);
    bench.clock.advance(SignedDuration::from_secs(11));
    let (worker, told) =
        with_last_resort(&bench, WorkerLimits::default(), |_| async { panic!("it was attempted again") });
    attempts(&bench, &worker, 1).await;
    assert_eq!(*told.lock().unwrap(), ["never-concluded"]);
}

#[tokio::test]
async fn a_job_that_comes_back_for_ever_starts_anew_after_each_round() {
    let bench = Bench::new().await;
    bench.enqueue(bench.job("poll").attempts(u32::MAX)).await;
    let (worker, notes) = bench.noting(|job| match job.attempt {
        1..4 => Err(JobError::retry("away")),
        _ => Err(JobError::Postpone { code: "next", until: from_millis(i64::MAX / 1_000_000) }),
    });
    for _ in 0..4 {
        worker.run_due().await.unwrap();
        bench.clock.advance(SignedDuration::from_mins(10));
    }
    assert_eq!(notes.lock().unwrap().len(), 4);
    let row = bench.db.one(sql("SELECT attempts FROM job")).await.unwrap();
    assert_eq!(row.get::<i64>("attempts").unwrap(), 0);
}

#[tokio::test]
async fn a_job_that_comes_back_for_ever_is_not_kept_waiting_for_what_cut_it_off() {
    let bench = Bench::new().await;
    bench.enqueue(bench.job("poll").attempts(u32::MAX)).await;
    let (worker, notes) = bench.noting(|_| Err(JobError::retry("timeout")));
    for _ in 0..12 {
        worker.run_due().await.unwrap();
        bench.clock.advance(SignedDuration::from_mins(1));
    }
    assert_eq!(notes.lock().unwrap().len(), 12, "never longer than a minute");
}
