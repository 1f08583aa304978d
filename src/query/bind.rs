//! Binds a query to a collection: spaces by name, examples to vectors and measures.

use super::combine::{Combination, Fusion, Method, Missing};
use super::error::QueryError;
use super::measure::{self, Measure, NEGATIVE_SHARE};
use super::order::Order;
use super::request::{Crossing, Query, StopFlag, Term};
use super::sample::sample;
use crate::engine::CollectionView;
use crate::learn::discover::Calibration;
use crate::schema::{EmbeddingSpace, ObjectId};
use crate::sky::{Cone, Degrees, Region};
use crate::storage::ObjectKey;
use crate::vector::{Distance, Metric};

/// Vectors of a space that its distances are calibrated by.
const CALIBRATION_SAMPLE: usize = 2_048;

/// Largest radius of what is left out around examples, in degrees: it is for an object's own surroundings.
const EXCLUDED_RADIUS_MAX: f64 = 1.0;

/// A term whose examples have become one prepared vector, or another measure.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) space: EmbeddingSpace,
    /// Share of the term among all, so that shares add up to one.
    pub(super) share: f64,
    /// Prepared by the space's metric; empty where the measure has vectors of its own.
    pub(super) vector: Vec<f32>,
    /// Where the examples came from, when that is another space, and why they can be compared.
    pub(super) crossing: Option<Crossing>,
    /// What makes a distance.
    pub(super) measure: Measure,
    /// How the examples were used, in a word.
    pub(super) method: &'static str,
    /// How many of them there are, positive and negative.
    pub(super) examples: [usize; 2],
}

impl Target {
    /// The distance of a prepared vector.
    pub(super) fn distance(&self, stored: &[f32]) -> Distance {
        self.measure.distance(self.space.metric, &self.vector, stored)
    }

    /// Whether the distance is that to one vector.
    pub(super) fn is_nearest(&self) -> bool {
        matches!(self.measure, Measure::Nearest)
    }
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
    /// How the targets become one order.
    pub(super) combination: Combination,
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
        targets.push(bind_term(view, term, space, &mut excluded, &query.stop)?);
    }
    exclude_around(view, query, &mut excluded)?;
    let below = |target: &Target| match target.space.metric {
        // Only distances between vectors have a least one.
        _ if !target.measure.is_of_metric() => false,
        Metric::L2 => query.within.is_some_and(|within| within < 0.0),
        // Rounding makes the distance of equal directions a little less than 0.
        Metric::Cosine => query.within.is_some_and(|within| within < -1e-5),
        // Distances by the inner product have no least one.
        Metric::Ip => false,
    };
    let are_distances = targets.len() == 1 || query.fusion == Fusion::Distances;
    if let Some(first) = targets.first().filter(|_| are_distances && targets.iter().all(below)) {
        return Err(QueryError::NegativeWithin { space: first.space.name.clone() });
    }
    let total: f64 = targets.iter().map(|target| target.share).sum();
    targets.iter_mut().for_each(|target| target.share /= total);
    let order = query.order_by.as_ref().map(|asked| Order::bind(view, asked)).transpose()?;
    let combination = combination(view, query, &targets)?;
    Ok(Bound { targets, excluded, order, limit, combination })
}

/// Calibrates the terms where the fusion, or a missing one of them, asks for it.
fn combination(
    view: &CollectionView,
    query: &Query,
    targets: &[Target],
) -> Result<Combination, QueryError> {
    let (fusion, missing) = (query.fusion, query.missing);
    let needs_mean = missing == Missing::Neutral && fusion == Fusion::Distances;
    let mut calibrations = Vec::new();
    if targets.len() > 1 && (fusion.is_calibrated() || needs_mean) {
        for target in targets {
            query.stop.check()?;
            let vectors = sample(view, &target.space, CALIBRATION_SAMPLE, &[])?;
            let distances: Vec<f64> = vectors
                .chunks_exact(target.space.dimension)
                .map(|vector| target.distance(vector).value())
                .collect();
            calibrations.push(Calibration::of(&distances));
        }
    }
    Ok(Combination { fusion, missing, calibrations })
}

