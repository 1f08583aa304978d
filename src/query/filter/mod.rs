//! Which rows region and predicate leave.
//!
//! Region and predicate are bound to each part: the region becomes runs of rows along the sky, of which only the runs at its
//! border need a test; conditions on columns that have an attribute index become intervals of ranks, whose rows are counted
//! without being looked at; what is left of the predicate goes to DataFusion. A bound filter is a [`RowSet`], asked about the
//! rows that a plan comes across, or walked from the side that holds the fewest rows. A predicate so costs what it leaves, not
//! the collection.

mod evaluate;
mod refused;
mod walk;
mod words;

use std::cell::OnceCell;
use std::ops::Range;

use arrow::datatypes::SchemaRef;
use roaring::RoaringBitmap;

pub(in crate::query) use evaluate::{DERIVED_ROWS, evaluate};

use crate::engine::{
    Attribute, CollectionView, LivePart, Part, PartKind, RegionRows, RegionTest, Spans,
};
use crate::query::datafusion::{Predicate, Split};
use crate::query::error::QueryError;
use crate::query::request::StopFlag;
use crate::sky::Region;
use crate::storage::ObjectKey;
use crate::vector::{RowBitmap, RowSet};

/// Rows that a sample for an estimate looks at, in each part.
const SAMPLE_ROWS: usize = 512;

/// The same, of the rows that the edge of a region crosses, where these alone are in doubt. Fewer are all looked at.
const SAMPLE_EDGE_ROWS: usize = 256;

/// Runs of a region, as a detailed map has them, in which it is not counted any more which rows are gone.
const COUNTED_RUNS_MAX: usize = 2_048;

/// Rows that are gathered before they are handed on: a chunk has no more, but for those of words, which may have nearly twice as many.
pub(in crate::query) const CHUNK_ROWS: usize = 2_048;

/// Share of the rows below which rows are walked by a column's index instead of along the sky.
const FEW_SHARE: usize = 4;

/// Region, predicate and excluded rows of a query.
pub(in crate::query) struct Filter<'a> {
    region: Option<&'a Region>,
    predicate: Option<PredicateParts<'a>>,
    excluded: &'a [ObjectKey],
}

/// A predicate taken apart, and whole for parts without attribute indices.
struct PredicateParts<'a> {
    text: &'a str,
    schema: SchemaRef,
    split: Split,
    whole: OnceCell<Predicate>,
}

/// Where the walk of a bound filter begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::query) enum Source {
    /// Along the sky: the runs of the region, or all rows.
    Sky,
    /// The rows of one condition, by its column's index.
    Condition(usize),
    /// The rows that may be seen, where others are hidden.
    Visible,
}

/// A filter bound to one part.
pub(in crate::query) struct PartFilter<'a> {
    live: &'a LivePart,
    region: Option<(RegionRows, RegionTest<'a>)>,
    conditions: Vec<Condition<'a>>,
    excluded: Vec<u32>,
    /// Rows that are left, where they had to be found one by one.
    found: Option<Found>,
    /// Names of the derived columns that were computed for that, and for how many rows.
    derived: Vec<(String, usize)>,
}

struct Condition<'a> {
    attribute: &'a Attribute,
    spans: Spans,
    count: usize,
    sql: &'a str,
}

struct Found {
    rows: RowBitmap,
    count: usize,
}

impl<'a> Filter<'a> {
    pub(in crate::query) fn new(
        view: &CollectionView,
        region: Option<&'a Region>,
        predicate: Option<&'a str>,
        excluded: &'a [ObjectKey],
    ) -> Result<Self, QueryError> {
        let region = region.filter(|region| !matches!(region, Region::AllSky));
        let text = predicate.map(str::trim).filter(|text| !text.is_empty());
        let take_apart = |text: &'a str| -> Result<PredicateParts<'a>, QueryError> {
            let schema = view.predicate_schema();
            let stored = view.arrow_schema().fields().len();
            let split = Predicate::split(text, &schema, stored);
            let split = split.map_err(|error| refused::told(view, error))?;
            Ok(PredicateParts { text, schema, split, whole: OnceCell::new() })
        };
        Ok(Self { region, predicate: text.map(take_apart).transpose()?, excluded })
    }

