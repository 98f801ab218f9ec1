//! What is read back from the carrier after a restore: all of it, or nothing leaves; and what it says holds here.

use crate::{
    backups::{backed_up, put_back, well},
    database::{TestDatabase, both_databases},
    installation::{Installation, Ran},
    outbound::{is, state},
    recovery::{TakeBack, is_stopped},
    service::{ACCOUNT, ANA, AUTH_TOKEN, CLINIC, JAMES, Service, Setting},
};
use chartwire::{
    app::command_line::Ended,
    db::sql,
    messaging::{Content, NewText},
    sandbox::{
        carrier::{Fault, FaultKind, Requests},
        clinic::persona,
    },
    template::{Params, TextKey, Visit},
};
use jiff::SignedDuration;
use reqwest::StatusCode;

const CONFIRM: [&str; 3] = ["recover", "--confirm", "Robin Ops"];

/// A text and a reply that no backup knows.
async fn a_text_and_a_reply(service: &Service) {
    service.advance(SignedDuration::from_mins(5));
    let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
    service.queue(service.reminder(ana, ANA)).await;
    service.settle().await;
    service.text(ANA, "thank you").await;
    service.settle().await;
}

/// A service that was backed up, went on, and is back from the backup; its lists are whole.
async fn come_back(
    database: &TestDatabase,
    meanwhile: impl AsyncFnOnce(&Service),
) -> (Service, Installation, Restored) {
    let mut service = Service::start(database, Setting::default()).await;
    let folder = tempfile::tempdir().unwrap();
    backed_up(&service, database.url(), folder.path()).await;
    meanwhile(&service).await;
    service.die().await;
    let (elsewhere, database) = put_back(&service, folder.path()).await;
    service.come_back(&elsewhere).await;
    service.advance(SignedDuration::from_mins(10));
    (service, elsewhere, Restored { _database: database, _folder: folder })
}

/// What holds the database that was put back.
struct Restored {
    _database: Option<TestDatabase>,
    _folder: tempfile::TempDir,
}

fn holds(ran: &Ran, why: &str) {
    assert_eq!(ran.ended, Ended::FoundWrong, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(why) && ran.out.contains("every text is held"), "{}", ran.out);
}

/// A reminder of two visits of one day.
fn reminder_of_two(service: &Service, text: NewText) -> NewText {
    let zone = jiff::tz::TimeZone::get("America/New_York").unwrap();
    let at = |hours| Visit { at: service.now() + SignedDuration::from_hours(hours), provider: None };
    let params = Params::new("Riverside Clinic", &zone).first(None).visits(&[at(72), at(74)]);
    NewText { content: Content::Template { key: TextKey::ReminderMany, params: Box::new(params) }, ..text }
}

/// The carrier blocks the clinic's number for a phone, as its console does: no list shows it.
async fn blocks(service: &Service, phone: &str) {
    let stop = service.carrier.text_from(phone, CLINIC, "STOP").await.unwrap();
    let deleted = messages(service, reqwest::Method::DELETE, &format!("/{stop}")).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT, "{}", deleted.text().await.unwrap());
}

/// A request about messages of the clinic's account.
fn messages(service: &Service, method: reqwest::Method, rest: &str) -> reqwest::RequestBuilder {
    let base = service.carrier.api_base();
    let url = format!("{}/2010-04-01/Accounts/{ACCOUNT}/Messages{rest}.json", base.as_str().trim_end_matches('/'));
    reqwest::Client::new().request(method, url).basic_auth(ACCOUNT, Some(AUTH_TOKEN))
}

