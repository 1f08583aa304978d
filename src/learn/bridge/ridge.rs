//! Ridge regression from one space into another, its strength chosen by folds.

use super::linear::{product, product_nt, product_tn, scale_rows, trace};
use super::map::{BridgeMap, SideMap, dot};
use super::moments::{Moments, Pairs, block, together};
use super::procrustes::transposed;
use crate::learn::lapack::{Eigen, eigh};
use crate::learn::linear::check_alpha_count;
use crate::learn::{LearnError, Progress};

/// A linear map and how its strength was chosen.
pub(super) struct Linear {
    pub(super) map: BridgeMap,
    pub(super) alpha: f64,
    pub(super) alphas: Vec<f64>,
    /// For each strength the share of the variance of TO that is explained in the folds left out; empty for one strength.
    pub(super) scores: Vec<f64>,
}

/// Strengths that are tried when none is given: these times the mean of the eigenvalues of `X' X`.
const RELATIVE: [f64; 13] =
    [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 10.0];

/// Fits `y = W x + b`, which minimises `|Y - X W' - b|^2 + alpha |W|^2`; `b` is not penalised.
///
/// Each fold is left out in turn: what it would be predicted to be follows from the moments of the others, and how wrong
/// that is from its own, so that neither needs the vectors again.
pub(super) fn fit(
    pairs: &Pairs<'_>,
    folds: &[Moments],
    alphas: &[f64],
    progress: Progress<'_>,
) -> Result<Linear, LearnError> {
    check_alpha_count(alphas)?;
    let all = together(folds)?;
    let centred = Centred::new(pairs, &all, &all.mean());
    let alphas = if alphas.is_empty() {
        let mean = trace(&centred.xx, centred.from) / centred.from as f64;
        RELATIVE.iter().map(|relative| relative * mean).collect()
    } else {
        alphas.to_vec()
    };
    if let Some(alpha) = alphas.iter().find(|alpha| !(alpha.is_finite() && **alpha >= 0.0)) {
        return Err(LearnError::BadSetting {
            what: "alpha",
            value: alpha.to_string(),
            hint: "give a number that is 0 or greater",
        });
    }
    let scores = if alphas.len() > 1 {
        left_out(pairs, folds, &all, &alphas, progress)?
    } else {
        Vec::new()
    };
    let best = scores.iter().enumerate().fold(0, |best, (place, score)| {
        if scores.get(best).is_some_and(|best| score > best) { place } else { best }
    });
    let alpha = alphas.get(best).copied().unwrap_or_default();
    progress.step("solving", 0, 1)?;
    let map = solve(pairs, &centred, alpha)?;
    Ok(Linear { map, alpha, alphas, scores })
}

/// Moments of both sides about a point.
struct Centred {
    from: usize,
    to: usize,
    xx: Vec<f64>,
    xy: Vec<f64>,
    yy_trace: f64,
    point: Vec<f64>,
}

impl Centred {
    fn new(pairs: &Pairs<'_>, moments: &Moments, point: &[f64]) -> Self {
        let (from, width) = (pairs.from_width, moments.width);
        let about = moments.about(point);
        let yy = block(&about, width, from..width, &(from..width));
        Self {
            from,
            to: width - from,
            xx: block(&about, width, 0..from, &(0..from)),
            xy: block(&about, width, 0..from, &(from..width)),
            yy_trace: trace(&yy, width - from),
            point: point.to_vec(),
        }
    }
}

/// The weights in the basis of the eigenvectors of `X' X`, without the strength: rows are eigenvectors.
struct Basis {
    eigen: Eigen,
    /// `V' X' Y`.
    turned: Vec<f64>,
}

impl Basis {
    fn new(centred: &Centred) -> Result<Self, LearnError> {
        let eigen = eigh(centred.xx.clone(), centred.from)?;
        let turned = product(&eigen.vectors, &centred.xy, centred.from)?;
        Ok(Self { eigen, turned })
    }

