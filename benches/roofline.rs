//! Exact scans of regions, and the loops under every plan, held against the memory bandwidth of the machine.
//!
//! Run with `cargo bench --bench roofline`. Criterion times the kernels; the table at the end divides what a cone's scan
//! took, from the request to the hits, by the time that its bytes take at the bandwidth measured in the same run (one thread
//! reading an array far larger than the caches). Scans are exact: there is no recall to print.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

#[path = "../tests/harness/made.rs"]
mod made;

use std::hint::black_box;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sidereus::engine::{CollectionView, Db, DbOptions, Write, WriteMode};
use sidereus::query::{self, Query, Term};
use sidereus::schema::{Object, ObjectId};
use sidereus::sky::{Cone, Degrees, Position, Radians, Region};
use sidereus::vector::{CODE_STEP, CodeWeights, Metric, dot};
use tempfile::TempDir;

const NAME: &str = "sky";

/// Objects over a cap of the sky, with vectors.
struct Sky {
    rows: i64,
    dimension: usize,
    db: Db,
    _folder: TempDir,
}

/// Rows and dimensions: small vectors and those of today's encoders, far more than the caches hold of both.
const SKIES: [(i64, usize); 2] = [(400_000, 256), (200_000, 1024)];

/// Numbers without a pattern, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Objects evenly over a cap of 30 degrees, so that a cone's size decides how many it holds.
fn sky(rows: i64, dimension: usize) -> Sky {
    let folder = tempfile::tempdir().expect("a folder");
    let db = Db::open(DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) })
        .expect("opens");
    let schema = made::schema(NAME, &[], vec![made::space("space", dimension, Metric::L2)]);
    let space = db.create_collection(schema).expect("creates").schema.spaces[0].id;
    let mut random = Random(0x5EED);
    // A few directions hold the vectors, as they do those of encoders.
    let directions: Vec<f32> = (0..8 * dimension).map(|_| random.unit() as f32 - 0.5).collect();
    for start in (0..rows).step_by(20_000) {
        let batch = (start..start + 20_000).map(|id| {
            let height = 1.0 - (1.0 - Radians::from(Degrees(30.0)).0.cos()) * random.unit();
            let dec = Degrees::from(Radians(height.asin()));
            let position = Position::new(Degrees(360.0 * random.unit()), dec).expect("valid");
            let mut vector = vec![0.0f32; dimension];
            for direction in directions.chunks_exact(dimension) {
                let along = random.unit() as f32;
                vector.iter_mut().zip(direction).for_each(|(sum, axis)| *sum += along * axis);
            }
            let id = ObjectId::Number(id);
            Write::Put(Object { id, position, columns: vec![], vectors: vec![(space, vector)] })
        });
        db.write(NAME, WriteMode::Bulk, batch.collect()).expect("writes");
    }
    db.build_index(NAME, &mut |_, _, _| {}).expect("builds");
    Sky { rows, dimension, db, _folder: folder }
}

/// Bytes a second that one thread reads from memory, the best of several runs.
fn bandwidth() -> f64 {
    let values = vec![1.0f32; 256 << 18];
    let query = [0.5f32; 1024];
    let one = || {
        let started = Instant::now();
        let sum: f32 = values.chunks_exact(1024).map(|chunk| dot(black_box(&query), chunk)).sum();
        black_box(sum);
        size_of_val(&values[..]) as f64 / started.elapsed().as_secs_f64()
    };
    (0..9).map(|_| one()).fold(0.0, f64::max)
}

