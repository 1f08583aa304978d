//! Searches: every number checked, every space resolved, examples set apart for the encoder.

use super::rerank::{RerankPlan, rerank};
use super::{combine, object, provenance, region};
use crate::index::RECALL_WISH_DEFAULT;
use crate::query::{Query, QueryError, StopFlag, Term};
use crate::schema::{CollectionSchema, EmbeddingSpace, ObjectId, RESERVED_COLUMNS};
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
    /// How the nearest are ordered anew; the query then asks for the candidates.
    pub(in crate::service) rerank: Option<RerankPlan>,
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

/// Reads and checks a search against the schema of its collection.
pub(in crate::service) fn search(
    schema: &CollectionSchema,
    limits: &Limits,
    request: v1::SearchRequest,
) -> Result<SearchPlan, RequestError> {
    at_most("vector terms", request.terms.len(), limits.terms_max)?;
    let k = hits_wanted(limits, &request)?;
    let rerank = match &request.rerank {
        Some(given) => Some(rerank(schema, limits, &request, given)?),
        None => None,
    };
    let mut examples = Vec::new();
    let mut terms = Vec::with_capacity(request.terms.len());
    for (place, given) in request.terms.into_iter().enumerate() {
        let (term, example) = vector_term(schema, limits, place, given)?;
        terms.push(term);
        examples.extend(example);
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
        columns: columns(schema, request.columns)?,
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
    Ok(SearchPlan { query, examples, rerank })
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
    at_most("bytes of predicate", predicate.len(), limits.predicate_bytes_max)?;
    Ok((!predicate.trim().is_empty()).then_some(predicate))
}

/// Columns to return: `None` for all but binary ones. What every hit has anyway needs no name.
fn columns(
    schema: &CollectionSchema,
    names: Vec<String>,
) -> Result<Option<Vec<String>>, RequestError> {
    if names.is_empty() {
        return Ok(None);
    }
    let mut wanted = Vec::with_capacity(names.len());
    for name in names {
        if RESERVED_COLUMNS.iter().any(|reserved| reserved.eq_ignore_ascii_case(&name)) {
            continue;
        }
        let place = schema.column_place(&name).ok_or_else(|| RequestError::UnknownColumn {
            collection: schema.name.clone(),
            column: name.clone(),
        })?;
        let name = schema.columns[place].name.clone();
        if !wanted.contains(&name) {
            wanted.push(name);
        }
    }
    Ok(Some(wanted))
}

fn vector_term(
    schema: &CollectionSchema,
    limits: &Limits,
    place: usize,
    term: v1::VectorTerm,
) -> Result<(Term, Option<ExampleTerm>), RequestError> {
    let number = place + 1;
    let given = term.like.len() + term.unlike.len() + term.vectors.len() + term.examples.len();
    at_most("examples of a vector term", given, limits.examples_max)?;
    if given == 0 {
        return Err(RequestError::EmptyTerm { number });
    }
    let space = resolve_space(schema, number, &term)?;
    if let Some(given) = term.provenance.map(provenance)
        && given != space.provenance
    {
        return Err(RequestError::WrongProvenance {
            space: space.name.clone(),
            expected: space.provenance.to_string(),
            given: given.to_string(),
        });
    }
    let vectors: Vec<Vec<f32>> = term.vectors.into_iter().map(|vector| vector.values).collect();
    for vector in &vectors {
        schema.check_vector(space.id, vector)?;
    }
    let example = (!term.examples.is_empty())
        .then(|| example_term(place, space, term.examples))
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
        method: combine::method(term.method)?,
    };
    Ok((term, example))
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

/// The space of a term: the one it names, or the only one that all it gives can belong to.
fn resolve_space<'a>(
    schema: &'a CollectionSchema,
    number: usize,
    term: &v1::VectorTerm,
) -> Result<&'a EmbeddingSpace, RequestError> {
    if !term.space.is_empty() {
        let found = schema.space(&term.space);
        let space = found.ok_or_else(|| object::unknown_space(schema, &term.space))?;
        if !space.holds_vectors() {
            return Err(RequestError::SpaceOfTokens(QueryError::not_of_vectors(space)));
        }
        return Ok(space);
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
            Err(RequestError::AmbiguousSpace { number, fitting: names.join(", ") })
        }
    }
}

/// Spaces with what a vector or an example has to fit.
fn described(spaces: &[&EmbeddingSpace]) -> String {
    if spaces.is_empty() {
        return "none (the collection has no space yet: encode or import vectors first)".to_owned();
    }
    let each = |space: &&EmbeddingSpace| {
        format!("`{}` ({}, dimension {})", space.name, space.modality, space.dimension)
    };
    format!("none of {}", spaces.iter().map(each).collect::<Vec<_>>().join(", "))
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
