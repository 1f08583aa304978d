//! Work that is divided among threads.

use std::panic::resume_unwind;
use std::thread;

/// Does a piece of work for each item on a thread of its own, and returns the results in order.
pub(super) fn in_parallel<I: Send, R: Send>(
    items: impl Iterator<Item = I>,
    work: impl Fn(I) -> R + Sync,
) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let workers: Vec<_> = items.map(|item| scope.spawn(move || work(item))).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, R>| match worker.join() {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        };
        workers.into_iter().map(join).collect()
    })
}

/// Does a piece of work for each number below `count` on so many threads, and returns the results in order.
pub(super) fn for_each_in_parallel<R: Send>(
    count: usize,
    threads: usize,
    work: impl Fn(usize) -> R + Sync,
) -> Vec<R> {
    let numbers: Vec<usize> = (0..count).collect();
    let share = count.div_ceil(threads.max(1)).max(1);
    let done = in_parallel(numbers.chunks(share), |numbers| {
        numbers.iter().map(|&number| work(number)).collect::<Vec<R>>()
    });
    done.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::for_each_in_parallel;

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        for (count, threads) in [(0, 3), (1, 8), (7, 1), (7, 3), (100, 16)] {
            let squares = for_each_in_parallel(count, threads, |number| number * number);
            assert_eq!(squares, (0..count).map(|number| number * number).collect::<Vec<_>>());
        }
    }
}
