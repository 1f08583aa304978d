//! Why a predicate is refused.

use datafusion::error::DataFusionError;
use thiserror::Error;

use super::lex::{LENGTH_MAX, NESTING_MAX, VALUES_MAX, WORDS_MAX};
use crate::class::Class;

/// Why a predicate cannot be used. Lines and columns count from 1, columns in characters.
#[derive(Debug, Error)]
pub enum PredicateError {
    /// More text than is parsed.
    #[error(
        "the predicate has {length} bytes, the limit is {LENGTH_MAX}: shorten it or split the query"
    )]
    TooLong {
        /// Bytes that were given.
        length: usize,
    },
    /// More words than are parsed; the elements of lists do not count.
    #[error(
        "the predicate has {count} names and operators, the limit is {WORDS_MAX}: use `column IN (...)` for many values"
    )]
    TooManyWords {
        /// What was counted.
        count: usize,
    },
    /// More numbers and texts than are parsed.
    #[error(
        "the predicate has {count} numbers and texts, the limit is {VALUES_MAX}: split the list over several queries"
    )]
    TooManyValues {
        /// What was counted.
        count: usize,
    },
    /// Parentheses in parentheses, or operators on operators.
    #[error("the predicate is nested more than {NESTING_MAX} deep: leave out parentheses")]
    TooDeep,
    /// Not SQL.
    #[error("predicate, line {line}, column {column}: {message}")]
    Syntax {
        /// What was expected and found.
        message: String,
        /// Line of the error.
        line: u64,
        /// Column of the error.
        column: u64,
    },
    /// A name that the collection has not.
    #[error(
        "predicate, line {line}, column {column}: no column `{name}`{hint}; the columns are {known}"
    )]
    UnknownColumn {
        /// The name as written.
        name: String,
        /// The nearest names, or another advice.
        hint: String,
        /// The columns that there are.
        known: String,
        /// Line of the name.
        line: u64,
        /// Column of the name.
        column: u64,
    },
    /// A name of the day of the call that is a column's, too.
    #[error(
        "`{name}` is the day of the call and a column of the collection: write \"{name}\" in double quotes for the column, or rename it"
    )]
    AmbiguousDay {
        /// The column.
        name: String,
    },
    /// A column of bytes or lists.
    #[error("column `{name}` holds {kind} values, which predicates cannot use")]
    UnusableColumn {
        /// The column.
        name: String,
        /// Its type.
        kind: String,
    },
    /// Operands of different kinds.
    #[error("`{operator}` cannot join {left} and {right}{hint}")]
    TypeMismatch {
        /// The operator as in SQL.
        operator: String,
        /// Left operand and its kind.
        left: String,
        /// Right operand and its kind.
        right: String,
        /// What to write instead.
        hint: &'static str,
    },
    /// A number or a text where true or false is needed.
    #[error("{what} must be true or false but is {kind}; write a comparison such as `z > 0.3`")]
    NotBoolean {
        /// The predicate or an operand.
        what: String,
        /// What it is.
        kind: &'static str,
    },
    /// What a condition on single objects cannot have.
    #[error("a predicate cannot have {what}: it is a condition on the columns of one object")]
    NotAllowed {
        /// For example "subqueries".
        what: &'static str,
    },
    /// What the planner does not understand, for example an unknown function.
    #[error("predicate: {message}")]
    Refused {
        /// What the planner says.
        message: String,
    },
    /// A batch without a column that the predicate was parsed for.
    #[error("the batch has no column `{name}`, for which the predicate was made")]
    MissingColumn {
        /// The column.
        name: String,
    },
    /// A value that cannot be computed.
    #[error("the predicate cannot be evaluated: {}", said(.source))]
    Evaluation {
        /// What the evaluation says.
        source: DataFusionError,
    },
}

impl PredicateError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::TooLong { .. }
            | Self::TooManyWords { .. }
            | Self::TooManyValues { .. }
            | Self::TooDeep
            | Self::Syntax { .. }
            | Self::UnknownColumn { .. }
            | Self::AmbiguousDay { .. }
            | Self::UnusableColumn { .. }
            | Self::TypeMismatch { .. }
            | Self::NotBoolean { .. }
            | Self::NotAllowed { .. }
            | Self::Refused { .. }
            | Self::Evaluation { .. } => Class::Invalid,
            Self::MissingColumn { .. } => Class::Internal,
        }
    }

    /// What the planner refuses, in one line.
    pub(super) fn refused(error: &DataFusionError) -> Self {
        Self::Refused { message: said(error) }
    }
}

/// The innermost message on one line, without stack traces.
fn said(error: &DataFusionError) -> String {
    let root = error.find_root();
    let message = match root {
        DataFusionError::ArrowError(arrow, _) => arrow.to_string(),
        _ => root.message().into_owned(),
    };
    let message = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default();
    // What follows asks users to report to another project.
    let message = message.split("This issue was likely caused").next().unwrap_or_default();
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
