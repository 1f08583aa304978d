//! `ObjectService`: objects by id, and how many there are.

use std::time::Instant;

use futures::TryStreamExt;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::admission::{Cost, Work};
use super::context::{Context, blocking, in_turn};
use super::deadline::Deadline;
use super::door::Door;
use super::ingest::{self, Answers, IngestInput};
use super::limits::at_most;
use super::search::StopWhenDropped;
use super::telemetry::Asked;
use super::{ServiceError, convert, gate};
use crate::engine::{Write, WriteMode, WriteOutcome};
use crate::query::{self, StopFlag};
use crate::schema::{EmbeddingSpace, ObjectId};
use crate::wire::v1;
use crate::wire::v1::object_service_server::ObjectService;

/// Objects read from the store at a time.
const PAGE: usize = 256;

/// The same where their tokens are read too, which may be a megabyte each.
const TOKENS_PAGE: usize = 8;

/// Writes, reads, deletes and counts objects.
#[derive(Clone)]
pub(super) struct Objects {
    context: Context,
}

impl Objects {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    async fn get(
        &self,
        door: Door,
        request: v1::GetObjectsRequest,
    ) -> Result<v1::GetObjectsResponse, ServiceError> {
        let limits = &self.context.limits;
        at_most("ids", "limits.ids", request.ids.len(), limits.ids_max)?;
        let bytes_max = limits.reply_bytes_max;
        blocking(move || get_pages(&door, request, bytes_max)).await
    }

    async fn delete(
        &self,
        door: Door,
        request: v1::DeleteObjectsRequest,
    ) -> Result<v1::DeleteObjectsResponse, ServiceError> {
        at_most("ids", "limits.ids", request.ids.len(), self.context.limits.ids_max)?;
        blocking(move || delete_all(&door, request)).await
    }

    async fn count(
        &self,
        door: Door,
        request: v1::CountObjectsRequest,
    ) -> Result<u64, ServiceError> {
        let limits = &self.context.limits;
        let region = request.region.map(|region| convert::region(limits, region)).transpose()?;
        let predicate = convert::predicate(limits, request.predicate)?;
        let asked = Asked::count(&request.collection, region.as_ref(), predicate.as_deref());
        let arrived = Instant::now();
        let price = door
            .view_at_hand(&request.collection)?
            .map(|view| query::bound_of_count(&view, region.is_some(), predicate.is_some()));
        let turn = self.context.search_turn(Cost::of(Work::Count, price)).await?;
        let waited = arrived.elapsed();
        let stop = StopFlag::default();
        let _stop = StopWhenDropped(stop.clone());
        let at_hand = if turn.is_behind() { door.view_at_hand(&request.collection)? } else { None };
        let count = in_turn(turn, move |_| -> Result<u64, ServiceError> {
            let view = match at_hand {
                Some(view) => view,
                // Of all objects nothing but their number is asked.
                None if region.is_none() && predicate.is_none() => {
                    door.glance(&request.collection)?
                }
                None => door.view(&request.collection)?,
            };
            Ok(query::count(&view, region.as_ref(), predicate.as_deref(), &stop)?)
        })
        .await?;
        let Context { metrics, slow, .. } = &self.context;
        slow.note(metrics, &asked, None, [arrived.elapsed(), waited]);
        Ok(count)
    }
}

