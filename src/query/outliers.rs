//! How lonely objects are among others of their space.
//!
//! Every object that region and predicate leave is a query of its own: its nearest neighbours among them are found, exactly or
//! through the index, and scores are made of the distances.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::bind::{self, Bound};
use super::error::QueryError;
use super::execute::{self, Found};
use super::filter::{Filter, PartFilter, Source};
use super::plan::{self, Plan, PlanKind};
use super::request::{Query, StopFlag};
use crate::engine::{CollectionView, EngineError};
use crate::learn::discover::{Neighbours, local_outlier_factors};
use crate::schema::{EmbeddingSpace, ObjectId};
use crate::sky::{Position, Region};
use crate::vector::{Distance, Metric};

/// Most neighbours of each object, and most neighbours of all together: they are held at once.
pub const NEIGHBOURS_MAX: usize = 1_000;
const ALL_NEIGHBOURS_MAX: usize = 1 << 28;

/// Objects whose neighbours a thread finds before it tells and takes the next.
const TURN: usize = 128;

/// What makes a score of the distances to the nearest neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutlierMethod {
    /// Their mean.
    #[default]
    MeanDistance,
    /// The last of them.
    LastDistance,
    /// The local outlier factor.
    LocalFactor,
}

/// Which objects are scored, and how.
#[derive(Debug, Clone)]
pub struct OutlierQuery {
    /// Name of the space; empty when the collection has only one.
    pub space: String,
    /// Where on the sky; `None` for everywhere.
    pub region: Option<Region>,
    /// SQL boolean expression on the columns.
    pub predicate: Option<String>,
    /// What a score is.
    pub method: OutlierMethod,
    /// Neighbours of each object.
    pub neighbours: usize,
    /// Whether neighbours are found by comparing everything.
    pub exact: bool,
    /// Recall of neighbours to aim at otherwise.
    pub recall: f64,
    /// Threads that find neighbours.
    pub threads: usize,
    /// Raised when the caller has gone.
    pub stop: StopFlag,
}

/// The score of one object: larger is lonelier.
#[derive(Debug, Clone, PartialEq)]
pub struct OutlierScore {
    /// Its id.
    pub id: ObjectId,
    /// Where it is.
    pub position: Position,
    /// The score.
    pub score: f64,
}

/// Scores of objects.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outliers {
    /// The loneliest first, ties by object id.
    pub scores: Vec<OutlierScore>,
    /// Name of the space.
    pub space: String,
    /// Whether all neighbours are certainly the nearest.
    pub exact: bool,
    /// recall@10 that the index measured of itself for the recall that was wished; `None` where neighbours are exact.
    pub estimated_recall: Option<f64>,
    /// Name of the plan that found neighbours.
    pub plan: String,
    /// Objects that the conditions leave and that have no vector in the space: they have no score.
    pub without_vector: u64,
}

/// Scores all objects that the conditions leave, each among the others. `told` is called with how many are done, and of how
/// many.
///
/// # Errors
/// [`QueryError`] for what can never be answered, a stopped query, or damaged data.
pub fn outliers(
    view: &CollectionView,
    query: &OutlierQuery,
    told: &(dyn Fn(u64, u64) + Sync),
) -> Result<Outliers, QueryError> {
    let space = bind::find_space(view, &query.space)?;
    check(query, &space)?;
    let population = Population::of(view, query, &space)?;
    let count = population.rows.len();
    let needed = query.neighbours + 1;
    if count < needed {
        return Err(QueryError::TooFewNeighbours { space: space.name, count, needed });
    }
    if count.saturating_mul(query.neighbours) > ALL_NEIGHBOURS_MAX {
        return Err(QueryError::TooManyNeighbours { count, neighbours: query.neighbours });
    }
    let search = Search {
        view,
        query,
        space: &space,
        population: &population,
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        told,
        outcome: Mutex::new(Outcome::new(count, query.neighbours)),
    };
    search.run()?;
    let Ok(outcome) = search.outcome.into_inner() else { return Err(QueryError::Stopped) };
    let values = outcome.scores(query)?;
    let mut scores = Vec::with_capacity(count);
    let parts = view.parts();
    for (&(part, row), score) in population.rows.iter().zip(values) {
        let part = parts.get(part as usize).map(|live| live.part());
        let known = part
            .and_then(|part| Some((part.id_at(row as usize)?, part.position_at(row as usize)?)));
        if let Some((id, position)) = known {
            scores.push(OutlierScore { id, position, score });
        }
    }
    scores.sort_by(|left, right| {
        right.score.total_cmp(&left.score).then_with(|| left.id.cmp(&right.id))
    });
    let recall = view.measured_recall(space.id, query.recall, false);
    let recall = recall.filter(|_| !outcome.exact);
    Ok(Outliers {
        scores,
        space: space.name.clone(),
        exact: outcome.exact,
        estimated_recall: recall,
        plan: outcome.plan.map_or("", PlanKind::name).to_owned(),
        without_vector: population.without_vector,
    })
}

