//! Objects out: what there is, and the streams of it.

use std::ops::Range;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::{
    FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, IpcMessage, SchemaAsIpc, Ticket,
};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use prost::bytes::Bytes;
use tokio::runtime::Handle;
use tonic::Status;

use super::reader::{READER_PATIENCE, Reader, fed};
use super::{Answers, Flights, command};
use crate::access::{Grant, Registry, Role, Rows};
use crate::engine::{CollectionView, EngineError};
use crate::query::{self, Export, StopFlag};
use crate::service::admission::{Caller, Cost, Work};
use crate::service::context::in_turn;
use crate::service::convert;
use crate::service::gate::RowsServed;
use crate::service::limits::{FIXED, Limits, at_most};
use crate::service::search::StopWhenDropped;
use crate::service::telemetry::watched;
use crate::service::{RequestError, ServiceError};
use crate::sky::Cell29;
use crate::wire::v1;
use crate::wire::v1::flight_command::Command;

/// Tickets of one answer.
const ENDPOINTS_MAX: usize = 64;

/// Columns and spaces of one export.
const NAMES_MAX: usize = 10_000;

/// Bytes of one message, about: batches are cut into as many.
const MESSAGE_BYTES: usize = 2 << 20;

/// Reads and checks what is to be exported.
pub(super) fn read(limits: &Limits, asked: v1::FlightExport) -> Result<Export, RequestError> {
    at_most("columns", FIXED, asked.columns.len(), NAMES_MAX)?;
    at_most("spaces", FIXED, asked.spaces.len(), NAMES_MAX)?;
    let cells = asked.cells.map_or(0..Cell29::COUNT, |cells| cells.start..cells.end);
    let columns = (asked.without_columns || !asked.columns.is_empty()).then_some(asked.columns);
    Ok(Export {
        region: asked.region.map(|region| convert::region(limits, region)).transpose()?,
        predicate: convert::predicate(limits, asked.predicate)?,
        columns,
        spaces: asked.spaces,
        cells,
        stop: StopFlag::default(),
    })
}

/// A collection as it is listed: an export of its default columns.
pub(super) fn listed(view: &CollectionView) -> Result<FlightInfo, ServiceError> {
    let collection = view.schema().name.clone();
    let asked = v1::FlightExport { collection: collection.clone(), ..Default::default() };
    let schema = query::export_schema(view, &Export::all())?;
    Ok(FlightInfo::new()
        .with_descriptor(FlightDescriptor::new_path(vec![collection]))
        .with_endpoint(endpoint(asked))
        .with_total_records(i64::try_from(view.live_count()).unwrap_or(i64::MAX))
        .with_ordered(true)
        .with_schema_bytes(schema_bytes(&schema)?))
}

/// A schema as Flight sends it.
pub(super) fn schema_bytes(schema: &Schema) -> Result<Bytes, ServiceError> {
    let message = SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into();
    let IpcMessage(bytes) = message.map_err(EngineError::from)?;
    Ok(bytes)
}

trait WithSchemaBytes {
    fn with_schema_bytes(self, schema: Bytes) -> Self;
}

impl WithSchemaBytes for FlightInfo {
    fn with_schema_bytes(mut self, schema: Bytes) -> Self {
        self.schema = schema;
        self
    }
}

fn endpoint(asked: v1::FlightExport) -> FlightEndpoint {
    let command = v1::FlightCommand { command: Some(Command::Export(asked)) };
    FlightEndpoint::new().with_ticket(Ticket::new(command.encode_to_vec()))
}

/// Cuts cells evenly, whatever there is in them.
fn even_shares(cells: &Range<u64>, wanted: usize) -> Vec<Range<u64>> {
    let length = cells.end.saturating_sub(cells.start);
    let wanted = (wanted as u64).clamp(1, length.max(1));
    let bound = |share: u64| {
        cells.start + (u128::from(length) * u128::from(share) / u128::from(wanted)) as u64
    };
    (0..wanted).map(|share| bound(share)..bound(share + 1)).collect()
}

/// Whether somebody still sees what he saw when his export began.
fn recheck(registry: Registry, grant: Grant) -> impl Fn() -> Result<(), ServiceError> + Send {
    move || {
        let now = registry.renew(&grant, Role::Read)?;
        if now.rows == grant.rows || now.rows == Rows::All {
            return Ok(());
        }
        let collection = grant.collection.as_deref().unwrap_or_default().to_owned();
        Err(ServiceError::SightChanged { collection })
    }
}

