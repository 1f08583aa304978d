//! Why a query has no answer.

use thiserror::Error;

use super::apart::DIVERSE_MAX;
use super::datafusion::PredicateError;
use super::hydrate::ANSWER_BYTES_MAX;
use super::informative::BATCH_MAX;
use super::outliers::NEIGHBOURS_MAX;
use super::request::{K_MAX, WITHIN_HITS_MAX};
use crate::class::Class;
use crate::engine::EngineError;
use crate::index::IndexError;
use crate::learn::LearnError;
use crate::schema::EmbeddingSpace;
use crate::vector::BlockError;

/// Errors of queries.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// No hits asked for.
    #[error("k must be at least 1 (or give a distance bound instead)")]
    KZero,
    /// Too many hits asked for.
    #[error(
        "k={k} is above the limit of {K_MAX}; ask for fewer, or narrow the query and page by region"
    )]
    KTooLarge {
        /// What was asked.
        k: usize,
    },
    /// A recall that no search can aim at.
    #[error(
        "a recall of {recall} cannot be wished for; give a number above 0 and up to 1 (1 is exact)"
    )]
    BadRecall {
        /// What was wished.
        recall: f64,
    },
    /// The distance bound is not a number.
    #[error("the distance bound is not a number")]
    BadWithin,
    /// A distance bound below every distance.
    #[error("nothing is nearer than 0 in `{space}`: give a distance bound of 0 or more")]
    NegativeWithin {
        /// The space, whose metric is not the inner product.
        space: String,
    },
    /// More objects within a distance than are returned at once.
    #[error(
        "more than {WITHIN_HITS_MAX} objects are that near; give a smaller distance, a region, or k"
    )]
    TooManyWithin,
    /// A vector of one space that cannot be led into another.
    #[error("a vector of `{from}` does not get into `{to}`: {reason}")]
    NotCarried {
        /// The space that it is of.
        from: String,
        /// The space that is searched.
        to: String,
        /// What is wrong, in words.
        reason: String,
    },
    /// An answer too large to hold.
    #[error("the answer is larger than {} MiB; ask for fewer hits, or fewer columns and vectors", ANSWER_BYTES_MAX >> 20)]
    AnswerTooLarge,
    /// A distance bound without anything to be near to.
    #[error(
        "a distance bound needs something to be near to: give an example, an object or a vector"
    )]
    WithinNeedsTerm,
    /// Several spaces, none named.
    #[error("name the embedding space; the collection has: {known}")]
    SpaceNotNamed {
        /// Names of the spaces.
        known: String,
    },
    /// No such space.
    #[error("no embedding space `{space}`; the collection has: {known}")]
    UnknownSpace {
        /// What was named.
        space: String,
        /// Names of the spaces.
        known: String,
    },
    /// A space that has no distances of its own.
    #[error(
        "space `{space}` holds {holds}, which are not searched for by distance: name it in a re-rank (--rerank {space}) of a search in a space of vectors, or encode a pooled space from it"
    )]
    NotOfVectors {
        /// The space.
        space: String,
        /// What it holds.
        holds: &'static str,
    },
    /// A term without positives.
    #[error(
        "the term for space `{space}` has nothing to be near to: give at least one object, vector or example"
    )]
    EmptyTerm {
        /// The space.
        space: String,
    },
    /// A weight that is not positive.
    #[error("the weight of space `{space}` is {weight}; it must be a positive number")]
    BadWeight {
        /// The space.
        space: String,
        /// What was given.
        weight: f64,
    },
    /// Two terms for one space.
    #[error("two terms for space `{space}`; put the examples into one term")]
    TwoTerms {
        /// The space.
        space: String,
    },
    /// An example object that does not exist.
    #[error("no object `{id}` in the collection")]
    NoObject {
        /// Its id.
        id: String,
    },
    /// An example object without a vector.
    #[error("object `{id}` has no vector in space `{space}`; encode or import one first")]
    NoVector {
        /// Its id.
        id: String,
        /// The space.
        space: String,
    },
    /// A query vector of the wrong length.
    #[error("space `{space}` has dimension {expected}, the query vector has {given}")]
    WrongDimension {
        /// The space.
        space: String,
        /// Its dimension.
        expected: usize,
        /// Length of the vector.
        given: usize,
    },
    /// A NaN or infinity in a query vector.
    #[error("component {component} of the query vector for space `{space}` is not a finite number")]
    NotFinite {
        /// The space.
        space: String,
        /// Component, from 0.
        component: usize,
    },
    /// A query without direction in a cosine space.
    #[error(
        "the query for space `{space}` is the zero vector: it has no direction (do the examples cancel?)"
    )]
    ZeroQuery {
        /// The space.
        space: String,
    },
    /// A column to return that does not exist.
    #[error("no column `{column}`; the collection has: {known}")]
    UnknownColumn {
        /// What was named.
        column: String,
        /// Names of the columns.
        known: String,
    },
    /// An order beside a distance.
    #[error(
        "objects are ordered by a column or by a distance, not by both: leave out the order, or what to be near to"
    )]
    OrderWithTerms,
    /// A column whose values have no order.
    #[error("column `{column}` holds {kind}; objects are ordered by columns of numbers")]
    NotOrderable {
        /// The column.
        column: String,
        /// What it holds.
        kind: String,
    },
    /// A plan that does not exist or does not fit.
    #[error("plan `{plan}` cannot answer this query: {why}")]
    BadPlan {
        /// What was named.
        plan: String,
        /// Why not.
        why: &'static str,
    },
    /// A fusion that does not exist.
    #[error("there is no fusion `{fusion}`; take distances, weighted, rrf, max or min")]
    UnknownFusion {
        /// What was named.
        fusion: String,
    },
    /// Negatives for a method that has no use for them.
    #[error(
        "the centroid of the positives in `{space}` has no use for negatives: take rocchio, max-sim or probe"
    )]
    NoUseForNegatives {
        /// The space.
        space: String,
    },
    /// Examples that teach nothing.
    #[error("nothing can be learned from the examples in `{space}`: {source}")]
    Learn {
        /// The space.
        space: String,
        /// Why.
        source: LearnError,
    },
    /// A radius on the sky out of its range.
    #[error("the radius {what} is {radius} degrees; give one from 0 to 1 degree")]
    BadRadius {
        /// What the radius is for.
        what: &'static str,
        /// In degrees.
        radius: f64,
    },
    /// No example object to exclude the surroundings of.
    #[error(
        "what lies around examples can be left out only where an object is one: give --like ID"
    )]
    NothingToExcludeAround,
    /// A diversity that is no share.
    #[error(
        "a diversity of {share} is no share: give a number from 0 (as different as can be) to 1 (as near as can be)"
    )]
    BadDiversity {
        /// What was given.
        share: f64,
    },
    /// More hits than are compared with each other.
    #[error(
        "k={k} is above the limit of {DIVERSE_MAX} for hits that differ from each other; ask for fewer"
    )]
    TooManyDiverse {
        /// What was asked.
        k: usize,
    },
    /// Diverse or grouped hits of a query without a number of hits, or without anything to be near to.
    #[error(
        "{what} need to know how many hits are wanted, and what to be near to: give k and an example"
    )]
    NeedsNearest {
        /// What was asked for.
        what: &'static str,
    },
    /// Too few objects to be neighbours of each other.
    #[error(
        "{count} objects have a vector in `{space}` under these conditions; {needed} are needed: widen them, or ask for fewer neighbours"
    )]
    TooFewNeighbours {
        /// The space.
        space: String,
        /// Objects there are.
        count: usize,
        /// Objects needed.
        needed: usize,
    },
    /// More neighbours than can be held.
    #[error(
        "{neighbours} neighbours of each of {count} objects are too many to hold; narrow the conditions, or ask for fewer"
    )]
    TooManyNeighbours {
        /// Objects.
        count: usize,
        /// Neighbours of each.
        neighbours: usize,
    },
    /// A number of neighbours out of its range.
    #[error(
        "{neighbours} neighbours cannot be asked for; give a number from 1 to {NEIGHBOURS_MAX}"
    )]
    BadNeighbours {
        /// What was given.
        neighbours: usize,
    },
    /// A local outlier factor where there is no density.
    #[error(
        "space `{space}` is compared by inner products, which are no distances and have no density: take the method knn"
    )]
    NoDensity {
        /// The space.
        space: String,
    },
    /// A batch of no size.
    #[error("a batch of {count} objects cannot be asked for; give a number from 1 to {BATCH_MAX}")]
    BadBatch {
        /// What was given.
        count: usize,
    },
    /// What should never happen.
    #[error("{what}: this is a fault of the program")]
    Internal {
        /// What happened.
        what: &'static str,
    },
    /// The predicate is refused.
    #[error(transparent)]
    Predicate(#[from] PredicateError),
    /// The collection.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Vectors of a damaged length.
    #[error("stored vectors are damaged: {0}")]
    Vectors(#[from] BlockError),
    /// The caller has gone or the deadline has passed.
    #[error("the query was stopped before it ended")]
    Stopped,
}

impl QueryError {
    /// The refusal of a vector term in a space of tokens.
    pub fn not_of_vectors(space: &EmbeddingSpace) -> Self {
        Self::NotOfVectors { space: space.name.clone(), holds: space.form.plural() }
    }

    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::KZero
            | Self::KTooLarge { .. }
            | Self::BadRecall { .. }
            | Self::BadWithin
            | Self::NegativeWithin { .. }
            | Self::WithinNeedsTerm
            | Self::SpaceNotNamed { .. }
            | Self::EmptyTerm { .. }
            | Self::NotOfVectors { .. }
            | Self::BadWeight { .. }
            | Self::TwoTerms { .. }
            | Self::WrongDimension { .. }
            | Self::NotFinite { .. }
            | Self::NotCarried { .. }
            | Self::ZeroQuery { .. }
            | Self::UnknownColumn { .. }
            | Self::OrderWithTerms
            | Self::NotOrderable { .. }
            | Self::UnknownFusion { .. }
            | Self::NoUseForNegatives { .. }
            | Self::Learn { .. }
            | Self::BadRadius { .. }
            | Self::NothingToExcludeAround
            | Self::BadDiversity { .. }
            | Self::TooManyDiverse { .. }
            | Self::NeedsNearest { .. }
            | Self::TooFewNeighbours { .. }
            | Self::BadNeighbours { .. }
            | Self::NoDensity { .. }
            | Self::BadBatch { .. }
            | Self::BadPlan { .. } => Class::Invalid,
            Self::UnknownSpace { .. } | Self::NoObject { .. } | Self::NoVector { .. } => {
                Class::NotFound
            }
            Self::Predicate(error) => error.class(),
            Self::Engine(error) => error.class(),
            Self::Index(error) => error.class(),
            Self::Vectors(_) => Class::Corrupt,
            Self::Internal { .. } => Class::Internal,
            Self::TooManyNeighbours { .. } | Self::TooManyWithin | Self::AnswerTooLarge => {
                Class::Exhausted
            }
            Self::Stopped => Class::Unavailable,
        }
    }
}
