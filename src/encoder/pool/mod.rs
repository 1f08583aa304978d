//! Who computes a call: the process of our own, or one of the hosts that the operator named.
//!
//! Of several hosts, the one with the fewest calls under way is asked. One that cannot be reached is left out until it
//! answers again, and its call goes to another. All hosts that are asked for a model serve it with the same weights: the
//! first host in the operator's order decides which.

mod host;
mod models;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::client::{self, Inputs, ModelList};
use super::train::{self, Session, Source};
use super::{Encoded, EncoderError, TrainError, TrainSpec, TrainStep, Trained};
use crate::learn::LearnError;
use host::Turn;
use models::{agree, find, merged};

pub(super) use host::Host;
pub(super) use models::unknown;

/// Calls of the protocol that one request has under way at once for each host: one is decoded while another is computed.
const CALLS_AT_ONCE: usize = 2;

/// First and longest pause before a full queue is tried again.
const OVERLOAD_PAUSE: (Duration, Duration) =
    (Duration::from_millis(20), Duration::from_millis(500));

/// How long things may take.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// The first start of a process of our own.
    pub(super) start: Duration,
    /// The restart of one that has served.
    pub(super) restart: Duration,
    /// One call.
    pub(super) call: Duration,
    /// Trying a full queue again.
    pub(super) overload: Duration,
    /// Between questions whether a host is there.
    pub(super) ping_every: Duration,
    /// The answer to such a question.
    pub(super) ping: Duration,
    /// Such questions without an answer before a host is left out.
    pub(super) misses_max: u32,
    /// Before a host that is left out is asked again; each further time it doubles, up to `ping_every`.
    pub(super) retry_min: Duration,
}

/// The hosts, in the operator's order.
#[derive(Debug)]
pub(super) struct Pool {
    hosts: Vec<Arc<Host>>,
    next: AtomicUsize,
    patience: Patience,
    /// What was last logged of models that not every host serves.
    told: Mutex<Vec<(String, String)>>,
}

/// A request, without its inputs.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    model: &'a str,
    pooling: &'a str,
    began: Instant,
    allowed: Duration,
}

impl Wanted<'_> {
    /// Time until nobody waits for the answer any more.
    fn left(&self) -> Result<Duration, EncoderError> {
        match self.allowed.saturating_sub(self.began.elapsed()) {
            Duration::ZERO => Err(EncoderError::DeadlineExceeded { after: self.allowed }),
            left => Ok(left),
        }
    }
}

impl Pool {
    /// Several hosts are watched until `stop`; a single one is asked whenever there is a call.
    pub(super) fn new(hosts: Vec<Host>, patience: Patience, stop: &CancellationToken) -> Self {
        let hosts: Vec<_> = hosts.into_iter().map(Arc::new).collect();
        if hosts.len() > 1 {
            for host in &hosts {
                tokio::spawn(host::watch(Arc::clone(host), patience.clone(), stop.clone()));
            }
        }
        Self { hosts, next: AtomicUsize::new(0), patience, told: Mutex::default() }
    }

    /// The first host.
    pub(super) fn first(&self) -> Option<&Host> {
        self.hosts.first().map(AsRef::as_ref)
    }

    /// The models of all hosts, and what cannot be served, with the reason.
    pub(super) async fn list(&self) -> Result<ModelList, EncoderError> {
        if let [host] = &self.hosts[..] {
            return host.list(&self.patience, self.patience.call).await;
        }
        self.prepare(true, self.patience.ping).await;
        let lists = self.lists();
        if lists.is_empty() {
            return Err(self.nobody());
        }
        let list = merged(&lists);
        self.tell(&list);
        Ok(list)
    }

