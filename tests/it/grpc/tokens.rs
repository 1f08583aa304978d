//! Token sequences: written, kept and read back, and re-ranks by them against brute force.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use sidereus::wire::v1::{
    AddSpaceRequest, BuildIndexRequest, Cone, DeleteObjectsRequest, EmbeddingSpace,
    GetCollectionRequest, GetIndexStatusRequest, GetObjectsRequest, Hit, IngestBatch, IngestMode,
    Metric, Object, Position, Provenance, Rerank, SearchRequest, SpaceForm, TokenRun,
    TokenSequence, VectorTerm, region,
};
use tonic::Code;

use crate::fake_encoder::{self, Controls, state_of, states};
use crate::support::{
    TestServer, galaxy, id_of, ids_of, image, in_region, near, number, object, schema, space,
    vector,
};

const NAME: &str = "galaxies";

fn tokens_space(name: &str, form: SpaceForm, dimension: u32) -> EmbeddingSpace {
    EmbeddingSpace { form: form.into(), ..space(name, "image", dimension, Metric::Cosine) }
}

/// A server with spaces `v`, `c`, `t` (states of 3) and `codes` (ids).
async fn server(folder: &Path) -> TestServer {
    let server = TestServer::start(folder).await;
    let mut schema = schema(NAME);
    schema.spaces.push(tokens_space("t", SpaceForm::Tokens, 3));
    schema.spaces.push(tokens_space("codes", SpaceForm::TokenIds, 0));
    server.create(schema).await.expect("created");
    server
}

/// Some states that differ from object to object.
fn some_states(seed: i64, count: usize) -> Vec<[f32; 3]> {
    let component = |at: usize| ((seed * 31 + at as i64 * 17) as f32 * 0.7).sin() * 3.0;
    (0..count).map(|token| [0, 1, 2].map(|axis| component(3 * token + axis))).collect()
}

fn with_tokens(mut row: Object, tokens: TokenSequence) -> Object {
    row.tokens.insert("t".to_owned(), tokens);
    row
}

async fn get(server: &TestServer, ids: &[i64]) -> Vec<Object> {
    let request = GetObjectsRequest {
        collection: NAME.to_owned(),
        ids: ids.iter().copied().map(number).collect(),
        with_vectors: true,
        release: String::new(),
    };
    server.objects().await.get_objects(request).await.expect("read").into_inner().objects
}

