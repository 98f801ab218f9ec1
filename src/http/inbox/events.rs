//! Live changes: server-sent events that carry ids only. The page then asks for what it may see.

use super::{Parts, source::Viewer};
use crate::{
    access::{Activity, SessionToken, Sessions},
    db::{self, Topic},
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
    tenant: String,
    /// The launched patient, if there is one.
    patient: Option<String>,
    sessions: Sessions,
    token: SessionToken,
    check: Interval,
}

/// The stream of the launched patient's thread and of the tenant's worklist.
pub(super) async fn stream(
    State(parts): State<Parts>,
    Extension(viewer): Extension<Viewer>,
    Extension(token): Extension<SessionToken>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut check = interval(CHECK_EVERY);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = Watch {
        changes: parts.db.subscribe(),
        tenant: viewer.session.tenant.to_string(),
        patient: viewer.session.patient.map(|patient| patient.to_string()),
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
    Sse::new(events).keep_alive(KeepAlive::default())
}

impl Watch {
    /// The next change, or `None` when the session has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                change = self.changes.recv() => match change {
                    Ok(event) => {
                        if let Some(told) = self.told(&event) {
                            return Some(told);
                        }
                    }
                    // Something was missed; it may have been ours.
                    Err(RecvError::Lagged(_)) => return Some(Event::default().event("worklist").data("changed")),
                    Err(RecvError::Closed) => return None,
                },
                _ = self.check.tick() => {
                    self.sessions.authenticate(&self.token, Activity::Background).await.ok()?;
                }
            }
        }
    }

    /// What the page hears of a change: an id, and only of what is the patient's or the worklist's.
    fn told(&self, event: &db::Event) -> Option<Event> {
        match (event.topic, &self.patient) {
            (Topic::Thread, Some(patient)) => {
                let theirs = event.key.split_once('/') == Some((&self.tenant, patient));
                theirs.then(|| Event::default().event("thread").data(patient))
            }
            (Topic::Worklist, _) => {
                (event.key == self.tenant).then(|| Event::default().event("worklist").data("changed"))
            }
            _ => None,
        }
    }
}