    /// Encodes inputs, cut into calls, in their order.
    pub(super) async fn encode(
        &self,
        model: &str,
        pooling: &str,
        inputs: Inputs,
        allowed: Duration,
    ) -> Result<Encoded, EncoderError> {
        let wanted = Wanted { model, pooling, began: Instant::now(), allowed };
        let mut calls = client::calls(inputs, pooling);
        if calls.is_empty() {
            // Asked all the same, for the provenance.
            calls.push(Inputs::Payloads(Vec::new()));
        }
        let replies = calls.into_iter().map(|call| self.call(wanted, call));
        let mut replies =
            futures::stream::iter(replies).buffered(CALLS_AT_ONCE * self.hosts.len().max(1));
        let mut whole: Option<Encoded> = None;
        while let Some(reply) = replies.next().await {
            let reply = reply?;
            match &mut whole {
                None => whole = Some(reply),
                Some(whole) if whole.provenance == reply.provenance => {
                    whole.results.extend(reply.results);
                }
                Some(_) => {
                    let reason = format!("model `{model}` was exchanged during the request");
                    return Err(EncoderError::Unavailable { reason });
                }
            }
        }
        whole.ok_or_else(|| EncoderError::BadReply { reason: "there is none".to_owned() })
    }

    /// Trains a head at the host with the fewest calls under way.
    pub(super) async fn train(
        &self,
        spec: &TrainSpec,
        mut source: Source<'_>,
        progress: &mut (dyn FnMut(&TrainStep) -> Result<(), LearnError> + Send),
    ) -> Result<Trained, TrainError> {
        spec.check()?;
        let (turn, session) = self.begin(spec).await?;
        let outcome = train::train(session, spec, &mut source, progress).await;
        if let Err(TrainError::Encoder(EncoderError::Unavailable { reason })) = &outcome {
            turn.host().doubt(reason);
        }
        outcome
    }