async fn counts(server: &TestServer) -> HashMap<String, u64> {
    let request = GetCollectionRequest { name: NAME.to_owned(), release: String::new() };
    let reply = server.collections().await.get_collection(request).await.expect("there");
    reply.into_inner().collection.expect("a collection").vector_counts
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_kept_with_their_object() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = server(folder.path()).await;
    let mut row = with_tokens(galaxy(1, 10.0, 10.0), states(&some_states(1, 2_000)));
    row.tokens.insert("codes".to_owned(), fake_encoder::ids(&[7, 65_535, 0]));
    let others = (2..6).map(|id| with_tokens(galaxy(id, 20.0, 0.0), states(&some_states(id, 4))));
    first.write(NAME, [row.clone()].into_iter().chain(others).collect()).await;
    assert_eq!(get(&first, &[1]).await, [row.clone()]);
    assert_eq!(
        counts(&first).await,
        HashMap::from([
            ("v".to_owned(), 5),
            ("c".to_owned(), 0),
            ("t".to_owned(), 5),
            ("codes".to_owned(), 1),
        ])
    );
    let request = GetObjectsRequest {
        collection: NAME.to_owned(),
        ids: vec![number(1)],
        with_vectors: false,
        release: String::new(),
    };
    let bare = first.objects().await.get_objects(request).await.expect("read").into_inner();
    assert!(bare.objects[0].tokens.is_empty(), "they were not asked for");

    // A merge keeps them, also where the object moves; writing it whole without them does not.
    let merge = IngestBatch {
        objects: vec![object(1, 300.0, -40.0)],
        merge: true,
        ..IngestBatch::default()
    };
    let (answers, failure) = first.ingest(NAME, IngestMode::Bulk, vec![merge]).await;
    assert!(failure.is_none() && answers[0].refused.is_empty() && answers[0].replaced == 1);
    row.position = Some(Position { ra: 300.0, dec: -40.0 });
    assert_eq!(get(&first, &[1]).await, [row.clone()]);
    first.write(NAME, vec![galaxy(2, 20.0, 0.0)]).await;
    assert!(get(&first, &[2]).await[0].tokens.is_empty());
    let again = with_tokens(galaxy(3, 21.0, 0.0), states(&some_states(99, 7)));
    first.write(NAME, vec![again.clone()]).await;
    let delete = DeleteObjectsRequest { collection: NAME.to_owned(), ids: vec![number(4)] };
    first.objects().await.delete_objects(delete).await.expect("deleted");
    first.stop().await;

    let second = TestServer::start(folder.path()).await;
    assert_eq!(get(&second, &[1, 3]).await, [row, again]);
    assert!(get(&second, &[2]).await[0].tokens.is_empty());
    assert_eq!(counts(&second).await["t"], 3);
    second.write(NAME, vec![galaxy(4, 20.0, 0.0)]).await;
    assert!(get(&second, &[4]).await[0].tokens.is_empty(), "a new object of an old id has none");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_are_refused_row_by_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path()).await;
    let run = |count, width, states: Vec<u8>| TokenSequence {
        runs: vec![TokenRun { count, width, states, ..TokenRun::default() }],
    };
    let nan = [0x00, 0x7e];
    let mut wrong_space = galaxy(6, 0.0, 0.0);
    wrong_space.tokens.insert("v".to_owned(), states(&some_states(1, 1)));
    let mut unknown = galaxy(7, 0.0, 0.0);
    unknown.tokens.insert("nowhere".to_owned(), states(&some_states(1, 1)));
    let mut vectors = galaxy(8, 0.0, 0.0);
    vectors.vectors.insert("t".to_owned(), vector(&[1.0, 2.0, 3.0]));
    let cases = [
        (with_tokens(galaxy(1, 0.0, 0.0), run(2, 3, vec![0; 6])), "6 bytes of states"),
        (with_tokens(galaxy(2, 0.0, 0.0), run(1, 2, vec![0; 4])), "2 components, the space 3"),
        (with_tokens(galaxy(3, 0.0, 0.0), run(1, 3, nan.repeat(3))), "not a finite number"),
        (with_tokens(galaxy(4, 0.0, 0.0), fake_encoder::ids(&[1])), "holds states"),
        (with_tokens(galaxy(5, 0.0, 0.0), TokenSequence::default()), "no token"),
        (wrong_space, "holds vectors; tokens do not belong"),
        (unknown, "no embedding space `nowhere`"),
        (vectors, "holds tokens; vectors do not belong"),
    ];
    let mut objects: Vec<Object> = cases.iter().map(|(object, _)| object.clone()).collect();
    objects.push(with_tokens(galaxy(9, 0.0, 0.0), states(&some_states(9, 1))));
    let batch = IngestBatch { objects, ..IngestBatch::default() };
    let (answers, failure) = server.ingest(NAME, IngestMode::Unspecified, vec![batch]).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!((answers[0].inserted, answers[0].refused.len()), (1, cases.len()));
    for (refused, (_, words)) in answers[0].refused.iter().zip(&cases) {
        assert!(refused.reason.contains(words), "{}", refused.reason);
    }
    let add = |space| AddSpaceRequest { collection: NAME.to_owned(), space: Some(space) };
    let mut client = server.collections().await;
    for (space, words) in [
        (tokens_space("x", SpaceForm::TokenIds, 3), "its dimension must be 0"),
        (tokens_space("x", SpaceForm::Tokens, 0), "it must be 1 to"),
        (tokens_space("v", SpaceForm::Tokens, 3), "exists with another form"),
    ] {
        let status = client.add_space(add(space)).await.expect_err("refused");
        assert!(status.message().contains(words), "{}", status.message());
    }
    let made = EmbeddingSpace {
        provenance: Some(Provenance { encoder: "eyes".to_owned(), ..Provenance::default() }),
        ..tokens_space("made", SpaceForm::Tokens, 3)
    };
    let reply = client.add_space(add(made)).await.expect("added").into_inner();
    let spaces = reply.collection.expect("a collection").schema.expect("a schema").spaces;
    assert_eq!(spaces.last().expect("the new one").form(), SpaceForm::Tokens);
    let mut foreign = galaxy(10, 0.0, 0.0);
    foreign.tokens.insert("made".to_owned(), states(&some_states(1, 1)));
    let batch = IngestBatch { objects: vec![foreign], ..IngestBatch::default() };
    let (answers, _) = server.ingest(NAME, IngestMode::Unspecified, vec![batch]).await;
    assert!(answers[0].refused[0].reason.contains("holds tokens of eyes"), "{answers:?}");
}