fn get_pages(
    door: &Door,
    request: v1::GetObjectsRequest,
    bytes_max: usize,
) -> Result<v1::GetObjectsResponse, ServiceError> {
    let view = door.view(&request.collection)?;
    let schema = view.schema();
    let ids = convert::object_ids(schema, request.ids)?;
    let mut reply = v1::GetObjectsResponse::default();
    let mut bytes = 0;
    let with_tokens = schema.spaces.iter().filter(|space| !space.holds_vectors());
    let with_tokens: Vec<&EmbeddingSpace> = with_tokens.filter(|_| request.with_vectors).collect();
    let page = if with_tokens.is_empty() { PAGE } else { TOKENS_PAGE };
    for page in ids.chunks(page) {
        let found = view.get(page)?;
        let mut tokens = Vec::with_capacity(with_tokens.len());
        for space in &with_tokens {
            let found = view.tokens(space.id, page)?;
            tokens.push((space.name.as_str(), found.into_iter()));
        }
        for (id, object) in page.iter().zip(found) {
            let tokens: Vec<_> = tokens
                .iter_mut()
                .filter_map(|(name, found)| Some(((*name).to_owned(), found.next()??)))
                .collect();
            let Some((_, object)) = object else {
                reply.missing.push(convert::object_id_of(id.clone()));
                continue;
            };
            let mut object = convert::object_of(schema, object, request.with_vectors);
            object.tokens.extend(tokens);
            bytes += object.encoded_len();
            if bytes > bytes_max {
                return Err(ServiceError::ReplyTooLarge { bytes, max: bytes_max });
            }
            reply.objects.push(object);
        }
    }
    Ok(reply)
}

fn delete_all(
    door: &Door,
    request: v1::DeleteObjectsRequest,
) -> Result<v1::DeleteObjectsResponse, ServiceError> {
    door.check(&request.collection)?;
    let schema = door.db().schema(&request.collection)?;
    let ids: Vec<ObjectId> = convert::object_ids(&schema, request.ids)?;
    let mut reply = v1::DeleteObjectsResponse::default();
    if ids.is_empty() {
        return Ok(reply);
    }
    let writes = ids.into_iter().map(Write::Delete).collect();
    let report = door.write(&request.collection, WriteMode::Logged, writes)?;
    for outcome in report.outcomes {
        match outcome {
            WriteOutcome::Deleted => reply.deleted += 1,
            WriteOutcome::Absent
            | WriteOutcome::Inserted
            | WriteOutcome::Replaced
            | WriteOutcome::VectorsSet
            | WriteOutcome::ColumnsSet
            | WriteOutcome::Refused(_) => reply.absent += 1,
        }
    }
    Ok(reply)
}

#[tonic::async_trait]
impl ObjectService for Objects {
    type IngestStream = Answers;

    async fn ingest(
        &self,
        request: Request<Streaming<v1::IngestRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (door, rows) = (self.context.door(gate::grant(&request)?), gate::rows_served(&request));
        let inbound = request.into_inner().map_ok(IngestInput::from);
        let answers = ingest::run(self.context.clone(), door, Box::pin(inbound));
        let counted =
            answers.inspect_ok(move |answer| rows.add_written(answer.inserted + answer.replaced));
        Ok(Response::new(Box::pin(counted)))
    }

    async fn get_objects(
        &self,
        request: Request<v1::GetObjectsRequest>,
    ) -> Result<Response<v1::GetObjectsResponse>, Status> {
        let deadline = Deadline::new(request.metadata(), self.context.limits.request_time_max);
        let door = self.context.door(gate::grant(&request)?);
        let rows = gate::rows_served(&request);
        let reply =
            deadline.run(self.get(door, self.context.targeted(request.into_inner())?)).await?;
        rows.add(reply.objects.len() as u64);
        Ok(Response::new(reply))
    }

    async fn delete_objects(
        &self,
        request: Request<v1::DeleteObjectsRequest>,
    ) -> Result<Response<v1::DeleteObjectsResponse>, Status> {
        // No deadline of our own: a delete that has begun is carried out, and its caller should learn so.
        let (door, rows) = (self.context.door(gate::grant(&request)?), gate::rows_served(&request));
        let reply = self.delete(door, request.into_inner()).await?;
        rows.add_written(reply.deleted);
        Ok(Response::new(reply))
    }

    async fn count_objects(
        &self,
        request: Request<v1::CountObjectsRequest>,
    ) -> Result<Response<v1::CountObjectsResponse>, Status> {
        let deadline = Deadline::new(request.metadata(), self.context.limits.request_time_max);
        let door = self.context.door(gate::grant(&request)?);
        let count =
            deadline.run(self.count(door, self.context.targeted(request.into_inner())?)).await?;
        Ok(Response::new(v1::CountObjectsResponse { count }))
    }
}