fn scan(sky: &Sky, view: &CollectionView, random: &mut Random, wanted: f64) -> (f64, u64) {
    // Rows are even in area: a cone of radius r holds (1 - cos r) of the cap's share.
    let cap = 1.0 - Radians::from(Degrees(30.0)).0.cos();
    let radius = Degrees::from(Radians((1.0 - cap * wanted / sky.rows as f64).acos())).0;
    let dec = 90.0 - (28.0 - radius).max(0.0) * random.unit();
    let centre = Position::new(Degrees(360.0 * random.unit()), Degrees(dec)).expect("valid");
    let vector = (0..sky.dimension).map(|_| random.unit() as f32).collect();
    let term = Term {
        space: "space".to_owned(),
        weight: 1.0,
        like: vec![],
        unlike: vec![],
        vectors: vec![vector],
        ..Term::default()
    };
    let query = Query {
        terms: vec![term],
        region: Some(Region::Cone(Cone::new(centre, Degrees(radius)).expect("a cone"))),
        k: Some(10),
        exact: true,
        plan: Some("region-scan".to_owned()),
        ..Query::default()
    };
    let started = Instant::now();
    let answer = query::search(view, &query).expect("answers");
    (started.elapsed().as_secs_f64(), answer.stats.rows_scanned)
}

fn regions(criterion: &mut Criterion) {
    for (rows, dimension) in SKIES {
        regions_of(criterion, &sky(rows, dimension));
    }
}

fn regions_of(criterion: &mut Criterion, sky: &Sky) {
    let view = sky.db.view(NAME).expect("a view");
    let mut random = Random(77);
    let row_bytes = (sky.dimension * size_of::<f32>()) as f64;
    // Every row is mapped from here on.
    scan(sky, &view, &mut random, sky.rows as f64);
    let mut group = criterion.benchmark_group(format!("region scan {}", sky.dimension));
    group.sample_size(20);
    for wanted in [1e3, 1e4, 1e5] {
        group.throughput(Throughput::Bytes((wanted * row_bytes) as u64));
        group.bench_with_input(BenchmarkId::from_parameter(wanted), &wanted, |bencher, &wanted| {
            bencher.iter(|| scan(sky, &view, &mut random, wanted));
        });
    }
    group.finish();
    let bandwidth = bandwidth();
    println!(
        "{} components; memory bandwidth, one thread: {:.1} GB/s",
        sky.dimension,
        bandwidth / 1e9
    );
    println!(
        "{:>10} {:>10} {:>12} {:>12} {:>7}",
        "rows", "MB", "median us", "at bandwidth", "ratio"
    );
    for wanted in [1e3, 1e4, 1e5] {
        let mut runs: Vec<(f64, u64)> =
            (0..101).map(|_| scan(sky, &view, &mut random, wanted)).collect();
        runs.sort_by(|left, right| left.0.total_cmp(&right.0));
        let (seconds, rows) = runs[runs.len() / 2];
        let bytes = rows as f64 * row_bytes;
        let least = bytes / bandwidth;
        println!(
            "{rows:>10} {:>10.1} {:>12.1} {:>12.1} {:>7.2}",
            bytes / 1e6,
            seconds * 1e6,
            least * 1e6,
            seconds / least
        );
    }
}

fn codes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codes");
    let mut random = Random(5);
    for bytes in [CODE_STEP, 2 * CODE_STEP, 8 * CODE_STEP] {
        let rows = 100_000;
        let codes: Vec<u8> = (0..rows * bytes).map(|_| random.next() as u8).collect();
        let factors: Vec<f32> = (0..bytes - 4).map(|_| random.unit() as f32 - 0.5).collect();
        let weights = CodeWeights::new(&factors, 0.0, bytes);
        group.throughput(Throughput::Bytes(codes.len() as u64));
        group.bench_with_input(BenchmarkId::new("scan", bytes), &codes, |bencher, codes| {
            bencher.iter(|| {
                let mut least = f32::INFINITY;
                weights.scan(codes, |_, estimate| least = least.min(estimate));
                least
            });
        });
        let some: Vec<u32> =
            (0..rows as u32).filter(|_| random.next().is_multiple_of(10)).collect();
        group.throughput(Throughput::Bytes((some.len() * bytes) as u64));
        group.bench_with_input(BenchmarkId::new("gather", bytes), &codes, |bencher, codes| {
            bencher.iter(|| {
                let mut least = f32::INFINITY;
                weights.gather(codes, &some, |_, estimate| least = least.min(estimate));
                least
            });
        });
    }
    group.finish();
}

criterion_group!(roofline, codes, regions);
criterion_main!(roofline);