/// 1 - cos to the most similar token, by the definition, in `f64`, on what half precision keeps.
fn oracle(query: &[[f32; 3]], object: &[[f32; 3]]) -> f64 {
    let halved = |token: &[f32; 3]| token.map(|value| half::f16::from_f32(value).to_f64());
    let length = |token: &[f64; 3]| token.iter().map(|value| value * value).sum::<f64>().sqrt();
    let nearest = |token: &[f32; 3]| {
        let token = halved(token);
        let cosine = |other: &[f32; 3]| {
            let other = halved(other);
            let dot: f64 = token.iter().zip(&other).map(|(a, b)| a * b).sum();
            dot / (length(&token) * length(&other))
        };
        1.0 - object.iter().map(cosine).fold(f64::NEG_INFINITY, f64::max)
    };
    query.iter().map(nearest).sum::<f64>() / query.len() as f64
}

/// Objects 0 to 119 along the equator, every fifth without tokens; 118 and 119 have the same.
fn crowd() -> Vec<Object> {
    let row = |id: i64| {
        let row = galaxy(id, id as f64, 0.0);
        let seed = id.min(118);
        match id % 5 {
            0 => row,
            _ => with_tokens(row, states(&some_states(seed, 3 + (seed % 4) as usize))),
        }
    };
    (0..120).map(row).collect()
}

fn tokens_of(id: i64) -> Option<Vec<[f32; 3]>> {
    let seed = id.min(118);
    (id % 5 != 0).then(|| some_states(seed, 3 + (seed % 4) as usize))
}

fn reranked(request: SearchRequest, space: &str, candidates: u32) -> SearchRequest {
    let rerank = Rerank { space: space.to_owned(), candidates, tokens: Vec::new() };
    SearchRequest { rerank: Some(rerank), ..request }
}

/// What the candidates become: by distance and id those with tokens, behind them the others as they were.
fn expected(candidates: &[i64], query: &[[f32; 3]]) -> Vec<(i64, Option<f64>)> {
    let distance = |id: &i64| tokens_of(*id).map(|tokens| oracle(query, &tokens));
    let mut found: Vec<(i64, Option<f64>)> =
        candidates.iter().map(|id| (*id, distance(id))).collect();
    found.sort_by(|(one, left), (other, right)| match (left, right) {
        (Some(left), Some(right)) if (left - right).abs() < 1e-6 => one.cmp(other),
        (Some(left), Some(right)) => left.total_cmp(right),
        (left, right) => left.is_none().cmp(&right.is_none()),
    });
    found
}

