//! Searches across spaces: by which rule, with what they find, and which are refused.

use sidereus::wire::v1::{BridgeSpec, FitBridgeRequest, Provenance, VectorTerm};
use tonic::Code;

use super::{
    cca, fit, galaxy, like, near, procrustes, ridge, term, value, view, wanted, with_galaxies,
};
use crate::support::{ids_of, number, vector};

/// The own spectrum of an image is the nearest of all, as often as the bridge says it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_finds_spectra_by_images() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_galaxies(folder.path()).await;
    let bridge = fit(&server, wanted("b", "image", "spectrum", procrustes())).await.expect("fits");
    assert_eq!((bridge.n_train + bridge.n_test, bridge.version), (1_080, 1));
    assert!(bridge.leads_into_target && bridge.stale.is_empty());
    assert!(value(&bridge, "recall@10") > 0.95, "{bridge:?}");
    assert!(value(&bridge, "recall_back@10") > 0.95, "{bridge:?}");
    assert!(value(&bridge, "cosine") > 0.9, "{bridge:?}");
    for metric in &bridge.metrics {
        assert!(metric.low <= metric.value && metric.value <= metric.high, "{metric:?}");
    }
    let chance = bridge.metrics.iter().find(|each| each.name == "recall@1").expect("there").chance;
    assert_eq!(chance, Some(1.0 / bridge.n_test as f64));

    // By the image's vector all objects can be hits, and the own one is the first.
    let mut first = 0;
    for id in 100..140 {
        let image =
            VectorTerm { vectors: vec![vector(&view(id, 1, 0.05))], ..term("image", "spectrum") };
        let (hits, stats) = server.search(near(image, 5)).await.expect("found");
        let told = &stats.explanation;
        assert!(told.contains("searched from image: bridge `b` version 1"), "{told}");
        assert!(told.contains("recall@10"), "{told}");
        first += usize::from(ids_of(&hits)[0] == id);
    }
    // Four of them have no spectrum.
    assert!(first >= 33, "{first} of 36");

    // By the object the same, without itself; and away from another one.
    let by_id = |term: VectorTerm| near(term, 5);
    let (liked, _) = server.search(by_id(like("image", "spectrum", 101))).await.expect("found");
    let image =
        VectorTerm { vectors: vec![vector(&view(101, 1, 0.05))], ..term("image", "spectrum") };
    let (nearest, _) = server.search(near(image, 6)).await.expect("found");
    assert_eq!(ids_of(&nearest)[0], 101);
    assert_eq!(ids_of(&nearest)[1..], ids_of(&liked));
    let unlike = VectorTerm { unlike: vec![number(102)], ..like("image", "spectrum", 101) };
    let (hits, _) = server.search(by_id(unlike)).await.expect("found");
    assert!(!ids_of(&hits).contains(&102) && !ids_of(&hits).contains(&101));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spaces_that_are_declared_shared_need_no_bridge() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_galaxies(folder.path()).await;
    let image =
        VectorTerm { vectors: vec![vector(&view(55, 4, 0.02))], ..term("tower_a", "tower_b") };
    let (hits, stats) = server.search(near(image, 3)).await.expect("found");
    assert_eq!(ids_of(&hits)[0], 55);
    assert!(stats.explanation.contains("declared to share `towers`"), "{}", stats.explanation);
    let same = like("tower_a", "tower_a", 55);
    let (hits, _) = server.search(near(same, 3)).await.expect("found");
    let plain = VectorTerm { from_space: String::new(), ..like("", "tower_a", 55) };
    assert_eq!(ids_of(&hits), ids_of(&server.search(near(plain, 3)).await.expect("found").0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_distance_is_refused_with_what_would_give_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_galaxies(folder.path()).await;
    let refused = async |term: VectorTerm, code: Code, words: &str| {
        let status = server.search(near(term, 3)).await.expect_err(words);
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(words), "{}", status.message());
    };
    let invalid = Code::InvalidArgument;
    let none = like("image", "spectrum", 1);
    refused(none.clone(), invalid, "sidereus bridge fit sky --from image --to spectrum").await;
    refused(none, invalid, "not declared shared").await;
    fit(&server, wanted("there", "image", "spectrum", procrustes())).await.expect("fits");
    refused(like("spectrum", "image", 1), invalid, "`there` leads the other way").await;
    fit(&server, wanted("also", "image", "spectrum", ridge())).await.expect("fits");
    refused(like("image", "spectrum", 1), invalid, "name one with --bridge (also, there)").await;
    let by =
        |bridge: &str| VectorTerm { bridge: bridge.to_owned(), ..like("image", "spectrum", 1) };
    server.search(near(by("also"), 3)).await.expect("named");
    refused(by("nowhere"), Code::NotFound, "no bridge `nowhere`").await;
    let other = VectorTerm { bridge: "also".to_owned(), ..like("tower_a", "spectrum", 1) };
    refused(other, invalid, "leads from `image` into `spectrum`").await;
    refused(like("image", "nosuch", 1), Code::NotFound, "nosuch").await;
    refused(like("nosuch", "image", 1), Code::NotFound, "nosuch").await;
    refused(like("image", "", 1), invalid, "--to-space").await;
    let homeless = VectorTerm { bridge: "also".to_owned(), ..like("", "image", 1) };
    refused(homeless, invalid, "--from-space").await;
    let narrow = VectorTerm { vectors: vec![vector(&[1.0, 2.0])], ..term("image", "spectrum") };
    refused(narrow, invalid, "`image` has dimension 8").await;
    // An object without an image's own spectrum is found by its image; one without an image is not.
    let mut lonely = galaxy(5_000);
    lonely.vectors.remove("image");
    server.write("sky", vec![lonely]).await;
    let without = VectorTerm { bridge: "also".to_owned(), ..like("image", "spectrum", 5_000) };
    refused(without, Code::NotFound, "image").await;
    // Vectors that say of another encoder that they are its own.
    let foreign = VectorTerm {
        vectors: vec![vector(&view(3, 1, 0.0))],
        provenance: Some(Provenance { encoder: "prism".to_owned(), ..Provenance::default() }),
        bridge: "also".to_owned(),
        ..term("image", "spectrum")
    };
    refused(foreign, invalid, "they have no distance").await;
    fit(&server, wanted("apart", "tower_a", "image", cca(4))).await.expect("fits");
    let hint = "sidereus bridge apply sky apart --materialise apart";
    refused(like("tower_a", "image", 1), invalid, hint).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fits_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_galaxies(folder.path()).await;
    let refused = async |request: FitBridgeRequest, code: Code, words: &str| {
        let status = fit(&server, request).await.expect_err(words);
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(words), "{}", status.message());
    };
    let invalid = Code::InvalidArgument;
    let good = || wanted("b", "image", "spectrum", procrustes());
    let with = |change: &dyn Fn(&mut BridgeSpec)| {
        let mut request = good();
        change(request.spec.as_mut().expect("a spec"));
        request
    };
    refused(wanted("b", "image", "image", ridge()), invalid, "into itself").await;
    refused(wanted("b", "image", "nosuch", ridge()), Code::NotFound, "it has: image").await;
    refused(wanted("", "image", "spectrum", ridge()), invalid, "--name").await;
    refused(wanted("a b", "image", "spectrum", ridge()), invalid, "not a name").await;
    refused(wanted("b", "image", "spectrum", cca(9)), invalid, "smaller of both").await;
    refused(with(&|spec| spec.method = None), invalid, "--method").await;
    refused(with(&|spec| spec.split = "kfold:5:1".to_owned()), invalid, "one test set").await;
    refused(with(&|spec| spec.split = "chance".to_owned()), invalid, "random:").await;
    refused(with(&|spec| spec.predicate = "z < 0".to_owned()), invalid, "at least 2").await;
    refused(with(&|spec| spec.predicate = "nosuch < 0".to_owned()), invalid, "nosuch").await;
    let nowhere = FitBridgeRequest { collection: "nosuch".to_owned(), ..good() };
    refused(nowhere, Code::NotFound, "nosuch").await;
    server.stop().await;
}
