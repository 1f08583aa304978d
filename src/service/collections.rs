//! `CollectionService`: names, schemas and counts of collections.

use tonic::{Request, Response, Status};

use super::context::{Context, blocking};
use super::door::Door;
use super::encoding::Workers;
use super::{RequestError, ServiceError, convert, encoding, gate};
use crate::access::Grant;
use crate::engine::{CollectionInfo, EngineError};
use crate::probes;
use crate::schema::{AtIngest, CollectionSchema, EmbeddingSpace, split_release};
use crate::wire::v1;
use crate::wire::v1::collection_service_server::CollectionService;

/// Creates, lists, extends and drops collections.
#[derive(Clone)]
pub(super) struct Collections {
    context: Context,
}

impl Collections {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    async fn create(
        &self,
        grant: Grant,
        request: v1::CreateCollectionRequest,
    ) -> Result<v1::Collection, ServiceError> {
        let schema = request.schema.ok_or(RequestError::Missing { field: "schema" })?;
        let mut schema = convert::collection_schema(schema)?;
        // Making one is granted for the name that it will have, or for the server.
        if grant.collection.is_some() {
            self.context.door(grant).check(&schema.name)?;
        }
        for space in std::mem::take(&mut schema.spaces) {
            schema.spaces.push(encoding::declared(&self.context, &schema, space).await?);
        }
        tracing::info!(collection = schema.name, "creating a collection");
        let (db, name) = (self.context.db.clone(), schema.name.clone());
        let info = Workers::changing(&self.context, &name, move || {
            let info = db.create_collection(schema)?;
            probes::refresh(&db, &info.schema.name)?;
            Ok(info)
        });
        Ok(self.told(info.await?))
    }

    fn told(&self, info: CollectionInfo) -> v1::Collection {
        let encoding = self.context.at_ingest.told(&info);
        v1::Collection { encoding, ..convert::collection(info) }
    }

    /// A collection after a change, as its caller sees it.
    async fn told_to(
        &self,
        door: Door,
        info: CollectionInfo,
    ) -> Result<v1::Collection, ServiceError> {
        if !door.is_restricted() {
            return Ok(self.told(info));
        }
        // How far encoding is tells of all objects, and is left out.
        Ok(convert::collection(blocking(move || door.shown(info)).await?))
    }

    async fn list(&self, grant: Grant) -> Result<Vec<v1::Collection>, ServiceError> {
        let context = self.context.clone();
        let known = blocking(move || context.known(&grant)).await?;
        let mut collections = Vec::with_capacity(known.len());
        for (door, info) in known {
            collections.push(self.told_to(door, info).await?);
        }
        Ok(collections)
    }

    async fn get(&self, door: Door, name: String) -> Result<v1::Collection, ServiceError> {
        let own = door.clone();
        let info = blocking(move || own.info(&name)).await?;
        Ok(if door.is_restricted() { convert::collection(info) } else { self.told(info) })
    }

    async fn drop_named(
        &self,
        door: Door,
        request: v1::DropCollectionRequest,
    ) -> Result<(), ServiceError> {
        let v1::DropCollectionRequest { name, with_releases } = request;
        door.check(&name)?;
        tracing::info!(collection = name, with_releases, "dropping a collection");
        let db = self.context.db.clone();
        let registry = self.context.registry.clone();
        let bridges = self.context.bridges.clone();
        let dropped = name.clone();
        let drop = Workers::changing(&self.context, &dropped, move || {
            registry.drop_collection(&name, |records| {
                let records = records.iter().map(|(kind, name)| ((*kind).into(), name.clone()));
                db.drop_with_records(&name, with_releases, &records.collect::<Vec<_>>())
            })?;
            bridges.forget_collection(&name);
            Ok(())
        });
        drop.await
    }

    async fn add(
        &self,
        door: Door,
        request: v1::AddSpaceRequest,
    ) -> Result<v1::Collection, ServiceError> {
        door.check(&request.collection)?;
        let space = request.space.ok_or(RequestError::Missing { field: "space" })?;
        let space = convert::space(space)?;
        let name = request.collection;
        let schema = self.context.schema(&name).await?;
        let space = encoding::declared(&self.context, &schema, space).await?;
        tracing::info!(collection = name, space = space.name, "adding an embedding space");
        let (db, changed) = (self.context.db.clone(), name.clone());
        let info = Workers::changing(&self.context, &changed, move || {
            let (added, at_ingest) = (space.name.clone(), space.at_ingest.clone());
            let info = db.add_space(&name, space)?;
            // Spaces that are declared shared have a column of their own.
            probes::refresh(&db, &name)?;
            // One that was there already may have been filled otherwise.
            match at_ingest {
                Some(_) => Ok(db.set_at_ingest(&name, &added, at_ingest)?),
                None => Ok(info),
            }
        });
        let info = info.await?;
        self.told_to(door, info).await
    }

