//! The page of consent and its two forms, over HTTP.

use super::super::fixture::{self, Served};
use super::steady;
use crate::access::ConsentRight;
use reqwest::StatusCode;

const NUMBER: &str = "bnVtYmVyLTE";
const STOPPED: &str = "bnVtYmVyLTI";

async fn page(served: &Served, path: &str) -> String {
    let answer = served.get(path).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    answer.text().await.unwrap()
}

/// An agreement as the form sends it, with one field exchanged or left out.
fn agreement<'a>(token: &'a str, field: &'a str, value: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        ("form_token", token),
        ("once", "o1"),
        ("number", NUMBER),
        ("wording", "consent_form:2:es"),
        ("appointment", "1"),
        ("billing", "1"),
        ("method", "paper-form"),
        ("proof", " binder 7 "),
        ("agrees", "1"),
    ];
    fields.retain(|(name, _)| *name != field);
    fields.extend(value.map(|value| (field, value)));
    fields
}

#[tokio::test]
async fn the_page_looks_as_it_was_reviewed() {
    let served = Served::showing(fixture::normal()).await;
    let shown = page(&served, "/inbox/consent").await;
    insta::assert_snapshot!("consent", steady(&shown.replace(&served.at, "/inbox/…")));
    assert!(!shown.contains("<b>Lind</b>"), "a name is text");
    assert!(shown.contains("the patient must text START from this phone"));
}

#[tokio::test]
async fn an_agreement_is_recorded_whole_from_a_plain_form() {
    let served = Served::showing(fixture::normal()).await;
    let token = served.form_token().await;
    let answer = served.form("/inbox/consent/agreed", &agreement(&token, "", None)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let to = answer.headers()["location"].to_str().unwrap();
    assert_eq!(to, format!("{}/consent?done=agreed", served.at));
    let recorded = format!("{NUMBER} agrees to consent_form:2:es proof=\"binder 7\": appointment,billing paper-form");
    assert_eq!(*served.fake.asked.lock().unwrap(), [recorded]);
    assert!(page(&served, to).await.contains("Recorded: the patient agrees."));
}

#[tokio::test]
async fn an_agreement_for_a_number_that_said_stop_says_that_it_does_not_undo_it() {
    let served = Served::showing(fixture::normal()).await;
    let token = served.form_token().await;
    let fields = agreement(&token, "number", Some(STOPPED));
    let answer = served.form("/inbox/consent/agreed", &fields).send().await.unwrap();
    let to = answer.headers()["location"].to_str().unwrap();
    assert!(page(&served, to).await.contains("texts stay off: this number said STOP. The patient must text START"));
}

#[tokio::test]
async fn what_is_missing_is_said_and_what_was_chosen_is_kept() {
    let served = Served::showing(fixture::normal()).await;
    let token = served.form_token().await;
    let answer = served.form("/inbox/consent/agreed", &agreement(&token, "agrees", None)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let shown = answer.text().await.unwrap();
    assert!(shown.contains("Tick that the patient read or heard the words and agrees."), "{shown}");
    assert!(shown.contains("name=\"billing\" value=\"1\" checked") && shown.contains("value=\" binder 7 \""));
    assert!(shown.contains("<details class=\"record\" id=\"agreed\" open>"));
    assert!(!shown.contains("name=\"agrees\" value=\"1\" checked"), "the tick is the patient's each time");
    assert!(served.fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_withdrawal_of_all_texts_is_one_of_every_kind() {
    let served = Served::showing(fixture::normal()).await;
    let token = served.form_token().await;
    let fields = [("form_token", token.as_str()), ("number", NUMBER), ("everything", "1"), ("method", "phone")];
    let answer = served.form("/inbox/consent/withdrawn", &fields).send().await.unwrap();
    assert_eq!(answer.headers()["location"].to_str().unwrap(), format!("{}/consent?done=withdrawn", served.at));
    let recorded = format!("{NUMBER} wants none: appointment,refill,clinical,billing phone");
    assert_eq!(*served.fake.asked.lock().unwrap(), [recorded]);
    let without = [("form_token", token.as_str()), ("number", NUMBER), ("method", "phone")];
    let answer = served.form("/inbox/consent/withdrawn", &without).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_consent_from_elsewhere_or_with_a_strange_token_is_refused() {
    let served = Served::showing(fixture::normal()).await;
    let token = served.form_token().await;
    let strange = agreement(&token, "form_token", Some("AAAA"));
    let answer = served.form("/inbox/consent/agreed", &strange).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let url = served.url("/inbox/consent/withdrawn");
    let elsewhere = served.client.post(url).header("cookie", &served.cookie).header("sec-fetch-site", "cross-site");
    let answer = elsewhere.form(&agreement(&token, "", None)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(served.fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_role_sees_the_forms_that_it_may_use() {
    let served = Served::showing(fixture::normal()).await;
    served.fake.consent.lock().unwrap().right = ConsentRight::Withdraw;
    let shown = page(&served, "/inbox/consent").await;
    assert!(!shown.contains("/consent/agreed") && shown.contains("/consent/withdrawn"));
    served.fake.consent.lock().unwrap().right = ConsentRight::See;
    let shown = page(&served, "/inbox/consent").await;
    assert!(shown.contains("Agreed") && !shown.contains("<form"));
}
