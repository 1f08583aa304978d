//! Logs and traces: what they say, and what they must not.

use serde_json::Value;
use sidereus::wire::v1::SearchRequest;
use tonic::{Code, Request};

use super::Process;
use super::collector::{Collector, Span};
use super::process::PATIENCE;
use crate::support::{galaxy, near, object, string, text};

/// A caller's trace, whose decision is to sample.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// What may be in a request and in no log and no trace; the query has a number beside it, which is longer than what times and ids of a
/// log have by chance.
const SECRET: &str = "SECRETSURVEY";

fn search() -> SearchRequest {
    let mut request = near("galaxies", &[4_242_424.5, 0.0, 1.0], 5);
    request.predicate = format!("class <> '{SECRET}' AND z + 0.015625 > 0.03");
    request
}

async fn run(server: &Process, mut request: Request<SearchRequest>, id: &str) -> String {
    let metadata = request.metadata_mut();
    metadata.insert("x-request-id", id.parse().expect("ascii"));
    metadata.insert("authorization", format!("Bearer {SECRET}").parse().expect("ascii"));
    let reply = server.searches().await.search(request).await.expect("found");
    let told =
        reply.metadata().get("x-request-id").expect("told").to_str().expect("ascii").to_owned();
    let mut hits = reply.into_inner();
    while hits.message().await.expect("hits").is_some() {}
    told
}

async fn fill(server: &Process) {
    server.create("galaxies").await;
    let objects = (0..50).map(|id| galaxy(id, 10.0 + id as f64, 0.0)).collect();
    server.write("galaxies", objects).await;
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_traced_from_its_caller_to_the_parts_that_it_searched() {
    let (collector, address) = Collector::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let variables = [
        ("SIDEREUS_TELEMETRY__OTLP", address.as_str()),
        // Only callers who want it are traced.
        ("SIDEREUS_TELEMETRY__SAMPLE", "0"),
        ("SIDEREUS_SERVER__LOG_FORMAT", "json"),
        ("SIDEREUS_SERVER__SLOW_QUERY_MS", "1"),
        ("SIDEREUS_SERVER__LOG", "debug"),
    ];
    let server = Process::start(folder.path(), &[], &variables);
    fill(&server).await;
    run(&server, Request::new(search()), "untraced").await;
    let mut request = Request::new(search());
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    request.metadata_mut().insert("traceparent", traceparent.parse().expect("ascii"));
    assert_eq!(run(&server, request, "traced").await, "traced");
    let mut missing = Request::new(near("stars", &[1.0], 1));
    missing.metadata_mut().insert("traceparent", traceparent.parse().expect("ascii"));
    let missing = server.searches().await.search(missing).await.expect_err("no such collection");
    assert_eq!(missing.code(), Code::NotFound);
    server.signal("TERM");
    let (status, log) = server.ended();
    assert!(status.success(), "{log}");

    let spans = collector.spans();
    assert!(spans.iter().all(|span| hex(&span.trace) == TRACE), "{spans:?}");
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<&Span>>();
    let requests = named("sidereus.v1.SearchService/Search");
    assert_eq!(requests.len(), 2, "{spans:?}");
    assert!(requests.iter().all(|span| hex(&span.parent) == PARENT));
    let codes: Vec<_> =
        requests.iter().filter_map(|span| span.attribute("rpc.grpc.status_code")).collect();
    assert_eq!(codes, ["0", "5"]);
    let [search] = named("search")[..] else { panic!("{spans:?}") };
    assert_eq!(search.parent, requests[0].id);
    for (key, value) in [
        ("collection", "galaxies"),
        ("k", "5"),
        ("terms", "1"),
        ("rows_total", "50"),
        ("hits", "5"),
    ] {
        assert_eq!(search.attribute(key).as_deref(), Some(value), "{key}");
    }
    let [plan] = named("plan")[..] else { panic!("{spans:?}") };
    assert_eq!(
        (plan.parent.clone(), plan.attribute("plan")),
        (search.id.clone(), search.attribute("plan"))
    );
    let parts = named("part");
    assert!(!parts.is_empty() && parts.iter().all(|part| part.parent == search.id), "{spans:?}");
    assert_eq!(parts[0].attribute("kind").as_deref(), Some("tail"));
    let everything = collector.everything();
    assert!(
        everything.contains("service.name")
            && !everything.contains(SECRET)
            && !everything.contains("4242424"),
        "{everything}"
    );
    check_log(&log);
}

/// Every line is an object, and none has anything of a request but its shape.
fn check_log(log: &str) {
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    // At the level `debug` too, at which parsers like to tell all that they read.
    assert!(!log.contains(SECRET) && !log.contains("4242424"), "{log}");
    let ended = lines
        .iter()
        .find(|line| line["message"] == "call ended" && line["span"]["request_id"] == "traced");
    let ended = ended.unwrap_or_else(|| panic!("{log}"));
    assert_eq!(ended["span"]["trace_id"], TRACE);
    assert_eq!(ended["span"]["method"], "/sidereus.v1.SearchService/Search");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_query_is_noted_with_its_plan_and_without_what_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let variables =
        [("SIDEREUS_SERVER__LOG_FORMAT", "json"), ("SIDEREUS_SERVER__SLOW_QUERY_MS", "1")];
    let server = Process::start(folder.path(), &[], &variables);
    fill(&server).await;
    let began = std::time::Instant::now();
    let noted = loop {
        run(&server, Request::new(search()), "slow-one").await;
        let log = server.log();
        if let Some(line) = log.lines().find(|line| line.contains("slow query")) {
            break serde_json::from_str::<Value>(line).expect("json");
        }
        assert!(began.elapsed() < PATIENCE, "no query takes a millisecond: {log}");
    };
    assert_eq!(noted["collection"], "galaxies");
    assert_eq!(noted["predicate"], "class <> ? AND z + ? > ?");
    assert_eq!((&noted["region"], &noted["k"]), (&Value::from("all"), &Value::from(5)));
    assert_eq!(noted["request_id"], "slow-one");
    assert!(noted["plan"].as_str().is_some_and(|plan| plan.ends_with("scan")), "{noted}");
    assert!(noted["rows_scanned"].as_u64().is_some_and(|rows| rows > 0), "{noted}");
    assert!(!server.log().contains(SECRET));
    let scrape = server.get("/metrics").1;
    assert!(
        scrape
            .lines()
            .any(|line| line.starts_with("sidereus_slow_queries_total ") && !line.ends_with(" 0"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_costs_no_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let server =
        Process::start(folder.path(), &[], &[("SIDEREUS_TELEMETRY__OTLP", "http://127.0.0.1:1")]);
    fill(&server).await;
    run(&server, Request::new(search()), "a").await;
    server.signal("TERM");
    assert!(server.ended().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_refused_leaves_no_trace_of_its_content_in_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Process::start(folder.path(), &["--log", "debug"], &[]);
    fill(&server).await;
    let mut bad = object(1, 0.0, 0.0);
    bad.id = Some(text(SECRET));
    bad.columns.insert("class".to_owned(), string(SECRET));
    server.write("galaxies", vec![bad]).await;
    server.signal("TERM");
    let (_, log) = server.ended();
    assert!(log.contains("request_id=") && !log.contains(SECRET), "{log}");
}
