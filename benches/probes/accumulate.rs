//! How near the sums of a ridge path come to the machine's peak: `cargo bench --bench accumulate -- [ROWS WIDTH FOLDS THREADS]`.
//!
//! The peak is what the linked BLAS reaches for a square product of 4096 rows with one product for each thread, measured
//! before and after on the same machine. The sums count one multiplication and one addition for each example and each pair
//! of features, half of which a symmetric product leaves out. Examples come from a block in memory, shown again and again.

use std::time::Instant;

use sidereus::learn::lapack::{View, gemm};
use sidereus::learn::linear::moments::{Examples, Moments};
use sidereus::learn::linear::{Folds, RidgeOptions, fold_numbers, ridge_path};
use sidereus::learn::{Features, LearnError, Progress};

const SIDE: usize = 4_096;
const BLOCK: usize = 2_048;

/// Seeded numbers around 0.
fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..count).map(|_| next() + next() + next() - 1.5).collect()
}

/// One block of examples again and again.
struct Repeated {
    block: Vec<f64>,
    width: usize,
    count: usize,
}

impl Features for Repeated {
    fn count(&self) -> usize {
        self.count
    }

    fn width(&self) -> usize {
        self.width
    }

    fn pass(
        &self,
        visit: &mut dyn FnMut(usize, &[f64]) -> Result<(), LearnError>,
    ) -> Result<(), LearnError> {
        for first in (0..self.count).step_by(BLOCK) {
            let rows = BLOCK.min(self.count - first);
            visit(first, &self.block[..rows * self.width])?;
        }
        Ok(())
    }

    fn read(&self, examples: &[u32], into: &mut Vec<f64>) -> Result<(), LearnError> {
        into.clear();
        for example in examples {
            let at = *example as usize % BLOCK * self.width;
            into.extend_from_slice(&self.block[at..at + self.width]);
        }
        Ok(())
    }
}

/// Floating-point operations a second, in units of 10^9, of a square product divided among threads.
fn peak(threads: usize) -> f64 {
    let (a, b) = (numbers(SIDE * SIDE, 1), numbers(SIDE * SIDE, 2));
    let mut c = vec![0.0; SIDE * SIDE];
    let rows = SIDE.div_ceil(threads);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for (a, c) in a.chunks(rows * SIDE).zip(c.chunks_mut(rows * SIDE)) {
            let b = View::new(&b, SIDE, SIDE).expect("whole");
            scope.spawn(move || {
                let a = View::new(a, a.len() / SIDE, SIDE).expect("whole");
                gemm(1.0, a, b, 0.0, c).expect("shapes fit");
            });
        }
    });
    2.0 * (SIDE as f64).powi(3) / start.elapsed().as_secs_f64() / 1e9
}

/// Largest resident memory of this process so far, in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

fn main() {
    // Cargo adds `--bench`.
    let given: Vec<usize> = std::env::args().skip(1).filter_map(|each| each.parse().ok()).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let setting = |at: usize, default: usize| given.get(at).copied().unwrap_or(default);
    let (count, width, folds) = (setting(0, 100_000), setting(1, 1_024), setting(2, 5));
    let threads = setting(3, cores);
    println!("{count} examples, {width} features, {folds} folds, {threads} threads");

    let features = Repeated { block: numbers(BLOCK * width, 3), width, count };
    let targets = numbers(count, 4);
    let of = fold_numbers(count, folds, 5);
    let examples =
        Examples { targets: &targets, outputs: 1, weights: None, folds: Some((&of, folds)) };
    let start = Instant::now();
    let moments = Moments::fit(&features, examples, threads, Progress::silent()).expect("fits");
    let seconds = start.elapsed().as_secs_f64();
    let memory = resident();
    drop(moments);
    let rate = count as f64 * (width as f64).powi(2) / seconds / 1e9;

    let start = Instant::now();
    let fit = ridge_path(
        &features,
        &targets,
        1,
        None,
        Folds::Of { of: &of, count: folds },
        &RidgeOptions::default(),
        threads,
        Progress::silent(),
    )
    .expect("fits");
    let whole = start.elapsed().as_secs_f64();
    let whole_memory = resident();
    let peaks = [peak(threads), peak(threads)];
    let best = peaks[0].max(peaks[1]);
    println!("peak of dgemm       {best:7.1} GFLOP/s  ({:.1}, {:.1})", peaks[0], peaks[1]);
    println!(
        "sums                {rate:7.1} GFLOP/s  {:.0} % of it, {seconds:.2} s",
        100.0 * rate / best
    );
    println!("path of {} strengths {whole:6.2} s", fit.alphas.len());
    println!(
        "resident at most    {memory:7.0} MiB for the sums, {whole_memory:.0} MiB for the path"
    );
}
