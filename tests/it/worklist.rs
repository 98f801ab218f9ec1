//! Texts that are not known to be one patient's: seen by staff, assigned by them, and in the chart afterwards.

use crate::{
    database::both_databases,
    feed::chart,
    launch::{Browser, count},
    service::{PRIYA, STRANGER, Service, Setting},
};
use chartwire::{
    kernel::{Id, Patient},
    sandbox::clinic::persona,
};
use reqwest::{Response, StatusCode};

/// Mother and daughter on one phone, and somebody else's launch to see the worklist from.
async fn shared_phone(database: &crate::database::TestDatabase) -> (Service, Id<Patient>, Id<Patient>) {
    let service = Service::start(database, Setting::default()).await;
    service.patient(persona::ANA_LOPEZ, "Ana", crate::service::ANA).await;
    let maria = service.patient(persona::MARIA_SANTOS, "Maria", PRIYA).await;
    let mia = service.patient(persona::MIA_SANTOS, "Mia", PRIYA).await;
    (service, maria, mia)
}

async fn launched(service: &Service, practitioner: &str) -> Browser {
    let browser = Browser::new(service);
    assert_eq!(browser.launch(service, practitioner).await.status(), StatusCode::SEE_OTHER);
    browser
}

async fn page(browser: &Browser, path: &str) -> String {
    let page = browser.page(path).await;
    assert_eq!(page.status(), StatusCode::OK, "{path}");
    page.text().await.unwrap()
}

/// What follows `before` in `page`, up to the next quote.
fn after<'a>(page: &'a str, before: &str) -> &'a str {
    page.split(before).nth(1).unwrap_or_else(|| panic!("no {before} in {page}")).split('"').next().unwrap()
}

/// Says on the worklist that the first text is `patient`'s.
async fn assign(browser: &Browser, list: &str, patient: Id<Patient>) -> Response {
    let form_token = after(list, "data-form=\"").to_owned();
    let task = after(list, "data-key=\"");
    let form = [("form_token", form_token), ("patient", patient.to_string())];
    let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
    browser.post(&format!("inbox/worklist/{task}/assign"), &form).await
}

/// The texts in the chart of a patient.
async fn filed(service: &Service, patient: &str) -> Vec<String> {
    let texts = chart(service, &format!("Communication?subject=Patient/{patient}")).await;
    let words = |text: &serde_json::Value| text["payload"][0]["contentString"].as_str().unwrap_or_default().to_owned();
    texts.iter().map(words).collect()
}

