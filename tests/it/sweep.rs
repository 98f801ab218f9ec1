//! The practice's rules change, and the reminders of visits that are planned already change with them.

use crate::{
    conversation::reminded,
    database::{TestDatabase, both_databases},
    service::{ANA, Service, Setting},
};
use chartwire::{
    app::{App, Running},
    db::{Command, DbError, Query, Tx, sql, sql_rows},
    kernel::{Id, Tenant},
    workflow::SWEEP_REMINDERS,
};
use jiff::{SignedDuration, Timestamp};

const THREE_AND_ONE: &str = r#"{ days_before = 3, at = "10:00" }, { days_before = 1, at = "10:00" }"#;
const TWO_AND_ONE: &str = r#"{ days_before = 2, at = "10:00" }, { days_before = 1, at = "09:00" }"#;
const ONE: &str = r#"{ days_before = 1, at = "09:00" }"#;

/// The service is stopped and started again, with these rules.
async fn restarted(service: &mut Service, database: &TestDatabase, rules: &str) {
    let installation = service.installed_over(database.url());
    installation.edit(THREE_AND_ONE, rules);
    service.die().await;
    service.come_back(&installation).await;
    service.app.schedule().await.unwrap();
    service.settle().await;
}

/// Ana's planned reminders: the rule's days, how far each is and why, and when it is due at the clinic.
async fn plans(service: &Service) -> Vec<String> {
    let query = sql("SELECT days_before, state, reason, due_at FROM reminder_plan \
                     WHERE appointment = 'appointment-ana-lopez' ORDER BY days_before DESC");
    let rows = service.app.db().all(query).await.unwrap();
    let zone = jiff::tz::TimeZone::get("America/New_York").unwrap();
    let told = |row: &chartwire::db::Row| {
        let due: Timestamp = row.get("due_at").unwrap();
        let (days, state): (i64, String) = (row.get("days_before").unwrap(), row.get("state").unwrap());
        let reason: Option<String> = row.get("reason").unwrap();
        format!(
            "{days} {state}{} {}",
            reason.map(|why| format!(" ({why})")).unwrap_or_default(),
            due.to_zoned(zone.clone()).strftime("%d %H:%M")
        )
    };
    rows.iter().map(told).collect()
}

/// The rules whose job waits for Ana's visit, and when each is due.
async fn jobs(service: &Service) -> Vec<(String, Timestamp)> {
    let query = sql(
        "SELECT unique_key, run_at FROM job WHERE kind = 'ReminderDue' AND unique_key LIKE 'appointment-ana-lopez/%'",
    );
    let rows = service.app.db().all(query).await.unwrap();
    let told = |row: &chartwire::db::Row| {
        let key: String = row.get("unique_key").unwrap();
        (key.rsplit('/').next().unwrap().to_owned(), row.get("run_at").unwrap())
    };
    let mut jobs: Vec<_> = rows.iter().map(told).collect();
    jobs.sort();
    jobs
}

/// All that a sweep could write.
async fn everything(service: &Service) -> Vec<String> {
    const PLANS: &str = "SELECT appointment || ' ' || start_at || ' ' || days_before || ' ' || due_at || ' ' || state AS told FROM reminder_plan ORDER BY told";
    const JOBS: &str = "SELECT unique_key || ' ' || run_at || ' ' || created_at || ' ' || attempts AS told FROM job WHERE kind = 'ReminderDue' ORDER BY told";
    const SWEEP: &str = "SELECT rules || ' ' || COALESCE(after_start, 0) AS told FROM reminder_sweep";
    let mut all = Vec::new();
    for text in [PLANS, JOBS, SWEEP] {
        all.extend(service.app.db().all(sql(text)).await.unwrap().iter().map(|row| row.get::<String>("told").unwrap()));
    }
    all
}

async fn count(service: &Service, query: Query) -> i64 {
    service.app.db().one(query).await.unwrap().get("n").unwrap()
}

