//! Exact scans of regions, and the loops under every plan, held against the memory bandwidth of the machine.
//!
//! Run with `cargo bench --bench roofline`. Criterion times the kernels; the table at the end divides what a cone's exact
//! search took, from the request to the hits, by the time that the vectors in the cone take at the bandwidth measured in the same
//! run (one thread reading an array far larger than the caches). Twice: comparing every vector (`region-scan`), and as the
//! planner does it, which leaves out what codes prove to be no hit. Both are exact, and the hits are compared: there is no recall
//! to print.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

#[path = "../tests/harness/made.rs"]
mod made;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sidereus::engine::{CollectionView, Db, DbOptions, Write, WriteMode};
use sidereus::query::{self, Answer, Query, Term};
use sidereus::schema::{Object, ObjectId};
use sidereus::sky::{Cone, Degrees, Position, Radians, Region};
use sidereus::vector::{CodeWeights, Metric, dot};
use tempfile::TempDir;

const NAME: &str = "sky";

/// Objects over a cap of the sky, with vectors.
struct Sky {
    rows: i64,
    dimension: usize,
    /// Vectors like those of the rows, but of none of them.
    likes: Vec<Vec<f32>>,
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

/// Standard deviation of the noise in every component, which is a twentieth of the variance.
const NOISE: f64 = 0.05;

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
    let vector = |random: &mut Random| -> Vec<f32> {
        let mut vector = vec![0.0f32; dimension];
        for direction in directions.chunks_exact(dimension) {
            let along = random.unit() as f32;
            vector.iter_mut().zip(direction).for_each(|(sum, axis)| *sum += along * axis);
        }
        let noise = NOISE * 12f64.sqrt();
        vector.iter_mut().for_each(|value| *value += (noise * (random.unit() - 0.5)) as f32);
        vector
    };
    for start in (0..rows).step_by(20_000) {
        let batch = (start..start + 20_000).map(|id| {
            let height = 1.0 - (1.0 - Radians::from(Degrees(30.0)).0.cos()) * random.unit();
            let dec = Degrees::from(Radians(height.asin()));
            let position = Position::new(Degrees(360.0 * random.unit()), dec).expect("valid");
            let vector = vector(&mut random);
            let id = ObjectId::Number(id);
            Write::Put(Object { id, position, columns: vec![], vectors: vec![(space, vector)] })
        });
        db.write(NAME, WriteMode::Bulk, batch.collect()).expect("writes");
    }
    db.build_index(NAME, &mut |_, _, _| {}).expect("builds");
    let likes = (0..64).map(|_| vector(&mut random)).collect();
    Sky { rows, dimension, likes, db, _folder: folder }
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

/// A cone with about so many rows, and what to be near to.
fn asked(sky: &Sky, random: &mut Random, wanted: f64) -> Query {
    // Rows are even in area: a cone of radius r holds (1 - cos r) of the cap's share.
    let cap = 1.0 - Radians::from(Degrees(30.0)).0.cos();
    let radius = Degrees::from(Radians((1.0 - cap * wanted / sky.rows as f64).acos())).0;
    let dec = 90.0 - (28.0 - radius).max(0.0) * random.unit();
    let centre = Position::new(Degrees(360.0 * random.unit()), Degrees(dec)).expect("valid");
    let place = random.next() as usize % sky.likes.len();
    let term = Term {
        space: "space".to_owned(),
        weight: 1.0,
        like: vec![],
        unlike: vec![],
        vectors: vec![sky.likes[place].clone()],
        ..Term::default()
    };
    Query {
        terms: vec![term],
        region: Some(Region::Cone(Cone::new(centre, Degrees(radius)).expect("a cone"))),
        k: Some(10),
        exact: true,
        ..Query::default()
    }
}

/// Seconds, and the answer.
fn timed(view: &CollectionView, query: &Query) -> (f64, Answer) {
    let started = Instant::now();
    let answer = query::search(view, query).expect("answers");
    (started.elapsed().as_secs_f64(), answer)
}

/// Waits until the index file has been read against its checksums: before, every vector is compared.
fn settled(sky: &Sky, view: &CollectionView, random: &mut Random) {
    let query = asked(sky, random, sky.rows as f64);
    let started = Instant::now();
    while timed(view, &query).1.stats.plan == "region-scan" {
        assert!(started.elapsed() < Duration::from_mins(1), "the index is never used");
        std::thread::sleep(Duration::from_millis(100));
    }
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
    settled(sky, &view, &mut random);
    let by = |plan: &str, query: Query| Query { plan: Some(plan.to_owned()), ..query };
    let scanned = |query: Query| by("region-scan", query);
    // Every row and every code is mapped from here on.
    for plan in ["region-scan", "region-codes"] {
        timed(&view, &by(plan, asked(sky, &mut random, sky.rows as f64)));
    }
    let mut group = criterion.benchmark_group(format!("region scan {}", sky.dimension));
    group.sample_size(20);
    for wanted in [1e3, 1e4, 1e5] {
        group.throughput(Throughput::Bytes((wanted * row_bytes) as u64));
        group.bench_with_input(BenchmarkId::from_parameter(wanted), &wanted, |bencher, &wanted| {
            bencher.iter(|| timed(&view, &scanned(asked(sky, &mut random, wanted))));
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
        "{:>8} {:>7} {:>11} {:>11} {:>6} {:>9} {:>6}  {:<13} {:>7}",
        "rows", "MB", "at bandw us", "all rows us", "ratio", "exact us", "ratio", "plan", "MB read"
    );
    for wanted in [1e3, 1e4, 1e5] {
        // Each way has cones of its own: one of them would find what the other left in the caches.
        let (mut all, mut exact) = (Vec::new(), Vec::new());
        // As many small ones as it takes to be in their stride: the first hundred find the caches as large scans left them.
        let rounds = 2 * ((1e6 / wanted) as usize).max(50) + 1;
        for _ in 0..rounds {
            all.push(timed(&view, &scanned(asked(sky, &mut random, wanted))));
            exact.push(timed(&view, &asked(sky, &mut random, wanted)));
        }
        for _ in 0..5 {
            let query = asked(sky, &mut random, wanted);
            let (fast, slow) = (timed(&view, &query).1, timed(&view, &scanned(query)).1);
            let hits = |answer: &Answer| -> Vec<_> {
                answer.hits.iter().map(|hit| (hit.distance, hit.id.clone())).collect()
            };
            assert_eq!(hits(&fast), hits(&slow));
        }
        let by_time = |left: &(f64, Answer), right: &(f64, Answer)| left.0.total_cmp(&right.0);
        all.sort_by(by_time);
        exact.sort_by(by_time);
        let ((all_s, answer), (exact_s, by_codes)) = (&all[rounds / 2], &exact[rounds / 2]);
        let rows = answer.stats.rows_scanned;
        let bytes = rows as f64 * row_bytes;
        let least = bytes / bandwidth;
        println!(
            "{rows:>8} {:>7.1} {:>11.1} {:>11.1} {:>6.2} {:>9.1} {:>6.2}  {:<13} {:>7.1}",
            bytes / 1e6,
            least * 1e6,
            all_s * 1e6,
            all_s / least,
            exact_s * 1e6,
            exact_s / least,
            by_codes.stats.plan,
            by_codes.stats.bytes_read as f64 / 1e6,
        );
    }
}

fn codes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codes");
    let mut random = Random(5);
    for bytes in [32, 54, 64, 256] {
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
