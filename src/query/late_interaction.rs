//! Re-ranks: the nearest by vectors, ordered anew by their tokens.
//!
//! A search gives [`Candidates`], which have no columns yet. Whoever asks for the re-rank finds the distance of each by its
//! tokens, which may take the encoder and some time; the candidates then become an answer.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt::Write;
use std::time::Instant;

use super::answer::{Answer, QueryStats};
use super::bind::{self, Bound};
use super::error::QueryError;
use super::execute::Found;
use super::filter::Filter;
use super::request::{Query, StopFlag};
use super::{Planned, hydrate, plan};
use crate::engine::CollectionView;
use crate::schema::{ObjectId, SpaceId};
use crate::vector::{Distance, MaxSim, MaxSimRoom};
use crate::wire::v1::TokenSequence;

/// Most candidates of a re-rank.
pub const CANDIDATES_MAX: usize = 2_000;

/// Candidates for each hit wanted, and most of them, where nothing is said.
const CANDIDATES_PER_HIT: usize = 10;
const CANDIDATES_DEFAULT_MAX: usize = 1_000;

/// How many candidates a re-rank for `k` hits has: those asked for, 0 for a default, and never fewer than the hits.
pub fn candidates_for(k: usize, asked: usize) -> usize {
    match asked {
        0 => (k * CANDIDATES_PER_HIT).min(CANDIDATES_DEFAULT_MAX).max(k),
        asked => asked.max(k),
    }
}

/// The nearest objects by the vector terms of a query, before a re-rank.
pub struct Candidates {
    view: CollectionView,
    query: Query,
    bound: Bound,
    nearest: Vec<(Distance, Found)>,
    stats: QueryStats,
    started: Instant,
}

/// What a re-rank found of its candidates.
#[derive(Debug, Clone, Default)]
pub struct Ranking {
    /// For each candidate, in order, its distance by tokens; `None` where it has none.
    pub distances: Vec<Option<f64>>,
    /// Name of the space of tokens.
    pub space: String,
    /// Tokens of the query.
    pub query_tokens: usize,
    /// Bytes of tokens that were read.
    pub bytes_read: u64,
}

/// Finds the candidates of a re-rank: as many as the query wants hits.
///
/// # Errors
/// Those of [`super::search`].
pub fn candidates(view: CollectionView, query: Query) -> Result<Candidates, QueryError> {
    let started = Instant::now();
    let bound = bind::bind(&view, &query)?;
    let (nearest, stats) = {
        let predicate = query.predicate.as_deref();
        let filter = Filter::new(&view, query.region.as_ref(), predicate, &bound.excluded)?;
        let filters = filter.bind(&view, &query.stop)?;
        let plan = plan::choose(&view, &query, &bound, &filters)?;
        let planned =
            Planned { view: &view, query: &query, bound: &bound, filters: &filters, plan };
        planned.find()?
    };
    Ok(Candidates { view, query, bound, nearest, stats, started })
}

impl Candidates {
    /// Their ids, the nearest by vectors first.
    pub fn ids(&self) -> Vec<ObjectId> {
        self.nearest.iter().map(|(_, found)| found.id.clone()).collect()
    }

    /// What the query reads.
    pub fn view(&self) -> &CollectionView {
        &self.view
    }

    /// The `k` nearest by tokens, ties by object id; candidates without tokens follow in their former order, and have no
    /// distance: what there is between their vectors is no distance between tokens.
    ///
    /// # Errors
    /// Those of reading columns.
    pub fn into_answer(self, k: usize, ranking: &Ranking) -> Result<Answer, QueryError> {
        let Self { view, query, bound, nearest, mut stats, started } = self;
        let asked = query.k.unwrap_or(nearest.len());
        let distances = ranking.distances.iter().copied().chain(std::iter::repeat(None));
        let mut ranked: Vec<(Option<f64>, (Distance, Found))> = distances.zip(nearest).collect();
        let without = ranked.iter().filter(|(distance, _)| distance.is_none()).count();
        // A stable sort: those without tokens stay as they were among themselves.
        ranked.sort_by(|(left, (_, one)), (right, (_, other))| match (left, right) {
            (Some(left), Some(right)) => left.total_cmp(right).then_with(|| one.id.cmp(&other.id)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        });
        stats.candidates_reranked = ranked.len() as u64;
        stats.candidates_without_tokens = without as u64;
        stats.bytes_read += ranking.bytes_read;
        // Nearest of all are they only where nobody was left out before.
        stats.exact &= ranked.len() < asked;
        ranked.truncate(k);
        if query.explain {
            tell(&mut stats.explanation, ranking, stats.candidates_reranked, without);
        }
        let by_tokens: HashMap<ObjectId, Option<f64>> =
            ranked.iter().map(|(distance, (_, found))| (found.id.clone(), *distance)).collect();
        let nearest = ranked.into_iter().map(|(_, found)| found).collect();
        let mut hits = hydrate::hydrate(&view, &query, &bound, nearest)?;
        for hit in &mut hits {
            hit.distance = by_tokens.get(&hit.id).copied().flatten();
            hit.score = hit.distance.map(|distance| 1.0 - distance);
        }
        stats.elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
        Ok(Answer { hits, stats })
    }
}

fn tell(text: &mut String, ranking: &Ranking, candidates: u64, without: usize) {
    let Ranking { space, query_tokens, .. } = ranking;
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "\nre-ranked: {candidates} candidates by their tokens in {space}, against {query_tokens} of the query; {without} \
         without tokens come last"
    );
}

