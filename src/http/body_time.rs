//! A body has its time: one that trickles ends with 408. And a source may keep so many waiting for their bodies: who is slow
//! on purpose must not hold every place of a section, and the carrier be turned away.

use super::{
    Failure,
    rates::limited,
    server::{Share, Shares, Source},
};
use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};
use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// How long bodies are waited for, and for how many of each source.
#[derive(Clone)]
pub(super) struct BodyWait {
    within: Duration,
    shares: Arc<Shares>,
}

impl BodyWait {
    /// A source may hold a quarter of the `places` so.
    pub(super) fn of(within: Duration, places: usize) -> Self {
        Self { within, shares: Shares::of(places / 4) }
    }
}

/// Why a body was given up.
#[derive(Clone, Copy)]
enum GivenUp {
    Slow,
    OneTooMany,
}

/// Gives the body of a request its time from when it is first waited for. What does not read it does not wait for it
/// either.
pub(super) async fn in_time(State(wait): State<BodyWait>, request: Request, next: Next) -> Result<Response, Failure> {
    let given_up = Arc::new(OnceLock::new());
    let source = request.extensions().get::<Source>().copied();
    let (within, outcome) = (wait.within, Arc::clone(&given_up));
    let timed =
        |body| Body::new(Timed { body, wait, source, asked: false, over: None, share: None, given_up: outcome });
    let response = next.run(request.map(timed)).await;
    // Whatever was made of the broken body.
    match given_up.get() {
        None => Ok(response),
        Some(GivenUp::Slow) => {
            limited("slow-body");
            Err(Failure::TooSlow)
        }
        Some(GivenUp::OneTooMany) => {
            limited("bodies-of-source");
            Err(Failure::TooMany(u32::try_from(within.as_secs()).unwrap_or(u32::MAX).max(1)))
        }
    }
}

struct Timed {
    body: Body,
    wait: BodyWait,
    source: Option<Source>,
    /// Whether nothing was there once.
    asked: bool,
    over: Option<Pin<Box<Sleep>>>,
    share: Option<Share>,
    given_up: Arc<OnceLock<GivenUp>>,
}

impl Timed {
    fn broken(&mut self, why: GivenUp) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.share = None;
        let why = *self.given_up.get_or_init(|| why);
        let kind = match why {
            GivenUp::Slow => io::ErrorKind::TimedOut,
            GivenUp::OneTooMany => io::ErrorKind::QuotaExceeded,
        };
        Poll::Ready(Some(Err(axum::Error::new(io::Error::from(kind)))))
    }
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            if frame.is_none() || this.body.is_end_stream() {
                this.share = None;
            }
            return Poll::Ready(frame);
        }
        if !this.asked {
            // The server looks for a body only once it has been asked for: it may be there already.
            this.asked = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.over.is_none()
            && let Some(source) = this.source
        {
            this.share = this.wait.shares.take(source);
            if this.share.is_none() {
                return this.broken(GivenUp::OneTooMany);
            }
        }
        let within = this.wait.within;
        let over = this.over.get_or_insert_with(|| Box::pin(sleep(within)));
        ready!(over.as_mut().poll(cx));
        this.broken(GivenUp::Slow)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
