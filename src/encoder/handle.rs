//! The database's end of an encoder: one that it runs itself, or some on other hosts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::child::{State, open, supervise};
use super::client::{Inputs, ModelList};
use super::pool::{Host, Patience, Pool, unknown};
use super::train::Source;
use super::{
    BatchOptions, ChunkSource, Encoded, EncoderError, ModelInfo, SandboxMode, TrainError,
    TrainSpec, TrainStep, Trained,
};
use crate::learn::LearnError;
use crate::wire::v1;

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
    /// Whether it runs only when nothing else wants the processor.
    pub gives_way: bool,
    /// `f32`, `bf16` or `f16`.
    pub precision: String,
    /// Whether it goes behind walls before it reads a model.
    pub sandbox: SandboxMode,
    /// Most MiB of memory for its data; none for no limit.
    pub process_mib: Option<u64>,
    /// Sizes of its queue and batches; the queue is given room for one call of the protocol at least.
    pub batch: BatchOptions,
    /// How long it may take to load its models.
    pub start_timeout: Duration,
    /// How long a call waits for a process that has died to be back, before its caller hears of it.
    pub restart_wait: Duration,
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
            gives_way: true,
            precision: "f32".to_owned(),
            sandbox: SandboxMode::Auto,
            process_mib: None,
            batch: BatchOptions::default(),
            start_timeout: Duration::from_mins(1),
            restart_wait: Duration::from_secs(5),
            call_timeout: Duration::from_mins(1),
            overload_wait: Duration::from_secs(10),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
        }
    }
}

/// How encoders of other hosts are used.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// How long one call may take, and how long a full queue is tried again before the caller hears of it.
    pub call_timeout: Duration,
    /// How often each of several hosts is asked whether it is there.
    pub ping_every: Duration,
    /// How long it may take to say so.
    pub ping_within: Duration,
    /// Such questions without an answer, one after the other, after which a host is left out.
    pub misses_max: u32,
    /// Pause before a host that is left out is asked again; each further one doubles it, up to `ping_every`.
    pub retry_min: Duration,
}

impl HostOptions {
    /// Limits that suit a local network.
    pub fn new(call_timeout: Duration) -> Self {
        Self {
            call_timeout,
            ping_every: Duration::from_secs(5),
            ping_within: Duration::from_secs(10),
            misses_max: 3,
            retry_min: Duration::from_millis(500),
        }
    }

    fn patience(&self) -> Patience {
        Patience {
            start: Duration::ZERO,
            restart: Duration::ZERO,
            call: self.call_timeout,
            overload: self.call_timeout,
            ping_every: self.ping_every,
            ping: self.ping_within,
            misses_max: self.misses_max,
            retry_min: self.retry_min,
        }
    }
}