async fn sweep(app: &App) -> usize {
    app.worker().run_due_of(&[SWEEP_REMINDERS]).await.unwrap()
}

both_databases! {
    async fn new_rules_hold_for_visits_that_are_planned(database: TestDatabase) {
        let mut service = reminded(&database).await;
        assert_eq!(plans(&service).await, ["3 sent 23 10:00", "1 planned 25 10:00"]);

        restarted(&mut service, &database, TWO_AND_ONE).await;
        assert_eq!(plans(&service).await, ["3 sent 23 10:00", "2 planned 24 10:00", "1 planned 25 09:00"]);
        let due = |text: &str| text.parse::<Timestamp>().unwrap();
        let (two, one) = (due("2026-11-24T15:00:00Z"), due("2026-11-25T14:00:00Z"));
        assert_eq!(jobs(&service).await, [("1".to_owned(), one), ("2".to_owned(), two)]);
        assert_eq!(service.on(ANA).len(), 1, "what was sent is not sent again");

        restarted(&mut service, &database, ONE).await;
        assert_eq!(plans(&service).await, ["3 sent 23 10:00", "2 dropped (rule-changed) 24 10:00", "1 planned 25 09:00"]);
        assert_eq!(jobs(&service).await, [("1".to_owned(), one)], "it is taken off");
        service.advance(SignedDuration::from_hours(25));
        service.settle().await;
        assert_eq!(service.on(ANA).len(), 1, "{:?}", service.on(ANA));
        service.advance(SignedDuration::from_hours(22));
        service.settle().await;
        assert_eq!(service.on(ANA).len(), 2, "{:?}", service.on(ANA));
        assert_eq!(plans(&service).await[2], "1 sent 25 09:00");

        restarted(&mut service, &database, THREE_AND_ONE).await;
        service.advance(SignedDuration::from_hours(2));
        service.settle().await;
        assert_eq!(service.on(ANA).len(), 2, "neither of both again: {:?}", service.on(ANA));
        service.stop().await;
    }

    async fn the_second_sweep_writes_nothing(database: TestDatabase) {
        let mut service = reminded(&database).await;
        restarted(&mut service, &database, TWO_AND_ONE).await;
        let before = everything(&service).await;
        assert!(before.len() > 20);
        restarted(&mut service, &database, TWO_AND_ONE).await;
        assert_eq!(everything(&service).await, before, "at the next start");
        assert_eq!(sweep(&service.app).await, 0, "it was done");
        service.advance(SignedDuration::from_hours(24) - SignedDuration::from_mins(1));
        assert_eq!(sweep(&service.app).await, 0, "not before the next day");
        service.advance(SignedDuration::from_mins(2));
        assert_eq!(sweep(&service.app).await, 1);
        assert_eq!(everything(&service).await, before, "the next day");
        service.stop().await;
    }

    async fn a_process_with_older_rules_does_not_sweep_by_them(database: TestDatabase) {
        let service = reminded(&database).await;
        let installation = service.installed_over(database.url());
        installation.edit(THREE_AND_ONE, ONE);
        let newer = App::build(&installation.settings(), Running::with(service.instruments.clone())).await.unwrap();
        newer.schedule().await.unwrap();
        assert_eq!(sweep(&service.app).await, 1, "the older process takes the job");
        assert_eq!(plans(&service).await, ["3 sent 23 10:00", "1 planned 25 10:00"], "and leaves it");
        service.advance(SignedDuration::from_mins(1));
        assert_eq!(sweep(&newer).await, 1);
        assert_eq!(plans(&service).await, ["3 sent 23 10:00", "1 planned 25 09:00"]);
        newer.close().await;
        service.stop().await;
    }

    async fn a_sweep_that_was_cut_off_goes_on_where_it_stopped(database: TestDatabase) {
        let mut service = Service::start(&database, Setting::default()).await;
        service.app.db().execute(Visits { tenant: service.tenant, first: service.now() + SignedDuration::from_hours(500) }).await.unwrap();
        service.app.schedule().await.unwrap();
        sweep(&service.app).await;
        let planned = || sql("SELECT COUNT(*) AS n FROM reminder_plan WHERE state = 'planned'");
        let waiting = || sql("SELECT COUNT(*) AS n FROM job WHERE kind = 'ReminderDue' AND state = 'ready'");
        assert_eq!(count(&service, planned()).await, 2 * 500, "five whole pages");
        assert_eq!(count(&service, waiting()).await, 2 * 500, "each with its jobs");
        // Whatever it was is over. A first visit without plans shows where the next run begins.
        service.app.db().execute(Mended).await.unwrap();
        restarted(&mut service, &database, THREE_AND_ONE).await;
        let of_the_swept = |after| match after {
            "plans" => sql("SELECT COUNT(*) AS n FROM reminder_plan WHERE state = 'planned' AND appointment LIKE 'swept-%'"),
            _ => sql("SELECT COUNT(*) AS n FROM job WHERE kind = 'ReminderDue' AND state = 'ready' AND unique_key LIKE 'swept-%'"),
        };
        assert_eq!(count(&service, of_the_swept("plans")).await, 2 * (VISITS - 1), "it went on");
        assert_eq!(count(&service, of_the_swept("jobs")).await, 2 * VISITS, "none twice");
        service.advance(SignedDuration::from_hours(24));
        sweep(&service.app).await;
        assert_eq!(count(&service, of_the_swept("plans")).await, 2 * VISITS, "the next begins at the beginning");
        service.stop().await;
    }
}

