//! Canonical correlation analysis (Hotelling 1936, Biometrika 28, 321): directions of both spaces that vary together.

use super::linear::{product, product_nt, product_tn, scale_rows, trace};
use super::map::{BridgeMap, SideMap, dot};
use super::moments::{Moments, Pairs, block};
use crate::learn::LearnError;
use crate::learn::lapack::{Svd, eigh, svd};

/// Maps of both sides, and how well their components are correlated.
pub(super) struct Canonical {
    pub(super) map: BridgeMap,
    pub(super) correlations: Vec<f64>,
}

/// What a fit may choose.
pub(super) struct Settings {
    /// Components of the shared space; 0 for as many as the smaller space has.
    pub(super) components: usize,
    /// Share of the mean variance that is added to the variance in every direction.
    pub(super) regularisation: f64,
    /// Each component is multiplied by its correlation to this power.
    pub(super) power: f64,
}

/// Fits both sides: with the covariances `Cxx`, `Cyy` (regularised) and `Cxy`, `Cxx^-1/2 Cxy Cyy^-1/2 = U S V'`; the
/// components of FROM are `U' Cxx^-1/2 (x - mean)`, those of TO `V' Cyy^-1/2 (y - mean)`.
pub(super) fn fit(
    pairs: &Pairs<'_>,
    moments: &Moments,
    settings: &Settings,
) -> Result<Canonical, LearnError> {
    let (from, to, width) = (pairs.from_width, pairs.target_width(), moments.width);
    let most = from.min(to);
    let components = if settings.components == 0 { most } else { settings.components };
    if components > most {
        return Err(LearnError::BadSetting {
            what: "the number of components",
            value: components.to_string(),
            hint: "it is at most the smaller of both dimensions",
        });
    }
    if !(settings.regularisation.is_finite() && settings.regularisation >= 0.0) {
        return Err(LearnError::BadSetting {
            what: "the regularisation",
            value: settings.regularisation.to_string(),
            hint: "give a share of the mean variance, 0 or greater, such as 0.001",
        });
    }
    let mean = moments.mean();
    let mut about = moments.about(&mean);
    for value in &mut about {
        *value /= moments.count - 1.0;
    }
    let share = settings.regularisation;
    let x_white = whitening(block(&about, width, 0..from, &(0..from)), from, share)?;
    let y_white = whitening(block(&about, width, from..width, &(from..width)), to, share)?;
    let cross = block(&about, width, 0..from, &(from..width));
    let between = product_nt(&product(&x_white, &cross, from)?, &y_white, to)?;
    let Svd { u, mut values, vt } = svd(between, from, to)?;
    values.truncate(components);
    let weights: Vec<f64> =
        values.iter().map(|value| value.clamp(0.0, 1.0).powf(settings.power)).collect();
    let (x_mean, y_mean) = mean.split_at(from);
    // Rows of U' and V' are components.
    let x_rows: Vec<f64> =
        product_tn(&u, &x_white, from)?.into_iter().take(components * from).collect();
    let y_rows: Vec<f64> = product(&vt, &y_white, to)?.into_iter().take(components * to).collect();
    let map = BridgeMap {
        from: side(pairs.from_unit, x_rows, x_mean, &weights)?,
        to: side(pairs.to_unit, y_rows, y_mean, &weights)?,
    };
    Ok(Canonical { map, correlations: values })
}

fn side(
    unit: bool,
    mut rows: Vec<f64>,
    mean: &[f64],
    weights: &[f64],
) -> Result<SideMap, LearnError> {
    let width = mean.len();
    scale_rows(&mut rows, width, weights.iter().copied());
    let bias = rows.chunks_exact(width).map(|row| -dot(row, mean)).collect();
    SideMap::affine(unit, width, rows, bias)
}

/// The inverse square root of a covariance matrix to which a share of its mean variance was added. Directions without any
/// variance are left out.
fn whitening(mut covariance: Vec<f64>, width: usize, share: f64) -> Result<Vec<f64>, LearnError> {
    let added = share * trace(&covariance, width) / width as f64;
    for value in covariance.iter_mut().step_by(width + 1) {
        *value += added;
    }
    let eigen = eigh(covariance, width)?;
    let greatest = eigen.values.last().copied().unwrap_or(0.0);
    if greatest <= 0.0 {
        return Err(LearnError::NoResult {
            what: "the correlation of both spaces",
            hint: "all vectors of one of them are equal in the training set".to_owned(),
        });
    }
    let least = greatest * 1e-14 * width as f64;
    let mut scaled = eigen.vectors.clone();
    let root = |value: &f64| if *value > least { 1.0 / value.sqrt() } else { 0.0 };
    scale_rows(&mut scaled, width, eigen.values.iter().map(root));
    product_tn(&eigen.vectors, &scaled, width)
}
