//! The worklist over HTTP.

use super::steady;
use crate::{
    db::Topic,
    http::inbox::{
        fixture::{
            self, Served, TENANT,
            worklist::{BEN, SHARED},
        },
        source::{Urgency, Waiting},
    },
    kernel::Id,
};
use reqwest::StatusCode;

#[tokio::test]
async fn the_worklist_looks_as_it_was_reviewed() {
    let served = Served::showing(fixture::normal()).await;
    let page = served.get("/inbox/worklist").send().await.unwrap().text().await.unwrap();
    assert!(!page.contains("<rash>") && !page.contains("<Lopez>"), "what people write is text");
    insta::assert_snapshot!("worklist", steady(&page.replace(&served.at, "/inbox/…")));
}

#[tokio::test]
async fn whose_a_text_is_cannot_be_said_without_having_read_it() {
    let served = Served::showing(fixture::normal()).await;
    let page = served.get("/inbox/worklist/items").send().await.unwrap().text().await.unwrap();
    assert_eq!(page.matches("/assign").count(), 2, "two candidates for the text that is shown: {page}");
}

#[tokio::test]
async fn a_thread_says_that_something_waits_elsewhere() {
    let mut view = fixture::normal();
    view.waiting = Waiting { tasks: 2, urgency: Some(Urgency::Emergency) };
    let served = Served::showing(view).await;
    let page = served.page().await;
    let line = page.lines().find(|line| line.contains("id=\"waiting\"")).unwrap();
    assert!(line.contains("Emergency") && line.contains("2 items wait without a patient"), "{line}");
    assert!(line.contains(&format!("href=\"{}/worklist\"", served.at)), "{line}");
}

#[tokio::test]
async fn a_text_is_assigned_and_a_task_closed_from_plain_forms() {
    let served = Served::showing(fixture::normal()).await;
    let form_token = served.form_token().await;
    let fields = [("form_token", form_token.as_str()), ("patient", &BEN.to_string())];
    let path = format!("/inbox/worklist/{SHARED}/assign");
    let answer = served.form(&path, &fields).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(answer.headers()["location"].to_str().unwrap(), format!("{}/worklist", served.at));
    assert_eq!(served.form(&path, &fields).send().await.unwrap().status(), StatusCode::CONFLICT, "once");

    let emergency = Id::<()>::from_bytes([21; 16]);
    let path = format!("/inbox/worklist/{emergency}/done");
    let forged = served.form(&path, &[("form_token", "x")]).send().await.unwrap();
    assert_eq!(forged.status(), StatusCode::FORBIDDEN);
    let done = served.form(&path, &fields[..1]).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::SEE_OTHER);
    let asked = served.fake.asked.lock().unwrap().clone();
    let assign = format!("assign {SHARED} {BEN}");
    assert_eq!(asked, [assign.clone(), assign, format!("close {emergency}")]);
}

#[tokio::test]
async fn without_a_patient_the_worklist_is_the_inbox() {
    let mut served = Served::showing(fixture::normal()).await;
    (served.cookie, served.at) = served.launch(None).await;
    let answer = served.get("/inbox").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(answer.headers()["location"].to_str().unwrap(), format!("{}/worklist", served.at));
    let page = served.get("/inbox/worklist").send().await.unwrap().text().await.unwrap();
    assert!(!page.contains("Back to the patient"), "{page}");
    assert_eq!(served.get("/inbox/thread").send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_open_page_hears_that_the_worklist_has_changed() {
    let served = Served::showing(fixture::normal()).await;
    let mut stream = served.get("/inbox/events").send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    served.publish(Topic::Worklist, Id::<()>::from_bytes([9; 16]).to_string()).await;
    served.publish(Topic::Worklist, TENANT.to_string()).await;
    let heard = stream.chunk().await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), "event: worklist\ndata: changed\n\n");
}
