//! A process as in production: started, asked, stopped.

use crate::installation::Installation;
use chartwire::app::{AppError, ProcessRole, Running, Service};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

const BOTH: [ProcessRole; 2] = [ProcessRole::Web, ProcessRole::Worker];

async fn start(installation: &Installation, roles: &[ProcessRole]) -> Result<Service, AppError> {
    Service::start(&installation.settings(), Running::with(installation.instruments.clone()), roles).await
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Reads up to the end of a head.
async fn head(connection: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_the_request_in_hand_finish_and_takes_no_other() {
    let installation = Installation::new();
    let service = start(&installation, &BOTH).await.unwrap();
    let (address, stop) = (service.address(), CancellationToken::new());
    let running = tokio::spawn(service.run(stop.clone()));
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));

    // The server asks for the body once the request is in its hands.
    let mut in_hand = TcpStream::connect(address).await.unwrap();
    let request = "POST /carriers/twilio/elm-street/inbound HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\
                   content-type: application/x-www-form-urlencoded\r\nexpect: 100-continue\r\n\r\n";
    in_hand.write_all(request.as_bytes()).await.unwrap();
    assert!(head(&mut in_hand).await.starts_with("HTTP/1.1 100"));
    stop.cancel();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!running.is_finished(), "it waits for the request in hand");
    in_hand.write_all(b"Body=C").await.unwrap();
    assert!(head(&mut in_hand).await.starts_with("HTTP/1.1 403"), "nobody signed it");
    running.await.unwrap().unwrap();

    // The refusal was written before the database closed, and the log is sealed.
    let audit = installation.run(&["audit", "export", "--tenant", crate::installation::SLUG]).await;
    assert!(audit.out.contains("forged-signature") && audit.out.contains("127.0.0.1"), "{}", audit.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_may_be_as_long_as_the_settings_say() {
    for (limit, bytes, status) in [(65536, 65537, "413"), (65536, 65536, "403"), (131_072, 65537, "403")] {
        let installation = Installation::new();
        installation.edit("shutdown_grace_seconds = 20", &format!("request_body_limit = {limit}"));
        let service = start(&installation, &BOTH).await.unwrap();
        let (address, stop) = (service.address(), CancellationToken::new());
        let running = tokio::spawn(service.run(stop.clone()));
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST /carriers/twilio/elm-street/inbound HTTP/1.1\r\nhost: x\r\ncontent-length: {bytes}\r\n\
             content-type: application/x-www-form-urlencoded\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        // A server that does not want the body may close while it is being written.
        let _ = connection.write_all(&vec![b'a'; bytes]).await;
        assert!(head(&mut connection).await.starts_with(&format!("HTTP/1.1 {status}")), "{limit} {bytes}");
        drop(connection);
        stop.cancel();
        running.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_the_clients_own_address_is_audited() {
    let installation = Installation::new();
    installation.edit("[database]", "trusted_proxies = [\"127.0.0.1\"]\n\n[database]");
    let service = start(&installation, &BOTH).await.unwrap();
    let (address, stop) = (service.address(), CancellationToken::new());
    let running = tokio::spawn(service.run(stop.clone()));
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = "POST /carriers/twilio/elm-street/inbound HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\
                   x-forwarded-for: 192.0.2.1, 198.51.100.4\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    assert!(head(&mut connection).await.starts_with("HTTP/1.1 403"));
    drop(connection);
    stop.cancel();
    running.await.unwrap().unwrap();
    let audit = installation.run(&["audit", "export", "--tenant", crate::installation::SLUG]).await;
    assert!(audit.out.contains("198.51.100.4") && !audit.out.contains("192.0.2.1"), "{}", audit.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_only_works_shows_its_health_and_nothing_else() {
    let installation = Installation::new();
    let service = start(&installation, &[ProcessRole::Worker]).await.unwrap();
    let (address, stop) = (service.address(), CancellationToken::new());
    let running = tokio::spawn(service.run(stop.clone()));
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/carriers/twilio/elm-street/inbound").await.starts_with("HTTP/1.1 404"));
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_network_is_not_served_without_tls_in_front() {
    let installation = Installation::new();
    installation.edit("listen = \"127.0.0.1:0\"", "listen = \"0.0.0.0:0\"");
    let refused = start(&installation, &BOTH).await.err().unwrap();
    assert!(matches!(refused, AppError::NotEncrypted { .. }));
    assert!(refused.to_string().contains("reverse proxy"), "{refused}");
    assert!(!installation.folder.path().join("chartwire.db").exists(), "nothing was opened");
    installation.edit("http://127.0.0.1/", "https://texts.example.org/");
    assert!(start(&installation, &BOTH).await.is_ok());
}
