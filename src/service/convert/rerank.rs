//! Re-ranks: the space of tokens, how many candidates, and what they are compared with.

use super::object;
use crate::query::{CANDIDATES_MAX, candidates_for};
use crate::schema::{CollectionSchema, EmbeddingSpace, ObjectId, SpaceForm};
use crate::service::RequestError;
use crate::service::limits::{Limits, at_most};
use crate::wire::v1;

/// A re-rank whose tokens are still to be found.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::service) struct RerankPlan {
    /// The space of tokens.
    pub(in crate::service) space: EmbeddingSpace,
    /// Hits wanted.
    pub(in crate::service) k: usize,
    /// Nearest by the vector terms that are compared.
    pub(in crate::service) candidates: usize,
    /// What to be near to.
    pub(in crate::service) target: RerankTarget,
}

/// What candidates are compared with.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::service) enum RerankTarget {
    /// Tokens that came with the request.
    Given(Vec<v1::TokenSequence>),
    /// The tokens of these objects, and those that the model makes of these payloads.
    Like {
        /// The objects.
        ids: Vec<ObjectId>,
        /// The payloads, of the space's modality.
        payloads: Vec<v1::Payload>,
    },
}

/// Reads the re-rank of a search, which is asked for by `request`.
pub(super) fn rerank(
    schema: &CollectionSchema,
    limits: &Limits,
    request: &v1::SearchRequest,
    given: &v1::Rerank,
) -> Result<RerankPlan, RequestError> {
    let found = schema.space(&given.space);
    let space = found.ok_or_else(|| object::unknown_space(schema, &given.space))?;
    if space.holds_vectors() {
        return Err(RequestError::RerankOfVectors { space: space.name.clone() });
    }
    if request.terms.is_empty() {
        return Err(RequestError::RerankWithoutTerm);
    }
    if request.k == 0 {
        return Err(RequestError::RerankWithoutK);
    }
    let k = request.k as usize;
    let candidates = candidates_for(k, given.candidates as usize);
    at_most("candidates of a re-rank", "limits.k", candidates, CANDIDATES_MAX.min(limits.k_max))?;
    let target = target(schema, limits, space, request, given)?;
    if space.form == SpaceForm::TokenIds && space.provenance.is_external() {
        return Err(RequestError::NoModel { space: space.name.clone() });
    }
    Ok(RerankPlan { space: space.clone(), k, candidates, target })
}

fn target(
    schema: &CollectionSchema,
    limits: &Limits,
    space: &EmbeddingSpace,
    request: &v1::SearchRequest,
    given: &v1::Rerank,
) -> Result<RerankTarget, RequestError> {
    at_most(
        "token sequences of a re-rank",
        "limits.examples",
        given.tokens.len(),
        limits.examples_max,
    )?;
    if !given.tokens.is_empty() {
        for sequence in &given.tokens {
            schema.check_tokens(space.id, sequence)?;
        }
        return Ok(RerankTarget::Given(given.tokens.clone()));
    }
    let like = request.terms.iter().flat_map(|term| term.like.iter().cloned()).collect();
    let mut ids: Vec<ObjectId> = Vec::new();
    for id in object::object_ids(schema, like)? {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let mut payloads: Vec<v1::Payload> = Vec::new();
    if !space.provenance.is_external() {
        for payload in request.terms.iter().flat_map(|term| &term.examples) {
            let mut payload = payload.clone();
            if payload.modality.is_empty() {
                payload.modality.clone_from(&space.modality.0);
            }
            if space.modality.takes(&payload.modality) && !payloads.contains(&payload) {
                payloads.push(payload);
            }
        }
    }
    if ids.is_empty() && payloads.is_empty() {
        return Err(RequestError::NothingToRerankBy { space: space.name.clone() });
    }
    Ok(RerankTarget::Like { ids, payloads })
}
