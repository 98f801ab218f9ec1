//! Floods, forgers and slow clients against a whole process; behind a trusted proxy, so that sources are told apart.

use crate::installation::{Installation, SLUG};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chartwire::app::{ProcessRole, Running, Service};
use jiff::SignedDuration;
use reqwest::{Response, StatusCode, header::HeaderMap};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

const PROXY: &str = "trusted_proxies = [\"127.0.0.1\"]\n";
const FORGED: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";

struct Process {
    address: SocketAddr,
    installation: Installation,
    client: reqwest::Client,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Process {
    /// One with this under `[server]`.
    async fn with(server: &str) -> Self {
        let installation = Installation::new();
        installation.edit("shutdown_grace_seconds = 20", server);
        let running = Running::with(installation.instruments.clone());
        let service =
            Service::start(&installation.settings(), running, &[ProcessRole::Web, ProcessRole::Worker]).await.unwrap();
        let (address, stop) = (service.address(), CancellationToken::new());
        let running = tokio::spawn({
            let stop = stop.clone();
            async move { service.run(stop).await.unwrap() }
        });
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { address, installation, client, stop, running }
    }

    async fn get(&self, path: &str, source: &str) -> Response {
        let request = self.client.get(format!("http://{}{path}", self.address));
        request.header("x-forwarded-for", source).send().await.unwrap()
    }

    /// A text of a patient as the carrier brings it, with the carrier's signature or another.
    async fn text(&self, number: u32, signature: Option<&str>, source: &str) -> Response {
        let path = format!("/carriers/twilio/{SLUG}/inbound");
        let sid = format!("SM{number:032x}");
        let fields = [("Body", "HELP ME"), ("From", "+12125550101"), ("MessageSid", &*sid), ("To", "+12125550199")];
        // The URL as the carrier knows it, without the port that this process happens to have.
        let signed = fields.iter().fold(format!("http://127.0.0.1{path}"), |text, (name, value)| text + name + value);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"a-token-that-only-tests-know-0123");
        let genuine = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
        let request = self.client.post(format!("http://{}{path}", self.address)).form(&fields);
        let request = request.header("x-twilio-signature", signature.unwrap_or(&genuine));
        request.header("x-forwarded-for", source).send().await.unwrap()
    }

    async fn stop(self) -> Installation {
        self.stop.cancel();
        self.running.await.unwrap();
        self.installation
    }
}

