//! The client of the webhook benchmark: ready-made requests over connections that stay open.
//!
//! It costs as little as a client can, in a thread of its own, so that the figures are the server's.

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime,
    task::JoinSet,
    time::Instant,
};

/// Requests as they go over the wire.
pub(crate) type Requests = Arc<Vec<Bytes>>;

/// Where to, over how many connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
}

impl Client {
    /// Sends `requests` as fast as the answers come and says how long it took.
    pub(crate) async fn as_fast_as_it_goes(self, requests: Requests) -> Result<Duration> {
        let (took, _) = apart(move || self.send(requests, None)).await?;
        Ok(took)
    }

    /// Sends `requests` at a constant rate, whatever the answers do, and gives the time from when each was due to its
    /// answer, shortest first.
    pub(crate) async fn at_rate(self, requests: Requests, per_second: f64) -> Result<Vec<Duration>> {
        let (_, mut latencies) = apart(move || self.send(requests, Some(per_second))).await?;
        latencies.sort();
        Ok(latencies)
    }

    async fn send(self, requests: Requests, per_second: Option<f64>) -> Result<(Duration, Vec<Duration>)> {
        let mut connections = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            connections.push(Connection::open(self.address).await?);
        }
        let next = Arc::new(AtomicUsize::new(0));
        let started = Instant::now();
        let mut sending = JoinSet::new();
        for mut connection in connections {
            let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
            sending.spawn(async move {
                let mut latencies = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(request) = requests.get(number) else { return Ok::<_, anyhow::Error>(latencies) };
                    if let Some(rate) = per_second {
                        let due = started + due(number, rate);
                        tokio::time::sleep_until(due).await;
                        connection.exchange(request).await?;
                        latencies.push(due.elapsed());
                    } else {
                        connection.exchange(request).await?;
                    }
                }
            });
        }
        let mut latencies = Vec::with_capacity(requests.len());
        while let Some(sent) = sending.join_next().await {
            latencies.append(&mut sent??);
        }
        Ok((started.elapsed(), latencies))
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of requests are far below 2^52")]
fn due(number: usize, rate: f64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}

/// Runs `work` in a thread and a runtime of its own.
async fn apart<W, F, T>(work: W) -> Result<T>
where
    W: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<T>>,
    T: Send + 'static,
{
    tokio::task::spawn_blocking(move || runtime::Builder::new_current_thread().enable_all().build()?.block_on(work()))
        .await?
}

/// What stands `share` of the way through sorted `latencies`, in milliseconds.
#[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a rank")]
pub(crate) fn percentile(latencies: &[Duration], share: f64) -> f64 {
    let rank = ((latencies.len() as f64 * share).ceil() as usize).saturating_sub(1);
    latencies.get(rank).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(4096) })
    }

    /// Sends one request and reads its answer, which has to be a 200.
    async fn exchange(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        loop {
            ensure!(self.stream.read_buf(&mut self.answer).await? > 0, "the server has closed the connection");
            if let Some(length) = answer_length(&self.answer)?
                && self.answer.len() >= length
            {
                return Ok(());
            }
        }
    }
}

/// How long the answer is that begins in `read`; `None` while its head is not whole.
fn answer_length(read: &[u8]) -> Result<Option<usize>> {
    let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(read.get(..end).unwrap_or_default())?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("answered {}", head.lines().next().unwrap_or_default());
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.context("an answer without a length")?.parse()?;
    Ok(Some(end + 4 + length))
}
