//! What patients say at the desk: recorded over HTTP, in force before anything that waits can leave.

use crate::{
    database::{TestDatabase, both_databases},
    launch::{Browser, count, field},
    service::{ANA, JAMES, Service, Setting},
};
use chartwire::{
    db::sql,
    kernel::{Id, Patient},
    sandbox::clinic::persona,
};
use jiff::SignedDuration;
use reqwest::{StatusCode, header};

/// Late on a Sunday evening at the clinic: automated texts wait for the morning.
const NIGHT: &str = "2026-11-23T04:00:00Z";

const ENTRIES: &str = "SELECT COUNT(*) AS n FROM consent_entry WHERE source = 'desk'";
const AUDITED: &str =
    "SELECT COUNT(*) AS n FROM audit_row WHERE actor_kind = 'staff' AND action = 'consent' AND purpose = 'consent'";

async fn started(database: &TestDatabase, now: &'static str) -> Service {
    Service::start(database, Setting { now, ..Setting::default() }).await
}

/// What the agreement form sends when everything is chosen as the page presets it.
fn agreement(page: &str, topics: &[&'static str]) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("form_token", field(page, "form_token")),
        ("once", field(page, "once")),
        ("number", field(page, "number")),
        ("wording", field(page, "wording")),
        ("method", "in-person".to_owned()),
        ("agrees", "1".to_owned()),
    ];
    fields.extend(topics.iter().map(|topic| (*topic, "1".to_owned())));
    fields
}

fn withdrawal(page: &str, which: &'static str) -> Vec<(&'static str, String)> {
    vec![
        ("form_token", field(page, "form_token")),
        ("number", field(page, "number")),
        (which, "1".to_owned()),
        ("method", "phone".to_owned()),
    ]
}

