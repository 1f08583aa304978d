//! Connections that cannot be held: few at a time, and each for a few seconds.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Connections at once; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 32;

/// From a connection's beginning to its end, whatever happens on it: one request and one answer of kilobytes.
const LIFE: Duration = Duration::from_secs(15);

/// Pause after a connection could not be taken, for want of files mostly.
const PAUSE: Duration = Duration::from_millis(200);

/// Takes connections from a listener.
pub(super) struct Connections {
    listener: TcpListener,
    places: Arc<Semaphore>,
    life: Duration,
}

impl Connections {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), life: LIFE }
    }
}

impl Listener for Connections {
    type Io = Brief;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Brief, SocketAddr) {
        // Nobody closes the semaphore; without a place there would be no bound, and a bound is what this is for.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    return (
                        Brief { stream, end: Box::pin(sleep(self.life)), _place: place },
                        peer,
                    );
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be taken");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends by itself.
pub(super) struct Brief {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Brief {
    /// An error once its time is over; otherwise whoever waits on the connection is woken then.
    fn is_over(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.end.as_mut().poll(context));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the connection's time is over"))
    }
}

impl AsyncRead for Brief {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.is_over(context) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Brief {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(error) = self.is_over(context) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn whoever_says_nothing_loses_his_connection_and_the_next_one_gets_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut connections = Connections::new(listener);
        (connections.life, connections.places) =
            (Duration::from_millis(50), Arc::new(Semaphore::new(1)));
        let address = connections.local_addr().expect("bound");
        let mut silent = TcpStream::connect(address).await.expect("connects");
        silent.write_all(b"GET /metr").await.expect("sent");
        let (mut held, _) = connections.accept().await;
        let mut bytes = Vec::new();
        let error = held.read_to_end(&mut bytes).await.expect_err("its time is over");
        assert_eq!((error.kind(), bytes.as_slice()), (io::ErrorKind::TimedOut, &b"GET /metr"[..]));
        let _next = TcpStream::connect(address).await.expect("connects");
        let early = tokio::time::timeout(Duration::from_millis(50), connections.accept()).await;
        assert!(early.is_err(), "there is one place, and it is taken");
        drop(held);
        tokio::time::timeout(Duration::from_secs(5), connections.accept()).await.expect("a place");
    }
}
