//! Connections as they come in.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::either::Either;
use tonic::transport::server::Connected;

use super::gathered::Gathered;
use super::name::end_of;
use super::standing::{Level, Watchdog};
use super::{CertificateName, Certificates, ConnectionLimits, Standing};

/// Connections that are ready and wait to be served.
const READY_MAX: usize = 64;

/// How long nothing is accepted after the system refused to.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection's bytes: plain, or encrypted.
type Wire = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// The other end of a connection; it is in the extensions of every request.
#[derive(Debug, Clone)]
pub(in crate::service) struct Peer {
    /// Its address.
    pub(in crate::service) address: SocketAddr,
    /// Whom its certificate names; `None` where it showed none.
    pub(in crate::service) certificate: Option<CertificateName>,
    /// When that certificate is over.
    pub(in crate::service) certificate_ends: Option<SystemTime>,
    /// How well it is known.
    pub(in crate::service) standing: Standing,
}

impl Peer {
    /// What tells strangers apart: its address, or the network of it.
    pub(in crate::service) fn network(&self) -> String {
        match origin(self.address.ip()) {
            Some(IpAddr::V6(network)) => format!("{network}/64"),
            Some(address) => address.to_string(),
            None => self.address.ip().to_canonical().to_string(),
        }
    }

    /// Whether its certificate is over by now; the handshake has shown that it was not then.
    pub(in crate::service) fn has_outlived_its_certificate(&self) -> bool {
        self.certificate_ends.is_some_and(|ends| ends < SystemTime::now())
    }
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
        let (ready, certificates, limits) = (ready.clone(), certificates.clone(), limits.clone());
        tokio::spawn(async move {
            if let Some(connection) = greet(certificates, stream, address, limits, place).await {
                let _ = ready.send(Ok(connection)).await;
            }
        });
    }
}

/// Makes a connection of what was accepted, unless the handshake fails or its place is needed by somebody else.
async fn greet(
    certificates: Option<Arc<Certificates>>,
    stream: TcpStream,
    address: SocketAddr,
    limits: ConnectionLimits,
    place: Place,
) -> Option<Connection> {
    let standing = place.standing.clone();
    let mut peer =
        Peer { address, certificate: None, certificate_ends: None, standing: standing.clone() };
    let wire = match &certificates {
        None => Wire::Left(stream),
        Some(certificates) => tokio::select! {
            () = standing.closed() => return None,
            greeted = encrypted(certificates, stream, address, limits.handshake_max) => greeted?,
        },
    };
    if let Wire::Right(stream) = &wire
        && let Some(own) = stream.get_ref().1.peer_certificates().and_then(<[_]>::first)
    {
        peer.certificate = Some(CertificateName::of(own));
        peer.certificate_ends = end_of(own);
        // An authority of the operator vouches for it.
        standing.is_known();
    }
    let watchdog = Watchdog::new(standing, &limits);
    Some(Connection { wire: Gathered::new(wire), peer, watchdog, _place: place })
}

async fn encrypted(
    certificates: &Certificates,
    stream: TcpStream,
    address: SocketAddr,
    handshake_max: Duration,
) -> Option<Wire> {
    let acceptor = TlsAcceptor::from(certificates.current());
    match tokio::time::timeout(handshake_max, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(Wire::Right(Box::new(stream))),
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
    wire: Gathered<Wire>,
    peer: Peer,
    watchdog: Watchdog,
    _place: Place,
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
        // Who serves a connection always waits for what comes next on it.
        if let Poll::Ready(error) = self.watchdog.poll(context) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.wire).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}

/// Places for connections.
struct Places {
    total_max: usize,
    per_address_max: usize,
    taken: Mutex<Taken>,
}

/// Places that are taken. Numbers ascend with time.
#[derive(Default)]
struct Taken {
    next: u64,
    by_number: BTreeMap<u64, Held>,
    by_address: HashMap<IpAddr, usize>,
}

/// What is known of a place that is taken.
struct Held {
    from: Option<IpAddr>,
    standing: Standing,
}

