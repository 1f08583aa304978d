//! How far an estimate can be off, for certain: what makes an answer from codes an exact one.
//!
//! The error of an estimate is `<coding, q> + <left, q_left>`: what the bytes of a row are off by, times the query on the kept
//! axes, and what the row has beside these axes, times what the query has there. By Cauchy and Schwarz it is no greater than
//! the products of the lengths. The greatest lengths among the rows are kept with the index. A row whose estimate lies farther
//! beyond the last hit than that is none; the others are compared in full.
//!
//! Few rows are unlike all others, and their lengths would spoil the bound for all: these are listed as [odd](Extremes::odd), and
//! always compared in full.
//!
//! Everything is computed in single precision, so that rounding has its share in the bound. It is bounded as in chapter 3 of
//! Higham 2002, "Accuracy and Stability of Numerical Algorithms", for sums in any order of the length that ours have
//! ([`rounding`](crate::vector::rounding)).

use std::ops::Range;
use std::sync::OnceLock;

use super::super::section::Section;
use super::coder::{CodedQuery, Coder};
use super::tune::Truth;
use super::{IvfIndex, MEASURED_K};
use crate::index::random::stratified_rows;
use crate::vector::{CONSTANT_BYTES, Metric, RowBitmap, VectorView, norm, reference, rounding};

/// One rounding to single precision.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// Largest byte of a code.
const BYTE_MAX: f64 = 255.0;

/// One row in so many is the most that is left out of each of the extremes.
const ODD_STEP: usize = 1000;

/// Axes that are farther from orthonormal than this do not bound anything.
const SKEW_MAX: f64 = 1e-2;

/// What second-order terms may add to a bound.
const CARE: f64 = 1.02;

/// Queries, and rows of a sample, that tell how many rows are compared in full.
const MEASURED_QUERIES: usize = 64;
const MEASURED_ROWS: usize = 4096;

/// How far codes are from the rows they stand for, at most.
#[derive(Debug, Clone)]
pub(super) struct Extremes {
    /// Greatest length of what the bytes of a row are off by.
    pub(super) coding: f64,
    /// Greatest length of what a row has beside the kept axes.
    pub(super) left_out: f64,
    /// Greatest length of a row from the mean.
    pub(super) length: f64,
    /// How far the kept axes are from orthonormal: the Frobenius norm of `A A^T - 1`.
    pub(super) skew: f64,
    /// Rows beyond one of these lengths, ascending.
    pub(super) odd: Section<u32>,
    /// The same, to ask for one of them; made when somebody does.
    pub(super) marks: OnceLock<RowBitmap>,
    /// Share of some thousand rows that a search for ten of them compares in full, measured.
    pub(super) compared_share: f64,
}

/// The three lengths of one row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lengths {
    coding: f32,
    left_out: f32,
    length: f32,
}

/// How far the kept axes are from orthonormal.
pub(super) fn skew(coder: &Coder) -> f64 {
    let axes: Vec<&[f32]> = coder.axes.as_slice().chunks_exact(coder.dimension).collect();
    let mut square = 0.0;
    for (place, axis) in axes.iter().enumerate() {
        square += (reference::dot(axis, axis) - 1.0).powi(2);
        let others = axes.iter().skip(place + 1);
        square += others.map(|other| 2.0 * reference::dot(axis, other).powi(2)).sum::<f64>();
    }
    square.sqrt()
}

/// By how much turning a vector onto the kept axes is off, as a share of its length.
fn turning(coder: &Coder, skew: f64) -> f64 {
    (coder.kept as f64).sqrt() * rounding(coder.dimension) + skew
}

/// The lengths of a row, given what [`Coder::rotate`] and [`Coder::encode`] made of it; never below the true ones.
pub(super) fn lengths(
    coder: &Coder,
    skew: f64,
    centred: &[f32],
    rotated: &[f32],
    code: &[u8],
) -> Lengths {
    let scales = coder.low.as_slice().iter().zip(coder.step.as_slice());
    let bytes = code.iter().skip(CONSTANT_BYTES);
    let coding: f64 = rotated
        .iter()
        .zip(scales)
        .zip(bytes)
        .map(|((&value, (&low, &step)), &byte)| {
            (f64::from(value) - f64::from(low) - f64::from(step) * f64::from(byte)).powi(2)
        })
        .sum();
    let length = norm(centred);
    Lengths {
        coding: up(coding.sqrt()),
        left_out: up(beside(length, norm(rotated), turning(coder, skew))),
        length: up(length),
    }
}

/// Length of what is left of a vector beside the kept axes, rounding included.
fn beside(length: f64, kept: f64, turning: f64) -> f64 {
    ((length.powi(2) - kept.powi(2)).max(0.0) + 4.0 * turning * length.powi(2)).sqrt()
}

/// The next single number up.
fn up(value: f64) -> f32 {
    (value as f32).next_up()
}

impl Extremes {
    /// The extremes of all rows but the odd ones.
    pub(super) fn of(skew: f64, rows: &[Lengths]) -> Self {
        let coding = usual(rows, |row| row.coding);
        let left_out = usual(rows, |row| row.left_out);
        let length = usual(rows, |row| row.length);
        // What is no number is odd as well.
        let is_usual = |row: &Lengths| {
            row.coding <= coding && row.left_out <= left_out && row.length <= length
        };
        let is_odd = |row: &Lengths| !is_usual(row);
        let odd = (0u32..).zip(rows).filter(|(_, row)| is_odd(row)).map(|(row, _)| row).collect();
        Self {
            coding: coding.into(),
            left_out: left_out.into(),
            length: length.into(),
            skew,
            odd: Section::Owned(odd),
            marks: OnceLock::new(),
            compared_share: 1.0,
        }
    }