    /// Whether neither region nor predicate is given.
    pub(in crate::query) fn is_open(&self) -> bool {
        self.region.is_none() && self.predicate.is_none()
    }

    /// Whether binding the filter evaluates nothing row by row but in the tail: indices answer every condition.
    pub(in crate::query) fn is_indexed(&self, view: &CollectionView) -> bool {
        let Some(PredicateParts { split, .. }) = &self.predicate else { return true };
        let segments = view.parts().into_iter().map(LivePart::part);
        let mut segments = segments.filter(|part| part.kind() == PartKind::Segment);
        split.rest.is_none()
            && split.last.is_none()
            && segments.all(|part| {
                let columns = split.conditions.iter().map(|condition| condition.column);
                columns.into_iter().all(|column| part.attribute(column).is_some())
            })
    }

    /// Binds the filter to every part of a view.
    pub(in crate::query) fn bind<'v>(
        &'v self,
        view: &'v CollectionView,
        stop: &StopFlag,
    ) -> Result<Vec<PartFilter<'v>>, QueryError> {
        view.parts().into_iter().map(|live| self.bind_to(view, live, stop)).collect()
    }

    fn bind_to<'v>(
        &'v self,
        view: &CollectionView,
        live: &'v LivePart,
        stop: &StopFlag,
    ) -> Result<PartFilter<'v>, QueryError> {
        let part = live.part();
        let region = self.region.map(|region| (part.region_rows(region), part.region_test(region)));
        let excluded = self.excluded.iter().filter_map(|key| part.row_of(*key));
        // One object may be an example twice.
        let mut excluded: Vec<u32> = excluded.map(|row| row as u32).collect();
        excluded.sort_unstable();
        excluded.dedup();
        let (conditions, derived) = (Vec::new(), Vec::new());
        let mut bound = PartFilter { live, region, conditions, excluded, found: None, derived };
        let Some(predicate) = &self.predicate else { return Ok(bound) };
        let conditions: Option<Vec<Condition<'v>>> = predicate
            .split
            .conditions
            .iter()
            .map(|condition| {
                let attribute = part.attribute(condition.column)?;
                let spans = attribute.spans(&condition.values);
                let count = attribute.count(&spans);
                Some(Condition { attribute, spans, count, sql: &condition.sql })
            })
            .collect();
        let rest = match conditions {
            Some(conditions) => {
                bound.conditions = conditions;
                predicate.split.rest.as_ref()
            }
            None => predicate.whole()?,
        };
        if let Some(rest) = rest {
            bound.find(rest, stop)?;
        }
        if let Some(last) = &predicate.split.last {
            bound.find_derived(view, last, stop)?;
        }
        Ok(bound)
    }
}

impl PredicateParts<'_> {
    /// All of the predicate that names only stored columns, as one, for a part without attribute indices; compiled when
    /// there is such a part.
    fn whole(&self) -> Result<Option<&Predicate>, QueryError> {
        if self.split.last.is_some() {
            return Ok(self.split.stored.as_ref());
        }
        if self.whole.get().is_none() {
            let compiled = Predicate::parse(self.text, &self.schema)?;
            return Ok(Some(self.whole.get_or_init(|| compiled)));
        }
        Ok(self.whole.get())
    }
}

