//! How good predictions are, by the measures of the kind of target.

use super::ProbeError;
use super::dataset::{Dataset, Targets};
use super::spec::Spec;
use crate::learn::Progress;
use crate::learn::metrics::{self, Bootstrap, Classification, Fractions, Measured, Regression};
use crate::learn::split::SplitSpec;
use crate::wire::v1;

/// Bins of a calibration diagram.
const CALIBRATION_BINS: usize = 15;

/// What a head says of some objects, row-major.
#[derive(Debug, Default, Clone)]
pub(super) struct Predicted {
    /// A number, or a probability for each class.
    pub(super) values: Vec<f64>,
    /// Numbers for each object.
    pub(super) width: usize,
    /// Of densities: standard deviations, and the logarithm of the density at the truth.
    pub(super) sigmas: Vec<f64>,
    pub(super) log_densities: Vec<f64>,
    /// Of densities: the probability of a value below the truth.
    pub(super) below: Vec<f64>,
}

impl Predicted {
    pub(super) fn new(values: Vec<f64>, width: usize) -> Self {
        Self { values, width, ..Self::default() }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.width = other.width;
        self.values.extend(other.values);
        self.sigmas.extend(other.sigmas);
        self.log_densities.extend(other.log_densities);
        self.below.extend(other.below);
    }

    /// The class of the largest probability of an object, the first of equals; `None` where nothing is known.
    pub(super) fn class(&self, object: usize) -> Option<usize> {
        let row = self.row(object);
        let place = metrics::largest(row);
        row.get(place).is_some_and(|value| !value.is_nan()).then_some(place)
    }

    /// What is said of one object.
    pub(super) fn row(&self, object: usize) -> &[f64] {
        self.values.get(object * self.width..(object + 1) * self.width).unwrap_or(&[])
    }
}

/// Everything that is measured on a test set.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) metrics: Vec<v1::MetricValue>,
    pub(super) confusion: Option<v1::Confusion>,
    pub(super) calibration: Vec<v1::CalibrationBin>,
    /// What deserves a look.
    pub(super) warnings: Vec<String>,
}

/// Compares what was predicted for the tested objects with what is true of them.
///
/// # Errors
/// [`ProbeError::Learn`] for predictions that are no numbers, or when it was stopped.
pub(super) fn measure(
    spec: &Spec,
    data: &Dataset<'_>,
    tested: &[u32],
    predicted: &Predicted,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Outcome, ProbeError> {
    // Objects of one cell were kept together by the split, and are kept together here.
    let cells = match spec.split {
        SplitSpec::Healpix { order, .. } => {
            let cell = |&place: &u32| data.table.key(place as usize).cell.0 >> (2 * (29 - order));
            Some(tested.iter().map(cell).collect::<Vec<u64>>())
        }
        _ => None,
    };
    let bootstrap = Bootstrap {
        resamples: spec.wire.resamples,
        seed: spec.wire.seed,
        groups: cells.as_deref(),
        threads,
    };
    match data.targets.select(tested) {
        Targets::Numbers(truth) => {
            let mut measure = Regression::new(&truth, &predicted.values)?;
            let weights = data.weights_of(tested);
            if !weights.is_empty() {
                measure = measure.weights(&weights)?;
            }
            if !predicted.log_densities.is_empty() {
                measure = measure.log_density(&predicted.log_densities)?;
                measure = measure.below(&predicted.below)?;
            }
            let warnings: Vec<String> =
                spec.is_redshift.then(|| told_no_redshift(&truth)).flatten().into_iter().collect();
            if spec.is_redshift && warnings.is_empty() {
                measure = measure.redshift()?;
            }
            let measured = metrics::measure(&measure, &bootstrap, progress)?;
            Ok(Outcome { metrics: told(measured), warnings, ..Outcome::default() })
        }
        Targets::Classes { names, of } => {
            let mut measure = Classification::new(names.len(), &of, &predicted.values)?;
            let weights = data.weights_of(tested);
            if !weights.is_empty() {
                measure = measure.weights(&weights)?;
            }
            of_classes(&measure, &names, &bootstrap, progress)
        }
        Targets::Fractions { names, values } => {
            let mut measure = Fractions::new(names.len(), &values, &predicted.values)?;
            let weights = data.weights_of(tested);
            if !weights.is_empty() {
                measure = measure.weights(&weights)?;
            }
            let measured = metrics::measure(&measure, &bootstrap, progress)?;
            Ok(Outcome { metrics: told(measured), ..Outcome::default() })
        }
    }
}

/// What is said of a target that is called a redshift and is none everywhere, such as one with -9999 for unknown.
fn told_no_redshift(truth: &[f64]) -> Option<String> {
    let count = truth.iter().filter(|truth| **truth <= -1.0).count();
    (count > 0).then(|| {
        format!("{count} of {} tested redshifts are -1 or less: the target is measured as a plain number (leave unknown ones out with --where)", truth.len())
    })
}

/// Measures, confusion matrix and calibration of classes.
pub(super) fn of_classes(
    measure: &Classification<'_>,
    names: &[String],
    bootstrap: &Bootstrap<'_>,
    progress: Progress<'_>,
) -> Result<Outcome, ProbeError> {
    let measured = metrics::measure(measure, bootstrap, progress)?;
    let bins = measure.calibration(CALIBRATION_BINS).into_iter();
    let calibration = bins.map(|bin| v1::CalibrationBin {
        predicted: bin.predicted,
        observed: bin.observed,
        count: bin.count,
    });
    Ok(Outcome {
        metrics: told(measured),
        confusion: Some(v1::Confusion { classes: names.to_vec(), counts: measure.confusion() }),
        calibration: calibration.collect(),
        ..Outcome::default()
    })
}

fn told(measured: Vec<Measured>) -> Vec<v1::MetricValue> {
    measured
        .into_iter()
        .map(|each| v1::MetricValue {
            name: each.name,
            value: each.value,
            low: each.low,
            high: each.high,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_redshift_is_a_plain_number_and_said() {
        assert_eq!(told_no_redshift(&[0.1, -0.001, 7.0]), None);
        let told = told_no_redshift(&[0.1, -9999.0, -1.0]).expect("said");
        assert!(told.starts_with("2 of 3 tested redshifts") && told.contains("--where"), "{told}");
    }

    #[test]
    fn of_equal_probabilities_the_first_is_the_class_as_in_the_measures() {
        let predicted = Predicted::new(vec![0.2, 0.4, 0.4, 0.5, 0.5, 0.0, f64::NAN, 0.3, 0.7], 3);
        assert_eq!([0, 1, 2, 3].map(|at| predicted.class(at)), [Some(1), Some(0), None, None]);
        let measure = Classification::new(3, &[1, 0], &predicted.values[..6]).expect("some");
        assert_eq!(measure.confusion(), [1, 0, 0, 0, 1, 0, 0, 0, 0]);
    }
}