    /// What each row of `turned` is multiplied by. Directions in which FROM does not vary carry nothing.
    fn shrink(&self, alpha: f64) -> Vec<f64> {
        let values = &self.eigen.values;
        let least = values.last().copied().unwrap_or(0.0) * 1e-14 * values.len() as f64;
        let of = |value: &f64| {
            let sum = value.max(0.0) + alpha;
            if sum > least { 1.0 / sum } else { 0.0 }
        };
        values.iter().map(of).collect()
    }
}

fn solve(pairs: &Pairs<'_>, centred: &Centred, alpha: f64) -> Result<BridgeMap, LearnError> {
    let basis = Basis::new(centred)?;
    let mut shrunk = basis.turned.clone();
    scale_rows(&mut shrunk, centred.to, basis.shrink(alpha).into_iter());
    // W' = V diag(1 / (value + alpha)) V' X' Y.
    let weights = product_tn(&basis.eigen.vectors, &shrunk, centred.from)?;
    let weights = transposed(&weights, centred.from, centred.to);
    let (x_mean, y_mean) = centred.point.split_at(centred.from);
    let bias = weights
        .chunks_exact(centred.from)
        .zip(y_mean)
        .map(|(row, mean)| mean - dot(row, x_mean))
        .collect();
    Ok(BridgeMap {
        from: SideMap::affine(pairs.from_unit, centred.from, weights, bias)?,
        to: SideMap::identity(centred.to),
    })
}

/// The share of the variance that each strength explains in folds that were not learned from.
fn left_out(
    pairs: &Pairs<'_>,
    folds: &[Moments],
    all: &Moments,
    alphas: &[f64],
    progress: Progress<'_>,
) -> Result<Vec<f64>, LearnError> {
    let used: Vec<&Moments> = folds.iter().filter(|fold| fold.count > 0.0).collect();
    if used.len() < 2 {
        return Err(LearnError::TooFew {
            what: "folds with objects, by which to choose the strength",
            given: used.len(),
            needed: 2,
        });
    }
    let mut errors = vec![0.0; alphas.len()];
    let mut total = 0.0;
    for (place, fold) in used.iter().enumerate() {
        progress.step("choosing the strength", place as u64, used.len() as u64)?;
        let mut rest = all.clone();
        rest.add(fold, -1.0);
        // Both about the mean that would be predicted from.
        let mean = rest.mean();
        let (learned, seen) = (Centred::new(pairs, &rest, &mean), Centred::new(pairs, fold, &mean));
        let from = learned.from;
        let basis = Basis::new(&learned)?;
        let vectors = &basis.eigen.vectors;
        let outer = product_nt(&basis.turned, &basis.turned, learned.to)?;
        let spread = product_nt(&product(vectors, &seen.xx, from)?, vectors, from)?;
        let cross = product(vectors, &seen.xy, from)?;
        let along: Vec<f64> = cross
            .chunks_exact(learned.to)
            .zip(basis.turned.chunks_exact(learned.to))
            .map(|(cross, turned)| dot(cross, turned))
            .collect();
        for (error, alpha) in errors.iter_mut().zip(alphas) {
            // |Y|^2 - 2 <W X', Y'> + |X W'|^2, all in the basis of the eigenvectors.
            let shrink = basis.shrink(*alpha);
            let mut squares = 0.0;
            for ((row, outer), by) in
                spread.chunks_exact(from).zip(outer.chunks_exact(from)).zip(&shrink)
            {
                let of_row = row.iter().zip(outer).zip(&shrink);
                squares += by * of_row.map(|((a, b), by)| a * b * by).sum::<f64>();
            }
            *error += seen.yy_trace - 2.0 * dot(&along, &shrink) + squares;
        }
        total += seen.yy_trace;
    }
    Ok(errors.into_iter().map(|error| 1.0 - error / total).collect())
}
