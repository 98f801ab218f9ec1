//! A proxy that stands between two parties and can be told to break what passes: in front of a database, or of the service.

use anyhow::Result;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
};

/// What becomes of the connections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Everything passes.
    Open,
    /// Connections break, and new ones end at once.
    Cut,
    /// Connections stand and new ones are taken, and not a byte passes; what was sent meanwhile passes afterwards.
    Silent,
    /// As silent, and no connection that stood meanwhile ever passes a byte again: a machine that is gone without a word.
    Vanished,
}

/// The handle of a proxy.
pub(crate) struct Proxy {
    passage: watch::Sender<Passage>,
    /// Connections that were cut, refused or silent.
    struck: AtomicU64,
    to: SocketAddr,
    /// Only connections that begin so are concerned.
    only: &'static [u8],
}

impl Proxy {
    /// Starts to pass on to `to` what comes to `listen`. The client of a connection that is concerned speaks first.
    pub(crate) async fn start(listen: SocketAddr, to: SocketAddr, only: &'static [u8]) -> Result<Arc<Self>> {
        let proxy = Arc::new(Self { passage: watch::Sender::new(Passage::Open), struck: AtomicU64::new(0), to, only });
        let listener = TcpListener::bind(listen).await?;
        let passing = Arc::clone(&proxy);
        tokio::spawn(async move {
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    let proxy = Arc::clone(&passing);
                    tokio::spawn(async move { proxy.pass(client).await });
                }
            }
        });
        Ok(proxy)
    }

    /// From now on connections are treated so.
    pub(crate) fn set(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }

    /// How many connections were struck so far.
    pub(crate) fn struck(&self) -> u64 {
        self.struck.load(Ordering::SeqCst)
    }

    async fn pass(&self, mut client: TcpStream) {
        let concerned = self.is_concerned(&client).await;
        let mut passage = self.passage.subscribe();
        let state = *passage.borrow_and_update();
        if concerned && state != Passage::Open {
            self.struck.fetch_add(1, Ordering::SeqCst);
            match state {
                Passage::Vanished => return until_closed(&mut client).await,
                Passage::Silent if passage.wait_for(|now| *now != Passage::Silent).await.is_ok() => {}
                _ => return,
            }
        }
        let Ok(mut server) = TcpStream::connect(self.to).await else { return };
        if !concerned {
            // Either side may break off; the other is told by the end of the connection.
            let _ = copy_bidirectional(&mut client, &mut server).await;
            return;
        }
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
        let passed = async {
            tokio::join!(
                relay(&mut from_client, &mut to_server, self.passage.subscribe()),
                relay(&mut from_server, &mut to_client, self.passage.subscribe())
            );
        };
        tokio::select! {
            () = passed => return,
            end = self.strike() => if end == Passage::Cut { return },
        }
        // The server knows as little of it as the client.
        until_closed(&mut client).await;
    }

    /// Counts the connection as soon as it is struck; returns when nothing passes on it ever again.
    async fn strike(&self) -> Passage {
        let mut passage = self.passage.subscribe();
        if passage.wait_for(|now| *now != Passage::Open).await.is_ok() {
            self.struck.fetch_add(1, Ordering::SeqCst);
        }
        let end = passage.wait_for(|now| matches!(now, Passage::Cut | Passage::Vanished)).await.map(|end| *end);
        match end {
            Ok(end) => end,
            Err(_) => std::future::pending().await,
        }
    }

    async fn is_concerned(&self, client: &TcpStream) -> bool {
        let mut first = vec![0; self.only.len()];
        while !self.only.is_empty() {
            match client.peek(&mut first).await {
                Ok(0) | Err(_) => return false,
                Ok(bytes) if first[..bytes] != self.only[..bytes] => return false,
                Ok(bytes) if bytes == self.only.len() => return true,
                // The rest of so few bytes comes with them, or at once.
                Ok(_) => tokio::task::yield_now().await,
            }
        }
        true
    }
}

/// Takes what comes and does nothing with it.
async fn until_closed(client: &mut TcpStream) {
    let mut bytes = vec![0; 16 * 1024];
    while client.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

/// Passes bytes on, as long as that is allowed, and at the end the end.
async fn relay(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, mut passage: watch::Receiver<Passage>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut bytes).await {
        if passage.wait_for(|now| *now == Passage::Open).await.is_err() || count == 0 {
            break;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