/// A cheap, cloneable connection to encoders. When the last clone is gone, a process that it started ends.
#[derive(Debug, Clone)]
pub struct EncoderHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: Pool,
    stop: CancellationToken,
    supervisor: tokio::sync::Mutex<Option<JoinHandle<()>>>,
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
        let patience = Patience {
            start: options.start_timeout,
            restart: options.restart_wait,
            overload: options.overload_wait,
            ..HostOptions::new(options.call_timeout).patience()
        };
        let host = Host::new(options.program.display().to_string(), states);
        let supervisor = tokio::spawn(supervise(options, sender, stop.clone()));
        Self::over(Pool::new(vec![host], patience, &stop), stop, Some(supervisor))
    }

    /// Uses an encoder that somebody else runs, for example on a host with a GPU: `host:port` or `http://host:port`.
    /// The connection is made at the first call, and again whenever it breaks.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(address: &str, call_timeout: Duration) -> Result<Self, EncoderError> {
        Self::connect_all(&[address], &HostOptions::new(call_timeout))
    }

    /// Uses encoders that somebody else runs, as one. Calls go to the host with the fewest calls under way; one that does
    /// not answer is left out until it does, and its calls go to the others. A model is used on the hosts that serve it
    /// with the same weights as the first of them.
    ///
    /// # Errors
    /// [`EncoderError::BadAddress`], also when there is none.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect_all(
        addresses: &[impl AsRef<str>],
        options: &HostOptions,
    ) -> Result<Self, EncoderError> {
        if addresses.is_empty() {
            return Err(EncoderError::BadAddress { address: String::new() });
        }
        let hosts = addresses.iter().map(|address| host(address.as_ref()));
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
        let stop = CancellationToken::new();
        Ok(Self::over(Pool::new(hosts, options.patience(), &stop), stop, None))
    }

    fn over(pool: Pool, stop: CancellationToken, supervisor: Option<JoinHandle<()>>) -> Self {
        let supervisor = tokio::sync::Mutex::new(supervisor);
        Self { inner: Arc::new(Inner { pool, stop, supervisor }) }
    }

    /// The models that are served, sorted by id.
    pub async fn models(&self) -> Result<Vec<ModelInfo>, EncoderError> {
        Ok(self.model_list().await?.models)
    }

    /// The models that are served, and those that cannot be, or not by every host.
    pub async fn model_list(&self) -> Result<ModelList, EncoderError> {
        self.inner.pool.list().await
    }

    /// The model of an id.
    pub async fn model(&self, id: &str) -> Result<ModelInfo, EncoderError> {
        let mut list = self.model_list().await?;
        let place = list.models.iter().position(|model| model.id == id);
        match place {
            Some(place) => Ok(list.models.swap_remove(place)),
            None => Err(unknown(list, id)),
        }
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
        inputs: impl Into<Inputs>,
    ) -> Result<Encoded, EncoderError> {
        self.encode_within(Duration::MAX, model, pooling, inputs).await
    }

    /// The same for a caller who waits no longer than `within`: the encoder hears of it, and computes nothing for a caller
    /// who has gone.
    ///
    /// # Errors
    /// Those of [`Self::encode`], and [`EncoderError::DeadlineExceeded`].
    pub async fn encode_within(
        &self,
        within: Duration,
        model: &str,
        pooling: &str,
        inputs: impl Into<Inputs>,
    ) -> Result<Encoded, EncoderError> {
        self.inner.pool.encode(model, pooling, inputs.into(), within).await
    }

    /// Trains a small head, or two towers, on the chunks of a source, which is asked on threads that may block. `progress`
    /// hears of every chunk and of every epoch's end; an error of it ends the training, as dropping the future does.
    ///
    /// One head is trained at a time; others wait for their turn.
    ///
    /// # Errors
    /// [`TrainError::Encoder`], retryable ones while the encoder is down, when it dies on the way (what was learned is lost
    /// with it), or when too many trainings wait; [`TrainError::Learn`] from the source and from `progress`.
    pub async fn train(
        &self,
        spec: TrainSpec,
        source: impl ChunkSource + 'static,
        mut progress: impl FnMut(&TrainStep) -> Result<(), LearnError> + Send,
    ) -> Result<Trained, TrainError> {
        let source = Source::Elsewhere(Some(Box::new(source)));
        self.inner.pool.train(&spec, source, &mut progress).await
    }

    /// The same on a thread that may block, such as one of `spawn_blocking`: source and `progress` are called there and may
    /// borrow. `runtime` is the one in which this handle was made.
    ///
    /// # Errors
    /// Those of [`Self::train`].
    ///
    /// # Panics
    /// On a thread of the runtime that must not block.
    pub fn train_blocking(
        &self,
        runtime: &tokio::runtime::Handle,
        spec: &TrainSpec,
        source: &mut dyn ChunkSource,
        progress: &mut (dyn FnMut(&TrainStep) -> Result<(), LearnError> + Send),
    ) -> Result<Trained, TrainError> {
        runtime.block_on(self.inner.pool.train(spec, Source::Here(source), progress))
    }

    /// Whether the encoder answers.
    pub async fn health(&self) -> Result<(), EncoderError> {
        self.model_list().await.map(|_| ())
    }

    /// Number of the process that this handle started, while it serves.
    pub fn pid(&self) -> Option<u32> {
        self.inner.pool.first().and_then(Host::pid)
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
}

/// A host by its address; the connection is made when it is first used.
fn host(address: &str) -> Result<Host, EncoderError> {
    let bad = || EncoderError::BadAddress { address: address.to_owned() };
    let has_port = address
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.trim_end_matches('/').parse::<u16>().is_ok());
    if !has_port {
        return Err(bad());
    }
    let channel = open(address).map_err(|_| bad())?;
    let (_, states) = watch::channel(State::Ready { channel, pid: None });
    Ok(Host::new(address.to_owned(), states))
}

impl From<Vec<v1::Payload>> for Inputs {
    fn from(payloads: Vec<v1::Payload>) -> Self {
        Self::Payloads(payloads)
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
