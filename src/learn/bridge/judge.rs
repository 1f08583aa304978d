//! Which of two maps finds more: pairs that judge, and the loss by which networks learn.

use super::linear::product_nt;
use super::map::BridgeMap;
use super::moments::Pairs;
use crate::learn::LearnError;

/// Temperatures that are tried: these powers of ten. Finer similarities are lost in single precision.
const COLDEST: f64 = -4.75;
const TEMPERATURES: u32 = 20;

/// A loss that is greater by so much counts as equal: of such temperatures the hottest leaves most to be learned.
const LOSS_TOLERANCE: f64 = 0.01;

/// Pairs that judge, at most: their similarities are as many as their square.
const JUDGES_MAX: usize = 1_024;

/// Whether as many of the judges find their own by a map as by another one.
///
/// # Errors
/// [`LearnError::Shape`]; [`LearnError::Unreadable`].
pub fn finds_as_much(
    pairs: &Pairs<'_>,
    judges: &[u32],
    map: &BridgeMap,
    other: &BridgeMap,
) -> Result<bool, LearnError> {
    let judges = Judges::read(pairs, judges)?;
    Ok(judges.found(map)? >= judges.found(other)?)
}

/// Vectors of both sides of some pairs.
pub(super) struct Judges {
    from: Vec<f64>,
    to: Vec<f64>,
}

/// How good a map is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    /// Vectors of either side that are nearest to their own.
    pub(super) found: usize,
    /// The least InfoNCE loss, the sum of both directions.
    pub(super) loss: f64,
    /// The temperature for it.
    pub(super) temperature: f64,
}

impl Judged {
    pub(super) fn is_better(&self, other: &Self) -> bool {
        self.found > other.found || (self.found == other.found && self.loss < other.loss)
    }
}

impl Judges {
    pub(super) fn read(pairs: &Pairs<'_>, places: &[u32]) -> Result<Self, LearnError> {
        let mut rows = Vec::new();
        pairs.features.read(places.get(..JUDGES_MAX).unwrap_or(places), &mut rows)?;
        pairs.prepare(&mut rows);
        let (mut from, mut to) = (Vec::new(), Vec::new());
        for row in rows.chunks_exact(pairs.features.width()) {
            let (x, y) = row.split_at(pairs.from_width);
            from.extend_from_slice(x);
            to.extend_from_slice(y);
        }
        Ok(Self { from, to })
    }

    /// Cosines of all of FROM with all of TO, and the other way.
    fn cosines(&self, map: &BridgeMap) -> Result<[Vec<f64>; 2], LearnError> {
        let (from, to) = (map.from.apply(&self.from)?, map.to.apply(&self.to)?);
        let width = map.to.outputs();
        Ok([product_nt(&from, &to, width)?, product_nt(&to, &from, width)?])
    }

    fn found(&self, map: &BridgeMap) -> Result<usize, LearnError> {
        Ok(self.cosines(map)?.iter().map(|cosines| found(cosines)).sum())
    }

    pub(super) fn judge(&self, map: &BridgeMap) -> Result<Judged, LearnError> {
        let cosines = self.cosines(map)?;
        let of = |step: u32| {
            let temperature = 10.0_f64.powf(COLDEST + 0.25 * f64::from(step));
            let losses = cosines.iter().map(|cosines| info_nce(cosines, temperature));
            (losses.sum::<f64>(), temperature)
        };
        let tried: Vec<(f64, f64)> = (0..TEMPERATURES).map(of).collect();
        let loss = tried.iter().map(|(loss, _)| *loss).fold(f64::INFINITY, f64::min);
        let equal = tried.iter().filter(|(each, _)| *each <= loss + LOSS_TOLERANCE);
        let temperature = equal.map(|(_, temperature)| *temperature).fold(0.0, f64::max);
        let found = cosines.iter().map(|cosines| found(cosines)).sum();
        Ok(Judged { found, loss, temperature })
    }
}

/// Rows of a square matrix of which the number on the diagonal is the greatest and the only one.
fn found(cosines: &[f64]) -> usize {
    let rows = cosines.chunks_exact(cosines.len().isqrt().max(1)).enumerate();
    let is_own = |(place, row): &(usize, &[f64])| {
        let own = row.get(*place).copied().unwrap_or(f64::NAN);
        row.iter().enumerate().all(|(at, other)| at == *place || *other < own)
    };
    rows.filter(is_own).count()
}

/// The mean over the rows of a square matrix of how improbable the number on the diagonal is.
fn info_nce(cosines: &[f64], temperature: f64) -> f64 {
    let count = cosines.len().isqrt();
    let of_row = |(place, row): (usize, &[f64])| {
        let own = row.get(place).copied().unwrap_or(0.0);
        let most = row.iter().copied().fold(own, f64::max);
        let sum: f64 = row.iter().map(|other| ((other - most) / temperature).exp()).sum();
        (most - own) / temperature + sum.ln()
    };
    let sum: f64 = cosines.chunks_exact(count.max(1)).enumerate().map(of_row).sum();
    sum / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_is_that_of_guessing_where_all_are_alike_and_none_where_all_are_told_apart() {
        let alike = vec![0.3; 25];
        assert!((info_nce(&alike, 0.1) - 5.0_f64.ln()).abs() < 1e-12);
        let apart: Vec<f64> = (0..25).map(|at| f64::from(u8::from(at % 6 == 0))).collect();
        assert!(info_nce(&apart, 1e-5) < 1e-12);
        let wrong: Vec<f64> = apart.iter().map(|value| 1.0 - value).collect();
        assert!((info_nce(&wrong, 1e-5) - (1e5 + 4.0_f64.ln())).abs() < 1e-6);
    }

    #[test]
    fn only_what_is_nearest_alone_is_found() {
        assert_eq!(found(&[0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.7, 0.7]), 1);
        assert_eq!(found(&[1.0; 9]), 0);
        assert_eq!(found(&[f64::NAN; 4]), 0);
    }
}
