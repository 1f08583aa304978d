//! What a Flight call asks for. Of which collection is decided on at the gate, which reads the same messages.

use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::{FlightDescriptor, Ticket};
use prost::Message;

use super::RequestError;
use crate::wire::v1;
use crate::wire::v1::flight_command::Command;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(command: Command) -> Vec<u8> {
        v1::FlightCommand { command: Some(command) }.encode_to_vec()
    }

    #[test]
    fn a_path_of_one_name_is_an_export_and_others_are_nothing() {
        let path = |names: &[&str]| {
            FlightDescriptor::new_path(names.iter().map(|name| (*name).to_owned()).collect())
        };
        let read = |descriptor: &FlightDescriptor| of_descriptor(descriptor).and_then(export);
        let stars = v1::FlightExport { collection: "stars".to_owned(), ..Default::default() };
        assert_eq!(read(&path(&["stars"])).ok().as_ref(), Some(&stars));
        let command = FlightDescriptor::new_cmd(bytes(Command::Export(stars.clone())));
        assert_eq!(read(&command).ok(), Some(stars));
        assert!(read(&path(&[])).is_err());
        assert!(read(&path(&["stars", "galaxies"])).is_err());
    }

    #[test]
    fn what_goes_out_is_no_command_of_what_comes_in() {
        let ingest = Ticket::new(bytes(Command::Ingest(v1::FlightIngest::default())));
        assert!(of_ticket(&ingest).and_then(export).is_err());
        let export = Ticket::new(bytes(Command::Export(v1::FlightExport::default())));
        assert!(of_ticket(&export).and_then(super::ingest).is_err());
        for bytes in [&b""[..], b"\xff\xff\xff", b"\x0a\x03abc"] {
            assert!(of_ticket(&Ticket::new(bytes)).is_err());
        }
    }
}
