//! Searches: every number checked, every space resolved, examples set apart for the encoder.

use super::rerank::{RerankPlan, rerank};
use super::{combine, object, provenance, region};
use crate::engine::DerivedColumn;
use crate::index::RECALL_WISH_DEFAULT;
use crate::query::{OrderBy, Query, QueryError, StopFlag, Term};
use crate::schema::{CollectionSchema, EmbeddingSpace, ObjectId, is_always_returned, is_built_in};
use crate::service::RequestError;
use crate::service::limits::{Limits, at_most};
use crate::wire::v1;

/// A search that lacks nothing but the vectors of its examples.
#[derive(Debug)]
pub(in crate::service) struct SearchPlan {
    /// The query; the vectors of examples are to be added to its terms.
    pub(in crate::service) query: Query,
    /// Examples, by term.
    pub(in crate::service) examples: Vec<ExampleTerm>,
    /// Terms whose examples are of another space than the one that is searched.
    pub(in crate::service) crossings: Vec<CrossingTerm>,
    /// How the nearest are ordered anew; the query then asks for the candidates.
    pub(in crate::service) rerank: Option<RerankPlan>,
}

/// A vector term whose examples are of another space than the one that is searched.
#[derive(Debug)]
pub(in crate::service) struct CrossingTerm {
    /// Place of the term in the query.
    pub(in crate::service) term: usize,
    /// The space that its examples are of.
    pub(in crate::service) from: EmbeddingSpace,
    /// The space that is searched.
    pub(in crate::service) to: EmbeddingSpace,
    /// Name of the bridge to use; empty for the only one.
    pub(in crate::service) bridge: String,
}

/// The examples of one vector term.
#[derive(Debug)]
pub(in crate::service) struct ExampleTerm {
    /// Place of the term in the query.
    pub(in crate::service) term: usize,
    /// The space that the examples are to be encoded into.
    pub(in crate::service) space: EmbeddingSpace,
    /// What to encode.
    pub(in crate::service) payloads: Vec<v1::Payload>,
}

/// Reads and checks a search against the schema of its collection and the columns that are derived there.
pub(in crate::service) fn search(
    schema: &CollectionSchema,
    derived: &[DerivedColumn],
    limits: &Limits,
    request: v1::SearchRequest,
) -> Result<SearchPlan, RequestError> {
    at_most("vector terms", "limits.terms", request.terms.len(), limits.terms_max)?;
    let k = hits_wanted(limits, &request)?;
    let rerank = match &request.rerank {
        Some(given) => Some(rerank(schema, limits, &request, given)?),
        None => None,
    };
    let (mut examples, mut crossings) = (Vec::new(), Vec::new());
    let mut terms = Vec::with_capacity(request.terms.len());
    for (place, given) in request.terms.into_iter().enumerate() {
        let (term, example, crossing) = vector_term(schema, limits, place, given)?;
        terms.push(term);
        examples.extend(example);
        crossings.extend(crossing);
    }
    let query = Query {
        terms,
        region: request.region.map(|given| region(limits, given)).transpose()?,
        predicate: predicate(limits, request.predicate)?,
        k: rerank.as_ref().map_or(k, |rerank| Some(rerank.candidates)),
        within: request.within,
        exact: request.exact,
        recall: request.recall.unwrap_or(RECALL_WISH_DEFAULT),
        explain: request.explain,
        order_by: order_by(request.order_by, request.descending)?,
        columns: columns(schema, derived, request.columns)?,
        with_vectors: request.with_vectors,
        plan: (!request.plan.is_empty()).then_some(request.plan),
        stop: StopFlag::default(),
        fusion: combine::fusion(request.fusion)?,
        missing: combine::missing(request.missing)?,
        diversity: request.diversity.as_ref().map(combine::diversity).transpose()?,
        group_within: combine::angle("group_within", request.group_within)?,
        exclude_within: combine::angle("exclude_within", request.exclude_within)?,
    };
    if rerank.is_some() && (query.diversity.is_some() || query.group_within.is_some()) {
        return Err(RequestError::RerankApart);
    }
    Ok(SearchPlan { query, examples, crossings, rerank })
}

