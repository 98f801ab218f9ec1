//! The main job, end to end: a reminder, an answer in the patient's own words, and the appointment in the EHR.

use crate::{
    conversation::reminded,
    database::both_databases,
    feed::chart,
    service::{ANA, JAMES, Service, Setting},
};
use chartwire::{
    db::{Command, DbError, Tx, sql},
    sandbox::clinic::persona,
};
use jiff::SignedDuration;
use serde_json::Value;

async fn count(service: &Service, text: &'static str) -> i64 {
    service.app.db().one(sql(text)).await.unwrap().get("n").unwrap()
}

/// What we knew of Ana's visit is gone.
struct Forgotten;

impl Command for Forgotten {
    type Output = u64;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<u64, DbError> {
        tx.execute(sql("DELETE FROM appointment WHERE fhir_id = 'appointment-ana-lopez'")).await
    }
}

async fn ana_visit(service: &Service) -> Value {
    chart(service, "Appointment?_id=appointment-ana-lopez").await.remove(0)
}

both_databases! {
    async fn a_reminder_goes_out_and_is_confirmed_in_the_ehr(database: TestDatabase) {
        let service = reminded(&database).await;
        let texts = service.on(ANA);
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(texts[0].contains("Reply C to confirm"), "{texts:?}");
        service.text(ANA, "yes I'll be there").await;
        service.settle().await;
        assert!(service.on(ANA)[1].contains("confirmed"), "{:?}", service.on(ANA));
        assert_eq!(ana_visit(&service).await["participant"][0]["status"], "accepted");
        service.stop().await;
    }

    async fn an_answer_that_cannot_be_dealt_with_keeps_nothing_waiting(database: TestDatabase) {
        let service = reminded(&database).await;
        service.app.db().execute(Forgotten).await.unwrap();
        service.text(ANA, "C").await;
        service.settle().await;
        let query = sql("SELECT state, data FROM workflow WHERE subject = 'Appointment/appointment-ana-lopez'");
        let row = service.app.db().one(query).await.unwrap();
        let visit: Value = serde_json::from_str(&row.get::<String>("data").unwrap()).unwrap();
        assert_eq!((row.get::<String>("state").unwrap().as_str(), &visit["acting"]), ("with-staff", &Value::Null));
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM staff_task WHERE reason = 'ehr-unknown' AND patient IS NOT NULL AND state = 'open'").await, 1);
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM job WHERE state = 'dead'").await, 0);
        service.stop().await;
    }

    async fn a_planned_reminder_ends_as_its_text_ends(database: TestDatabase) {
        let service = Service::start(&database, Setting { now: "2026-11-23T14:30:00Z", ..Setting::default() }).await;
        service.app.schedule().await.unwrap();
        service.settle().await;
        service.text(ANA, "STOP").await;
        service.settle().await;
        service.advance(SignedDuration::from_mins(31));
        service.settle().await;
        let query = sql("SELECT state, reason FROM reminder_plan WHERE appointment = 'appointment-ana-lopez' AND days_before = 3");
        let plan = service.app.db().one(query).await.unwrap();
        let told: (String, Option<String>) = (plan.get("state").unwrap(), plan.get("reason").unwrap());
        assert_eq!(told, ("failed".to_owned(), Some("stopped".to_owned())));
        // Of the others some have no phone in the room, some never agreed: none is left as if it were on its way.
        let left_over = "SELECT COUNT(*) AS n FROM reminder_plan p JOIN message m ON m.tenant = p.tenant AND m.id = p.message \
             WHERE p.state = 'queued' AND m.state <> 'queued'";
        assert_eq!(count(&service, left_over).await, 0);
        assert!(count(&service, "SELECT COUNT(*) AS n FROM reminder_plan WHERE state = 'failed' AND reason = 'unknown_number'").await > 0);
        let on_the_worklist = "SELECT COUNT(*) AS n FROM staff_task WHERE reason = 'undelivered' AND team = 'scheduling'";
        assert!(count(&service, on_the_worklist).await > 0, "another channel has to be tried");
        service.stop().await;
    }

    async fn a_visit_is_moved_in_three_texts(database: TestDatabase) {
        let service = reminded(&database).await;
        let before = ana_visit(&service).await["start"].clone();
        service.text(ANA, "RESCHEDULE").await;
        service.settle().await;
        assert!(service.on(ANA)[1].contains("1)"), "{:?}", service.on(ANA));
        service.text(ANA, "2").await;
        service.settle().await;
        assert!(service.on(ANA)[2].contains("Your visit is now"), "{:?}", service.on(ANA));
        let after = ana_visit(&service).await;
        assert_ne!(after["start"], before);
        assert_eq!(after["status"], "booked");
        // Our own change is not announced as the staff's.
        service.advance(SignedDuration::from_mins(5));
        service.settle().await;
        assert_eq!(service.on(ANA).len(), 3, "{:?}", service.on(ANA));
        service.stop().await;
    }

    async fn a_visit_is_cancelled_in_two_steps(database: TestDatabase) {
        let service = reminded(&database).await;
        service.text(ANA, "please cancel my appointment").await;
        service.settle().await;
        assert_eq!(ana_visit(&service).await["status"], "booked", "asked first");
        service.text(ANA, "YES").await;
        service.settle().await;
        assert_eq!(ana_visit(&service).await["status"], "cancelled", "{:?}", service.on(ANA));
        service.stop().await;
    }

    async fn a_refill_is_requested_and_its_status_comes_back(database: TestDatabase) {
        let service = reminded(&database).await;
        let texts = service.on(JAMES);
        assert!(texts.iter().any(|text| text.contains("due for refill")), "{texts:?}");
        service.text(JAMES, "YES").await;
        service.settle().await;
        let tasks = chart(&service, &format!("Task?patient=Patient/{}", persona::JAMES_CARTER)).await;
        assert_eq!(tasks.len(), 1, "{tasks:?} {:?}", service.on(JAMES));
        assert_eq!(tasks[0]["status"], "requested");
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM refill_notice WHERE task IS NOT NULL").await, 1);
        service.stop().await;
    }
}
