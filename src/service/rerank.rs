//! Re-ranks: candidates by vectors, then distances by tokens.
//!
//! Tokens are read some candidates at a time. Of a space of token ids the model makes states again, which are compared and
//! forgotten: what is stored stays small.

use std::sync::Arc;

use super::admission::{Cost, Turn, Work};
use super::context::{Context, in_turn};
use super::convert::{RerankPlan, RerankTarget};
use super::door::Door;
use super::search::StopWhenDropped;
use super::{RequestError, ServiceError};
use crate::encoder::{Inputs, Made};
use crate::engine::CollectionView;
use crate::query::{self, Answer, Query, Ranking, StopFlag};
use crate::schema::{EmbeddingSpace, ObjectId, Provenance, SpaceForm, check_tokens};
use crate::vector::{MaxSim, MaxSimRoom};
use crate::wire::v1::{Payload, TokenSequence};

/// Candidates whose tokens are held at once: about 14 MiB of AION-1's, at most 16 MiB each.
const PAGE: usize = 16;

/// The output of a model that gives states without pooling.
const STATES: &str = "tokens";

/// One re-rank under way.
struct Rerank<'a> {
    context: &'a Context,
    plan: &'a RerankPlan,
    stop: StopFlag,
    /// The place among the searches that run at once, shared with work that outlives its caller.
    turn: Arc<Turn>,
}

/// Answers a search whose query asks for candidates, in the order of their tokens.
pub(super) async fn answer(
    context: &Context,
    door: Door,
    collection: String,
    query: Query,
    plan: RerankPlan,
) -> Result<Answer, ServiceError> {
    let cost = match door.view_at_hand(&collection)? {
        Some(view) => Cost { work: Work::Rerank, ..Cost::of_search(&query::bound(&view, &query)) },
        None => Cost::unknown(),
    };
    let turn = Arc::new(context.search_turn(cost).await?);
    let rerank = Rerank { context, plan: &plan, stop: query.stop.clone(), turn };
    let _stop = StopWhenDropped(query.stop.clone());
    let candidates = rerank
        .work(move || -> Result<_, ServiceError> {
            Ok(query::candidates(door.view(&collection)?, query)?)
        })
        .await?;
    let ids = candidates.ids();
    let view = candidates.view().clone();
    let target = Arc::new(rerank.target(&view).await?);
    let mut ranking = Ranking {
        space: plan.space.name.clone(),
        query_tokens: target.count(),
        ..Ranking::default()
    };
    for page in ids.chunks(PAGE) {
        let (found, bytes) = rerank.states(&view, page).await?;
        ranking.bytes_read += bytes;
        ranking.distances.extend(rerank.distances(&target, page, found).await?);
    }
    let k = plan.k;
    rerank.work(move || candidates.into_answer(k, &ranking)).await
}

