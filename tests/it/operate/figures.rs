//! Figures and health over HTTP.

use std::process::Command;

use sidereus::engine::{Db, DbOptions};
use sidereus::service::{HttpOptions, Server, ServerError, ServiceOptions};
use tonic::Code;

use super::Process;
use crate::support::{galaxy, near, object};

/// The value of a sample, by its name and labels as they are written.
fn value(scrape: &str, sample: &str) -> f64 {
    let line = scrape.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample} in\n{scrape}")).parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_counted_and_what_is_there_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Process::start(folder.path(), &[], &[]);
    server.create("galaxies").await;
    let mut objects: Vec<_> = (0..20).map(|id| galaxy(id, 10.0 + id as f64, 0.0)).collect();
    objects.push(object(99, 10.0, 95.0));
    server.write("galaxies", objects).await;
    let mut searches = server.searches().await;
    for _ in 0..3 {
        let mut hits = searches
            .search(near("galaxies", &[1.0, 0.0, 1.0], 5))
            .await
            .expect("found")
            .into_inner();
        while hits.message().await.expect("hits").is_some() {}
    }
    let missing = searches.search(near("stars", &[1.0, 0.0, 1.0], 5)).await;
    assert_eq!(missing.expect_err("no such collection").code(), Code::NotFound);

    let (status, head, scrape) = server.ask("GET /metrics");
    assert_eq!(status, 200);
    assert!(
        head.contains("application/openmetrics-text") && head.contains("connection: close"),
        "{head}"
    );
    assert!(scrape.ends_with("# EOF\n"));
    let search = "method=\"sidereus.v1.SearchService/Search\"";
    assert_eq!(value(&scrape, &format!("sidereus_calls_total{{{search},code=\"Ok\"}}")), 3.0);
    assert_eq!(value(&scrape, &format!("sidereus_calls_total{{{search},code=\"NotFound\"}}")), 1.0);
    assert_eq!(value(&scrape, &format!("sidereus_call_seconds_count{{{search}}}")), 4.0);
    assert_eq!(value(&scrape, "sidereus_ingest_rows_total{outcome=\"written\"}"), 20.0);
    assert_eq!(value(&scrape, "sidereus_ingest_rows_total{outcome=\"refused\"}"), 1.0);
    assert!(value(&scrape, "sidereus_ingest_bytes_total") > 500.0);
    assert_eq!(value(&scrape, "sidereus_collection_objects{collection=\"galaxies\"}"), 20.0);
    assert_eq!(value(&scrape, "sidereus_collection_tail_rows{collection=\"galaxies\"}"), 20.0);
    assert_eq!(value(&scrape, "sidereus_calls_in_flight"), 0.0);
    let plans = scrape.lines().filter(|line| line.starts_with("sidereus_searches_total{plan="));
    assert_eq!(
        plans
            .map(|line| line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number"))
            .sum::<f64>(),
        3.0
    );
    assert!(value(&scrape, "sidereus_search_rows_scanned_total") >= 15.0);
    assert!(value(&scrape, "sidereus_store_wal_bytes") > 0.0);
    assert!(value(&scrape, "sidereus_data_bytes") > value(&scrape, "sidereus_store_wal_bytes"));
    assert!(value(&scrape, "sidereus_disk_free_bytes") > 0.0);
    assert!(value(&scrape, "process_resident_memory_bytes") > 1e6);
    assert_eq!(value(&scrape, "sidereus_ready"), 1.0);
    assert!(scrape.contains("sidereus_build_info{version=\""));
    // A second scrape has no sample twice, as the form demands.
    let mut lines: Vec<&str> = scrape.lines().filter(|line| !line.starts_with('#')).collect();
    lines = lines.iter().map(|line| line.rsplit_once(' ').expect("a value").0).collect();
    let count = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_there_are_figures_and_health_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Process::start(folder.path(), &[], &[]);
    server.create("galaxies").await;
    server.write("galaxies", vec![galaxy(7, 123.456, -7.89)]).await;
    assert_eq!(server.get("/healthz"), (200, "{\"status\":\"live\"}\n".to_owned()));
    assert_eq!(server.get("/readyz"), (200, "{\"reasons\":[],\"status\":\"ready\"}\n".to_owned()));
    for path in [
        "/",
        "/metrics/",
        "/metrics/x",
        "/collections",
        "/galaxies",
        "/../data",
        "/debug",
        "//metrics",
        "/readyz/7",
    ] {
        let (status, body) = server.get(path);
        assert_eq!((status, body.as_str()), (404, ""), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let (status, _, body) = server.ask(&format!("{method} /metrics"));
        assert_eq!((status, body.as_str()), (405, ""), "{method}");
    }
    let (status, _, _) = server.ask(&format!("GET /metrics?{}", "a".repeat(100_000)));
    assert!((400..500).contains(&status), "{status}");
    let (_, scrape) = server.get("/metrics");
    for data in ["123.456", "-7.89", "GALAXY", "QSO", "flux_g"] {
        assert!(!scrape.contains(data), "{data}");
    }
    let health = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidereus"));
        command.arg("health").args(words).output().expect("runs")
    };
    let told = health(&["--http", &server.http]);
    assert!(told.status.success() && told.stdout.starts_with(b"{\"reasons\":[]"), "{told:?}");
    assert!(health(&["--live", "--http", &server.http]).status.success());
    // What speaks, but not HTTP.
    assert!(!health(&["--http", &server.grpc]).status.success());
    drop(server);
    assert!(!health(&["--http", "127.0.0.1:1"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_disk_is_full_is_live_and_not_ready() {
    let folder = tempfile::tempdir().expect("a folder");
    let wanted = [("SIDEREUS_SERVER__MIN_FREE_MIB", "999999999")];
    let server = Process::start(folder.path(), &[], &wanted);
    assert_eq!(server.get("/healthz").0, 200);
    let (status, body) = server.get("/readyz");
    assert_eq!((status, body.contains("disk full")), (503, true), "{body}");
    assert_eq!(value(&server.get("/metrics").1, "sidereus_ready"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_stay_on_this_machine_unless_the_operator_says_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = Db::open(DbOptions::new(folder.path())).expect("opens");
    let bound = async |listen: &str, allow_remote, is_required| {
        let mut options = ServiceOptions::new(([127, 0, 0, 1], 0).into());
        let listen = listen.parse().expect("an address");
        options.http = Some(HttpOptions { listen, allow_remote, is_required });
        Server::bind(options, db.clone(), None).await
    };
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let error = bound(address, false, true).await.expect_err("refused");
        assert!(matches!(error, ServerError::HttpRemoteRefused { .. }), "{error}");
        assert!(error.to_string().contains("allow_remote"), "{error}");
    }
    let server = bound("0.0.0.0:0", true, true).await.expect("the operator wants it");
    let taken = server.http_address().expect("bound").to_string();
    let error = bound(&taken, true, true).await.expect_err("taken");
    assert!(matches!(error, ServerError::PortInUse { .. }), "{error}");
    let without = bound(&taken, true, false).await.expect("nobody has asked for it");
    assert_eq!(without.http_address(), None);
}
