//! The plan as text for people: what was done, estimated against true counts, and why.
//!
//! Whoever does not see every row is told of the rows that he sees alone. Prices, estimates, and what was walked, read and
//! compared on the way would tell of the others, and are left out.

use std::fmt::Write;
use std::time::Duration;

use super::bind::Bound;
use super::execute::Execution;
use super::filter::{PartFilter, Source};
use super::order::OrderColumn;
use super::plan::{Considered, Plan, PlanKind, readable, readable_ns};
use super::request::Query;
use crate::engine::{CollectionView, PartKind};

/// All that an explanation is made of.
pub(super) struct Told<'a> {
    pub(super) view: &'a CollectionView,
    pub(super) query: &'a Query,
    pub(super) bound: &'a Bound,
    pub(super) plan: &'a Plan,
    pub(super) filters: &'a [PartFilter<'a>],
    /// Rows left in each part.
    pub(super) counts: &'a [usize],
    pub(super) found: &'a Execution,
    pub(super) hits: usize,
    /// What carrying out the plan took.
    pub(super) took: Duration,
}

impl Told<'_> {
    /// Draws the plan as a tree.
    pub(super) fn text(&self) -> String {
        // Writing to a String cannot fail: its results are dropped here and below for that reason alone.
        let mut text = String::new();
        self.asked(&mut text);
        self.filtered(&mut text);
        self.chosen(&mut text);
        self.done(&mut text);
        text
    }

    fn asked(&self, text: &mut String) {
        let (name, version) = (&self.view.schema().name, self.view.version());
        let wanted = match self.query.k {
            _ if self.bound.targets.is_empty() => format!("{} objects", self.bound.limit),
            None | Some(0) => "all that are near enough".to_owned(),
            Some(k) => format!("nearest {k}"),
        };
        let _ = writeln!(text, "{wanted} of collection {name} at version {version}");
        if self.view.is_restricted() {
            let _ = writeln!(
                text,
                "├─ row policy: figures are of the rows that you may see; those of the work are left out"
            );
        }
        for target in &self.bound.targets {
            let space = &target.space;
            let _ = writeln!(
                text,
                "├─ space {} ({} x f32, {}), weight {:.3}, {}",
                space.name, space.dimension, space.metric, target.share, space.provenance
            );
            if let Some(crossing) = &target.crossing {
                let _ = writeln!(text, "│     searched from {}: {}", crossing.space, crossing.rule);
            }
            let [positives, negatives] = target.examples;
            let method = target.method;
            let _ = writeln!(
                text,
                "│     {method} of {positives} positive, {negatives} negative examples"
            );
        }
        self.fused(text);
        if let Some(within) = self.query.within {
            let _ = writeln!(text, "├─ within distance {within}");
        }
    }

    fn fused(&self, text: &mut String) {
        if self.bound.targets.len() < 2 {
            return;
        }
        let combination = &self.bound.combination;
        let (fusion, missing) = (combination.fusion, combination.missing.name());
        let _ = writeln!(text, "├─ fusion: {fusion}, missing vectors: {missing}");
        for (target, scale) in self.bound.targets.iter().zip(&combination.calibrations) {
            let name = &target.space.name;
            let _ = writeln!(
                text,
                "│     {name}: distances {:.4} +- {:.4} of {} sampled objects",
                scale.mean, scale.spread, scale.count
            );
        }
    }

    fn filtered(&self, text: &mut String) {
        let is_restricted = self.view.is_restricted();
        if self.query.region.is_some() && !is_restricted {
            let cover: usize = self.filters.iter().map(PartFilter::rows_in_region).sum();
            let total: usize = self.filters.iter().map(|part| part.live().part().row_count()).sum();
            let _ =
                writeln!(text, "├─ region: {cover} of {total} rows in its cells or at its edge");
        }
        if let Some(predicate) = &self.query.predicate {
            let _ = writeln!(text, "├─ predicate: {predicate}");
        }
        if let Some(order) = &self.bound.order {
            let way = if order.descending { "descending" } else { "ascending" };
            let kind = match order.column {
                OrderColumn::Resident(_) => "stored",
                OrderColumn::Derived(_) => "derived",
            };
            let _ = writeln!(text, "├─ ordered by {} ({kind}), {way}", order.name);
        }
        for filter in self.filters {
            for (name, rows) in filter.derived_columns() {
                let _ = writeln!(text, "│     {name}: derived, wanted for {rows} rows");
            }
            for (sql, rows) in filter.indexed_conditions() {
                let _ = match is_restricted {
                    true => writeln!(text, "│     {sql}: by the column's index"),
                    false => writeln!(text, "│     {sql}: {rows} rows by the column's index"),
                };
            }
        }
        let truth: usize = self.counts.iter().sum();
        let _ = match (is_restricted, self.plan.is_counted) {
            (true, _) => writeln!(text, "├─ survivors: {truth}"),
            (false, is_counted) => {
                let word = if is_counted { "counted" } else { "estimated" };
                let expected = self.plan.survivors;
                writeln!(text, "├─ survivors: {word} {expected:.0}, true {truth}")
            }
        };
    }

    fn chosen(&self, text: &mut String) {
        let plan = self.plan;
        if self.view.is_restricted() {
            let _ = writeln!(text, "├─ plan: {}", self.found.kind);
            return;
        }
        let _ = writeln!(text, "├─ plan: {}, because {}", plan.kind, plan.why);
        if let Some(tuned_for) =
            plan.tuned_for.filter(|_| self.found.kind.uses_index() && !self.found.exact)
        {
            let wish = self.query.recall;
            let far = if self.found.is_far { "; the query is far from the rows" } else { "" };
            let _ = writeln!(text, "├─ recall wished for: {wish}, tuned for {tuned_for}{far}");
        }
        for considered in &plan.considered {
            let is_chosen = considered.kind == plan.kind && considered.source == plan.source;
            let mark = if is_chosen { "*" } else { " " };
            let _ = writeln!(
                text,
                "│   {mark} {:<14} {:>10}  {}",
                considered.kind.name(),
                readable_ns(considered.cost_ns),
                walked(considered)
            );
        }
        if plan.kind == PlanKind::Threshold && self.found.kind != plan.kind {
            let now = self.found.kind;
            let _ = writeln!(text, "├─ changed to {now}: the longest lists were too short");
        }
        if self.found.kind != plan.kind
            && let Some((lists_max, _)) = &plan.instead
        {
            let _ = writeln!(
                text,
                "├─ changed to {}: near this query, going on through the lists would have taken longer than {lists_max} of them do",
                self.found.kind
            );
        }
    }

    fn done(&self, text: &mut String) {
        if self.view.is_restricted() {
            return self.shown(text);
        }
        for (filter, rows) in self.filters.iter().zip(self.counts) {
            let live = filter.live();
            let kind = match live.part().kind() {
                PartKind::Segment => "segment",
                PartKind::Tail => "tail (exact)",
            };
            let _ = writeln!(
                text,
                "├─ {kind}: {} rows, {} dead, {rows} left",
                live.part().row_count(),
                live.dead().len(),
            );
        }
        let found = self.found;
        if found.lists_total > 0 {
            let (probed, total) = (found.lists_probed, found.lists_total);
            let _ = writeln!(text, "├─ inverted lists probed: {probed} of {total}");
        }
        let took = readable_ns(self.took.as_secs_f64() * 1e9);
        // The price of what was given up is none of what took its place.
        let price = self.plan.price_ns().filter(|_| self.found.kind == self.plan.kind);
        let _ = match price {
            Some(expected) => {
                writeln!(text, "├─ time: expected {}, true {took}", readable_ns(expected))
            }
            None => writeln!(text, "├─ time: {took}"),
        };
        let exactness = self.exactness();
        let full = found.rows_scanned - found.rows_coded.min(found.rows_scanned);
        let compared = match (self.bound.targets.is_empty(), found.rows_coded) {
            (true, _) => format!("{full} rows listed"),
            (false, 0) => format!("{full} compared in full"),
            (false, coded) => {
                let again = found.rows_reranked;
                format!("{coded} compared by codes, {again} of them again and {full} more in full")
            }
        };
        let _ = write!(
            text,
            "└─ {}, {exactness}; {compared}, {} read",
            self.hits(),
            readable(found.bytes_read as f64)
        );
    }

    /// The same for whoever does not see every row.
    fn shown(&self, text: &mut String) {
        // How many parts the tail has tells how much was written.
        for (kind, name) in [(PartKind::Segment, "segment"), (PartKind::Tail, "tail (exact)")] {
            let parts = self.filters.iter().map(PartFilter::live).zip(self.counts);
            let own = parts.filter(|(live, _)| live.part().kind() == kind);
            let (rows, left) = own.fold((0, 0), |(rows, left), (live, count)| {
                (rows + live.live_count(), left + count)
            });
            if rows > 0 {
                let _ = writeln!(text, "├─ {name}: {rows} rows, {left} left");
            }
        }
        let _ = write!(text, "└─ {}, {}", self.hits(), self.exactness());
    }

    fn hits(&self) -> String {
        format!("{} {}", self.hits, if self.hits == 1 { "hit" } else { "hits" })
    }

    fn exactness(&self) -> &'static str {
        if self.found.exact { "exact" } else { "approximate, re-ranked exactly" }
    }
}

fn walked(considered: &Considered) -> &'static str {
    match (considered.kind.uses_lists(), considered.source) {
        (true, _) => "list by list",
        (false, Source::Sky) => "along the sky",
        (false, Source::Condition(_)) => "by the column's index",
        (false, Source::Visible) => "by the rows that may be seen",
    }
}
