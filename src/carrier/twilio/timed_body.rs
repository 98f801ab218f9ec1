//! A request body that asks the clock before it lets itself be written.
//!
//! Law 4 wants the send-by instant checked right before the bytes leave. Before the request is handed to the HTTP
//! client is too early: resolving, connecting and the TLS handshake come after. The client asks for the body once the
//! connection stands, and over HTTP/1.1 writes head and body only then: so the body itself checks, and remembers
//! whether it was ever given out. That also tells a text that cannot have left from one that may have.

use crate::kernel::Clock;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use jiff::Timestamp;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

const UNTOUCHED: u8 = 0;
const GIVEN_OUT: u8 = 1;
const WITHHELD: u8 = 2;

/// A body that is given out whole until `send_by`, and not at all after it.
pub(super) struct TimedBody {
    bytes: Option<Bytes>,
    send_by: Timestamp,
    clock: Arc<dyn Clock>,
    fate: Arc<AtomicU8>,
}

/// What became of a [`TimedBody`].
pub(super) struct BodyFate(Arc<AtomicU8>);

/// The body was asked for after its time.
#[derive(Debug, thiserror::Error)]
#[error("the send-by instant has passed")]
pub(super) struct TooLate;

impl TimedBody {
    /// A body over `bytes`, with the witness of what becomes of it.
    pub(super) fn new(bytes: Bytes, send_by: Timestamp, clock: Arc<dyn Clock>) -> (Self, BodyFate) {
        let fate = Arc::new(AtomicU8::new(UNTOUCHED));
        (Self { bytes: Some(bytes), send_by, clock, fate: Arc::clone(&fate) }, BodyFate(fate))
    }
}

impl BodyFate {
    /// The connection has had the bytes: they may have left.
    pub(super) fn was_given_out(&self) -> bool {
        self.0.load(Ordering::SeqCst) == GIVEN_OUT
    }

    /// The bytes were asked for too late and stayed here.
    pub(super) fn was_withheld(&self) -> bool {
        self.0.load(Ordering::SeqCst) == WITHHELD
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = TooLate;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, TooLate>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        if self.clock.now() > self.send_by {
            self.fate.store(WITHHELD, Ordering::SeqCst);
            return Poll::Ready(Some(Err(TooLate)));
        }
        self.fate.store(GIVEN_OUT, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