/// How many hits are wanted; none for a search by distance alone.
fn hits_wanted(
    limits: &Limits,
    request: &v1::SearchRequest,
) -> Result<Option<usize>, RequestError> {
    let k = request.k as usize;
    if k > limits.k_max {
        return Err(RequestError::TooManyHits { k, max: limits.k_max });
    }
    match request.within {
        None if k == 0 => Err(RequestError::NoHitsWanted),
        Some(value) if !value.is_finite() => {
            Err(RequestError::NotFinite { field: "within", value })
        }
        Some(_) if request.terms.is_empty() => Err(RequestError::WithinWithoutTerm),
        None | Some(_) => Ok((k > 0).then_some(k)),
    }
}

/// Reads a predicate; empty means none.
pub(in crate::service) fn predicate(
    limits: &Limits,
    predicate: String,
) -> Result<Option<String>, RequestError> {
    at_most(
        "bytes of predicate",
        "limits.predicate_bytes",
        predicate.len(),
        limits.predicate_bytes_max,
    )?;
    Ok((!predicate.trim().is_empty()).then_some(predicate))
}

/// Columns to return: `None` for all but binary ones. What every hit has anyway needs no name.
fn columns(
    schema: &CollectionSchema,
    derived: &[DerivedColumn],
    names: Vec<String>,
) -> Result<Option<Vec<String>>, RequestError> {
    if names.is_empty() {
        return Ok(None);
    }
    let mut wanted = Vec::with_capacity(names.len());
    for name in names {
        if is_always_returned(&name) {
            continue;
        }
        if is_built_in(&name) {
            wanted.push(name);
            continue;
        }
        let stored = schema.columns.iter().map(|column| &column.name);
        let mut known = stored.chain(derived.iter().map(|column| &column.name));
        let known = known.find(|known| known.eq_ignore_ascii_case(&name)).cloned();
        let name = known.ok_or_else(|| RequestError::UnknownColumn {
            collection: schema.name.clone(),
            column: name,
        })?;
        if !wanted.contains(&name) {
            wanted.push(name);
        }
    }
    Ok(Some(wanted))
}

/// A column to order by; the query itself tells whether there is one of that name.
fn order_by(column: String, descending: bool) -> Result<Option<OrderBy>, RequestError> {
    match column.is_empty() {
        true if descending => Err(RequestError::DescendingWithoutOrder),
        true => Ok(None),
        false => Ok(Some(OrderBy { column, descending })),
    }
}

fn vector_term(
    schema: &CollectionSchema,
    limits: &Limits,
    place: usize,
    term: v1::VectorTerm,
) -> Result<(Term, Option<ExampleTerm>, Option<CrossingTerm>), RequestError> {
    let number = place + 1;
    let given = term.like.len() + term.unlike.len() + term.vectors.len() + term.examples.len();
    at_most("examples of a vector term", "limits.examples", given, limits.examples_max)?;
    if given == 0 {
        return Err(RequestError::EmptyTerm { number });
    }
    let (space, crossing) = resolve_spaces(schema, place, &term)?;
    let source = crossing.as_ref().map_or(space, |crossing| &crossing.from);
    if let Some(given) = term.provenance.map(provenance)
        && given != source.provenance
    {
        return Err(RequestError::WrongProvenance {
            space: source.name.clone(),
            expected: source.provenance.to_string(),
            given: given.to_string(),
        });
    }
    let vectors: Vec<Vec<f32>> = term.vectors.into_iter().map(|vector| vector.values).collect();
    for vector in &vectors {
        schema.check_vector(source.id, vector)?;
    }
    let example = (!term.examples.is_empty())
        .then(|| example_term(place, source, term.examples))
        .transpose()?;
    let ids = |ids: Vec<v1::ObjectId>| -> Result<Vec<ObjectId>, RequestError> {
        object::object_ids(schema, ids)
    };
    let term = Term {
        space: space.name.clone(),
        weight: weight(term.weight)?,
        like: ids(term.like)?,
        unlike: ids(term.unlike)?,
        vectors,
        // By which rule they can be compared is found where the bridges are.
        crossing: None,
        method: combine::method(term.method)?,
    };
    Ok((term, example, crossing))
}

/// A weight that is not set counts 1.
fn weight(weight: f64) -> Result<f64, RequestError> {
    if weight == 0.0 {
        Ok(1.0)
    } else if weight.is_finite() && weight > 0.0 {
        Ok(weight)
    } else {
        Err(RequestError::BadWeight { weight })
    }
}

