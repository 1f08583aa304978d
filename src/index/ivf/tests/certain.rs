//! Exact answers from codes.

#![expect(clippy::single_range_in_vec_init, reason = "a scan takes runs of rows, here one")]

use proptest::prelude::*;

use super::*;

/// Clustered rows with whatever may spoil a bound: a mean far from the origin, lengths of several orders, rows that are far
/// outside of what the codes reach, and rows without any of the common directions.
fn unlike(metric: Metric, offset: f32, scale: f32, seed: u64) -> VectorBlock {
    let spec = Clustered { count: 1500, dimension: 40, clusters: 12, rank: 6, seed };
    let made = clustered(&spec).expect("a dimension").vectors;
    let mut random = SplitMix64::new(seed ^ 9);
    let mut block = VectorBlock::empty(40).expect("a dimension");
    for (number, row) in made.rows().enumerate() {
        let stretch = match number % 211 {
            0 => 40.0,
            1 => 0.0,
            _ => 1.0,
        };
        let vector: Vec<f32> = row
            .iter()
            .map(|value| {
                let noise = 0.05 * (random.uniform() as f32 - 0.5);
                scale * (stretch * (value + noise) + noise + offset)
            })
            .collect();
        block.push(&metric.prepare(vector).expect("not zero")).expect("finite");
    }
    block
}

fn built(metric: Metric, block: &VectorBlock, code_bytes: Option<usize>) -> IvfIndex {
    let spec = IvfSpec { code_bytes, threads: 2, ..IvfSpec::default() };
    build(&spec, metric, block.view()).expect("builds")
}

/// Queries among the rows, between them, and unlike all of them.
fn queries(metric: Metric, block: &VectorBlock, scale: f32, seed: u64) -> Vec<Vec<f32>> {
    let mut random = SplitMix64::new(seed);
    let mut queries: Vec<Vec<f32>> = Vec::new();
    for row in (0..block.count()).step_by(173) {
        queries.push(block.row(row).expect("a row").to_vec());
        let stray: Vec<f32> =
            (0..block.dimension()).map(|_| scale * (4.0 * random.uniform() as f32 - 2.0)).collect();
        let row = block.row(row).expect("a row");
        let between: Vec<f32> = row.iter().zip(&stray).map(|(a, b)| a + 0.2 * b).collect();
        queries.push(metric.prepare(between).expect("not zero"));
        queries.push(metric.prepare(stray).expect("not zero"));
    }
    queries
}

/// Runs, and rows beside them in no order.
fn asked(count: usize, seed: u64) -> (Vec<std::ops::Range<usize>>, Vec<u32>) {
    let mut random = SplitMix64::new(seed);
    let from = (random.uniform() * count as f64 / 2.0) as usize;
    let to = from + (random.uniform() * (count - from) as f64) as usize;
    let mut beside: Vec<u32> = (0..count as u32)
        .filter(|&row| !(from..to).contains(&(row as usize)) && random.uniform() < 0.3)
        .collect();
    beside.reverse();
    (vec![from..to], beside)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn no_estimate_is_off_by_more_than_the_bound(
        offset in prop::sample::select(vec![0.0f32, 0.3, 20.0]),
        scale in prop::sample::select(vec![1e-12f32, 1.0, 1e6]),
        code_bytes in prop::sample::select(CODES.to_vec()),
        seed in any::<u64>(),
    ) {
        for metric in METRICS {
            let block = unlike(metric, offset, scale, seed);
            let index = built(metric, &block, code_bytes);
            let extremes = index.extremes.as_ref().expect("a new index");
            prop_assert!(extremes.odd.as_slice().len() <= 3 * (1 + block.count() / 1000));
            for query in queries(metric, &block, scale, seed) {
                let Some(coded) = index.coder.query(&query) else { continue };
                let margin = index.certain_margin(&query, &coded).expect("known");
                let mut off = 0.0f64;
                coded.weights.scan(index.sky_codes.as_slice(), |row, estimate| {
                    if extremes.odd.as_slice().binary_search(&(row as u32)).is_err() {
                        let stored = block.row(row).expect("a row");
                        let distance = metric.distance(&query, stored);
                        off = off.max((coded.estimate_of(distance) - f64::from(estimate)).abs());
                    }
                });
                prop_assert!(off <= margin, "{} is off by {off}, bound {margin}", metric);
            }
        }
    }

    #[test]
    fn codes_give_the_exact_answer(
        offset in prop::sample::select(vec![0.0f32, 0.3, 20.0]),
        scale in prop::sample::select(vec![1e-12f32, 1.0, 1e6]),
        code_bytes in prop::sample::select(CODES.to_vec()),
        k in prop::sample::select(vec![1usize, 10, 400, 5000]),
        seed in any::<u64>(),
    ) {
        for metric in METRICS {
            let block = unlike(metric, offset, scale, seed);
            let index = built(metric, &block, code_bytes);
            let (runs, rows) = asked(block.count(), seed);
            let allowed = bitmap(block.count(), |row| {
                runs.iter().any(|run| run.contains(&row)) || rows.contains(&(row as u32))
            });
            for query in queries(metric, &block, scale, seed) {
                let scan =
                    scan_of(k, 1.0, &runs, &rows);
                let answer = index.scan_by(&query, &block.view(), &scan, |row| row).expect("valid");
                // Where single precision holds no differences, codes say so.
                let Some(answer) = answer else { continue };
                prop_assert!(answer.exact);
                let wish = IvfSearch::nearest(k);
                let truth = exact(&query, block.view(), metric, &wish, Some(&allowed));
                prop_assert_eq!(&answer.hits, &truth);
            }
        }
    }
}

