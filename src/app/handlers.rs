//! Which job is handled by what.

use super::{
    Rooms,
    resealing::{RESEAL_VALUES, Resealer},
};
use crate::{chart, feed, jobs::Worker, messaging};

/// Binds every kind of job to its handler.
pub(super) fn bind(worker: Worker, rooms: &Rooms, resealer: Resealer) -> Worker {
    let (reader, sender, settler, puller) =
        (rooms.reader.clone(), rooms.sender.clone(), rooms.settler.clone(), rooms.puller.clone());
    let (filing, schedule_reader) = (rooms.filing.clone(), rooms.poller.clone());
    let changed = filing.clone();
    worker
        .bind(messaging::TEXT_RECEIVED, move |job| {
            let reader = reader.clone();
            async move { reader.read(job).await }
        })
        .bind(messaging::SEND_TEXT, move |job| {
            let sender = sender.clone();
            async move { sender.send(job).await }
        })
        .bind(messaging::SETTLE_ATTEMPT, move |job| {
            let settler = settler.clone();
            async move { settler.settle(job).await }
        })
        .bind(messaging::TEXT_CHANGED, move |job| {
            let filing = changed.clone();
            async move { filing.changed(job).await }
        })
        .bind(chart::FILE_CONVERSATION, move |job| {
            let filing = filing.clone();
            async move { filing.file(job).await }
        })
        .bind(feed::POLL_APPOINTMENTS, move |job| {
            let schedule_reader = schedule_reader.clone();
            async move { schedule_reader.poll(job).await }
        })
        .bind(messaging::PULL_INBOUND, move |job| {
            let puller = puller.clone();
            async move { puller.pull(job).await }
        })
        .bind(RESEAL_VALUES, move |job| {
            let resealer = resealer.clone();
            async move { resealer.reseal(job).await }
        })
}