fn check(hits: &[Hit], expected: &[(i64, Option<f64>)]) {
    assert_eq!(ids_of(hits), expected.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    for (hit, (_, distance)) in hits.iter().zip(expected) {
        match (hit.distance, distance) {
            (None, None) => assert_eq!(hit.score, None),
            (Some(found), Some(distance)) => {
                assert!((found - distance).abs() < 1e-6, "{found} is not {distance}");
                assert_eq!(hit.score, Some(1.0 - found));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rerank_is_brute_force_over_the_candidates() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path()).await;
    server.write(NAME, crowd()).await;
    let query = some_states(1_000, 5);
    let mut request = reranked(near(NAME, &[50.0, 0.0, 1.0], 7), "t", 30);
    request.rerank.as_mut().expect("set").tokens = vec![states(&query)];
    request.explain = true;
    // The candidates as the search without a re-rank finds them.
    let plain = |request: &SearchRequest, k| SearchRequest { k, rerank: None, ..request.clone() };
    let (nearest, _) = server.search(plain(&request, 30)).await.expect("found");
    let all = expected(&ids_of(&nearest), &query);
    let (hits, stats) = server.search(request.clone()).await.expect("found");
    check(&hits, &all[..7]);
    assert_eq!((stats.candidates_reranked, stats.candidates_without_tokens), (30, 6));
    assert!(!stats.exact, "others might be nearer by their tokens");
    assert!(
        stats.explanation.contains("re-ranked: 30 candidates by their tokens in t"),
        "{stats:?}"
    );
    assert!(stats.explanation.contains("6 without tokens come last"), "{stats:?}");
    assert!(hits[0].columns.contains_key("z"));

    // All candidates, those without tokens last.
    request.k = 30;
    let (hits, _) = server.search(request.clone()).await.expect("found");
    check(&hits, &all);

    // Under a region and a predicate, with too few objects for the candidates: then it is exact.
    let cone = Cone { centre: Some(Position { ra: 100.0, dec: 0.0 }), radius: 30.5 };
    request.region = in_region(region::Shape::Cone(cone));
    request.predicate = "class = 'GALAXY'".to_owned();
    request.exact = true;
    request.k = 50;
    request.rerank.as_mut().expect("set").candidates = 0;
    let within: Vec<i64> = (70..=119).filter(|id| id % 2 == 0).collect();
    let (nearest, _) = server.search(plain(&request, 100)).await.expect("found");
    let mut ids = ids_of(&nearest);
    let (hits, stats) = server.search(request.clone()).await.expect("found");
    check(&hits, &expected(&ids, &query));
    ids.sort_unstable();
    assert_eq!(ids, within);
    assert!(stats.exact);

    // Several sequences are one long one.
    request.rerank.as_mut().expect("set").tokens =
        query.chunks(2).map(states).collect::<Vec<TokenSequence>>();
    let (parted, _) = server.search(request).await.expect("found");
    let parted: Vec<i64> = ids_of(&parted);
    assert_eq!(parted, ids_of(&hits));
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_to_be_like_lend_their_tokens_and_ties_go_by_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path()).await;
    server.write(NAME, crowd()).await;
    let like = |ids: &[i64]| {
        let like = ids.iter().copied().map(number).collect();
        let term = VectorTerm { space: "v".to_owned(), like, ..VectorTerm::default() };
        let request = SearchRequest {
            collection: NAME.to_owned(),
            terms: vec![term],
            k: 120,
            ..SearchRequest::default()
        };
        reranked(request, "t", 0)
    };
    let (hits, stats) = server.search(like(&[117])).await.expect("found");
    let query = tokens_of(117).expect("has tokens");
    let place = |id: i64| hits.iter().position(|hit| id_of(hit.id.as_ref()) == id);
    assert_eq!(place(117), None, "the example is no hit");
    assert_eq!(place(119), place(118).map(|place| place + 1), "ties go by id");
    assert_eq!((stats.candidates_reranked, stats.candidates_without_tokens), (119, 24));
    let first: Vec<(i64, Option<f64>)> = hits
        .iter()
        .map(|hit| id_of(hit.id.as_ref()))
        .map(|id| (id, tokens_of(id).map(|tokens| oracle(&query, &tokens))))
        .collect();
    check(&hits, &first);
    assert!(first[..95].is_sorted_by(|one, other| one.1 <= other.1.map(|far| far + 1e-6)));

    let (hits, _) = server.search(like(&[116, 117])).await.expect("found");
    let both = [tokens_of(116).expect("some"), query].concat();
    let best = tokens_of(id_of(hits[0].id.as_ref())).expect("the first has tokens");
    let found = hits[0].distance.expect("a distance");
    assert!((found - oracle(&both, &best)).abs() < 1e-6, "all their tokens count");

    for (ids, code, words) in [
        (&[5][..], Code::NotFound, "object `5` has no tokens in space `t`"),
        (&[1, 5][..], Code::NotFound, "object `5` has no tokens"),
        (&[9_999][..], Code::NotFound, "no object `9999`"),
    ] {
        let status = server.search(like(ids)).await.expect_err("refused");
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(words), "{}", status.message());
    }
    let status = server.search(reranked(near(NAME, &[1.0, 0.0, 1.0], 3), "t", 0)).await;
    assert!(status.expect_err("refused").message().contains("a vector has none"));
}

#[tokio::test(flavor = "multi_thread")]
async fn spaces_of_tokens_are_left_out_of_searches_and_indices() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path()).await;
    server.write(NAME, crowd()).await;
    let mut request = near(NAME, &[50.0, 0.0, 1.0], 3);
    request.terms[0].space = "t".to_owned();
    let status = server.search(request.clone()).await.expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("name it in a re-rank (--rerank t)"), "{status:?}");
    request.terms[0].space = String::new();
    let (hits, _) = server.search(request.clone()).await.expect("only one space of vectors fits");
    assert_eq!(ids_of(&hits), [50, 49, 51]);

    let build = BuildIndexRequest { collection: NAME.to_owned(), space: String::new() };
    let mut client = server.maintenance().await;
    let mut stream = client.build_index(build).await.expect("begins").into_inner();
    while let Some(step) = stream.message().await.expect("goes on") {
        drop(step);
    }
    let ask = GetIndexStatusRequest { collection: NAME.to_owned(), release: String::new() };
    let status = client.get_index_status(ask.clone()).await.expect("told").into_inner();
    assert_eq!(status.tail_rows, 0);
    let names: Vec<&str> =
        status.segments[0].spaces.iter().map(|space| space.space.as_str()).collect();
    assert_eq!(names, ["v"]);
    let mut again = reranked(near(NAME, &[50.0, 0.0, 1.0], 5), "t", 40);
    again.rerank.as_mut().expect("set").tokens = vec![states(&some_states(3, 2))];
    let (nearest, _) =
        server.search(SearchRequest { k: 40, rerank: None, ..again.clone() }).await.expect("found");
    let (hits, _) = server.search(again).await.expect("found");
    check(&hits, &expected(&ids_of(&nearest), &some_states(3, 2))[..5]);
}