impl Flights {
    /// The schema of an export.
    pub(super) async fn schema(
        &self,
        grant: &Grant,
        descriptor: &FlightDescriptor,
    ) -> Result<Bytes, ServiceError> {
        let asked = command::export(command::of_descriptor(descriptor)?)?;
        let view = self.view(grant, asked.clone()).await?;
        let export = read(&self.context.limits, asked)?;
        let schema = query::export_schema(&view, &export)?;
        schema_bytes(&schema)
    }

    /// The schema of an export, its rows, and the tickets for it.
    pub(super) async fn info(
        &self,
        grant: &Grant,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo, ServiceError> {
        let asked = command::export(command::of_descriptor(&descriptor)?)?;
        let wanted = (asked.endpoints as usize).max(1);
        at_most("endpoints", FIXED, wanted, ENDPOINTS_MAX)?;
        let view = self.view(grant, asked.clone()).await?;
        let export = read(&self.context.limits, asked.clone())?;
        let turn = self.context.search_turn(Cost::of(Work::Count, None)).await?;
        let _stop = StopWhenDropped(export.stop.clone());
        // Where rows lie that somebody may not see is nothing that tickets may tell.
        let sees_all = !view.is_restricted();
        in_turn(turn, move |_| -> Result<FlightInfo, ServiceError> {
            let schema = query::export_schema(&view, &export)?;
            let shares = if sees_all {
                query::export_shares(&view, &export, wanted)
            } else {
                even_shares(&export.cells, wanted)
            };
            let endpoints = shares.into_iter().map(|cells| {
                let cells = Some(v1::CellRange { start: cells.start, end: cells.end });
                endpoint(v1::FlightExport { cells, endpoints: 0, ..asked.clone() })
            });
            let count = query::export_count(&view, &export)?;
            Ok(FlightInfo::new()
                .with_descriptor(descriptor)
                .with_endpoints(endpoints.collect())
                .with_total_records(i64::try_from(count).unwrap_or(i64::MAX))
                .with_ordered(true)
                .with_schema_bytes(schema_bytes(&schema)?))
        })
        .await
    }

    /// Begins an export. The rows are read as the reader takes them.
    pub(super) async fn export(
        &self,
        grant: &Grant,
        served: RowsServed,
        ticket: Ticket,
    ) -> Result<Answers<FlightData>, ServiceError> {
        let asked = command::export(command::of_ticket(&ticket)?)?;
        let caller = Caller::current();
        let turn = tokio::select! {
            turn = self.context.admission.export(caller.as_ref()) => turn?,
            () = self.context.stopping.cancelled() => return Err(ServiceError::Stopping),
        };
        let view = self.view(grant, asked.clone()).await?;
        let export = read(&self.context.limits, asked)?;
        let schema: SchemaRef = query::export_schema(&view, &export)?;
        let stop = StopWhenDropped(export.stop.clone());
        let reader = Reader {
            served,
            caller,
            recheck: Box::new(recheck(self.context.registry.clone(), grant.clone())),
            handle: Handle::current(),
            stopping: self.context.stop.streams.clone(),
            patience: READER_PATIENCE,
        };
        let batches = fed(move |sender| {
            let _turn = turn;
            reader.feed(sender, &view, &export)
        });
        let batches = batches.map_err(|error| FlightError::Tonic(Box::new(Status::from(error))));
        let encoded = FlightDataEncoderBuilder::new()
            .with_schema(schema)
            .with_max_flight_data_size(MESSAGE_BYTES)
            .build(batches);
        Ok(Box::pin(watched(encoded.map(move |message| {
            // A reader who goes takes the stream along, and the stream this.
            let _while_read = &stop;
            message.map_err(Status::from)
        }))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_shares_cover_the_cells_without_overlap() {
        for (cells, wanted) in [(0..Cell29::COUNT, 7), (5..8, 10), (5..5, 3), (3..100, 1)] {
            let shares = even_shares(&cells, wanted);
            assert_eq!(shares.first().map(|share| share.start), Some(cells.start));
            assert_eq!(shares.last().map(|share| share.end), Some(cells.end));
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(shares.len() <= wanted);
        }
    }

    #[test]
    fn an_export_names_no_columns_only_when_it_says_so() {
        let limits = Limits::default();
        let asked = v1::FlightExport::default();
        assert_eq!(read(&limits, asked.clone()).expect("an export").columns, None);
        let bare = v1::FlightExport { without_columns: true, ..asked.clone() };
        assert_eq!(read(&limits, bare).expect("an export").columns, Some(Vec::new()));
        let endless = v1::FlightExport { columns: vec![String::new(); NAMES_MAX + 1], ..asked };
        assert!(read(&limits, endless).is_err());
    }
}