/// Reads the tokens of some objects, in their order; `None` where one has none, or has gone.
///
/// # Errors
/// [`QueryError::Stopped`]; those of the store.
pub fn tokens_of(
    view: &CollectionView,
    space: SpaceId,
    ids: &[ObjectId],
    stop: &StopFlag,
) -> Result<Vec<Option<TokenSequence>>, QueryError> {
    stop.check()?;
    Ok(view.tokens(space, ids)?)
}

/// The distances of sequences of states, one after the other; `None` for one that is not there, or of another width.
///
/// # Errors
/// [`QueryError::Stopped`] between two of them.
pub fn distances(
    query: &MaxSim,
    sequences: &[Option<TokenSequence>],
    room: &mut MaxSimRoom,
    stop: &StopFlag,
) -> Result<Vec<Option<f64>>, QueryError> {
    let each = |sequence: &Option<TokenSequence>| {
        stop.check()?;
        Ok(sequence.as_ref().and_then(|sequence| query.distance(&states(sequence), room)))
    };
    sequences.iter().map(each).collect()
}

/// Prepares the tokens of a query, all sequences together; `None` when there is none, or they differ in width.
pub fn max_sim(sequences: &[TokenSequence]) -> Option<MaxSim> {
    let width = sequences.iter().flat_map(|sequence| &sequence.runs).next()?.width;
    let mut runs = sequences.iter().flat_map(|sequence| &sequence.runs);
    if runs.any(|run| run.width != width) {
        return None;
    }
    let all: Vec<&[u8]> = sequences.iter().flat_map(states).collect();
    MaxSim::new(width as usize, &all)
}

fn states(sequence: &TokenSequence) -> Vec<&[u8]> {
    sequence.runs.iter().map(|run| run.states.as_slice()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(states: &[u16], width: u32) -> TokenSequence {
        let run = crate::wire::v1::TokenRun {
            count: states.len() as u32 / width,
            width,
            states: states.iter().flat_map(|half| half.to_le_bytes()).collect(),
            ..Default::default()
        };
        TokenSequence { runs: vec![run] }
    }

    const ONE: u16 = 0x3c00;

    #[test]
    fn distances_are_found_until_somebody_says_stop() {
        let query = max_sim(&[sequence(&[ONE, 0], 2), sequence(&[0, ONE], 2)]).expect("tokens");
        assert_eq!(query.count(), 2);
        let objects = [
            Some(sequence(&[ONE, 0, 0, ONE], 2)),
            None,
            Some(sequence(&[ONE, 0], 2)),
            Some(sequence(&[ONE, 0, 0], 3)),
        ];
        let (stop, mut room) = (StopFlag::default(), MaxSimRoom::default());
        let found = distances(&query, &objects, &mut room, &stop).expect("goes on");
        assert_eq!(found, [Some(0.0), None, Some(0.5), None]);
        stop.raise();
        let stopped = distances(&query, &objects, &mut room, &stop);
        assert!(matches!(stopped, Err(QueryError::Stopped)));
    }

    #[test]
    fn tokens_of_several_widths_are_not_compared() {
        assert!(max_sim(&[sequence(&[ONE, 0], 2), sequence(&[ONE, 0, 0], 3)]).is_none());
        assert!(max_sim(&[]).is_none());
    }

    #[test]
    fn there_are_never_fewer_candidates_than_hits() {
        assert_eq!(candidates_for(10, 0), 100);
        assert_eq!(candidates_for(500, 0), 1_000);
        assert_eq!(candidates_for(1_500, 0), 1_500);
        assert_eq!(candidates_for(10, 50), 50);
        assert_eq!(candidates_for(10, 5), 10);
    }
}
