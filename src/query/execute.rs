//! Carries a plan out: distances of the survivors, exact or by their codes, or a search of the lists, in the part with the
//! index, and exact distances in the others, merged.

use std::ops::Range;

use super::ahead::Ahead;
use super::bind::{Bound, Target};
use super::error::QueryError;
use super::filter::{PartFilter, Source};
use super::fused::{self, Scored};
use super::plan::{self, Considered, Indexed, Plan, PlanKind, indexed};
use super::request::Query;
use super::trace;
use crate::engine::{EngineError, Part, PartVectors};
use crate::index::{CodeScan, IvfAnswer, IvfSearch};
use crate::schema::ObjectId;
use crate::vector::{Distance, RowSet, TopK, VectorSource, prefetch_all};

/// Rows of a run from which on it is scanned as one, not row by row.
const RUN_ROWS_MIN: usize = 64;

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
    /// The way that was taken in the end.
    pub(super) kind: PlanKind,
    pub(super) rows_scanned: u64,
    /// Those of them that were compared by their codes.
    pub(super) rows_coded: u64,
    pub(super) rows_reranked: u64,
    pub(super) lists_probed: u64,
    pub(super) lists_total: u64,
    pub(super) bytes_read: u64,
    /// Whether the hits are certainly the nearest.
    pub(super) exact: bool,
    /// Whether the query lies farther from the indexed rows than nearly all of them do.
    pub(super) is_far: bool,
    /// Rows left, where every one of them was looked at.
    pub(super) survivors: Option<u64>,
}

impl Execution {
    pub(super) fn new(kind: PlanKind) -> Self {
        Self {
            nearest: Vec::new(),
            kind,
            rows_scanned: 0,
            rows_coded: 0,
            rows_reranked: 0,
            lists_probed: 0,
            lists_total: 0,
            bytes_read: 0,
            exact: true,
            is_far: false,
            survivors: Some(0),
        }
    }
}

/// Carries the plan out over every part.
pub(super) fn execute(
    query: &Query,
    bound: &Bound,
    plan: &Plan,
    filters: &[PartFilter<'_>],
) -> Result<Execution, QueryError> {
    let mut run = Run {
        query,
        top: TopK::new(bound.limit),
        within: query.within.and_then(Distance::new),
        touched: Execution::new(plan.kind),
    };
    let indexed = indexed(filters, bound).filter(|_| plan.kind.uses_index());
    let mut scored = Scored::default();
    for (place, filter) in filters.iter().enumerate() {
        let through_index = indexed.as_ref().filter(|indexed| indexed.place == place);
        let (span, scanned) = (trace::part(filter), run.touched.rows_scanned);
        match (bound.targets.as_slice(), through_index) {
            ([], _) => run.list(place, filter)?,
            ([target], Some(indexed)) => run.search_index(plan, filter, target, indexed)?,
            ([target], None) if target.is_nearest() => {
                let source = if plan.kind.uses_index() {
                    filter.cheapest_source()
                } else {
                    filter.settled(plan.source)
                };
                run.scan_one(place, filter, source, target)?;
            }
            _ => run.scan_fused(place, filter, bound, &mut scored)?,
        }
        span.record("rows_scanned", run.touched.rows_scanned - scanned);
    }
    if bound.is_ranked() {
        scored.offer(bound, &fused::parts_of(filters), run.within, &mut run.top);
    }
    for filter in filters {
        let part = filter.live().part();
        for target in &bound.targets {
            if part.vectors(target.space.id).is_some_and(PartVectors::has_failed) {
                let space = target.space.name.clone();
                return Err(EngineError::UnreadableVectors { space }.into());
            }
        }
    }
    let Run { top, touched, .. } = run;
    Ok(Execution { nearest: top.into_sorted(), ..touched })
}

struct Run<'a> {
    query: &'a Query,
    top: TopK<Found>,
    within: Option<Distance>,
    touched: Execution,
}

