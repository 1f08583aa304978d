//! The loops under everything: distances per second and covers per second.
//!
//! Run with `cargo bench --bench ground`. Throughput is printed in bytes of stored vectors, to be held against the
//! memory bandwidth of the machine. These are exact computations: there is no recall to print.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sidereus::sky::{Cone, Degrees, Position, Region};
use sidereus::vector::{dot, l2_squared};

/// Numbers without a pattern, the same in every run.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn distances(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("distance");
    for dimension in [64usize, 256, 1024] {
        let rows = 4_096;
        let stored = numbers(rows * dimension);
        let query = numbers(dimension);
        group.throughput(Throughput::Bytes((stored.len() * size_of::<f32>()) as u64));
        for (name, kernel) in [("dot", dot as fn(&[f32], &[f32]) -> f32), ("l2", l2_squared)] {
            group.bench_with_input(
                BenchmarkId::new(name, dimension),
                &stored,
                |bencher, stored| {
                    bencher.iter(|| {
                        let nearest = stored
                            .chunks_exact(dimension)
                            .map(|row| kernel(black_box(&query), row));
                        nearest.fold(f32::INFINITY, f32::min)
                    });
                },
            );
        }
    }
    group.finish();
}

fn covers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cone cover");
    let centre = Position::new(Degrees(150.1), Degrees(2.2)).expect("on the sphere");
    for radius in [0.01, 1.0, 30.0] {
        let region = Region::Cone(Cone::new(centre, Degrees(radius)).expect("a cone"));
        group.bench_with_input(BenchmarkId::from_parameter(radius), &region, |bencher, region| {
            bencher.iter(|| black_box(region).cover());
        });
    }
    group.finish();
}

criterion_group!(ground, distances, covers);
criterion_main!(ground);
