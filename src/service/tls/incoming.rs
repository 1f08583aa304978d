//! Connections as they come in.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::{CertificateName, Certificates, ConnectionLimits};

/// Connections that are ready and wait to be served.
const READY_MAX: usize = 64;

/// How long nothing is accepted after the system refused to.
const PAUSE: Duration = Duration::from_millis(100);

/// The other end of a connection; it is in the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::service) struct Peer {
    /// Its address.
    pub(in crate::service) address: SocketAddr,
    /// Whom its certificate names; `None` where it showed none.
    pub(in crate::service) certificate: Option<CertificateName>,
}

/// Connections of a listener: encrypted where there are certificates, and never more than the limits say.
pub(in crate::service) fn incoming(
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
    limits: &ConnectionLimits,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    let (ready, connections) = mpsc::channel(READY_MAX);
    tokio::spawn(accept(listener, certificates, limits.clone(), ready));
    ReceiverStream::new(connections)
}

async fn accept(
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
    limits: ConnectionLimits,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    let places = Arc::new(Places::new(&limits));
    loop {
        // The server drops its end when it stops; the listener must go at once.
        let accepted = tokio::select! {
            () = ready.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(place) = places.take(address.ip()) else {
            tracing::debug!(%address, "too many connections: one more was closed");
            continue;
        };
        let _ = stream.set_nodelay(true);
        // Everything that waits for the other end is done beside: whoever stalls holds up nobody.
        let (ready, certificates) = (ready.clone(), certificates.clone());
        let handshake_max = limits.handshake_max;
        tokio::spawn(async move {
            let greeted = match &certificates {
                None => Some((Wire::Plain(stream), None)),
                Some(certificates) => encrypted(certificates, stream, address, handshake_max).await,
            };
            if let Some((wire, certificate)) = greeted {
                let peer = Peer { address, certificate };
                let _ = ready.send(Ok(Connection { wire, peer, _place: place })).await;
            }
        });
    }
}

async fn encrypted(
    certificates: &Certificates,
    stream: TcpStream,
    address: SocketAddr,
    handshake_max: Duration,
) -> Option<(Wire, Option<CertificateName>)> {
    let acceptor = TlsAcceptor::from(certificates.current());
    match tokio::time::timeout(handshake_max, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates();
            let name = shown.and_then(<[_]>::first).map(|own| CertificateName::of(own));
            Some((Wire::Tls(Box::new(stream)), name))
        }
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "no TLS with this client");
            None
        }
        Err(_) => {
            tracing::debug!(%address, "a TLS handshake took too long");
            None
        }
    }
}

/// A connection, which holds a place while it is open.
pub(in crate::service) struct Connection {
    wire: Wire,
    peer: Peer,
    _place: Place,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Wire::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write(context, from),
            Wire::Tls(stream) => Pin::new(stream).poll_write(context, from),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write_vectored(context, from),
            Wire::Tls(stream) => Pin::new(stream).poll_write_vectored(context, from),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(context),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// Places for connections.
struct Places {
    total: Arc<Semaphore>,
    per_address_max: usize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Places {
    fn new(limits: &ConnectionLimits) -> Self {
        Self {
            total: Arc::new(Semaphore::new(limits.total_max)),
            per_address_max: limits.per_address_max,
            by_address: Mutex::default(),
        }
    }

    /// A place, unless there are too many connections, in all or from there.
    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.total).try_acquire_owned().ok()?;
        let from = origin(address);
        if let Some(from) = from {
            let mut counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(from).or_default();
            if *count >= self.per_address_max {
                return None;
            }
            *count += 1;
        }
        Some(Place { places: Arc::clone(self), from, _permit: permit })
    }
}

/// Where connections are counted: an address, or the network of one; `None` for this machine, where a proxy may stand that
/// everybody comes through.
fn origin(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Some(IpAddr::V6(Ipv6Addr::from(network)))
        }
        address @ IpAddr::V4(_) => Some(address),
    }
}

/// One place, given back when it is dropped.
struct Place {
    places: Arc<Places>,
    from: Option<IpAddr>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(from) = self.from else { return };
        let mut counts = self.places.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = counts.entry(from) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(total_max: usize, per_address_max: usize) -> Arc<Places> {
        let limits = ConnectionLimits { total_max, per_address_max, ..Default::default() };
        Arc::new(Places::new(&limits))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn places_are_counted_by_address_and_given_back() {
        let places = places(5, 2);
        let (a, b) = (places.take(ip("192.0.2.1")), places.take(ip("::ffff:192.0.2.1")));
        assert!(a.is_some() && b.is_some());
        assert!(places.take(ip("192.0.2.1")).is_none());
        let c = places.take(ip("192.0.2.2"));
        assert!(c.is_some());
        drop(a);
        assert!(places.take(ip("192.0.2.1")).is_some());
        drop((b, c));
        assert!(places.by_address.lock().expect("not poisoned").is_empty());
        assert_eq!(places.total.available_permits(), 5);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_this_machine_is_not_counted() {
        let places = places(4, 1);
        let a = places.take(ip("2001:db8::1"));
        assert!(a.is_some() && places.take(ip("2001:db8::ffff:2")).is_none());
        let other = places.take(ip("2001:db8:0:1::1"));
        assert!(other.is_some());
        let here = [places.take(ip("127.0.0.1")), places.take(ip("::1"))];
        assert!(here.iter().all(Option::is_some));
        assert!(places.take(ip("127.0.0.1")).is_none(), "the total holds for all");
    }
}
