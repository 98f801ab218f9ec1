//! The listener of a sandbox peer: HTTP whose connections can be cut in mid-answer.
//!
//! Owns the accepted connections. [`serve`] is called by each peer when it starts. A request carries a [`Line`] in
//! its extensions; once that is cut, not one more byte leaves, so the caller sees a connection that broke after the
//! work was done, exactly as when a proxy or a network fails.

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The connection that a request came in on.
#[derive(Debug, Clone, Default)]
pub struct Line(Arc<AtomicBool>);

impl Line {
    /// Cuts the connection: whatever is still to be written is lost.
    pub fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Connected<IncomingStream<'_, SeverableListener>> for Line {
    fn connect_info(stream: IncomingStream<'_, SeverableListener>) -> Self {
        stream.io().line.clone()
    }
}

/// A TCP stream that stops writing when its line is cut.
#[derive(Debug)]
pub struct SeverableStream {
    stream: TcpStream,
    line: Line,
}

fn severed() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionAborted)
}

impl AsyncRead for SeverableStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for SeverableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.line.is_cut() {
            return Poll::Ready(Err(severed()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Accepts connections as [`SeverableStream`]s.
#[derive(Debug)]
pub struct SeverableListener(TcpListener);

impl Listener for SeverableListener {
    type Io = SeverableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        (SeverableStream { stream, line: Line::default() }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// A bound port that does not answer yet.
#[derive(Debug)]
pub struct BoundPort {
    listener: TcpListener,
    /// The address, with the port that the system chose where 0 was asked for.
    pub address: SocketAddr,
}

impl BoundPort {
    /// Binds `listen`; port 0 takes a free one.
    ///
    /// # Errors
    /// The operating system's error when the port is taken or may not be used.
    pub async fn bind(listen: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }
}

/// Serves `router` on `port` until `stop` is cancelled; requests in hand are finished.
pub fn serve(port: BoundPort, router: Router, stop: CancellationToken) -> JoinHandle<()> {
    let service = router.into_make_service_with_connect_info::<Line>();
    tokio::spawn(async move {
        let serving = axum::serve(SeverableListener(port.listener), service)
            .with_graceful_shutdown(async move { stop.cancelled().await });
        if serving.await.is_err() {
            tracing::error!("a sandbox peer stopped serving");
        }
    })
}
