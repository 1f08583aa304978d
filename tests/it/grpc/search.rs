//! Searches: near to what, how many, in which chunks, and what is refused.

use std::time::Duration;

use futures::StreamExt;
use prost::Message;
use sidereus::wire::v1::{
    BuildIndexRequest, Cone, GetIndexStatusRequest, Object, Position, Provenance, SearchRequest,
    VectorTerm, region, value,
};
use tonic::{Code, Request};

use crate::support::{
    TestServer, galaxy, id_of, ids_of, image, in_region, near, number, object, real, schema,
    string, text, vector,
};

async fn server(count: i64) -> (tempfile::TempDir, TestServer) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    server.create(schema("galaxies")).await.expect("created");
    server
        .write("galaxies", (0..count).map(|id| galaxy(id, id as f64 % 360.0, 0.0)).collect())
        .await;
    (folder, server)
}

fn term(request: VectorTerm) -> SearchRequest {
    SearchRequest {
        collection: "galaxies".to_owned(),
        terms: vec![request],
        k: 5,
        ..SearchRequest::default()
    }
}

fn in_v() -> VectorTerm {
    VectorTerm { space: "v".to_owned(), ..VectorTerm::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_come_first_with_distances_columns_and_statistics() {
    let (_folder, server) = server(100).await;
    let (hits, stats) = server.search(near("galaxies", &[10.2, 0.0, 1.0], 4)).await.expect("found");
    assert_eq!(ids_of(&hits), [10, 11, 9, 12]);
    assert!((hits[0].distance.expect("a distance") - 0.2).abs() < 1e-5);
    assert_eq!(hits[0].score.map(|score| -score), hits[0].distance);
    assert_eq!(hits[0].columns["z"], real(0.1));
    assert_eq!(hits[0].columns["class"], string("GALAXY"));
    assert!(hits[0].vectors.is_empty());
    assert_eq!(hits[0].position, Some(Position { ra: 10.0, dec: 0.0 }));
    assert!(stats.exact && stats.rows_total == 100 && stats.tail_rows == 100, "{stats:?}");
    assert!(!stats.plan.is_empty() && stats.explanation.is_empty() && stats.version > 0);

    let mut asked = near("galaxies", &[10.2, 0.0, 1.0], 4);
    asked.predicate = "class = 'QSO' AND z < 0.5".to_owned();
    asked.region = in_region(region::Shape::Cone(Cone {
        centre: Some(Position { ra: 11.0, dec: 0.0 }),
        radius: 4.0,
    }));
    asked.columns = vec!["n".to_owned()];
    asked.with_vectors = true;
    asked.explain = true;
    let (hits, stats) = server.search(asked).await.expect("found");
    assert_eq!(ids_of(&hits), [11, 9, 13, 7]);
    assert_eq!(hits[0].columns.len(), 1);
    assert_eq!(hits[0].vectors["v"], vector(&[11.0, 0.0, 1.0]));
    assert!(!stats.explanation.is_empty());
    assert_eq!(stats.rows_surviving, 5, "7, 9, 11, 13 and 15, edges included");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cell_is_a_column_that_can_be_asked_for() {
    let (_folder, server) = server(20).await;
    let mut asked = near("galaxies", &[10.2, 0.0, 1.0], 3);
    asked.columns = vec!["RA".to_owned(), "Healpix_29".to_owned()];
    let (hits, _) = server.search(asked).await.expect("found");
    assert_eq!(ids_of(&hits), [10, 11, 9]);
    for hit in &hits {
        assert_eq!(
            hit.columns.keys().collect::<Vec<_>>(),
            ["healpix_29"],
            "every hit has ra anyway"
        );
        let Some(value::Kind::Integer(cell)) = hit.columns["healpix_29"].kind else {
            panic!("a number")
        };
        let mut of_cell = near("galaxies", &[0.0, 0.0, 1.0], 20);
        of_cell.predicate = format!("healpix_29 = {cell}");
        let (found, _) = server.search(of_cell).await.expect("found");
        assert_eq!(found.iter().map(|hit| &hit.id).collect::<Vec<_>>(), [&hit.id]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_on_lists_are_refused_with_advice() {
    let (_folder, server) = server(3).await;
    for predicate in ["spectrum > 1", "z > 0 AND Spectrum[1] > 1"] {
        let mut asked = near("galaxies", &GOOD, 3);
        asked.predicate = predicate.to_owned();
        let refused = server.search(asked).await.expect_err("a list");
        assert_eq!(refused.code(), Code::InvalidArgument);
        let told = refused.message();
        assert!(told.contains("each holds several") && told.contains("import --map"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_are_not_their_own_hits_and_negatives_repel() {
    let (_folder, server) = server(50).await;
    let like = |like: &[i64], unlike: &[i64]| {
        let ids = |ids: &[i64]| ids.iter().map(|&id| number(id)).collect();
        term(VectorTerm { like: ids(like), unlike: ids(unlike), ..in_v() })
    };
    let (hits, _) = server.search(like(&[20], &[])).await.expect("found");
    assert_eq!(ids_of(&hits), [19, 21, 18, 22, 17], "ties go to the smaller id");
    let (hits, _) = server.search(like(&[20, 22], &[])).await.expect("found");
    assert_eq!(ids_of(&hits), [21, 19, 23, 18, 24]);
    let (hits, _) = server.search(like(&[20], &[10])).await.expect("found");
    assert!(ids_of(&hits).iter().all(|&id| id > 20), "away from 10: {:?}", ids_of(&hits));
    let missing = server.search(like(&[99], &[])).await.expect_err("no such object");
    assert_eq!(missing.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distance_can_stand_for_a_number_and_no_term_is_a_listing() {
    let (_folder, server) = server(100).await;
    let mut within = near("galaxies", &[10.0, 0.0, 1.0], 0);
    within.within = Some(3.0);
    let (hits, _) = server.search(within.clone()).await.expect("found");
    assert_eq!(ids_of(&hits), [10, 9, 11, 8, 12, 7, 13], "the bound itself included");
    within.k = 2;
    let (hits, _) = server.search(within).await.expect("found");
    assert_eq!(ids_of(&hits), [10, 9]);
    let listing = SearchRequest {
        collection: "galaxies".to_owned(),
        predicate: "n >= 40".to_owned(),
        k: 3,
        ..SearchRequest::default()
    };
    let (hits, _) = server.search(listing).await.expect("listed");
    assert_eq!(ids_of(&hits), [40, 41, 42]);
    assert_eq!((hits[0].distance, hits[0].score), (None, None));
    let all = near("galaxies", &[0.0, 0.0, 0.0], 10_000);
    assert_eq!(server.search(all).await.expect("found").0.len(), 100, "never fewer than there are");
}

const GOOD: [f32; 3] = [1.0, 0.0, 1.0];

/// Terms that make no sense, or not there, and what is said of them.
fn impossible_terms() -> Vec<(SearchRequest, Code, &'static str)> {
    let at = |values: &[f32]| VectorTerm { vectors: vec![vector(values)], ..in_v() };
    let foreign = Provenance { encoder: "other".to_owned(), ..Provenance::default() };
    vec![
        (near("galaxies", &GOOD, 0), Code::InvalidArgument, "k is 0"),
        (near("galaxies", &GOOD, 10_001), Code::InvalidArgument, "limit of 10000"),
        (near("nowhere", &GOOD, 5), Code::NotFound, "nowhere"),
        (term(at(&[1.0, 0.0])), Code::InvalidArgument, "dimension 3, the vector has 2"),
        (term(at(&[f32::NAN, 0.0, 1.0])), Code::InvalidArgument, "finite"),
        (term(VectorTerm { space: "w".to_owned(), ..at(&GOOD) }), Code::NotFound, "it has: v, c"),
        (
            term(VectorTerm { space: "c".to_owned(), ..at(&GOOD) }),
            Code::InvalidArgument,
            "dimension 2",
        ),
        (
            term(VectorTerm { space: "c".to_owned(), ..at(&[0.0, 0.0]) }),
            Code::InvalidArgument,
            "zero",
        ),
        (term(VectorTerm { weight: -2.0, ..at(&GOOD) }), Code::InvalidArgument, "above 0"),
        (
            term(VectorTerm { provenance: Some(foreign), ..at(&GOOD) }),
            Code::InvalidArgument,
            "no distance",
        ),
        (term(in_v()), Code::InvalidArgument, "names no object"),
        (term(VectorTerm { like: vec![text("x")], ..in_v() }), Code::InvalidArgument, "64-bit"),
        (
            term(VectorTerm { examples: vec![image(b"!ab")], ..in_v() }),
            Code::InvalidArgument,
            "made elsewhere",
        ),
        (
            term(VectorTerm { space: String::new(), like: vec![number(1)], ..in_v() }),
            Code::InvalidArgument,
            "v, c fit",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_searches_are_refused_with_the_right_status() {
    let (_folder, server) = server(10).await;
    let mut cases = impossible_terms();
    let change = |change: &dyn Fn(&mut SearchRequest)| {
        let mut request = near("galaxies", &GOOD, 5);
        change(&mut request);
        request
    };
    cases.push((change(&|one| one.within = Some(f64::NAN)), Code::InvalidArgument, "finite"));
    cases.push((change(&|one| one.within = Some(-0.1)), Code::InvalidArgument, "nearer than 0"));
    cases.push((
        change(&|one| one.columns = vec!["redshift".to_owned()]),
        Code::InvalidArgument,
        "redshift",
    ));
    cases.push((change(&|one| one.plan = "magic".to_owned()), Code::InvalidArgument, "magic"));
    cases.push((
        change(&|one| {
            one.terms.clear();
            one.within = Some(1.0);
        }),
        Code::InvalidArgument,
        "vector term",
    ));
    let cone = Cone { centre: Some(Position { ra: 0.0, dec: 0.0 }), radius: 181.0 };
    cases.push((
        change(&|one| one.region = in_region(region::Shape::Cone(cone))),
        Code::InvalidArgument,
        "180",
    ));
    for (request, code, said) in cases {
        let status = server.search(request).await.expect_err(said);
        assert_eq!(status.code(), code, "{said}: {status:?}");
        assert!(
            status.message().contains(said) && !status.message().contains('\n'),
            "{said}: {status:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_come_in_chunks_in_order() {
    let (_folder, server) = server(0).await;
    let rows: Vec<Object> = (0..600)
        .map(|id| {
            let mut row = galaxy(id, id as f64 % 360.0, 0.0);
            row.columns.insert("class".to_owned(), string(&"x".repeat(10_000)));
            row
        })
        .collect();
    for page in rows.chunks(200) {
        server.write("galaxies", page.to_vec()).await;
    }
    let mut client = server.searches().await;
    let mut stream =
        client.search(near("galaxies", &[0.0, 0.0, 1.0], 600)).await.expect("found").into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.next().await {
        messages.push(message.expect("a message"));
    }
    assert!(messages.len() >= 6, "{} messages", messages.len());
    assert!(messages.iter().all(|message| message.encoded_len() <= 1 << 20));
    let (last, others) = messages.split_last().expect("messages");
    assert!(last.stats.is_some() && others.iter().all(|message| message.stats.is_none()));
    let ids: Vec<i64> = messages.iter().flat_map(|message| ids_of(&message.hits)).collect();
    assert_eq!(ids, (0..600).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_built_and_found_again_by_its_status() {
    let (_folder, server) = server(3_000).await;
    let mut client = server.maintenance().await;
    let status =
        GetIndexStatusRequest { collection: "galaxies".to_owned(), release: String::new() };
    let before = client.get_index_status(status.clone()).await.expect("status").into_inner();
    assert_eq!((before.segments.len(), before.tail_rows), (0, 3_000));
    let build = BuildIndexRequest { collection: "galaxies".to_owned(), space: String::new() };
    let mut progress = client.build_index(build).await.expect("begins").into_inner();
    let mut last = None;
    while let Some(step) = progress.next().await {
        let step = step.expect("a step");
        assert!(step.done <= step.total || step.total == 0, "{step:?}");
        last = Some(step);
    }
    let after = last.and_then(|step| step.status).expect("the last message has the status");
    assert_eq!((after.tail_rows, after.segments.len(), after.segments[0].rows), (0, 1, 3_000));
    assert_eq!(after.segments[0].spaces[0].space, "v");
    let asked = client.get_index_status(status).await.expect("status").into_inner();
    assert_eq!(asked.indexed_version, asked.version);
    server.write("galaxies", vec![galaxy(5_000, 1.0, 1.0), object(3, 9.0, 9.0)]).await;
    let (hits, stats) =
        server.search(near("galaxies", &[5_000.0, 0.0, 1.0], 1)).await.expect("found");
    assert_eq!((id_of(hits[0].id.as_ref()), stats.tail_rows), (5_000, 2));
    for (collection, space, code) in
        [("nowhere", "", Code::NotFound), ("galaxies", "w", Code::NotFound)]
    {
        let build =
            BuildIndexRequest { collection: collection.to_owned(), space: space.to_owned() };
        assert_eq!(client.build_index(build).await.expect_err("refused").code(), code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_allows_no_time_gets_no_answer() {
    let (_folder, server) = server(2_000).await;
    let mut request = Request::new(near("galaxies", &[1.0, 0.0, 1.0], 1_000));
    request.set_timeout(Duration::from_micros(1));
    let status = server.searches().await.search(request).await.expect_err("too late");
    // It may have been over while the call was on its way, or be too short for the queue.
    let late = [Code::DeadlineExceeded, Code::Cancelled, Code::ResourceExhausted];
    assert!(late.contains(&status.code()), "{status:?}");
    server.search(near("galaxies", &[1.0, 0.0, 1.0], 1)).await.expect("the server goes on");
}
