//! A backup is taken under load, the load goes on, and the service is lost: what comes back from the backup forgets no
//! STOP and sends nothing twice (law 4).

use crate::{
    backups::{backed_up, copied_by_hand, put_back, put_back_as_of, well},
    conversation::{
        ANA_LOPEZ, CONFIRMED, JAMES_CARTER, MOVED, OFFER, PRIYA_NAIR, REMINDER, books_are_closed, ends, start,
    },
    database::{TestDatabase, both_databases},
    installation::Installation,
    launch::{Browser, field},
    outbound::{is, state},
    service::{ANA, JAMES, PRIYA, STRANGER, Service, Setting},
    unknown::LeasesRunOut,
};
use chartwire::{
    app::command_line::Ended,
    db::{Command, DbError, Tx, recovery::HowMarked, sql},
    kernel::{Id, Patient},
    messaging::Message,
    sandbox::{
        carrier::{Fault, FaultKind},
        clinic::persona,
    },
};
use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use serde_json::Value;
use std::collections::BTreeMap;

const STOPPED: &str = "> You will get no more texts from us.";
const EMERGENCY: &str = "> call 911 now";

/// A minute before the first reminders fall due.
pub(crate) async fn before_the_reminders(database: &TestDatabase) -> Service {
    let service = Service::start(database, Setting { now: "2026-11-23T14:30:00Z", ..Setting::default() }).await;
    service.app.schedule().await.unwrap();
    service.settle().await;
    service.app.sealer().seal(service.tenant).await.unwrap();
    service
}

/// Somebody texts without a pause.
async fn load(service: &Service) {
    for number in 0..12 {
        service.text(STRANGER, &format!("is this the clinic? {number}")).await;
        service.settle().await;
    }
}

/// What the day brings after the backup, of which only carrier and EHR will know.
async fn the_day_goes_on(service: &Service) {
    let minute = SignedDuration::from_mins(1);
    service.advance(SignedDuration::from_mins(31));
    service.settle().await;
    for (phone, words) in [(ANA, "C"), (JAMES, "STOP"), (STRANGER, "I have chest pain"), (PRIYA, "R")] {
        service.advance(minute);
        service.text(phone, words).await;
        service.settle().await;
    }
    service.advance(minute);
    service.text(PRIYA, "1").await;
    service.settle().await;
    service.advance(minute);
    service.text(ANA, "my knee hurts more today").await;
    service.settle().await;
    let nurse = Browser::new(service);
    nurse.launch(service, persona::NURSE_REED).await;
    let page = nurse.page("inbox").await.text().await.unwrap();
    let (form_token, once) = (field(&page, "form_token"), field(&page, "once"));
    let reply = [("form_token", form_token.as_str()), ("once", &once), ("text", "Please call us this afternoon.")];
    assert_eq!(nurse.post("inbox/reply", &reply).await.status(), StatusCode::SEE_OTHER);
    service.settle().await;
    service.advance(SignedDuration::from_mins(2));
    service.settle().await;
    ends(service, &ANA_LOPEZ, &ANAS).await;
    ends(service, &PRIYA_NAIR, &PRIYAS).await;
}

const ANAS: [&str; 5] = [REMINDER, "< C", CONFIRMED, "< my knee", "> Please call us this afternoon."];
const PRIYAS: [&str; 5] = [REMINDER, "< R", OFFER, "< 1", MOVED];

/// Every text that the carrier knows stands here once, under its id, and nothing else does.
async fn carrier_and_books_agree(service: &Service) {
    let query =
        sql("SELECT carrier_id, COUNT(*) AS times FROM message WHERE carrier_id IS NOT NULL GROUP BY carrier_id");
    let rows = service.app.db().all(query).await.unwrap();
    let here: BTreeMap<String, i64> =
        rows.iter().map(|row| (row.get("carrier_id").unwrap(), row.get("times").unwrap())).collect();
    let there: BTreeMap<String, i64> = service.carrier.messages().into_iter().map(|text| (text.sid, 1)).collect();
    assert_eq!(here, there);
}

