//! Times on a million rows, printed: `cargo test --release -- --nocapture a_million_rows`.

use std::hint::black_box;
use std::time::Instant;

use super::*;

const ROWS: usize = 1_000_000;

/// Runs something often enough to time it, in microseconds.
fn microseconds(mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let started = Instant::now();
        work();
        best = best.min(started.elapsed().as_secs_f64() * 1e6);
    }
    best
}

/// A row's own draw, the same in every run, uniform in [0, 1).
fn draw(row: usize) -> f64 {
    let mixed = (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ (mixed >> 32)) >> 11) as f64 / (1u64 << 53) as f64
}

#[test]
fn a_million_rows() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let draws = || (0..ROWS).map(draw);
    let reals: ArrayRef = Arc::new(Float64Array::from_iter_values(draws()));
    let steps: ArrayRef =
        Arc::new(Int64Array::from_iter_values(draws().map(|draw| (draw * 30_000.0) as i64)));
    let classes: ArrayRef = Arc::new(StringArray::from_iter_values(
        draws().map(|draw| ["GALAXY", "QSO", "STAR", "UNKNOWN"][(draw * 4.0) as usize]),
    ));
    let tenth =
        |low: Scalar, high: Scalar| ValueSet::between(Bound::Included(low), Bound::Excluded(high));
    let integers = (0..300).map(|value| Scalar::Int(value * 100));
    let cases = [
        ("float64, range", Kind::Double, reals, tenth(Scalar::Real(0.4), Scalar::Real(0.5))),
        (
            "int64, range",
            Kind::Integer,
            Arc::clone(&steps),
            tenth(Scalar::Int(3000), Scalar::Int(6000)),
        ),
        ("int64, 300 values", Kind::Integer, steps, ValueSet::among(integers)),
        ("text, one class", Kind::Text, classes, ValueSet::among([Scalar::Text("QSO".to_owned())])),
    ];
    let some: Vec<u32> = (0..ROWS as u32).step_by(100).collect();
    for (name, kind, column, values) in cases {
        let arrays = [column];
        let started = Instant::now();
        let attribute = attribute(&folder.path().join("a"), kind, &arrays);
        let built = started.elapsed().as_secs_f64() * 1e3;
        let spans = attribute.spans(&values);
        let find = microseconds(|| drop(black_box(attribute.spans(&values))));
        let count = attribute.count(&spans);
        let rows = microseconds(|| {
            black_box(attribute.rows(&spans).map(u64::from).sum::<u64>());
        });
        let mut keep = Vec::new();
        let select = microseconds(|| {
            keep.clear();
            attribute.select(black_box(&some), &spans, &mut keep);
        });
        let mut all = vec![u64::MAX; ROWS.div_ceil(64)];
        let narrow = microseconds(|| {
            attribute.narrow(0, black_box(&mut all), &spans);
        });
        let mut best = f64::INFINITY;
        for _ in 0..10 {
            all.fill(u64::MAX);
            let started = Instant::now();
            attribute.narrow(0, &mut all, &spans);
            best = best.min(started.elapsed().as_secs_f64() * 1e6);
        }
        let mask = microseconds(|| drop(black_box(values.mask(arrays[0].as_ref()))));
        println!(
            "{name:18} built in {built:5.0} ms; spans {find:6.2} us; {count:6} rows {rows:7.1} us; \
             select of {} {select:6.1} us; narrow {best:6.0} us (again {narrow:.0}); mask {mask:6.0} us",
            some.len(),
        );
        assert_eq!(all.iter().map(|word| word.count_ones() as usize).sum::<usize>(), count);
    }
}