impl Run<'_> {
    fn survived(&mut self, rows: Option<usize>) {
        self.touched.survivors =
            self.touched.survivors.zip(rows).map(|(sum, rows)| sum + rows as u64);
    }

    fn list(&mut self, place: usize, filter: &PartFilter<'_>) -> Result<(), QueryError> {
        let Some(zero) = Distance::new(0.0) else { return Ok(()) };
        let part = filter.live().part();
        let mut listed = 0;
        filter.for_each_chunk(filter.cheapest_source(), &self.query.stop, |rows| {
            listed += rows.len();
            for &row in rows {
                self.top.offer(zero, || found(place, part, row as usize));
            }
            Ok(())
        })?;
        self.touched.rows_scanned += listed as u64;
        self.survived(Some(listed));
        Ok(())
    }

    fn scan_one(
        &mut self,
        place: usize,
        filter: &PartFilter<'_>,
        source: Source,
        target: &Target,
    ) -> Result<(), QueryError> {
        let part = filter.live().part();
        let metric = target.space.metric;
        let Some(vectors) = part.vectors(target.space.id) else {
            let left = filter.count(&self.query.stop)?;
            self.survived(Some(left));
            return Ok(());
        };
        let (mut left, mut scanned) = (0, 0u64);
        let mut buffer = Vec::new();
        let in_order = vectors.in_order();
        let row_bytes = size_of_val(target.vector.as_slice());
        let mut ahead = Ahead::new(row_bytes, vectors.is_complete());
        let mut bound = self.top.bound().or(self.within);
        // Nothing where the vectors are not in memory.
        let ask = |row: u32| {
            let Some(all) = &in_order else { return };
            let vector = vectors.vector_of(row as usize).and_then(|number| all.row(number));
            vector.into_iter().for_each(prefetch_all);
        };
        filter.for_each_chunk(source, &self.query.stop, |rows| {
            left += rows.len();
            ahead.begin(rows, ask);
            for (at, &row) in rows.iter().enumerate() {
                ahead.step(rows, at, ask);
                let Some(number) = vectors.vector_of(row as usize) else { continue };
                let vector = match &in_order {
                    Some(all) => all.row(number),
                    None => vectors.fetch(number, &mut buffer),
                };
                let Some(vector) = vector else { continue };
                scanned += 1;
                let distance = metric.distance_within(&target.vector, vector, bound);
                if let Some(distance) = distance
                    && self.within.is_none_or(|within| distance <= within)
                {
                    self.top.offer(distance, || found(place, part, row as usize));
                    bound = self.top.bound().or(self.within);
                }
            }
            Ok(())
        })?;
        self.touched.rows_scanned += scanned;
        self.touched.bytes_read += scanned * (target.space.dimension * size_of::<f32>()) as u64;
        self.survived(Some(left));
        Ok(())
    }

    /// Distances to several terms as one, or by a measure that has no index. Where ranks have to be found first, rows are
    /// kept.
    fn scan_fused(
        &mut self,
        place: usize,
        filter: &PartFilter<'_>,
        bound: &Bound,
        scored: &mut Scored,
    ) -> Result<(), QueryError> {
        let part = filter.live().part();
        let (is_ranked, shares) = (bound.is_ranked(), bound.shares());
        let (top, within) = (&mut self.top, self.within);
        let touched = fused::scan(filter, bound, &self.query.stop, |row, distances| {
            if is_ranked {
                return scored.push(place, row, distances);
            }
            let distance = bound.fuse(&shares, distances).and_then(Distance::new);
            if let Some(distance) = distance.filter(|it| within.is_none_or(|within| *it <= within))
            {
                top.offer(distance, || found(place, part, row as usize));
            }
        })?;
        self.touched.rows_scanned += touched.scanned;
        self.touched.bytes_read += touched.bytes_read;
        self.survived(Some(touched.left));
        Ok(())
    }

    fn search_index(
        &mut self,
        plan: &Plan,
        filter: &PartFilter<'_>,
        target: &Target,
        indexed: &Indexed<'_>,
    ) -> Result<(), QueryError> {
        self.query.stop.check()?;
        if !plan.kind.uses_lists() {
            return if self.query.is_exact() && !plan.is_certain {
                self.touched.kind = plan::scan_kind(self.query);
                self.scan_one(indexed.place, filter, plan.source, target)
            } else {
                self.scan_codes(plan.source, filter, target, indexed)
            };
        }
        let part = filter.live().part();
        let mapped = VectorSet { filter, vectors: indexed.vectors };
        let lists = indexed.index.stats().lists;
        let exact = self.query.is_exact();
        let search = IvfSearch {
            k: self.top.capacity(),
            recall: if exact { 1.0 } else { self.query.recall },
            // In exact mode every allowed vector is visited and re-ranked: the oracle's work, through the lists.
            probes: exact.then_some(lists),
            allowed: (!filter.is_everything()).then_some(&mapped as &dyn RowSet),
            allowed_share: plan.estimates.get(indexed.place).copied().unwrap_or(0.0)
                / part.row_count().max(1) as f64,
            lists_max: plan.instead.as_ref().map_or(usize::MAX, |(lists_max, _)| *lists_max),
            bound: self.within,
        };
        let vectors = indexed.vectors;
        let answer = indexed.index.search_by(&target.vector, vectors, &search, |vector| {
            found(indexed.place, part, vectors.row_of(vector as usize))
        })?;
        self.touched.lists_total += lists as u64;
        if answer.gave_up
            && let Some((_, scan)) = &plan.instead
        {
            self.touched.lists_probed += answer.lists_probed;
            self.touched.rows_scanned += answer.rows_scanned;
            self.touched.rows_coded += answer.rows_scanned;
            return self.scan_instead(scan, filter, target, indexed);
        }
        let is_coded = !answer.exact;
        self.take(answer, is_coded);
        let known = filter.known_count();
        self.survived(known);
        Ok(())
    }

    /// The scan that turned out to be cheaper than going on with the lists.
    fn scan_instead(
        &mut self,
        scan: &Considered,
        filter: &PartFilter<'_>,
        target: &Target,
        indexed: &Indexed<'_>,
    ) -> Result<(), QueryError> {
        self.touched.kind = scan.kind;
        if scan.kind.uses_index() {
            self.scan_codes(scan.source, filter, target, indexed)
        } else {
            self.scan_one(indexed.place, filter, scan.source, target)
        }
    }

    fn scan_codes(
        &mut self,
        source: Source,
        filter: &PartFilter<'_>,
        target: &Target,
        indexed: &Indexed<'_>,
    ) -> Result<(), QueryError> {
        let vectors = indexed.vectors;
        // The runs left out of the walk are those of the sky, so both must mean the same source.
        let source = filter.settled(source);
        let mut listed: Vec<u32> = Vec::new();
        let runs = if source == Source::Sky { filter.long_runs(RUN_ROWS_MIN) } else { Vec::new() };
        let mut left = runs.iter().map(Range::len).sum::<usize>();
        let runs: Vec<_> = runs.into_iter().map(|run| vectors.vectors_in(run)).collect();
        filter.for_each_chunk_beside(RUN_ROWS_MIN, source, &self.query.stop, |rows| {
            left += rows.len();
            if vectors.is_complete() {
                listed.extend_from_slice(rows);
            } else {
                let numbers = rows.iter().filter_map(|&row| vectors.vector_of(row as usize));
                listed.extend(numbers.map(|vector| vector as u32));
            }
            Ok(())
        })?;
        let scan = CodeScan {
            k: self.top.capacity(),
            recall: if self.query.is_exact() { 1.0 } else { self.query.recall },
            bound: self.within,
            runs: &runs,
            rows: &listed,
            go_on: &|| self.query.stop.check().is_ok(),
        };
        let part = filter.live().part();
        let key = |vector: u32| found(indexed.place, part, vectors.row_of(vector as usize));
        match indexed.index.scan_by(&target.vector, vectors, &scan, key)? {
            Some(answer) => {
                self.take(answer, true);
                self.survived(Some(left));
                Ok(())
            }
            // Numbers too large for codes: the rows themselves can tell. Where the search was stopped, this ends at once.
            None => self.scan_one(indexed.place, filter, source, target),
        }
    }

    /// Takes an answer of the index; `is_coded` tells whether its rows were compared by their codes first.
    fn take(&mut self, answer: IvfAnswer<Found>, is_coded: bool) {
        self.touched.rows_scanned += answer.rows_scanned;
        if is_coded {
            self.touched.rows_coded += answer.rows_scanned;
            self.touched.rows_reranked += answer.rows_reranked;
        }
        self.touched.lists_probed += answer.lists_probed;
        self.touched.bytes_read += answer.bytes_read;
        self.touched.exact &= answer.exact;
        self.touched.is_far |= answer.is_far;
        for (distance, hit) in answer.hits {
            self.top.offer(distance, || hit);
        }
    }
}

/// A filter of rows as a set of vector numbers.
struct VectorSet<'a> {
    filter: &'a PartFilter<'a>,
    vectors: &'a PartVectors,
}

impl RowSet for VectorSet<'_> {
    fn select(&self, vectors: &[u32], keep: &mut Vec<u32>) {
        if self.vectors.is_complete() {
            return self.filter.select(vectors, keep);
        }
        let rows: Vec<u32> =
            vectors.iter().map(|&vector| self.vectors.row_of(vector as usize) as u32).collect();
        self.filter.select(&rows, keep);
    }

    fn span(&self) -> Range<u32> {
        let rows = self.filter.span();
        if self.vectors.is_complete() {
            return rows;
        }
        let vectors = self.vectors.vectors_in(rows.start as usize..rows.end as usize);
        vectors.start as u32..vectors.end as u32
    }
}

pub(super) fn found(part_place: usize, part: &Part, row: usize) -> Found {
    // Rows without an id cannot exist in a part that was opened; an empty id keeps the types simple.
    let id = part.id_at(row).unwrap_or(ObjectId::Text(String::new()));
    Found { id, part: part_place, row }
}
