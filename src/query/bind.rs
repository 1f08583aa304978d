//! Binds a query to a collection: spaces by name, examples to vectors.

use super::error::QueryError;
use super::order::Order;
use super::request::{Crossing, Query, Term};
use crate::engine::CollectionView;
use crate::schema::{EmbeddingSpace, ObjectId};
use crate::storage::ObjectKey;
use crate::vector::Metric;

/// How far the target moves away from the mean of the negatives, as a share of the difference of means.
///
/// # Reference
/// The idea of relevance feedback: Rocchio 1971, in "The SMART Retrieval System", 313.
const NEGATIVE_SHARE: f32 = 0.5;

/// A term whose examples have become one prepared vector.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) space: EmbeddingSpace,
    /// Share of the term among all, so that shares add up to one.
    pub(super) share: f64,
    /// Prepared by the space's metric.
    pub(super) vector: Vec<f32>,
    /// Where the examples came from, when that is another space, and why they can be compared.
    pub(super) crossing: Option<Crossing>,
}

/// A query bound to a view.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) targets: Vec<Target>,
    /// Keys of the example objects, which are not hits.
    pub(super) excluded: Vec<ObjectKey>,
    /// What objects are ordered by, where that is no distance.
    pub(super) order: Option<Order>,
    /// Hits to keep.
    pub(super) limit: usize,
}

pub(super) fn bind(view: &CollectionView, query: &Query) -> Result<Bound, QueryError> {
    let limit = query.limit()?;
    let mut targets: Vec<Target> = Vec::with_capacity(query.terms.len());
    let mut excluded = Vec::new();
    for term in &query.terms {
        let space = find_space(view, &term.space)?;
        if targets.iter().any(|target| target.space.id == space.id) {
            return Err(QueryError::TwoTerms { space: space.name });
        }
        if !(term.weight > 0.0 && term.weight.is_finite()) {
            return Err(QueryError::BadWeight { space: space.name, weight: term.weight });
        }
        let source = match &term.crossing {
            Some(crossing) => find_space(view, &crossing.space)?,
            None => space.clone(),
        };
        let way = Way { source: &source, target: &space, term };
        let vector = way.vector(view, &mut excluded)?;
        let crossing = term.crossing.clone();
        targets.push(Target { space, share: term.weight, vector, crossing });
    }
    let below = |target: &Target| match target.space.metric {
        Metric::L2 => query.within.is_some_and(|within| within < 0.0),
        // Rounding makes the distance of equal directions a little less than 0.
        Metric::Cosine => query.within.is_some_and(|within| within < -1e-5),
        // Distances by the inner product have no least one.
        Metric::Ip => false,
    };
    if let Some(first) = targets.first().filter(|_| targets.iter().all(below)) {
        return Err(QueryError::NegativeWithin { space: first.space.name.clone() });
    }
    let total: f64 = targets.iter().map(|target| target.share).sum();
    targets.iter_mut().for_each(|target| target.share /= total);
    let order = query.order_by.as_ref().map(|asked| Order::bind(view, asked)).transpose()?;
    Ok(Bound { targets, excluded, order, limit })
}

fn find_space(view: &CollectionView, name: &str) -> Result<EmbeddingSpace, QueryError> {
    let spaces: Vec<&EmbeddingSpace> = view.schema().vector_spaces().collect();
    let known = || match spaces.len() {
        0 => "none yet (encode or import vectors first)".to_owned(),
        _ => spaces.iter().map(|space| space.name.as_str()).collect::<Vec<_>>().join(", "),
    };
    if name.is_empty() {
        return match spaces.as_slice() {
            [only] => Ok((*only).clone()),
            _ => Err(QueryError::SpaceNotNamed { known: known() }),
        };
    }
    let found = view.schema().space(name).cloned();
    if let Some(space) = found.as_ref().filter(|space| !space.holds_vectors()) {
        return Err(QueryError::not_of_vectors(space));
    }
    found.ok_or_else(|| QueryError::UnknownSpace { space: name.to_owned(), known: known() })
}

/// From the examples of a term to the vector that is searched for.
struct Way<'a> {
    /// The space that the examples are of.
    source: &'a EmbeddingSpace,
    /// The space that is searched.
    target: &'a EmbeddingSpace,
    term: &'a Term,
}

