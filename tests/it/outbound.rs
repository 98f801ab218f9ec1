//! Texts to patients: what leaves when, what never leaves, and what the carrier says of it afterwards.

use crate::{
    database::both_databases,
    service::{ANA, AUTH_TOKEN, LUIS, Service, Setting},
};
use aws_lc_rs::hmac;
use base64::Engine as _;
use chartwire::{
    consent::Category,
    db::sql,
    intent::Context,
    kernel::{Id, Phi, Tenant},
    messaging::{
        Attempt, Author, Class, Content, Delivery, Message, NewQuestion, NewText, Told, Workflow,
        carrier_port::{DeliveryStatus, StatusReport},
    },
    sandbox::carrier::{Fault, FaultKind},
};
use jiff::{SignedDuration, Timestamp};

/// How far a text is, and why.
pub(crate) async fn state(service: &Service, text: Id<Message>) -> (String, String) {
    let query = sql("SELECT state, state_reason FROM message WHERE tenant = $1 AND id = $2");
    let row = service.app.db().one(query.bind(service.tenant).bind(text)).await.unwrap();
    (row.get("state").unwrap(), row.get::<Option<String>>("state_reason").unwrap().unwrap_or_default())
}

pub(crate) fn is(state: &str, reason: &str) -> (String, String) {
    (state.to_owned(), reason.to_owned())
}

/// What the text waits for, by its job.
pub(crate) async fn waits_for(service: &Service, text: Id<Message>) -> Option<String> {
    let query = sql("SELECT last_error FROM job WHERE tenant = $1 AND kind = 'SendText' AND unique_key = $2");
    let row = service.app.db().optional(query.bind(service.tenant).bind(text.to_string())).await.unwrap();
    row.and_then(|row| row.get("last_error").unwrap())
}

pub(crate) async fn attempts(service: &Service, text: Id<Message>) -> Vec<Id<Attempt>> {
    let query = sql("SELECT id FROM attempt WHERE tenant = $1 AND message = $2 ORDER BY id");
    let rows = service.app.db().all(query.bind(service.tenant).bind(text)).await.unwrap();
    rows.iter().map(|row| row.get("id").unwrap()).collect()
}

/// A reminder that asks for an answer, of a workflow of its own.
pub(crate) fn asking(service: &Service, text: NewText) -> NewText {
    let question = NewQuestion {
        context: Context::AppointmentReminder,
        cancel_pending: false,
        offered: Vec::new(),
        expires_at: service.now() + SignedDuration::from_hours(24),
    };
    NewText { workflow: Some(service.instruments.new_id::<Workflow>()), question: Some(question), ..text }
}

pub(crate) async fn questions(service: &Service) -> Vec<(Id<Message>, String)> {
    let rows = service.app.db().all(sql("SELECT message, state FROM question ORDER BY id")).await.unwrap();
    rows.iter().map(|row| (row.get("message").unwrap(), row.get("state").unwrap())).collect()
}

/// The text whose question the only reply was read as an answer to.
pub(crate) async fn answered(service: &Service) -> Option<Id<Message>> {
    let query =
        sql("SELECT q.message FROM reading r LEFT JOIN question q ON q.tenant = r.tenant AND q.id = r.question");
    service.app.db().one(query).await.unwrap().get("message").unwrap()
}

/// A status callback with a signature that holds.
pub(crate) async fn call_back(service: &Service, attempt: &str, status: &str) -> u16 {
    let url = format!("{}carriers/twilio/riverside/status?attempt={attempt}", service.base);
    let form = [("MessageSid", "SM00000000000000000000000000000009"), ("MessageStatus", status)];
    let signed = form.iter().fold(url.clone(), |text, (name, value)| text + name + value);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, AUTH_TOKEN.as_bytes());
    let signature = base64::engine::general_purpose::STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
    let request = reqwest::Client::new().post(&url).header("X-Twilio-Signature", signature).form(&form);
    request.send().await.unwrap().status().as_u16()
}

