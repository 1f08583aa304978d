//! What bridges and shared spaces give beside searches: spaces that both sides are written to, and misalignment.

use sidereus::wire::v1::{AddSpaceRequest, EmbeddingSpace, Hit, SearchRequest, VectorTerm, value};
use tonic::Code;

use super::{
    OBJECTS, WIDTH, apply, cca, fit, galaxy, like, made_by, near, procrustes, term,
    value as metric, view, wanted, with_galaxies,
};
use crate::support::{TestServer, id_of, ids_of, vector};

/// CCA leads both sides into a space of their own: written there, one is found by the other, after a restart, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_into_a_space_of_its_own_is_searched_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_galaxies(folder.path()).await;
    let bridge = fit(&server, wanted("c", "image", "spectrum", cca(6))).await.expect("fits");
    assert!(!bridge.leads_into_target);
    assert_eq!((bridge.dimension, bridge.correlations.len()), (6, 6));
    assert!(metric(&bridge, "recall@10") > 0.9, "{bridge:?}");
    let status = apply(&server, "c", "no name").await.expect_err("not a name");
    assert_eq!(status.code(), Code::InvalidArgument);
    let done = apply(&server, "c", "both").await.expect("written");
    assert_eq!(done.spaces, ["both.image", "both.spectrum"]);
    assert_eq!((done.done, done.total, done.refused), (2_280, 2_280, 0));
    // Again is no harm; another fit does not get into the same spaces.
    apply(&server, "c", "both").await.expect("written again");
    fit(&server, wanted("d", "image", "spectrum", cca(6))).await.expect("fits");
    let status = apply(&server, "d", "both").await.expect_err("of another bridge");
    assert!(status.message().contains("provenance"), "{}", status.message());
    // Where the second space is refused, the first one is not made either.
    let mut taken = server.db.schema("sky").expect("a schema").space("image").expect("it").clone();
    "half.spectrum".clone_into(&mut taken.name);
    server.db.add_space("sky", taken).expect("added");
    apply(&server, "c", "half").await.expect_err("one of its spaces is another");
    assert!(server.db.schema("sky").expect("a schema").space("half.image").is_none());
    server.stop().await;

    let server = TestServer::start(folder.path()).await;
    let mut first = 0;
    for id in 200..230 {
        let (hits, _) =
            server.search(near(like("both.image", "both.spectrum", id), 1)).await.expect("found");
        assert_ne!(ids_of(&hits)[0], id);
        let within = SearchRequest {
            predicate: format!("object_id = {id}"),
            with_vectors: true,
            terms: Vec::new(),
            ..near(VectorTerm::default(), 1)
        };
        let (own, _) = server.search(within).await.expect("found");
        let image = own[0].vectors["both.image"].values.clone();
        let given =
            VectorTerm { vectors: vec![vector(&image)], ..term("both.image", "both.spectrum") };
        let (hits, stats) = server.search(near(given, 1)).await.expect("found");
        assert!(stats.explanation.contains("share `both`"));
        first += usize::from(ids_of(&hits)[0] == id);
    }
    assert!(first >= 22, "{first} of 27");
    server.stop().await;
}

async fn misaligned(server: &TestServer, column: &str, k: u32) -> Vec<(i64, f64)> {
    let request = SearchRequest {
        collection: "sky".to_owned(),
        predicate: format!("{column} IS NOT NULL"),
        order_by: column.to_owned(),
        descending: true,
        k,
        columns: vec![column.to_owned()],
        ..SearchRequest::default()
    };
    let number = |hit: &Hit| match hit.columns[column].kind {
        Some(value::Kind::Real(number)) => number,
        ref other => panic!("{other:?}"),
    };
    let (hits, _) = server.search(request).await.expect("ranked");
    hits.iter().map(|hit| (id_of(hit.id.as_ref()), number(hit))).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The object that has the spectrum of another one stands out.
#[tokio::test(flavor = "multi_thread")]
async fn misalignment_is_a_column() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_galaxies(folder.path()).await;
    let shared = misaligned(&server, "misalignment.tower_a.tower_b", 10_000).await;
    assert_eq!(shared.len(), OBJECTS as usize);
    for (id, found) in &shared {
        let galaxy = galaxy(*id);
        let of = |space: &str| galaxy.vectors[space].values.clone();
        let wanted = 1.0 - cosine(&of("tower_a"), &of("tower_b"));
        assert!((found - wanted).abs() < 1e-6, "{id}: {found} {wanted}");
    }
    let status = server.count("sky", None, "misalignment.image.spectrum > 0").await;
    status.expect_err("no bridge yet");
    fit(&server, wanted("b", "image", "spectrum", procrustes())).await.expect("fits");
    let across = misaligned(&server, "misalignment.image.spectrum", 10_000).await;
    assert_eq!(across.len(), 1_080);
    assert_eq!(across[0].0, 7, "{:?}", &across[..3]);
    assert!(across[0].1 > 0.5 && across[1].1 < 0.3, "{:?}", &across[..3]);
    // The column is the distance of the search, as the metric of the space is the cosine.
    let image =
        VectorTerm { vectors: vec![vector(&view(21, 1, 0.05))], ..term("image", "spectrum") };
    let own = SearchRequest { predicate: "object_id = 21".to_owned(), ..near(image, 1) };
    let distance = server.search(own).await.expect("found").0[0].distance.expect("a distance");
    let of_21 = across.iter().find(|(id, _)| *id == 21).expect("it has both").1;
    assert!((distance - of_21).abs() < 1e-5, "{distance} {of_21}");
    server.stop().await;
    let server = TestServer::start(folder.path()).await;
    let again = misaligned(&server, "misalignment.image.spectrum", 3).await;
    assert_eq!(again, across[..3]);
    server.stop().await;
}

/// Spaces that are there already can be declared shared, if they fit together.
#[tokio::test(flavor = "multi_thread")]
async fn spaces_are_declared_shared_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_galaxies(folder.path()).await;
    let declare = async |name: &str, encoder: &str, modality: &str, shared: &str| {
        let space =
            EmbeddingSpace { shared: shared.to_owned(), ..made_by(encoder, name, modality) };
        let request = AddSpaceRequest { collection: "sky".to_owned(), space: Some(space) };
        server.collections().await.add_space(request).await
    };
    declare("image", "eyes", "image", "pair").await.expect("declared");
    declare("spectrum", "prism", "spectrum", "pair").await.expect("declared");
    declare("spectrum", "prism", "spectrum", "").await.expect("confirmed as it is");
    let status = declare("spectrum", "prism", "spectrum", "other").await.expect_err("another");
    assert!(status.message().contains("shared space"), "{}", status.message());
    server.search(near(like("image", "spectrum", 5), 3)).await.expect("comparable");
    let column = misaligned(&server, "misalignment.image.spectrum", 3).await;
    assert_eq!(column.len(), 3);
    let wide = EmbeddingSpace {
        dimension: WIDTH as u32 + 1,
        shared: "pair".to_owned(),
        ..made_by("wide", "wide", "image")
    };
    let request = AddSpaceRequest { collection: "sky".to_owned(), space: Some(wide) };
    let status = server.collections().await.add_space(request).await.expect_err("too wide");
    assert!(status.message().contains("differ in dimension"), "{}", status.message());
    server.stop().await;
    let server = TestServer::start(folder.path()).await;
    server.search(near(like("image", "spectrum", 5), 3)).await.expect("still comparable");
    server.stop().await;
}
