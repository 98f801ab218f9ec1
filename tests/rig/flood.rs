//! A flood: patients who write all at once, and strangers who hold large bodies open. What it does to the service's memory.

use crate::{clinic, needles::MARK, outside::Outside, processes::Service};
use anyhow::Result;
use chartwire::sandbox::clinic::PHONE;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Semaphore, watch},
    task::JoinSet,
};

/// By how much the service's resident memory may grow: what 32 bodies at once may take while they are read, twice for the
/// copies, and the rest of the work.
pub(crate) const MAY_GROW: u64 = 112 << 20;

/// Texts that are written, and how many of them at once.
const TEXTS: (u64, usize) = (160, 80);
/// Connections that hold a body open: together far more than [`MAY_GROW`].
const HELD: usize = 400;
/// The largest part of a body of one mebibyte that the settings let in.
const BODY: usize = 1_000_000;
/// How long a connection is held and its answer waited for.
const PATIENCE: Duration = Duration::from_secs(12);

/// What came of it.
#[derive(Default)]
pub(crate) struct Flooded {
    pub(crate) written: u64,
    /// Held connections that were answered 503 or broken off.
    pub(crate) refused: usize,
    /// Resident memory before, and at most, in bytes.
    pub(crate) before: u64,
    pub(crate) most: u64,
}

/// Begins the flood. The texts are written by tasks of their own; they end when each is answered or given up.
pub(crate) fn write(outside: &Outside) -> JoinSet<()> {
    let mut writing = JoinSet::new();
    let at_once = Arc::new(Semaphore::new(TEXTS.1));
    let phones: Vec<&'static str> = clinic::participants().iter().map(|person| person.phone).collect();
    for number in 0..TEXTS.0 {
        let (outside, at_once) = (outside.clone(), Arc::clone(&at_once));
        let phone = phones[usize::try_from(number).unwrap() % phones.len()];
        writing.spawn(async move {
            let Ok(_place) = at_once.acquire().await else { return };
            if let Err(error) = outside.write(phone, PHONE, &format!("when are you open? {MARK} flood {number}")).await
            {
                eprintln!("a text of the flood could not be written: {error:#}");
            }
        });
    }
    writing
}

/// Holds bodies open against the service, and watches its memory until all are answered or broken off.
pub(crate) async fn hold(service: &Service, tenant: &str) -> Result<Flooded> {
    let mut flooded = Flooded { written: TEXTS.0, before: service.resident()?, ..Flooded::default() };
    let (finish, finished) = watch::channel(false);
    let mut held = JoinSet::new();
    for _ in 0..HELD {
        held.spawn(held_open(service.address, format!("/carriers/twilio/{tenant}/inbound"), finished.clone()));
    }
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        flooded.most = flooded.most.max(service.resident()?);
    }
    finish.send_replace(true);
    while let Some(answer) = held.join_next().await {
        flooded.refused += usize::from(answer? != Some(403));
        flooded.most = flooded.most.max(service.resident()?);
    }
    Ok(flooded)
}

/// Sends a webhook that nobody has signed, all but its last byte, and that one at the end. The status of the answer.
async fn held_open(service: SocketAddr, path: String, mut finished: watch::Receiver<bool>) -> Option<u16> {
    let exchange = async {
        let mut connection = TcpStream::connect(service).await.ok()?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: rig\r\ncontent-length: {BODY}\r\n\
             content-type: application/x-www-form-urlencoded\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.ok()?;
        // A service that does not want the body may close while it is written.
        let _ = connection.write_all(&vec![b'a'; BODY - 1]).await;
        let _ = finished.wait_for(|finished| *finished).await;
        let _ = connection.write_all(b"a").await;
        let mut answer = [0; 12];
        connection.read_exact(&mut answer).await.ok()?;
        std::str::from_utf8(&answer[9..]).ok()?.parse().ok()
    };
    tokio::time::timeout(PATIENCE, exchange).await.ok().flatten()
}