    async fn set_at_ingest(
        &self,
        door: Door,
        request: v1::SetEncodeAtIngestRequest,
    ) -> Result<v1::Collection, ServiceError> {
        door.check(&request.collection)?;
        let v1::SetEncodeAtIngestRequest { collection, space, encode_at_ingest, inputs } = request;
        // A release is never written to, so that there is nothing to turn off either; it has a schema of its own.
        if split_release(&collection).is_some() {
            return Err(EngineError::NoCollection { name: collection }.into());
        }
        let at_ingest = if encode_at_ingest {
            let schema = self.context.schema(&collection).await?;
            let found = schema.space(&space).cloned();
            let found = found.ok_or_else(|| no_space(&schema, &space))?;
            let wanted = Some(AtIngest { inputs: inputs.into_iter().collect() });
            let wanted = EmbeddingSpace { at_ingest: wanted, ..found };
            encoding::declared(&self.context, &schema, wanted).await?.at_ingest
        } else if inputs.is_empty() {
            None
        } else {
            return Err(RequestError::InputsOfNothing { space }.into());
        };
        tracing::info!(collection, space, encode_at_ingest, "encoding at ingest");
        let (db, changed) = (self.context.db.clone(), collection.clone());
        let info = Workers::changing(&self.context, &changed, move || {
            Ok(db.set_at_ingest(&collection, &space, at_ingest)?)
        });
        let info = info.await?;
        self.told_to(door, info).await
    }
}

fn no_space(schema: &CollectionSchema, space: &str) -> RequestError {
    let known: Vec<&str> = schema.spaces.iter().map(|space| space.name.as_str()).collect();
    RequestError::UnknownSpace {
        collection: schema.name.clone(),
        space: space.to_owned(),
        known: known.join(", "),
    }
}

#[tonic::async_trait]
impl CollectionService for Collections {
    async fn create_collection(
        &self,
        request: Request<v1::CreateCollectionRequest>,
    ) -> Result<Response<v1::CreateCollectionResponse>, Status> {
        let grant = gate::grant(&request)?;
        let collection = Some(self.create(grant, request.into_inner()).await?);
        Ok(Response::new(v1::CreateCollectionResponse { collection }))
    }

    async fn list_collections(
        &self,
        request: Request<v1::ListCollectionsRequest>,
    ) -> Result<Response<v1::ListCollectionsResponse>, Status> {
        let collections = self.list(gate::grant(&request)?).await?;
        Ok(Response::new(v1::ListCollectionsResponse { collections }))
    }

    async fn get_collection(
        &self,
        request: Request<v1::GetCollectionRequest>,
    ) -> Result<Response<v1::GetCollectionResponse>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let name = self.context.targeted(request.into_inner())?.name;
        let collection = Some(self.get(door, name).await?);
        Ok(Response::new(v1::GetCollectionResponse { collection }))
    }

    async fn drop_collection(
        &self,
        request: Request<v1::DropCollectionRequest>,
    ) -> Result<Response<v1::DropCollectionResponse>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        self.drop_named(door, request.into_inner()).await?;
        Ok(Response::new(v1::DropCollectionResponse {}))
    }

    async fn add_space(
        &self,
        request: Request<v1::AddSpaceRequest>,
    ) -> Result<Response<v1::AddSpaceResponse>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let collection = Some(self.add(door, request.into_inner()).await?);
        Ok(Response::new(v1::AddSpaceResponse { collection }))
    }

    async fn set_encode_at_ingest(
        &self,
        request: Request<v1::SetEncodeAtIngestRequest>,
    ) -> Result<Response<v1::SetEncodeAtIngestResponse>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let collection = Some(self.set_at_ingest(door, request.into_inner()).await?);
        Ok(Response::new(v1::SetEncodeAtIngestResponse { collection }))
    }
}
