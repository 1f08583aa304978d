//! How well the other end of a connection is known, and how long one is kept of whom nothing is known.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::ConnectionLimits;

/// Calls of one connection that may be refused before anybody has shown on it who he is; with one more it is closed.
const STRANGE_CALLS_MAX: u32 = 100;

/// How well the other end of a connection is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// It has sent no call yet.
    Silent,
    /// It has sent calls, and nobody has shown who he is.
    Strange,
    /// Somebody has shown who he is.
    Known,
}

/// How well the other end of a connection is known. Clones are of the same connection: its place, itself, and its calls.
#[derive(Debug, Clone)]
pub(in crate::service) struct Standing(Arc<State>);

#[derive(Debug)]
struct State {
    level: AtomicU8,
    refused: AtomicU32,
    /// When it last sent a call, or else when it was opened.
    heard: Mutex<Instant>,
    close: CancellationToken,
}

impl Default for Standing {
    fn default() -> Self {
        Self(Arc::new(State {
            level: AtomicU8::new(Level::Silent as u8),
            refused: AtomicU32::new(0),
            heard: Mutex::new(Instant::now()),
            close: CancellationToken::new(),
        }))
    }
}

impl Standing {
    pub(super) fn level(&self) -> Level {
        match self.0.level.load(Ordering::Acquire) {
            0 => Level::Silent,
            1 => Level::Strange,
            _ => Level::Known,
        }
    }

    /// A call has come.
    pub(in crate::service) fn calls(&self) {
        if self.level() < Level::Known {
            self.0.level.fetch_max(Level::Strange as u8, Ordering::AcqRel);
            self.heard();
        }
    }

    /// Somebody has shown who he is.
    pub(in crate::service) fn is_known(&self) {
        if self.level() < Level::Known {
            self.0.level.store(Level::Known as u8, Ordering::Release);
        }
    }

    /// A call of nobody was refused. Who goes on and on is not listened to any more.
    pub(in crate::service) fn was_refused(&self) {
        if self.level() < Level::Known
            && self.0.refused.fetch_add(1, Ordering::AcqRel) >= STRANGE_CALLS_MAX
        {
            self.close();
        }
    }

    /// Begins to count time anew.
    pub(super) fn heard(&self) {
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Has the connection closed, whatever goes on there.
    pub(super) fn close(&self) {
        self.0.close.cancel();
    }

    /// Waits until it should be closed.
    pub(super) async fn closed(&self) {
        self.0.close.cancelled().await;
    }

    /// When it is closed if nothing comes; `None` where it may be idle as long as it wants.
    fn due(&self, limits: &ConnectionLimits) -> Option<Instant> {
        let idle_max = match self.level() {
            Level::Silent => limits.first_call_max,
            Level::Strange => limits.stranger_idle_max,
            Level::Known => return None,
        };
        let heard = *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
        // A time that no clock reaches is none.
        heard.checked_add(idle_max)
    }
}

/// Tells when a connection must be closed.
pub(super) struct Watchdog {
    standing: Standing,
    limits: ConnectionLimits,
    timer: Pin<Box<Sleep>>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Watchdog {
    /// Of a connection that can be used from now on.
    pub(super) fn new(standing: Standing, limits: &ConnectionLimits) -> Self {
        standing.heard();
        let timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        let closed = Box::pin(standing.0.close.clone().cancelled_owned());
        Self { standing, limits: limits.clone(), timer, closed }
    }

    /// Ready with the reason as soon as it must be closed.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if self.standing.0.close.is_cancelled() || self.closed.as_mut().poll(context).is_ready() {
            return Poll::Ready(io::Error::from(io::ErrorKind::ConnectionAborted));
        }
        while let Some(due) = self.standing.due(&self.limits) {
            if due <= Instant::now() {
                return Poll::Ready(io::Error::from(io::ErrorKind::TimedOut));
            }
            self.timer.as_mut().reset(due.into());
            if self.timer.as_mut().poll(context).is_pending() {
                break;
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn limits() -> ConnectionLimits {
        ConnectionLimits {
            first_call_max: Duration::from_millis(80),
            stranger_idle_max: Duration::from_millis(200),
            ..ConnectionLimits::default()
        }
    }

    async fn end(watchdog: &mut Watchdog) -> Option<io::ErrorKind> {
        let closed = poll_fn(|context| watchdog.poll(context));
        tokio::time::timeout(Duration::from_secs(1), closed).await.ok().map(|error| error.kind())
    }

    #[tokio::test]
    async fn who_says_nothing_is_closed_early_a_stranger_later_and_who_is_known_never() {
        let began = Instant::now();
        let standing = Standing::default();
        let mut watchdog = Watchdog::new(standing.clone(), &limits());
        assert_eq!(end(&mut watchdog).await, Some(io::ErrorKind::TimedOut));
        assert!(began.elapsed() >= Duration::from_millis(80), "{:?}", began.elapsed());
        let (began, standing) = (Instant::now(), Standing::default());
        let mut watchdog = Watchdog::new(standing.clone(), &limits());
        standing.calls();
        assert_eq!(end(&mut watchdog).await, Some(io::ErrorKind::TimedOut));
        assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
        standing.is_known();
        assert_eq!(end(&mut watchdog).await, None);
        standing.close();
        assert_eq!(end(&mut watchdog).await, Some(io::ErrorKind::ConnectionAborted));
    }

    #[tokio::test]
    async fn nobody_is_listened_to_who_is_refused_all_the_time() {
        let (stranger, known) = (Standing::default(), Standing::default());
        for standing in [&stranger, &known] {
            standing.calls();
        }
        known.is_known();
        for _ in 0..STRANGE_CALLS_MAX {
            stranger.was_refused();
            known.was_refused();
        }
        assert!(!stranger.0.close.is_cancelled());
        stranger.was_refused();
        known.was_refused();
        assert!(stranger.0.close.is_cancelled() && !known.0.close.is_cancelled());
    }
}
