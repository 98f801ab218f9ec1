//! Parties outside the service, each in a thread and a runtime of its own.

use anyhow::Result;
use axum::Router;
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use tokio::{runtime, sync::Notify};

/// Serves `router` until the process ends.
pub(crate) fn serve(router: impl FnOnce(SocketAddr) -> Router) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let router = router(address);
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async move { axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await })
    });
    Ok(address)
}

/// How often something has happened.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<(AtomicUsize, Notify)>);

impl Tally {
    /// One more. Gives its number, from 1.
    pub(crate) fn add(&self) -> usize {
        let (count, told) = &*self.0;
        let number = count.fetch_add(1, Ordering::AcqRel) + 1;
        told.notify_waiters();
        number
    }

    pub(crate) fn count(&self) -> usize {
        self.0.0.load(Ordering::Acquire)
    }

    pub(crate) async fn reaches(&self, wanted: usize) {
        let (_, told) = &*self.0;
        loop {
            let next = told.notified();
            if self.count() >= wanted {
                return;
            }
            next.await;
        }
    }
}