both_databases! {
    async fn what_is_late_unwanted_or_unverified_is_dropped_with_its_reason(database: TestDatabase) {
        let setting = Setting { now: "2026-11-24T01:30:00Z", texts_before_verification: false, ..Setting::default() };
        let service = Service::start(&database, setting).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        let late = Some(service.now() + SignedDuration::from_hours(1));
        let stale = service.queue(NewText { expires_at: late, class: Class::StaffReply, ..service.reminder(ana, ANA) }).await;
        let billing = service.queue(NewText { category: Category::Billing, ..service.reminder(ana, ANA) }).await;
        let gone = Some("Appointment/gone".to_owned());
        let untrue = NewText { about: gone, about_version: Some("1".to_owned()), ..service.reminder(ana, ANA) };
        let untrue = service.queue(untrue).await;
        let unverified = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!(state(&service, stale).await, is("dropped", "expired"));
        assert_eq!(state(&service, billing).await, is("dropped", "no-consent"));
        assert_eq!(state(&service, untrue).await, is("dropped", "no-longer-true"));
        assert_eq!(state(&service, unverified).await, is("dropped", "unverified"));
        assert_eq!(service.carrier.accepted_count(None), 0);
        service.stop().await;
    }

    async fn what_a_person_writes_is_held_against_the_guard(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        let nurse = Author::Staff(service.instruments.new_id());
        let written = |words: &str| NewText {
            class: Class::StaffReply,
            author: nurse,
            content: Content::Written(Phi::new(words.to_owned())),
            ..service.reminder(ana, ANA)
        };
        let fine = service.queue(written("We can see you at nine. Please bring your card.")).await;
        let diagnosis = service.queue(written("Your HIV test came back positive.")).await;
        service.settle().await;
        assert_eq!(state(&service, fine).await, is("delivered", ""));
        assert_eq!(state(&service, diagnosis).await, is("dropped", "guard"));
        assert_eq!(service.on(ANA).len(), 1);
        service.stop().await;
    }

    async fn a_landline_does_not_get_it_and_we_know_why(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let luis = service.patient("luis", "Luis", LUIS).await;
        let text = service.queue(service.reminder(luis, LUIS)).await;
        service.settle().await;
        assert_eq!(state(&service, text).await, is("undelivered", "landline"));
        service.stop().await;
    }

    async fn the_carriers_wait_is_kept_and_then_the_text_leaves_once(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::TooManyRequests { retry_after_secs: 7 }).times(1));
        let text = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        service.advance(SignedDuration::from_secs(6));
        service.settle().await;
        assert_eq!((state(&service, text).await, service.on(ANA).len()), (is("queued", "not-sent"), 0));
        service.advance(SignedDuration::from_secs(1));
        service.settle().await;
        assert_eq!((state(&service, text).await, service.on(ANA).len()), (is("delivered", ""), 1));
        assert_eq!(attempts(&service, text).await.len(), 2);
        service.stop().await;
    }

    async fn a_carrier_that_is_away_gets_the_text_once_when_it_is_back(database: TestDatabase) {
        let mut service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        let port = service.carrier.api_base().port().unwrap();
        service.replace_carrier(0).await;
        let text = service.queue(service.reminder(ana, ANA)).await;
        for _ in 0..4 {
            service.settle().await;
            assert_eq!(state(&service, text).await, is("queued", "not-sent"));
            service.advance(SignedDuration::from_mins(10));
        }
        service.replace_carrier(port).await;
        service.settle().await;
        assert_eq!((state(&service, text).await, service.on(ANA).len()), (is("delivered", ""), 1));
        service.stop().await;
    }

    async fn callbacks_twice_and_in_any_order_never_lead_back(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let (ana, luis) = (service.patient("ana", "Ana", ANA).await, service.patient("luis", "Luis", LUIS).await);
        service.carrier.faults().add(Fault::new(FaultKind::DuplicateCallbacks));
        service.carrier.faults().add(Fault::new(FaultKind::ReorderCallbacks));
        // The callbacks are all that is known of these: their answers are lost.
        service.carrier.faults().add(Fault::new(FaultKind::AnswerLost));
        let arrives = service.queue(service.reminder(ana, ANA)).await;
        let fails = service.queue(service.reminder(luis, LUIS)).await;
        service.settle().await;
        assert_eq!(state(&service, arrives).await, is("delivered", ""));
        assert_eq!(state(&service, fails).await, is("undelivered", "landline"));
        let told = service.app.db().all(sql("SELECT times FROM delivery_event")).await.unwrap();
        assert!(!told.is_empty() && told.iter().all(|row| row.get::<i64>("times").unwrap() == 2));
        let query = sql("SELECT delivered_at, sent_at, carrier_id FROM message WHERE tenant = $1 AND id = $2");
        let row = service.app.db().one(query.bind(service.tenant).bind(arrives)).await.unwrap();
        assert!(row.get::<Option<Timestamp>>("delivered_at").unwrap().is_some());
        assert!(row.get::<Option<Timestamp>>("sent_at").unwrap().is_some());
        assert!(row.get::<Option<String>>("carrier_id").unwrap().is_some());
        service.stop().await;
    }

    async fn a_callback_about_nothing_of_ours_changes_nothing(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::DropCallbacks));
        let text = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        let before = state(&service, text).await;
        assert_eq!(before.0, "accepted");
        let stranger = service.instruments.new_id::<Attempt>();
        assert_eq!(call_back(&service, &stranger.to_string(), "undelivered").await, 204);
        let attempt = attempts(&service, text).await[0];
        let delivery =
            Delivery::new(service.app.db().clone(), service.app.vault().clone(), service.instruments.clone());
        let report = StatusReport {
            carrier_id: "SM00000000000000000000000000000009".to_owned(),
            status: DeliveryStatus::Failed,
            error_code: None,
            class: None,
        };
        let other = service.instruments.new_id::<Tenant>();
        assert_eq!(delivery.told(other, "twilio", attempt, &report).await.unwrap(), Told::NotOurs);
        assert_eq!(state(&service, text).await, before);
        assert_eq!(call_back(&service, &attempt.to_string(), "delivered").await, 204);
        assert_eq!(state(&service, text).await, is("delivered", ""), "and one about it does");
        service.stop().await;
    }

    async fn a_question_to_another_patient_on_the_phone_is_never_overtaken(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let mother = service.patient("ana", "Ana", ANA).await;
        let child = service.patient("leo", "Leo", ANA).await;
        let first = service.queue(asking(&service, service.reminder(mother, ANA))).await;
        service.settle().await;
        let stands = Some(service.now() + SignedDuration::from_hours(24 * 3));
        let second = NewText { expires_at: stands, ..asking(&service, service.reminder(child, ANA)) };
        let second = service.queue(second).await;
        let stale = Some(service.now() + SignedDuration::from_hours(20));
        let third = NewText { expires_at: stale, ..asking(&service, service.reminder(child, ANA)) };
        let third = service.queue(third).await;
        service.settle().await;
        service.advance(SignedDuration::from_hours(22));
        service.settle().await;
        assert_eq!(questions(&service).await, [(first, "open".to_owned())]);
        assert_eq!(waits_for(&service, second).await.as_deref(), Some("question"));
        assert_eq!(state(&service, third).await, is("dropped", "question-open"));
        let asked = sql("SELECT message FROM staff_task WHERE reason = 'undelivered'");
        let asked: Id<Message> = service.app.db().one(asked).await.unwrap().get("message").unwrap();
        assert_eq!(asked, third, "a person tells what the text did not");
        service.text(ANA, "C").await;
        service.settle().await;
        assert_eq!(answered(&service).await, Some(first));
        // Nobody can answer the first any more.
        service.advance(SignedDuration::from_hours(3));
        service.settle().await;
        assert_eq!(questions(&service).await.last(), Some(&(second, "open".to_owned())));
        service.stop().await;
    }

    async fn what_has_not_reached_the_phone_asks_nothing(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let luis = service.patient("luis", "Luis", LUIS).await;
        let text = service.queue(asking(&service, service.reminder(luis, LUIS))).await;
        service.settle().await;
        assert_eq!(state(&service, text).await, is("undelivered", "landline"));
        assert_eq!(questions(&service).await, [(text, "unreached".to_owned())]);
        // Nor while it waits for the carrier to come back.
        let ana = service.patient("ana", "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::TooManyRequests { retry_after_secs: 7 }).times(1));
        let text = service.queue(asking(&service, service.reminder(ana, ANA))).await;
        service.settle().await;
        assert_eq!(questions(&service).await.last(), Some(&(text, "unreached".to_owned())));
        service.advance(SignedDuration::from_secs(7));
        service.settle().await;
        assert_eq!(questions(&service).await.last(), Some(&(text, "open".to_owned())));
        service.stop().await;
    }

    async fn a_second_question_to_the_same_patient_takes_over_after_four_hours(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        let first = service.queue(asking(&service, service.reminder(ana, ANA))).await;
        service.settle().await;
        let second = service.queue(asking(&service, service.reminder(ana, ANA))).await;
        service.settle().await;
        assert_eq!((service.on(ANA).len(), waits_for(&service, second).await.as_deref()), (1, Some("question")));
        service.advance(SignedDuration::from_mins(239));
        service.settle().await;
        assert_eq!(questions(&service).await, [(first, "open".to_owned())]);
        service.advance(SignedDuration::from_mins(1));
        service.settle().await;
        assert_eq!(questions(&service).await, [(first, "overtaken".to_owned()), (second, "open".to_owned())]);
        service.text(ANA, "C").await;
        service.settle().await;
        assert_eq!(answered(&service).await, Some(second));
        service.stop().await;
    }

    async fn an_answer_that_was_missed_is_none_to_a_question_asked_later(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.queue(asking(&service, service.reminder(ana, ANA))).await;
        service.settle().await;
        service.advance(SignedDuration::from_hours(1));
        service.carrier.faults().add(Fault::new(FaultKind::WebhooksRefused));
        service.text(ANA, "C").await;
        service.advance(SignedDuration::from_hours(4));
        let second = service.queue(asking(&service, service.reminder(ana, ANA))).await;
        service.settle().await;
        assert_eq!(questions(&service).await.last(), Some(&(second, "open".to_owned())));
        service.app.schedule().await.unwrap();
        service.settle().await;
        assert_eq!(answered(&service).await, None);
        let tasks = service.app.db().all(sql("SELECT reason FROM staff_task WHERE unique_key LIKE 'reply:%'")).await.unwrap();
        assert_eq!(tasks.len(), 1, "a person reads it");
        service.stop().await;
    }

    async fn an_answer_after_its_time_is_none(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.queue(asking(&service, service.reminder(ana, ANA))).await;
        service.settle().await;
        service.advance(SignedDuration::from_hours(24));
        service.text(ANA, "C").await;
        service.settle().await;
        assert_eq!(answered(&service).await, None);
        // Nor does the old question keep the next one from being asked.
        let next = service.queue(asking(&service, service.reminder(ana, ANA))).await;
        service.settle().await;
        assert_eq!(questions(&service).await.last(), Some(&(next, "open".to_owned())));
        service.stop().await;
    }

    async fn no_more_than_the_days_share_leaves(database: TestDatabase) {
        let service = Service::start(&database, Setting { caps: Some((1, 3)), ..Setting::default() }).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        let mut texts = Vec::new();
        for _ in 0..4 {
            let stands = Some(service.now() + SignedDuration::from_hours(10 * 24));
            texts.push(service.queue(NewText { expires_at: stands, ..service.reminder(ana, ANA) }).await);
        }
        let mut by_day = Vec::new();
        for _ in 0..8 {
            service.settle().await;
            by_day.push(service.on(ANA).len());
            service.advance(SignedDuration::from_hours(24));
        }
        assert_eq!(by_day, [1, 2, 3, 3, 3, 3, 3, 4]);
        service.stop().await;
    }
}
