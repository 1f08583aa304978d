//! Dividing a pass over features among threads, with the same result every time.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{Features, LearnError, Progress};

/// Jobs that wait for each thread before the one that makes them helps out.
const WAITING_PER_THREAD: usize = 2;

/// Does jobs on `threads` threads, of which the calling one is the first: `feed` makes jobs and hands them in with the
/// place of the accumulator that they change, and `work` does one.
///
/// Jobs of one accumulator are done one after the other in the order they were handed in, whichever thread does them, so
/// that sums do not depend on how fast threads are. The first error ends everything.
pub(super) fn divide<J: Send, A: Send>(
    accumulators: Vec<A>,
    threads: usize,
    work: impl Fn(&mut A, J) -> Result<(), LearnError> + Sync,
    feed: impl FnOnce(&mut dyn FnMut(usize, J) -> Result<(), LearnError>) -> Result<(), LearnError>,
) -> Result<Vec<A>, LearnError> {
    let crew = Crew {
        line: Mutex::new(Line {
            waiting: VecDeque::new(),
            is_busy: vec![false; accumulators.len()],
            is_closed: false,
            failed: None,
        }),
        changed: Condvar::new(),
        accumulators: accumulators.into_iter().map(Mutex::new).collect(),
        work,
    };
    let most_waiting = WAITING_PER_THREAD * threads.max(1);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| crew.labour(|line| line.is_closed && line.waiting.is_empty()));
        }
        let fed = feed(&mut |place, job| {
            let mut line = crew.lock();
            line.waiting.push_back((place, job));
            crew.changed.notify_one();
            drop(line);
            crew.labour(|line| line.waiting.len() < most_waiting);
            crew.lock().failed.clone().map_or(Ok(()), Err)
        });
        let mut line = crew.lock();
        line.is_closed = true;
        if let Err(error) = fed {
            line.failed.get_or_insert(error);
        }
        crew.changed.notify_all();
        drop(line);
        crew.labour(|line| line.waiting.is_empty());
    });
    if let Some(error) = crew.lock().failed.take() {
        return Err(error);
    }
    let inner = |each: Mutex<A>| each.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(crew.accumulators.into_iter().map(inner).collect())
}

/// What is to be done, by whom.
struct Line<J> {
    waiting: VecDeque<(usize, J)>,
    /// Accumulators that a job is changing.
    is_busy: Vec<bool>,
    is_closed: bool,
    failed: Option<LearnError>,
}

struct Crew<J, A, W> {
    line: Mutex<Line<J>>,
    changed: Condvar,
    accumulators: Vec<Mutex<A>>,
    work: W,
}

impl<J, A, W: Fn(&mut A, J) -> Result<(), LearnError>> Crew<J, A, W> {
    fn lock(&self) -> MutexGuard<'_, Line<J>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does jobs until there is an error or `is_enough`.
    fn labour(&self, is_enough: impl Fn(&Line<J>) -> bool) {
        let mut line = self.lock();
        loop {
            if line.failed.is_some() || is_enough(&line) {
                return;
            }
            let first = line.waiting.iter().position(|(place, _)| !line.is_busy[*place]);
            let Some((place, job)) = first.and_then(|at| line.waiting.remove(at)) else {
                line = self.changed.wait(line).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            line.is_busy[place] = true;
            drop(line);
            let ended = Ended { crew: self, place };
            let mut accumulator =
                self.accumulators[place].lock().unwrap_or_else(PoisonError::into_inner);
            let done = (self.work)(&mut accumulator, job);
            drop(accumulator);
            if let Err(error) = done {
                self.lock().failed.get_or_insert(error);
            }
            drop(ended);
            line = self.lock();
        }
    }
}

/// Frees an accumulator; after a panic ends all others, too, so that none waits for it.
struct Ended<'a, J, A, W> {
    crew: &'a Crew<J, A, W>,
    place: usize,
}

impl<J, A, W> Drop for Ended<'_, J, A, W> {
    fn drop(&mut self) {
        let mut line = self.crew.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.is_busy[self.place] = false;
        if std::thread::panicking() {
            line.failed.get_or_insert(LearnError::Stopped);
        }
        self.crew.changed.notify_all();
    }
}

/// Rows of features that one job looks at: enough for an efficient product, few enough to stay in a core's cache.
const JOB_NUMBERS: usize = 1 << 17;

/// Rows of a job.
pub(super) fn job_rows(width: usize) -> usize {
    (JOB_NUMBERS / width.max(1)).clamp(64, 4_096)
}

/// Some examples, one row each.
pub(super) struct Block<'a> {
    /// Place of the first one.
    pub(super) first: usize,
    pub(super) rows: Cow<'a, [f64]>,
}

/// Features that are looked at many times: in memory where they fit, else read again each time.
pub(super) enum Source<'a> {
    Kept { width: usize, values: Vec<f64> },
    Read { features: &'a dyn Features, shift: Option<&'a [f64]> },
}

