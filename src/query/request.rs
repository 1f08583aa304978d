//! What is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::combine::{Fusion, Method, Missing};
use super::error::QueryError;
use crate::idle;
use crate::index::{RECALL_WISH_DEFAULT, RECALL_WISH_MAX};
use crate::schema::ObjectId;
use crate::sky::Region;

/// Most hits that a query may ask for.
pub const K_MAX: usize = 10_000;

/// Most hits of a query by distance bound alone.
pub const WITHIN_HITS_MAX: usize = 100_000;

/// Raised by whoever waits for a query when it need not go on.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Asks the query to end at the next block of rows.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the flag was raised.
    pub(super) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for work that knows nothing of queries.
    pub(super) fn flag(&self) -> &AtomicBool {
        &self.0
    }

    /// Lets others go first where the thread does that, and ends the query when the flag was raised. Not to be called while a
    /// lock is held that others wait for.
    ///
    /// # Errors
    /// [`QueryError::Stopped`].
    pub fn check(&self) -> Result<(), QueryError> {
        idle::let_others_go_first(|| self.is_raised());
        if self.is_raised() { Err(QueryError::Stopped) } else { Ok(()) }
    }
}

/// Leads vectors of one space into another, where they are compared with the vectors of that one.
pub trait Carry: std::fmt::Debug + Send + Sync {
    /// What becomes of a vector as it was given; or why nothing does, in words.
    ///
    /// # Errors
    /// Words for whoever asked.
    fn carry(&self, vector: &[f32]) -> Result<Vec<f32>, String>;
}

/// Where the vectors of a term come from, when that is another space than the one that is searched.
#[derive(Debug, Clone)]
pub struct Crossing {
    /// Name of the space that the term's objects and vectors are of.
    pub space: String,
    /// Why vectors of both can be compared, for people.
    pub rule: String,
    /// Leads into the space that is searched; `None` where vectors of both are comparable as they are.
    pub carry: Option<Arc<dyn Carry>>,
}

/// What to be near to, in one space.
#[derive(Debug, Clone)]
pub struct Term {
    /// Name of the embedding space; empty when the collection has only one.
    pub space: String,
    /// Weight among several terms; positive.
    pub weight: f64,
    /// Objects to be like.
    pub like: Vec<ObjectId>,
    /// Objects to be unlike.
    pub unlike: Vec<ObjectId>,
    /// Vectors to be near to.
    pub vectors: Vec<Vec<f32>>,
    /// Where objects and vectors are of another space.
    pub crossing: Option<Crossing>,
    /// How examples become a distance.
    pub method: Method,
}

impl Default for Term {
    fn default() -> Self {
        Self {
            space: String::new(),
            weight: 1.0,
            like: Vec::new(),
            unlike: Vec::new(),
            vectors: Vec::new(),
            crossing: None,
            method: Method::default(),
        }
    }
}

/// A column to order objects by, instead of by a distance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    /// Name of a column of numbers, or of a derived one.
    pub column: String,
    /// Whether the largest value comes first; NaN and nulls come last either way.
    pub descending: bool,
}

/// Hits that are near to the query and not to each other: maximal marginal relevance over the nearest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Diversity {
    /// What nearness to the query counts, from 0 to 1; the rest is distance from other hits.
    pub share: f64,
    /// Nearest objects that are chosen from; 0 for ten for each hit, at least 100.
    pub candidates: usize,
}

/// A query: where on the sky, which properties, near to what, how many.
#[derive(Debug, Clone)]
pub struct Query {
    /// Vector terms; none lists objects by id.
    pub terms: Vec<Term>,
    /// Where on the sky; `None` for everywhere.
    pub region: Option<Region>,
    /// SQL boolean expression on the columns.
    pub predicate: Option<String>,
    /// Hits wanted; `None` only with `within`.
    pub k: Option<usize>,
    /// Largest distance of a hit.
    pub within: Option<f64>,
    /// Whether the answer must be exact.
    pub exact: bool,
    /// Recall@10 that approximate plans aim at, above 0 and up to 1; beyond [`RECALL_WISH_MAX`] the answer is exact.
    pub recall: f64,
    /// Whether to describe the plan.
    pub explain: bool,
    /// What to order objects by where there is no vector term; `None` for their ids.
    pub order_by: Option<OrderBy>,
    /// Columns to return, derived ones among them; `None` for all stored ones but binary ones, and the derived one that is
    /// ordered by.
    pub columns: Option<Vec<String>>,
    /// Whether to return the stored vectors.
    pub with_vectors: bool,
    /// A plan to carry out instead of the planner's choice.
    pub plan: Option<String>,
    /// Raised when the caller has gone.
    pub stop: StopFlag,
    /// How several terms become one order.
    pub fusion: Fusion,
    /// What becomes of objects that lack the vector of one of several terms.
    pub missing: Missing,
    /// Whether, and how much, hits should differ from each other.
    pub diversity: Option<Diversity>,
    /// Hits at most this far apart on the sky are one, in degrees.
    pub group_within: Option<f64>,
    /// Objects at most this far from an example object on the sky are left out, in degrees.
    pub exclude_within: Option<f64>,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            terms: Vec::new(),
            region: None,
            predicate: None,
            k: None,
            within: None,
            exact: false,
            recall: RECALL_WISH_DEFAULT,
            explain: false,
            order_by: None,
            columns: None,
            with_vectors: false,
            plan: None,
            stop: StopFlag::default(),
            fusion: Fusion::default(),
            missing: Missing::default(),
            diversity: None,
            group_within: None,
            exclude_within: None,
        }
    }
}

impl Query {
    /// Whether no plan may estimate.
    pub(super) fn is_exact(&self) -> bool {
        self.exact || self.recall > RECALL_WISH_MAX
    }

    /// Whether hits have to be apart from each other.
    pub(super) fn is_apart(&self) -> bool {
        self.diversity.is_some() || self.group_within.is_some()
    }

    /// Checks what does not depend on the collection, and returns the number of hits to keep.
    pub(super) fn limit(&self) -> Result<usize, QueryError> {
        if !(self.recall > 0.0 && self.recall <= 1.0) {
            return Err(QueryError::BadRecall { recall: self.recall });
        }
        if let Some(within) = self.within
            && within.is_nan()
        {
            return Err(QueryError::BadWithin);
        }
        if self.within.is_some() && self.terms.is_empty() {
            return Err(QueryError::WithinNeedsTerm);
        }
        if self.order_by.is_some() && !self.terms.is_empty() {
            return Err(QueryError::OrderWithTerms);
        }
        match (self.k, self.within) {
            (Some(0) | None, None) => Err(QueryError::KZero),
            (Some(k), _) if k > K_MAX => Err(QueryError::KTooLarge { k }),
            // One more than the limit tells that there are more.
            (Some(0) | None, Some(_)) => Ok(WITHIN_HITS_MAX + 1),
            (Some(k), _) => Ok(k),
        }
    }
}