impl<'a> PartFilter<'a> {
    pub(in crate::query) fn live(&self) -> &'a LivePart {
        self.live
    }

    fn part(&self) -> &'a Part {
        self.live.part()
    }

    /// Rows in the cells of the region; every row where there is none.
    pub(in crate::query) fn rows_in_region(&self) -> usize {
        self.region.as_ref().map_or(self.part().row_count(), |(rows, _)| rows.count())
    }

    /// Whether no row of the runs needs a test of columns, deletes or exclusions.
    fn is_region_alone(&self) -> bool {
        self.conditions.is_empty()
            && self.found.is_none()
            && self.live.dead().is_empty()
            && self.excluded.is_empty()
    }

    /// Whether no row at all is taken out.
    pub(in crate::query) fn is_everything(&self) -> bool {
        self.region.is_none() && self.is_region_alone()
    }

    /// Whether nobody asked for less: only rows that are gone, or are the examples themselves, are taken out.
    pub(in crate::query) fn is_open(&self) -> bool {
        self.region.is_none()
            && self.conditions.is_empty()
            && self.found.is_none()
            && self.live.visible().is_none()
    }

    /// A source that the filter has: the sky where it has no such condition.
    pub(in crate::query) fn settled(&self, source: Source) -> Source {
        match source {
            Source::Condition(place) if place < self.conditions.len() => source,
            Source::Visible if self.live.visible().is_some() => source,
            Source::Condition(_) | Source::Visible | Source::Sky => Source::Sky,
        }
    }

    /// Number of rows that may be seen, where others are hidden.
    pub(in crate::query) fn visible_count(&self) -> Option<usize> {
        self.live.visible().map(|visible| visible.len() as usize)
    }

    /// The condition that leaves the fewest rows, with their number.
    pub(in crate::query) fn narrowest(&self) -> Option<(usize, usize)> {
        let counts = self.conditions.iter().map(|condition| condition.count).enumerate();
        counts.min_by_key(|(_, count)| *count)
    }

    /// Rows of a condition.
    pub(in crate::query) fn rows_of(&self, condition: usize) -> usize {
        self.conditions.get(condition).map_or(0, |condition| condition.count)
    }

    /// The region, where a row is still asked whether it is in it: rows that were found one by one are not.
    fn asked_region(&self) -> Option<&RegionRows> {
        self.region.as_ref().filter(|_| self.found.is_none()).map(|(rows, _)| rows)
    }

    /// Tests that a row has to pass; one, whatever was asked for, where the rows that are left were found one by one.
    pub(in crate::query) fn test_count(&self) -> usize {
        usize::from(self.asked_region().is_some()) + self.condition_count()
    }

    /// Those of them that do not depend on where it lies.
    pub(in crate::query) fn condition_count(&self) -> usize {
        let some_gone = !self.live.dead().is_empty() || !self.excluded.is_empty();
        if self.found.is_some() { 1 } else { self.conditions.len() + usize::from(some_gone) }
    }

    /// Rows at the edge of the region, of which a test has to tell whether they are in it.
    pub(in crate::query) fn edge_rows(&self) -> usize {
        self.asked_region().map_or(0, |rows| rows.count() - rows.inside_count())
    }

    /// The conditions that an index answers, with the number of rows of each, for people.
    pub(in crate::query) fn indexed_conditions(&self) -> impl Iterator<Item = (&str, usize)> + '_ {
        self.conditions.iter().map(|condition| (condition.sql, condition.count))
    }

    /// Derived columns that the predicate needed, with the number of rows for which it needed them.
    pub(in crate::query) fn derived_columns(&self) -> &[(String, usize)] {
        &self.derived
    }

    /// Rows left when they are known exactly without looking at them.
    pub(in crate::query) fn known_count(&self) -> Option<usize> {
        if let Some(found) = &self.found {
            return Some(found.count);
        }
        let gone = self.live.dead().len() as usize + self.excluded.len();
        match (&self.region, self.conditions.as_slice()) {
            (None, []) => {
                let living = self.excluded.iter().filter(|row| !self.live.dead().contains(**row));
                Some(self.live.live_count() as usize - living.count())
            }
            (Some((rows, _)), []) if gone == 0 && rows.count() == rows.inside_count() => {
                Some(rows.count())
            }
            (None, [only]) if gone == 0 => Some(only.count),
            _ => None,
        }
    }

    /// About how many rows are left: exact where that is known, else the smaller side times the share of a sample of it that
    /// passes the other tests; of a region alone only what its edge crosses is sampled.
    pub(in crate::query) fn estimate(&self) -> f64 {
        if let Some(count) = self.known_count() {
            return count as f64;
        }
        let is_alone = self.conditions.is_empty() && self.live.visible().is_none();
        if let Some((rows, _)) = self.region.as_ref().filter(|_| is_alone)
            && (self.live.dead().is_empty() || rows.runs().len() <= COUNTED_RUNS_MAX)
        {
            return self.estimate_region(rows);
        }
        let (source, base) = self.smallest_source();
        let sample: Vec<u32> = match source {
            Source::Condition(place) => {
                let condition = &self.conditions[place];
                condition.attribute.sample(&condition.spans, SAMPLE_ROWS)
            }
            Source::Visible => self.live.visible().map_or(Vec::new(), spread_over),
            Source::Sky => spread(&self.runs(), SAMPLE_ROWS),
        };
        self.passing(&sample, base)
    }

    /// The same for a region without conditions: the rows that are certainly in it and not gone, and a share of those that
    /// its edge crosses.
    fn estimate_region(&self, region: &RegionRows) -> f64 {
        let dead = self.live.dead();
        let (mut inside, mut edge, mut crossed) = (0, Vec::new(), 0);
        for run in region.runs() {
            if run.inside {
                let rows = run.rows.start as u32..run.rows.end as u32;
                let gone = if dead.is_empty() { 0 } else { dead.range_cardinality(rows) };
                inside += run.rows.len() - gone as usize;
            } else {
                crossed += run.rows.len();
                edge.push((run.rows.clone(), false));
            }
        }
        let is_inside = |row: usize| {
            let place = region.runs().partition_point(|run| run.rows.end <= row);
            region.runs().get(place).is_some_and(|run| run.inside && run.rows.contains(&row))
        };
        let excluded = self.excluded.iter().filter(|row| !dead.contains(**row));
        inside -= excluded.filter(|row| is_inside(**row as usize)).count();
        inside as f64 + self.passing(&spread(&edge, SAMPLE_EDGE_ROWS), crossed)
    }

    /// About how many of so many rows pass, by a sample of them.
    fn passing(&self, sample: &[u32], base: usize) -> f64 {
        if sample.is_empty() || base == 0 {
            return 0.0;
        }
        let mut keep = Vec::new();
        self.select(sample, &mut keep);
        if sample.len() >= base {
            return keep.len() as f64;
        }
        // Half a row more in both: a sample without a hit does not prove that there is none.
        base as f64 * (keep.len() as f64 + 0.5) / (sample.len() as f64 + 1.0)
    }

    /// The runs of the region, or one of all rows; whether all rows of a run are certainly in the region.
    pub(in crate::query) fn runs(&self) -> Vec<(Range<usize>, bool)> {
        match &self.region {
            Some((rows, _)) => {
                rows.runs().iter().map(|run| (run.rows.clone(), run.inside)).collect()
            }
            None if self.part().row_count() == 0 => Vec::new(),
            None => vec![(0..self.part().row_count(), true)],
        }
    }

    /// The source with the fewest rows to walk.
    pub(in crate::query) fn cheapest_source(&self) -> Source {
        match self.smallest_source() {
            (source, count) if count * FEW_SHARE < self.rows_in_region() => source,
            _ => Source::Sky,
        }
    }

    /// The same without regard to what a walk costs, and how many rows these are.
    fn smallest_source(&self) -> (Source, usize) {
        let condition = self.narrowest().map(|(place, count)| (Source::Condition(place), count));
        let visible = self.visible_count().map(|count| (Source::Visible, count));
        let sky = (Source::Sky, self.rows_in_region());
        let others = [condition, visible].into_iter().flatten();
        others.fold(sky, |least, other| if other.1 < least.1 { other } else { least })
    }

    /// Rows left, counted one by one where they are not known.
    pub(in crate::query) fn count(&self, stop: &StopFlag) -> Result<usize, QueryError> {
        if let Some(count) = self.known_count() {
            return Ok(count);
        }
        let mut count = 0;
        self.for_each_chunk(self.cheapest_source(), stop, |rows| {
            count += rows.len();
            Ok(())
        })?;
        Ok(count)
    }

    fn refine(rows: &[u32], keep: &mut Vec<u32>, test: impl Fn(&[u32], &mut Vec<u32>)) {
        let chosen: Vec<u32> =
            keep.iter().filter_map(|&place| rows.get(place as usize).copied()).collect();
        let mut passed = Vec::with_capacity(chosen.len());
        test(&chosen, &mut passed);
        let mut write = 0;
        for place in passed {
            if let Some(&kept) = keep.get(place as usize) {
                keep[write] = kept;
                write += 1;
            }
        }
        keep.truncate(write);
    }
}

