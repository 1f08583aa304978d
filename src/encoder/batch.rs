//! The bounded queue and its one thread, which owns the networks and fills their batches.
//!
//! Rows of one model that arrive within a short wait are computed together. A caller first [reserves](Batcher::reserve)
//! places for its rows, before it decodes them: what is decoded and waiting is bounded, and a queue without room says so
//! at once. A caller that has gone is not computed for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{Network, NetworkError};

/// Sizes of the queue and of its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// Most rows of one batch.
    pub rows_max: usize,
    /// How long the first row of a batch waits for company.
    pub wait: Duration,
    /// Most rows that are decoded, waiting or being computed.
    pub queue_rows_max: usize,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { rows_max: 32, wait: Duration::from_millis(2), queue_rows_max: 256 }
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

/// Why rows that were queued gave no vectors.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The network failed on their batch.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The thread has ended.
    #[error("the encoder is stopping")]
    Stopped,
}

/// A network and the lengths of its rows.
pub struct BatchedNetwork {
    /// What computes.
    pub network: Box<dyn Network>,
    /// Numbers in one row of features.
    pub feature_count: usize,
    /// Numbers in one vector.
    pub dimension: usize,
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
    options: BatchOptions,
}

type Answer = Result<Vec<Vec<f32>>, BatchError>;

#[derive(Debug)]
struct Job {
    network: usize,
    features: Vec<Vec<f32>>,
    arrived: Instant,
    vectors: Vec<Vec<f32>>,
    answer: oneshot::Sender<Answer>,
    _place: Place,
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
        std::thread::Builder::new().name("networks".to_owned()).spawn(move || {
            // Dropped on return and on unwinding alike, which resolves the receiver.
            let _ended = ended;
            Runner {
                pending: networks.iter().map(|_| VecDeque::new()).collect(),
                networks,
                options,
            }
            .run(&queue);
        })?;
        let room = Arc::new(Semaphore::new(options.queue_rows_max));
        Ok((Self { jobs, room, options }, end))
    }

    /// The sizes it runs with.
    pub fn options(&self) -> BatchOptions {
        self.options
    }

    /// Takes room for `rows` rows, or says at once that there is none.
    pub fn reserve(&self, rows: usize) -> Result<Place, QueueFull> {
        let full = QueueFull { rows, limit: self.options.queue_rows_max };
        let count = u32::try_from(rows).map_err(|_| full)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(count).map_err(|_| full)?;
        Ok(Place { _room: room })
    }

    /// Computes the vectors of rows of features, in their order.
    pub async fn run(&self, place: Place, network: usize, features: Vec<Vec<f32>>) -> Answer {
        if features.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, reply) = oneshot::channel();
        let vectors = Vec::with_capacity(features.len());
        let job =
            Job { network, features, arrived: Instant::now(), vectors, answer, _place: place };
        self.jobs.try_send(job).map_err(|_| BatchError::Stopped)?;
        reply.await.unwrap_or(Err(BatchError::Stopped))
    }
}

/// What the thread holds.
struct Runner {
    networks: Vec<BatchedNetwork>,
    /// Jobs of each network, oldest first. The first may be half done.
    pending: Vec<VecDeque<Job>>,
    options: BatchOptions,
}

impl Runner {
    fn run(mut self, queue: &Receiver<Job>) {
        loop {
            while let Ok(job) = queue.try_recv() {
                self.accept(job);
            }
            let Some((network, arrived)) = self.oldest() else {
                match queue.recv() {
                    Ok(job) => self.accept(job),
                    Err(_) => return,
                }
                continue;
            };
            let waited = arrived.elapsed();
            if self.rows_pending(network) < self.options.rows_max && waited < self.options.wait {
                match queue.recv_timeout(self.options.wait.saturating_sub(waited)) {
                    Ok(job) => {
                        self.accept(job);
                        continue;
                    }
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
                }
            }
            self.compute(network);
        }
    }

    fn accept(&mut self, job: Job) {
        if let Some(jobs) = self.pending.get_mut(job.network) {
            jobs.push_back(job);
        }
    }

    /// The network whose first job has waited longest.
    fn oldest(&mut self) -> Option<(usize, Instant)> {
        for jobs in &mut self.pending {
            jobs.retain(|job| !job.answer.is_closed());
        }
        let first = self
            .pending
            .iter()
            .enumerate()
            .filter_map(|(network, jobs)| Some((network, jobs.front()?.arrived)));
        first.min_by_key(|(_, arrived)| *arrived)
    }

    fn rows_pending(&self, network: usize) -> usize {
        self.pending[network].iter().map(Job::rows_left).sum()
    }

    /// Computes one batch of a network, from the first rows that wait for it.
    fn compute(&mut self, place: usize) {
        let (BatchedNetwork { network, feature_count, dimension }, jobs) =
            (&self.networks[place], &mut self.pending[place]);
        let mut batch = Vec::new();
        let mut shares = Vec::new();
        let mut room = self.options.rows_max.max(1);
        for job in jobs.iter() {
            let share = job.rows_left().min(room);
            let done = job.vectors.len();
            for row in &job.features[done..done + share] {
                batch.extend_from_slice(row);
            }
            shares.push(share);
            room -= share;
            if room == 0 {
                break;
            }
        }
        let rows = shares.iter().sum();
        match embed(network.as_ref(), rows, &batch, *feature_count, *dimension) {
            Ok(vectors) => {
                let mut vectors = vectors.chunks_exact(*dimension).map(<[f32]>::to_vec);
                for (job, share) in jobs.iter_mut().zip(shares) {
                    job.vectors.extend(vectors.by_ref().take(share));
                }
                while jobs.front().is_some_and(|job| job.rows_left() == 0) {
                    if let Some(Job { answer, vectors, .. }) = jobs.pop_front() {
                        let _caller_gone = answer.send(Ok(vectors));
                    }
                }
            }
            Err(error) => {
                for job in jobs.drain(..shares.len()) {
                    let _caller_gone = job.answer.send(Err(error.clone().into()));
                }
            }
        }
    }
}

impl Job {
    fn rows_left(&self) -> usize {
        self.features.len() - self.vectors.len()
    }
}

/// Runs a network and checks the lengths on both sides of it.
fn embed(
    network: &dyn Network,
    rows: usize,
    features: &[f32],
    feature_count: usize,
    dimension: usize,
) -> Result<Vec<f32>, NetworkError> {
    let wrong = |what: &str, given: usize, expected: usize| NetworkError {
        rows,
        reason: format!("{given} {what}, expected {expected}"),
    };
    if features.len() != rows * feature_count {
        return Err(wrong("features", features.len(), rows * feature_count));
    }
    let last = network.stages(rows, features)?.pop();
    let vectors = last.map(|stage| stage.values).unwrap_or_default();
    if vectors.len() == rows * dimension {
        Ok(vectors)
    } else {
        Err(wrong("components of vectors", vectors.len(), rows * dimension))
    }
}

#[cfg(test)]
mod tests;