/// Leaves out what lies around the examples on the sky.
fn exclude_around(
    view: &CollectionView,
    query: &Query,
    excluded: &mut Vec<ObjectKey>,
) -> Result<(), QueryError> {
    let Some(radius) = query.exclude_within else { return Ok(()) };
    if !(0.0..=EXCLUDED_RADIUS_MAX).contains(&radius) {
        return Err(QueryError::BadRadius { what: "left out around examples", radius });
    }
    if excluded.is_empty() {
        return Err(QueryError::NothingToExcludeAround);
    }
    let parts = view.parts();
    let mut around = Vec::new();
    for key in excluded.iter() {
        let place = parts.iter().find_map(|live| {
            let part = live.part();
            part.position_at(part.row_of(*key).filter(|row| !live.dead().contains(*row as u32))?)
        });
        let cone = place.and_then(|place| Cone::new(place, Degrees(radius)).ok());
        let Some(region) = cone.map(Region::Cone) else { continue };
        for live in &parts {
            let part = live.part();
            let rows: Vec<u32> = part
                .region_rows(&region)
                .runs()
                .iter()
                .flat_map(|run| run.rows.clone())
                .map(|row| row as u32)
                .collect();
            let mut inside = Vec::new();
            part.region_test(&region).select(&rows, &mut inside);
            let rows = inside.iter().filter_map(|&place| rows.get(place as usize));
            around.extend(rows.filter_map(|&row| part.key_at(view.collection(), row as usize)));
        }
    }
    excluded.append(&mut around);
    excluded.sort_unstable();
    excluded.dedup();
    Ok(())
}

pub(super) fn find_space(view: &CollectionView, name: &str) -> Result<EmbeddingSpace, QueryError> {
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

fn bind_term(
    view: &CollectionView,
    term: &Term,
    space: EmbeddingSpace,
    excluded: &mut Vec<ObjectKey>,
    stop: &StopFlag,
) -> Result<Target, QueryError> {
    if term.like.is_empty() && term.vectors.is_empty() {
        return Err(QueryError::EmptyTerm { space: space.name });
    }
    let source = match &term.crossing {
        Some(crossing) => find_space(view, &crossing.space)?,
        None => space.clone(),
    };
    let way = Way { source: &source, target: &space, term };
    let mut named = Vec::new();
    let mut positives = way.stored(view, &term.like, &mut named)?;
    for vector in &term.vectors {
        positives.push(way.across(check(vector, &source)?)?);
    }
    let negatives = way.stored(view, &term.unlike, &mut named)?;
    let examples = [positives.len(), negatives.len()];
    let mut vector = Vec::new();
    let (measure, method) = match term.method {
        Method::MaxSim => (Measure::MaxSim { positives, negatives }, "max-sim"),
        Method::Probe => {
            (measure::fit(view, &space, [&positives, &negatives], &named, stop)?, "probe")
        }
        Method::Centroid if !negatives.is_empty() => {
            return Err(QueryError::NoUseForNegatives { space: space.name });
        }
        Method::Automatic | Method::Centroid | Method::Rocchio => {
            vector = target_vector(positives, &negatives, &space)?;
            let method = match (term.method, examples) {
                (Method::Rocchio, _) => "rocchio",
                (_, [_, negatives]) if negatives > 0 => "rocchio",
                (Method::Automatic, [1, _]) => "example",
                _ => "centroid",
            };
            (Measure::Nearest, method)
        }
    };
    excluded.append(&mut named);
    let (share, crossing) = (term.weight, term.crossing.clone());
    Ok(Target { space, share, vector, crossing, measure, method, examples })
}

/// The mean of the positives, moved away from that of the negatives.
fn target_vector(
    mut positives: Vec<Vec<f32>>,
    negatives: &[Vec<f32>],
    space: &EmbeddingSpace,
) -> Result<Vec<f32>, QueryError> {
    if negatives.is_empty() && positives.len() == 1 {
        return Ok(positives.swap_remove(0));
    }
    let positive = mean(&positives, space.dimension);
    let target = if negatives.is_empty() {
        positive
    } else {
        let negative = mean(negatives, space.dimension);
        positive.iter().zip(&negative).map(|(&p, &n)| p + NEGATIVE_SHARE * (p - n)).collect()
    };
    prepare(target, space)
}

/// From the examples of a term to vectors of the space that is searched.
struct Way<'a> {
    /// The space that the examples are of.
    source: &'a EmbeddingSpace,
    /// The space that is searched.
    target: &'a EmbeddingSpace,
    term: &'a Term,
}

impl Way<'_> {
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
    /// The `limit` nearest to one prepared vector of a space.
    pub(super) fn nearest(space: EmbeddingSpace, vector: Vec<f32>, limit: usize) -> Self {
        let (measure, method, examples) = (Measure::Nearest, "example", [1, 0]);
        let target =
            Target { space, share: 1.0, vector, crossing: None, measure, method, examples };
        let (fusion, missing) = (Fusion::Distances, Missing::Require);
        let combination = Combination { fusion, missing, calibrations: Vec::new() };
        Self { targets: vec![target], excluded: Vec::new(), order: None, limit, combination }
    }

    /// The metric of a query whose distances are those between vectors of one space.
    pub(super) fn metric(&self) -> Option<Metric> {
        match self.targets.as_slice() {
            [only] if only.measure.is_of_metric() => Some(only.space.metric),
            _ => None,
        }
    }

    /// Shares of the targets.
    pub(super) fn shares(&self) -> Vec<f64> {
        self.targets.iter().map(|target| target.share).collect()
    }
}