both_databases! {
    async fn a_list_that_fails_now_is_not_made_up_for_by_an_earlier_one(database: TestDatabase) {
        let (service, elsewhere, _restored) = come_back(&database, a_text_and_a_reply).await;
        let sent = service.carrier.accepted_count(None);
        let both_read = elsewhere.run(&["recover"]).await;
        holds(&both_read, "--confirm NAME");
        assert!(!both_read.out.contains("has to be read"), "{}", both_read.out);
        service.carrier.faults().add(Fault::new(FaultKind::ErrorBefore).on(Requests::Reads));
        let failed = elsewhere.run(&CONFIRM).await;
        holds(&failed, "riverside: WRONG: sent texts cannot be read back");
        assert!(failed.out.contains("by the run that lets texts leave"), "{}", failed.out);
        service.carrier.faults().clear();
        let lifted = elsewhere.run(&["recover"]).await;
        well(&lifted);
        assert_eq!(service.carrier.accepted_count(None), sent);
        service.stop().await;
    }

    async fn entries_that_stay_unreadable_are_counted_and_a_person_vouches_for_them(database: TestDatabase) {
        let (service, elsewhere, _restored) = come_back(&database, a_text_and_a_reply).await;
        service.carrier.faults().add(Fault::new(FaultKind::OddListEntry));
        let found = elsewhere.run(&CONFIRM).await;
        holds(&found, "WRONG: 2 entries of the carrier's lists cannot be read: 2 without an id");
        assert!(found.out.contains("--confirm NAME --unreadable 2") && !found.out.contains("it may lag"), "{}", found.out);
        let too_few = elsewhere.run(&[&CONFIRM[..], &["--unreadable", "1"]].concat()).await;
        holds(&too_few, "WRONG: 2 entries");
        let lifted = elsewhere.run(&[&CONFIRM[..], &["--unreadable", "2"]].concat()).await;
        well(&lifted);
        let noted = sql("SELECT COUNT(*) AS n FROM audit_row WHERE detail LIKE '%unreadable-entries%' AND detail LIKE '%Robin%'");
        assert_eq!(service.app.db().one(noted).await.unwrap().get::<i64>("n").unwrap(), 1);
        service.stop().await;
    }

    async fn a_number_that_the_list_shows_as_blocked_is_stopped_here_too(database: TestDatabase) {
        let setting = Setting { carrier_answers_keywords: true, ..Setting::default() };
        let mut service = Service::start(&database, setting).await;
        let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        let folder = tempfile::tempdir().unwrap();
        backed_up(&service, database.url(), folder.path()).await;
        service.die().await;
        service.advance(SignedDuration::from_mins(1));
        blocks(&service, ANA).await;
        // Through a messaging service a block is found out only after the text was taken.
        let pool = service.carrier.messaging_service_sid();
        let form = [("To", ANA), ("From", CLINIC), ("MessagingServiceSid", &pool), ("Body", "Please call us.")];
        let taken = messages(&service, reqwest::Method::POST, "").form(&form).send().await.unwrap();
        assert_eq!(taken.status(), StatusCode::CREATED, "{}", taken.text().await.unwrap());
        service.carrier.settled().await;
        let (elsewhere, _restored) = put_back(&service, folder.path()).await;
        service.come_back(&elsewhere).await;
        assert!(!is_stopped(&service, ANA).await);
        service.advance(SignedDuration::from_mins(10));
        well(&elsewhere.run(&CONFIRM).await);
        assert!(is_stopped(&service, ANA).await, "no STOP stands in any list: the block does");
        service.advance(SignedDuration::from_hours(25));
        let later = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!(state(&service, later).await, is("dropped", "stopped"));
        service.stop().await;
    }

    async fn one_visit_is_not_reminded_of_alone_and_with_others(database: TestDatabase) {
        let mut service = Service::start(&database, Setting::default()).await;
        let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        let james = service.patient(persona::JAMES_CARTER, "James", JAMES).await;
        let alone = service.queue(service.reminder(ana, ANA)).await;
        let with_others = service.queue(reminder_of_two(&service, service.reminder(james, JAMES))).await;
        let folder = tempfile::tempdir().unwrap();
        backed_up(&service, database.url(), folder.path()).await;
        // What left instead, the backup does not know.
        for queued in [alone, with_others] {
            service.app.db().execute(TakeBack(queued)).await.unwrap();
        }
        service.advance(SignedDuration::from_mins(5));
        service.queue(reminder_of_two(&service, service.reminder(ana, ANA))).await;
        service.queue(service.reminder(james, JAMES)).await;
        service.settle().await;
        assert_eq!(service.carrier.accepted_count(None), 2);
        service.die().await;
        let (elsewhere, _restored) = put_back(&service, folder.path()).await;
        service.come_back(&elsewhere).await;
        service.advance(SignedDuration::from_mins(10));
        well(&elsewhere.run(&CONFIRM).await);
        service.advance(SignedDuration::from_mins(2));
        service.settle().await;
        for queued in [alone, with_others] {
            assert_eq!(state(&service, queued).await, is("dropped", "maybe-sent-before"));
        }
        assert_eq!(service.carrier.accepted_count(None), 2);
        service.stop().await;
    }
}
