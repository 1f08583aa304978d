//! Which objects to label next: the next batch of an active-learning session.

use super::bind;
use super::error::QueryError;
use super::execute::found;
use super::filter::{Filter, PartFilter};
use super::measure::{self, Measure};
use super::request::StopFlag;
use crate::engine::{CollectionView, Part};
use crate::learn::discover::{most_different, most_telling};
use crate::schema::{EmbeddingSpace, ObjectId};
use crate::sky::{Position, Region};
use crate::storage::ObjectKey;
use crate::vector::{Distance, Metric, TopK};

/// Most objects of one batch.
pub const BATCH_MAX: usize = 1_000;

/// Objects that a batch is chosen from, for each of it and at least and at most.
const POOL_PER_OBJECT: usize = 20;
const POOL_LEAST: usize = 200;
const POOL_MAX: usize = 4_000;

/// Labelled objects that a batch keeps away from, at most: each is compared with everything in the pool.
const KEPT_FROM_MAX: usize = 4_000;

/// How a batch is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Those that the head is least sure of, far from each other and from what is labelled.
    #[default]
    Uncertain,
    /// Those that the head holds for positives most surely.
    Likely,
    /// Those that are farthest from each other and from what is labelled; needs no positive.
    Diverse,
}

impl Strategy {
    /// The name on the command line and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uncertain => "uncertain",
            Self::Likely => "likely",
            Self::Diverse => "diverse",
        }
    }
}

/// What is known, and what is asked.
#[derive(Debug, Clone)]
pub struct BatchQuery {
    /// Name of the space.
    pub space: String,
    /// Objects labelled as positives.
    pub positives: Vec<ObjectId>,
    /// Objects labelled as negatives.
    pub negatives: Vec<ObjectId>,
    /// Where on the sky; `None` for everywhere.
    pub region: Option<Region>,
    /// SQL boolean expression on the columns.
    pub predicate: Option<String>,
    /// Objects wanted.
    pub count: usize,
    /// How they are chosen.
    pub strategy: Strategy,
    /// Which objects are looked at where only some can be; another number, others.
    pub seed: u64,
    /// Raised when the caller has gone.
    pub stop: StopFlag,
}

/// One object to label.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Its id.
    pub id: ObjectId,
    /// Where it is.
    pub position: Position,
    /// What the head says of it: positives and the others are taken as equally frequent. `None` without a head.
    pub probability: Option<f64>,
}

/// The next objects to label.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// In the order in which they were chosen.
    pub proposals: Vec<Proposal>,
    /// How they were chosen: without positives all strategies are `diverse`.
    pub strategy: Strategy,
    /// Objects that were scored.
    pub scored: u64,
    /// Labelled objects that are gone, or have no vector in the space: they teach nothing.
    pub unusable: u64,
}

/// Chooses the next batch: objects that the conditions leave, have a vector in the space, and are not labelled.
///
/// # Errors
/// [`QueryError`] for what can never be answered, a stopped query, or damaged data.
pub fn next_batch(view: &CollectionView, query: &BatchQuery) -> Result<Batch, QueryError> {
    let space = bind::find_space(view, &query.space)?;
    if !(1..=BATCH_MAX).contains(&query.count) {
        return Err(QueryError::BadBatch { count: query.count });
    }
    let mut known = Known::default();
    let positives = known.read(view, &space, &query.positives)?;
    let negatives = known.read(view, &space, &query.negatives)?;
    let strategy = if positives.is_empty() { Strategy::Diverse } else { query.strategy };
    let head = match strategy {
        Strategy::Diverse if positives.is_empty() => None,
        _ => {
            let examples = [positives.as_slice(), negatives.as_slice()];
            Some(measure::fit(view, &space, examples, &known.keys, &query.stop)?)
        }
    };
    let filter = Filter::new(view, query.region.as_ref(), query.predicate.as_deref(), &known.keys)?;
    let filters = filter.bind(view, &query.stop)?;
    let labelled: Vec<&[f32]> = positives.iter().chain(&negatives).map(Vec::as_slice).collect();
    let labelled = some_of(labelled, query.seed);
    let pool = Pool::find(query, strategy, &space, head.as_ref(), &filters)?;
    let chosen = pool.choose(query, strategy, space.metric, &labelled)?;
    let proposals = chosen.into_iter().filter_map(|place| pool.proposals.get(place).cloned());
    Ok(Batch {
        proposals: proposals.collect(),
        strategy,
        scored: pool.scored,
        unusable: known.unusable,
    })
}

