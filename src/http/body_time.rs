//! A body has its time: one that trickles ends with 408.

use super::{Failure, rates::limited};
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
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// Gives the body of a request `within` from when it is first waited for. What does not read it does not wait for it
/// either.
pub(super) async fn in_time(State(within): State<Duration>, request: Request, next: Next) -> Result<Response, Failure> {
    let slow = Arc::new(AtomicBool::new(false));
    let timed = |body| Body::new(Timed { body, within, over: None, slow: Arc::clone(&slow) });
    let response = next.run(request.map(timed)).await;
    // Whatever was made of the broken body.
    if slow.load(Ordering::Relaxed) {
        limited("slow-body");
        return Err(Failure::TooSlow);
    }
    Ok(response)
}

struct Timed {
    body: Body,
    within: Duration,
    over: Option<Pin<Box<Sleep>>>,
    slow: Arc<AtomicBool>,
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let within = this.within;
        let over = this.over.get_or_insert_with(|| Box::pin(sleep(within)));
        ready!(over.as_mut().poll(cx));
        this.slow.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(axum::Error::new(io::Error::from(io::ErrorKind::TimedOut)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
