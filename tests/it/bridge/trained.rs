//! Bridges of two networks, trained by a real encoder program.

use std::path::Path;

use sidereus::encoder::{EncoderHandle, EncoderOptions};
use sidereus::wire::v1::{ContrastiveBridge, Object, bridge_spec};
use tonic::Code;

use super::{
    OBJECTS, WIDTH, apply, cca, fill, fit, galaxy, hidden, like, near, noise, schema, value,
    wanted, with_galaxies, write,
};
use crate::support::{TestServer, vector};

fn contrastive(hidden: &[u32]) -> bridge_spec::Method {
    bridge_spec::Method::Contrastive(ContrastiveBridge {
        dimension: 6,
        hidden: hidden.to_vec(),
        learning_rate: 0.01,
        epochs: 40,
        batch: 128,
        ..ContrastiveBridge::default()
    })
}

async fn with_encoder(data: &Path, models: &Path) -> TestServer {
    let mut options =
        EncoderOptions::new(env!("CARGO_BIN_EXE_sidereus-encoder").into(), models.to_owned());
    "cpu".clone_into(&mut options.device);
    TestServer::start_with(data, Some(EncoderHandle::spawn(options)), |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_networks_learn_to_find_the_own_spectrum() {
    let (models, folder) = (tempfile::tempdir(), tempfile::tempdir());
    let (models, folder) = (models.expect("a folder"), folder.expect("a folder"));
    let server = with_encoder(folder.path(), models.path()).await;
    fill(&server).await;
    for (name, hidden) in [("flat", &[][..]), ("deep", &[32][..])] {
        let request = wanted(name, "image", "spectrum", contrastive(hidden));
        let bridge = fit(&server, request).await.expect("trained");
        assert!(!bridge.leads_into_target && bridge.dimension == 6, "{bridge:?}");
        assert!(value(&bridge, "recall@10") > 0.8, "{bridge:?}");
        assert!(value(&bridge, "recall_back@10") > 0.8, "{bridge:?}");
    }
    let done = apply(&server, "deep", "deep").await.expect("written");
    assert_eq!(done.spaces, ["deep.image", "deep.spectrum"]);
    let (hits, _) =
        server.search(near(like("deep.image", "deep.spectrum", 11), 5)).await.expect("found");
    assert_eq!(hits.len(), 5);
    server.stop().await;
}

/// A view of half of the hidden numbers, beside something three times as strong that the other view knows nothing of.
fn crowded(id: i64, turn: u64) -> Vec<f32> {
    let shared = &hidden(id)[..WIDTH / 2];
    let other = 3.0 * noise(id as u64 * 613 + turn * 17);
    let at = |at: u64| {
        let mixed =
            (0..).zip(shared).map(|(axis, value)| value * noise(turn * 7_919 + at * 10 + axis));
        let along = other * noise(turn * 104_729 + at);
        (mixed.sum::<f64>() + along + 0.1 * noise(id as u64 * 977 + turn * 131 + at)) as f32
    };
    (0..WIDTH as u64).map(at).collect()
}

fn crowded_galaxy(id: i64) -> Object {
    let mut galaxy = galaxy(id);
    for (space, turn) in [("image", 1), ("spectrum", 2)] {
        galaxy.vectors.insert(space.to_owned(), vector(&crowded(id, turn)));
    }
    galaxy
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_said_networks_find_as_much_as_the_best_closed_form() {
    let (models, folder) = (tempfile::tempdir(), tempfile::tempdir());
    let (models, folder) = (models.expect("a folder"), folder.expect("a folder"));
    let server = with_encoder(folder.path(), models.path()).await;
    server.create(schema()).await.expect("a collection");
    write(&server, (0..OBJECTS).map(crowded_galaxy).collect()).await;
    let form = fit(&server, wanted("form", "image", "spectrum", cca(0))).await.expect("fitted");
    assert!(value(&form, "recall@1") > 0.5, "{form:?}");
    for (name, hidden, dimension) in [("flat", vec![], 9), ("deep", vec![48], 128)] {
        let given = ContrastiveBridge { hidden, ..ContrastiveBridge::default() };
        let method = bridge_spec::Method::Contrastive(given);
        let bridge =
            fit(&server, wanted(name, "image", "spectrum", method)).await.expect("trained");
        assert_eq!((bridge.dimension, bridge.n_train), (dimension, form.n_train));
        for measure in ["recall@1", "recall_back@1", "recall@10"] {
            let (ours, theirs) = (value(&bridge, measure), value(&form, measure));
            // A tenth of the pairs judge, and some two hundred others measure.
            assert!(ours > theirs - 0.06, "{name} {measure}: {ours}, a closed form {theirs}");
        }
    }
    // Too few to spare any for judging: the closed form, and no training.
    let mut few = wanted("few", "image", "spectrum", contrastive(&[]));
    few.spec.as_mut().expect("a spec").train_limit = 12;
    let few = fit(&server, few).await.expect("fitted");
    assert_eq!((few.n_train, few.dimension), (12, 6));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_encoder_no_network_is_trained() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_galaxies(folder.path()).await;
    let request = wanted("b", "image", "spectrum", contrastive(&[]));
    let status = fit(&server, request).await.expect_err("no encoder");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("procrustes, ridge or cca"), "{}", status.message());
    server.stop().await;
}
