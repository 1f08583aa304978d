//! Several terms as one order, and measures that no index knows: exactly, over all that a filter leaves.

use super::bind::{Bound, Target};
use super::combine::{Combination, Fusion};
use super::error::QueryError;
use super::execute::{Found, found};
use super::filter::PartFilter;
use super::request::StopFlag;
use crate::engine::{Part, PartVectors};
use crate::schema::ObjectId;
use crate::vector::{Distance, TopK};

/// Distances of the rows of one part to the vectors of every term.
pub(super) struct TermDistances<'a> {
    targets: &'a [Target],
    spaces: Vec<Option<&'a PartVectors>>,
    buffer: Vec<f32>,
    /// Bytes of the vectors that were read.
    pub(super) bytes_read: u64,
}

impl<'a> TermDistances<'a> {
    pub(super) fn new(part: &'a Part, targets: &'a [Target]) -> Self {
        let spaces = targets.iter().map(|target| part.vectors(target.space.id)).collect();
        Self { targets, spaces, buffer: Vec::new(), bytes_read: 0 }
    }

    /// Replaces `into` by the distances of a row, `None` where it has no vector.
    pub(super) fn read(&mut self, row: usize, into: &mut Vec<Option<f64>>) {
        into.clear();
        for (target, vectors) in self.targets.iter().zip(&self.spaces) {
            let vector = vectors.and_then(|vectors| vectors.of_row(row, &mut self.buffer));
            if let Some(vector) = vector {
                self.bytes_read += size_of_val(vector) as u64;
            }
            into.push(vector.map(|vector| target.distance(vector).value()));
        }
    }
}

/// Objects with their distances to every term.
#[derive(Default)]
pub(super) struct Scored {
    /// Part and row of each.
    pub(super) rows: Vec<(u32, u32)>,
    /// Object by object, one for each term.
    distances: Vec<Option<f64>>,
}

impl Scored {
    pub(super) fn push(&mut self, part: usize, row: u32, distances: &[Option<f64>]) {
        self.rows.push((part as u32, row));
        self.distances.extend_from_slice(distances);
    }

    fn of(&self, object: usize, terms: usize) -> &[Option<f64>] {
        &self.distances[object * terms..(object + 1) * terms]
    }

    /// Offers every object that the combination admits.
    pub(super) fn offer(
        &self,
        bound: &Bound,
        parts: &[&Part],
        within: Option<Distance>,
        top: &mut TopK<Found>,
    ) {
        let terms = bound.targets.len();
        let ranks = bound.is_ranked().then(|| self.ranks(terms, parts));
        let shares = bound.shares();
        for (object, &(part, row)) in self.rows.iter().enumerate() {
            let distances = self.of(object, terms);
            let value = match &ranks {
                None => bound.fuse(&shares, distances),
                Some(_) if !bound.combination.admits(distances) => None,
                Some((ranks, ranked)) => {
                    let own = &ranks[object * terms..(object + 1) * terms];
                    Some(Combination::fuse_ranks(&shares, own, ranked))
                }
            };
            let distance = value.and_then(Distance::new);
            let distance = distance.filter(|value| within.is_none_or(|within| *value <= within));
            if let (Some(distance), Some(&of)) = (distance, parts.get(part as usize)) {
                top.offer(distance, || found(part as usize, of, row as usize));
            }
        }
    }

    /// The rank, from 1, of every object by each term among those that have its vector, ties by object id; and how many these
    /// are.
    fn ranks(&self, terms: usize, parts: &[&Part]) -> (Vec<Option<u32>>, Vec<u32>) {
        let mut ranks = vec![None; self.distances.len()];
        let mut ranked = Vec::with_capacity(terms);
        let id = |object: usize| -> Option<ObjectId> {
            let (part, row) = self.rows[object];
            parts.get(part as usize)?.id_at(row as usize)
        };
        for term in 0..terms {
            let distance = |object: usize| self.distances[object * terms + term];
            let mut order: Vec<(f64, usize)> = (0..self.rows.len())
                .filter_map(|object| Some((distance(object)?, object)))
                .collect();
            order.sort_unstable_by(|left, right| {
                left.0.total_cmp(&right.0).then_with(|| id(left.1).cmp(&id(right.1)))
            });
            for (rank, (_, object)) in order.iter().enumerate() {
                ranks[object * terms + term] = Some(rank as u32 + 1);
            }
            ranked.push(order.len() as u32);
        }
        (ranks, ranked)
    }
}

impl Bound {
    /// Whether hits are ordered by their ranks in several terms.
    pub(super) fn is_ranked(&self) -> bool {
        self.targets.len() > 1 && self.combination.fusion == Fusion::ReciprocalRank
    }

    /// One distance of an object's distances to the terms; `None` where it is left out. Not for ranks.
    pub(super) fn fuse(&self, shares: &[f64], distances: &[Option<f64>]) -> Option<f64> {
        match distances {
            [only] => *only,
            several => self.combination.fuse(shares, several),
        }
    }
}

/// What a fused scan of one part touched.
pub(super) struct Touched {
    pub(super) left: usize,
    pub(super) scanned: u64,
    pub(super) bytes_read: u64,
}

/// Shows the rows of a part that a filter leaves and that have a vector of one of the terms, with their distances.
pub(super) fn scan(
    filter: &PartFilter<'_>,
    bound: &Bound,
    stop: &StopFlag,
    mut each: impl FnMut(u32, &[Option<f64>]),
) -> Result<Touched, QueryError> {
    let part = filter.live().part();
    let mut terms = TermDistances::new(part, &bound.targets);
    let mut touched = Touched { left: 0, scanned: 0, bytes_read: 0 };
    let mut distances = Vec::with_capacity(bound.targets.len());
    filter.for_each_chunk(filter.cheapest_source(), stop, |rows| {
        touched.left += rows.len();
        for &row in rows {
            terms.read(row as usize, &mut distances);
            if distances.iter().any(Option::is_some) {
                touched.scanned += 1;
                each(row, &distances);
            }
        }
        Ok(())
    })?;
    touched.bytes_read = terms.bytes_read;
    Ok(touched)
}

/// The parts of bound filters.
pub(super) fn parts_of<'a>(filters: &[PartFilter<'a>]) -> Vec<&'a Part> {
    filters.iter().map(|filter| filter.live().part()).collect()
}