impl RowSet for PartFilter<'_> {
    fn select(&self, rows: &[u32], keep: &mut Vec<u32>) {
        if let Some(found) = &self.found {
            return found.rows.select(rows, keep);
        }
        let before = keep.len();
        let mut kept: Vec<u32> = Vec::with_capacity(rows.len());
        let mut tests = self.conditions.iter();
        match tests.next() {
            Some(first) => first.attribute.select(rows, &first.spans, &mut kept),
            None => match &self.region {
                Some((_, test)) => test.select(rows, &mut kept),
                None => kept.extend(0..rows.len() as u32),
            },
        }
        for condition in tests {
            Self::refine(rows, &mut kept, |rows, keep| {
                condition.attribute.select(rows, &condition.spans, keep);
            });
        }
        if let Some((_, test)) = self.region.as_ref().filter(|_| !self.conditions.is_empty()) {
            Self::refine(rows, &mut kept, |rows, keep| test.select(rows, keep));
        }
        let dead = self.live.dead_rows();
        if dead.is_some() || !self.excluded.is_empty() {
            let is_gone = |row: u32| {
                dead.is_some_and(|dead| dead.contains(row as usize))
                    || self.excluded.binary_search(&row).is_ok()
            };
            kept.retain(|&place| rows.get(place as usize).is_some_and(|&row| !is_gone(row)));
        }
        if before == 0 {
            *keep = kept;
        } else {
            keep.append(&mut kept);
        }
    }

    fn span(&self) -> Range<u32> {
        match &self.region {
            Some((rows, _)) => {
                let span = rows.span();
                span.start as u32..span.end as u32
            }
            None => 0..self.part().row_count() as u32,
        }
    }
}

/// Rows spread evenly over a set of them.
fn spread_over(rows: &RoaringBitmap) -> Vec<u32> {
    let step = (rows.len() as u32).div_ceil(SAMPLE_ROWS as u32).max(1);
    let ranks = (step / 2..rows.len() as u32).step_by(step as usize);
    ranks.filter_map(|rank| rows.select(rank)).collect()
}

/// Rows spread evenly over runs, in short stretches so that few batches are touched.
fn spread(runs: &[(Range<usize>, bool)], wanted: usize) -> Vec<u32> {
    let total: usize = runs.iter().map(|(run, _)| run.len()).sum();
    let step = total.div_ceil(wanted.max(1)).max(1);
    let (mut rows, mut before) = (Vec::with_capacity(wanted + 1), 0);
    for (run, _) in runs {
        // Places `step / 2 + n step` of all rows that fall into this run.
        let first = (step / 2 + step - before % step) % step;
        rows.extend(run.clone().skip(first).step_by(step).map(|row| row as u32));
        before += run.len();
    }
    rows
}
