//! How much one request may cost, and how waiting is done.

use super::token::BoxFuture;
use std::time::Duration;

/// Bounds on time, size and repetition of what is asked of one FHIR server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To make a connection.
    pub connect_timeout: Duration,
    /// From the first byte sent to the last byte read.
    pub request_timeout: Duration,
    /// Largest answer read, in bytes.
    pub max_body: usize,
    /// Most pages of one search.
    pub max_pages: usize,
    /// Most entries of one search, over all pages.
    pub max_entries: usize,
    /// Most times a read is sent when the server answers 429 or 503.
    pub max_tries: u32,
    /// Longest single wait between such tries; a server that asks for more is answered to the caller instead.
    pub max_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            max_body: 8 * 1024 * 1024,
            max_pages: 50,
            max_entries: 5_000,
            max_tries: 3,
            max_wait: Duration::from_secs(5),
        }
    }
}

/// Waits between tries. Tests count the waits instead.
pub trait Pacer: Send + Sync + 'static {
    /// Returns after `duration`.
    fn pause(&self, duration: Duration) -> BoxFuture<'_, ()>;
}

/// Waits on tokio's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioPacer;

impl Pacer for TokioPacer {
    fn pause(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
