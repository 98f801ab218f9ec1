//! How long a client is waited for: a stream that ends itself when it takes too long.
//!
//! hyper has one time limit for the wait for a request and for its head together. Here they are told apart: a proxy may
//! keep a connection idle for a minute, and nobody needs a minute for a head. While a request is in hand nothing is
//! timed here, so that streams of events last; the router times bodies and answers. What a client does not read is timed
//! always.

use super::limited;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// A head is waited for since the connection's beginning, or since its first byte.
const HEAD: u8 = 0;
/// A request is in hand, or its answer on its way.
const IN_HAND: u8 = 1;
/// The last answer is through.
const IDLE: u8 = 2;

/// How far a connection is; shared by its stream and what answers its requests.
pub(super) struct Progress(AtomicU8);

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU8::new(HEAD)))
    }

    pub(super) fn request_in_hand(&self) {
        self.0.store(IN_HAND, Ordering::Relaxed);
    }

    pub(super) fn answered(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }

    fn now(&self) -> u8 {
        // Everything of one connection happens in one task.
        self.0.load(Ordering::Relaxed)
    }
}

/// How long what may take.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// A head, from the connection's beginning or from its first byte.
    pub(super) head: Duration,
    /// The wait for the next request.
    pub(super) idle: Duration,
    /// That nothing of what is to be written is taken.
    pub(super) stall: Duration,
}

/// A stream with an end to its patience.
pub(super) struct Patient<S> {
    stream: S,
    progress: Arc<Progress>,
    patience: Patience,
    /// What is waited for, and until when.
    reading: Option<(u8, Pin<Box<Sleep>>)>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, progress: Arc<Progress>, patience: Patience) -> Self {
        Self { stream, progress, patience, reading: None, writing: None }
    }

    /// Called where nothing could be read: whether that has lasted too long.
    fn poll_impatience(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let phase = self.progress.now();
        let within = match phase {
            HEAD => self.patience.head,
            IDLE => self.patience.idle,
            _ => return Poll::Pending,
        };
        let (_, over) = self.reading.get_or_insert_with(|| (phase, Box::pin(sleep(within))));
        ready!(over.as_mut().poll(cx));
        if phase != IDLE {
            limited("slow-head");
        }
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// What writing came to; an error where nothing could be written for too long.
    fn poll_stall<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let within = self.patience.stall;
        let over = self.writing.get_or_insert_with(|| Box::pin(sleep(within)));
        ready!(over.as_mut().poll(cx));
        limited("slow-answer");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let phase = this.progress.now();
        if this.reading.as_ref().is_some_and(|(timed, _)| *timed != phase) {
            this.reading = None;
        }
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buf) {
            if phase == IDLE && buf.filled().len() > before {
                this.progress.0.store(HEAD, Ordering::Relaxed);
            }
            return Poll::Ready(read);
        }
        this.poll_impatience(cx).map(Err)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.poll_stall(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.poll_stall(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.poll_stall(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.poll_stall(cx, shut)
    }
}
