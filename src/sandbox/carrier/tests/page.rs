//! The phones page and the sandbox's own endpoints.

use super::*;
use serde_json::json;

#[tokio::test]
async fn the_page_and_its_files_are_served_without_outside_parts() {
    let bench = Bench::new().await;
    let page = bench.http.get(bench.carrier.phones_url()).send().await.unwrap();
    let policy = page.headers()["Content-Security-Policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'"));
    let page = page.text().await.unwrap();
    for path in ["/phones/phones.css", "/phones/phones.js"] {
        assert!(page.contains(path));
        let file = bench.http.get(bench.url(path)).send().await.unwrap();
        assert_eq!(file.status(), 200);
        // Texts are put in as text, never as markup.
        assert!(!file.text().await.unwrap().contains("innerHTML"));
    }
}

#[tokio::test]
async fn the_page_is_told_of_every_change() {
    let bench = Bench::new().await;
    let mut events = bench.http.get(bench.url("phones/events")).send().await.unwrap();
    assert_eq!(events.headers()["Content-Type"], "text/event-stream");
    let first = events.chunk().await.unwrap().unwrap();
    assert_eq!(first, "event: changed\ndata: 0\n\n");
    bench.carrier.text_from(ANA, CLINIC, "private words").await.unwrap();
    let second = String::from_utf8(events.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(second.starts_with("event: changed\n") && !second.contains("private"));
    // An open stream does not hold up the end.
    bench.carrier.shutdown().await;
}

#[tokio::test]
async fn phones_and_their_texts_are_listed() {
    let bench = Bench::new().await;
    bench.send(CLINIC, ANA, "Hello").await;
    bench.carrier.text_from(ANA, CLINIC, "Hi").await.unwrap();
    assert_eq!(bench.http.get(bench.url("sandbox/settled")).send().await.unwrap().status(), 204);
    let get = async |path: &str| bench.http.get(bench.url(path)).send().await.unwrap().json::<Value>().await.unwrap();
    let phones = get("sandbox/phones").await;
    assert_eq!(phones["phones"][0], json!({ "name": "Ana Lopez", "number": ANA, "kind": "mobile", "language": "en" }));
    assert_eq!(phones["numbers"], json!([CLINIC, PLAIN]));
    let texts = get("sandbox/phones/+12125550123/messages").await;
    let bodies: Vec<_> =
        texts["messages"].as_array().unwrap().iter().map(|text| text["body"].as_str().unwrap()).collect();
    assert_eq!(bodies, ["Hello", "Hi"]);
    bench.carrier.text_from(ANA, CLINIC, "STOP").await.unwrap();
    assert_eq!(get("sandbox/opt-outs").await["opt_outs"], json!([{ "number": CLINIC, "phone": ANA }]));
}