/// The space that a term searches, and how its examples get there when they are of another one.
fn resolve_spaces<'a>(
    schema: &'a CollectionSchema,
    place: usize,
    term: &v1::VectorTerm,
) -> Result<(&'a EmbeddingSpace, Option<CrossingTerm>), RequestError> {
    let number = place + 1;
    if term.from_space.is_empty() {
        if !term.bridge.is_empty() {
            return Err(RequestError::BridgeFromNowhere { number, bridge: term.bridge.clone() });
        }
        return Ok((resolve_space(schema, number, term)?, None));
    }
    if term.space.is_empty() {
        let from = term.from_space.clone();
        return Err(RequestError::CrossingToNowhere { number, from });
    }
    let to = named_space(schema, &term.space)?;
    let from = named_space(schema, &term.from_space)?.clone();
    let bridge = term.bridge.clone();
    Ok((to, Some(CrossingTerm { term: place, from, to: to.clone(), bridge })))
}

/// The space of vectors of a name.
fn named_space<'a>(
    schema: &'a CollectionSchema,
    name: &str,
) -> Result<&'a EmbeddingSpace, RequestError> {
    let space = schema.space(name).ok_or_else(|| object::unknown_space(schema, name))?;
    if !space.holds_vectors() {
        return Err(RequestError::SpaceOfTokens(QueryError::not_of_vectors(space)));
    }
    Ok(space)
}

/// The space of a term: the one it names, or the only one that all it gives can belong to.
fn resolve_space<'a>(
    schema: &'a CollectionSchema,
    number: usize,
    term: &v1::VectorTerm,
) -> Result<&'a EmbeddingSpace, RequestError> {
    if !term.space.is_empty() {
        return named_space(schema, &term.space);
    }
    let spaces: Vec<&EmbeddingSpace> = schema.vector_spaces().collect();
    // With one space there is no doubt which is meant, and what does not fit it is told in its own words.
    if let [only] = spaces.as_slice() {
        return Ok(only);
    }
    let fits = |space: &EmbeddingSpace| {
        let examples = term.examples.iter().all(|example| {
            let modality = &example.modality;
            !space.provenance.is_external()
                && (modality.is_empty() || *modality == space.modality.0)
        });
        examples && term.vectors.iter().all(|vector| vector.values.len() == space.dimension)
    };
    let fitting: Vec<&EmbeddingSpace> =
        spaces.iter().copied().filter(|space| fits(space)).collect();
    match fitting.as_slice() {
        [only] => Ok(only),
        [] => Err(RequestError::AmbiguousSpace { number, fitting: described(&spaces) }),
        several => {
            let names: Vec<&str> = several.iter().map(|space| space.name.as_str()).collect();
            let fitting = format!("{} fit", names.join(", "));
            Err(RequestError::AmbiguousSpace { number, fitting })
        }
    }
}

/// Spaces with what a vector or an example has to fit.
fn described(spaces: &[&EmbeddingSpace]) -> String {
    if spaces.is_empty() {
        return "the collection has none yet; encode or import vectors first".to_owned();
    }
    let each = |space: &&EmbeddingSpace| {
        format!("`{}` ({}, dimension {})", space.name, space.modality, space.dimension)
    };
    format!("none of {} fits", spaces.iter().map(each).collect::<Vec<_>>().join(", "))
}

fn example_term(
    term: usize,
    space: &EmbeddingSpace,
    payloads: Vec<v1::Payload>,
) -> Result<ExampleTerm, RequestError> {
    if space.provenance.is_external() {
        return Err(RequestError::NoModel { space: space.name.clone() });
    }
    let mut checked = Vec::with_capacity(payloads.len());
    for (place, mut payload) in payloads.into_iter().enumerate() {
        if payload.content.is_none() {
            let reason = "it has neither an image nor a row of numbers".to_owned();
            return Err(RequestError::BadExample { number: place + 1, reason });
        }
        if payload.modality.is_empty() {
            payload.modality.clone_from(&space.modality.0);
        }
        if !space.modality.takes(&payload.modality) {
            return Err(RequestError::WrongModality {
                space: space.name.clone(),
                expected: space.modality.0.clone(),
                given: payload.modality,
            });
        }
        checked.push(payload);
    }
    Ok(ExampleTerm { term, space: space.clone(), payloads: checked })
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
