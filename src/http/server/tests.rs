//! Clients that do nothing, do it slowly, or come in floods, over real sockets. Nothing waits for time to pass: each test
//! waits for what the server does.

use super::*;
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use std::net::IpAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    sync::{Notify, oneshot},
    time::timeout,
};

const LONG: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(100);
const GENEROUS: ConnectionLimits =
    ConnectionLimits { at_once: 64, per_source: 64, head: 8192, head_time: LONG, idle_time: LONG, stall_time: LONG };
const REQUEST: &str = "GET /answer HTTP/1.1\r\nhost: x\r\n\r\n";

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(limits: ConnectionLimits, router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let router = router.route("/answer", get(|| async { "answered" }));
        let serving = tokio::spawn(serve(listener, router, limits, Proxies::new(&[], true), stop.clone()));
        Self { address, stop, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// From another address of this machine.
    async fn try_from(&self, address: &str) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address.parse::<IpAddr>().unwrap(), 0)).unwrap();
        socket.connect(self.address).await
    }

    async fn connect_from(&self, address: &str) -> TcpStream {
        self.try_from(address).await.unwrap()
    }
}

/// What was under way ends long before any test would be given up.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(LONG / 2, what).await.expect("it goes on and on")
}

/// Reads one answer.
async fn answer(connection: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"answered") {
        read.push(soon(connection.read_u8()).await.unwrap());
    }
    String::from_utf8(read).unwrap()
}

/// What comes until the server closes the connection.
async fn last_words(connection: &mut TcpStream) -> String {
    let mut words = Vec::new();
    // It may be closed without lingering.
    let _ = soon(connection.read_to_end(&mut words)).await;
    String::from_utf8(words).unwrap()
}