fn words(id: i64) -> [u16; 3] {
    [id as u16, (id * 7 % 200) as u16, (id * 3 % 90) as u16]
}

/// A server whose forty objects have ids of tokens, and vectors of another space.
async fn with_ids(folder: &Path) -> (TestServer, Arc<Controls>) {
    let (encoder, controls) = fake_encoder::start().await;
    let server = TestServer::start_with(folder, Some(encoder), |_| {}).await;
    let provenance = |pooling: &str| Provenance {
        encoder: "pixels".to_owned(),
        weights_hash: "w0".to_owned(),
        preprocessing: "none-v1".to_owned(),
        pooling: pooling.to_owned(),
    };
    let mut schema = schema(NAME);
    let codes = tokens_space("codes", SpaceForm::TokenIds, 0);
    schema.spaces.push(EmbeddingSpace { provenance: Some(provenance("token-ids")), ..codes });
    let looks = space("looks", "image", 2, Metric::L2);
    schema.spaces.push(EmbeddingSpace { provenance: Some(provenance("none")), ..looks });
    server.create(schema).await.expect("created");
    let rows = (0..40).map(|id| {
        let mut row = galaxy(id, id as f64, 0.0);
        row.tokens.insert("codes".to_owned(), fake_encoder::ids(&words(id)));
        row.vectors.insert("looks".to_owned(), vector(&[id as f32, 1.0]));
        row
    });
    let open = sidereus::wire::v1::IngestOpen {
        collection: NAME.to_owned(),
        mode: IngestMode::Unspecified.into(),
        provenance: HashMap::from([
            ("codes".to_owned(), provenance("token-ids")),
            ("looks".to_owned(), provenance("none")),
        ]),
    };
    let open = sidereus::wire::v1::IngestRequest {
        message: Some(sidereus::wire::v1::ingest_request::Message::Open(open)),
    };
    let batch = IngestBatch { objects: rows.collect(), ..IngestBatch::default() };
    let messages = vec![open, crate::support::batch_message(batch)];
    let (answers, failure) = server.ingest_messages(messages).await;
    assert!(failure.is_none() && answers[0].refused.is_empty(), "{failure:?} {answers:?}");
    (server, controls)
}

