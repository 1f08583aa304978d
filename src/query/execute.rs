//! Carries a plan out: exact distances of the survivors, or an index search over the segment and exact
//! distances of the tail, merged.

use super::bind::{Bound, Target};
use super::error::QueryError;
use super::plan::{Plan, PlanKind};
use super::request::{Query, StopFlag};
use super::survivors::Survivors;
use crate::engine::{CollectionView, LivePart, Part, PartVectors};
use crate::index::{IvfIndex, IvfSearch};
use crate::schema::ObjectId;
use crate::vector::{Distance, RowBitmap, TopK};

/// Rows between two looks at the stop flag.
const STOP_EVERY_ROWS: usize = 4_096;

/// A hit before it has its columns; sorts by id, which breaks ties of distance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) id: ObjectId,
    pub(super) part: usize,
    pub(super) row: usize,
}

/// What a plan found and what it touched.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) nearest: Vec<(Distance, Found)>,
    pub(super) rows_scanned: u64,
    pub(super) lists_probed: u64,
    pub(super) lists_total: u64,
    pub(super) bytes_read: u64,
    /// Whether the hits are certainly the nearest.
    pub(super) exact: bool,
}

/// Carries the plan out over every part.
pub(super) fn execute(
    view: &CollectionView,
    query: &Query,
    bound: &Bound,
    plan: &Plan,
    survivors: &[Survivors],
) -> Result<Execution, QueryError> {
    let mut run = Run {
        top: TopK::new(bound.limit),
        within: query.within.and_then(Distance::new),
        stop: &query.stop,
        touched: Execution {
            nearest: Vec::new(),
            rows_scanned: 0,
            lists_probed: 0,
            lists_total: 0,
            bytes_read: 0,
            exact: true,
        },
    };
    for (place, (live, rows)) in view.parts().into_iter().zip(survivors).enumerate() {
        if rows.count() == 0 {
            continue;
        }
        match (plan.kind, bound.targets.as_slice()) {
            (PlanKind::Listing, _) => run.list(place, live.part(), rows)?,
            (kind, [target]) => {
                let vectors = live.part().vectors(target.space.id);
                let index = vectors.filter(|_| kind.uses_index()).and_then(PartVectors::index);
                match (vectors, index) {
                    (Some(vectors), Some(index)) => {
                        run.probe(place, live, rows, target, vectors, index, query.exact)?;
                    }
                    (Some(vectors), None) => {
                        run.scan_one(place, live.part(), rows, target, vectors)?
                    }
                    (None, _) => {}
                }
            }
            (_, targets) => run.scan_many(place, live.part(), rows, targets)?,
        }
    }
    let Run { top, touched, .. } = run;
    Ok(Execution { nearest: top.into_sorted(), ..touched })
}

struct Run<'a> {
    top: TopK<Found>,
    within: Option<Distance>,
    stop: &'a StopFlag,
    touched: Execution,
}

