//! The database's end of an encoder: one that it runs itself, or one on another host.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::child::{State, open, supervise};
use super::client::{self, Inputs, ModelList};
use super::{BatchOptions, Encoded, EncoderError, ModelInfo};

/// Calls of the protocol that one request has under way at once: one is decoded while another is computed.
const CALLS_AT_ONCE: usize = 2;

/// First and longest pause before a full queue is tried again.
const OVERLOAD_PAUSE: (Duration, Duration) =
    (Duration::from_millis(20), Duration::from_millis(500));

/// How an encoder process is run.
#[derive(Debug, Clone)]
pub struct EncoderOptions {
    /// The program `sidereus-encoder`.
    pub program: PathBuf,
    /// The operator's directory of models.
    pub models_dir: PathBuf,
    /// Threads that a network computes with.
    pub threads: usize,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// `f32`, `bf16` or `f16`.
    pub precision: String,
    /// Sizes of its queue and batches; the queue is given room for one call of the protocol at least.
    pub batch: BatchOptions,
    /// How long it may take to load its models.
    pub start_timeout: Duration,
    /// How long one call may take; a request of many inputs is several calls.
    pub call_timeout: Duration,
    /// How long a full queue is tried again before the caller hears of it.
    pub overload_wait: Duration,
    /// Pause before the first restart; each further one doubles it.
    pub backoff_min: Duration,
    /// Longest pause before a restart.
    pub backoff_max: Duration,
}

impl EncoderOptions {
    /// One thread for each processor, the best device, and limits that suit a desktop and a server.
    pub fn new(program: PathBuf, models_dir: PathBuf) -> Self {
        Self {
            program,
            models_dir,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            device: "auto".to_owned(),
            precision: "f32".to_owned(),
            batch: BatchOptions::default(),
            start_timeout: Duration::from_mins(1),
            call_timeout: Duration::from_mins(1),
            overload_wait: Duration::from_secs(10),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
        }
    }
}

