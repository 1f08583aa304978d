//! How well objects are found across a bridge, on pairs that it has not seen.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::linear::product_nt;
use super::map::{BridgeMap, dot, scale_to_unit};
use super::moments::{HELD_OUT, Pairs};
use crate::learn::metrics::{Bootstrap, Means, measure};
use crate::learn::{LearnError, Progress};

/// How two vectors of one space are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// By the cosine of their angle.
    Cosine,
    /// By their Euclidean distance.
    Euclidean,
    /// By their inner product.
    Product,
}

/// How each space is compared, and how much is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measuring {
    /// How vectors of FROM are compared with each other.
    pub from: Likeness,
    /// How vectors of TO are compared with each other.
    pub to: Likeness,
    /// How vectors are compared where the bridge leads: as those of TO, or in the shared space by angle.
    pub across: Likeness,
    /// Bootstrap resamples behind each interval.
    pub resamples: u32,
    /// Seed of the resamples.
    pub seed: u64,
    /// Threads to resample on.
    pub threads: usize,
}

/// A number that tells how good a bridge is.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// What it is, such as `recall@10`.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Lower end of the bootstrap's 95 % interval over the searching objects.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// What guessing would reach.
    pub chance: Option<f64>,
}

/// Numbers of candidates of which one must be the object's own.
pub const RECALL_AT: [usize; 3] = [1, 10, 100];

/// Neighbours that are compared by [`mutual`].
const NEIGHBOURS: usize = 10;

/// Rows of similarities that are computed at once.
const BLOCK_ROWS: usize = 512;

/// Similarities that differ by less, relative to their size, are the same: products are rounded differently in different
/// places of a matrix.
const ROUNDING: f64 = 1e-12;

/// Measures a bridge on the pairs that are held out: `recall@k` (the share of FROM's objects whose own vector of TO is among
/// the `k` nearest of all held-out objects) and `recall_back@k` (from TO to FROM), both exactly; `cosine`, the mean cosine of
/// an object's own vectors across the bridge; and the share of common neighbours `mutual_knn@k` (Huh et al. 2024,
/// arXiv:2405.07987), before and after mapping.
///
/// # Errors
/// [`LearnError::TooFew`] for less than two objects that are held out; [`LearnError::Shape`]; [`LearnError::Unreadable`];
/// [`LearnError::Stopped`].
pub fn evaluate(
    pairs: &Pairs<'_>,
    map: &BridgeMap,
    measuring: &Measuring,
    progress: Progress<'_>,
) -> Result<Vec<Measured>, LearnError> {
    pairs.check()?;
    let (from, to) = held_out(pairs)?;
    let count = from.len() / pairs.from_width;
    if count < 2 {
        return Err(LearnError::TooFew {
            what: "objects with a vector in both spaces to measure on",
            given: count,
            needed: 2,
        });
    }
    let across = |rows: Vec<f64>| Side::new(rows, map.from.outputs(), measuring.across);
    let mapped = [across(map.from.apply(&from)?), across(map.to.apply(&to)?)];
    let cosine = cosines(&mapped)?;
    let ranks = ranks(&mapped[0], &mapped[1], progress)?;
    let before = [
        Side::new(from, pairs.from_width, measuring.from),
        Side::new(to, pairs.target_width(), measuring.to),
    ];
    let neighbours = NEIGHBOURS.min(count - 1);
    let mut found = Found::default();
    for (name, ranks) in [("recall", &ranks[0]), ("recall_back", &ranks[1])] {
        for k in RECALL_AT {
            let chance = k.min(count) as f64 / count as f64;
            let hits = ranks.iter().map(|rank| rank.within(k));
            found.add(format!("{name}@{k}"), hits, Some(chance));
        }
    }
    found.add("cosine".to_owned(), cosine.into_iter(), None);
    let chance = Some(neighbours as f64 / (count - 1) as f64);
    for (stage, sides) in [("before", &before), ("after", &mapped)] {
        let shares = mutual(sides, neighbours, progress)?;
        found.add(format!("mutual_knn_{stage}@{neighbours}"), shares.into_iter(), chance);
    }
    found.measured(measuring, progress)
}

/// A number of each object under each name.
#[derive(Default)]
struct Found {
    names: Vec<String>,
    values: Vec<Vec<Option<f64>>>,
    chances: Vec<Option<f64>>,
}

