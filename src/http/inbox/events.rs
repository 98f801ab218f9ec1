//! Live changes: server-sent events that carry ids only. The page then asks for what it may see.

use super::{Parts, source::Viewer};
use crate::{
    access::{Activity, SessionToken, Sessions},
    db::{self, Topic},
    http::Failure,
};
use axum::{
    Extension,
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{
    StreamExt as _,
    stream::{Stream, unfold},
};
use std::{convert::Infallible, time::Duration};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Interval, MissedTickBehavior, interval},
};

/// How often an open stream looks whether its session still stands.
const CHECK_EVERY: Duration = Duration::from_secs(20);

struct Watch {
    changes: Receiver<db::Event>,
    key: String,
    patient: String,
    sessions: Sessions,
    token: SessionToken,
    check: Interval,
}

/// The stream of the launched patient's thread.
pub(super) async fn stream(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
    Extension(token): Extension<SessionToken>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let patient = viewer.session.patient.ok_or(Failure::NotFound)?;
    let mut check = interval(CHECK_EVERY);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = Watch {
        changes: parts.db.subscribe(),
        key: format!("{}/{patient}", viewer.session.tenant),
        patient: patient.to_string(),
        sessions: parts.sessions,
        token,
        check,
    };
    let stop = parts.stop;
    let events = unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        Some(match watch.next().await {
            Some(event) => (Ok(event), Some(watch)),
            None => (Ok(Event::default().event("ended").data("")), None),
        })
    })
    // Without an event: the page connects again, to whoever serves then.
    .take_until(stop.cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

impl Watch {
    /// The next change, or `None` when the session has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                change = self.changes.recv() => match change {
                    Ok(event) if event.topic == Topic::Thread && event.key == self.key => return Some(self.changed()),
                    Ok(_) => {}
                    // Something was missed; it may have been ours.
                    Err(RecvError::Lagged(_)) => return Some(self.changed()),
                    Err(RecvError::Closed) => return None,
                },
                _ = self.check.tick() => {
                    self.sessions.authenticate(&self.token, Activity::Background).await.ok()?;
                }
            }
        }
    }

    fn changed(&self) -> Event {
        Event::default().event("thread").data(&self.patient)
    }
}
