//! The bounded queue and its one thread, which owns the networks and fills their batches.
//!
//! Rows of one model, output and layout that arrive within a short wait are computed together. A caller first
//! [reserves](Batcher::reserve) places for its rows, before it decodes them: what is decoded and waiting is bounded, and
//! a queue without room says so at once. A caller that has gone is not computed for. Networks share a memory budget:
//! the one that was not asked for longest makes room, and is loaded again when it is asked for.

mod metrics;
mod residents;
mod runner;

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{Features, Made, ModelOutput, Network};
use metrics::Counters;
pub use metrics::{BATCH_SIZE_BUCKETS, BatchMetrics};
use runner::Runner;

/// Sizes of the queue, of its batches, and of the memory for networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// Most rows of one batch.
    pub rows_max: usize,
    /// How long the first row of a batch waits for company.
    pub wait: Duration,
    /// Most rows that are decoded, waiting or being computed.
    pub queue_rows_max: usize,
    /// Most bytes of weights in memory; one network is kept whatever its size.
    pub memory_max: u64,
    /// Every row is computed on its own: what comes of it never depends, not in its last bit, on what came beside it.
    pub deterministic: bool,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            rows_max: 32,
            wait: Duration::from_millis(2),
            queue_rows_max: 256,
            memory_max: u64::MAX,
            deterministic: false,
        }
    }
}

/// The queue has no room for a request's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the queue of {limit} rows has no room for {rows} more")]
pub struct QueueFull {
    /// Rows of the request.
    pub rows: usize,
    /// Rows that the queue holds.
    pub limit: usize,
}

/// The thread of the networks has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the encoder is stopping")]
pub struct Stopped;

/// Brings a network into memory.
pub type LoadNetwork = Box<dyn Fn() -> Result<Box<dyn Network>, String> + Send>;

/// A network that the queue may use.
pub struct BatchedNetwork {
    /// What computes, where it is in memory already.
    pub network: Option<Box<dyn Network>>,
    /// How it is brought there otherwise.
    pub load: LoadNetwork,
    /// Bytes of its weights.
    pub bytes: u64,
    /// What it can make.
    pub outputs: Vec<ModelOutput>,
}

/// Room for the rows of one request; given back when dropped.
#[derive(Debug)]
pub struct Place {
    _room: OwnedSemaphorePermit,
}

/// Feeds the thread. Clones feed the same one; it ends when the last of them is gone.
#[derive(Debug, Clone)]
pub struct Batcher {
    jobs: SyncSender<Job>,
    room: Arc<Semaphore>,
    counters: Arc<Counters>,
    options: BatchOptions,
}

/// What was made of each row, in order, or what is wrong with it.
pub type Answer = Result<Vec<Result<Made, String>>, Stopped>;

#[derive(Debug)]
struct Job {
    network: usize,
    output: usize,
    rows: Vec<Features>,
    arrived: Instant,
    answer: oneshot::Sender<Answer>,
    place: Place,
}

impl Batcher {
    /// Starts the thread; the second value resolves when it has ended, which it does only after the last `Batcher` is
    /// gone or because of a fault.
    pub fn start(
        networks: Vec<BatchedNetwork>,
        options: BatchOptions,
    ) -> std::io::Result<(Self, oneshot::Receiver<()>)> {
        // Every job holds at least one place, so the channel never blocks a sender.
        let (jobs, queue) = sync_channel(options.queue_rows_max.max(1));
        let (ended, end) = oneshot::channel();
        let counters = Arc::new(Counters::default());
        let counted = Arc::clone(&counters);
        std::thread::Builder::new().name("networks".to_owned()).spawn(move || {
            // Dropped on return and on unwinding alike, which resolves the receiver.
            let _ended = ended;
            Runner::new(networks, options, counted).run(&queue);
        })?;
        let room = Arc::new(Semaphore::new(options.queue_rows_max));
        Ok((Self { jobs, room, counters, options }, end))
    }

    /// The sizes it runs with.
    pub fn options(&self) -> BatchOptions {
        self.options
    }

    /// What it has done so far.
    pub fn metrics(&self) -> BatchMetrics {
        let queued = self.options.queue_rows_max.saturating_sub(self.room.available_permits());
        self.counters.read(queued as u64)
    }

    /// Takes room for `rows` rows, or says at once that there is none.
    pub fn reserve(&self, rows: usize) -> Result<Place, QueueFull> {
        let full = QueueFull { rows, limit: self.options.queue_rows_max };
        let count = u32::try_from(rows).map_err(|_| full)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(count).map_err(|_| full)?;
        Ok(Place { _room: room })
    }

    /// Computes an output of a network for rows of features, in their order.
    pub async fn run(
        &self,
        place: Place,
        network: usize,
        output: usize,
        rows: Vec<Features>,
    ) -> Answer {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, reply) = oneshot::channel();
        let job = Job { network, output, rows, arrived: Instant::now(), answer, place };
        self.jobs.try_send(job).map_err(|_| Stopped)?;
        reply.await.unwrap_or(Err(Stopped))
    }
}

#[cfg(test)]
mod tests;
