//! Arrow Flight: objects in bulk, out and in, on the same address as everything else.
//!
//! Descriptors and tickets are a [`FlightCommand`](crate::wire::v1::FlightCommand). What comes out is what
//! [`crate::query::export()`] makes; what comes in takes the way of `ObjectService.Ingest`, so that both keep to the same limits
//! and invariants.

mod command;
mod get;
mod put;

use std::pin::Pin;
use std::sync::Arc;

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::Stream;
use tokio::sync::Semaphore;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status, Streaming};

pub use self::command::collection_of;
use super::context::{Context, blocking};
use super::gate;
use super::{RequestError, ServiceError};
use crate::access::{Grant, Role};
use crate::engine::CollectionView;

/// Exports that run at once; more wait. Each holds a thread and some batches.
const EXPORTS_AT_ONCE: usize = 8;

/// The messages of one answer.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the gate lets through to this service.
type Gated = InterceptedService<
    FlightServiceServer<Flights>,
    fn(Request<()>) -> Result<Request<()>, Status>,
>;

/// Answers Flight calls.
#[derive(Clone)]
pub(super) struct Flights {
    context: Context,
    exports: Arc<Semaphore>,
}

/// The service, with the sizes that its messages keep to.
pub(super) fn service(context: &Context) -> Gated {
    let flights =
        Flights { context: context.clone(), exports: Arc::new(Semaphore::new(EXPORTS_AT_ONCE)) };
    let server = FlightServiceServer::new(flights)
        .max_decoding_message_size(context.limits.ingest_message_bytes_max)
        .max_encoding_message_size(usize::MAX);
    InterceptedService::new(server, gate::open)
}

impl Flights {
    /// What somebody sees of a collection, or of a release of it, which he was granted.
    async fn view(
        &self,
        grant: &Grant,
        collection: &str,
        release: &str,
    ) -> Result<CollectionView, ServiceError> {
        command::check_granted(grant, collection, Role::Read)?;
        let name = match release {
            "" => collection.to_owned(),
            release => format!("{collection}@{release}"),
        };
        let db = self.context.db.clone();
        blocking(move || db.view(&name)).await
    }

    /// The collections that somebody may know of.
    async fn known(&self, grant: &Grant) -> Result<Vec<CollectionView>, ServiceError> {
        if !grant.open {
            return Ok(Vec::new());
        }
        let db = self.context.db.clone();
        blocking(move || -> Result<_, ServiceError> {
            let infos = db.collections()?.into_iter();
            let names = infos.map(|info| info.schema.name).filter(|name| !name.contains('@'));
            // One that was dropped meanwhile is not there.
            Ok(names.filter_map(|name| db.view(&name).ok()).collect())
        })
        .await
    }
}

#[tonic::async_trait]
impl FlightService for Flights {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        let grant = gate::grant(&request)?;
        let views = self.known(&grant).await?;
        let infos: Vec<_> = views.iter().map(|view| Ok(get::listed(view)?)).collect();
        Ok(Response::new(Box::pin(futures::stream::iter(infos))))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let grant = gate::grant(&request)?;
        Ok(Response::new(self.info(&grant, request.into_inner()).await?))
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let grant = gate::grant(&request)?;
        let schema = self.schema(&grant, request.get_ref()).await?;
        Ok(Response::new(SchemaResult { schema }))
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        let (grant, served) = (gate::grant(&request)?, gate::rows_served(&request));
        Ok(Response::new(self.export(&grant, served, request.into_inner()).await?))
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let (grant, served) = (gate::grant(&request)?, gate::rows_served(&request));
        Ok(Response::new(self.ingest(&grant, served, request.into_inner()).await?))
    }

    async fn handshake(
        &self,
        _request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let what = "a handshake: send the token with every call, as `authorization: Bearer TOKEN`";
        Err(ServiceError::Unsupported { what }.into())
    }

    async fn poll_flight_info(
        &self,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        let what = "polling: GetFlightInfo answers at once";
        Err(ServiceError::Unsupported { what }.into())
    }

    async fn do_exchange(
        &self,
        _request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        let what = "an exchange: DoGet exports, DoPut ingests, and SearchService searches";
        Err(ServiceError::Unsupported { what }.into())
    }

    async fn do_action(
        &self,
        _request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        let what = "actions: the other services of this server have what is not DoGet or DoPut";
        Err(ServiceError::Unsupported { what }.into())
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        gate::grant(&request)?;
        Ok(Response::new(Box::pin(futures::stream::empty())))
    }
}
