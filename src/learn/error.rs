//! What examples do not teach, and why.

use thiserror::Error;

/// Why a fit or a measurement is refused.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum LearnError {
    /// Too few examples.
    #[error("{given} {what}; at least {needed} are needed")]
    TooFew {
        /// What there is too little of, such as `training examples`.
        what: &'static str,
        /// How many there are.
        given: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A target without two different values.
    #[error(
        "the target has one value only ({value}) in the training set; there is nothing to learn"
    )]
    OneValue {
        /// The value.
        value: String,
    },
    /// A number that is not finite where one must be.
    #[error("{what} of example {example} is not a finite number")]
    NotFinite {
        /// What it is, such as `the target`.
        what: &'static str,
        /// Place of the example, from 0.
        example: usize,
    },
    /// A fraction outside of its range.
    #[error("the target of example {example} is {value}; fractions lie between 0 and 1")]
    NotAFraction {
        /// Place of the example, from 0.
        example: usize,
        /// The value.
        value: f64,
    },
    /// A class that only the test set has.
    #[error("class {class} is in the test set and not in the training set; choose another split")]
    UnseenClass {
        /// The class.
        class: String,
    },
    /// Lengths that do not fit together.
    #[error("{what}: {given} given, {expected} expected")]
    Shape {
        /// What has the length.
        what: &'static str,
        /// The length.
        given: usize,
        /// The length that fits.
        expected: usize,
    },
    /// A setting outside of its range.
    #[error("{what} is {value}: {hint}")]
    BadSetting {
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        hint: &'static str,
    },
    /// A computation that came to no result.
    #[error("{what} did not come to a result: {hint}")]
    NoResult {
        /// What was computed.
        what: &'static str,
        /// What to try.
        hint: String,
    },
    /// Features that could not be read.
    #[error("features not readable: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
    /// Whoever waits for the result has gone.
    #[error("stopped")]
    Stopped,
}
