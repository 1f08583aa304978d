//! An input of one modality searched in the space of another: encoded by the model of the one, led across by a bridge.

use std::collections::HashMap;

use sidereus::wire::v1::{
    EncodeCollectionRequest, FitBridgeRequest, Object, SearchRequest, Value, VectorTerm, value,
};

use super::{fit, ridge, term, wanted};
use crate::fake_encoder;
use crate::support::{TestServer, ids_of, image, object, real, schema};

/// Its fluxes follow from the two bytes of its image.
fn photographed(id: i64) -> Object {
    let bytes = [b'!', (id * 7 % 50) as u8, (id * 11 % 60) as u8];
    let [g, r] = [f64::from(bytes[1]) * 2.0, 100.0 - f64::from(bytes[2])];
    let picture = Value { kind: Some(value::Kind::Binary(bytes.to_vec())) };
    Object {
        columns: HashMap::from([
            ("image".to_owned(), picture),
            ("flux_g".to_owned(), real(g)),
            ("flux_r".to_owned(), real(r)),
        ]),
        ..object(id, id as f64, 0.0)
    }
}

async fn encode(server: &TestServer, model: &str, space: &str) {
    let job = EncodeCollectionRequest {
        collection: "galaxies".to_owned(),
        model: model.to_owned(),
        space: space.to_owned(),
        ..EncodeCollectionRequest::default()
    };
    let reply = server.maintenance().await.encode_collection(job).await.expect("begun");
    let mut stream = reply.into_inner();
    while let Some(step) = stream.message().await.expect("encoded") {
        assert!(step.failed.is_empty(), "{:?}", step.failed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_searched_among_fluxes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (encoder, _controls) = fake_encoder::start().await;
    let server = TestServer::start_with(folder.path(), Some(encoder), |_| {}).await;
    server.create(schema("galaxies")).await.expect("a collection");
    server.write("galaxies", (0..150).map(photographed).collect()).await;
    encode(&server, "pixels", "looks").await;
    encode(&server, "fluxes", "colours").await;
    let request = FitBridgeRequest {
        collection: "galaxies".to_owned(),
        ..wanted("seen", "looks", "colours", ridge())
    };
    let bridge = fit(&server, request).await.expect("fits");
    assert_eq!(bridge.from_provenance.expect("a provenance").encoder, "pixels");
    let search = |bytes: &[u8]| SearchRequest {
        collection: "galaxies".to_owned(),
        terms: vec![VectorTerm { examples: vec![image(bytes)], ..term("looks", "colours") }],
        k: 1,
        ..SearchRequest::default()
    };
    for id in [3, 40, 77] {
        let bytes = [b'!', (id * 7 % 50) as u8, (id * 11 % 60) as u8];
        let (hits, _) = server.search(search(&bytes)).await.expect("found");
        assert_eq!(ids_of(&hits), [id]);
        // The linear map is all there is to it.
        assert!(hits[0].distance.expect("a distance") < 0.1, "{:?}", hits[0].distance);
    }
    let status = server.search(search(b"not an image")).await.expect_err("refused");
    assert!(status.message().contains("example 1"), "{}", status.message());
    server.stop().await;
}
