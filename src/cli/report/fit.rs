//! What one head learnt from one space, as a report shows it.

use crate::learn::metrics::{CalibrationBin, Measured};

/// What a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A number.
    Number,
    /// A class.
    Class,
    /// Fractions of votes for classes.
    Fractions,
}

/// A test object and what was predicted for it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tested {
    /// Right ascension and declination in degrees.
    pub(crate) position: Option<(f64, f64)>,
    /// A number, the place of a class, or a fraction for each class.
    pub(crate) truth: Vec<f64>,
    /// A number, or a probability or fraction for each class.
    pub(crate) predicted: Vec<f64>,
}

/// What one head learnt from one space.
#[derive(Debug, Clone)]
pub(crate) struct Fit {
    pub(crate) space: String,
    pub(crate) target: String,
    /// Unit of the target; empty for none.
    pub(crate) unit: String,
    pub(crate) head: String,
    /// Training examples that were asked for; `None` for all.
    pub(crate) shots: Option<u64>,
    pub(crate) kind: Kind,
    pub(crate) n_train: u64,
    pub(crate) n_test: u64,
    /// Objects left out because something is missing.
    pub(crate) n_missing: u64,
    pub(crate) metrics: Vec<Measured>,
    pub(crate) classes: Vec<String>,
    /// Row by row: true class, then predicted class; empty for none.
    pub(crate) confusion: Vec<u64>,
    pub(crate) calibration: Vec<CalibrationBin>,
    pub(crate) predictions: Vec<Tested>,
    /// The strength that was chosen.
    pub(crate) alpha: Option<f64>,
    pub(crate) warnings: Vec<String>,
}

impl Fit {
    /// The number of this name.
    pub(crate) fn metric(&self, name: &str) -> Option<&Measured> {
        self.metrics.iter().find(|each| each.name == name)
    }

    /// Whether the target was measured as a redshift.
    pub(crate) fn is_redshift(&self) -> bool {
        self.metric("sigma_nmad").is_some()
    }

    /// Space and head.
    pub(super) fn name(&self) -> String {
        format!("{} · {}", self.space, self.head)
    }

    /// The target, with its unit.
    pub(super) fn target_with_unit(&self) -> String {
        if self.unit.is_empty() {
            self.target.clone()
        } else {
            format!("{} ({})", self.target, self.unit)
        }
    }

    /// True and predicted numbers, of a class's fractions where there are classes.
    pub(super) fn pairs(&self, class: usize) -> Vec<(f64, f64)> {
        let pair = |each: &Tested| {
            Some((each.truth.get(class).copied()?, each.predicted.get(class).copied()?))
        };
        self.predictions.iter().filter_map(pair).collect()
    }

    /// The probability of a class for each object, and whether it is its true class.
    pub(super) fn scores(&self, class: usize) -> (Vec<f64>, Vec<bool>) {
        let score = |each: &Tested| {
            let truth = each.truth.first().copied()?;
            Some((each.predicted.get(class).copied()?, truth == class as f64))
        };
        self.predictions.iter().filter_map(score).unzip()
    }
}
