//! Objects by id, counts and predicates.

use std::collections::HashMap;

use sidereus::wire::v1::{
    ColumnType, CountObjectsRequest, DeleteObjectsRequest, FloatList, GetObjectsRequest, IdKind,
    Object, Value, value,
};
use tonic::Code;

use crate::support::{TestServer, column, galaxy, number, object, schema, text, vector};

fn get(ids: Vec<sidereus::wire::v1::ObjectId>, with_vectors: bool) -> GetObjectsRequest {
    GetObjectsRequest {
        collection: "galaxies".to_owned(),
        ids,
        with_vectors,
        release: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_read_back_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    server.create(schema("galaxies")).await.expect("created");
    let mut full = galaxy(-5, 359.999, -89.5);
    full.columns
        .insert("image".to_owned(), Value { kind: Some(value::Kind::Binary(vec![0, 255, 7])) });
    let spectrum = FloatList { values: vec![1.5, f64::NAN, -2.0] };
    full.columns.insert("spectrum".to_owned(), Value { kind: Some(value::Kind::Floats(spectrum)) });
    full.vectors.insert("c".to_owned(), vector(&[3.0, 4.0]));
    let bare = object(i64::MAX, 0.0, 90.0);
    server.write("galaxies", vec![full.clone(), bare.clone()]).await;

    let mut client = server.objects().await;
    let ids = vec![number(-5), number(9), number(i64::MAX)];
    let reply = client.get_objects(get(ids.clone(), true)).await.expect("read").into_inner();
    assert_eq!(reply.missing, [number(9)]);
    assert_eq!(reply.objects[1], bare);
    // NaN is not equal to itself: the list is compared apart.
    let Some(value::Kind::Floats(stored)) = reply.objects[0].columns["spectrum"].kind.clone()
    else {
        panic!("a list")
    };
    assert!(stored.values[1].is_nan() && stored.values[0] == 1.5 && stored.values[2] == -2.0);
    let without = |object: &Object| {
        let mut object = object.clone();
        object.columns.remove("spectrum");
        object
    };
    assert_eq!(without(&reply.objects[0]), without(&full));
    let reply = client.get_objects(get(ids, false)).await.expect("read").into_inner();
    assert!(reply.objects[0].vectors.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_objects_are_gone_and_absent_ones_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    server.create(schema("galaxies")).await.expect("created");
    server.write("galaxies", (0..10).map(|id| galaxy(id, 0.0, 0.0)).collect()).await;
    let delete = |ids: Vec<i64>| DeleteObjectsRequest {
        collection: "galaxies".to_owned(),
        ids: ids.into_iter().map(number).collect(),
    };
    let mut client = server.objects().await;
    let reply =
        client.delete_objects(delete(vec![1, 2, 2, 99])).await.expect("deleted").into_inner();
    assert_eq!((reply.deleted, reply.absent), (2, 2));
    assert_eq!(server.count("galaxies", None, "").await.expect("counted"), 8);
    let reply = client
        .get_objects(get(vec![number(1), number(3)], false))
        .await
        .expect("read")
        .into_inner();
    assert_eq!((reply.missing, reply.objects.len()), (vec![number(1)], 1));
    let nothing = client.delete_objects(delete(Vec::new())).await.expect("nothing").into_inner();
    assert_eq!((nothing.deleted, nothing.absent), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn text_ids_are_kept_apart_from_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    let mut named = schema("galaxies");
    named.id_kind = IdKind::Text.into();
    named.columns = vec![column("z", ColumnType::Float64)];
    server.create(named).await.expect("created");
    let row =
        |id: &str| Object { id: Some(text(id)), columns: HashMap::new(), ..object(0, 10.0, 10.0) };
    server.write("galaxies", vec![row("266-51602-1"), row("007"), row("7")]).await;
    let mut client = server.objects().await;
    let ids = vec![text("007"), text("266-51602-1"), text("nobody")];
    let reply = client.get_objects(get(ids, false)).await.expect("read").into_inner();
    assert_eq!(
        reply.objects.iter().map(|one| one.id.clone()).collect::<Vec<_>>(),
        [Some(text("007")), Some(text("266-51602-1"))]
    );
    assert_eq!(reply.missing, [text("nobody")]);
    let wrong = client.get_objects(get(vec![number(7)], false)).await.expect_err("a number");
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert!(wrong.message().contains("strings"), "{wrong:?}");
    let long =
        client.get_objects(get(vec![text(&"x".repeat(300))], false)).await.expect_err("too long");
    assert_eq!(long.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_replies_keep_to_their_limits() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_with(folder.path(), None, |options| {
        options.limits.ids_max = 5;
        options.limits.reply_bytes_max = 2_000;
        options.limits.predicate_bytes_max = 50;
    })
    .await;
    server.create(schema("galaxies")).await.expect("created");
    let rows = (0..5).map(|id| {
        let mut row = galaxy(id, 0.0, 0.0);
        row.columns
            .insert("image".to_owned(), Value { kind: Some(value::Kind::Binary(vec![1; 900])) });
        row
    });
    server.write("galaxies", rows.collect()).await;
    let mut client = server.objects().await;
    let mut ask =
        async |count: i64| client.get_objects(get((0..count).map(number).collect(), false)).await;
    assert_eq!(ask(6).await.expect_err("too many").code(), Code::InvalidArgument);
    assert_eq!(ask(2).await.expect("fits").into_inner().objects.len(), 2);
    let large = ask(3).await.expect_err("too large");
    assert_eq!(large.code(), Code::ResourceExhausted);
    assert!(large.message().contains("fewer objects"), "{large:?}");
    let long = server
        .count("galaxies", None, &format!("z > {}", "0".repeat(60)))
        .await
        .expect_err("too long");
    assert_eq!(long.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn predicates_count_and_their_faults_are_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    server.create(schema("galaxies")).await.expect("created");
    let mut rows: Vec<Object> = (0..100).map(|id| galaxy(id, id as f64, 0.0)).collect();
    rows.push(object(1_000, 0.0, 0.0));
    server.write("galaxies", rows).await;
    for (predicate, expected) in [
        ("", 101),
        ("  ", 101),
        ("z < 0.1", 10),
        ("z BETWEEN 0.1 AND 0.2", 11),
        ("class = 'GALAXY'", 50),
        ("class = 'GALAXY' AND z < 0.1", 5),
        ("class IN ('QSO', 'STAR') OR n = 4", 51),
        ("z IS NULL", 1),
        ("NOT (z < 0.5)", 50),
        ("class LIKE 'G%'", 50),
        ("object_id >= 90 AND ra > 95", 4),
        ("n % 10 = 0", 10),
        ("FALSE", 0),
    ] {
        let counted = server.count("galaxies", None, predicate).await;
        assert_eq!(counted.expect(predicate), expected, "{predicate}");
    }
    for (predicate, said) in [
        ("redshift > 1", "redshift"),
        ("z >", ""),
        ("z = 'far", ""),
        ("z", ""),
        ("1; DROP TABLE galaxies", ""),
        ("z > 0 UNION SELECT 1", ""),
        ("image = 'x'", "image"),
        ("(SELECT 1) = 1", ""),
        ("no_such_function(z) > 1", "no_such_function"),
    ] {
        let status = server.count("galaxies", None, predicate).await.expect_err(predicate);
        assert!(
            matches!(status.code(), Code::InvalidArgument | Code::NotFound),
            "{predicate}: {status:?}"
        );
        assert!(
            status.message().contains(said) && !status.message().contains('\n'),
            "{predicate}: {status:?}"
        );
    }
    let syntax = server.count("galaxies", None, "z > > 1").await.expect_err("a syntax error");
    assert_eq!(syntax.code(), Code::InvalidArgument);
    assert!(syntax.message().chars().any(|each| each.is_ascii_digit()), "a position: {syntax:?}");
    let request =
        CountObjectsRequest { collection: "stars".to_owned(), ..CountObjectsRequest::default() };
    let missing =
        server.objects().await.count_objects(request).await.expect_err("no such collection");
    assert_eq!(missing.code(), Code::NotFound);
}
