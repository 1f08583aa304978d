//! `CollectionService`: names, schemas and counts of collections.

use tonic::{Request, Response, Status};

use super::context::{Context, blocking};
use super::{RequestError, ServiceError, convert};
use crate::probes;
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
        request: v1::CreateCollectionRequest,
    ) -> Result<v1::Collection, ServiceError> {
        let schema = request.schema.ok_or(RequestError::Missing { field: "schema" })?;
        let schema = convert::collection_schema(schema)?;
        tracing::info!(collection = schema.name, "creating a collection");
        let db = self.context.db.clone();
        let info = blocking(move || -> Result<_, ServiceError> {
            let info = db.create_collection(schema)?;
            probes::refresh(&db, &info.schema.name)?;
            Ok(info)
        });
        Ok(convert::collection(info.await?))
    }

    async fn list(&self) -> Result<Vec<v1::Collection>, ServiceError> {
        let db = self.context.db.clone();
        let infos = blocking(move || db.collections()).await?;
        Ok(infos.into_iter().map(convert::collection).collect())
    }

    async fn get(&self, name: String) -> Result<v1::Collection, ServiceError> {
        let db = self.context.db.clone();
        let info = blocking(move || db.collection(&name)).await?;
        Ok(convert::collection(info))
    }

    async fn drop_named(&self, name: String) -> Result<(), ServiceError> {
        tracing::info!(collection = name, "dropping a collection");
        let db = self.context.db.clone();
        blocking(move || db.drop_collection(&name)).await
    }

    async fn add(&self, request: v1::AddSpaceRequest) -> Result<v1::Collection, ServiceError> {
        let space = request.space.ok_or(RequestError::Missing { field: "space" })?;
        let space = convert::space(space)?;
        let db = self.context.db.clone();
        let name = request.collection;
        tracing::info!(collection = name, space = space.name, "adding an embedding space");
        let info = blocking(move || -> Result<_, ServiceError> {
            let info = db.add_space(&name, space)?;
            // Spaces that are declared shared have a column of their own.
            probes::refresh(&db, &name)?;
            Ok(info)
        });
        Ok(convert::collection(info.await?))
    }
}

#[tonic::async_trait]
impl CollectionService for Collections {
    async fn create_collection(
        &self,
        request: Request<v1::CreateCollectionRequest>,
    ) -> Result<Response<v1::CreateCollectionResponse>, Status> {
        let collection = Some(self.create(request.into_inner()).await?);
        Ok(Response::new(v1::CreateCollectionResponse { collection }))
    }

    async fn list_collections(
        &self,
        _request: Request<v1::ListCollectionsRequest>,
    ) -> Result<Response<v1::ListCollectionsResponse>, Status> {
        let collections = self.list().await?;
        Ok(Response::new(v1::ListCollectionsResponse { collections }))
    }

    async fn get_collection(
        &self,
        request: Request<v1::GetCollectionRequest>,
    ) -> Result<Response<v1::GetCollectionResponse>, Status> {
        let collection = Some(self.get(request.into_inner().name).await?);
        Ok(Response::new(v1::GetCollectionResponse { collection }))
    }

    async fn drop_collection(
        &self,
        request: Request<v1::DropCollectionRequest>,
    ) -> Result<Response<v1::DropCollectionResponse>, Status> {
        self.drop_named(request.into_inner().name).await?;
        Ok(Response::new(v1::DropCollectionResponse {}))
    }

    async fn add_space(
        &self,
        request: Request<v1::AddSpaceRequest>,
    ) -> Result<Response<v1::AddSpaceResponse>, Status> {
        let collection = Some(self.add(request.into_inner()).await?);
        Ok(Response::new(v1::AddSpaceResponse { collection }))
    }
}
