//! Spans of a query for whoever follows calls through the server: its plan, and each part that the plan was carried out on.
//!
//! They hold names and sizes: no vector, no id, no text of a predicate. Where nobody listens to their target they cost a look
//! at a flag.

use tracing::Span;
use tracing::field::Empty;
use tracing::span::EnteredSpan;

use super::answer::Answer;
use super::error::QueryError;
use super::filter::PartFilter;
use super::plan::Plan;
use super::request::Query;
use crate::engine::{CollectionView, PartKind};

/// Answers a query inside its span.
pub(super) fn search(
    view: &CollectionView,
    query: &Query,
    work: impl FnOnce() -> Result<Answer, QueryError>,
) -> Result<Answer, QueryError> {
    let span = tracing::debug_span!(
        target: "sidereus::trace",
        "search",
        collection = view.schema().name,
        version = view.version(),
        rows_total = view.live_count(),
        k = query.k,
        terms = query.terms.len(),
        has_region = query.region.is_some(),
        has_predicate = query.predicate.is_some(),
        plan = Empty,
        exact = Empty,
        rows_scanned = Empty,
        bytes_read = Empty,
        hits = Empty,
    );
    let answer = span.in_scope(work)?;
    span.record("plan", answer.stats.plan.as_str());
    span.record("exact", answer.stats.exact);
    span.record("rows_scanned", answer.stats.rows_scanned);
    span.record("bytes_read", answer.stats.bytes_read);
    span.record("hits", answer.hits.len());
    Ok(answer)
}

/// Binding a query to a view and choosing its plan.
pub(super) fn planning() -> EnteredSpan {
    tracing::debug_span!(target: "sidereus::trace", "plan", plan = Empty, survivors = Empty, parts = Empty)
        .entered()
}

/// The plan that was chosen.
pub(super) fn planned(span: &Span, plan: &Plan, parts: usize) {
    span.record("plan", plan.kind.name());
    if !plan.estimates.is_empty() {
        span.record("survivors", plan.survivors);
    }
    span.record("parts", parts);
}

/// Carrying a plan out on one part.
pub(super) fn part(filter: &PartFilter<'_>) -> EnteredSpan {
    let part = filter.live().part();
    let kind = match part.kind() {
        PartKind::Segment => "segment",
        PartKind::Tail => "tail",
    };
    tracing::debug_span!(
        target: "sidereus::trace",
        "part",
        kind,
        rows = part.row_count(),
        rows_scanned = Empty
    )
    .entered()
}
