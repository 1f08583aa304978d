//! The same searches through a running server: one thread and one channel for each client.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use sidereus::wire::v1::search_service_client::SearchServiceClient;
use sidereus::wire::v1::{
    Cone, Position, Region, SearchRequest, Vector, VectorTerm, object_id, region,
};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::Arguments;
use crate::measure::{Found, Measured, latency, rounds, summary};
use crate::workload::{Filter, K, Shape, shapes};

/// Calls whose median tells what a call takes that does nothing.
const NOTHINGS: usize = 2_000;

/// The smallest column: a request cannot ask for none.
const COLUMN: &str = "qual";

fn request(collection: &str, vector: &[f32], filter: &Filter, exact: bool) -> SearchRequest {
    let term =
        VectorTerm { vectors: vec![Vector { values: vector.to_vec() }], ..VectorTerm::default() };
    let cone = |[ra, dec, radius]: [f64; 3]| {
        let cone = Cone { centre: Some(Position { ra, dec }), radius };
        Region { shape: Some(region::Shape::Cone(cone)) }
    };
    SearchRequest {
        collection: collection.to_owned(),
        terms: vec![term],
        region: filter.cone.map(cone),
        predicate: filter.predicate.clone().unwrap_or_default(),
        k: K as u32,
        exact,
        columns: vec![COLUMN.to_owned()],
        ..SearchRequest::default()
    }
}

/// A channel of its own, and the runtime that drives it on the thread that asks.
fn connected(url: &str) -> Result<(Runtime, Channel)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let endpoint = Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true);
    let channel = runtime.block_on(endpoint.connect()).context("no server answers")?;
    Ok((runtime, channel))
}

/// One connection, driven by the thread that asks.
struct Client {
    runtime: Runtime,
    service: SearchServiceClient<Channel>,
}

impl Client {
    fn connect(url: &str) -> Result<Self> {
        let (runtime, channel) = connected(url)?;
        Ok(Self { runtime, service: SearchServiceClient::new(channel) })
    }

    fn ask(&mut self, request: &SearchRequest) -> Result<Found> {
        let Self { runtime, service } = self;
        runtime.block_on(async {
            let mut stream = service.search(request.clone()).await?.into_inner();
            let mut found =
                Found { hits: Vec::with_capacity(K), plan: String::new(), elapsed_ms: 0.0 };
            while let Some(message) = stream.message().await? {
                for hit in message.hits {
                    let Some(object_id::Id::Number(id)) = hit.id.and_then(|id| id.id) else {
                        bail!("the ids of a workload are numbers")
                    };
                    found.hits.push((id, hit.distance.unwrap_or(f64::NAN)));
                }
                if let Some(stats) = message.stats {
                    found.plan = stats.plan;
                    found.elapsed_ms = stats.elapsed_ms;
                }
            }
            Ok::<_, anyhow::Error>(found)
        })
    }
}

fn clients(
    url: &str,
    requests: &[SearchRequest],
    count: usize,
    budget: Duration,
) -> Result<Vec<Measured>> {
    let connected: Vec<Client> = (0..count).map(|_| Client::connect(url)).collect::<Result<_>>()?;
    let start = Barrier::new(count);
    std::thread::scope(|scope| {
        let running: Vec<_> = connected
            .into_iter()
            .enumerate()
            .map(|(place, mut client)| {
                let start = &start;
                let offset = place * requests.len() / count;
                scope.spawn(move || {
                    rounds(requests.len(), offset, budget, start, |at| client.ask(&requests[at]))
                })
            })
            .collect();
        running.into_iter().map(|client| client.join().expect("a client does not panic")).collect()
    })
}

/// Median of what a call takes that is asked to do nothing: whether the server is healthy. Milliseconds.
fn nothing(url: &str) -> Result<f64> {
    let (runtime, channel) = connected(url)?;
    let mut service = HealthClient::new(channel);
    let mut latencies = Vec::with_capacity(NOTHINGS);
    for _ in 0..NOTHINGS {
        let before = Instant::now();
        runtime.block_on(service.check(HealthCheckRequest::default()))?;
        latencies.push(before.elapsed());
    }
    Ok(latency(&latencies).0)
}

/// Measures every shape through the server.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let url = arguments.text("server")?;
    println!("{}", json!({ "nothing_p50_ms": nothing(url)? }));
    let collection = arguments.text("collection")?;
    for shape in &shapes(&arguments.folder("workload")?, arguments.find("shapes"))? {
        let requests = requests(collection, shape, arguments.has("exact"));
        let found = clients(url, &requests, arguments.clients()?, arguments.duration()?)?;
        let hits: Vec<_> = found[0].answers.iter().map(|found| found.hits.clone()).collect();
        let recall = shape.recall(&hits);
        println!("{}", summary(&shape.name, &found, recall, arguments.has("answers"))?);
    }
    Ok(())
}

fn requests(collection: &str, shape: &Shape, exact: bool) -> Vec<SearchRequest> {
    let pairs = shape.vectors.iter().zip(&shape.filters);
    pairs.map(|(vector, filter)| request(collection, vector, filter, exact)).collect()
}
