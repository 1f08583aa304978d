//! `SearchService`: nearest neighbours under a region and a predicate.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::{FutureExt, Stream};
use tonic::{Request, Response, Status};

use super::admission::{Caller, Cost, Reserved, Turn};
use super::context::{Context, blocking, in_turn};
use super::convert::{self, CrossingTerm, ExampleTerm};
use super::deadline::Deadline;
use super::door::Door;
use super::telemetry::Asked;
use super::{RequestError, ServiceError, gate, rerank};
use crate::encoder::{Inputs, Made};
use crate::engine::CollectionView;
use crate::query::{self, Answer, Crossing, Price, Query, StopFlag};
use crate::schema::CollectionSchema;
use crate::wire::v1;
use crate::wire::v1::search_service_server::SearchService;

/// The messages of one answer.
type Chunks = Pin<Box<dyn Stream<Item = Result<v1::SearchResponse, Status>> + Send>>;

/// An answer, and the memory that it was foreseen to take: given back when its last message is on its way.
struct Answered {
    answer: Answer,
    memory: Option<Reserved>,
}

/// A turn that is waited for.
type Entering = Pin<Box<dyn Future<Output = Result<Turn, ServiceError>> + Send>>;

/// Answers searches.
#[derive(Clone)]
pub(super) struct Searches {
    context: Context,
}

/// Raised when the caller's future is dropped: a query that nobody waits for ends at its next block of rows.
pub(super) struct StopWhenDropped(pub(super) StopFlag);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.raise();
    }
}

impl Searches {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    async fn answer(
        &self,
        door: Door,
        request: v1::SearchRequest,
        deadline: Deadline,
    ) -> Result<Answered, ServiceError> {
        let collection = request.collection.clone();
        let at_hand = door.view_at_hand(&collection)?;
        let fetched;
        let schema = match &at_hand {
            Some(view) => view.schema(),
            None => {
                fetched = self.context.schema(&collection).await?;
                &fetched
            }
        };
        let derived = self.context.db.derived_columns(&collection)?;
        let plan = convert::search(schema, &derived, &self.context.limits, request)?;
        let mut query = plan.query;
        if !plan.examples.is_empty() || !plan.crossings.is_empty() || plan.rerank.is_some() {
            let schema = schema.clone();
            // Encoding and comparing take their time, and a view that is held keeps a segment that may be replaced meanwhile.
            drop(at_hand);
            for crossing in plan.crossings {
                self.add_crossing(&door, &collection, &mut query, crossing).await?;
            }
            for example in plan.examples {
                self.add_example(&schema, &mut query, example, deadline).await?;
            }
        }
        if let Some(rerank) = plan.rerank {
            let (asked, arrived) = (Asked::search(&collection, &query), Instant::now());
            let answer = rerank::answer(&self.context, door, collection, query, rerank).await?;
            self.told(Some(&asked), &answer, [arrived.elapsed(), Duration::ZERO]);
            return Ok(Answered { answer, memory: None });
        }
        let arrived = Instant::now();
        let mut entering = None;
        let cost = match door.view_at_hand(&collection)? {
            Some(view) => match self.answer_at_once(&view, &collection, &query, &mut entering)? {
                Ok(answered) => return Ok(answered),
                Err(cost) => cost,
            },
            None => Cost::unknown(),
        };
        let asked = Asked::search(&collection, &query);
        let turn = match entering {
            Some(entering) => entering.await?,
            None => self.context.search_turn(cost).await?,
        };
        let waited = arrived.elapsed();
        let _stop = StopWhenDropped(query.stop.clone());
        // A thread that gives way must not be the one that opens what others wait for.
        let at_hand = if turn.is_behind() { door.view_at_hand(&collection)? } else { None };
        let answered = in_turn(turn, move |turn| -> Result<Answered, ServiceError> {
            let view = at_hand.map_or_else(|| door.view(&collection), Ok)?;
            let answer = query::search(&view, &query)?;
            Ok(Answered { answer, memory: turn.take_memory() })
        })
        .await?;
        self.told(Some(&asked), &answered.answer, [arrived.elapsed(), waited]);
        Ok(answered)
    }