/// Sends a form off; gives where it leads, with `inbox` for that of the launch.
async fn send(browser: &Browser, sheet: &str, fields: &[(&'static str, String)]) -> String {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = browser.post(&format!("inbox/consent/{sheet}"), &fields).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{}", answer.text().await.unwrap());
    let to = answer.headers()[header::LOCATION].to_str().unwrap().trim_start_matches('/');
    to.strip_prefix(&browser.at()).map(|rest| format!("inbox{rest}")).expect("the launch's own page")
}

async fn reminded(service: &Service, patient: Id<Patient>, phone: &str) -> usize {
    service.queue(service.reminder(patient, phone)).await;
    service.settle().await;
    service.on(phone).len()
}

async fn states(service: &Service) -> Vec<(String, Option<String>)> {
    let query = sql("SELECT state, state_reason FROM message WHERE direction = 'out' ORDER BY id");
    let rows = service.app.db().all(query).await.unwrap();
    rows.iter().map(|row| (row.get("state").unwrap(), row.get("state_reason").unwrap())).collect()
}

both_databases! {
    async fn who_agrees_at_the_desk_is_texted_and_the_page_says_who_when_how_and_by_which_words(database: TestDatabase) {
        let service = started(&database, Setting::default().now).await;
        let ana = service.acquaintance(persona::ANA_LOPEZ, "Ana", ANA).await;
        assert_eq!(reminded(&service, ana, ANA).await, 0, "no consent, no text");

        let browser = Browser::new(&service);
        let page = browser.consent_page(&service, persona::SCHEDULER_DIAZ, persona::ANA_LOPEZ).await;
        assert!(page.contains("212-555-0101") && page.contains("Not asked: no texts"), "{page}");
        assert!(page.contains("I agree that Riverside Clinic may send text messages"), "{page}");
        let agreed = agreement(&page, &["appointment", "refill"]);
        // Sent off twice by an impatient finger.
        assert_eq!(send(&browser, "agreed", &agreed).await, "inbox/consent?done=agreed");
        assert_eq!(send(&browser, "agreed", &agreed).await, "inbox/consent?done=known-before");
        assert_eq!((count(&service, ENTRIES).await, count(&service, AUDITED).await), (2, 1));

        let page = browser.page("inbox/consent?done=agreed").await.text().await.unwrap();
        for stands in ["Recorded: the patient agrees.", "today at 12:00 PM", "At the desk, in person", "Luis Diaz",
            "Consent form, version 2, English"] {
            assert!(page.contains(stands), "{stands} is not on\n{page}");
        }
        let thread = browser.page("inbox").await.text().await.unwrap();
        assert!(thread.contains("appointments, refills"), "{thread}");
        assert_eq!(reminded(&service, ana, ANA).await, 1);

        // The words that were shown are the proof, and nobody reads them in the database.
        let row = service.app.db().all(sql("SELECT proof, recorded_by FROM consent_entry")).await.unwrap();
        let proof: Vec<u8> = row[0].get("proof").unwrap();
        assert!(!proof.windows(7).any(|bytes| bytes == b"I agree"));
        assert_eq!(row[0].get::<String>("recorded_by").unwrap().len(), 36);
        service.stop().await;
    }

    async fn a_withdrawal_is_in_force_before_what_waits_can_leave_and_only_a_new_agreement_undoes_it(database: TestDatabase) {
        let service = started(&database, NIGHT).await;
        let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        assert_eq!(reminded(&service, ana, ANA).await, 0, "it waits for the morning");
        let browser = Browser::new(&service);
        let page = browser.consent_page(&service, persona::NURSE_REED, persona::ANA_LOPEZ).await;
        assert_eq!(send(&browser, "withdrawn", &withdrawal(&page, "everything")).await, "inbox/consent?done=withdrawn");
        let page = browser.page("inbox/consent").await.text().await.unwrap();
        assert!(page.contains("All texts ended at the patient&#39;s word") && page.contains("Told staff, by phone"), "{page}");
        service.advance(SignedDuration::from_hours(10));
        service.settle().await;
        assert_eq!(service.on(ANA).len(), 0);
        assert_eq!(states(&service).await, [("dropped".to_owned(), Some("stopped".to_owned()))]);

        // Nobody is alone in having changed their mind: the desk stopped it, the desk may open it.
        let page = browser.consent_page(&service, persona::NURSE_REED, persona::ANA_LOPEZ).await;
        assert_eq!(send(&browser, "agreed", &agreement(&page, &["appointment"])).await, "inbox/consent?done=agreed");
        assert_eq!(reminded(&service, ana, ANA).await, 1);
        service.stop().await;
    }

    async fn no_agreement_at_the_desk_undoes_stop_from_the_phone(database: TestDatabase) {
        let service = started(&database, Setting::default().now).await;
        let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        let browser = Browser::new(&service);
        let page = browser.consent_page(&service, persona::NURSE_REED, persona::ANA_LOPEZ).await;
        // The desk ends it first, and the phone says STOP too: then the phone has the last word.
        send(&browser, "withdrawn", &withdrawal(&page, "everything")).await;
        service.advance(SignedDuration::from_secs(1));
        service.text(ANA, "STOP").await;
        service.settle().await;
        service.advance(SignedDuration::from_secs(1));
        let before = service.on(ANA).len();
        let page = browser.page("inbox/consent").await.text().await.unwrap();
        assert!(page.contains("STOP from this phone") && page.contains("the patient must text START from this phone"), "{page}");
        let done = send(&browser, "agreed", &agreement(&page, &["appointment", "clinical"])).await;
        assert_eq!(done, "inbox/consent?done=stays-stopped");
        let page = browser.page(&done).await.text().await.unwrap();
        assert!(page.contains("The patient must text START from this phone."), "{page}");
        assert_eq!(reminded(&service, ana, ANA).await, before, "nothing leaves");

        service.advance(SignedDuration::from_secs(1));
        service.text(ANA, "START").await;
        service.settle().await;
        let opened = service.on(ANA).len();
        assert_eq!(reminded(&service, ana, ANA).await, opened + 1);
        let page = browser.page("inbox/consent").await.text().await.unwrap();
        assert!(page.contains("Texted START") && !page.contains("STOP from this phone"), "{page}");
        service.stop().await;
    }

    async fn one_kind_of_texts_ends_and_the_others_go_on(database: TestDatabase) {
        let service = started(&database, Setting::default().now).await;
        let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        let browser = Browser::new(&service);
        let page = browser.consent_page(&service, persona::NURSE_REED, persona::ANA_LOPEZ).await;
        service.advance(SignedDuration::from_secs(1));
        send(&browser, "withdrawn", &withdrawal(&page, "appointment")).await;
        assert_eq!(reminded(&service, ana, ANA).await, 0);
        assert_eq!(states(&service).await, [("dropped".to_owned(), Some("no-consent".to_owned()))]);
        let thread = browser.page("inbox").await.text().await.unwrap();
        assert!(thread.contains("refills, care") && !thread.contains("appointments"), "{thread}");
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM suppression").await, 0);
        service.stop().await;
    }

    async fn on_a_shared_phone_the_others_go_on(database: TestDatabase) {
        let service = started(&database, Setting::default().now).await;
        let ana = service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        let luis = service.patient("luis", "Luis", ANA).await;
        let browser = Browser::new(&service);
        let page = browser.consent_page(&service, persona::NURSE_REED, persona::ANA_LOPEZ).await;
        assert!(page.contains("Shared: another patient has this number too."), "{page}");
        service.advance(SignedDuration::from_secs(1));
        send(&browser, "withdrawn", &withdrawal(&page, "everything")).await;
        assert_eq!(reminded(&service, ana, ANA).await, 0);
        assert_eq!(reminded(&service, luis, ANA).await, 1);
        service.stop().await;
    }

    async fn a_pharmacist_records_a_withdrawal_and_no_agreement(database: TestDatabase) {
        let service = started(&database, Setting::default().now).await;
        service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
        service.patient(persona::JAMES_CARTER, "James", JAMES).await;
        let nurse = Browser::new(&service);
        let form = nurse.consent_page(&service, persona::NURSE_REED, persona::ANA_LOPEZ).await;
        let browser = Browser::new(&service);
        let page = browser.consent_page(&service, persona::PHARMACIST_HALL, persona::ANA_LOPEZ).await;
        assert!(!page.contains("/consent/agreed"), "{page}");
        let mut agreed = agreement(&form, &["appointment"]);
        agreed[0].1 = field(&page, "form_token");
        let fields: Vec<(&str, &str)> = agreed.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(browser.post("inbox/consent/agreed", &fields).await.status(), StatusCode::FORBIDDEN);
        assert_eq!(send(&browser, "withdrawn", &withdrawal(&page, "refill")).await, "inbox/consent?done=withdrawn");

        // A number of somebody else's chart is not this patient's.
        let other = nurse.consent_page(&service, persona::NURSE_REED, persona::JAMES_CARTER).await;
        let mut swapped = withdrawal(&other, "everything");
        swapped[1].1 = field(&form, "number");
        let fields: Vec<(&str, &str)> = swapped.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(nurse.post("inbox/consent/withdrawn", &fields).await.status(), StatusCode::CONFLICT);
        service.stop().await;
    }
}