/// A cheap, cloneable connection to an encoder. When the last clone is gone, a process that it started ends.
#[derive(Debug, Clone)]
pub struct EncoderHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    states: watch::Receiver<State>,
    stop: CancellationToken,
    supervisor: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    start_timeout: Duration,
    call_timeout: Duration,
    overload_wait: Duration,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl EncoderHandle {
    /// Starts an encoder process and keeps it running: one that dies is started again after a pause that doubles up to
    /// a limit. Returns at once; calls wait for the first start. A program that is missing or broken is not an error
    /// here: the calls say so (ENC-3).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn(options: EncoderOptions) -> Self {
        let (sender, states) = watch::channel(State::Starting);
        let stop = CancellationToken::new();
        let (start_timeout, call_timeout) = (options.start_timeout, options.call_timeout);
        let overload_wait = options.overload_wait;
        let supervisor = tokio::spawn(supervise(options, sender, stop.clone()));
        let supervisor = tokio::sync::Mutex::new(Some(supervisor));
        let inner = Inner { states, stop, supervisor, start_timeout, call_timeout, overload_wait };
        Self { inner: Arc::new(inner) }
    }

    /// Uses an encoder that somebody else runs, for example on a host with a GPU: `host:port` or `http://host:port`.
    /// The connection is made at the first call, and again whenever it breaks.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(address: &str, call_timeout: Duration) -> Result<Self, EncoderError> {
        let bad = || EncoderError::BadAddress { address: address.to_owned() };
        let has_port = address
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.trim_end_matches('/').parse::<u16>().is_ok());
        if !has_port {
            return Err(bad());
        }
        let channel = open(address).map_err(|_| bad())?;
        let (_, states) = watch::channel(State::Ready { channel, pid: None });
        let inner = Inner {
            states,
            stop: CancellationToken::new(),
            supervisor: tokio::sync::Mutex::new(None),
            start_timeout: Duration::ZERO,
            call_timeout,
            overload_wait: call_timeout,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The models that are served, sorted by id.
    pub async fn models(&self) -> Result<Vec<ModelInfo>, EncoderError> {
        Ok(self.model_list().await?.models)
    }

    /// The models that are served, and the folders that could not be.
    pub async fn model_list(&self) -> Result<ModelList, EncoderError> {
        client::list_models(self.channel().await?, self.inner.call_timeout).await
    }

    /// The model of an id.
    pub async fn model(&self, id: &str) -> Result<ModelInfo, EncoderError> {
        let ModelList { models, broken } = self.model_list().await?;
        let ids: Vec<_> = models.iter().map(|model| format!("`{}`", model.id)).collect();
        let ids = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
        models.into_iter().find(|model| model.id == id).ok_or_else(|| {
            let broken = broken.into_iter().find(|(name, _)| name == id);
            let reason = match broken {
                Some((_, why)) => format!("model `{id}` cannot be served: {why}"),
                None => format!("no model `{id}`; the encoder serves {ids}"),
            };
            EncoderError::UnknownModel { reason }
        })
    }

    /// Encodes inputs with a model, in their order, into one of its outputs (the first one for an empty `pooling`). What
    /// is wrong with one input is in its own result.
    ///
    /// # Errors
    /// [`EncoderError::is_retryable`] ones while the process is down or has too much to do.
    pub async fn encode(
        &self,
        model: &str,
        pooling: &str,
        inputs: Inputs,
    ) -> Result<Encoded, EncoderError> {
        let channel = self.channel().await?;
        let mut calls = client::calls(inputs);
        if calls.is_empty() {
            // Asked all the same, for the provenance.
            calls.push(Inputs::Payloads(Vec::new()));
        }
        let replies =
            calls.into_iter().map(|call| self.call(channel.clone(), model, pooling, call));
        let mut replies = futures::stream::iter(replies).buffered(CALLS_AT_ONCE);
        let mut whole: Option<Encoded> = None;
        while let Some(reply) = replies.next().await {
            let reply = reply?;
            match &mut whole {
                None => whole = Some(reply),
                Some(whole) if whole.provenance == reply.provenance => {
                    whole.results.extend(reply.results)
                }
                Some(_) => {
                    let reason = format!("model `{model}` was exchanged during the request");
                    return Err(EncoderError::Unavailable { reason });
                }
            }
        }
        whole.ok_or_else(|| EncoderError::BadReply { reason: "there is none".to_owned() })
    }

    /// Whether the encoder answers.
    pub async fn health(&self) -> Result<(), EncoderError> {
        self.model_list().await.map(|_| ())
    }

    /// Number of the process that this handle started, while it serves.
    pub fn pid(&self) -> Option<u32> {
        match &*self.inner.states.borrow() {
            State::Ready { pid, .. } => *pid,
            State::Starting | State::Down { .. } => None,
        }
    }

    /// Stops the process that this handle started and waits for its end. Later calls get
    /// [`EncoderError::Unavailable`].
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        let supervisor = self.inner.supervisor.lock().await.take();
        if let Some(supervisor) = supervisor {
            let _ended = supervisor.await;
        }
    }

    /// One call of the protocol; a full queue is tried again for a while.
    async fn call(
        &self,
        channel: Channel,
        model: &str,
        pooling: &str,
        inputs: Inputs,
    ) -> Result<Encoded, EncoderError> {
        let began = Instant::now();
        let (mut pause, longest) = OVERLOAD_PAUSE;
        loop {
            let reply = client::encode(
                channel.clone(),
                model.to_owned(),
                pooling.to_owned(),
                inputs.clone(),
                self.inner.call_timeout,
            )
            .await;
            let full = matches!(reply, Err(EncoderError::Overloaded { .. }));
            if !full || began.elapsed() + pause > self.inner.overload_wait {
                return reply;
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(longest);
        }
    }

    /// The connection, once the first start is over.
    async fn channel(&self) -> Result<Channel, EncoderError> {
        let unavailable = |reason: &str| EncoderError::Unavailable { reason: reason.to_owned() };
        let mut states = self.inner.states.clone();
        let settled = states.wait_for(|state| !matches!(state, State::Starting));
        match tokio::time::timeout(self.inner.start_timeout, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Ready { channel, .. } => Ok(channel.clone()),
                State::Down { reason } => Err(unavailable(reason)),
                State::Starting => Err(unavailable("it is starting")),
            },
            Ok(Err(_)) => Err(unavailable("nobody watches it any more")),
            Err(_) => Err(unavailable("it is still starting")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_is_not_there_is_said_in_the_call_and_can_be_retried() {
        let options =
            EncoderOptions::new("/nowhere/sidereus-encoder".into(), "/nowhere/models".into());
        let handle = EncoderHandle::spawn(options);
        let error = handle.models().await.expect_err("must fail");
        assert!(error.is_retryable(), "{error}");
        assert!(error.to_string().contains("cannot start /nowhere/sidereus-encoder"), "{error}");
        assert_eq!(handle.pid(), None);
        handle.shutdown().await;
        let error =
            handle.encode("m", "", Inputs::Payloads(Vec::new())).await.expect_err("must fail");
        assert!(error.to_string().contains("it has been stopped"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_ends_at_once_is_said_with_its_status() {
        let handle =
            EncoderHandle::spawn(EncoderOptions::new("/bin/false".into(), "/nowhere".into()));
        let error = handle.health().await.expect_err("must fail");
        assert!(error.to_string().contains("ended before it served (exit status: 1)"), "{error}");
    }

    #[tokio::test]
    async fn addresses_are_checked_and_an_absent_host_is_unavailable() {
        for bad in ["", "localhost", "localhost:port", "not an address:1", "http://:x"] {
            let error = EncoderHandle::connect(bad, Duration::from_secs(1)).expect_err(bad);
            assert!(matches!(error, EncoderError::BadAddress { .. }), "{error}");
        }
        // A port that was just free has no listener.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .expect("a port");
        for address in [port.to_string(), format!("http://{port}")] {
            let handle =
                EncoderHandle::connect(&address, Duration::from_secs(5)).expect("an address");
            let error = handle.models().await.expect_err("must fail");
            assert!(matches!(error, EncoderError::Unavailable { .. }), "{error}");
        }
    }
}