    /// Begins a training. Where a host turns out to be gone nothing is lost yet: others are asked, and a process of our own is
    /// given the time of a restart.
    async fn begin(&self, spec: &TrainSpec) -> Result<(Turn, Session), EncoderError> {
        let began = Instant::now();
        let (mut pause, longest) = OVERLOAD_PAUSE;
        let mut asked = 0;
        loop {
            let turn = self.trainer().await?;
            let channel = turn.host().channel(&self.patience, Duration::MAX).await?;
            let reason = match Session::begin(channel, spec).await {
                Ok(session) => return Ok((turn, session)),
                Err(EncoderError::Unavailable { reason }) => reason,
                Err(error) => return Err(error),
            };
            turn.host().doubt(&reason);
            asked += 1;
            if asked < self.hosts.len() {
                continue;
            }
            if began.elapsed() + pause > self.patience.restart {
                return Err(EncoderError::Unavailable { reason });
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(longest);
        }
    }

    /// Any host trains: no model is needed.
    async fn trainer(&self) -> Result<Turn, EncoderError> {
        if let [host] = &self.hosts[..] {
            return Ok(Host::turn(host));
        }
        self.prepare(false, self.patience.ping).await;
        let up = self.hosts.iter().filter(|host| host.is_up());
        up.min_by_key(|host| host.busy()).map(Host::turn).ok_or_else(|| self.nobody())
    }

    /// One call of the protocol; full queues are tried again for a while.
    async fn call(&self, wanted: Wanted<'_>, inputs: Inputs) -> Result<Encoded, EncoderError> {
        let began = Instant::now();
        let (mut pause, longest) = OVERLOAD_PAUSE;
        loop {
            let reply = self.try_hosts(wanted, &inputs).await;
            let full = matches!(reply, Err(EncoderError::Overloaded { .. }));
            let late =
                began.elapsed() + pause > self.patience.overload || pause >= wanted.left()?;
            if !full || late {
                return reply;
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(longest);
        }
    }

    /// Asks one host after the other until one does not say that it cannot now.
    async fn try_hosts(
        &self,
        wanted: Wanted<'_>,
        inputs: &Inputs,
    ) -> Result<Encoded, EncoderError> {
        if let [host] = &self.hosts[..] {
            return self.ask(&Host::turn(host), wanted, inputs).await;
        }
        self.prepare(false, self.patience.ping.min(wanted.left()?)).await;
        let mut tried = Vec::new();
        let mut failure = None;
        while let Some((place, turn)) = self.choose(wanted.model, &tried) {
            tried.push(place);
            let error = match self.ask(&turn, wanted, inputs).await {
                Ok(reply) if turn.host().serves(wanted.model, &reply.provenance) => {
                    return Ok(reply);
                }
                Ok(_) => {
                    turn.host().forget();
                    let reason = format!("its model `{}` has just been exchanged", wanted.model);
                    EncoderError::Unavailable { reason }
                }
                Err(error) => error,
            };
            match error {
                EncoderError::Unavailable { reason } => {
                    let reason = format!("{}: {reason}", turn.host().name());
                    tracing::warn!(%reason, "an encoder gave no answer; another one is asked");
                    failure = failure.or(Some(EncoderError::Unavailable { reason }));
                }
                // Said rather than that another host is away: it is a matter of moments.
                EncoderError::Overloaded { .. } => failure = Some(error),
                EncoderError::UnknownModel { .. } => {
                    turn.host().forget();
                    failure = failure.or(Some(error));
                }
                _ => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(|| {
            let lists = self.lists();
            if lists.is_empty() { self.nobody() } else { unknown(merged(&lists), wanted.model) }
        }))
    }

    async fn ask(
        &self,
        turn: &Turn,
        wanted: Wanted<'_>,
        inputs: &Inputs,
    ) -> Result<Encoded, EncoderError> {
        let channel = turn.host().channel(&self.patience, wanted.left()?).await?;
        let (model, pooling) = (wanted.model.to_owned(), wanted.pooling.to_owned());
        let within = self.patience.call.min(wanted.left()?);
        let reply = client::encode(channel, model, pooling, inputs.clone(), within).await;
        if let Err(EncoderError::Unavailable { reason }) = &reply {
            turn.host().doubt(reason);
        }
        reply
    }

    /// Of the hosts that serve a model as the first of them does, the one with the fewest calls under way.
    fn choose(&self, model: &str, tried: &[usize]) -> Option<(usize, Turn)> {
        let count = self.hosts.len();
        let start = self.next.fetch_add(1, Ordering::Relaxed) % count.max(1);
        let serving: Vec<_> = self
            .hosts
            .iter()
            .enumerate()
            .filter_map(|(place, host)| Some((place, host, find(&*host.models()?, model)?.clone())))
            .collect();
        let (_, _, decides) = serving.first()?;
        let (place, host, _) = serving
            .iter()
            .filter(|(place, _, served)| !tried.contains(place) && agree(served, decides))
            .min_by_key(|(place, host, _)| (host.busy(), (place + count - start) % count))?;
        Some((*place, Host::turn(host)))
    }

    /// Asks hosts what they serve: those that have not said it yet, or all that are there; and when none is there, the
    /// others too, for one may have come back.
    async fn prepare(&self, anew: bool, within: Duration) {
        let first: Vec<bool> = self
            .hosts
            .iter()
            .map(|host| host.is_up() && (anew || host.models().is_none()))
            .collect();
        let chosen = |asked: bool| {
            let hosts = self.hosts.iter().zip(&first).filter(move |(_, first)| **first == asked);
            join_all(hosts.map(|(host, _)| host.ping(&self.patience, within)))
        };
        chosen(true).await;
        if !self.hosts.iter().any(|host| host.is_up()) {
            chosen(false).await;
        }
    }

    /// What the hosts that are there serve, in the operator's order.
    fn lists(&self) -> Vec<(&str, Arc<ModelList>)> {
        self.hosts.iter().filter_map(|host| Some((host.name(), host.models()?))).collect()
    }

    /// Logs what is not served everywhere, when it has changed.
    fn tell(&self, list: &ModelList) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != list.broken {
            for (model, reason) in &list.broken {
                tracing::warn!(%model, %reason, "a model is not served by every encoder");
            }
            told.clone_from(&list.broken);
        }
    }

    fn nobody(&self) -> EncoderError {
        let reasons: Vec<_> = self.hosts.iter().map(|host| host.why_not()).collect();
        EncoderError::Unavailable { reason: format!("no host answers: {}", reasons.join("; ")) }
    }
}

#[cfg(test)]
mod tests;
