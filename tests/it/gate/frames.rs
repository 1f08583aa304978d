//! Bytes that are no good message, from people who may call.

use sidereus::wire::v1::{IngestBatch, IngestMode};
use tonic::Code;
use tonic::transport::Channel;

use super::raw::{call, field, framed, nested, send, varint};
use super::rules::Scope;
use super::{OURS, THEIRS, Tokens, guarded, methods, protocol};
use crate::support::{batch_message, galaxy, open_message};

const SEARCH: &str = "/sidereus.v1.SearchService/Search";
const COUNT: &str = "/sidereus.v1.ObjectService/CountObjects";

async fn sent(channel: &Channel, tokens: &Tokens, path: &str, bytes: &[u8]) -> (Code, String) {
    let bearer = format!("Bearer {}", tokens.admin);
    let status = send(channel, path, &[("authorization", &bearer)], bytes.to_vec()).await;
    (status.code(), status.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_none_are_refused_by_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, tokens) = guarded(folder.path()).await;
    let channel = server.channel().await;
    let good = framed(&field(1, OURS.as_bytes()));
    let flagged = |flag: u8| [&[flag], &good[1..]].concat();
    let longer = |by: u32| {
        let length = (good.len() as u32 - 5 + by).to_be_bytes();
        [&[0], &length[..], &good[5..]].concat()
    };
    let cases: [(Vec<u8>, Code, &str); 7] = [
        (flagged(1), Code::Unimplemented, "compressed"),
        (flagged(2), Code::InvalidArgument, "flag 2"),
        (good[..3].to_vec(), Code::InvalidArgument, "in the middle"),
        (good[..7].to_vec(), Code::InvalidArgument, "in the middle"),
        (longer(1), Code::InvalidArgument, "in the middle"),
        (longer(17 << 20), Code::ResourceExhausted, "limit"),
        (vec![0, 255, 255, 255, 255], Code::ResourceExhausted, "limit"),
    ];
    for (bytes, code, words) in cases {
        let (given, message) = sent(&channel, &tokens, SEARCH, &bytes).await;
        assert_eq!(given, code, "{bytes:?}: {message}");
        assert!(message.contains(words), "{message}");
    }
    let (code, message) = sent(&channel, &tokens, COUNT, &good).await;
    assert_eq!(code, Code::Ok, "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_names_two_collections_is_refused_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, tokens) = guarded(folder.path()).await;
    let channel = server.channel().await;
    for (method, needs) in methods(&protocol()) {
        let Scope::Collection(path, _) = &needs.scope else { continue };
        let owner = Some(tokens.with_role(5));
        let (ours, theirs) = (nested(path, OURS.as_bytes()), nested(path, THEIRS.as_bytes()));
        for message in [[&*ours, &theirs].concat(), [&*theirs, &ours].concat()] {
            let status = call(&channel, &method.path, owner, &message).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{}: {status}", method.path);
            assert!(status.message().contains("twice"), "{status}");
        }
        // The same name hidden in a number, a group, or what is no text.
        let number = [varint(u64::from(path[0]) << 3), varint(7)].concat();
        let group = varint(u64::from(path[0]) << 3 | 3);
        for message in [number, group, nested(path, &[0xff, 0xfe])] {
            let status = call(&channel, &method.path, owner, &message).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{}: {status}", method.path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_stays_with_the_collection_that_opened_it() {
    use prost::Message;

    let folder = tempfile::tempdir().expect("a folder");
    let (server, tokens) = guarded(folder.path()).await;
    let channel = server.channel().await;
    let objects = || {
        let all = server.db.collections().expect("collections");
        all.iter().map(|each| each.object_count).collect::<Vec<_>>()
    };
    let batch = || IngestBatch { objects: vec![galaxy(1, 10.0, 20.0)], ..IngestBatch::default() };
    let messages = [
        open_message(OURS, IngestMode::Unspecified),
        open_message(THEIRS, IngestMode::Unspecified),
        batch_message(batch()),
    ];
    let stream: Vec<u8> =
        messages.iter().flat_map(|message| framed(&message.encode_to_vec())).collect();
    let writer = format!("Bearer {}", tokens.with_role(3));
    let path = "/sidereus.v1.ObjectService/Ingest";
    let status = send(&channel, path, &[("authorization", &writer)], stream).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert_eq!(objects(), [0, 0]);
    let messages = [open_message(OURS, IngestMode::Unspecified), batch_message(batch())];
    let stream: Vec<u8> =
        messages.iter().flat_map(|message| framed(&message.encode_to_vec())).collect();
    let status = send(&channel, path, &[("authorization", &writer)], stream).await;
    assert_eq!(status.code(), Code::Ok, "{status}");
    assert_eq!(objects(), [1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_breaks_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, tokens) = guarded(folder.path()).await;
    let channel = server.channel().await;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for (method, needs) in methods(&protocol()) {
        for round in 0..20 {
            let noise: Vec<u8> = (0..next() % 64).map(|_| next() as u8).collect();
            let message = match (&needs.scope, round % 2) {
                (Scope::Collection(path, _), 0) => [nested(path, OURS.as_bytes()), noise].concat(),
                _ => noise,
            };
            let status = call(&channel, &method.path, Some(tokens.with_role(1)), &message).await;
            let code = status.code();
            assert!(!matches!(code, Code::Unknown | Code::DataLoss), "{}: {status}", method.path);
            assert!(!status.message().contains("panicked"), "{}: {status}", method.path);
        }
    }
    let (code, message) = sent(&channel, &tokens, COUNT, &framed(&field(1, OURS.as_bytes()))).await;
    assert_eq!(code, Code::Ok, "{message}");
}
