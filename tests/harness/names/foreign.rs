//! Services that others have defined, which the compiled protocol does not describe.

use super::super::rules::{Field, Fields, Protocol, TEXT};
use super::message::{BYTES, MESSAGE};

const ENUM: u64 = 14;
const INT32: u64 = 5;

/// A field: its name, number and type, and the name of its message.
type Described = (&'static str, u32, u64, &'static str);

/// The command of a descriptor and a ticket are bytes of ours: once as such, and once as any bytes.
const MESSAGES: [(&str, &[Described]); 8] = [
    (
        ".arrow.flight.protocol.FlightDescriptor",
        &[
            ("type", 1, ENUM, ""),
            ("cmd", 2, MESSAGE, ".sidereus.v1.FlightCommand"),
            ("cmd as bytes", 2, BYTES, ""),
            ("path", 3, TEXT, ""),
        ],
    ),
    (
        ".arrow.flight.protocol.Ticket",
        &[("ticket", 1, MESSAGE, ".sidereus.v1.FlightCommand"), ("ticket as bytes", 1, BYTES, "")],
    ),
    (
        ".arrow.flight.protocol.FlightData",
        &[
            ("flight_descriptor", 1, MESSAGE, ".arrow.flight.protocol.FlightDescriptor"),
            ("data_header", 2, BYTES, ""),
            ("app_metadata", 3, BYTES, ""),
            ("data_body", 1000, BYTES, ""),
        ],
    ),
    (".arrow.flight.protocol.Criteria", &[("expression", 1, BYTES, "")]),
    (".arrow.flight.protocol.Action", &[("type", 1, TEXT, ""), ("body", 2, BYTES, "")]),
    (".grpc.health.v1.HealthCheckRequest", &[("service", 1, TEXT, "")]),
    (
        ".grpc.reflection.ServerReflectionRequest",
        &[
            ("host", 1, TEXT, ""),
            ("file_by_filename", 3, TEXT, ""),
            ("file_containing_symbol", 4, TEXT, ""),
            ("file_containing_extension", 5, MESSAGE, ".grpc.reflection.ExtensionRequest"),
            ("all_extension_numbers_of_type", 6, TEXT, ""),
            ("list_services", 7, TEXT, ""),
        ],
    ),
    (
        ".grpc.reflection.ExtensionRequest",
        &[("containing_type", 1, TEXT, ""), ("extension_number", 2, INT32, "")],
    ),
];

/// Methods and what they take. `Watch` of the health service, which does not end, takes what `Check` takes.
const METHODS: [(&str, &str); 10] = [
    ("/arrow.flight.protocol.FlightService/DoAction", ".arrow.flight.protocol.Action"),
    ("/arrow.flight.protocol.FlightService/DoGet", ".arrow.flight.protocol.Ticket"),
    ("/arrow.flight.protocol.FlightService/DoPut", ".arrow.flight.protocol.FlightData"),
    (
        "/arrow.flight.protocol.FlightService/GetFlightInfo",
        ".arrow.flight.protocol.FlightDescriptor",
    ),
    ("/arrow.flight.protocol.FlightService/GetSchema", ".arrow.flight.protocol.FlightDescriptor"),
    ("/arrow.flight.protocol.FlightService/ListFlights", ".arrow.flight.protocol.Criteria"),
    (
        "/arrow.flight.protocol.FlightService/PollFlightInfo",
        ".arrow.flight.protocol.FlightDescriptor",
    ),
    ("/grpc.health.v1.Health/Check", ".grpc.health.v1.HealthCheckRequest"),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ".grpc.reflection.ServerReflectionRequest",
    ),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ".grpc.reflection.ServerReflectionRequest",
    ),
];

/// Adds their messages to a protocol, and gives every method, ours and theirs, with what it takes.
pub(super) fn all_methods(protocol: &mut Protocol) -> Vec<(String, String)> {
    for (message, described) in MESSAGES {
        let field = |(name, number, kind, message): &Described| {
            let (number, kind, message) = (*number, *kind, (*message).to_owned());
            ((*name).to_owned(), Field { number, kind, repeated: false, message })
        };
        protocol
            .messages
            .insert(message.to_owned(), described.iter().map(field).collect::<Fields>());
    }
    let ours = protocol.methods.iter().map(|method| (method.path.clone(), method.input.clone()));
    let theirs = METHODS.map(|(path, input)| (path.to_owned(), input.to_owned()));
    ours.chain(theirs).collect()
}
