//! The loops under everything: distances and covers per second, and the rows of a region among a million.
//!
//! Run with `cargo bench --bench ground`. Throughput is printed in bytes of stored vectors, to be held against the
//! memory bandwidth of the machine. These are exact computations: there is no recall to print.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sidereus::engine::{Db, DbOptions, Part, Write, WriteMode};
use sidereus::schema::{CollectionSchema, IdKind, Object, ObjectId};
use sidereus::sky::{Cone, Degrees, Position, Radians, Region};
use sidereus::vector::{RowBitmap, dot, l2_squared};

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

/// Objects of the region benchmark.
const OBJECTS: usize = 1_000_000;

/// Half of the objects anywhere on the sky, half in three thousand clumps of up to a degree.
fn clumpy_sky() -> Vec<Position> {
    let numbers = numbers(5 * OBJECTS);
    let mut numbers = numbers.into_iter().map(|number| f64::from(number) + 0.5);
    let mut next = || numbers.next().unwrap_or(0.5);
    let mut anywhere = || (360.0 * next(), Degrees::from(Radians((2.0 * next() - 1.0).asin())).0);
    let clumps: Vec<(f64, f64)> = (0..3_000).map(|_| anywhere()).collect();
    let place = |number: usize| {
        let (ra, dec) =
            if number.is_multiple_of(2) { anywhere() } else { clumps[number / 2 % 3_000] };
        let size =
            if number.is_multiple_of(2) { 0.0 } else { 0.01 + (number / 2 % 100) as f64 / 100.0 };
        let (east, north) = anywhere();
        let ra = (ra + size * (east / 360.0 - 0.5)).rem_euclid(360.0);
        Position::new(Degrees(ra), Degrees((dec + size * north / 180.0).clamp(-90.0, 90.0)))
    };
    (0..OBJECTS).map(place).collect::<Result<_, _>>().expect("on the sphere")
}

/// A database whose only collection is one segment.
fn segment_of(folder: &std::path::Path, sky: &[Position]) -> Db {
    let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder) };
    let db = Db::open(options).expect("a database");
    let schema = CollectionSchema {
        name: "sky".to_owned(),
        id_kind: IdKind::Number,
        columns: Vec::new(),
        spaces: Vec::new(),
        description: String::new(),
    };
    db.create_collection(schema).expect("a collection");
    for (chunk, positions) in sky.chunks(50_000).enumerate() {
        let put = |(place, &position): (usize, &Position)| {
            let id = ObjectId::Number((50_000 * chunk + place) as i64);
            Write::Put(Object { id, position, columns: Vec::new(), vectors: Vec::new() })
        };
        let writes = positions.iter().enumerate().map(put).collect();
        db.write("sky", WriteMode::Bulk, writes).expect("writes");
    }
    db.build_index("sky", &mut |_, _, _| {}).expect("a segment");
    db
}

/// The cone around a position that holds a share of the rows.
fn cone_of_share(part: &Part, centre: Position, share: f64) -> Region {
    let positions = (0..part.row_count()).filter_map(|row| part.position_at(row));
    let mut separations: Vec<f64> =
        positions.map(|position| centre.separation(&position).0).collect();
    let place = (share * separations.len() as f64) as usize;
    let (_, radius, _) = separations.select_nth_unstable_by(place, f64::total_cmp);
    Cone::new(centre, Degrees(*radius)).expect("a radius").into()
}

fn regions(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let sky = clumpy_sky();
    let db = segment_of(folder.path(), &sky);
    let view = db.view("sky").expect("a view");
    let parts = view.parts();
    let part = parts.first().expect("a segment").part();
    let mut group = criterion.benchmark_group("cone of a million rows");
    for share in [0.0001, 0.001, 0.01, 0.1] {
        let region = cone_of_share(part, sky[12_345], share);
        group.bench_with_input(BenchmarkId::new("find", share), &region, |bencher, region| {
            bencher.iter(|| part.region_rows(black_box(region)));
        });
        let mut marked = RowBitmap::empty(part.row_count());
        group.bench_with_input(BenchmarkId::new("mark", share), &region, |bencher, region| {
            let found = part.region_rows(region);
            bencher.iter(|| {
                part.region_test(black_box(region)).mark_all(black_box(&found), &mut marked);
            });
        });
    }
    group.finish();
}

criterion_group!(ground, distances, covers, regions);
criterion_main!(ground);