impl Run<'_> {
    fn offer(&mut self, part_place: usize, part: &Part, row: usize, distance: Distance) {
        if self.within.is_some_and(|within| distance > within) {
            return;
        }
        self.top.offer(distance, || found(part_place, part, row));
    }

    fn list(&mut self, place: usize, part: &Part, rows: &Survivors) -> Result<(), QueryError> {
        let Some(zero) = Distance::new(0.0) else { return Ok(()) };
        for (seen, row) in rows.iter().enumerate() {
            self.stop_sometimes(seen)?;
            self.offer(place, part, row, zero);
        }
        self.touched.rows_scanned += rows.count() as u64;
        Ok(())
    }

    fn scan_one(
        &mut self,
        place: usize,
        part: &Part,
        rows: &Survivors,
        target: &Target,
        vectors: &PartVectors,
    ) -> Result<(), QueryError> {
        let metric = target.space.metric;
        let mut scanned = 0u64;
        for (seen, row) in rows.iter().enumerate() {
            self.stop_sometimes(seen)?;
            let Some(vector) = vectors.of_row(row) else { continue };
            scanned += 1;
            self.offer(place, part, row, metric.distance(&target.vector, vector));
        }
        self.touched.rows_scanned += scanned;
        self.touched.bytes_read += scanned * (target.space.dimension * size_of::<f32>()) as u64;
        Ok(())
    }

    /// Weighted mean of the distances in several spaces; objects that lack one of the vectors are passed over.
    fn scan_many(
        &mut self,
        place: usize,
        part: &Part,
        rows: &Survivors,
        targets: &[Target],
    ) -> Result<(), QueryError> {
        let spaces: Option<Vec<&PartVectors>> =
            targets.iter().map(|target| part.vectors(target.space.id)).collect();
        let Some(spaces) = spaces else { return Ok(()) };
        let bytes: usize =
            targets.iter().map(|target| target.space.dimension * size_of::<f32>()).sum();
        let mut scanned = 0u64;
        for (seen, row) in rows.iter().enumerate() {
            self.stop_sometimes(seen)?;
            let mut weighted = 0.0;
            let mut complete = true;
            for (target, vectors) in targets.iter().zip(&spaces) {
                match vectors.of_row(row) {
                    Some(vector) => {
                        weighted += target.share
                            * target.space.metric.distance(&target.vector, vector).value();
                    }
                    None => complete = false,
                }
            }
            if let Some(distance) = Distance::new(weighted).filter(|_| complete) {
                scanned += 1;
                self.offer(place, part, row, distance);
            }
        }
        self.touched.rows_scanned += scanned;
        self.touched.bytes_read += scanned * bytes as u64;
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call, and a struct for it would only repeat the names"
    )]
    fn probe(
        &mut self,
        place: usize,
        live: &LivePart,
        rows: &Survivors,
        target: &Target,
        vectors: &PartVectors,
        index: &IvfIndex,
        exact: bool,
    ) -> Result<(), QueryError> {
        self.stop.check()?;
        let part = live.part();
        let allowed = allowed_vectors(part, rows, vectors);
        let wanted = allowed.as_ref().map_or(vectors.count(), RowBitmap::count);
        let lists = index.stats().lists;
        let search = IvfSearch {
            // In exact mode every allowed vector is visited and re-ranked: the oracle's work, through the index.
            k: if exact { wanted } else { self.limit().min(wanted) },
            probes: exact.then_some(lists),
            allowed: allowed.as_ref(),
            bound: self.within,
        };
        let answer = index.search_by(&target.vector, vectors.view()?, &search, |vector| {
            found(place, part, vectors.row_of(vector as usize))
        })?;
        self.touched.rows_scanned += answer.rows_scanned;
        self.touched.lists_probed += answer.lists_probed;
        self.touched.lists_total += lists as u64;
        self.touched.bytes_read += answer.bytes_read;
        self.touched.exact &= exact || answer.exact;
        for (distance, hit) in answer.hits {
            self.top.offer(distance, || hit);
        }
        Ok(())
    }

    fn limit(&self) -> usize {
        self.top.capacity()
    }

    fn stop_sometimes(&self, seen: usize) -> Result<(), QueryError> {
        if seen.is_multiple_of(STOP_EVERY_ROWS) { self.stop.check() } else { Ok(()) }
    }
}

fn found(part_place: usize, part: &Part, row: usize) -> Found {
    // Rows without an id cannot exist in a part that was opened; an empty id keeps the types simple.
    let id = part.id_at(row).unwrap_or(ObjectId::Text(String::new()));
    Found { id, part: part_place, row }
}

/// The survivors as vector numbers; `None` when all vectors are allowed.
fn allowed_vectors(part: &Part, rows: &Survivors, vectors: &PartVectors) -> Option<RowBitmap> {
    if rows.is_everything(part.row_count()) {
        return None;
    }
    let mut allowed = RowBitmap::empty(vectors.count());
    for row in rows.iter() {
        if let Some(vector) = vectors.vector_of(row) {
            allowed.insert(vector);
        }
    }
    Some(allowed)
}