#[tokio::test(flavor = "multi_thread")]
async fn states_are_made_of_stored_ids_while_they_are_needed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, controls) = with_ids(folder.path()).await;
    let states_of = |id: i64| words(id).map(state_of);
    let best = |query: &[[f32; 3]], ids: std::ops::Range<i64>| {
        let mut found: Vec<(i64, f64)> =
            ids.map(|id| (id, oracle(query, &states_of(id)))).collect();
        found.sort_by(|one, other| one.1.total_cmp(&other.1));
        found
    };
    let agree = |hits: &[Hit], expected: &[(i64, f64)]| {
        for (hit, (id, distance)) in hits.iter().zip(expected) {
            assert_eq!(id_of(hit.id.as_ref()), *id);
            let found = hit.distance.expect("a distance");
            assert!((found - distance).abs() < 1e-6, "{found} is not {distance}");
        }
    };
    // Ids that came with the request.
    let mut request = reranked(near(NAME, &[0.0, 0.0, 1.0], 5), "codes", 40);
    request.rerank.as_mut().expect("set").tokens = vec![fake_encoder::ids(&[20, 33])];
    let (hits, stats) = server.search(request.clone()).await.expect("found");
    agree(&hits, &best(&[state_of(20), state_of(33)], 0..40)[..5]);
    assert_eq!((hits.len(), stats.candidates_reranked), (5, 40));
    // An example, which finds the candidates and is what they are compared with.
    let term = VectorTerm {
        space: "looks".to_owned(),
        examples: vec![image(&[b'!', 20, 33])],
        ..VectorTerm::default()
    };
    let by_example = SearchRequest {
        collection: NAME.to_owned(),
        terms: vec![term],
        k: 5,
        ..SearchRequest::default()
    };
    let (hits, _) = server.search(reranked(by_example, "codes", 40)).await.expect("found");
    agree(&hits, &best(&[state_of(20), state_of(33)], 0..40)[..5]);

    // Another model under the same name has other states.
    controls.weights.store(1, std::sync::atomic::Ordering::SeqCst);
    let status = server.search(request.clone()).await.expect_err("refused");
    assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
    assert!(status.message().contains("registered model"), "{}", status.message());
    controls.weights.store(0, std::sync::atomic::Ordering::SeqCst);
    controls.failures.store(1, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(server.search(request.clone()).await.expect_err("down").code(), Code::Unavailable);
    server.search(request).await.expect("is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rerank_ends_when_its_time_is_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    let mut schema = schema(NAME);
    schema.spaces.push(tokens_space("t", SpaceForm::Tokens, 256));
    server.create(schema).await.expect("created");
    let long = |seed: u32| {
        let states = (0..2_000 * 256_u32).flat_map(|at| [(at * seed) as u8, 0x3c]).collect();
        let run = TokenRun { count: 2_000, width: 256, states, ..TokenRun::default() };
        TokenSequence { runs: vec![run] }
    };
    for id in 0..24 {
        let row = with_tokens(galaxy(id, id as f64, 0.0), long(id as u32 + 3));
        server.write(NAME, vec![row]).await;
    }
    let mut request = reranked(near(NAME, &[0.0, 0.0, 1.0], 24), "t", 0);
    request.rerank.as_mut().expect("set").tokens = vec![long(1)];
    let mut timed = tonic::Request::new(request.clone());
    timed.set_timeout(std::time::Duration::from_millis(40));
    let status = server.searches().await.search(timed).await.map(drop).expect_err("too late");
    assert!(
        matches!(status.code(), Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );
    let (hits, _) = server.search(request).await.expect("with time it is done");
    assert_eq!(hits.len(), 24);
}