pub(crate) async fn is_stopped(service: &Service, phone: &str) -> bool {
    let token = service.app.vault().index_token(service.tenant, "phone", phone).await.unwrap().bytes.to_vec();
    let query = sql("SELECT 1 AS stopped FROM suppression WHERE number_token = $1 AND stopped = 1").bind(token);
    service.app.db().optional(query).await.unwrap().is_some()
}

pub(crate) async fn ready(service: &Service) -> Value {
    let answer = reqwest::get(format!("{}readyz", service.base)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

/// What staff are shown while texts are held.
async fn staff_are_told(service: &Service) {
    let nurse = Browser::new(service);
    nurse.launch(service, persona::NURSE_REED).await;
    let page = nurse.page("inbox").await.text().await.unwrap();
    assert!(page.contains("Restored from a backup of") && page.contains("data-blocked=\"recovering\""), "{page}");
}

/// The backup is in place and the service runs over it: it takes what comes, and nothing leaves.
async fn holds_everything(service: &Service, elsewhere: &Installation) {
    let sent = service.carrier.accepted_count(None);
    // The backup may have been taken while a job was in hand: nobody has it now.
    service.app.db().execute(LeasesRunOut).await.unwrap();
    service.app.schedule().await.unwrap();
    service.settle().await;
    assert_eq!(ready(service).await["parts"]["recovery"], "not ready");
    staff_are_told(service).await;
    service.text(ANA, "it is a bit better now").await;
    service.settle().await;
    let first = elsewhere.run(&["recover"]).await;
    assert_eq!(first.ended, Ended::FoundWrong, "{}{}", first.out, first.err);
    assert!(first.out.contains("list of sent texts has to be read"), "{}", first.out);
    assert!(is_stopped(service, JAMES).await, "before anything leaves");
    service.advance(SignedDuration::from_mins(10));
    service.settle().await;
    let second = elsewhere.run(&["recover"]).await;
    assert!(second.out.contains("--confirm NAME") && !second.out.contains("has to be read"), "{}", second.out);
    service.settle().await;
    assert_eq!(service.carrier.accepted_count(None), sent, "nothing has left");
    let status = elsewhere.run(&["recover", "--status"]).await;
    assert_eq!(status.ended, Ended::FoundWrong);
}

/// Where it waits for a while, everything that was held has its chance.
async fn lets_texts_leave(service: &Service, elsewhere: &Installation) {
    let lifted = elsewhere.run(&["recover", "--confirm", "Robin Ops"]).await;
    well(&lifted);
    assert!(lifted.out.contains("texts leave again"), "{}", lifted.out);
    for _ in 0..6 {
        service.settle().await;
        service.advance(SignedDuration::from_mins(5));
    }
    service.settle().await;
    assert_eq!(ready(service).await["parts"]["recovery"], "ready");
    well(&elsewhere.run(&["recover", "--status"]).await);
}

both_databases! {
    async fn a_backup_under_load_forgets_no_stop_and_sends_nothing_twice(database: TestDatabase) {
        let mut service = before_the_reminders(&database).await;
        let folder = tempfile::tempdir().unwrap();
        let taken_at = service.now();
        tokio::join!(backed_up(&service, database.url(), folder.path()), load(&service));
        the_day_goes_on(&service).await;
        let moved_to = start(&service, PRIYA_NAIR.appointment).await;
        let sent = service.carrier.accepted_count(None);
        service.die().await;
        // Nobody hears it; it stands in the carrier's list alone.
        service.text(PRIYA, "thank you").await;

        let (elsewhere, _database) = put_back_as_of(&service, folder.path(), taken_at).await;
        service.come_back(&elsewhere).await;
        assert!(!is_stopped(&service, JAMES).await, "the backup is from before that");
        holds_everything(&service, &elsewhere).await;
        lets_texts_leave(&service, &elsewhere).await;

        assert_eq!(service.carrier.accepted_count(None), sent, "{:#?}", service.carrier.messages());
        carrier_and_books_agree(&service).await;
        ends(&service, &ANA_LOPEZ, &[&ANAS[..], &["< it is a bit better"]].concat()).await;
        ends(&service, &PRIYA_NAIR, &[&PRIYAS[..], &["< thank you"]].concat()).await;
        ends(&service, &JAMES_CARTER, &["> A prescription of yours", "< STOP", STOPPED]).await;
        assert!(service.on(STRANGER).iter().any(|text| text.contains(&EMERGENCY[2..])));
        assert_eq!(emergencies(&service).await, 1, "a nurse has it, though it was answered");
        assert_eq!(start(&service, PRIYA_NAIR.appointment).await, moved_to);
        books_are_closed(&service).await;

        goes_on(&service, &elsewhere).await;
        let marked = sql("SELECT COUNT(*) AS n FROM recovery WHERE since = $1 AND lifted_at IS NOT NULL");
        assert_eq!(service.app.db().one(marked.bind(taken_at)).await.unwrap().get::<i64>("n").unwrap(), 1);
        service.stop().await;
    }

    async fn an_attempt_that_was_open_is_settled_by_the_list(database: TestDatabase) {
        let mut service = Service::start(&database, Setting::default()).await;
        let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::DropCallbacks));
        service.carrier.faults().add(Fault::new(FaultKind::ErrorAfterAccept).times(1));
        let open = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!(state(&service, open).await.0, "unknown");
        let folder = tempfile::tempdir().unwrap();
        backed_up(&service, database.url(), folder.path()).await;
        service.die().await;
        let (elsewhere, _database) = put_back(&service, folder.path()).await;
        service.come_back(&elsewhere).await;
        service.advance(SignedDuration::from_mins(10));
        let ran = elsewhere.run(&["recover", "--confirm", "Robin Ops"]).await;
        well(&ran);
        assert!(ran.out.contains("1 settled an open attempt"), "{}", ran.out);
        assert_eq!(state(&service, open).await.0, "delivered");
        service.settle().await;
        assert_eq!(service.carrier.accepted_count(None), 1);
        service.stop().await;
    }

    async fn what_is_only_like_a_text_that_had_left_is_for_a_person(database: TestDatabase) {
        let mut service = Service::start(&database, Setting::default()).await;
        let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        let folder = tempfile::tempdir().unwrap();
        let queued = service.queue(service.reminder(ana, ANA)).await;
        backed_up(&service, database.url(), folder.path()).await;
        // What became of it before another one left, nobody can tell any more.
        service.app.db().execute(TakeBack(queued)).await.unwrap();
        service.advance(SignedDuration::from_mins(5));
        service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        assert_eq!(service.carrier.accepted_count(None), 1);
        service.die().await;
        let (elsewhere, _database) = put_back(&service, folder.path()).await;
        service.come_back(&elsewhere).await;
        service.advance(SignedDuration::from_mins(10));
        well(&elsewhere.run(&["recover", "--confirm", "Robin Ops"]).await);
        service.advance(SignedDuration::from_mins(2));
        service.settle().await;
        assert_eq!(service.carrier.accepted_count(None), 1);
        assert_eq!(state(&service, queued).await, is("dropped", "maybe-sent-before"));
        let asked = sql("SELECT COUNT(*) AS n FROM staff_task WHERE message = $1 AND reason = 'undelivered' AND state = 'open'");
        assert_eq!(service.app.db().one(asked.bind(queued)).await.unwrap().get::<i64>("n").unwrap(), 1);
        service.stop().await;
    }

    async fn a_database_that_was_put_back_in_silence_is_noticed(database: TestDatabase) {
        let mut service = before_the_reminders(&database).await;
        let folder = tempfile::tempdir().unwrap();
        let nurse = Browser::new(&service);
        nurse.launch(&service, persona::NURSE_REED).await;
        service.app.sealer().seal(service.tenant).await.unwrap();
        let sealed_at = service.now();
        backed_up(&service, database.url(), folder.path()).await;
        service.advance(SignedDuration::from_mins(1));
        service.text(ANA, "STOP").await;
        service.settle().await;
        service.app.sealer().seal(service.tenant).await.unwrap();
        service.die().await;
        let (url, _database) = copied_by_hand(&service, folder.path()).await;
        let elsewhere = service.installed_over(&url);
        elsewhere.edit("head_folder = \"heads\"", &format!("head_folder = \"{}\"", service.heads().display()));
        service.come_back(&elsewhere).await;
        let marked = service.app.db().one(sql("SELECT how, since FROM recovery WHERE lifted_at IS NULL")).await.unwrap();
        assert_eq!(marked.get::<String>("how").unwrap(), HowMarked::AuditHead.code());
        assert_eq!(marked.get::<Timestamp>("since").unwrap(), sealed_at);
        let sessions = sql("SELECT COUNT(*) AS n, COUNT(ended_at) AS ended FROM session");
        let sessions = service.app.db().one(sessions).await.unwrap();
        assert_eq!((sessions.get::<i64>("n").unwrap(), sessions.get::<i64>("ended").unwrap()), (1, 1));
        let behind = elsewhere.run(&["audit", "verify"]).await;
        assert_eq!(behind.ended, Ended::FoundWrong, "{}", behind.out);
        service.advance(SignedDuration::from_mins(10));
        let ran = elsewhere.run(&["recover", "--confirm", "Robin Ops"]).await;
        well(&ran);
        assert!(ran.out.contains("audit heads of the rows that are lost were moved to"), "{}", ran.out);
        assert!(is_stopped(&service, ANA).await);
        service.app.sealer().seal(service.tenant).await.unwrap();
        well(&elsewhere.run(&["audit", "verify"]).await);
        service.stop().await;
    }
}

