//! Declaring spaces that are filled as objects arrive, and taking it back.

use sidereus::wire::v1::{
    AddSpaceRequest, DropCollectionRequest, EncodeCollectionRequest, IngestMode,
    SetEncodeAtIngestRequest,
};
use tonic::{Code, Status};

use super::*;

async fn set(
    server: &TestServer,
    space: &str,
    on: bool,
    inputs: &[(&str, &str)],
) -> Result<Collection, Status> {
    let inputs = inputs.iter().map(|&(input, column)| (input.to_owned(), column.to_owned()));
    let request = SetEncodeAtIngestRequest {
        collection: NAME.to_owned(),
        space: space.to_owned(),
        encode_at_ingest: on,
        inputs: inputs.collect(),
    };
    let reply = server.collections().await.set_encode_at_ingest(request).await?.into_inner();
    Ok(reply.collection.expect("the collection"))
}

fn job(space: &str) -> EncodeCollectionRequest {
    EncodeCollectionRequest {
        collection: NAME.to_owned(),
        model: "fluxes".to_owned(),
        space: space.to_owned(),
        encode_at_ingest: true,
        ..EncodeCollectionRequest::default()
    }
}

async fn run(server: &TestServer, job: EncodeCollectionRequest) -> Result<u64, Status> {
    let mut steps = server.maintenance().await.encode_collection(job).await?.into_inner();
    let mut encoded = 0;
    while let Some(step) = steps.message().await? {
        encoded = step.encoded;
    }
    Ok(encoded)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_is_completed_by_the_model_and_refused_where_it_cannot_be_kept() {
    let (_folder, server, _controls) = server().await;
    let created = server.create(filled()).await.expect("created").schema.expect("a schema");
    let colours = created.spaces.iter().find(|space| space.name == "colours").expect("there");
    let provenance = colours.provenance.clone().expect("completed");
    assert_eq!((&*provenance.weights_hash, &*provenance.pooling), ("w0", "none"));
    let expected = [("flux_g", "flux_g"), ("flux_r", "flux_r"), ("flux_z", "")]
        .map(|(a, b)| (a.into(), b.into()));
    assert_eq!(colours.inputs, HashMap::from(expected));

    let add = async |space: EmbeddingSpace| {
        let request = AddSpaceRequest { collection: NAME.to_owned(), space: Some(space) };
        server.collections().await.add_space(request).await.map(|_| ())
    };
    let with = |change: &dyn Fn(&mut EmbeddingSpace)| {
        let mut space = made("more", "fluxes", "photometry", 3);
        change(&mut space);
        space
    };
    let inputs = |input: &str, column: &str| HashMap::from([(input.to_owned(), column.to_owned())]);
    let provenance = |space: &mut EmbeddingSpace, change: &dyn Fn(&mut Provenance)| {
        change(space.provenance.as_mut().expect("there"));
    };
    for (space, code, words) in [
        (with(&|space| space.provenance = None), Code::InvalidArgument, "made elsewhere"),
        (with(&|space| space.dimension = 4), Code::InvalidArgument, "makes vectors of dimension 3"),
        (with(&|space| space.modality = "image".to_owned()), Code::InvalidArgument, "modality"),
        (with(&|space| space.inputs = inputs("flux_g", "nope")), Code::InvalidArgument, "`nope`"),
        (with(&|space| space.inputs = inputs("flux_y", "z")), Code::InvalidArgument, "flux_y"),
        (with(&|space| space.inputs = inputs("flux_g", "class")), Code::InvalidArgument, "`class`"),
        (
            with(&|space| {
                space.encode_at_ingest = false;
                space.inputs = inputs("flux_g", "z");
            }),
            Code::InvalidArgument,
            "not encoded at ingest",
        ),
        (
            with(&|space| provenance(space, &|given| given.encoder = "nobody".to_owned())),
            Code::NotFound,
            "nobody",
        ),
        (
            with(&|space| provenance(space, &|given| given.weights_hash = "w9".to_owned())),
            Code::AlreadyExists,
            "w9",
        ),
    ] {
        let status = add(space).await.expect_err(words);
        assert!(status.message().contains(words), "{status}");
        assert_eq!(status.code(), code, "{status}");
    }
    assert_eq!(shown(server.collections().await).await.schema.expect("there").spaces.len(), 5);

    let refused =
        async |job: EncodeCollectionRequest| run(&server, job).await.expect_err("refused");
    let status =
        refused(EncodeCollectionRequest { predicate: "z > 1".to_owned(), ..job("x") }).await;
    assert!(status.message().contains("leave out the condition"), "{status}");
    let status =
        refused(EncodeCollectionRequest { from_tokens: "codes".to_owned(), ..job("x") }).await;
    assert!(status.message().contains("leave out the space of token ids"), "{status}");
    let status = set(&server, "v", true, &[]).await.expect_err("refused");
    assert!(status.message().contains("made elsewhere"), "{status}");
    assert_eq!(set(&server, "nope", true, &[]).await.expect_err("refused").code(), Code::NotFound);
    assert_eq!(set(&server, "nope", false, &[]).await.expect_err("refused").code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_encoder_nothing_is_declared_and_what_was_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let (encoder, _controls) = fake_encoder::start().await;
    let server = TestServer::start_with(folder.path(), Some(encoder), |_| {}).await;
    server.create(filled()).await.expect("created");
    server.stop().await;
    let server = TestServer::start(folder.path()).await;
    server.write(NAME, vec![with_fluxes(1, 1.0, 2.0)]).await;
    let told = until(&server, "colours", |told| !told.paused.is_empty()).await;
    assert!(told.paused.contains("without an encoder"), "{told:?}");
    assert_eq!((told.waiting, told.failed), (1, 0));
    let refused = set(&server, "colours", true, &[]).await.expect_err("refused");
    assert_eq!(refused.code(), Code::Unavailable);
    set(&server, "colours", false, &[]).await.expect("taking it back needs no encoder");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_that_exists_is_filled_from_then_on_and_no_more() {
    let (_folder, server, controls) = server().await;
    server.create(schema(NAME)).await.expect("created");
    server.write(NAME, (0..50).map(|id| with_fluxes(id, id as f64, 1.0)).collect()).await;
    assert_eq!(run(&server, job("colours")).await.expect("encodes"), 50);
    assert_eq!(encoded(&controls), 50, "the job and the space do not do the same work");
    server.write(NAME, (50..60).map(|id| with_fluxes(id, id as f64, 1.0)).collect()).await;
    assert_eq!(done(&server, "colours").await, (0, 0));
    assert_eq!(vectors(&server, "colours", &[55]).await[&55], [55.0, 1.0, 1.0]);

    let collection = set(&server, "colours", false, &[]).await.expect("taken back");
    assert!(collection.encoding.is_empty());
    server.write(NAME, vec![with_fluxes(60, 60.0, 1.0)]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(vectors(&server, "colours", &[60]).await.is_empty());
    // What came meanwhile counts as arrived when it is declared again, now from other columns.
    let collection = set(&server, "colours", true, &[("flux_r", "z")]).await.expect("declared");
    assert!(collection.schema.expect("there").spaces[2].encode_at_ingest);
    assert_eq!(done(&server, "colours").await, (0, 0));
    assert_eq!(vectors(&server, "colours", &[60]).await[&60], [60.0, 0.6, 1.0]);
    assert_eq!(encoded(&controls), 61);
    // The other inputs count for a merge: z is one now, flux_r is none.
    let mut moved = object(3, 1.0, 1.0);
    moved.columns.insert("z".to_owned(), real(7.0));
    let batch =
        sidereus::wire::v1::IngestBatch { objects: vec![moved], merge: true, ..Default::default() };
    let (answers, _) = server.ingest(NAME, IngestMode::default(), vec![batch]).await;
    assert_eq!(answers[0].replaced, 1);
    assert_eq!(done(&server, "colours").await, (0, 0));
    assert_eq!(vectors(&server, "colours", &[3]).await[&3], [3.0, 7.0, 1.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_of_the_same_name_begins_anew() {
    let (_folder, server, controls) = server().await;
    for round in 1..=3 {
        server.create(filled()).await.expect("created");
        let objects = (0..20).map(|id| with_fluxes(id, f64::from(round), 1.0)).collect();
        server.write(NAME, objects).await;
        if round == 2 {
            // Dropped in the midst of it.
            controls.delay_ms.store(100, Ordering::SeqCst);
        } else {
            assert_eq!(done(&server, "colours").await, (0, 0));
            let found = vectors(&server, "colours", &[7]).await;
            assert_eq!(found[&7], [round as f32, 1.0, 1.0]);
        }
        let drop = DropCollectionRequest { name: NAME.to_owned(), with_releases: false };
        server.collections().await.drop_collection(drop).await.expect("dropped");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_collection_leave_the_workers_of_others_alone() {
    const OTHER: &str = "others";
    let (_folder, server, _controls) = server().await;
    server.create(filled()).await.expect("created");
    let other = CollectionSchema { name: OTHER.to_owned(), ..filled() };
    server.create(other.clone()).await.expect("created");
    let own = async |id: i64, value: f64| {
        server.write(NAME, vec![with_fluxes(id, value, 1.0)]).await;
        assert_eq!(done(&server, "colours").await, (0, 0));
        assert_eq!(vectors(&server, "colours", &[id]).await[&id], [value as f32, 1.0, 1.0]);
    };
    own(1, 10.0).await;
    // Whatever letters it is named by: its workers end with it, and the next of its name has its own.
    let drop = DropCollectionRequest { name: OTHER.to_uppercase(), with_releases: false };
    server.collections().await.drop_collection(drop).await.expect("dropped");
    own(2, 20.0).await;
    server.create(CollectionSchema { spaces: Vec::new(), ..other }).await.expect("created");
    own(3, 30.0).await;
    let get = GetCollectionRequest { name: OTHER.to_owned(), release: String::new() };
    let shown = server.collections().await.get_collection(get).await.expect("shown").into_inner();
    assert!(shown.collection.expect("the collection").encoding.is_empty());
    let space = made("colours", "fluxes", "photometry", 3);
    let add = AddSpaceRequest { collection: OTHER.to_uppercase(), space: Some(space) };
    let added = server.collections().await.add_space(add).await.expect("added").into_inner();
    assert_eq!(added.collection.expect("the collection").encoding.len(), 1);
    own(4, 40.0).await;
    let mut row = with_fluxes(5, 50.0, 1.0);
    row.vectors.clear();
    server.write(OTHER, vec![row]).await;
    let began = Instant::now();
    loop {
        let ids = vec![number(5)];
        let get = GetObjectsRequest {
            collection: OTHER.to_owned(),
            ids,
            with_vectors: true,
            ..Default::default()
        };
        let found =
            server.objects().await.get_objects(get).await.expect("read").into_inner().objects;
        if let Some(vector) = found[0].vectors.get("colours") {
            assert_eq!(vector.values, [50.0, 1.0, 1.0]);
            break;
        }
        assert!(began.elapsed() < PATIENCE, "nobody fills the space of the new collection");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_declares_shows_and_takes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (address, _controls) = fake_encoder::serve().await;
    let config = folder.path().join("sidereus.toml");
    std::fs::write(&config, format!("version = 1\n[encoder]\naddresses = [\"{address}\"]\n"))
        .expect("written");
    let server = crate::crash::Server::start(&folder.path().join("data"), &config);
    let schema = folder.path().join("schema.toml");
    let text = r#"
        id = "number"
        [[column]]
        name = "g"
        type = "float64"
        [[column]]
        name = "flux_r"
        type = "float64"
        [[space]]
        name = "colours"
        modality = "photometry"
        dimension = 3
        metric = "l2"
        encode_at_ingest = true
        inputs = { flux_g = "g" }
        provenance = { encoder = "fluxes" }
    "#;
    std::fs::write(&schema, text).expect("written");
    let table = folder.path().join("table.csv");
    std::fs::write(&table, "object_id,ra,dec,g,flux_r\n1,10,10,0.5,2\n2,11,10,,\n3,12,10,3,\n")
        .expect("written");
    let says = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sidereus"));
        let output = command.args(words).args(["--server", &server.address]).output();
        let output = output.expect("the program runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {told}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let schema = schema.to_str().expect("a name");
    let shown = says(&["collection", "create", "sky", "--schema", schema]);
    assert!(shown.contains("encoded at ingest from flux_r, g; encoding 0 waiting, 0 failed"));
    says(&["import", "sky", table.to_str().expect("a name")]);
    let began = Instant::now();
    let shown = loop {
        let shown = says(&["collection", "show", "sky"]);
        if shown.contains("encoding 0 waiting, 1 failed, 1 without inputs") {
            break shown;
        }
        assert!(began.elapsed() < PATIENCE, "{shown}");
    };
    assert!(shown.contains("last failure: 3: `flux_r` is not observed"), "{shown}");
    let json = says(&["collection", "show", "sky", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("json");
    let told = &json["spaces"][0]["encode_at_ingest"];
    assert_eq!((&told["waiting"], &told["failed"]), (&0.into(), &1.into()), "{json}");
    assert_eq!(told["inputs"]["flux_g"], "g");
    let shown = says(&["collection", "encode-at-ingest", "sky", "colours", "--off"]);
    assert!(!shown.contains("at ingest"), "{shown}");
    let words = ["encode", "sky", "--model", "fluxes", "--space", "more", "--input", "flux_g=g"];
    says(&[&words[..], &["--encode-at-ingest"]].concat());
    let shown = says(&["collection", "show", "sky"]);
    assert!(shown.contains("more: encoded at ingest from flux_r, g"), "{shown}");
}