    /// Odd rows among some consecutive ones.
    pub(super) fn odd_within(&self, rows: Range<usize>) -> &[u32] {
        let odd = self.odd.as_slice();
        let place = |row: usize| odd.partition_point(|&other| (other as usize) < row);
        odd.get(place(rows.start)..place(rows.end)).unwrap_or_default()
    }

    /// The odd ones marked among so many rows.
    pub(super) fn marks(&self, rows: usize) -> &RowBitmap {
        self.marks.get_or_init(|| {
            let mut marks = RowBitmap::empty(rows);
            // A row number of a damaged file may be nonsense.
            let odd = self.odd.as_slice().iter().map(|&row| row as usize);
            odd.filter(|&row| row < rows).for_each(|row| marks.insert(row));
            marks
        })
    }

    /// By how much the estimate of a row that is not odd can differ from
    /// [`CodedQuery::estimate_of`](super::coder::CodedQuery::estimate_of) of its computed distance.
    pub(super) fn bound(&self, coder: &Coder, query: &[f32], coded: &CodedQuery) -> Option<f64> {
        if self.skew > SKEW_MAX {
            return None;
        }
        let sum = rounding(coder.dimension);
        let turning = turning(coder, self.skew);
        let whole = norm(query);
        let (row, query) = (self.length, norm(&coded.centred));
        let kept = norm(&coded.rotated);
        let codes = self.coding * kept + self.left_out * beside(query, kept, turning);
        let largest: f64 = coded.factors.iter().map(|factor| f64::from(factor.abs())).sum();
        let base: f64 = coded
            .rotated
            .iter()
            .zip(coder.low.as_slice())
            .map(|(&value, &low)| f64::from(value * low).abs())
            .sum();
        let mean = norm(coder.mean.as_slice());
        // The constant of a row, how it and the true distance are rounded, and what the shift is off by.
        let (constant, ours, theirs) = match coder.metric {
            Metric::L2 => {
                let constant = 0.5 * row.powi(2);
                (constant, sum * constant, sum * (row + query).powi(2))
            }
            // Vectors are of unit length but for their rounding.
            Metric::Cosine => {
                let constant = 0.5 * row.powi(2);
                (constant, sum * constant, sum + 8.0 * UNIT)
            }
            Metric::Ip => {
                let constant = (row + mean) * mean;
                let shift = sum * (mean + whole) * mean;
                (constant, sum * constant + shift, sum * whole * (row + mean))
            }
        };
        let computing = 6.0 * UNIT * (constant + base + BYTE_MAX * largest)
            + UNIT * (coder.kept as f64 + 1.0) * base
            + 3.0 * turning * row * query
            + 2.0 * UNIT * (row + query).powi(2);
        let vanishing = (coder.dimension + coder.kept) as f64 * 4.0 * f64::from(f32::MIN_POSITIVE);
        let all = codes
            + BYTE_MAX * coded.weights.off_by(&coded.factors)
            + computing
            + ours
            + theirs
            + vanishing;
        // Beyond single precision an estimate is no number, and nothing is known of its row.
        let greatest = constant + base + BYTE_MAX * largest + all;
        (greatest < f64::from(f32::MAX) / 4.0).then_some(all * CARE)
    }
}

impl IvfIndex {
    /// Within how much of the last hit a row is compared in full so that the answer is exact; `None` where the index does not
    /// know.
    pub(super) fn certain_margin(&self, query: &[f32], coded: &CodedQuery) -> Option<f64> {
        self.extremes.as_ref()?.bound(&self.coder, query, coded)
    }
}

/// What all rows but one in [`ODD_STEP`] keep below.
fn usual(rows: &[Lengths], length: impl Fn(&Lengths) -> f32) -> f32 {
    let mut all: Vec<f32> = rows.iter().map(length).collect();
    let place = all.len().saturating_sub(1 + all.len() / ODD_STEP);
    if all.is_empty() {
        return 0.0;
    }
    let (_, usual, _) = all.select_nth_unstable_by(place, f32::total_cmp);
    *usual
}

/// Share of some rows that a search for ten of them compares in full; all of them where nothing is known.
pub(super) fn compared_share(index: &IvfIndex, vectors: VectorView<'_>, truth: &Truth) -> f64 {
    let rows = stratified_rows(vectors.count(), MEASURED_ROWS, index.seed ^ 3);
    let rows: Vec<u32> = rows.into_iter().map(|row| row as u32).collect();
    let (mut compared, mut asked) = (0usize, 0usize);
    for place in 0..truth.len().min(MEASURED_QUERIES) {
        let query = truth.query(place, index.coder.dimension);
        let Some(coded) = index.coder.query(query) else { continue };
        let Some(margin) = index.certain_margin(query, &coded) else { return 1.0 };
        let distance = |&row: &u32| {
            vectors.row(row as usize).map(|vector| index.coder.metric.distance(query, vector))
        };
        let mut nearest: Vec<_> = rows.iter().filter_map(distance).collect();
        let last = MEASURED_K.min(nearest.len()).saturating_sub(1);
        if nearest.is_empty() {
            return 1.0;
        }
        let (_, &mut farthest, _) = nearest.select_nth_unstable(last);
        let limit = coded.estimate_of(farthest) + margin;
        coded.weights.gather(index.sky_codes.as_slice(), &rows, |_, estimate| {
            compared += usize::from(f64::from(estimate) <= limit);
        });
        asked += rows.len();
    }
    if asked == 0 { 1.0 } else { compared as f64 / asked as f64 }
}