#[test]
fn equal_rows_are_told_apart_by_their_numbers() {
    let mut block = VectorBlock::empty(16).expect("a dimension");
    let mut random = SplitMix64::new(2);
    let few: Vec<Vec<f32>> =
        (0..7).map(|_| (0..16).map(|_| random.uniform() as f32).collect()).collect();
    (0..2000).for_each(|row| block.push(&few[row % 7]).expect("finite"));
    let index = built(Metric::L2, &block, None);
    let rows: Vec<u32> = (0..2000).rev().collect();
    let scan = scan_of(300, 1.0, &[], &rows);
    let answer = index.scan_by(&few[3], &block.view(), &scan, |row| row).expect("valid");
    let answer = answer.expect("codes can tell");
    let truth = exact(&few[3], block.view(), Metric::L2, &IvfSearch::nearest(300), None);
    assert_eq!(answer.hits, truth);
}

#[test]
fn few_rows_are_compared_in_full() {
    for metric in METRICS {
        let (block, index) = small(metric, None);
        let runs = [0..block.count()];
        let scan = scan_of(10, 1.0, &runs, &[]);
        let mut compared = 0;
        let mut asked = 0;
        for row in (0..block.count()).step_by(101) {
            let query = block.row(row).expect("a row");
            let answer = index.scan_by(query, &block.view(), &scan, |row| row).expect("valid");
            let answer = answer.expect("codes can tell");
            assert_eq!(answer.rows_scanned, block.count() as u64);
            compared += answer.rows_reranked as usize;
            asked += block.count();
        }
        let share = compared as f64 / asked as f64;
        assert!(share < 0.1, "{metric}: {share} of the rows");
        let said = index.expected_certain(10, block.count() as f64) / block.count() as f64;
        assert!(said < 0.1 && index.is_certain(), "{metric}: {said} expected");
    }
}

#[test]
fn a_scan_that_shall_not_go_on_has_no_answer() {
    let spec = Clustered { count: 50_000, dimension: 8, clusters: 20, rank: 4, seed: 4 };
    let block = clustered(&spec).expect("a dimension").vectors;
    let index = built(Metric::L2, &block, Some(32));
    let runs = [0..block.count()];
    for recall in [0.99, 1.0] {
        let scan = CodeScan { go_on: &|| false, ..scan_of(10, recall, &runs, &[]) };
        let answer = index.scan_by(block.row(0).expect("a row"), &block.view(), &scan, |row| row);
        assert!(answer.expect("valid").is_none());
    }
}

#[test]
fn an_index_of_an_earlier_version_knows_no_bound() {
    let (block, mut index) = small(Metric::Cosine, None);
    index.extremes = None;
    assert!(!index.is_certain() && index.expected_certain(10, 500.0) >= 500.0);
    let runs = [0..block.count()];
    let scan = scan_of(10, 1.0, &runs, &[]);
    let query = block.row(0).expect("a row");
    assert!(index.scan_by(query, &block.view(), &scan, |row| row).expect("valid").is_none());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("space.ivf");
    index.save(&path).expect("saved");
    let mut bytes = std::fs::read(&path).expect("readable");
    bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
    let length = u32::from_le_bytes(*bytes[12..].first_chunk().expect("a length")) as usize;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..16]).update(&bytes[48..48 + length]);
    bytes[16..48].copy_from_slice(hasher.finalize().as_bytes());
    std::fs::write(&path, &bytes).expect("writable");
    let read = IvfIndex::load(&path, 48, Metric::Cosine).expect("still read");
    assert!(!read.is_certain());
    let search = IvfSearch::nearest(10);
    let ours = index.search(query, &block.view(), &search).expect("valid");
    assert_eq!(read.search(query, &block.view(), &search).expect("valid"), ours);
}
