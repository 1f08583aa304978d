//! `ObjectService`: objects by id, and how many there are.

use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::context::{Context, blocking};
use super::deadline::Deadline;
use super::ingest::{self, Answers};
use super::limits::at_most;
use super::search::StopWhenDropped;
use super::{ServiceError, convert};
use crate::engine::{Db, Write, WriteMode, WriteOutcome};
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
        request: v1::GetObjectsRequest,
    ) -> Result<v1::GetObjectsResponse, ServiceError> {
        let limits = &self.context.limits;
        at_most("ids", request.ids.len(), limits.ids_max)?;
        let db = self.context.db.clone();
        let bytes_max = limits.reply_bytes_max;
        blocking(move || get_pages(&db, request, bytes_max)).await
    }

    async fn delete(
        &self,
        request: v1::DeleteObjectsRequest,
    ) -> Result<v1::DeleteObjectsResponse, ServiceError> {
        at_most("ids", request.ids.len(), self.context.limits.ids_max)?;
        let db = self.context.db.clone();
        blocking(move || delete_all(&db, request)).await
    }

    async fn count(&self, request: v1::CountObjectsRequest) -> Result<u64, ServiceError> {
        let limits = &self.context.limits;
        let region = request.region.map(|region| convert::region(limits, region)).transpose()?;
        let predicate = convert::predicate(limits, request.predicate)?;
        let turn = self.context.search_turn().await?;
        let db = self.context.db.clone();
        let stop = StopFlag::default();
        let _stop = StopWhenDropped(stop.clone());
        blocking(move || -> Result<u64, ServiceError> {
            let _turn = turn;
            let view = db.view(&request.collection)?;
            Ok(query::count(&view, region.as_ref(), predicate.as_deref(), &stop)?)
        })
        .await
    }
}

fn get_pages(
    db: &Db,
    request: v1::GetObjectsRequest,
    bytes_max: usize,
) -> Result<v1::GetObjectsResponse, ServiceError> {
    let schema = db.schema(&request.collection)?;
    let ids = convert::object_ids(&schema, request.ids)?;
    let mut reply = v1::GetObjectsResponse::default();
    let mut bytes = 0;
    let with_tokens = schema.spaces.iter().filter(|space| !space.holds_vectors());
    let with_tokens: Vec<&EmbeddingSpace> = with_tokens.filter(|_| request.with_vectors).collect();
    let page = if with_tokens.is_empty() { PAGE } else { TOKENS_PAGE };
    for page in ids.chunks(page) {
        let found = db.get(&request.collection, page)?;
        let mut tokens = Vec::with_capacity(with_tokens.len());
        for space in &with_tokens {
            let found = db.tokens(&request.collection, space.id, page)?;
            tokens.push((space.name.as_str(), found.into_iter()));
        }
        for (id, object) in page.iter().zip(found) {
            let tokens: Vec<_> = tokens
                .iter_mut()
                .filter_map(|(name, found)| Some(((*name).to_owned(), found.next()??)))
                .collect();
            let Some(object) = object else {
                reply.missing.push(convert::object_id_of(id.clone()));
                continue;
            };
            let mut object = convert::object_of(&schema, object, request.with_vectors);
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
    db: &Db,
    request: v1::DeleteObjectsRequest,
) -> Result<v1::DeleteObjectsResponse, ServiceError> {
    let schema = db.schema(&request.collection)?;
    let ids: Vec<ObjectId> = convert::object_ids(&schema, request.ids)?;
    let mut reply = v1::DeleteObjectsResponse::default();
    if ids.is_empty() {
        return Ok(reply);
    }
    let writes = ids.into_iter().map(Write::Delete).collect();
    let report = db.write(&request.collection, WriteMode::Logged, writes)?;
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
        Ok(Response::new(ingest::run(self.context.clone(), Box::pin(request.into_inner()))))
    }

    async fn get_objects(
        &self,
        request: Request<v1::GetObjectsRequest>,
    ) -> Result<Response<v1::GetObjectsResponse>, Status> {
        let deadline = Deadline::new(request.metadata(), self.context.limits.request_time_max);
        Ok(Response::new(deadline.run(self.get(request.into_inner())).await?))
    }

    async fn delete_objects(
        &self,
        request: Request<v1::DeleteObjectsRequest>,
    ) -> Result<Response<v1::DeleteObjectsResponse>, Status> {
        // No deadline of our own: a delete that has begun is carried out, and its caller should learn so.
        Ok(Response::new(self.delete(request.into_inner()).await?))
    }

    async fn count_objects(
        &self,
        request: Request<v1::CountObjectsRequest>,
    ) -> Result<Response<v1::CountObjectsResponse>, Status> {
        let deadline = Deadline::new(request.metadata(), self.context.limits.request_time_max);
        let count = deadline.run(self.count(request.into_inner())).await?;
        Ok(Response::new(v1::CountObjectsResponse { count }))
    }
}
