//! Kept bridges: listed, replaced by a next version, gone when dropped, there after a restart, and refused when stale.

use prost::Message;
use sidereus::engine::{Db, DbOptions, RecordKind};
use sidereus::wire::internal::BridgeRecord;
use sidereus::wire::v1::{
    DropBridgeRequest, FitBridgeRequest, GetBridgeRequest, ListBridgesRequest, bridge_spec,
};
use tonic::Code;

use super::{client, fit, galaxy, like, near, procrustes, ridge, wanted, with_galaxies, write};
use crate::support::{TestServer, ids_of, number};

fn named(name: &str) -> GetBridgeRequest {
    GetBridgeRequest { collection: "sky".to_owned(), name: name.to_owned(), release: String::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn bridges_are_listed_replaced_on_request_and_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_galaxies(folder.path()).await;
    let first = fit(&server, wanted("b", "image", "spectrum", procrustes())).await.expect("fits");
    assert_eq!(first.n_leaked, 0);
    // The same sources once more, under other ids and within an arcsecond: some are on the other side.
    let again = |id: i64| {
        let mut twin = galaxy(id);
        twin.id = Some(number(id + 10_000));
        twin
    };
    write(&server, (0..300).map(again).collect()).await;
    let twins = fit(&server, wanted("twins", "image", "spectrum", procrustes())).await;
    let leaked = twins.expect("fits").n_leaked;
    assert!((30..200).contains(&leaked), "{leaked}");
    let drop = DropBridgeRequest { collection: "sky".to_owned(), name: "twins".to_owned() };
    client(&server).await.drop_bridge(drop).await.expect("dropped");
    let again = wanted("B", "image", "spectrum", ridge());
    let status = fit(&server, again.clone()).await.expect_err("taken");
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(status.message().contains("--overwrite"), "{}", status.message());
    let second = fit(&server, FitBridgeRequest { overwrite: true, ..again }).await.expect("fits");
    assert_eq!((first.version, second.version), (1, 2));
    assert!(second.alpha.is_some() && second.alphas.len() == second.alpha_scores.len());
    // Between two versions of an encoder, and the other way round.
    fit(&server, wanted("up", "tower_a", "image", procrustes())).await.expect("fits");
    let list = ListBridgesRequest { collection: "sky".to_owned(), ..Default::default() };
    let listed = client(&server).await.list_bridges(list).await.expect("a list").into_inner();
    let names: Vec<(&str, u32)> =
        listed.bridges.iter().map(|bridge| (bridge.name.as_str(), bridge.version)).collect();
    assert_eq!(names, [("B", 2), ("up", 1)]);
    let method = listed.bridges[0].spec.as_ref().and_then(|spec| spec.method.as_ref());
    assert!(matches!(method, Some(bridge_spec::Method::Ridge(ridge)) if ridge.folds == 5));
    let (hits, stats) =
        server.search(near(like("image", "spectrum", 3), 3)).await.expect("the new one");
    assert!(stats.explanation.contains("version 2") && hits.len() == 3);

    // A damaged one is named, and in nobody's way who does not mean it.
    server.db.put_record("sky", RecordKind::Bridge, "torn", b"\x0a\xff").expect("written");
    fit(&server, wanted("late", "image", "tower_a", procrustes())).await.expect("fits");
    let list = ListBridgesRequest { collection: "sky".to_owned(), ..Default::default() };
    let listed = client(&server).await.list_bridges(list).await.expect("a list").into_inner();
    let names: Vec<&str> = listed.bridges.iter().map(|bridge| bridge.name.as_str()).collect();
    assert_eq!(names, ["B", "late", "torn", "up"]);
    assert!(listed.bridges[2].stale.contains("damaged"), "{}", listed.bridges[2].stale);
    server.search(near(like("tower_a", "tower_b", 3), 3)).await.expect("declared shared");
    server.search(near(like("image", "spectrum", 3), 3)).await.expect("joined by a whole one");
    let status = client(&server).await.get_bridge(named("torn")).await.expect_err("damaged");
    assert_eq!(status.code(), Code::DataLoss);
    let torn = DropBridgeRequest { collection: "sky".to_owned(), name: "torn".to_owned() };
    client(&server).await.drop_bridge(torn).await.expect("dropped");
    client(&server).await.get_bridge(named("late")).await.expect("there");

    let request = DropBridgeRequest { collection: "sky".to_owned(), name: "b".to_owned() };
    client(&server).await.drop_bridge(request.clone()).await.expect("dropped");
    let status = client(&server).await.drop_bridge(request).await.expect_err("gone");
    assert_eq!(status.code(), Code::NotFound);
    let status = client(&server).await.get_bridge(named("b")).await.expect_err("gone");
    assert_eq!(status.code(), Code::NotFound);
    server.search(near(like("image", "spectrum", 3), 3)).await.expect_err("no bridge any more");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_changes_nothing_and_another_provenance_makes_stale() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_galaxies(folder.path()).await;
    let fitted = fit(&server, wanted("b", "image", "spectrum", ridge())).await.expect("fits");
    let search = near(like("image", "spectrum", 42), 10);
    let (before, _) = server.search(search.clone()).await.expect("found");
    server.stop().await;

    let server = TestServer::start(folder.path()).await;
    let get = client(&server).await.get_bridge(named("b")).await.expect("there").into_inner();
    assert_eq!(get.bridge, Some(fitted));
    let (after, _) = server.search(search.clone()).await.expect("found");
    assert_eq!(ids_of(&before), ids_of(&after));
    let distances = |hits: &[sidereus::wire::v1::Hit]| -> Vec<Option<f64>> {
        hits.iter().map(|hit| hit.distance).collect()
    };
    assert_eq!(distances(&before), distances(&after));
    server.stop().await;

    // As if the spectra had been made by another encoder since.
    let db = loop {
        match Db::open(DbOptions::new(folder.path())) {
            Ok(db) => break db,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    };
    let bytes = db.record("sky", RecordKind::Bridge, "b").expect("readable").expect("there");
    let mut record = BridgeRecord::decode(bytes.as_slice()).expect("a record");
    let bridge = record.bridge.as_mut().expect("a bridge");
    bridge.to_provenance.as_mut().expect("a provenance").weights_hash = "older".to_owned();
    db.put_record("sky", RecordKind::Bridge, "b", &record.encode_to_vec()).expect("written");
    drop(db);

    let server = TestServer::start(folder.path()).await;
    let status = server.search(search.clone()).await.expect_err("stale");
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(status.message().contains("`b` is stale"), "{}", status.message());
    assert!(status.message().contains("`spectrum` holds vectors of"), "{}", status.message());
    let get = client(&server).await.get_bridge(named("b")).await.expect("there").into_inner();
    assert!(get.bridge.expect("a bridge").stale.contains("spectrum"));
    let status = server.count("sky", None, "misalignment.image.spectrum > 1").await;
    status.expect_err("a stale bridge makes no column");
    let again = wanted("b", "image", "spectrum", ridge());
    fit(&server, FitBridgeRequest { overwrite: true, ..again }).await.expect("fits");
    server.search(search).await.expect("found again");
    server.stop().await;
}
