//! Arrow Flight: objects in bulk, out and in, on the same address as everything else.
//!
//! Descriptors and tickets are a [`FlightCommand`](crate::wire::v1::FlightCommand). What comes out is what
//! [`crate::query::export()`] makes; what comes in takes the way of `ObjectService.Ingest`, so that both keep to the same limits
//! and invariants. Which collection a call may touch is decided at the gate, and both ways lead through the door: what
//! somebody may not see is not exported, counted, or written over.

mod command;
mod get;
mod put;
mod reader;

use std::pin::Pin;

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::context::{Context, blocking};
use super::deadline::Deadline;
use super::gate;
use super::{RequestError, ServiceError};
use crate::access::Grant;
use crate::engine::CollectionView;
use crate::schema::split_release;
use crate::wire::v1;

/// The messages of one answer.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers Flight calls.
#[derive(Clone)]
pub(super) struct Flights {
    context: Context,
}

/// The service, with the sizes that its messages keep to.
pub(super) fn service(context: &Context) -> FlightServiceServer<Flights> {
    FlightServiceServer::new(Flights { context: context.clone() })
        .max_decoding_message_size(context.limits.ingest_message_bytes_max)
        .max_encoding_message_size(usize::MAX)
}

impl Flights {
    /// What somebody sees of the collection that he wants exported, or of a release of it.
    async fn view(
        &self,
        grant: &Grant,
        asked: v1::FlightExport,
    ) -> Result<CollectionView, ServiceError> {
        let door = self.context.door(grant.clone());
        // Of what was not granted nobody is told even whether there is such a release.
        door.check(&asked.collection)?;
        let v1::FlightExport { collection, .. } = self.context.targeted(asked)?;
        blocking(move || door.view(&collection)).await
    }

    /// The collections that somebody may know of, as far as he sees them.
    async fn known(&self, grant: Grant) -> Result<Vec<CollectionView>, ServiceError> {
        let context = self.context.clone();
        blocking(move || -> Result<_, ServiceError> {
            let mut known = context.known(&grant)?;
            known.retain(|(_, info)| split_release(&info.schema.name).is_none());
            // One that was dropped meanwhile is not there.
            let views = known.iter().filter_map(|(door, info)| door.view(&info.schema.name).ok());
            Ok(views.collect())
        })
        .await
    }

    fn deadline<T>(&self, request: &Request<T>) -> Deadline {
        Deadline::new(request.metadata(), self.context.limits.request_time_max)
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
        let views = self.deadline(&request).run(self.known(grant)).await?;
        let infos: Vec<_> = views.iter().map(|view| Ok(get::listed(view)?)).collect();
        Ok(Response::new(Box::pin(futures::stream::iter(infos))))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let (grant, deadline) = (gate::grant(&request)?, self.deadline(&request));
        Ok(Response::new(deadline.run(self.info(&grant, request.into_inner())).await?))
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let grant = gate::grant(&request)?;
        let schema = self.deadline(&request).run(self.schema(&grant, request.get_ref())).await?;
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
