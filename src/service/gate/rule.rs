//! What every method needs, as the protocol says it.

use crate::access::Role;

/// What a call of a method needs before any handler sees it.
#[derive(Debug)]
pub(in crate::service) struct Rule {
    /// Path of the method, `/package.Service/Method`.
    pub(in crate::service) path: &'static str,
    /// The role that the caller must have.
    pub(super) role: Role,
    /// On what he must have it.
    pub(super) scope: Scope,
    /// Fields of the first message that ask for another role where they are set.
    pub(super) raises: &'static [(u32, Role)],
    /// Number of the field that names a release of the collection, beside the collection, in messages that have one.
    pub(super) release: Option<u32>,
    /// Whether the server answers with a stream.
    pub(super) server_streaming: bool,
    /// Whether it changes something although its role is a low one.
    pub(super) writes: bool,
}

/// On what a caller must have a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The collection that a field of the first message names: the numbers of the fields that lead to it.
    Collection {
        /// From the message itself inwards.
        path: &'static [u32],
        /// What an empty name means.
        empty: Empty,
    },
    /// The server.
    Server,
    /// Everybody who has shown who he is may call; the answer tells him what he may know of.
    Listing,
    /// The collection that a descriptor of Arrow Flight names: by its command, or else by its path.
    Descriptor {
        /// To the name in the command.
        command: &'static [u32],
        /// To the path.
        path: &'static [u32],
    },
    /// Nobody is asked who he is.
    Anybody,
}

/// What an empty name of a collection means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    /// He who is asked who he is must name one.
    Refused,
    /// The call is a listing.
    Listing,
}

/// Rules of the methods of `sidereus.v1`, sorted by path; the build makes it out of their options.
static RULES: &[Rule] = include!(concat!(env!("OUT_DIR"), "/rules.rs"));

/// Rules of services that are defined elsewhere, by the path, or by its beginning up to a `/`.
static FOREIGN: &[Rule] = &[
    foreign("/grpc.health.v1.Health/", Role::Read, Scope::Anybody),
    foreign("/grpc.reflection.v1.ServerReflection/", Role::Read, Scope::Listing),
    foreign("/grpc.reflection.v1alpha.ServerReflection/", Role::Read, Scope::Listing),
    // A ticket is a `FlightCommand`, whose first field is an export and whose second is an ingest; so is the command of a
    // descriptor. Other methods than these list, or are not there.
    flight(
        "/arrow.flight.protocol.FlightService/DoGet",
        Role::Read,
        Scope::Collection { path: &[1, 1, 1], empty: Empty::Refused },
        RELEASE,
    ),
    flight(
        "/arrow.flight.protocol.FlightService/DoPut",
        Role::Ingest,
        Scope::Collection { path: &[1, 2, 2, 1], empty: Empty::Refused },
        None,
    ),
    flight("/arrow.flight.protocol.FlightService/GetFlightInfo", Role::Read, DESCRIPTOR, RELEASE),
    flight("/arrow.flight.protocol.FlightService/GetSchema", Role::Read, DESCRIPTOR, RELEASE),
    foreign("/arrow.flight.protocol.FlightService/", Role::Read, Scope::Listing),
];

/// The field of an export that names a release.
const RELEASE: Option<u32> = Some(100);

const DESCRIPTOR: Scope = Scope::Descriptor { command: &[2, 1, 1], path: &[3] };

const fn foreign(path: &'static str, role: Role, scope: Scope) -> Rule {
    Rule { path, role, scope, raises: &[], release: None, server_streaming: false, writes: false }
}

const fn flight(path: &'static str, role: Role, scope: Scope, release: Option<u32>) -> Rule {
    Rule { path, role, scope, raises: &[], release, server_streaming: true, writes: false }
}

/// The rule of a path. There is none for paths that are not known: they are refused.
pub(super) fn find(path: &str) -> Option<&'static Rule> {
    match RULES.binary_search_by(|rule| rule.path.cmp(path)) {
        Ok(place) => RULES.get(place),
        Err(_) => FOREIGN.iter().find(|rule| match rule.path.ends_with('/') {
            true => path.starts_with(rule.path),
            false => path == rule.path,
        }),
    }
}

impl Rule {
    /// Whether the gate must see the first message to decide.
    pub(super) fn names_collection(&self) -> bool {
        matches!(self.scope, Scope::Collection { .. } | Scope::Descriptor { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_finds_every_method() {
        assert!(RULES.windows(2).all(|pair| pair[0].path < pair[1].path));
        for rule in RULES {
            assert_eq!(find(rule.path).map(|found| found.path), Some(rule.path));
        }
        assert!(
            RULES
                .iter()
                .all(|rule| !matches!(rule.scope, Scope::Anybody | Scope::Descriptor { .. }))
        );
    }

    #[test]
    fn paths_that_are_not_known_have_no_rule() {
        for path in [
            "",
            "/",
            "/sidereus.v1.SearchService/",
            "/sidereus.v1.SearchService/Search/",
            "/sidereus.v1.SearchService/search",
            "//sidereus.v1.SearchService/Search",
            "/sidereus.internal.v1.EncoderService/Encode",
            "/grpc.health.v1.Health",
        ] {
            assert!(find(path).is_none(), "{path}");
        }
        assert_eq!(
            find("/grpc.health.v1.Health/Check").map(|rule| rule.scope),
            Some(Scope::Anybody)
        );
        let put = find("/arrow.flight.protocol.FlightService/DoPut").expect("a rule");
        assert_eq!((put.role, put.names_collection()), (Role::Ingest, true));
        let list = find("/arrow.flight.protocol.FlightService/ListFlights").expect("a rule");
        assert_eq!(list.scope, Scope::Listing);
        let ingest = find("/sidereus.v1.ObjectService/Ingest").expect("a rule");
        assert_eq!(ingest.scope, Scope::Collection { path: &[1, 1], empty: Empty::Refused });
        assert_eq!(ingest.role, Role::Ingest);
    }
}
