//! A load balancer in front of two services, as plain as they come: it passes bytes on.
//!
//! A connection goes to a service that is in rotation and takes it; whoever is taken out of rotation keeps the
//! connections that it has, as with a balancer whose health check fails.

use anyhow::Result;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

/// The balancer's handle: whom it sends connections to.
pub(crate) struct Balancer(Vec<(SocketAddr, AtomicBool)>, AtomicUsize);

impl Balancer {
    /// Starts to pass on what comes to `listen`.
    pub(crate) async fn start(listen: SocketAddr, services: &[SocketAddr]) -> Result<Arc<Self>> {
        let services = services.iter().map(|service| (*service, AtomicBool::new(true))).collect();
        let balancer = Arc::new(Self(services, AtomicUsize::new(0)));
        let listener = TcpListener::bind(listen).await?;
        let passing = Arc::clone(&balancer);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let balancer = Arc::clone(&passing);
                tokio::spawn(async move { balancer.pass(client).await });
            }
        });
        Ok(balancer)
    }

    /// Takes a service into rotation, or out of it.
    pub(crate) fn rotate(&self, service: SocketAddr, takes: bool) {
        for (address, in_rotation) in &self.0 {
            if *address == service {
                in_rotation.store(takes, Ordering::SeqCst);
            }
        }
    }

    async fn pass(&self, mut client: TcpStream) {
        let first = self.1.fetch_add(1, Ordering::SeqCst);
        for turn in 0..self.0.len() {
            let (address, in_rotation) = &self.0[(first + turn) % self.0.len()];
            if !in_rotation.load(Ordering::SeqCst) {
                continue;
            }
            if let Ok(mut service) = TcpStream::connect(address).await {
                // Either side may break off; the other is told by the end of the connection.
                let _ = copy_bidirectional(&mut client, &mut service).await;
                return;
            }
        }
    }
}