/// Labelled objects as they are found in the store.
#[derive(Default)]
struct Known {
    keys: Vec<ObjectKey>,
    unusable: u64,
}

impl Known {
    /// The prepared vectors of labelled objects.
    fn read(
        &mut self,
        view: &CollectionView,
        space: &EmbeddingSpace,
        ids: &[ObjectId],
    ) -> Result<Vec<Vec<f32>>, QueryError> {
        let mut vectors = Vec::with_capacity(ids.len());
        if ids.is_empty() {
            return Ok(vectors);
        }
        for found in view.get(ids)? {
            let Some((key, object)) = found else {
                self.unusable += 1;
                continue;
            };
            self.keys.push(key);
            let vector = object.vectors.into_iter().find(|(other, _)| *other == space.id);
            match vector.and_then(|(_, vector)| space.metric.prepare(vector)) {
                Some(vector) => vectors.push(vector),
                None => self.unusable += 1,
            }
        }
        Ok(vectors)
    }
}

/// Objects that a batch is chosen from.
#[derive(Default)]
struct Pool {
    proposals: Vec<Proposal>,
    vectors: Vec<Vec<f32>>,
    scored: u64,
}

impl Pool {
    fn find(
        query: &BatchQuery,
        strategy: Strategy,
        space: &EmbeddingSpace,
        head: Option<&Measure>,
        filters: &[PartFilter<'_>],
    ) -> Result<Self, QueryError> {
        let size = (query.count * POOL_PER_OBJECT).clamp(POOL_LEAST, POOL_MAX).max(query.count);
        let mut top = TopK::new(size);
        let mut scored = 0;
        let logit =
            |vector: &[f32]| head.map(|head| -head.distance(space.metric, &[], vector).value());
        for (place, filter) in filters.iter().enumerate() {
            let part = filter.live().part();
            let Some(vectors) = part.vectors(space.id) else { continue };
            let mut buffer = Vec::new();
            filter.for_each_chunk(filter.cheapest_source(), &query.stop, |rows| {
                for &row in rows {
                    let Some(vector) = vectors.of_row(row as usize, &mut buffer) else { continue };
                    scored += 1;
                    let rank = match (strategy, logit(vector)) {
                        (Strategy::Uncertain, Some(logit)) => logit.abs(),
                        (Strategy::Likely, Some(logit)) => -logit,
                        // Any objects, but the same for the same seed.
                        (Strategy::Diverse, _) | (_, None) => shuffled(part, row, query.seed),
                    };
                    if let Some(rank) = Distance::new(rank) {
                        top.offer(rank, || found(place, part, row as usize));
                    }
                }
                Ok(())
            })?;
        }
        let mut pool = Self { scored, ..Self::default() };
        for (_, hit) in top.into_sorted() {
            let Some(part) = filters.get(hit.part).map(|filter| filter.live().part()) else {
                continue;
            };
            let mut buffer = Vec::new();
            let vector = part.vectors(space.id).and_then(|it| it.of_row(hit.row, &mut buffer));
            let (Some(vector), Some(position)) = (vector, part.position_at(hit.row)) else {
                continue;
            };
            let probability = logit(vector).map(|logit| 1.0 / (1.0 + (-logit).exp()));
            pool.vectors.push(vector.to_vec());
            pool.proposals.push(Proposal { id: hit.id, position, probability });
        }
        Ok(pool)
    }

    fn choose(
        &self,
        query: &BatchQuery,
        strategy: Strategy,
        metric: Metric,
        labelled: &[&[f32]],
    ) -> Result<Vec<usize>, QueryError> {
        let (count, stop) = (query.count, &query.stop);
        // Inner products are no gaps: there the Euclidean distance tells how different two objects are.
        let metric = if metric == Metric::Ip { Metric::L2 } else { metric };
        // A stopped query compares nothing any more; what it would have chosen is thrown away.
        let gap = |one: usize, other: usize| {
            if stop.is_raised() {
                return 0.0;
            }
            metric.distance(&self.vectors[one], &self.vectors[other]).value()
        };
        let known = |object: usize| {
            if stop.is_raised() {
                return 0.0;
            }
            let gaps = labelled.iter().map(|other| metric.distance(&self.vectors[object], other));
            gaps.min().map_or(f64::INFINITY, Distance::value)
        };
        let chosen = match strategy {
            Strategy::Likely => (0..self.proposals.len().min(count)).collect(),
            Strategy::Diverse => most_different(self.proposals.len(), gap, known, count),
            Strategy::Uncertain => {
                let worth = |proposal: &Proposal| {
                    let share = proposal.probability.unwrap_or(0.5);
                    4.0 * share * (1.0 - share)
                };
                let worth: Vec<f64> = self.proposals.iter().map(worth).collect();
                most_telling(&worth, gap, known, count)
            }
        };
        stop.check()?;
        Ok(chosen)
    }
}

/// All of the labelled objects, or as many as can be compared in a moment: others for another seed, which is another batch's.
fn some_of(mut labelled: Vec<&[f32]>, seed: u64) -> Vec<&[f32]> {
    if labelled.len() > KEPT_FROM_MAX {
        let mut places: Vec<(u64, usize)> = (0..labelled.len())
            .map(|place| (mixed(seed ^ ((place as u64) << 20)), place))
            .collect();
        places.select_nth_unstable(KEPT_FROM_MAX);
        places.truncate(KEPT_FROM_MAX);
        labelled = places.into_iter().map(|(_, place)| labelled[place]).collect();
    }
    labelled
}

/// A number of a row that looks random, and is the same for the same seed.
fn shuffled(part: &Part, row: u32, seed: u64) -> f64 {
    (mixed(seed ^ (u64::from(row) << 20) ^ part.row_count() as u64) >> 11) as f64
}

fn mixed(mut number: u64) -> u64 {
    // The finaliser of splitmix64 (Steele, Lea & Flood 2014, OOPSLA).
    number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sky::Degrees;

    fn query(count: usize) -> BatchQuery {
        BatchQuery {
            space: "image".to_owned(),
            positives: Vec::new(),
            negatives: Vec::new(),
            region: None,
            predicate: None,
            count,
            strategy: Strategy::Diverse,
            seed: 1,
            stop: StopFlag::default(),
        }
    }

    #[test]
    fn a_stopped_choice_compares_nothing_more() {
        let vectors: Vec<Vec<f32>> = (0..50_i16).map(|at| vec![f32::from(at)]).collect();
        let proposal = |at: i64| Proposal {
            id: ObjectId::Number(at),
            position: Position::new(Degrees(0.0), Degrees(0.0)).expect("a position"),
            probability: None,
        };
        let pool = Pool { proposals: (0..50).map(proposal).collect(), vectors, scored: 50 };
        let query = query(3);
        let zero = [0.0_f32];
        let choose = || pool.choose(&query, Strategy::Diverse, Metric::L2, &[&zero]);
        assert_eq!(choose().expect("chosen")[0], 49);
        query.stop.raise();
        assert!(matches!(choose(), Err(QueryError::Stopped)));
    }

    #[test]
    fn of_many_labelled_objects_some_are_kept_away_from() {
        let vectors: Vec<[f32; 1]> = (0..9_000_u16).map(|at| [f32::from(at)]).collect();
        let all: Vec<&[f32]> = vectors.iter().map(<[f32; 1]>::as_slice).collect();
        let some = some_of(all.clone(), 1);
        assert_eq!(some.len(), KEPT_FROM_MAX);
        assert!(some == some_of(all.clone(), 1) && some != some_of(all.clone(), 2));
        assert_eq!(some_of(all[..KEPT_FROM_MAX].to_vec(), 1), all[..KEPT_FROM_MAX]);
    }
}
