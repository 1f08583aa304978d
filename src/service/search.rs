//! `SearchService`: nearest neighbours under a region and a predicate.

use std::pin::Pin;

use futures::Stream;
use tonic::{Request, Response, Status};

use super::context::{Context, blocking};
use super::convert::{self, CrossingTerm, ExampleTerm};
use super::deadline::Deadline;
use super::{RequestError, ServiceError, rerank};
use crate::encoder::{Inputs, Made};
use crate::query::{self, Answer, Crossing, Query, StopFlag};
use crate::schema::CollectionSchema;
use crate::wire::v1;
use crate::wire::v1::search_service_server::SearchService;

/// The messages of one answer.
type Chunks = Pin<Box<dyn Stream<Item = Result<v1::SearchResponse, Status>> + Send>>;

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
        request: v1::SearchRequest,
        deadline: Deadline,
    ) -> Result<Answer, ServiceError> {
        let collection = request.collection.clone();
        let at_hand = self.context.db.view_at_hand(&collection);
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
                self.add_crossing(&collection, &mut query, crossing).await?;
            }
            for example in plan.examples {
                self.add_example(&schema, &mut query, example, deadline).await?;
            }
        }
        if let Some(rerank) = plan.rerank {
            return rerank::answer(&self.context, collection, query, rerank).await;
        }
        let turn = self.context.search_turn().await?;
        if let Some(view) = self.context.db.view_at_hand(&collection)
            && let Some(answer) = query::search_if_brief(&view, &query)
        {
            return Ok(answer?);
        }
        let db = self.context.db.clone();
        let _stop = StopWhenDropped(query.stop.clone());
        blocking(move || -> Result<Answer, ServiceError> {
            // Held by the work itself: it may outlive a caller that has gone.
            let _turn = turn;
            Ok(query::search(&db.view(&collection)?, &query)?)
        })
        .await
    }

    /// Finds the rule by which the examples of a term can be compared with the space that is searched.
    async fn add_crossing(
        &self,
        collection: &str,
        query: &mut Query,
        crossing: CrossingTerm,
    ) -> Result<(), ServiceError> {
        let CrossingTerm { term, from, to, bridge } = crossing;
        let (db, bridges) = (self.context.db.clone(), self.context.bridges.clone());
        let collection = collection.to_owned();
        let found = blocking(move || -> Result<Crossing, ServiceError> {
            Ok(bridges.crossing(&db.view(&collection)?, &from, &to, &bridge)?)
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
        let answer = deadline
            .run(self.answer(self.context.targeted(request.into_inner())?, deadline))
            .await?;
        deadline.check()?;
        let chunks = convert::chunks(answer, self.context.limits.chunk_bytes);
        Ok(Response::new(Box::pin(futures::stream::iter(chunks.map(Ok)))))
    }
}