fn check(query: &OutlierQuery, space: &EmbeddingSpace) -> Result<(), QueryError> {
    if !(1..=NEIGHBOURS_MAX).contains(&query.neighbours) {
        return Err(QueryError::BadNeighbours { neighbours: query.neighbours });
    }
    if !(query.recall > 0.0 && query.recall <= 1.0) {
        return Err(QueryError::BadRecall { recall: query.recall });
    }
    if query.method == OutlierMethod::LocalFactor && space.metric == Metric::Ip {
        return Err(QueryError::NoDensity { space: space.name.clone() });
    }
    Ok(())
}

/// The objects that are scored.
struct Population {
    /// Part and row of each.
    rows: Vec<(u32, u32)>,
    /// For each row of each part, its place among them.
    places: Vec<Vec<u32>>,
    without_vector: u64,
}

impl Population {
    fn of(
        view: &CollectionView,
        query: &OutlierQuery,
        space: &EmbeddingSpace,
    ) -> Result<Self, QueryError> {
        let filter = Filter::new(view, query.region.as_ref(), query.predicate.as_deref(), &[])?;
        let filters = filter.bind(view, &query.stop)?;
        let mut population = Self { rows: Vec::new(), places: Vec::new(), without_vector: 0 };
        for (place, filter) in filters.iter().enumerate() {
            let part = filter.live().part();
            let vectors = part.vectors(space.id);
            let mut rows: Vec<u32> = Vec::new();
            let mut left = 0;
            filter.for_each_chunk(Source::Sky, &query.stop, |chunk| {
                left += chunk.len() as u64;
                let has =
                    |row: &u32| vectors.is_some_and(|it| it.vector_of(*row as usize).is_some());
                rows.extend(chunk.iter().copied().filter(has));
                Ok(())
            })?;
            rows.sort_unstable();
            population.without_vector += left - rows.len() as u64;
            let mut places = vec![u32::MAX; part.row_count()];
            for row in rows {
                if let Some(own) = places.get_mut(row as usize) {
                    *own = population.rows.len() as u32;
                }
                population.rows.push((place as u32, row));
            }
            population.places.push(places);
        }
        Ok(population)
    }

    fn place_of(&self, found: &Found) -> Option<u32> {
        let place = *self.places.get(found.part)?.get(found.row)?;
        (place != u32::MAX).then_some(place)
    }
}

/// Neighbours as they are found.
struct Outcome {
    places: Vec<u32>,
    distances: Vec<f64>,
    exact: bool,
    plan: Option<PlanKind>,
}

impl Outcome {
    fn new(count: usize, neighbours: usize) -> Self {
        let all = count * neighbours;
        Self { places: vec![0; all], distances: vec![0.0; all], exact: true, plan: None }
    }

    fn scores(&self, query: &OutlierQuery) -> Result<Vec<f64>, QueryError> {
        let k = query.neighbours;
        let own = self.distances.chunks_exact(k);
        Ok(match query.method {
            OutlierMethod::MeanDistance => {
                own.map(|distances| distances.iter().sum::<f64>() / k as f64).collect()
            }
            OutlierMethod::LastDistance => {
                own.filter_map(|distances| distances.last().copied()).collect()
            }
            OutlierMethod::LocalFactor => {
                let neighbours = Neighbours::new(k, self.places.clone(), self.distances.clone());
                let neighbours = neighbours
                    .map_err(|source| QueryError::Learn { space: query.space.clone(), source })?;
                local_outlier_factors(&neighbours)
            }
        })
    }
}

/// The search for all neighbours, by several threads.
struct Search<'a> {
    view: &'a CollectionView,
    query: &'a OutlierQuery,
    space: &'a EmbeddingSpace,
    population: &'a Population,
    next: AtomicUsize,
    done: AtomicUsize,
    told: &'a (dyn Fn(u64, u64) + Sync),
    outcome: Mutex<Outcome>,
}

