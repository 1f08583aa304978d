//! Hits that are apart from each other: repetitions on the sky as one hit, and near ones that differ.
//!
//! More objects than hits are found first; those that lie together on the sky become one, and of what is left some are chosen.
//! Where that gives too few hits, more are found.

use std::time::Instant;

use super::answer::{Answer, Beside, QueryStats};
use super::bind::Bound;
use super::error::QueryError;
use super::execute::Found;
use super::filter::PartFilter;
use super::request::{Diversity, K_MAX, Query};
use super::{Planned, hydrate, plan};
use crate::engine::{CollectionView, EngineError};
use crate::learn::discover::{Calibration, marginal_relevance};
use crate::sky::Position;
use crate::vector::Distance;

/// Objects found for each hit, and at least, before hits are chosen.
const FOUND_PER_HIT: usize = 10;
const FOUND_LEAST: usize = 100;

/// Most objects that differing hits are chosen from: their vectors are held at once.
const CHOSEN_FROM_MAX: usize = 2_000;

/// Most hits that are chosen to differ from each other: every one is compared with all candidates.
pub(super) const DIVERSE_MAX: usize = 1_000;

/// Largest radius within which objects are one, in degrees.
const GROUP_RADIUS_MAX: f64 = 1.0;

/// An object that was found, and those that are one with it.
struct Lead {
    distance: Distance,
    found: Found,
    position: Position,
    beside: Vec<Beside>,
}

