//! The methods that the protocol has: the only ones that are told apart.

use std::collections::HashSet;

use prost::Message;

use crate::wire;

/// What stands for every path that is none of the protocol's.
const OTHER: &str = "other";

/// Methods of Arrow Flight, whose descriptors are not part of the program.
const FLIGHT: [&str; 10] = [
    "arrow.flight.protocol.FlightService/Handshake",
    "arrow.flight.protocol.FlightService/ListFlights",
    "arrow.flight.protocol.FlightService/GetFlightInfo",
    "arrow.flight.protocol.FlightService/PollFlightInfo",
    "arrow.flight.protocol.FlightService/GetSchema",
    "arrow.flight.protocol.FlightService/DoGet",
    "arrow.flight.protocol.FlightService/DoPut",
    "arrow.flight.protocol.FlightService/DoExchange",
    "arrow.flight.protocol.FlightService/DoAction",
    "arrow.flight.protocol.FlightService/ListActions",
];

/// Names such as `sidereus.v1.SearchService/Search`.
#[derive(Debug)]
pub(super) struct Methods(HashSet<String>);

impl Methods {
    /// Reads them from the descriptors that are served by reflection.
    pub(super) fn of_protocol() -> Self {
        let sets = [
            wire::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        // They are part of the program, and a test reads them.
        let sets = sets.iter().filter_map(|bytes| FileSet::decode(*bytes).ok());
        let own = sets.flat_map(|set| set.files).flat_map(names);
        Self(own.chain(FLIGHT.map(str::to_owned)).collect())
    }

    /// The label of a path.
    pub(super) fn label<'path>(&self, path: &'path str) -> &'path str {
        match path.strip_prefix('/') {
            Some(name) if self.0.contains(name) => name,
            _ => OTHER,
        }
    }
}

fn names(file: File) -> Vec<String> {
    let File { package, services } = file;
    let of = |service: Service| {
        let package = &package;
        let name = service.name;
        let methods = service.methods.into_iter();
        methods.map(move |method| format!("{package}.{name}/{}", method.name)).collect::<Vec<_>>()
    };
    services.into_iter().flat_map(of).collect()
}

/// The part of `google.protobuf.FileDescriptorSet` that names methods.
#[derive(Clone, PartialEq, Message)]
struct FileSet {
    #[prost(message, repeated, tag = "1")]
    files: Vec<File>,
}

#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    methods: Vec<Method>,
}

#[derive(Clone, PartialEq, Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocols_methods_are_known_and_others_are_not() {
        let methods = Methods::of_protocol();
        for path in [
            "/sidereus.v1.SearchService/Search",
            "/sidereus.v1.ObjectService/Ingest",
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ] {
            assert_eq!(methods.label(path), &path[1..]);
        }
        for path in
            ["", "/", "sidereus.v1.SearchService/Search", "/x/y", "/sidereus.v1.SearchService/"]
        {
            assert_eq!(methods.label(path), OTHER, "{path}");
        }
    }
}
