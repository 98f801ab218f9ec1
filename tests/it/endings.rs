//! Texts that do not reach the patient: every one ends, and where a person has to act one does.

use crate::{
    database::both_databases,
    outbound::{answered, asking, attempts, call_back, is, questions, state},
    service::{ANA, CLINIC, LUIS, Service, Setting},
};
use chartwire::{
    consent::Category,
    db::{Command, DbError, Tx, sql},
    jobs::{NewJob, counts, enqueue},
    kernel::{Id, Patient, Phi, StaffUser},
    messaging::{AboutText, Author, Class, Content, Message, NewText, TEXT_CHANGED},
    routing::{CloseTask, StaffTask},
    sandbox::carrier::{Fault, FaultKind},
    template::Params,
};
use jiff::{SignedDuration, tz::TimeZone};

/// The vendor's own test number that cannot be reached from any sender (error 21612).
const OUT_OF_REACH: &str = "+15005550002";

/// What a nurse answers.
fn reply(service: &Service, patient: Id<Patient>, phone: &str) -> NewText {
    NewText {
        class: Class::StaffReply,
        category: Category::Clinical,
        author: Author::Staff(service.instruments.new_id()),
        content: Content::Written(Phi::new("Please call us today.".to_owned())),
        ..service.reminder(patient, phone)
    }
}

/// The open tasks about texts, oldest first: `reason team urgency`, and the text.
async fn tasks(service: &Service) -> Vec<(String, Id<Message>)> {
    let query = sql("SELECT reason, team, urgency, message FROM staff_task WHERE state = 'open' \
         AND reason IN ('undelivered', 'delivery-unknown', 'carrier-trouble') ORDER BY id");
    let rows = service.app.db().all(query).await.unwrap();
    let word = |row: &chartwire::db::Row, column| row.get::<String>(column).unwrap();
    rows.iter()
        .map(|row| {
            let task = format!("{} {} {}", word(row, "reason"), word(row, "team"), word(row, "urgency"));
            (task, row.get("message").unwrap())
        })
        .collect()
}

/// Tells once more that a text has changed.
struct TellAgain(NewJob);

impl Command for TellAgain {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        enqueue(tx, &self.0).await
    }
}

async fn tell_again(service: &Service, message: Id<Message>) {
    let job = NewJob::new(&service.instruments, service.tenant, TEXT_CHANGED, &AboutText { message }).unwrap();
    service.app.db().execute(TellAgain(job)).await.unwrap();
    service.settle().await;
}

async fn close_all(service: &Service) {
    let by: Id<StaffUser> = service.instruments.new_id();
    for row in service.app.db().all(sql("SELECT id FROM staff_task WHERE state = 'open'")).await.unwrap() {
        let task: Id<StaffTask> = row.get("id").unwrap();
        let close = CloseTask { tenant: service.tenant, task, by, now: service.now() };
        assert!(service.app.db().execute(close).await.unwrap());
    }
}

/// Keeps the texts that have come in from being read, or lets them be read.
struct Reading {
    at: jiff::Timestamp,
}

impl Command for Reading {
    type Output = u64;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<u64, DbError> {
        tx.execute(sql("UPDATE job SET run_at = $1 WHERE kind = 'TextReceived'").bind(self.at)).await
    }
}

/// The carrier says this of the only attempt to send `text`.
async fn told(service: &Service, text: Id<Message>, status: &str) {
    let attempt = attempts(service, text).await[0].to_string();
    assert_eq!(call_back(service, &attempt, status).await, 204);
    service.settle().await;
}