impl Found {
    fn add(&mut self, name: String, values: impl Iterator<Item = f64>, chance: Option<f64>) {
        self.names.push(name);
        self.values.push(values.map(Some).collect());
        self.chances.push(chance);
    }

    /// The means, with their intervals over the same resamples.
    fn measured(
        self,
        measuring: &Measuring,
        progress: Progress<'_>,
    ) -> Result<Vec<Measured>, LearnError> {
        let Self { names, values, chances } = self;
        let bootstrap = Bootstrap {
            resamples: measuring.resamples,
            seed: measuring.seed,
            groups: None,
            threads: measuring.threads,
        };
        let means = measure(&Means::new(names, values)?, &bootstrap, progress)?;
        let measured = means.into_iter().zip(chances).map(|(mean, chance)| Measured {
            low: mean.low.unwrap_or(mean.value),
            high: mean.high.unwrap_or(mean.value),
            name: mean.name,
            value: mean.value,
            chance,
        });
        Ok(measured.collect())
    }
}

/// The vectors of both sides of the pairs that are held out.
fn held_out(pairs: &Pairs<'_>) -> Result<(Vec<f64>, Vec<f64>), LearnError> {
    let (mut from, mut to) = (Vec::new(), Vec::new());
    pairs.features.pass(&mut |first, block| {
        for (place, row) in block.chunks_exact(pairs.features.width()).enumerate() {
            if pairs.folds.get(first + place) == Some(&HELD_OUT) {
                let (x, y) = row.split_at(pairs.from_width);
                from.extend_from_slice(x);
                to.extend_from_slice(y);
            }
        }
        Ok(())
    })?;
    Ok((from, to))
}

/// Vectors, prepared so that their products tell how alike they are.
struct Side {
    width: usize,
    rows: Vec<f64>,
    likeness: Likeness,
    /// Half of each vector's square; only where Euclidean distances are meant.
    halves: Vec<f64>,
}

impl Side {
    fn new(mut rows: Vec<f64>, width: usize, likeness: Likeness) -> Self {
        if likeness == Likeness::Cosine {
            scale_to_unit(&mut rows, width);
        }
        let halves = match likeness {
            Likeness::Euclidean => {
                rows.chunks_exact(width).map(|row| dot(row, row) / 2.0).collect()
            }
            Likeness::Cosine | Likeness::Product => Vec::new(),
        };
        Self { width, rows, likeness, halves }
    }

    fn count(&self) -> usize {
        self.rows.len() / self.width
    }

    fn row(&self, place: usize) -> &[f64] {
        self.rows.get(place * self.width..(place + 1) * self.width).unwrap_or_default()
    }

    /// `x.y`, or `x.y - |x|^2 / 2 - |y|^2 / 2`, which falls as the distance grows.
    fn likeness_to(&self, place: usize, other: &Self, theirs: usize) -> f64 {
        dot(self.row(place), other.row(theirs))
            - self.halves.get(place).unwrap_or(&0.0)
            - other.halves.get(theirs).unwrap_or(&0.0)
    }

    /// Similarities of a block of rows to all rows of another side.
    fn block(&self, first: usize, other: &Self) -> Result<Vec<f64>, LearnError> {
        let last = (first + BLOCK_ROWS).min(self.count());
        let rows = self.rows.get(first * self.width..last * self.width).unwrap_or_default();
        let mut likeness = product_nt(rows, &other.rows, self.width)?;
        if self.likeness == Likeness::Euclidean {
            for (row, mine) in
                likeness.chunks_exact_mut(other.count()).zip(&self.halves[first..last])
            {
                for (value, theirs) in row.iter_mut().zip(&other.halves) {
                    *value -= mine + theirs;
                }
            }
        }
        Ok(likeness)
    }
}

/// Candidates before an object's own, and those that are as near as it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Rank {
    nearer: u32,
    as_near: u32,
}

impl Rank {
    fn count(&mut self, candidate: f64, own: f64) {
        let slack = ROUNDING * (1.0 + own.abs());
        self.nearer += u32::from(candidate > own + slack);
        self.as_near += u32::from((candidate - own).abs() <= slack);
    }

    /// The chance that the own one is among the first `k`, candidates that are as near being in random order.
    fn within(self, k: usize) -> f64 {
        let room = k as f64 - f64::from(self.nearer);
        (room / (f64::from(self.as_near) + 1.0)).clamp(0.0, 1.0)
    }
}