/// A text does not leave after all.
pub(crate) struct TakeBack(pub(crate) Id<Message>);

impl Command for TakeBack {
    type Output = u64;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<u64, DbError> {
        tx.execute(sql("UPDATE message SET state = 'dropped' WHERE id = $1").bind(self.0)).await
    }
}

async fn emergencies(service: &Service) -> i64 {
    let query = sql("SELECT COUNT(*) AS n FROM staff_task WHERE urgency LIKE 'emergency%' AND state = 'open'");
    service.app.db().one(query).await.unwrap().get("n").unwrap()
}

/// Who said STOP hears nothing, others do, and the log is whole.
async fn goes_on(service: &Service, elsewhere: &Installation) {
    let (ana, james) = (id_of(service, ANA_LOPEZ.id).await, id_of(service, JAMES_CARTER.id).await);
    let (told, silent) = (service.on(ANA).len(), service.on(JAMES).len());
    let to_ana = service.queue(service.reminder(ana, ANA)).await;
    let to_james: Id<Message> = service.queue(service.reminder(james, JAMES)).await;
    service.settle().await;
    assert_eq!((service.on(ANA).len(), service.on(JAMES).len()), (told, silent));
    // News within a day of the recovery may be what was told before: a person looks. Later it is news.
    assert_eq!(state(service, to_ana).await, is("dropped", "maybe-sent-before"));
    assert_eq!(state(service, to_james).await.0, "dropped");
    service.advance(SignedDuration::from_hours(25));
    service.settle().await;
    let told = service.on(ANA).len();
    let (again, stopped) =
        (service.queue(service.reminder(ana, ANA)).await, service.queue(service.reminder(james, JAMES)).await);
    service.settle().await;
    assert_eq!(state(service, again).await, is("delivered", ""));
    assert_eq!(state(service, stopped).await, is("dropped", "stopped"));
    assert_eq!(service.on(ANA).len(), told + 1);
    assert_eq!(service.on(JAMES).len(), silent);
    service.app.sealer().seal(service.tenant).await.unwrap();
    let verified = elsewhere.run(&["audit", "verify"]).await;
    well(&verified);
}

async fn id_of(service: &Service, fhir_id: &str) -> Id<Patient> {
    service.directory().by_fhir_id(service.tenant, fhir_id).await.unwrap().unwrap().id
}