/// Answers a query whose hits are to be apart.
pub(super) fn answer(
    view: &CollectionView,
    query: &Query,
    mut bound: Bound,
    filters: &[PartFilter<'_>],
    started: Instant,
) -> Result<Answer, QueryError> {
    let k = check(query)?;
    let wanted = query.diversity.map_or(0, |diversity| diversity.candidates);
    let default = (k * FOUND_PER_HIT).max(FOUND_LEAST);
    let mut limit = if wanted == 0 { default } else { wanted.max(k) }.min(K_MAX);
    loop {
        bound.limit = limit;
        let plan = plan::choose(view, query, &bound, filters)?;
        let (nearest, mut stats) = Planned { view, query, bound: &bound, filters, plan }.find()?;
        let is_all = nearest.len() < limit;
        let leads = grouped(view, query, nearest)?;
        if leads.len() < k && !is_all && limit < K_MAX {
            limit = (limit * 4).min(K_MAX);
            continue;
        }
        let found = leads.len();
        let chosen = match query.diversity {
            Some(diversity) => chosen(view, query, &bound, diversity, leads, k)?,
            None => leads.into_iter().take(k).collect(),
        };
        tell(query, &mut stats, limit, found);
        let (nearest, beside): (Vec<_>, Vec<_>) =
            chosen.into_iter().map(|lead| ((lead.distance, lead.found), lead.beside)).unzip();
        let mut hits = hydrate::hydrate(view, query, &bound, nearest)?;
        for (hit, beside) in hits.iter_mut().zip(beside) {
            hit.beside = beside;
        }
        stats.elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
        return Ok(Answer { hits, stats });
    }
}

/// Checks what was asked, and returns the number of hits.
fn check(query: &Query) -> Result<usize, QueryError> {
    if let Some(Diversity { share, .. }) = query.diversity
        && !(0.0..=1.0).contains(&share)
    {
        return Err(QueryError::BadDiversity { share });
    }
    if let Some(k) = query.k.filter(|&k| query.diversity.is_some() && k > DIVERSE_MAX) {
        return Err(QueryError::TooManyDiverse { k });
    }
    if let Some(radius) = query.group_within
        && !(0.0..=GROUP_RADIUS_MAX).contains(&radius)
    {
        return Err(QueryError::BadRadius { what: "within which objects are one hit", radius });
    }
    let k = query.k.filter(|&k| k > 0 && !query.terms.is_empty());
    let what = if query.diversity.is_some() { "diverse hits" } else { "grouped hits" };
    k.ok_or(QueryError::NeedsNearest { what })
}

fn tell(query: &Query, stats: &mut QueryStats, limit: usize, leads: usize) {
    if !query.explain {
        return;
    }
    if let Some(radius) = query.group_within {
        let arcsec = radius * 3_600.0;
        stats.explanation += &format!(
            "\ngrouped: the nearest {limit} are {leads} objects, those within {arcsec} arcsec taken as one"
        );
    }
    if let Some(Diversity { share, .. }) = query.diversity {
        stats.explanation += &format!(
            "\ndiverse: chosen of {leads} by maximal marginal relevance, {share} of it nearness to the query"
        );
    }
}

/// Gives each object, nearest first, to the first lead within the radius, or makes it one.
fn grouped(
    view: &CollectionView,
    query: &Query,
    nearest: Vec<(Distance, Found)>,
) -> Result<Vec<Lead>, QueryError> {
    let parts = view.parts();
    let mut leads: Vec<Lead> = Vec::new();
    for (distance, found) in nearest {
        query.stop.check()?;
        let place = parts.get(found.part).and_then(|live| live.part().position_at(found.row));
        let Some(position) = place else { continue };
        let apart = |lead: &Lead| lead.position.separation(&position).0;
        let lead = query
            .group_within
            .and_then(|radius| leads.iter_mut().find(|lead| apart(lead) <= radius));
        match lead {
            Some(lead) => {
                let separation_deg = lead.position.separation(&position).0;
                let distance = distance.value();
                lead.beside.push(Beside { id: found.id, position, distance, separation_deg });
            }
            None => leads.push(Lead { distance, found, position, beside: Vec::new() }),
        }
    }
    Ok(leads)
}

/// Vectors of one object, by term.
type Vectors = Vec<Option<Vec<f32>>>;

/// Chooses hits that are near to the query and not to each other.
///
/// In one space both are the metric's own similarity. Where the query's distance is of another kind, both are first brought
/// to mean 0 and spread 1, distances from each other by those of pairs.
fn chosen(
    view: &CollectionView,
    query: &Query,
    bound: &Bound,
    diversity: Diversity,
    mut leads: Vec<Lead>,
    k: usize,
) -> Result<Vec<Lead>, QueryError> {
    leads.truncate(CHOSEN_FROM_MAX.max(k));
    let may_go_on = || query.stop.check();
    let vectors = |lead: &Lead| {
        may_go_on()?;
        vectors_of(view, bound, &lead.found)
    };
    let vectors: Vec<Vectors> = leads.iter().map(vectors).collect::<Result<_, _>>()?;
    let between = |one: usize, other: usize| -> f64 {
        let terms = bound.targets.iter().zip(vectors[one].iter().zip(&vectors[other]));
        let distance = |(target, (one, other)): (
            &super::bind::Target,
            (&Option<Vec<f32>>, &Option<Vec<f32>>),
        )| {
            let (one, other) = (one.as_deref()?, other.as_deref()?);
            Some(target.share * target.space.metric.distance(one, other).value())
        };
        terms.filter_map(distance).sum()
    };
    let far: Vec<f64> = leads.iter().map(|lead| lead.distance.value()).collect();
    let order = if bound.metric().is_some() {
        let relevance: Vec<f64> = far.iter().map(|distance| -distance).collect();
        marginal_relevance(
            &relevance,
            |one, other| -between(one, other),
            diversity.share,
            k,
            may_go_on,
        )?
    } else {
        let own = Calibration::of(&far);
        let count = leads.len();
        let pairs =
            (0..count).flat_map(|one| [(one, (one + 1) % count), (one, (7 * one + 3) % count)]);
        let pairs: Vec<f64> = pairs
            .filter(|(one, other)| one != other)
            .map(|(one, other)| between(one, other))
            .collect();
        let pairs = Calibration::of(&pairs);
        let relevance: Vec<f64> = far.iter().map(|&distance| own.similarity(distance)).collect();
        let similarity = |one: usize, other: usize| pairs.similarity(between(one, other));
        marginal_relevance(&relevance, similarity, diversity.share, k, may_go_on)?
    };
    let mut leads: Vec<Option<Lead>> = leads.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|place| leads.get_mut(place)?.take()).collect())
}

fn vectors_of(view: &CollectionView, bound: &Bound, found: &Found) -> Result<Vectors, QueryError> {
    let parts = view.parts();
    let part = parts.get(found.part).map(|live| live.part());
    let mut buffer = Vec::new();
    let mut vectors = Vec::with_capacity(bound.targets.len());
    for target in &bound.targets {
        let space = part.and_then(|part| part.vectors(target.space.id));
        let vector = space.and_then(|space| space.of_row(found.row, &mut buffer));
        vectors.push(vector.map(<[f32]>::to_vec));
        if space.is_some_and(crate::engine::PartVectors::has_failed) {
            let space = target.space.name.clone();
            return Err(EngineError::UnreadableVectors { space }.into());
        }
    }
    Ok(vectors)
}
