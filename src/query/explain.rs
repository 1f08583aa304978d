//! The plan as text for people: what was done, estimated against true counts, and why.

use std::fmt::Write;

use super::bind::Bound;
use super::execute::Execution;
use super::plan::{Plan, readable};
use super::request::Query;
use super::survivors::Survivors;
use crate::engine::{CollectionView, PartKind};

/// Draws the plan as a tree.
pub(super) fn explain(
    view: &CollectionView,
    query: &Query,
    bound: &Bound,
    plan: &Plan,
    survivors: &[Survivors],
    found: &Execution,
) -> String {
    // Writing to a String cannot fail: its results are dropped here and below for that reason alone.
    let mut text = String::new();
    asked(&mut text, view, query, bound);
    chosen(&mut text, view, query, plan, survivors);
    done(&mut text, view, survivors, found);
    text
}

fn asked(text: &mut String, view: &CollectionView, query: &Query, bound: &Bound) {
    let _ = writeln!(
        text,
        "nearest {} of collection {} at version {}",
        bound.limit,
        view.schema().name,
        view.version()
    );
    for target in &bound.targets {
        let space = &target.space;
        let _ = writeln!(
            text,
            "├─ space {} ({} x f32, {}), weight {:.3}, {}",
            space.name, space.dimension, space.metric, target.share, space.provenance
        );
    }
    if let Some(within) = query.within {
        let _ = writeln!(text, "├─ within distance {within}");
    }
}

fn chosen(
    text: &mut String,
    view: &CollectionView,
    query: &Query,
    plan: &Plan,
    survivors: &[Survivors],
) {
    let cover: usize = survivors.iter().map(Survivors::rows_in_cover).sum();
    let truth: usize = survivors.iter().map(Survivors::count).sum();
    if query.region.is_some() {
        let ranges = "contiguous rows of its cells";
        let _ = writeln!(text, "├─ region: {cover} of {} rows in the {ranges}", total_rows(view));
    }
    if let Some(predicate) = &query.predicate {
        let _ = writeln!(text, "├─ predicate: {predicate}");
    }
    let _ = writeln!(text, "├─ survivors: estimated {:.0}, true {truth}", plan.estimate.survivors);
    let _ = writeln!(text, "├─ plan: {}, because {}", plan.kind, plan.why);
    for considered in &plan.considered {
        let mark = if considered.kind == plan.kind { "*" } else { " " };
        let _ = writeln!(
            text,
            "│   {mark} {:<14} {:>10}",
            considered.kind.name(),
            readable(considered.cost_bytes)
        );
    }
}

fn done(text: &mut String, view: &CollectionView, survivors: &[Survivors], found: &Execution) {
    for (live, rows) in view.parts().into_iter().zip(survivors) {
        let kind = match live.part().kind() {
            PartKind::Segment => "segment",
            PartKind::Tail => "tail (exact)",
        };
        let _ = writeln!(
            text,
            "├─ {kind}: {} rows, {} dead, {} left",
            live.part().row_count(),
            live.dead().len(),
            rows.count()
        );
    }
    if found.lists_total > 0 {
        let _ = writeln!(
            text,
            "├─ inverted lists probed: {} of {}",
            found.lists_probed, found.lists_total
        );
    }
    let exactness = if found.exact { "exact" } else { "approximate, re-ranked exactly" };
    let _ = write!(
        text,
        "└─ {} hits, {exactness}; {} distances computed, {} read",
        found.nearest.len(),
        found.rows_scanned,
        readable(found.bytes_read as f64)
    );
}

fn total_rows(view: &CollectionView) -> usize {
    view.parts().iter().map(|live| live.part().row_count()).sum()
}
