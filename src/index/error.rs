//! What can go wrong with an index.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::class::Class;
use crate::vector::Metric;

/// Why an index was not built, searched, saved or loaded.
#[derive(Debug, Error)]
pub enum IndexError {
    /// Too few rows for inverted lists to be worth anything.
    #[error(
        "{rows} vectors are too few for an index (at least {rows_min}); search them exactly instead"
    )]
    TooFew {
        /// Vectors given.
        rows: usize,
        /// Least that is indexed.
        rows_min: usize,
    },
    /// More rows than a row number holds.
    #[error(
        "{rows} vectors are too many for one index (at most {rows_max}); divide them into segments"
    )]
    TooMany {
        /// Vectors given.
        rows: usize,
        /// Most that is indexed.
        rows_max: usize,
    },
    /// A number of lists that the training sample cannot support.
    #[error("{lists} lists are out of range; use 1 to {lists_max} for this many training vectors")]
    BadLists {
        /// Lists asked for.
        lists: usize,
        /// Most that is possible.
        lists_max: usize,
    },
    /// A length of codes that there is not.
    #[error("codes of {bytes} bytes are out of range; use a multiple of 32 up to {bytes_max}")]
    BadCode {
        /// Bytes asked for.
        bytes: usize,
        /// Longest code.
        bytes_max: usize,
    },
    /// A recall that no search can aim at.
    #[error(
        "a recall of {recall} cannot be wished for; give a number above 0 and up to 1 (1 is exact)"
    )]
    BadRecall {
        /// What was wished.
        recall: f64,
    },
    /// Building would take more memory than it was given.
    #[error(
        "an index of {rows} vectors needs {} MiB of memory to be built, the budget is {} MiB; raise index.memory_mib",
        needed.div_ceil(1 << 20), budget >> 20
    )]
    BudgetTooSmall {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that may be taken.
        budget: u64,
        /// Vectors to index.
        rows: usize,
    },
    /// A vector of another length than the index or the view.
    #[error("{what} has {given} components where {expected} are expected")]
    WrongDimension {
        /// What was given.
        what: &'static str,
        /// Components of the index.
        expected: usize,
        /// Components given.
        given: usize,
    },
    /// Vectors or a bitmap that belong to another set of rows.
    #[error("{what} has {given} rows where {expected} are expected; it belongs to another segment")]
    WrongRows {
        /// What was given.
        what: &'static str,
        /// Rows of the index.
        expected: usize,
        /// Rows given.
        given: usize,
    },
    /// A row number past the end of the vectors.
    #[error("row {row} does not exist; there are {rows} rows")]
    NoSuchRow {
        /// Row asked for.
        row: usize,
        /// Rows there are.
        rows: usize,
    },
    /// A NaN or an infinity among the components.
    #[error("component {component} of {what} (row {row}) is not a finite number")]
    NotFinite {
        /// What was given.
        what: &'static str,
        /// Row of the vector, from 0.
        row: usize,
        /// Its component, from 0.
        component: usize,
    },
    /// A vector so long that squared distances overflow.
    #[error(
        "vector of row {row} has norm {norm:e}, an index takes up to {norm_max:e}; scale the vectors down, or search them exactly"
    )]
    TooLong {
        /// Row of the vector, from 0.
        row: usize,
        /// Its Euclidean norm.
        norm: f64,
        /// Greatest norm that is indexed.
        norm_max: f64,
    },
    /// The file could not be read or written.
    #[error("index file `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not an index file of this program.
    #[error("`{}` is not an index file; remove it and build the index again", path.display())]
    NotAnIndex {
        /// The file.
        path: PathBuf,
    },
    /// An index file of a later program.
    #[error("`{}` has index format {version}, this program reads up to {version_max}; use the newer program or build the index again", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u32,
        /// Latest format known here.
        version_max: u32,
    },
    /// A file that is shorter or longer than it says, or whose checksum differs.
    #[error("index file `{}` is damaged ({what}); remove it and build the index again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        what: &'static str,
    },
    /// An intact index of another dimension.
    #[error("index file `{}` has dimension {given} where {expected} is expected; build the index again", path.display())]
    OtherDimension {
        /// The file.
        path: PathBuf,
        /// Dimension of the embedding space.
        expected: usize,
        /// Dimension in the file.
        given: usize,
    },
    /// An intact index of another metric.
    #[error("index file `{}` has metric {given} where {expected} is expected; build the index again", path.display())]
    OtherMetric {
        /// The file.
        path: PathBuf,
        /// Metric of the embedding space.
        expected: Metric,
        /// Metric in the file.
        given: Metric,
    },
    /// FAISS refused.
    #[error("faiss failed to {action}: {reason}")]
    Faiss {
        /// What was asked of it.
        action: &'static str,
        /// What it said.
        reason: String,
    },
    /// FAISS found no memory.
    #[error("not enough memory to {action}; free some or build smaller segments")]
    OutOfMemory {
        /// What was asked of it.
        action: &'static str,
    },
}

impl IndexError {
    /// What the caller must do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::BadLists { .. }
            | Self::BadCode { .. }
            | Self::BadRecall { .. }
            | Self::WrongDimension { .. }
            | Self::NotFinite { .. } => Class::Invalid,
            Self::TooFew { .. } | Self::TooMany { .. } | Self::TooLong { .. } => Class::Conflict,
            Self::NotAnIndex { .. }
            | Self::NewerFormat { .. }
            | Self::Damaged { .. }
            | Self::OtherDimension { .. }
            | Self::OtherMetric { .. } => Class::Corrupt,
            Self::WrongRows { .. } | Self::NoSuchRow { .. } | Self::Faiss { .. } => Class::Internal,
            Self::OutOfMemory { .. } | Self::BudgetTooSmall { .. } => Class::Exhausted,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Class::NotFound,
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::OutOfMemory => Class::Exhausted,
                _ => Class::Unavailable,
            },
        }
    }
}
