//! Texts from patients: durable, read once, answered by the rules.

use crate::{
    database::both_databases,
    service::{ANA, AUTH_TOKEN, CLINIC, JAMES, STRANGER, Service, Setting},
};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chartwire::{
    db::{Command, DbError, Tx, sql},
    kernel::{Id, Patient},
    sandbox::carrier::{Fault, FaultKind},
};
use jiff::SignedDuration;

async fn count(service: &Service, text: &'static str) -> i64 {
    service.app.db().one(sql(text)).await.unwrap().get("n").unwrap()
}

/// All attempts but one to read what has come in have failed.
struct LastAttempt;

impl Command for LastAttempt {
    type Output = u64;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<u64, DbError> {
        tx.execute(sql("UPDATE job SET attempts = max_attempts - 1 WHERE kind = 'TextReceived'")).await
    }
}

/// A reminder for Ana's visit in three days, through the whole gate.
async fn queue_reminder(service: &Service, patient: Id<Patient>) {
    service.queue(service.reminder(patient, ANA)).await;
}

both_databases! {
    async fn stop_is_in_force_before_anything_queued_can_leave(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        // The text has arrived and is not read yet when the reminder's turn comes.
        service.text(ANA, "stop").await;
        queue_reminder(&service, ana).await;
        service.settle().await;
        let texts = service.on(ANA);
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(texts[0].contains("no more texts"), "{texts:?}");
        // Nothing leaves afterwards either, and a second STOP is not confirmed again.
        queue_reminder(&service, ana).await;
        service.text(ANA, "STOP").await;
        service.settle().await;
        assert_eq!(service.on(ANA).len(), 1);
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM message WHERE state = 'dropped' AND state_reason = 'stopped'").await, 3);
        // START brings consent back, and the next reminder leaves.
        service.text(ANA, "start").await;
        service.settle().await;
        queue_reminder(&service, ana).await;
        service.settle().await;
        assert_eq!(service.on(ANA).len(), 3, "{:?}", service.on(ANA));
        service.stop().await;
    }

    async fn the_carrier_confirms_stop_where_it_answers_keywords(database: TestDatabase) {
        let service = Service::start(&database, Setting { carrier_answers_keywords: true, ..Setting::default() }).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.text(ANA, "STOP").await;
        queue_reminder(&service, ana).await;
        service.settle().await;
        assert_eq!(service.on(ANA).len(), 1, "one confirmation, the carrier's: {:?}", service.on(ANA));
        assert_eq!(service.carrier.accepted_count(None), 0, "we sent nothing");
        service.stop().await;
    }

    async fn who_answers_a_keyword_is_told_by_each_text(database: TestDatabase) {
        let service = Service::start(&database, Setting { carrier_answers_keywords: true, ..Setting::default() }).await;
        service.patient("ana", "Ana", ANA).await;
        service.patient("james", "James", JAMES).await;
        // Pulled from the list, where nothing says that the carrier has acted on it.
        service.app.schedule().await.unwrap();
        service.settle().await;
        service.carrier.faults().add(Fault::new(FaultKind::WebhooksRefused).times(1));
        service.text(ANA, "Unsubscribe").await;
        service.advance(SignedDuration::from_mins(10));
        service.settle().await;
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM suppression WHERE stopped = 1").await, 1);
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM message WHERE class = 'stop-confirmation'").await, 0);
        // Free words the carrier does not know.
        service.text(JAMES, "please stop texting me").await;
        service.settle().await;
        let confirmed = service.on(JAMES).iter().filter(|text| text.contains("no more texts")).count();
        assert_eq!(confirmed, 1, "{:?}", service.on(JAMES));
        service.stop().await;
    }

    async fn a_text_that_no_attempt_could_read_is_left_to_a_person(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.text(ANA, "Can I come at nine?").await;
        service.app.db().execute(LastAttempt).await.unwrap();
        queue_reminder(&service, ana).await;
        service.settle().await;
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM reading").await, 0);
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM message WHERE direction = 'in' AND state = 'read' AND patient IS NOT NULL").await, 1);
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM staff_task WHERE reason = 'not-understood' AND state = 'open'").await, 1);
        assert_eq!(service.on(ANA).len(), 1, "nothing waits for it any longer");
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM job WHERE state = 'dead'").await, 0);
        service.stop().await;
    }

    async fn without_consent_nothing_leaves(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.text(ANA, "please remove me from your list").await;
        service.settle().await;
        queue_reminder(&service, ana).await;
        service.settle().await;
        assert_eq!(service.on(ANA).len(), 1, "free wording counts: {:?}", service.on(ANA));
        service.stop().await;
    }

    async fn an_unknown_number_is_told_who_we_are_once(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        service.text(STRANGER, "hello?").await;
        service.text(STRANGER, "who is this").await;
        service.settle().await;
        let texts = service.on(STRANGER);
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM staff_task WHERE patient IS NULL AND state = 'open'").await, 2);
        service.stop().await;
    }

    async fn an_emergency_is_a_task_before_it_is_answered(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        service.patient("ana", "Ana", ANA).await;
        service.text(ANA, "I have chest pain and can't breathe").await;
        service.settle().await;
        assert!(service.on(ANA)[0].contains("911"));
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM staff_task WHERE urgency = 'emergency' AND team = 'nursing'").await, 1);
        service.stop().await;
    }

    async fn the_same_text_is_kept_once(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        service.patient("ana", "Ana", ANA).await;
        service.text(ANA, "thanks!").await;
        service.app.schedule().await.unwrap();
        service.settle().await;
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM message WHERE direction = 'in'").await, 1);
        service.stop().await;
    }

    async fn what_webhooks_missed_is_pulled(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        service.patient("ana", "Ana", ANA).await;
        service.app.schedule().await.unwrap();
        service.settle().await;
        service.carrier.faults().add(Fault::new(FaultKind::WebhooksRefused));
        for minute in 0..6 {
            service.text(ANA, &format!("thanks {minute}")).await;
            service.advance(SignedDuration::from_mins(10));
        }
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM message WHERE direction = 'in'").await, 0);
        service.settle().await;
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM message WHERE direction = 'in'").await, 6);
        service.stop().await;
    }

    async fn an_entry_that_cannot_be_read_keeps_the_list_from_being_passed(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        service.patient("ana", "Ana", ANA).await;
        service.app.schedule().await.unwrap();
        service.settle().await;
        let read_until = async || count(&service, "SELECT read_until AS n FROM carrier_watermark").await;
        let before = read_until().await;
        service.carrier.faults().add(Fault::new(FaultKind::WebhooksRefused).times(2));
        service.advance(SignedDuration::from_mins(1));
        service.text(ANA, "thanks").await;
        service.advance(SignedDuration::from_mins(1));
        service.text(ANA, "see you").await;
        service.carrier.faults().add(Fault::new(FaultKind::OddListEntry));
        // Longer than the list is read back by.
        for _ in 0..3 {
            service.advance(SignedDuration::from_mins(10));
            service.settle().await;
            assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM message WHERE direction = 'in'").await, 1);
            assert_eq!(read_until().await, before);
        }
        service.carrier.faults().clear();
        service.advance(SignedDuration::from_mins(10));
        service.settle().await;
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM message WHERE direction = 'in'").await, 2);
        assert_eq!(read_until().await, service.now().as_millisecond());
        service.stop().await;
    }

    async fn a_start_that_comes_late_does_not_undo_the_stop_that_followed_it(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.app.schedule().await.unwrap();
        service.settle().await;
        service.carrier.faults().add(Fault::new(FaultKind::WebhooksRefused));
        service.text(ANA, "START").await;
        service.carrier.faults().clear();
        service.advance(SignedDuration::from_secs(30));
        service.text(ANA, "STOP").await;
        service.settle().await;
        assert_eq!(service.on(ANA).len(), 1, "STOP is confirmed: {:?}", service.on(ANA));
        // The list brings the START.
        service.advance(SignedDuration::from_mins(10));
        service.settle().await;
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM message WHERE direction = 'in' AND state = 'read'").await, 2);
        queue_reminder(&service, ana).await;
        service.settle().await;
        assert_eq!(service.on(ANA).len(), 1, "nothing left after STOP: {:?}", service.on(ANA));
        // A new START counts.
        service.text(ANA, "START").await;
        service.settle().await;
        assert_eq!(service.on(ANA).len(), 2, "{:?}", service.on(ANA));
        service.stop().await;
    }

    async fn a_forged_webhook_leaves_nothing(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let url = format!("{}carriers/twilio/riverside/inbound", service.base);
        let form = [("MessageSid", "SM00000000000000000000000000000001"), ("From", ANA), ("To", CLINIC), ("Body", "YES")];
        let answer = reqwest::Client::new()
            .post(&url)
            .header("X-Twilio-Signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")
            .form(&form)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 403);
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM message").await, 0);
        service.stop().await;
    }

    async fn a_text_for_a_number_that_is_not_the_practices_is_refused(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        let url = format!("{}carriers/twilio/riverside/inbound", service.base);
        // Rightly signed, as by a carrier's account that several practices share.
        let post = async |to: &str| {
            let fields = [("Body", "YES"), ("From", ANA), ("MessageSid", "SM00000000000000000000000000000001"), ("To", to)];
            let signed: String = fields.iter().fold(url.clone(), |text, (name, value)| text + name + value);
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, AUTH_TOKEN.as_bytes());
            let signature = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
            let request = reqwest::Client::new().post(&url).header("X-Twilio-Signature", signature).form(&fields);
            request.send().await.unwrap().status().as_u16()
        };
        assert_eq!(post("+13105550177").await, 403);
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM message").await, 0);
        assert_eq!(post(CLINIC).await, 200);
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM message").await, 1);
        service.stop().await;
    }

    async fn odd_texts_are_kept(database: TestDatabase) {
        let service = Service::start(&database, Setting::default()).await;
        service.patient("ana", "Ana", ANA).await;
        for body in ["", "👍🏽", &"long ".repeat(400), "\u{0}\u{202e}x"] {
            service.text(ANA, body).await;
        }
        service.settle().await;
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM message WHERE direction = 'in' AND state = 'read'").await, 4);
        service.stop().await;
    }
}