impl Way<'_> {
    fn vector(
        &self,
        view: &CollectionView,
        excluded: &mut Vec<ObjectKey>,
    ) -> Result<Vec<f32>, QueryError> {
        let Self { source, target, term } = self;
        if term.like.is_empty() && term.vectors.is_empty() {
            return Err(QueryError::EmptyTerm { space: target.name.clone() });
        }
        let mut positives = self.stored(view, &term.like, excluded)?;
        for vector in &term.vectors {
            positives.push(self.across(check(vector, source)?)?);
        }
        let negatives = self.stored(view, &term.unlike, excluded)?;
        if negatives.is_empty() && positives.len() == 1 {
            return Ok(positives.swap_remove(0));
        }
        let positive = mean(&positives, target.dimension);
        let sum = if negatives.is_empty() {
            positive
        } else {
            let negative = mean(&negatives, target.dimension);
            positive.iter().zip(&negative).map(|(&p, &n)| p + NEGATIVE_SHARE * (p - n)).collect()
        };
        prepare(sum, target)
    }

    /// The vectors of objects, as vectors of the space that is searched.
    fn stored(
        &self,
        view: &CollectionView,
        ids: &[ObjectId],
        excluded: &mut Vec<ObjectKey>,
    ) -> Result<Vec<Vec<f32>>, QueryError> {
        // Most queries name no object, and then need not ask the store which version it has.
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let source = self.source;
        let mut vectors = Vec::with_capacity(ids.len());
        for (id, found) in ids.iter().zip(view.get(ids)?) {
            let Some((key, object)) = found else {
                return Err(QueryError::NoObject { id: id.to_string() });
            };
            let own = object.vectors.into_iter().find(|(other, _)| *other == source.id);
            let Some((_, vector)) = own else {
                let (id, space) = (id.to_string(), source.name.clone());
                return Err(QueryError::NoVector { id, space });
            };
            excluded.push(key);
            vectors.push(self.across(vector)?);
        }
        Ok(vectors)
    }

    /// A vector of the source as one of the target, prepared by its metric.
    fn across(&self, vector: Vec<f32>) -> Result<Vec<f32>, QueryError> {
        let carry = self.term.crossing.as_ref().and_then(|crossing| crossing.carry.as_ref());
        let vector = match carry {
            Some(carry) => {
                let carried = carry.carry(&vector).map_err(|reason| self.not_carried(reason))?;
                check(&carried, self.target)?
            }
            None if vector.len() == self.target.dimension => vector,
            None => {
                let (given, expected) = (vector.len(), self.target.dimension);
                return Err(self.not_carried(format!("dimension {given}, not {expected}")));
            }
        };
        prepare(vector, self.target)
    }

    fn not_carried(&self, reason: String) -> QueryError {
        let (from, to) = (self.source.name.clone(), self.target.name.clone());
        QueryError::NotCarried { from, to, reason }
    }
}

fn check(vector: &[f32], space: &EmbeddingSpace) -> Result<Vec<f32>, QueryError> {
    if vector.len() != space.dimension {
        return Err(QueryError::WrongDimension {
            space: space.name.clone(),
            expected: space.dimension,
            given: vector.len(),
        });
    }
    match vector.iter().position(|value| !value.is_finite()) {
        Some(component) => Err(QueryError::NotFinite { space: space.name.clone(), component }),
        None => Ok(vector.to_vec()),
    }
}

fn prepare(vector: Vec<f32>, space: &EmbeddingSpace) -> Result<Vec<f32>, QueryError> {
    let prepared = space.metric.prepare(vector);
    prepared.ok_or_else(|| QueryError::ZeroQuery { space: space.name.clone() })
}

fn mean(vectors: &[Vec<f32>], dimension: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; dimension];
    for vector in vectors {
        for (sum, &value) in sums.iter_mut().zip(vector) {
            *sum += f64::from(value);
        }
    }
    sums.into_iter().map(|sum| (sum / vectors.len() as f64) as f32).collect()
}

impl Bound {
    /// The metric of a single-term query.
    pub(super) fn metric(&self) -> Option<Metric> {
        match self.targets.as_slice() {
            [only] => Some(only.space.metric),
            _ => None,
        }
    }
}