/// Does the rows of a square of similarities block by block, several blocks at once, in any order.
fn by_blocks<T: Send>(
    count: usize,
    stage: &str,
    progress: Progress<'_>,
    work: impl Fn(usize) -> Result<T, LearnError> + Sync,
) -> Result<Vec<T>, LearnError> {
    let firsts: Vec<usize> = (0..count).step_by(BLOCK_ROWS).collect();
    let done = AtomicU64::new(0);
    let one = |first: &usize| {
        let rows = BLOCK_ROWS.min(count - first) as u64;
        let before = done.fetch_add(rows, Ordering::Relaxed);
        progress.step(stage, before, count as u64)?;
        work(*first)
    };
    firsts.par_iter().map(one).collect()
}

/// The ranks of each object's own vector: of TO among all of TO, as seen from FROM, and the other way round.
fn ranks(from: &Side, to: &Side, progress: Progress<'_>) -> Result<[Vec<Rank>; 2], LearnError> {
    let count = from.count();
    let own: Vec<f64> = (0..count).map(|place| from.likeness_to(place, to, place)).collect();
    let blocks = by_blocks(count, "comparing held-out objects", progress, |first| {
        let likeness = from.block(first, to)?;
        let mut back = vec![Rank::default(); count];
        let mut there = Vec::with_capacity(BLOCK_ROWS);
        for (place, row) in likeness.chunks_exact(count).enumerate() {
            let (mut rank, me) = (Rank::default(), first + place);
            let mine = own.get(me).copied().unwrap_or(0.0);
            for (candidate, ((likeness, theirs), back)) in
                row.iter().zip(&own).zip(&mut back).enumerate()
            {
                if candidate != me {
                    rank.count(*likeness, mine);
                    back.count(*likeness, *theirs);
                }
            }
            there.push(rank);
        }
        Ok((there, back))
    })?;
    let mut there = Vec::with_capacity(count);
    let mut back = vec![Rank::default(); count];
    for (some, counted) in blocks {
        there.extend(some);
        for (sum, counted) in back.iter_mut().zip(counted) {
            sum.nearer += counted.nearer;
            sum.as_near += counted.as_near;
        }
    }
    Ok([there, back])
}

/// The cosine of each object's own vectors across the bridge.
fn cosines(sides: &[Side; 2]) -> Result<Vec<f64>, LearnError> {
    let [from, to] = sides;
    if from.count() != to.count() || from.width != to.width {
        return Err(LearnError::Shape {
            what: "length of what the bridge makes of FROM, against TO",
            given: from.width,
            expected: to.width,
        });
    }
    let cosine = |place: usize| {
        let (x, y) = (from.row(place), to.row(place));
        let lengths = (dot(x, x) * dot(y, y)).sqrt();
        if lengths > 0.0 { dot(x, y) / lengths } else { 0.0 }
    };
    Ok((0..from.count()).map(cosine).collect())
}

/// For each object the share of its `k` nearest of one side that are among its `k` nearest of the other.
fn mutual(sides: &[Side; 2], k: usize, progress: Progress<'_>) -> Result<Vec<f64>, LearnError> {
    let [from, to] = sides;
    let blocks = by_blocks(from.count(), "comparing neighbourhoods", progress, |first| {
        let (theirs, ours) = (nearest(from, first, k)?, nearest(to, first, k)?);
        let share = |(a, b): (&Vec<u32>, &Vec<u32>)| {
            a.iter().filter(|place| b.contains(place)).count() as f64 / k as f64
        };
        Ok(theirs.iter().zip(&ours).map(share).collect::<Vec<f64>>())
    })?;
    Ok(blocks.concat())
}