impl Rerank<'_> {
    /// Runs synchronous work that holds the turn until its end.
    async fn work<T, E>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        E: Send + 'static,
        ServiceError: From<E>,
    {
        in_turn(Arc::clone(&self.turn), move |_| work()).await
    }

    /// What the candidates are compared with.
    async fn target(&self, view: &CollectionView) -> Result<MaxSim, ServiceError> {
        let space = &self.plan.space;
        let sequences = match &self.plan.target {
            RerankTarget::Given(sequences) => {
                let whose = vec!["the query".to_owned(); sequences.len()];
                self.refined(sequences.clone(), &whose).await?
            }
            RerankTarget::Like { ids, payloads } => {
                let (found, _) = self.states(view, ids).await?;
                let mut sequences = Vec::with_capacity(ids.len() + payloads.len());
                for (id, found) in ids.iter().zip(found) {
                    sequences.push(found.ok_or_else(|| RequestError::NoTokens {
                        id: id.to_string(),
                        space: space.name.clone(),
                    })?);
                }
                sequences.extend(self.encoded(payloads.clone()).await?);
                sequences
            }
        };
        let prepared = self.work(move || Ok::<_, ServiceError>(query::max_sim(&sequences))).await?;
        prepared.ok_or_else(|| self.no_states("the query", "they are of several widths"))
    }

    /// The states of stored objects, `None` for those without tokens, and the bytes that were read.
    async fn states(
        &self,
        view: &CollectionView,
        ids: &[ObjectId],
    ) -> Result<(Vec<Option<TokenSequence>>, u64), ServiceError> {
        let (view, space, stop) = (view.clone(), self.plan.space.id, self.stop.clone());
        let owned = ids.to_vec();
        let mut found = self.work(move || query::tokens_of(&view, space, &owned, &stop)).await?;
        let runs = found.iter().flatten().flat_map(|sequence| &sequence.runs);
        let bytes = runs.map(|run| (run.states.len() + run.ids.len()) as u64).sum();
        if self.plan.space.form == SpaceForm::TokenIds {
            let (places, given): (Vec<usize>, Vec<TokenSequence>) = found
                .iter_mut()
                .enumerate()
                .filter_map(|(place, sequence)| Some((place, sequence.take()?)))
                .unzip();
            let whose: Vec<String> =
                places.iter().map(|&place| format!("object `{}`", ids[place])).collect();
            for (place, states) in places.into_iter().zip(self.refined(given, &whose).await?) {
                found[place] = Some(states);
            }
        }
        Ok((found, bytes))
    }

    /// The states of sequences: themselves, or what the model makes of token ids.
    async fn refined(
        &self,
        sequences: Vec<TokenSequence>,
        whose: &[String],
    ) -> Result<Vec<TokenSequence>, ServiceError> {
        if self.plan.space.form == SpaceForm::Tokens || sequences.is_empty() {
            return Ok(sequences);
        }
        let made = self.made(STATES, Inputs::Tokens(sequences)).await?;
        let states = made.into_iter().zip(whose).map(|(made, whose)| {
            let states = self.states_of(made);
            states.map_err(|reason| self.no_states(whose, &reason))
        });
        states.collect()
    }

    /// The states that the model makes of examples.
    async fn encoded(&self, payloads: Vec<Payload>) -> Result<Vec<TokenSequence>, ServiceError> {
        if payloads.is_empty() {
            return Ok(Vec::new());
        }
        let pooling = match self.plan.space.form {
            SpaceForm::TokenIds => STATES,
            SpaceForm::Tokens | SpaceForm::Vector => self.plan.space.provenance.pooling.as_str(),
        };
        let made = self.made(pooling, Inputs::Payloads(payloads)).await?;
        let states = made.into_iter().enumerate().map(|(place, made)| {
            let states = self.states_of(made);
            states.map_err(|reason| RequestError::BadExample { number: place + 1, reason }.into())
        });
        states.collect()
    }

    /// Asks the model of the space, which must be the one that made what the space holds.
    async fn made(
        &self,
        pooling: &str,
        inputs: Inputs,
    ) -> Result<Vec<Result<Made, String>>, ServiceError> {
        let space = &self.plan.space;
        let expected = inputs.len();
        let encoder = self.context.encoder()?;
        let encoded = encoder.encode(&space.provenance.encoder, pooling, inputs).await?;
        let same = |given: &Provenance| {
            *given == Provenance { pooling: given.pooling.clone(), ..space.provenance.clone() }
        };
        if !same(&encoded.provenance) {
            return Err(ServiceError::ModelChanged {
                space: space.name.clone(),
                expected: space.provenance.to_string(),
                given: encoded.provenance.to_string(),
            });
        }
        let given = encoded.results.len();
        if given != expected {
            return Err(ServiceError::EncoderMiscounted { expected, given });
        }
        Ok(encoded.results)
    }

    /// The states of one answer of the model, or what is wrong with it.
    fn states_of(&self, made: Result<Made, String>) -> Result<TokenSequence, String> {
        let sequence = match made? {
            Made::Tokens(sequence) => sequence,
            Made::Vector(_) => return Err("the model gave a vector".to_owned()),
        };
        let width = sequence.runs.first().map_or(0, |run| run.width as usize);
        let dimension = match self.plan.space.form {
            SpaceForm::TokenIds => width,
            SpaceForm::Tokens | SpaceForm::Vector => self.plan.space.dimension,
        };
        let form = SpaceForm::Tokens;
        let states = EmbeddingSpace { form, dimension, ..self.plan.space.clone() };
        check_tokens(&states, &sequence).map_err(|error| error.to_string())?;
        Ok(sequence)
    }

    async fn distances(
        &self,
        target: &Arc<MaxSim>,
        ids: &[ObjectId],
        sequences: Vec<Option<TokenSequence>>,
    ) -> Result<Vec<Option<f64>>, ServiceError> {
        let (target, stop) = (Arc::clone(target), self.stop.clone());
        let there: Vec<bool> = sequences.iter().map(Option::is_some).collect();
        let compare =
            move || query::distances(&target, &sequences, &mut MaxSimRoom::default(), &stop);
        let distances = self.work(compare).await?;
        for ((id, is_there), distance) in ids.iter().zip(there).zip(&distances) {
            if is_there && distance.is_none() {
                return Err(self.no_states(&format!("object `{id}`"), "they are of another width"));
            }
        }
        Ok(distances)
    }

    fn no_states(&self, of: &str, reason: &str) -> ServiceError {
        ServiceError::NoStates {
            of: of.to_owned(),
            space: self.plan.space.name.clone(),
            reason: reason.to_owned(),
        }
    }
}
