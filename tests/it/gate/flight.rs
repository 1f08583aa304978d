//! Arrow Flight behind the gate: its messages name the collection that is decided on.

use arrow_flight::Criteria;
use arrow_flight::flight_service_client::FlightServiceClient;
use futures::StreamExt;
use tonic::{Code, Request};

use super::raw::{call, field, nested};
use super::{OURS, THEIRS, guarded};

fn path(method: &str) -> String {
    format!("/arrow.flight.protocol.FlightService/{method}")
}

/// Each method with the role that it needs, and the fields that lead to the name in its first message.
const METHODS: [(&str, u64, &[u32]); 6] = [
    ("DoGet", 1, &[1, 1, 1]),
    ("GetFlightInfo", 1, &[2, 1, 1]),
    ("GetFlightInfo", 1, &[3]),
    ("GetSchema", 1, &[2, 1, 1]),
    ("GetSchema", 1, &[3]),
    ("DoPut", 3, &[1, 2, 2, 1]),
];

/// A descriptor is a path only where it says so.
fn about(method: &str, fields: &[u32], collection: &str) -> Vec<u8> {
    let kind: &[u8] = match (method, fields) {
        ("GetFlightInfo" | "GetSchema", [3]) => &[8, 1],
        _ => &[],
    };
    [kind, &nested(fields, collection.as_bytes())].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_are_closed_to_whoever_lacks_the_role_and_open_to_whoever_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, tokens) = guarded(folder.path()).await;
    let channel = server.channel().await;
    for (method, role, fields) in METHODS {
        let about = |collection: &str| about(method, fields, collection);
        let nobody = call(&channel, &path(method), None, &about(OURS)).await;
        assert_eq!(nobody.code(), Code::Unauthenticated, "{method}: {nobody}");
        let mut words = Vec::new();
        for collection in [OURS, "nowhere"] {
            let token = Some(tokens.stranger.as_str());
            let denied = call(&channel, &path(method), token, &about(collection)).await;
            assert_eq!(denied.code(), Code::PermissionDenied, "{method}: {denied}");
            words.push(denied.message().replace(collection, "it"));
        }
        assert_eq!(words[0], words[1], "nobody learns what there is");
        for (token, collection) in [
            (tokens.elsewhere.as_str(), OURS),
            (tokens.with_role(5), THEIRS),
            (tokens.with_role(5), "des@dr1x"),
            (tokens.with_role(5), ""),
        ] {
            let denied = call(&channel, &path(method), Some(token), &about(collection)).await;
            assert_ne!(denied.code(), Code::Ok, "{method} {collection}: {denied}");
        }
        if role > 1 {
            let weaker = Some(tokens.with_role(role - 1));
            let denied = call(&channel, &path(method), weaker, &about(OURS)).await;
            assert_eq!(denied.code(), Code::PermissionDenied, "{method}: {denied}");
        }
        let token = Some(tokens.with_role(role));
        let served = call(&channel, &path(method), token, &about(OURS)).await;
        assert_eq!(served.code(), Code::Ok, "{method}: {served}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_descriptor_of_two_collections_opens_neither_beside_the_grant() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, tokens) = guarded(folder.path()).await;
    let channel = server.channel().await;
    let both = [&[8, 1][..], &nested(&[2, 1, 1], OURS.as_bytes()), &field(3, THEIRS.as_bytes())];
    for method in ["GetFlightInfo", "GetSchema"] {
        let token = Some(tokens.with_role(5));
        let denied = call(&channel, &path(method), token, &both.concat()).await;
        assert_eq!(denied.code(), Code::PermissionDenied, "{method}: {denied}");
    }
    for method in ["DoAction", "DoExchange", "PollFlightInfo", "Nothing"] {
        let nobody = call(&channel, &path(method), None, &[]).await;
        assert_eq!(nobody.code(), Code::Unauthenticated, "{method}: {nobody}");
        let stranger = call(&channel, &path(method), Some(&tokens.stranger), &[]).await;
        assert_eq!(stranger.code(), Code::Unimplemented, "{method}: {stranger}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_list_what_one_may_know() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, tokens) = guarded(folder.path()).await;
    let names = async |token: &str| {
        let mut request = Request::new(Criteria::default());
        let header = format!("Bearer {token}").parse().expect("a header");
        request.metadata_mut().insert("authorization", header);
        let mut flight = FlightServiceClient::new(server.channel().await);
        let flights = flight.list_flights(request).await.expect("listed").into_inner();
        let flights: Vec<_> = flights.collect().await;
        let path = |flight: &arrow_flight::FlightInfo| {
            flight.flight_descriptor.as_ref().expect("a descriptor").path[0].clone()
        };
        flights.iter().map(|flight| path(flight.as_ref().expect("it"))).collect::<Vec<_>>()
    };
    assert!(names(&tokens.stranger).await.is_empty());
    assert_eq!(names(&tokens.elsewhere).await, [THEIRS]);
    assert_eq!(names(tokens.with_role(1)).await, [OURS]);
    assert_eq!(names(&tokens.admin).await, [OURS, THEIRS]);
    server.stop().await;
}
