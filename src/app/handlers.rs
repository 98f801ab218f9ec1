//! Which job is handled by what.

use super::{
    Rooms,
    ehr_side::EhrSide,
    resealing::{RESEAL_VALUES, Resealer},
};
use crate::{
    access::{END_RUN_OUT_SESSIONS, REREAD_ROLES, RoleClock, RolesNow, Sessions},
    chart::{self, Filing},
    ehr, feed,
    jobs::{LeasedJob, Outcome, Worker},
    kernel::{Id, about_text},
    messaging::{self, Message, TextChanged},
    routing::{self, TextEndings},
    workflow::{self, Workflows},
};
use serde::Deserialize;
use std::{future::Future, sync::Arc};
use tracing::{Instrument as _, Span};

/// What writes to the EHR, or leads to a write or a text, by what our own books say: they are behind after a restore.
/// What reads, and what the gate holds itself, goes on.
const HELD_IN_RECOVERY: [&str; 10] = [
    chart::FILE_CONVERSATION,
    ehr::RELEASE_SLOT_HOLD,
    ehr::SLOT_STRANDED,
    feed::APPOINTMENT_CHANGED,
    feed::REFILL_DUE,
    feed::REFILL_TASK_CHANGED,
    routing::REPLY_READ,
    workflow::REMINDER_DUE,
    workflow::SWEEP_REMINDERS,
    workflow::WORKFLOW_TIMEOUT,
];

/// Binds every kind of job to its handler.
pub(super) fn bind(worker: Worker, rooms: &Rooms, resealer: &Resealer, sessions: &Sessions) -> Worker {
    // Reading a text and sending one have places of their own: an EHR or a carrier that hangs must not keep an
    // emergency from being read, nor its answer from leaving.
    let worker = worker
        .reserve(&[messaging::TEXT_RECEIVED, messaging::SETTLE_ATTEMPT])
        .reserve(&[messaging::SEND_TEXT])
        .reserve(&[routing::REPLY_READ])
        .hold_in_recovery(&HELD_IN_RECOVERY);
    let worker = texts(worker, rooms);
    let worker = ehr_side(worker, rooms);
    let worker = workflows(worker, rooms);
    let worker = on(worker, END_RUN_OUT_SESSIONS, sessions, |room, job| async move { room.look_after(job).await });
    let clock = RoleClock::new(sessions.clone(), Arc::clone(&rooms.people) as Arc<dyn RolesNow>);
    let worker = on(worker, REREAD_ROLES, &clock, |room, job| async move { room.reread(job).await });
    on(worker, RESEAL_VALUES, resealer, |room, job| async move { room.reseal(job).await })
}

fn texts(worker: Worker, rooms: &Rooms) -> Worker {
    let worker = on(worker, messaging::TEXT_RECEIVED, &rooms.reader, |room, job| async move { room.read(job).await });
    let worker = on(worker, messaging::SEND_TEXT, &rooms.sender, |room, job| async move { room.send(job).await });
    let worker =
        on(worker, messaging::SETTLE_ATTEMPT, &rooms.settler, |room, job| async move { room.settle(job).await });
    let worker = on(worker, messaging::PULL_INBOUND, &rooms.puller, |room, job| async move { room.pull(job).await });
    on(worker, messaging::ASK_FOR_REPORTS, &rooms.reports, |room, job| async move { room.ask(job).await })
}

fn ehr_side(worker: Worker, rooms: &Rooms) -> Worker {
    let side = &rooms.ehr_side;
    let worker = on(worker, feed::POLL_APPOINTMENTS, &side.schedule, |room, job| async move { room.poll(job).await });
    let worker = on(worker, feed::POLL_REFILLS, &side.refills, |room, job| async move { room.poll_refills(job).await });
    let worker = on(worker, feed::POLL_TASKS, &side.refills, |room, job| async move { room.poll_tasks(job).await });
    let worker =
        on(worker, feed::CHART_TERMS_DUE, &side.intake, |room, job| async move { room.chart_terms_due(job).await });
    let changes = TextChanges::of(rooms);
    let worker = on(worker, messaging::TEXT_CHANGED, &changes, |all, job| async move { all.changed(job).await });
    let worker = on(worker, ehr::RELEASE_SLOT_HOLD, &side.ports, |room, job| async move {
        room.scheduling.release_hold(&room.ehrs, job).await
    });
    let scheduling = side.ports.scheduling.clone();
    let worker = worker.bind_last_resort(ehr::RELEASE_SLOT_HOLD, move |job, _| {
        let scheduling = scheduling.clone();
        async move { scheduling.strand_hold(job).await }
    });
    on(worker, chart::FILE_CONVERSATION, &side.filing, |room, job| async move { room.file(job).await })
}

fn workflows(worker: Worker, rooms: &Rooms) -> Worker {
    let all = &rooms.ehr_side.workflows;
    let worker =
        on(worker, feed::APPOINTMENT_CHANGED, all, |room, job| async move { room.appointment_changed(job).await });
    let worker = on(worker, workflow::REMINDER_DUE, all, |room, job| async move { room.reminder_due(job).await });
    let worker = on(worker, workflow::SWEEP_REMINDERS, all, |room, job| async move { room.sweep(job).await });
    let worker = on(worker, routing::REPLY_READ, all, |room, job| async move { room.reply_read(job).await });
    let flows = all.clone();
    let worker = worker.bind_last_resort(routing::REPLY_READ, move |job, _| {
        let flows = flows.clone();
        async move { flows.reply_given_up(job).await }
    });
    let worker = on(worker, ehr::SLOT_STRANDED, all, |room, job| async move { room.slot_stranded(job).await });
    let worker = on(worker, workflow::WORKFLOW_TIMEOUT, all, |room, job| async move { room.timeout(job).await });
    let worker = on(worker, feed::REFILL_DUE, all, |room, job| async move { room.refill_due(job).await });
    on(worker, feed::REFILL_TASK_CHANGED, all, |room, job| async move { room.refill_task_changed(job).await })
}

/// Whoever hears that a text has changed: people, where one has to act; the workflow that it belongs to; the chart.
#[derive(Clone)]
struct TextChanges {
    endings: TextEndings,
    workflows: Workflows,
    filing: Filing,
}

impl TextChanges {
    fn of(rooms: &Rooms) -> Self {
        let EhrSide { workflows, filing, .. } = &rooms.ehr_side;
        Self { endings: rooms.endings.clone(), workflows: workflows.clone(), filing: filing.clone() }
    }

    async fn changed(self, job: LeasedJob) -> Outcome {
        let TextChanged { message } = job.payload()?;
        self.endings.text_changed(job.tenant, message).await?;
        self.workflows.text_changed(job.tenant, message).await?;
        // The last: it finishes the job.
        self.filing.changed(job).await
    }
}

/// Binds `kind` to what `handle` does with a clone of `room`.
fn on<T, F, R>(worker: Worker, kind: &'static str, room: &T, handle: F) -> Worker
where
    T: Clone + Send + Sync + 'static,
    F: Fn(T, LeasedJob) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    let room = room.clone();
    worker.bind(kind, move |job| {
        let span = span_of(kind, &job);
        handle(room.clone(), job).instrument(span)
    })
}

/// A job about a text works in that text's trace.
fn span_of(kind: &'static str, job: &LeasedJob) -> Span {
    #[derive(Deserialize)]
    struct About {
        message: Id<Message>,
    }
    if let Ok(About { message }) = job.payload::<About>() {
        return about_text(kind, message);
    }
    tracing::info_span!("job", otel.name = kind, kind)
}
