//! Who holds the number when a text leaves: a wish to send may be days old by then.

use crate::{
    database::both_databases,
    outbound::{is, state},
    service::{ANA, JAMES, Service, Setting},
};
use chartwire::{
    db::sql,
    kernel::{Id, Language, Patient, Phi, PhoneNumber, StaffUser},
    messaging::{Author, Class, Content, Message, NewText},
    patient::{EhrPatient, NumberKind, PersonName, Telecom},
    routing::CloseTask,
};
use jiff::SignedDuration;

/// What the EHR tells of Ana, later.
async fn told(service: &Service, phone: &str, deceased: bool) {
    let told = EhrPatient {
        fhir_id: "ana".to_owned(),
        version: Some("2".to_owned()),
        name: Phi::new(PersonName { given: "Ana".to_owned(), family: "Example".to_owned() }),
        birth_date: Phi::new(None),
        gender: Phi::new(None),
        language: Some(Language::English),
        deceased,
        zones: vec![],
        telecom: vec![Telecom { number: PhoneNumber::parse(phone).unwrap(), kind: NumberKind::Mobile, rank: 1 }],
        replaced_by: None,
        replaces: vec![],
    };
    service.directory().refresh(service.tenant, &told).await.unwrap();
}

/// A text of this class to Ana's first number that waits for an hour.
async fn waiting(service: &Service, ana: Id<Patient>, class: Class) -> Id<Message> {
    let later = Some(service.now() + SignedDuration::from_hours(1));
    let text = NewText { not_before: later, class, ..service.reminder(ana, ANA) };
    let nurse = Author::Staff(service.instruments.new_id());
    let words = Content::Written(Phi::new("Please call us today.".to_owned()));
    let text = if class == Class::StaffReply { NewText { author: nurse, content: words, ..text } } else { text };
    service.queue(text).await
}

both_databases! {
    async fn a_number_that_was_corrected_meanwhile_gets_nothing(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        let reminder = waiting(&service, ana, Class::Automated).await;
        let reply = waiting(&service, ana, Class::StaffReply).await;
        service.settle().await;
        told(&service, JAMES, false).await;
        service.advance(SignedDuration::from_hours(1));
        service.settle().await;
        assert_eq!(state(&service, reminder).await, is("dropped", "not-their-number"));
        assert_eq!(state(&service, reply).await, is("dropped", "not-their-number"));
        assert_eq!(service.carrier.accepted_count(None), 0);
        service.stop().await;
    }

    async fn nobody_is_reminded_who_has_died_meanwhile(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        let reminder = waiting(&service, ana, Class::Automated).await;
        service.settle().await;
        told(&service, ANA, true).await;
        service.advance(SignedDuration::from_hours(1));
        service.settle().await;
        assert_eq!(state(&service, reminder).await, is("dropped", "deceased"));
        assert_eq!(service.carrier.accepted_count(None), 0);
        service.stop().await;
    }

    async fn a_wrong_number_gets_nothing_until_a_person_has_looked_into_it(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.text(ANA, "wrong number").await;
        service.settle().await;
        let before = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!(state(&service, before).await, is("dropped", "not-their-number"));
        // The EHR says the same as before, which settles nothing.
        told(&service, ANA, false).await;
        let still = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!(state(&service, still).await, is("dropped", "not-their-number"));
        let about_the_text = sql("SELECT t.id FROM staff_task t JOIN message m ON m.tenant = t.tenant AND m.id = t.message \
             WHERE m.direction = 'in' AND t.state = 'open'");
        let task = service.app.db().one(about_the_text).await.unwrap();
        let by: Id<StaffUser> = service.instruments.new_id();
        let close = CloseTask { tenant: service.tenant, task: task.get("id").unwrap(), by, now: service.now() };
        assert!(service.app.db().execute(close).await.unwrap());
        let after = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!(state(&service, after).await, is("delivered", ""));
        service.stop().await;
    }

    async fn an_answer_is_one_for_half_an_hour(database: TestDatabase) {
        // Half past eight in the evening at the clinic.
        let service = Service::start(&database, Setting { now: "2026-11-24T01:30:00Z", ..Setting::default() }).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.text(ANA, "thank you!").await;
        service.settle().await;
        let query = sql("SELECT id FROM message WHERE direction = 'in'");
        let thanks: Id<Message> = service.app.db().one(query).await.unwrap().get("id").unwrap();
        let answer = || NewText {
            class: Class::Answer,
            in_response_to: Some(thanks),
            ..service.reminder(ana, ANA)
        };
        let prompt = service.queue(answer()).await;
        service.settle().await;
        assert_eq!(state(&service, prompt).await, is("delivered", ""));
        service.advance(SignedDuration::from_mins(30));
        let late = service.queue(answer()).await;
        service.settle().await;
        assert_eq!(state(&service, late).await, is("queued", ""));
        service.advance(SignedDuration::from_hours(12));
        service.settle().await;
        assert_eq!(state(&service, late).await, is("delivered", ""));
        let query = sql("SELECT class FROM message WHERE tenant = $1 AND id = $2");
        let row = service.app.db().one(query.bind(service.tenant).bind(late)).await.unwrap();
        assert_eq!(row.get::<String>("class").unwrap(), "automated", "what it left as");
        service.stop().await;
    }
}
