//! Connections that an answer can reset.
//!
//! A handler has no hold on the socket it answers on, so the socket looks at a mark that the handler can set:
//! once it is set, the next thing written resets the connection, and the client gets no byte of an answer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// The mark of one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResetMark(Arc<AtomicBool>);

impl ResetMark {
    /// Lets the connection end in a reset.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Accepts connections that carry a mark.
#[derive(Debug)]
pub(crate) struct Wires(pub(crate) TcpListener);

/// A connection with its mark.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    mark: ResetMark,
}

impl Listener for Wires {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection waits before it sends small pieces");
        }
        (Wire { stream, mark: ResetMark::default() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Wires>> for ResetMark {
    fn connect_info(stream: IncomingStream<'_, Wires>) -> Self {
        stream.io().mark.clone()
    }
}

impl Wire {
    /// The stream to write to, unless it is to be reset.
    fn writable(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if self.mark.is_set() {
            // With no time to linger, closing the socket resets the connection.
            self.stream.set_zero_linger()?;
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "reset on purpose"));
        }
        Ok(Pin::new(&mut self.stream))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writable()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writable()?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writable()?.poll_shutdown(context)
    }
}