/// Six pages of a sweep.
const VISITS: i64 = 600;

/// Visits that are known and not planned, many at the same instant, later than the schedule is read. One of those of the last page cannot be read.
struct Visits {
    tenant: Id<Tenant>,
    first: Timestamp,
}

impl Command for Visits {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let patient = |rank: i64| if rank == 550 { vec![1] } else { vec![7; 16] };
        let start = |rank: i64| self.first + SignedDuration::from_mins(30 * (rank / 300));
        let visit = |rank| {
            let id = format!("swept-{rank:03}");
            vec![
                self.tenant.into(),
                id.into(),
                patient(rank).into(),
                "booked".into(),
                start(rank).into(),
                start(rank).into(),
                "[]".into(),
                vec![0].into(),
                0_i64.into(),
            ]
        };
        let visits =
            "INSERT INTO appointment (tenant, fhir_id, patient, status, start_at, end_at, slots, labels, seen_at)";
        tx.execute(sql_rows(visits, (0..VISITS).map(visit).collect(), "", tx.is_postgres())?).await?;
        let workflow = |rank: i64| {
            let id = [vec![9; 8], rank.to_be_bytes().to_vec()].concat();
            let subject = format!("Appointment/swept-{rank:03}");
            vec![
                self.tenant.into(),
                id.into(),
                "visit".into(),
                "known".into(),
                vec![7; 16].into(),
                "".into(),
                vec![0].into(),
                subject.into(),
                "{}".into(),
                1_i64.into(),
                0_i64.into(),
                0_i64.into(),
            ]
        };
        let workflows = "INSERT INTO workflow (tenant, id, kind, state, patient, our_number, number_token, subject, data, revision, created_at, updated_at)";
        tx.execute(sql_rows(workflows, (0..VISITS).map(workflow).collect(), "", tx.is_postgres())?).await?;
        Ok(())
    }
}

struct Mended;

impl Command for Mended {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(sql("DELETE FROM reminder_plan WHERE appointment = 'swept-000'")).await?;
        tx.execute(sql("UPDATE appointment SET patient = $1 WHERE fhir_id = 'swept-550'").bind(vec![7_u8; 16])).await?;
        Ok(())
    }
}