impl<'a> Source<'a> {
    /// Reads features without keeping them.
    pub(super) fn read(features: &'a dyn Features) -> Self {
        Self::Read { features, shift: None }
    }

    /// Keeps features minus `shift` when they take `memory` bytes at most.
    pub(super) fn keep(
        features: &'a dyn Features,
        shift: &'a [f64],
        memory: usize,
        progress: Progress<'_>,
    ) -> Result<Self, LearnError> {
        let width = features.width();
        let numbers = features.count().saturating_mul(width);
        if numbers.saturating_mul(size_of::<f64>()) > memory {
            return Ok(Self::Read { features, shift: Some(shift) });
        }
        let mut values = Vec::with_capacity(numbers);
        features.pass(&mut |first, block| {
            progress.step("reading", first as u64, features.count() as u64)?;
            for row in block.chunks(width) {
                values.extend(row.iter().zip(shift).map(|(value, shift)| value - shift));
            }
            Ok(())
        })?;
        Ok(Self::Kept { width, values })
    }

    /// Shows every block of rows to one of the accumulators, of which there is one for each thread.
    pub(super) fn sweep<A: Send>(
        &self,
        accumulators: Vec<A>,
        work: impl Fn(&mut A, &Block<'_>) -> Result<(), LearnError> + Sync,
        mut step: impl FnMut(usize) -> Result<(), LearnError>,
    ) -> Result<Vec<A>, LearnError> {
        let count = accumulators.len();
        let spare = Mutex::new(Vec::<Vec<f64>>::new());
        let spares = || spare.lock().unwrap_or_else(PoisonError::into_inner);
        let work = |accumulator: &mut A, block: Block<'_>| {
            work(accumulator, &block)?;
            if let Cow::Owned(buffer) = block.rows {
                spares().push(buffer);
            }
            Ok(())
        };
        divide(accumulators, count, work, |hand_in| match self {
            Source::Kept { width, values } => {
                let rows = job_rows(*width);
                for (number, rows_of) in values.chunks(rows * width).enumerate() {
                    step(number * rows)?;
                    let block = Block { first: number * rows, rows: Cow::Borrowed(rows_of) };
                    hand_in(number % count, block)?;
                }
                Ok(())
            }
            Source::Read { features, shift } => {
                let (width, mut number) = (features.width(), 0);
                let rows = job_rows(width);
                features.pass(&mut |mut first, shown| {
                    step(first)?;
                    for part in shown.chunks(rows * width) {
                        let mut buffer = spares().pop().unwrap_or_default();
                        buffer.clear();
                        match shift {
                            None => buffer.extend_from_slice(part),
                            Some(shift) => part.chunks(width).for_each(|row| {
                                buffer.extend(row.iter().zip(*shift).map(|(value, s)| value - s));
                            }),
                        }
                        hand_in(number % count, Block { first, rows: Cow::Owned(buffer) })?;
                        first += part.len() / width;
                        number += 1;
                    }
                    Ok(())
                })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Matrix;
    use super::*;

    #[test]
    fn every_job_is_done_once_and_in_order() {
        for threads in [1, 2, 5] {
            let lists = divide(
                vec![Vec::new(); 3],
                threads,
                |list: &mut Vec<usize>, job| {
                    list.push(job);
                    Ok(())
                },
                |hand_in| (0..1_000).try_for_each(|job| hand_in(job % 3, job)),
            )
            .expect("no error");
            for (place, list) in lists.iter().enumerate() {
                assert_eq!(*list, (place..1_000).step_by(3).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_first_error_ends_it() {
        for threads in [1, 3] {
            let outcome = divide(
                vec![(); 3],
                threads,
                |(), job| if job == 50 { Err(LearnError::Stopped) } else { Ok(()) },
                |hand_in| (0..).try_for_each(|job| hand_in(job % 3, job)),
            );
            assert_eq!(outcome, Err(LearnError::Stopped));
            let outcome = divide(
                vec![()],
                threads,
                |(), (): ()| Ok(()),
                |_| Err(LearnError::Unreadable { reason: "gone".to_owned() }),
            );
            assert!(matches!(outcome, Err(LearnError::Unreadable { .. })));
        }
    }

    #[test]
    fn kept_and_read_features_are_the_same() {
        let width = 7;
        let values: Vec<f64> = (0..width * 10_000).map(|at| at as f64).collect();
        let matrix = Matrix::new(width, values).expect("whole");
        let shift = vec![1.0; width];
        let all = |memory: usize, threads| {
            let source = Source::keep(&matrix, &shift, memory, Progress::silent()).expect("read");
            assert_eq!(matches!(source, Source::Kept { .. }), memory > 0);
            let work = |sum: &mut f64, block: &Block<'_>| {
                *sum += block.rows.iter().sum::<f64>() + block.first as f64;
                Ok(())
            };
            let sums = source.sweep(vec![0.0; threads], work, |_| Ok(())).expect("read");
            sums.iter().sum::<f64>()
        };
        assert_eq!(all(0, 1), all(0, 3));
        assert_eq!(all(usize::MAX, 1), all(usize::MAX, 3));
    }
}
