//! Creating, listing, extending and dropping collections.

use sidereus::wire::v1::{
    AddSpaceRequest, ColumnType, DropCollectionRequest, GetCollectionRequest, IdKind,
    ListCollectionsRequest, Metric, Provenance,
};
use tonic::Code;

use crate::support::{TestServer, column, galaxy, schema, space};

#[tokio::test(flavor = "multi_thread")]
async fn collections_are_created_listed_shown_and_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    let made = server.create(schema("galaxies")).await.expect("created");
    assert_eq!(made.schema, Some(schema("galaxies")));
    server.create(schema("stars")).await.expect("created");
    server.write("galaxies", (0..10).map(|id| galaxy(id, id as f64, 0.0)).collect()).await;

    let mut client = server.collections().await;
    let listed =
        client.list_collections(ListCollectionsRequest {}).await.expect("listed").into_inner();
    let names: Vec<_> = listed
        .collections
        .iter()
        .map(|one| one.schema.as_ref().expect("a schema").name.clone())
        .collect();
    assert_eq!(names, ["galaxies", "stars"]);
    let get = |name: &str| GetCollectionRequest { name: name.to_owned(), release: String::new() };
    let shown = client.get_collection(get("galaxies")).await.expect("shown").into_inner();
    let shown = shown.collection.expect("the collection");
    assert_eq!(
        (shown.object_count, shown.vector_counts["v"], shown.vector_counts["c"]),
        (10, 10, 0)
    );
    assert!(!shown.footprint.is_empty());

    let dropped = DropCollectionRequest { name: "galaxies".to_owned(), with_releases: false };
    client.drop_collection(dropped.clone()).await.expect("dropped");
    let gone = client.get_collection(get("galaxies")).await.expect_err("gone");
    assert_eq!(gone.code(), Code::NotFound);
    assert_eq!(client.drop_collection(dropped).await.expect_err("gone").code(), Code::NotFound);
    assert_eq!(server.count("galaxies", None, "").await.expect_err("gone").code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_schemas_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    server.create(schema("galaxies")).await.expect("created");
    let again =
        server.create(schema("Galaxies")).await.expect_err("a name is taken whatever its case");
    assert_eq!(again.code(), Code::AlreadyExists);

    let mut bad = Vec::new();
    for name in ["", "../etc", "a b", "1st", "é/", &"x".repeat(200)] {
        bad.push(schema(name));
    }
    let mut reserved = schema("a");
    reserved.columns.push(column("ra", ColumnType::Float64));
    bad.push(reserved);
    let mut twice = schema("a");
    twice.columns.push(column("Z", ColumnType::Float64));
    bad.push(twice);
    let mut flat = schema("a");
    flat.spaces.push(space("empty", "image", 0, Metric::L2));
    bad.push(flat);
    let mut huge = schema("a");
    huge.spaces.push(space("huge", "image", 1_000_000, Metric::L2));
    bad.push(huge);
    let mut no_ids = schema("a");
    no_ids.id_kind = IdKind::Unspecified.into();
    bad.push(no_ids);
    let mut no_metric = schema("a");
    no_metric.spaces[0].metric = 77;
    bad.push(no_metric);
    let mut no_type = schema("a");
    no_type.columns[0].r#type = 0;
    bad.push(no_type);
    for schema in bad {
        let status = server.create(schema).await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(!status.message().is_empty() && !status.message().contains('\n'));
    }
    let mut client = server.collections().await;
    let listed =
        client.list_collections(ListCollectionsRequest {}).await.expect("listed").into_inner();
    assert_eq!(listed.collections.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_is_added_once_and_never_with_another_meaning() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    server.create(schema("galaxies")).await.expect("created");
    let mut client = server.collections().await;
    let add = |space| AddSpaceRequest { collection: "galaxies".to_owned(), space: Some(space) };
    let extra = space("extra", "image", 5, Metric::Cosine);
    let reply = client.add_space(add(extra.clone())).await.expect("added").into_inner();
    let spaces = reply.collection.and_then(|one| one.schema).expect("a schema").spaces;
    assert_eq!(spaces.last(), Some(&extra));
    client.add_space(add(extra.clone())).await.expect("the same again changes nothing");
    let mut wider = extra.clone();
    wider.dimension = 6;
    assert_eq!(
        client.add_space(add(wider)).await.expect_err("refused").code(),
        Code::AlreadyExists
    );
    let mut foreign = extra;
    foreign.provenance = Some(Provenance { encoder: "other".to_owned(), ..Provenance::default() });
    let status = client.add_space(add(foreign)).await.expect_err("refused");
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(status.message().contains("provenance"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_a_collection_that_somebody_else_drops() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    let shared = &server;
    let work = |who: usize| async move {
        let mut client = shared.collections().await;
        for round in 0..150 {
            let name = format!("c{who}_{round}");
            // Both look at every collection there is.
            shared.create(schema(&name)).await.expect("created");
            let listed = client.list_collections(ListCollectionsRequest {}).await.expect("listed");
            let listed = listed.into_inner().collections;
            assert!(listed.iter().any(|each| each.schema.as_ref().expect("it").name == name));
            let request = DropCollectionRequest { name, ..DropCollectionRequest::default() };
            client.drop_collection(request).await.expect("dropped");
        }
    };
    futures::future::join_all((0..8).map(work)).await;
    server.stop().await;
}
