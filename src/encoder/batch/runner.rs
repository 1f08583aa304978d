//! The thread that computes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::metrics::Counters;
use super::residents::Residents;
use super::{Answer, BatchOptions, BatchedNetwork, Features, Job, Made, Place};

/// A row that waits.
struct Row {
    features: Features,
    output: usize,
    arrived: Instant,
    /// Number of its request, and its place there.
    request: u64,
    place: usize,
}

/// A request of which rows are still to be computed.
struct Request {
    answer: oneshot::Sender<Answer>,
    made: Vec<Option<Result<Made, String>>>,
    left: usize,
    place: Place,
}

/// What the thread holds.
pub(super) struct Runner {
    residents: Residents,
    /// Rows of each network, oldest first.
    pending: Vec<VecDeque<Row>>,
    requests: BTreeMap<u64, Request>,
    next_request: u64,
    options: BatchOptions,
    counters: Arc<Counters>,
}

impl Runner {
    pub(super) fn new(
        networks: Vec<BatchedNetwork>,
        options: BatchOptions,
        counters: Arc<Counters>,
    ) -> Self {
        let residents = Residents::new(networks, options.memory_max);
        counters.resident(residents.bytes());
        let pending = (0..residents.len()).map(|_| VecDeque::new()).collect();
        Self { residents, pending, requests: BTreeMap::new(), next_request: 0, options, counters }
    }

    /// Most rows that are computed at once.
    fn rows_max(&self) -> usize {
        if self.options.deterministic { 1 } else { self.options.rows_max.max(1) }
    }

    pub(super) fn run(mut self, queue: &Receiver<Job>) {
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
            if waited < self.options.wait && self.company(network) < self.rows_max() {
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
        let Job { network, output, rows, arrived, answer, place } = job;
        let Some(pending) = self.pending.get_mut(network) else { return };
        let (request, left) = (self.next_request, rows.len());
        self.next_request += 1;
        let made = rows.iter().map(|_| None).collect();
        self.requests.insert(request, Request { answer, made, left, place });
        let rows = rows.into_iter().enumerate();
        pending.extend(rows.map(|(place, features)| Row {
            features,
            output,
            arrived,
            request,
            place,
        }));
    }

    /// The network whose first row has waited longest.
    fn oldest(&mut self) -> Option<(usize, Instant)> {
        // Nobody waits for the rows of a caller that has gone.
        self.requests.retain(|_, request| !request.answer.is_closed());
        for rows in &mut self.pending {
            rows.retain(|row| self.requests.contains_key(&row.request));
        }
        let first = self
            .pending
            .iter()
            .enumerate()
            .filter_map(|(network, rows)| Some((network, rows.front()?.arrived)));
        first.min_by_key(|(_, arrived)| *arrived)
    }

    /// How many rows can be computed together with the first one of a network, itself included.
    fn company(&self, network: usize) -> usize {
        let rows = &self.pending[network];
        let Some(first) = rows.front() else { return 0 };
        rows.iter().filter(|row| fits(first, row)).count()
    }

    /// Computes one batch of a network: its first row, and those that can be computed together with it.
    fn compute(&mut self, network: usize) {
        let mut batch: Vec<Row> = Vec::new();
        let mut others = VecDeque::new();
        let rows_max = self.rows_max();
        for row in std::mem::take(&mut self.pending[network]) {
            let joins =
                batch.len() < rows_max && batch.first().is_none_or(|first| fits(first, &row));
            if joins {
                batch.push(row);
            } else {
                others.push_back(row);
            }
        }
        self.pending[network] = others;
        for (row, result) in self.results(network, batch) {
            self.deliver(&row, result);
        }
    }

    /// Computes rows; where the network fails on several, they are tried in halves, so that one row does not fail the others
    /// and a batch that is too large for the memory becomes two that are not.
    fn results(&mut self, network: usize, mut batch: Vec<Row>) -> Vec<(Row, Result<Made, String>)> {
        let Some(first) = batch.first() else { return Vec::new() };
        let output = first.output;
        let features: Vec<&Features> = batch.iter().map(|row| &row.features).collect();
        let began = Instant::now();
        let made = self.residents.make(network, output, &features, &self.counters);
        match made {
            Ok(made) => {
                self.counters.batch(batch.len(), began.elapsed());
                batch.into_iter().zip(made.into_iter().map(Ok)).collect()
            }
            Err(error) if batch.len() > 1 => {
                tracing::warn!(%error, "the batch is computed in halves");
                let second = batch.split_off(batch.len() / 2);
                let mut results = self.results(network, batch);
                results.extend(self.results(network, second));
                results
            }
            Err(error) => {
                self.counters.failed();
                batch.into_iter().map(|row| (row, Err(error.reason.clone()))).collect()
            }
        }
    }

    fn deliver(&mut self, row: &Row, result: Result<Made, String>) {
        let Some(request) = self.requests.get_mut(&row.request) else { return };
        if request.made[row.place].replace(result).is_none() {
            request.left -= 1;
        }
        if request.left == 0
            && let Some(Request { answer, made, place, .. }) = self.requests.remove(&row.request)
        {
            // Whoever has its answer finds the room free again.
            drop(place);
            let _caller_gone = answer.send(Ok(made.into_iter().flatten().collect()));
        }
    }
}

fn fits(first: &Row, other: &Row) -> bool {
    first.output == other.output && first.features.fits(&other.features)
}