impl Places {
    fn new(limits: &ConnectionLimits) -> Self {
        Self {
            total_max: limits.total_max,
            per_address_max: limits.per_address_max,
            taken: Mutex::default(),
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place. Where there are too many connections, in all or from there, a stranger must give up his; there is none where
    /// there are no strangers.
    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let from = origin(address);
        let mut taken = self.taken();
        if let Some(from) = from
            && taken.by_address.get(&from).is_some_and(|count| *count >= self.per_address_max)
            && !taken.make_room(|held| held.from == Some(from))
        {
            return None;
        }
        if taken.by_number.len() >= self.total_max && !taken.make_room(|_| true) {
            return None;
        }
        let (number, standing) = (taken.next, Standing::default());
        taken.next += 1;
        taken.by_number.insert(number, Held { from, standing: standing.clone() });
        if let Some(from) = from {
            *taken.by_address.entry(from).or_default() += 1;
        }
        Some(Place { places: Arc::clone(self), number, standing })
    }
}

impl Taken {
    /// Closes the oldest connection, of those that may be, that has sent no call, or else the oldest on which nobody has shown
    /// who he is; `false` where there is none.
    fn make_room(&mut self, may_be: impl Fn(&Held) -> bool) -> bool {
        let oldest = |level: Level| {
            let of_level = |held: &Held| may_be(held) && held.standing.level() == level;
            let found = self.by_number.iter().find(|(_, held)| of_level(held));
            found.map(|(number, _)| *number)
        };
        let found = oldest(Level::Silent).or_else(|| oldest(Level::Strange));
        let Some(held) = found.and_then(|number| self.give_back(number)) else { return false };
        tracing::debug!(from = ?held.from, "too many connections: that of a stranger was closed");
        held.standing.close();
        true
    }

    /// Frees a place, unless that has happened.
    fn give_back(&mut self, number: u64) -> Option<Held> {
        let held = self.by_number.remove(&number)?;
        if let Some(from) = held.from
            && let Entry::Occupied(mut count) = self.by_address.entry(from)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        Some(held)
    }
}

/// Where connections are counted: an address, or the network of one; `None` for this machine, where a proxy may stand that
/// everybody comes through.
fn origin(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    if address.is_loopback() {
        return None;
    }
    match address {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Some(IpAddr::V6(Ipv6Addr::from(network)))
        }
        IpAddr::V4(_) => Some(address),
    }
}

/// One place, given back when it is dropped.
struct Place {
    places: Arc<Places>,
    number: u64,
    standing: Standing,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().give_back(self.number);
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

    /// A place of somebody who is known.
    fn known(places: &Arc<Places>, address: &str) -> Option<Place> {
        let place = places.take(ip(address));
        place.inspect(|place| place.standing.is_known())
    }

    #[test]
    fn places_are_counted_by_address_and_given_back() {
        let places = places(5, 2);
        let (a, b) = (known(&places, "192.0.2.1"), known(&places, "::ffff:192.0.2.1"));
        assert!(a.is_some() && b.is_some());
        assert!(places.take(ip("192.0.2.1")).is_none());
        let c = known(&places, "192.0.2.2");
        assert!(c.is_some());
        drop(a);
        assert!(places.take(ip("192.0.2.1")).is_some());
        drop((b, c));
        let taken = places.taken();
        assert!(taken.by_address.is_empty() && taken.by_number.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_this_machine_is_not_counted() {
        let places = places(4, 1);
        let a = known(&places, "2001:db8::1");
        assert!(a.is_some() && places.take(ip("2001:db8::ffff:2")).is_none());
        let other = known(&places, "2001:db8:0:1::1");
        assert!(other.is_some());
        let here = [known(&places, "127.0.0.1"), known(&places, "::1")];
        assert!(here.iter().all(Option::is_some));
        assert!(places.take(ip("127.0.0.1")).is_none(), "the total holds for all");
    }

    #[test]
    fn strangers_make_room_the_silent_first_and_who_is_known_never() {
        let places = places(3, 2);
        let closed = |place: &Option<Place>| {
            let place = place.as_ref().expect("a place");
            futures::FutureExt::now_or_never(place.standing.closed()).is_some()
        };
        let strange = places.take(ip("127.0.0.1"));
        strange.as_ref().expect("a place").standing.calls();
        let silent = places.take(ip("127.0.0.1"));
        let friend = known(&places, "127.0.0.1");
        let second = known(&places, "127.0.0.1");
        assert!(closed(&silent) && !closed(&strange) && !closed(&friend));
        drop(silent);
        let third = known(&places, "127.0.0.1");
        assert!(closed(&strange) && !closed(&friend) && !closed(&second) && !closed(&third));
        assert!(places.take(ip("127.0.0.1")).is_none(), "nobody is a stranger");
        drop((strange, friend, second, third));
        // From one address, one of the same address makes room.
        let other = places.take(ip("192.0.2.9"));
        let own = [places.take(ip("192.0.2.1")), known(&places, "192.0.2.1")];
        let next = known(&places, "192.0.2.1");
        assert!(next.is_some() && closed(&own[0]) && !closed(&other) && !closed(&own[1]));
        drop((other, own, next));
        assert!(places.taken().by_number.is_empty() && places.taken().by_address.is_empty());
    }
}