impl Search<'_> {
    fn run(&self) -> Result<(), QueryError> {
        let turns = self.population.rows.len().div_ceil(TURN);
        let threads = self.query.threads.clamp(1, turns.max(1));
        std::thread::scope(|scope| {
            let workers: Vec<_> = (1..threads).map(|_| scope.spawn(|| self.work())).collect();
            let own = self.work();
            // A thread that panicked has found nothing; so has the search.
            let others =
                workers.into_iter().map(|worker| worker.join().unwrap_or(Err(QueryError::Stopped)));
            others.fold(own, Result::and)
        })
    }

    /// Takes turns until there are none.
    fn work(&self) -> Result<(), QueryError> {
        let Self { view, query, .. } = *self;
        // Each thread binds for itself: what a condition leaves may be evaluated lazily.
        let filter = Filter::new(view, query.region.as_ref(), query.predicate.as_deref(), &[])?;
        let filters = filter.bind(view, &query.stop)?;
        let request = Query {
            region: query.region.clone(),
            predicate: query.predicate.clone(),
            k: Some(query.neighbours + 1),
            exact: query.exact,
            recall: query.recall,
            stop: query.stop.clone(),
            ..Query::default()
        };
        let mut bound = Bound::nearest(self.space.clone(), Vec::new(), query.neighbours + 1);
        let plan = plan::choose(view, &request, &bound, &filters)?;
        loop {
            let start = self.next.fetch_add(1, Ordering::Relaxed) * TURN;
            let end = (start + TURN).min(self.population.rows.len());
            if start >= end {
                return Ok(());
            }
            self.turn(start..end, &request, &mut bound, &plan, &filters)?;
            let done = self.done.fetch_add(end - start, Ordering::Relaxed) + end - start;
            (self.told)(done as u64, self.population.rows.len() as u64);
        }
    }

    fn turn(
        &self,
        objects: std::ops::Range<usize>,
        request: &Query,
        bound: &mut Bound,
        plan: &Plan,
        filters: &[PartFilter<'_>],
    ) -> Result<(), QueryError> {
        let k = self.query.neighbours;
        let (mut places, mut distances) = (Vec::new(), Vec::new());
        let (mut exact, mut kind) = (true, plan.kind);
        for object in objects.clone() {
            self.query.stop.check()?;
            self.take_vector(object, bound)?;
            let found = execute::execute(request, bound, plan, filters)?;
            exact &= found.exact;
            kind = found.kind;
            let others = self.others(object, &found.nearest);
            places.extend(others.iter().map(|other| other.0));
            distances.extend(others.iter().map(|other| other.1));
        }
        if places.len() != objects.len() * k {
            let what = "a search found fewer neighbours than there are";
            return Err(QueryError::Internal { what });
        }
        let Ok(mut outcome) = self.outcome.lock() else { return Err(QueryError::Stopped) };
        let range = objects.start * k..objects.end * k;
        outcome.places[range.clone()].copy_from_slice(&places);
        outcome.distances[range].copy_from_slice(&distances);
        outcome.exact &= exact;
        outcome.plan = Some(kind);
        Ok(())
    }

    fn take_vector(&self, object: usize, bound: &mut Bound) -> Result<(), QueryError> {
        let unreadable = || EngineError::UnreadableVectors { space: self.space.name.clone() };
        let (part, row) = self.population.rows[object];
        let parts = self.view.parts();
        let live = parts.get(part as usize).ok_or_else(unreadable)?;
        let vectors = live.part().vectors(self.space.id).ok_or_else(unreadable)?;
        let mut buffer = Vec::new();
        let vector = vectors.of_row(row as usize, &mut buffer).ok_or_else(unreadable)?;
        for target in &mut bound.targets {
            target.vector.clear();
            target.vector.extend_from_slice(vector);
        }
        Ok(())
    }

    /// The nearest without the object itself; where others coincide with it, it may not be among them.
    fn others(&self, object: usize, nearest: &[(Distance, Found)]) -> Vec<(u32, f64)> {
        let mut others: Vec<(u32, f64)> = nearest
            .iter()
            .filter_map(|(distance, found)| {
                let place = self.population.place_of(found)?;
                // Rounding makes the distance of equal directions a little less than 0; inner products are what they are.
                let least = if self.space.metric == Metric::Ip { f64::NEG_INFINITY } else { 0.0 };
                (place as usize != object).then(|| (place, distance.value().max(least)))
            })
            .collect();
        others.truncate(self.query.neighbours);
        others
    }
}