/// What a connection hears that there is no place for; it may be closed before it is known to be open.
async fn refused(connected: io::Result<TcpStream>) -> String {
    match connected {
        Ok(mut connection) => last_words(&mut connection).await,
        Err(_) => String::new(),
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_or_its_head_slowly_is_dropped() {
    let server = Server::start(ConnectionLimits { head_time: SHORT, ..GENEROUS }, Router::new()).await;
    let mut silent = server.connect().await;
    assert_eq!(last_words(&mut silent).await, "");

    let (mut reading, mut writing) = server.connect().await.into_split();
    let trickling = tokio::spawn(async move {
        writing.write_all(b"GET /answer HTTP/1.1\r\nx: ").await?;
        loop {
            writing.write_all(b"a").await?;
            tokio::time::sleep(SHORT / 20).await;
        }
        #[expect(unreachable_code, reason = "names the type of the error")]
        io::Result::Ok(())
    });
    let mut words = Vec::new();
    let _ = soon(reading.read_to_end(&mut words)).await;
    assert!(words.is_empty());
    assert!(soon(trickling).await.unwrap().is_err());

    // Between requests there is time, until the next head begins.
    let mut kept = server.connect().await;
    kept.write_all(REQUEST.as_bytes()).await.unwrap();
    assert!(answer(&mut kept).await.starts_with("HTTP/1.1 200"));
    last_words(&mut server.connect().await).await;
    kept.write_all(REQUEST.as_bytes()).await.unwrap();
    assert!(answer(&mut kept).await.starts_with("HTTP/1.1 200"), "it was idle for longer than a head may take");
    kept.write_all(b"GET /answer HT").await.unwrap();
    assert_eq!(last_words(&mut kept).await, "");
}

#[tokio::test]
async fn an_idle_connection_ends_after_its_time() {
    let server = Server::start(ConnectionLimits { idle_time: SHORT, ..GENEROUS }, Router::new()).await;
    let mut connection = server.connect().await;
    connection.write_all(REQUEST.as_bytes()).await.unwrap();
    assert!(answer(&mut connection).await.starts_with("HTTP/1.1 200"));
    assert_eq!(last_words(&mut connection).await, "");
}

#[tokio::test]
async fn a_stream_of_events_outlives_every_wait_for_its_client() {
    let more = Arc::new(Notify::new());
    let events = {
        let more = Arc::clone(&more);
        get(move || async move {
            let events = stream::unfold(0, move |count| {
                let more = Arc::clone(&more);
                async move {
                    more.notified().await;
                    Some((Ok::<_, Infallible>(format!("data: {count}\n\n")), count + 1))
                }
            });
            Body::from_stream(events)
        })
    };
    let limits = ConnectionLimits { head_time: SHORT, idle_time: SHORT, stall_time: SHORT, ..GENEROUS };
    let server = Server::start(limits, Router::new().route("/events", events)).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    for number in 0..3 {
        // A silent connection shows that the time is over.
        last_words(&mut server.connect().await).await;
        more.notify_one();
        let (event, mut read) = (format!("data: {number}\n\n"), String::new());
        while !read.contains(&event) {
            read.push(char::from(soon(stream.read_u8()).await.unwrap()));
        }
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_of_its_answer_is_dropped() {
    let (ended, hears) = oneshot::channel::<()>();
    let ended = Arc::new(std::sync::Mutex::new(Some(ended)));
    let endless = get(move || async move {
        let held = ended.lock().unwrap().take();
        let bytes = stream::repeat(Bytes::from_static(&[b'a'; 1 << 13])).map(move |bytes| {
            let _ = &held;
            Ok::<_, Infallible>(bytes)
        });
        Body::from_stream(bytes)
    });
    let limits = ConnectionLimits { stall_time: SHORT, ..GENEROUS };
    let server = Server::start(limits, Router::new().route("/endless", endless)).await;
    let mut connection = server.connect().await;
    connection.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(soon(hears).await.is_err(), "the answer is given up");
}

#[tokio::test]
async fn a_head_that_is_too_large_or_has_too_many_headers_gets_431() {
    let server = Server::start(GENEROUS, Router::new()).await;
    let headers = |count: usize| "x: y\r\n".repeat(count - 1);
    let sized = |bytes: usize| format!("x: {}\r\n", "y".repeat(bytes - REQUEST.len() - "x: \r\n".len()));
    for (headers, status) in [(headers(100), 200), (headers(101), 431), (sized(8192), 200), (sized(8193), 431)] {
        let mut connection = server.connect().await;
        let request = REQUEST.replace("\r\n\r\n", &format!("\r\n{headers}\r\n"));
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon(connection.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{} bytes: {head}", request.len());
    }
}

#[tokio::test]
async fn a_flood_of_connections_leaves_room_for_others_and_holds_no_more_than_its_share() {
    let limits = ConnectionLimits { at_once: 6, per_source: 4, ..GENEROUS };
    let server = Server::start(limits, Router::new()).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(server.connect().await);
    }
    // Those are held; every other one is closed without a word.
    for _ in 0..100 {
        assert_eq!(refused(TcpStream::connect(server.address).await).await, "");
    }

    let mut other = server.connect_from("127.0.0.2").await;
    other.write_all(REQUEST.as_bytes()).await.unwrap();
    assert!(answer(&mut other).await.starts_with("HTTP/1.1 200"));
    // Six over all, whoever they are from.
    let mut sixth = server.connect_from("127.0.0.3").await;
    sixth.write_all(REQUEST.as_bytes()).await.unwrap();
    assert!(answer(&mut sixth).await.starts_with("HTTP/1.1 200"));
    assert_eq!(refused(server.try_from("127.0.0.4").await).await, "");

    for mut connection in held {
        connection.write_all(REQUEST.as_bytes()).await.unwrap();
        assert!(answer(&mut connection).await.starts_with("HTTP/1.1 200"), "they were held all the time");
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_clients_that_have_said_nothing() {
    let server = Server::start(GENEROUS, Router::new()).await;
    let mut silent = server.connect().await;
    let mut idle = server.connect().await;
    idle.write_all(REQUEST.as_bytes()).await.unwrap();
    answer(&mut idle).await;
    server.stop.cancel();
    soon(server.serving).await.unwrap();
    assert_eq!((last_words(&mut silent).await, last_words(&mut idle).await), (String::new(), String::new()));
}
