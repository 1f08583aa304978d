//! What the server says to a fit, as a report shows it.

use super::plan::Run;
use crate::cli::report::{Fit, Kind, Tested};
use crate::learn::metrics::{CalibrationBin, Measured};
use crate::wire::v1::{Prediction, Probe};

/// A fit as a report shows it.
pub(super) fn fit(run: &Run, probe: &Probe, predictions: &[Prediction]) -> Fit {
    let kind = if !run.target.fractions.is_empty() {
        Kind::Fractions
    } else if probe.classes.is_empty() {
        Kind::Number
    } else {
        Kind::Class
    };
    let measured = probe.metrics.iter().map(|metric| Measured {
        name: metric.name.clone(),
        value: metric.value,
        low: metric.low,
        high: metric.high,
    });
    let calibration = probe
        .calibration
        .iter()
        .map(|bin| CalibrationBin::new(bin.predicted, bin.observed, bin.count));
    let predicted = predictions.iter().map(|prediction| Tested {
        position: prediction.position.map(|at| (at.ra, at.dec)),
        truth: prediction.truth.clone(),
        predicted: prediction.predicted.clone(),
    });
    // A unit is that of numbers alone.
    let unit = if kind == Kind::Number { run.unit.clone() } else { String::new() };
    let confusion = probe.confusion.as_ref().map(|confusion| confusion.counts.clone());
    Fit {
        space: run.features(),
        target: run.target_name(),
        unit,
        head: run.head_name(),
        shots: run.shots,
        kind,
        n_train: probe.n_train,
        n_test: probe.n_test,
        n_missing: probe.n_missing,
        metrics: measured.collect(),
        classes: probe.classes.clone(),
        confusion: confusion.unwrap_or_default(),
        calibration: calibration.collect(),
        predictions: predicted.collect(),
        alpha: probe.alpha,
        warnings: probe.warnings.clone(),
    }
}