fn limited(status: StatusCode, headers: &HeaderMap) -> Option<&str> {
    (status == StatusCode::TOO_MANY_REQUESTS).then(|| headers["retry-after"].to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_forgeries_is_limited_and_the_carriers_own_texts_get_in() {
    let process = Process::with(&format!("{PROXY}refusals_per_minute = 3")).await;
    let here = "198.51.100.4";
    for number in 0..3 {
        assert_eq!(process.text(number, Some(FORGED), here).await.status(), StatusCode::FORBIDDEN);
    }
    let refused = process.text(4, Some(FORGED), here).await;
    assert_eq!(limited(refused.status(), refused.headers()), Some("20"));
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    // The carrier's address may be the forger's: what is signed gets in, however many there are, in the midst of it.
    for number in 100..120 {
        assert_eq!(process.text(number, None, here).await.status(), StatusCode::OK);
        assert_eq!(process.text(number, Some(FORGED), here).await.status(), StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(process.text(5, Some(FORGED), "198.51.100.5").await.status(), StatusCode::FORBIDDEN, "another source");
    process.installation.clock.advance(SignedDuration::from_secs(20));
    assert_eq!(process.text(6, Some(FORGED), here).await.status(), StatusCode::FORBIDDEN);
    // Each of the 26 is in the audit log's count, whatever it was answered.
    let installation = process.stop().await;
    let audit = installation.run(&["audit", "export", "--tenant", SLUG]).await.out;
    let number = |rest: &str| {
        let digits = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap()].parse::<u32>().unwrap()
    };
    let counted = audit.split("refusals").skip(1).map(number);
    assert_eq!(counted.sum::<u32>(), 26, "{audit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_launches_from_one_source_leaves_another_served() {
    let process = Process::with(&format!("{PROXY}launches_per_minute = 4")).await;
    let (launch, callback) = ("/smart/launch?iss=https://elsewhere.example/fhir&launch=1", "/smart/callback?state=x");
    for path in [launch, callback, "/smart/launch/elm-street?iss=x", callback] {
        assert_eq!(process.get(path, "198.51.100.4").await.status(), StatusCode::FORBIDDEN);
    }
    for path in [launch, callback, "/smart/launch/elm-street?iss=x"] {
        let refused = process.get(path, "198.51.100.4").await;
        assert_eq!(limited(refused.status(), refused.headers()), Some("15"), "{path}");
        assert!(refused.headers()["content-security-policy"].to_str().unwrap().contains("frame-ancestors https://"));
        assert!(refused.text().await.unwrap().contains("Too many launches at once"));
    }
    assert_eq!(process.get(launch, "198.51.100.5").await.status(), StatusCode::FORBIDDEN);
    // An IPv6 network is one source, whichever of its addresses is used.
    for host in 1..=4 {
        assert_eq!(process.get(launch, &format!("2001:db8:1:2::{host}")).await.status(), StatusCode::FORBIDDEN);
    }
    let refused = process.get(launch, "2001:db8:1:2:ffff::9").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(process.get(launch, "2001:db8:1:3::1").await.status(), StatusCode::FORBIDDEN);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_escapes_a_limit_by_naming_another_source_unless_a_trusted_proxy_does() {
    let launch = "/smart/launch?iss=x";
    // Without a proxy, whatever a client writes is its own word.
    let process = Process::with("launches_per_minute = 2").await;
    for (source, status) in [("192.0.2.1", 403), ("192.0.2.2", 403), ("192.0.2.3", 429), ("192.0.2.4", 429)] {
        assert_eq!(process.get(launch, source).await.status(), status, "{source}");
    }
    process.stop().await;
    // Behind one, what stands before the proxy's word is the client's.
    let process = Process::with(&format!("{PROXY}launches_per_minute = 2")).await;
    let told = ["192.0.2.1, 198.51.100.4", "192.0.2.2, 198.51.100.4", "192.0.2.3, 198.51.100.4", "198.51.100.5"];
    for (source, status) in told.into_iter().zip([403, 403, 429, 403]) {
        assert_eq!(process.get(launch, source).await.status(), status, "{source}");
    }
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_that_is_not_named_nobody_is_limited_by_address() {
    let process = Process::with("launches_per_minute = 1").await;
    let installation = process.stop().await;
    installation.edit("http://127.0.0.1/", "https://texts.example.org/");
    let running = Running::with(installation.instruments.clone());
    let service =
        Service::start(&installation.settings(), running, &[ProcessRole::Web, ProcessRole::Worker]).await.unwrap();
    let (address, stop) = (service.address(), CancellationToken::new());
    let running = tokio::spawn(service.run(stop.clone()));
    for _ in 0..5 {
        let answer = reqwest::get(format!("http://{address}/smart/launch?iss=x")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    let checked = installation.run(&["check"]).await;
    assert!(checked.out.contains("server.trusted_proxies: no reverse proxy is named"), "{}", checked.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_knocks_at_the_inbox_without_a_session_is_limited() {
    let process = Process::with(&format!("{PROXY}refusals_per_minute = 2")).await;
    for status in [401, 401, 429] {
        assert_eq!(process.get("/inbox", "198.51.100.4").await.status(), status);
    }
    assert_eq!(process.get("/inbox", "198.51.100.5").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(process.get("/readyz", "198.51.100.4").await.status(), StatusCode::OK);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_held_back_leave_places_for_the_carrier() {
    let process = Process::with(&format!("{PROXY}requests_at_once = 16")).await;
    let head = format!(
        "POST /carriers/twilio/{SLUG}/inbound HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 198.51.100.4\r\n\
         content-length: 9\r\nexpect: 100-continue\r\n\r\n"
    );
    // The server asks for the bodies of a quarter of its places, and sends the others away.
    let mut waiting = Vec::new();
    for number in 0..40 {
        let mut connection = TcpStream::connect(process.address).await.unwrap();
        connection.write_all(head.as_bytes()).await.unwrap();
        assert!(status(&mut connection).await.starts_with("HTTP/1.1 100"));
        if number >= 4 {
            assert!(status(&mut connection).await.starts_with("HTTP/1.1 429"), "{number}");
        }
        waiting.push(connection);
    }
    assert_eq!(process.text(1, None, "198.51.100.5").await.status(), StatusCode::OK);
    // What comes in one piece is not waiting back, whoever else is at that address.
    assert_eq!(process.text(2, None, "198.51.100.4").await.status(), StatusCode::OK);
    drop(waiting);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_settings_bound_heads_bodies_and_connections() {
    let process = Process::with(
        "request_head_limit = 8192\nrequest_head_seconds = 1\nrequest_body_seconds = 1\nconnections_per_source = 8",
    )
    .await;
    let open = async || TcpStream::connect(process.address).await.unwrap();
    let mut large = open().await;
    let head = format!("GET /readyz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(8192));
    large.write_all(head.as_bytes()).await.unwrap();
    assert!(last_words(large).await.starts_with("HTTP/1.1 431"));

    let mut slow = open().await;
    let head = format!("POST /carriers/twilio/{SLUG}/inbound HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nBody=");
    slow.write_all(head.as_bytes()).await.unwrap();
    let told = last_words(slow).await;
    assert!(told.starts_with("HTTP/1.1 408") && told.contains("application/problem+json"), "{told}");

    let mut flood = Vec::new();
    for _ in 0..20 {
        // It may be closed before it is known to be open.
        flood.extend(TcpStream::connect(process.address).await);
    }
    // Those beyond eight are closed at once, and the eight when they have said nothing for a second.
    for silent in flood {
        assert_eq!(last_words(silent).await, "");
    }
    assert_eq!(process.get("/readyz", "-").await.status(), StatusCode::OK);
    process.stop().await;
}

/// Reads one head.
async fn status(connection: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn last_words(mut connection: TcpStream) -> String {
    let mut words = Vec::new();
    // It may be closed without lingering.
    let _ = connection.read_to_end(&mut words).await;
    String::from_utf8(words).unwrap()
}