both_databases! {
    async fn what_arrives_after_all_asks_again_and_nobody_has_to_tell_it(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::DropCallbacks));
        let text = service.queue(asking(&service, service.reminder(ana, ANA))).await;
        service.settle().await;
        told(&service, text, "undelivered").await;
        assert_eq!(tasks(&service).await, [("undelivered scheduling routine".to_owned(), text)]);
        assert_eq!(questions(&service).await, [(text, "unreached".to_owned())]);
        told(&service, text, "delivered").await;
        assert_eq!((state(&service, text).await, tasks(&service).await), (is("delivered", ""), vec![]));
        assert_eq!(questions(&service).await, [(text, "open".to_owned())]);
        service.text(ANA, "C").await;
        service.settle().await;
        assert_eq!(answered(&service).await, Some(text));
        service.stop().await;
    }

    async fn what_arrives_after_a_newer_question_does_not_go_before_it(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::DropCallbacks));
        let first = service.queue(asking(&service, service.reminder(ana, ANA))).await;
        service.settle().await;
        told(&service, first, "undelivered").await;
        let second = service.queue(asking(&service, service.reminder(ana, ANA))).await;
        service.settle().await;
        told(&service, first, "delivered").await;
        assert_eq!(questions(&service).await, [(first, "overtaken".to_owned()), (second, "open".to_owned())]);
        service.stop().await;
    }

    async fn a_task_for_two_texts_stays_until_both_have_arrived(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::DropCallbacks));
        let mut texts = Vec::new();
        for _ in 0..2 {
            let text = service.queue(reply(&service, ana, ANA)).await;
            service.settle().await;
            told(&service, text, "undelivered").await;
            texts.push(text);
        }
        assert_eq!(tasks(&service).await, [("undelivered nursing prompt".to_owned(), texts[0])]);
        told(&service, texts[0], "delivered").await;
        assert_eq!(tasks(&service).await, [("undelivered nursing prompt".to_owned(), texts[1])]);
        told(&service, texts[1], "delivered").await;
        assert_eq!(tasks(&service).await, []);
        service.stop().await;
    }

    async fn a_reply_that_does_not_arrive_is_handed_to_its_team_once(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let luis = service.patient("luis", "Luis", LUIS).await;
        let first = service.queue(reply(&service, luis, LUIS)).await;
        service.settle().await;
        assert_eq!(state(&service, first).await, is("undelivered", "landline"));
        let handed_over = vec![("undelivered nursing prompt".to_owned(), first)];
        assert_eq!(tasks(&service).await, handed_over);
        service.queue(reply(&service, luis, LUIS)).await;
        service.settle().await;
        tell_again(&service, first).await;
        assert_eq!(tasks(&service).await, handed_over, "one for the conversation");
        // What is done stays done, and the next is work again.
        close_all(&service).await;
        tell_again(&service, first).await;
        assert_eq!(tasks(&service).await, []);
        let third = service.queue(reply(&service, luis, LUIS)).await;
        service.settle().await;
        assert_eq!(tasks(&service).await, [("undelivered nursing prompt".to_owned(), third)]);
        service.stop().await;
    }

    async fn a_reminder_and_a_reply_ask_their_own_teams_and_the_more_urgent_goes_before(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let luis = service.patient("luis", "Luis", LUIS).await;
        let reminder = service.queue(service.reminder(luis, LUIS)).await;
        service.settle().await;
        assert_eq!(tasks(&service).await, [("undelivered scheduling routine".to_owned(), reminder)]);
        let nurse = service.queue(reply(&service, luis, LUIS)).await;
        let desk = NewText { category: Category::Appointment, ..reply(&service, luis, LUIS) };
        let desk = service.queue(desk).await;
        service.settle().await;
        assert_eq!(
            tasks(&service).await,
            [("undelivered scheduling prompt".to_owned(), desk), ("undelivered nursing prompt".to_owned(), nurse)]
        );
        service.stop().await;
    }

    async fn who_said_stop_gets_no_reminder_and_nobody_works_on_that(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.text(ANA, "STOP").await;
        service.settle().await;
        let reminder = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!((state(&service, reminder).await, tasks(&service).await), (is("dropped", "stopped"), vec![]));
        let nurse = service.queue(reply(&service, ana, ANA)).await;
        service.settle().await;
        assert_eq!(state(&service, nurse).await, is("dropped", "stopped"));
        assert_eq!(tasks(&service).await, [("undelivered nursing prompt".to_owned(), nurse)]);
        service.stop().await;
    }

    async fn trouble_with_the_carrier_is_one_task_for_the_practice(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", "+15005550003").await;
        let james = service.patient("james", "James", "+15005550003").await;
        // Twilio does not text to other countries unless an operator has allowed it (error 21408).
        let abroad = |patient| service.reminder(patient, "+15005550003");
        let first = service.queue(abroad(ana)).await;
        service.settle().await;
        service.queue(abroad(james)).await;
        service.settle().await;
        assert_eq!(state(&service, first).await, is("failed", "configuration"));
        assert_eq!(tasks(&service).await, [("carrier-trouble management prompt".to_owned(), first)]);
        service.stop().await;
    }

    async fn a_reply_is_given_up_after_a_day_when_the_phone_stays_out_of_reach(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", OUT_OF_REACH).await;
        let text = service.queue(reply(&service, ana, OUT_OF_REACH)).await;
        service.settle().await;
        assert_eq!(state(&service, text).await, is("queued", "unreachable"));
        for _ in 0..24 {
            service.advance(SignedDuration::from_hours(1));
            service.settle().await;
        }
        assert_eq!(state(&service, text).await, is("failed", "unreachable"));
        assert_eq!(tasks(&service).await, [("undelivered nursing prompt".to_owned(), text)]);
        let attempts = sql("SELECT COUNT(*) AS n FROM attempt");
        let tried: i64 = service.app.db().one(attempts.clone()).await.unwrap().get("n").unwrap();
        assert_eq!(tried, 11, "every hour in which the practice texts");
        service.advance(SignedDuration::from_hours(48));
        service.settle().await;
        assert_eq!(service.app.db().one(attempts).await.unwrap().get::<i64>("n").unwrap(), tried, "it is over");
        assert_eq!(counts(service.app.db()).await.unwrap().dead, 0);
        service.stop().await;
    }

    async fn a_carrier_that_stays_away_ends_a_reply_too(database: TestDatabase) {
        let mut service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.replace_carrier(0).await;
        let text = service.queue(reply(&service, ana, ANA)).await;
        for _ in 0..25 {
            service.settle().await;
            service.advance(SignedDuration::from_hours(1));
        }
        assert_eq!(state(&service, text).await, is("dropped", "expired"));
        assert_eq!(tasks(&service).await, [("undelivered nursing prompt".to_owned(), text)]);
        service.stop().await;
    }

    async fn a_template_that_cannot_be_filled_in_does_not_wait_for_ever(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        let reminder = service.reminder(ana, ANA);
        let Content::Template { key, .. } = reminder.content else { panic!("a template") };
        let params = Box::new(Params::new("Riverside Clinic", &TimeZone::UTC));
        let text = service.queue(NewText { content: Content::Template { key, params }, ..reminder }).await;
        service.settle().await;
        assert_eq!(state(&service, text).await, is("dropped", "unreadable"));
        assert_eq!(tasks(&service).await, [("undelivered scheduling routine".to_owned(), text)]);
        assert_eq!(counts(service.app.db()).await.unwrap().dead, 0);
        service.stop().await;
    }

    async fn what_start_brings_back_is_not_dropped_before_it_is_read(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.text(ANA, "STOP").await;
        service.settle().await;
        service.carrier.text_from(ANA, CLINIC, "START").await.unwrap();
        let later = Reading { at: service.now() + SignedDuration::from_secs(30) };
        assert_eq!(service.app.db().execute(later).await.unwrap(), 1);
        let text = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!(state(&service, text).await, is("queued", ""));
        service.advance(SignedDuration::from_secs(30));
        service.settle().await;
        assert_eq!(state(&service, text).await, is("delivered", ""));
        service.stop().await;
    }

    async fn an_unread_stop_holds_what_is_queued_and_then_drops_it(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.carrier.text_from(ANA, CLINIC, "STOP").await.unwrap();
        let later = Reading { at: service.now() + SignedDuration::from_secs(30) };
        assert_eq!(service.app.db().execute(later).await.unwrap(), 1);
        let text = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!(state(&service, text).await, is("queued", ""));
        service.advance(SignedDuration::from_secs(30));
        service.settle().await;
        assert_eq!(state(&service, text).await, is("dropped", "stopped"));
        service.stop().await;
    }

    async fn a_list_that_stays_away_does_not_keep_a_person_from_deciding(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::AnswerLost).times(1));
        service.carrier.faults().add(Fault::new(FaultKind::DropCallbacks));
        let reads = chartwire::sandbox::carrier::Requests::Reads;
        service.carrier.faults().add(Fault::new(FaultKind::ErrorBefore).on(reads));
        let text = service.queue(reply(&service, ana, ANA)).await;
        service.settle().await;
        service.advance(SignedDuration::from_hours(3));
        service.settle().await;
        assert_eq!(tasks(&service).await, []);
        service.advance(SignedDuration::from_hours(2));
        service.settle().await;
        assert_eq!(tasks(&service).await, [("delivery-unknown nursing prompt".to_owned(), text)]);
        // The list comes back, and there it stands: nobody has to find out any more.
        service.carrier.faults().clear();
        service.advance(SignedDuration::from_mins(2));
        service.settle().await;
        assert_eq!((state(&service, text).await, tasks(&service).await), (is("delivered", ""), vec![]));
        service.stop().await;
    }
}
