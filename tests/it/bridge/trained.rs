//! Bridges of two networks, trained by a real encoder program.

use sidereus::encoder::{EncoderHandle, EncoderOptions};
use sidereus::wire::v1::{ContrastiveBridge, bridge_spec};
use tonic::Code;

use super::{apply, fill, fit, like, near, value, wanted, with_galaxies};
use crate::support::TestServer;

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

#[tokio::test(flavor = "multi_thread")]
async fn two_networks_learn_to_find_the_own_spectrum() {
    let models = tempfile::tempdir().expect("a folder");
    let mut options = EncoderOptions::new(
        env!("CARGO_BIN_EXE_sidereus-encoder").into(),
        models.path().to_owned(),
    );
    options.device = "cpu".to_owned();
    let folder = tempfile::tempdir().expect("a folder");
    let encoder = EncoderHandle::spawn(options);
    let server = TestServer::start_with(folder.path(), Some(encoder), |_| {}).await;
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
