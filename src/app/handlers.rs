//! Which job is handled by what.

use super::{
    Rooms,
    resealing::{RESEAL_VALUES, Resealer},
};
use crate::{jobs::Worker, messaging};

/// Binds every kind of job to its handler.
pub(super) fn bind(worker: Worker, rooms: &Rooms, resealer: Resealer) -> Worker {
    let (reader, sender, settler, puller) =
        (rooms.reader.clone(), rooms.sender.clone(), rooms.settler.clone(), rooms.puller.clone());
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
        .bind(messaging::PULL_INBOUND, move |job| {
            let puller = puller.clone();
            async move { puller.pull(job).await }
        })
        .bind(RESEAL_VALUES, move |job| {
            let resealer = resealer.clone();
            async move { resealer.reseal(job).await }
        })
}