/// The places of the `k` nearest others of each row of a block.
fn nearest(side: &Side, first: usize, k: usize) -> Result<Vec<Vec<u32>>, LearnError> {
    let likeness = side.block(first, side)?;
    let mut places: Vec<(f64, u32)> = Vec::with_capacity(side.count());
    let found = likeness.chunks_exact(side.count()).enumerate().map(|(row, likeness)| {
        places.clear();
        let others = likeness.iter().copied().zip(0_u32..);
        places.extend(others.filter(|(_, place)| *place as usize != first + row));
        // Of neighbours that are equally near the first ones, so that the same is found again.
        let order =
            |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1));
        if k < places.len() {
            places.select_nth_unstable_by(k, order);
            places.truncate(k);
        }
        places.iter().map(|(_, place)| *place).collect()
    });
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use super::super::map::SideMap;
    use super::*;
    use crate::learn::Matrix;

    fn measuring(likeness: Likeness) -> Measuring {
        Measuring {
            from: likeness,
            to: likeness,
            across: likeness,
            resamples: 200,
            seed: 1,
            threads: 2,
        }
    }

    fn identity(width: usize) -> BridgeMap {
        BridgeMap { from: SideMap::identity(width), to: SideMap::identity(width) }
    }

    fn measure(values: Vec<f64>, width: usize, likeness: Likeness) -> Vec<Measured> {
        let matrix = Matrix::new(2 * width, values).expect("rows");
        let folds = vec![HELD_OUT; crate::learn::Features::count(&matrix)];
        let pairs = Pairs {
            features: &matrix,
            from_width: width,
            from_unit: false,
            to_unit: false,
            folds: &folds,
        };
        evaluate(&pairs, &identity(width), &measuring(likeness), Progress::silent())
            .expect("measured")
    }

    fn value(measured: &[Measured], name: &str) -> f64 {
        measured.iter().find(|each| each.name == name).expect(name).value
    }

    #[test]
    fn ranks_are_counted_both_ways() {
        // On a line, FROM at 0, 1, 2, ..., TO at twice that: object i is nearest to j = i / 2.
        let count = 1_300_u32;
        let values = (0..count).flat_map(|i| [f64::from(i), 2.0 * f64::from(i)]).collect();
        let measured = measure(values, 1, Likeness::Euclidean);
        // |2j - i| < i for 0 < j < i, and j = 0 is as far as the own one: of these i the chance is 1 / 2.
        let within = |k: f64| {
            let of = |i: u32| match f64::from(i) {
                0.0 => 1.0,
                // Nearer ones are i - 1, or one more for the object itself is not counted; one is as near.
                i => ((k - (i - 1.0)) / 2.0).clamp(0.0, 1.0),
            };
            (0..count).map(of).sum::<f64>() / f64::from(count)
        };
        for k in [1, 10, 100] {
            let wanted = within(f64::from(k));
            assert!((value(&measured, &format!("recall@{k}")) - wanted).abs() < 1e-12);
        }
        // Back: from 2i the nearest of FROM is 2i, where there is one; i is at distance i, as is 3i.
        let nearer =
            |i: u32| (0..count).filter(|j| *j != i && (2 * i).abs_diff(*j) < i).count() as f64;
        let equal =
            |i: u32| (0..count).filter(|j| *j != i && (2 * i).abs_diff(*j) == i).count() as f64;
        let back = (0..count).map(|i| ((10.0 - nearer(i)) / (equal(i) + 1.0)).clamp(0.0, 1.0));
        let back = back.sum::<f64>() / f64::from(count);
        assert!((value(&measured, "recall_back@10") - back).abs() < 1e-12);
        // Twice as far is the same order: all neighbours are common ones.
        assert!((value(&measured, "mutual_knn_before@10") - 1.0).abs() < 1e-12);
        let chance = measured.iter().find(|each| each.name == "recall@100").expect("there").chance;
        assert_eq!(chance, Some(100.0 / f64::from(count)));
    }

    #[test]
    fn equal_vectors_are_found_as_often_as_by_chance() {
        let measured = measure([1.0, 2.0, 1.0, 2.0].repeat(40), 2, Likeness::Cosine);
        assert!((value(&measured, "recall@1") - 1.0 / 40.0).abs() < 1e-12);
        assert!((value(&measured, "recall_back@10") - 0.25).abs() < 1e-12);
        assert!((value(&measured, "recall@100") - 1.0).abs() < 1e-12);
        assert!((value(&measured, "cosine") - 1.0).abs() < 1e-12);
    }

    #[test]
    fn one_object_is_too_few() {
        let matrix = Matrix::new(2, vec![1.0, 2.0]).expect("a row");
        let pairs = Pairs {
            features: &matrix,
            from_width: 1,
            from_unit: false,
            to_unit: false,
            folds: &[HELD_OUT],
        };
        let result =
            evaluate(&pairs, &identity(1), &measuring(Likeness::Product), Progress::silent());
        assert!(matches!(result, Err(LearnError::TooFew { given: 1, .. })));
    }
}
