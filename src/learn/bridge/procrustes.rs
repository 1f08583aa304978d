//! Orthogonal Procrustes (Schönemann 1966, Psychometrika 31, 1): the rotation that brings one space nearest to another.

use super::linear::{product, product_tn, trace};
use super::map::{BridgeMap, SideMap, dot};
use super::moments::{Moments, Pairs, block};
use crate::learn::LearnError;
use crate::learn::lapack::{Svd, svd};

/// A rotation, and how much it stretches.
pub(super) struct Rotation {
    pub(super) map: BridgeMap,
    pub(super) scale: f64,
}

/// Fits `y = s R (x - mean x) + mean y` with the `R` that minimises the squared distances among all matrices with
/// orthonormal columns or rows, and the best `s` for it where scaling is wished.
///
/// With `X' Y = U S V'` of the (centred) pairs, `R = V U'`. It has the dimensions of TO as rows: where FROM has fewer, it
/// keeps all distances; where FROM has more, it is the part of a rotation of FROM that meets TO padded with zeros.
pub(super) fn fit(
    pairs: &Pairs<'_>,
    moments: &Moments,
    centre: bool,
    scale: bool,
) -> Result<Rotation, LearnError> {
    let (from, to, width) = (pairs.from_width, pairs.target_width(), moments.width);
    let point = if centre { moments.mean() } else { vec![0.0; width] };
    let about = moments.about(&point);
    let cross = block(&about, width, 0..from, &(from..width));
    let Svd { u, values, vt } = svd(cross, from, to)?;
    // R = V U', from the rows of V' and the columns of U: (U V')' without a copy.
    let ranks = values.len();
    let turned = product(&u, &vt, ranks)?;
    let mut rotation = transposed(&turned, from, to);
    let stretch = if scale {
        let spread = block(&about, width, 0..from, &(0..from));
        // sum |R x|^2 = trace(R Sxx R'), which is that of x where R keeps lengths.
        let mapped = product_tn(&turned, &product(&spread, &turned, from)?, from)?;
        values.iter().sum::<f64>() / trace(&mapped, to)
    } else {
        1.0
    };
    if !stretch.is_finite() {
        return Err(LearnError::NoResult {
            what: "the scale of the rotation",
            hint: "all vectors of FROM are equal in the training set".to_owned(),
        });
    }
    for value in &mut rotation {
        *value *= stretch;
    }
    let (x_mean, y_mean) = point.split_at(from);
    let bias = rotation
        .chunks_exact(from)
        .zip(y_mean)
        .map(|(row, mean)| mean - dot(row, x_mean))
        .collect();
    let map = BridgeMap {
        from: SideMap::affine(pairs.from_unit, from, rotation, bias)?,
        to: SideMap::identity(to),
    };
    Ok(Rotation { map, scale: stretch })
}

/// The transposed matrix.
pub(super) fn transposed(matrix: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(matrix.len());
    for column in 0..columns {
        out.extend(matrix.iter().skip(column).step_by(columns).take(rows));
    }
    out
}