    /// Answers a brief query, and one that is short where its turn comes at once and enough other threads serve calls: on this
    /// thread, by the plan that is made here. Of every other it tells the cost; `entering` is its turn where it was asked for.
    fn answer_at_once(
        &self,
        view: &CollectionView,
        collection: &str,
        query: &Query,
        entering: &mut Option<Entering>,
    ) -> Result<Result<Answered, Cost>, ServiceError> {
        let arrived = Instant::now();
        self.context.admission.brief(Caller::current().as_ref())?;
        let mut refused = None;
        let admit = |price: &Price| {
            let thread = self.context.take_thread()?;
            let context = self.context.clone();
            let cost = Cost::of_search(price);
            let mut turn: Entering = Box::pin(async move { context.search_turn(cost).await });
            match turn.as_mut().now_or_never() {
                Some(Ok(turn)) if turn.is_short() => return Some((turn, thread)),
                Some(Ok(turn)) => *entering = Some(Box::pin(std::future::ready(Ok(turn)))),
                Some(Err(error)) => refused = Some(error),
                None => *entering = Some(turn),
            }
            None
        };
        let found = query::search_or_price(view, query, admit);
        if let Some(error) = refused {
            return Err(error);
        }
        Ok(match found {
            Ok((answer, held)) => {
                let (answer, took) = (answer?, [arrived.elapsed(), Duration::ZERO]);
                // A brief one, which holds nothing, is never slow.
                let asked = held.is_some().then(|| Asked::search(collection, query));
                self.told(asked.as_ref(), &answer, took);
                let memory = held.and_then(|(mut turn, _thread)| turn.take_memory());
                Ok(Answered { answer, memory })
            }
            Err(price) => Err(Cost::of_search(&price)),
        })
    }

    /// Counts an answer, and notes it where it took too long. `asked` is none for a brief query, which never does.
    fn told(&self, asked: Option<&Asked>, answer: &Answer, times: [Duration; 2]) {
        let Context { metrics, slow, .. } = &self.context;
        metrics.searched(&answer.stats, answer.stats.elapsed_ms / 1e3);
        if let Some(asked) = asked {
            slow.note(metrics, asked, Some(&answer.stats), times);
        }
    }

    /// Finds the rule by which the examples of a term can be compared with the space that is searched.
    async fn add_crossing(
        &self,
        door: &Door,
        collection: &str,
        query: &mut Query,
        crossing: CrossingTerm,
    ) -> Result<(), ServiceError> {
        let CrossingTerm { term, from, to, bridge } = crossing;
        let (door, bridges) = (door.clone(), self.context.bridges.clone());
        let collection = collection.to_owned();
        let found = blocking(move || -> Result<Crossing, ServiceError> {
            Ok(bridges.crossing(&door.view(&collection)?, &from, &to, &bridge)?)
        });
        let found = found.await?;
        if let Some(term) = query.terms.get_mut(term) {
            term.crossing = Some(found);
        }
        Ok(())
    }

    /// Encodes the examples of a term with the model that made the space, and adds them to the query.
    async fn add_example(
        &self,
        schema: &CollectionSchema,
        query: &mut Query,
        example: ExampleTerm,
        deadline: Deadline,
    ) -> Result<(), ServiceError> {
        let ExampleTerm { term, space, payloads } = example;
        let expected = payloads.len();
        let encoder = self.context.encoder()?;
        let encoded = encoder
            .encode_within(
                deadline.left(),
                &space.provenance.encoder,
                &space.provenance.pooling,
                Inputs::Payloads(payloads),
            )
            .await?;
        if encoded.provenance != space.provenance {
            return Err(ServiceError::ModelChanged {
                space: space.name,
                expected: space.provenance.to_string(),
                given: encoded.provenance.to_string(),
            });
        }
        if encoded.results.len() != expected {
            let given = encoded.results.len();
            return Err(ServiceError::EncoderMiscounted { expected, given });
        }
        for (place, result) in encoded.results.into_iter().enumerate() {
            let vector = result
                .and_then(Made::into_vector)
                .map_err(|reason| RequestError::BadExample { number: place + 1, reason })?;
            schema.check_vector(space.id, &vector).map_err(RequestError::from)?;
            if let Some(term) = query.terms.get_mut(term) {
                term.vectors.push(vector);
            }
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl SearchService for Searches {
    type SearchStream = Chunks;

    async fn search(
        &self,
        request: Request<v1::SearchRequest>,
    ) -> Result<Response<Chunks>, Status> {
        let deadline = Deadline::new(request.metadata(), self.context.limits.request_time_max);
        let (door, rows) = (self.context.door(gate::grant(&request)?), gate::rows_served(&request));
        let answer = deadline
            // Too large to be moved about on the stack.
            .run(Box::pin(self.answer(
                door,
                self.context.targeted(request.into_inner())?,
                deadline,
            )))
            .await?;
        deadline.check()?;
        let Answered { answer, memory } = answer;
        rows.add(answer.hits.len() as u64);
        let chunks = convert::chunks(answer, self.context.limits.chunk_bytes);
        let chunks = chunks.map(move |chunk| {
            // Captured: it lives as long as there are chunks.
            let _memory = &memory;
            Ok(chunk)
        });
        Ok(Response::new(Box::pin(futures::stream::iter(chunks))))
    }
}