both_databases! {
    async fn an_emergency_from_an_unknown_number_is_seen_by_nurses_wherever_they_are(database: TestDatabase) {
        let (service, ..) = shared_phone(&database).await;
        service.text(STRANGER, "I have chest pain and can't breathe").await;
        service.settle().await;
        assert!(service.on(STRANGER)[0].contains("911"), "{:?}", service.on(STRANGER));
        let nurse = launched(&service, persona::NURSE_REED).await;
        let thread = page(&nurse, "inbox").await;
        assert!(thread.contains("1 item waits without a patient") && thread.contains("Emergency"), "{thread}");
        let list = page(&nurse, "inbox/worklist").await;
        assert!(list.contains("chest pain") && list.contains(&format!("tel:{STRANGER}")), "{list}");
        assert!(!list.contains("/assign"), "nobody has the number: {list}");
        let reads = "SELECT COUNT(*) AS n FROM audit_row WHERE actor_kind = 'staff' AND action = 'read' AND purpose = 'worklist' AND subjects LIKE '%\"message\"%'";
        assert!(count(&service, reads).await >= 1);
        // Not a matter of those who schedule.
        let scheduler = launched(&service, persona::SCHEDULER_DIAZ).await;
        let list = page(&scheduler, "inbox/worklist").await;
        assert!(list.contains("Nothing waits") && !list.contains("chest"), "{list}");
        // Done is done for all.
        let list = page(&nurse, "inbox/worklist").await;
        let (form_token, task) = (after(&list, "data-form=\""), after(&list, "data-key=\""));
        let path = format!("inbox/worklist/{task}/done");
        let elsewhere = scheduler.post(&path, &[("form_token", after(&page(&scheduler, "inbox/worklist").await, "data-form=\""))]).await;
        assert_eq!(elsewhere.status(), StatusCode::CONFLICT, "not a scheduler's to close");
        assert_eq!(nurse.post(&path, &[("form_token", form_token)]).await.status(), StatusCode::SEE_OTHER);
        assert!(page(&nurse, "inbox/worklist").await.contains("Nothing waits"));
        service.stop().await;
    }

    async fn a_text_from_a_shared_phone_goes_into_the_chart_of_whoever_a_person_says(database: TestDatabase) {
        let (service, _, mia) = shared_phone(&database).await;
        service.text(PRIYA, "she has a rash since the new pills").await;
        service.text(PRIYA, "when is my visit?").await;
        service.settle().await;
        assert!(filed(&service, persona::MIA_SANTOS).await.is_empty() && filed(&service, persona::MARIA_SANTOS).await.is_empty());
        let nurse = launched(&service, persona::NURSE_REED).await;
        let list = page(&nurse, "inbox/worklist").await;
        assert!(list.contains("she has a rash") && list.contains("2 patients have this number"), "{list}");
        let stranger = Id::from_bytes([1; 16]);
        assert_eq!(assign(&nurse, &list, stranger).await.status(), StatusCode::CONFLICT, "not one of them");
        assert_eq!(assign(&nurse, &list, mia).await.status(), StatusCode::SEE_OTHER);
        assert_eq!(assign(&nurse, &list, mia).await.status(), StatusCode::CONFLICT, "it is hers already");
        service.settle().await;
        assert_eq!(filed(&service, persona::MIA_SANTOS).await, ["she has a rash since the new pills"]);
        assert!(filed(&service, persona::MARIA_SANTOS).await.is_empty());
        let open = "SELECT COUNT(*) AS n FROM staff_task WHERE state = 'open' AND patient IS NOT NULL AND reason = 'clinical'";
        assert_eq!(count(&service, open).await, 1, "what it asks for is still to be done, for Mia now");
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM staff_task WHERE state = 'open' AND patient IS NULL").await, 1, "the other text is asked about by itself");
        let told = "SELECT COUNT(*) AS n FROM audit_row WHERE actor_kind = 'staff' AND purpose = 'text-assigned'";
        assert_eq!(count(&service, told).await, 1);
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM job WHERE state = 'dead'").await, 0);
        service.stop().await;
    }

    async fn a_number_that_becomes_known_brings_all_its_waiting_texts_along(database: TestDatabase) {
        let (service, ..) = shared_phone(&database).await;
        service.text(STRANGER, "this is my new phone, my knee is swollen").await;
        service.text(STRANGER, "thanks").await;
        service.settle().await;
        let before = service.on(STRANGER);
        assert_eq!(before.len(), 1, "told once who we are: {before:?}");
        let james = service.patient(persona::JAMES_CARTER, "James", STRANGER).await;
        let nurse = launched(&service, persona::NURSE_REED).await;
        let list = page(&nurse, "inbox/worklist").await;
        assert!(list.contains("One patient has this number now"), "{list}");
        assert_eq!(assign(&nurse, &list, james).await.status(), StatusCode::SEE_OTHER);
        service.settle().await;
        let texts = filed(&service, persona::JAMES_CARTER).await;
        for text in ["this is my new phone, my knee is swollen", "thanks", before[0].as_str()] {
            assert!(texts.iter().any(|filed| filed == text), "{text} in {texts:?}");
        }
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM staff_task WHERE state = 'open' AND patient IS NULL").await, 0);
        assert_eq!(count(&service, "SELECT COUNT(*) AS n FROM staff_task WHERE state = 'open' AND reason = 'unknown-number'").await, 0);
        assert_eq!(service.on(STRANGER).len(), 1, "assigning sends nothing");
        service.stop().await;
    }
}
