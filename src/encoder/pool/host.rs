//! One host: the connection to it, how much it has to do, and whether it answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::super::child::State;
use super::super::client::{self, ModelList};
use super::models::{find, same_weights};
use super::{EncoderError, Patience};
use crate::schema::Provenance;

/// An encoder that can be asked.
#[derive(Debug)]
pub(in crate::encoder) struct Host {
    name: String,
    states: watch::Receiver<State>,
    busy: AtomicUsize,
    condition: Mutex<Condition>,
    doubt: Notify,
}

/// What is known of a host.
#[derive(Debug, Default)]
struct Condition {
    /// What it said last that it serves.
    models: Option<Arc<ModelList>>,
    /// Why it is left out, while it is.
    down: Option<String>,
    /// Questions without an answer, one after the other.
    misses: u32,
}

/// A call under way at a host; over when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    host: Arc<Host>,
}

impl Turn {
    pub(super) fn host(&self) -> &Host {
        &self.host
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.host.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Host {
    /// A host by its name for messages, and whatever tells how it can be reached.
    pub(in crate::encoder) fn new(name: String, states: watch::Receiver<State>) -> Self {
        let condition = Mutex::default();
        Self { name, states, busy: AtomicUsize::new(0), condition, doubt: Notify::new() }
    }

    /// Its name for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Calls under way.
    pub(super) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Begins a call.
    pub(super) fn turn(host: &Arc<Self>) -> Turn {
        host.busy.fetch_add(1, Ordering::Relaxed);
        Turn { host: Arc::clone(host) }
    }

    /// Number of the process, when it is our own and serves.
    pub(in crate::encoder) fn pid(&self) -> Option<u32> {
        match &*self.states.borrow() {
            State::Ready { pid, .. } => *pid,
            State::Starting | State::Down { .. } => None,
        }
    }

    /// Whether it is asked.
    pub(super) fn is_up(&self) -> bool {
        self.condition().down.is_none()
    }

    /// What it serves, while it is there.
    pub(super) fn models(&self) -> Option<Arc<ModelList>> {
        let condition = self.condition();
        if condition.down.is_some() { None } else { condition.models.clone() }
    }

    /// Whether what it gave comes from the weights that it said it has.
    pub(super) fn serves(&self, model: &str, given: &Provenance) -> bool {
        let condition = self.condition();
        let listed = condition.models.as_ref().and_then(|list| find(list, model));
        listed.is_some_and(|listed| same_weights(&listed.provenance, given))
    }

    /// Its name, and why it is left out.
    pub(super) fn why_not(&self) -> String {
        let condition = self.condition();
        let reason = condition.down.as_deref().unwrap_or("it has not answered yet");
        format!("{}: {reason}", self.name)
    }

    /// Leaves it out until it answers a question, which it is asked soon.
    pub(super) fn doubt(&self, reason: &str) {
        self.condition().down = Some(reason.to_owned());
        self.doubt.notify_one();
    }

    /// What it said that it serves is no longer true.
    pub(super) fn forget(&self) {
        self.condition().models = None;
    }

    /// Asks what it serves.
    pub(super) async fn list(
        &self,
        patience: &Patience,
        within: Duration,
    ) -> Result<ModelList, EncoderError> {
        client::list_models(self.channel(patience, Duration::MAX).await?, within).await
    }

    /// Asks what it serves, and remembers the answer, or that there was none.
    pub(super) async fn ping(&self, patience: &Patience, within: Duration) {
        let answer = self.list(patience, within).await;
        let mut condition = self.condition();
        match answer {
            Ok(list) => {
                if condition.down.is_some() {
                    tracing::info!(host = self.name, "an encoder is back");
                }
                *condition = Condition { models: Some(Arc::new(list)), down: None, misses: 0 };
            }
            Err(error) => {
                condition.misses += 1;
                if condition.down.is_some() {
                    return;
                }
                if condition.models.is_none() || condition.misses >= patience.misses_max {
                    let reason = error.brief();
                    tracing::warn!(host = self.name, reason, "an encoder is left out");
                    condition.down = Some(reason);
                }
            }
        }
    }

    /// The connection, once a start or a restart under way is over, or `within` is.
    pub(super) async fn channel(
        &self,
        patience: &Patience,
        within: Duration,
    ) -> Result<Channel, EncoderError> {
        let mut states = self.states.clone();
        let wait = match &*states.borrow() {
            State::Starting => patience.start,
            State::Down { soon: true, .. } => patience.restart,
            State::Down { soon: false, .. } | State::Ready { .. } => Duration::ZERO,
        };
        let settled = states.wait_for(|state| {
            matches!(state, State::Ready { .. } | State::Down { soon: false, .. })
        });
        // Late or not: what counts is how it stands then.
        drop(tokio::time::timeout(wait.min(within), settled).await);
        let reason = match &*self.states.borrow() {
            State::Ready { channel, .. } => return Ok(channel.clone()),
            State::Down { reason, .. } => reason.clone(),
            State::Starting => "it is still starting".to_owned(),
        };
        Err(EncoderError::Unavailable { reason })
    }

    fn condition(&self) -> MutexGuard<'_, Condition> {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a host again and again whether it is there, until `stop`.
pub(super) async fn watch(host: Arc<Host>, patience: Patience, stop: CancellationToken) {
    let mut retry = patience.retry_min;
    loop {
        host.ping(&patience, patience.ping).await;
        let pause = if host.is_up() {
            retry = patience.retry_min;
            patience.ping_every
        } else {
            let pause = retry;
            retry = (2 * retry).min(patience.ping_every);
            pause
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = host.doubt.notified() => {}
            () = stop.cancelled() => return,
        }
    }
}
