//! What a Flight call asks for, and of which collection.

use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::{FlightData, FlightDescriptor, Ticket};
use prost::Message;

use super::{RequestError, ServiceError};
use crate::access::{Grant, Role};
use crate::engine::EngineError;
use crate::wire::v1;
use crate::wire::v1::flight_command::Command;

/// Path of the service, before the name of a method.
const SERVICE_PATH: &str = "/arrow.flight.protocol.FlightService/";

/// The collection that a Flight call names in its first message; `None` for calls that name none, and for messages that
/// cannot be read. A decision on the call is a decision on this collection.
pub fn collection_of(path: &str, first_message: &[u8]) -> Option<String> {
    let command = match path.strip_prefix(SERVICE_PATH)? {
        "DoGet" => of_ticket(&Ticket::decode(first_message).ok()?),
        "GetFlightInfo" | "GetSchema" => {
            of_descriptor(&FlightDescriptor::decode(first_message).ok()?)
        }
        "DoPut" => {
            of_descriptor(FlightData::decode(first_message).ok()?.flight_descriptor.as_ref()?)
        }
        _ => return None,
    };
    match command.ok()? {
        Command::Export(export) => Some(export.collection),
        Command::Ingest(ingest) => Some(ingest.collection),
    }
}

/// Reads the command of a descriptor; a path of one name is an export of a collection.
pub(super) fn of_descriptor(descriptor: &FlightDescriptor) -> Result<Command, RequestError> {
    if descriptor.r#type == DescriptorType::Path as i32 {
        let [collection] = descriptor.path.as_slice() else {
            return Err(unreadable("a path is the name of one collection"));
        };
        let export = v1::FlightExport { collection: collection.clone(), ..Default::default() };
        return Ok(Command::Export(export));
    }
    of_bytes(&descriptor.cmd)
}

/// Reads the command of a ticket.
pub(super) fn of_ticket(ticket: &Ticket) -> Result<Command, RequestError> {
    of_bytes(&ticket.ticket)
}

fn of_bytes(bytes: &[u8]) -> Result<Command, RequestError> {
    let command =
        v1::FlightCommand::decode(bytes).map_err(|error| unreadable(&error.to_string()))?;
    command.command.ok_or_else(|| unreadable("it is empty"))
}

/// The export that a command is.
pub(super) fn export(command: Command) -> Result<v1::FlightExport, RequestError> {
    match command {
        Command::Export(export) => Ok(export),
        Command::Ingest(_) => Err(unreadable("it is an ingest, which is what DoPut takes")),
    }
}

/// The ingest that a command is.
pub(super) fn ingest(command: Command) -> Result<v1::FlightIngest, RequestError> {
    match command {
        Command::Ingest(ingest) => Ok(ingest),
        Command::Export(_) => Err(unreadable("it is an export, which is what DoGet takes")),
    }
}

fn unreadable(reason: &str) -> RequestError {
    RequestError::BadFlightCommand { reason: reason.to_owned() }
}

/// Refuses a collection that is not the one that the decision was about, in the words for one that there is not; and what
/// takes a greater role than was given. Releases have names that no client may write.
pub(super) fn check_granted(
    grant: &Grant,
    collection: &str,
    needed: Role,
) -> Result<(), ServiceError> {
    let is_decided = grant.open || grant.collection.as_deref() == Some(collection);
    if is_decided && grant.role >= needed && !collection.contains('@') {
        return Ok(());
    }
    Err(EngineError::NoCollection { name: collection.to_owned() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(command: Command) -> Vec<u8> {
        v1::FlightCommand { command: Some(command) }.encode_to_vec()
    }

    fn export_of(collection: &str) -> Vec<u8> {
        let collection = collection.to_owned();
        command(Command::Export(v1::FlightExport { collection, ..Default::default() }))
    }

    fn path_of(method: &str) -> String {
        format!("{SERVICE_PATH}{method}")
    }

    #[test]
    fn the_collection_is_found_in_the_first_message_of_every_call_that_names_one() {
        let ticket = Ticket::new(export_of("stars")).encode_to_vec();
        assert_eq!(collection_of(&path_of("DoGet"), &ticket).as_deref(), Some("stars"));
        let descriptor = FlightDescriptor::new_cmd(export_of("stars")).encode_to_vec();
        for method in ["GetFlightInfo", "GetSchema"] {
            assert_eq!(collection_of(&path_of(method), &descriptor).as_deref(), Some("stars"));
        }
        let path = FlightDescriptor::new_path(vec!["stars".to_owned()]).encode_to_vec();
        assert_eq!(collection_of(&path_of("GetSchema"), &path).as_deref(), Some("stars"));
        let collection = "stars".to_owned();
        let ingest =
            command(Command::Ingest(v1::FlightIngest { collection, ..Default::default() }));
        let first = FlightData::new().with_descriptor(FlightDescriptor::new_cmd(ingest));
        let first = first.with_data_body(vec![7_u8; 100]).encode_to_vec();
        assert_eq!(collection_of(&path_of("DoPut"), &first).as_deref(), Some("stars"));
    }

    #[test]
    fn a_call_that_names_no_collection_has_none() {
        let ticket = Ticket::new(export_of("stars")).encode_to_vec();
        assert_eq!(collection_of(&path_of("ListFlights"), &ticket), None);
        assert_eq!(collection_of("/sidereus.v1.SearchService/Search", &ticket), None);
        for bytes in [&b""[..], b"\xff\xff\xff", b"\x0a\x03abc"] {
            assert_eq!(collection_of(&path_of("DoGet"), bytes), None);
            assert_eq!(collection_of(&path_of("DoPut"), bytes), None);
        }
        let paths = vec!["stars".to_owned(), "galaxies".to_owned()];
        let two = FlightDescriptor::new_path(paths).encode_to_vec();
        assert_eq!(collection_of(&path_of("GetFlightInfo"), &two), None);
    }

    #[test]
    fn a_grant_of_one_collection_is_none_of_another() {
        let mut grant = Grant::open(Some("stars"));
        assert!(check_granted(&grant, "galaxies", Role::Ingest).is_ok());
        assert!(check_granted(&grant, "stars@dr1", Role::Read).is_err());
        grant.open = false;
        grant.role = Role::Read;
        assert!(check_granted(&grant, "stars", Role::Read).is_ok());
        assert!(check_granted(&grant, "stars", Role::Ingest).is_err());
        assert!(check_granted(&grant, "galaxies", Role::Read).is_err());
        grant.collection = None;
        assert!(check_granted(&grant, "stars", Role::Read).is_err());
    }
}
