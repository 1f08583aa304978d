use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::*;
use crate::encoder::{EncoderHandle, HostOptions, Made, ModelInfo};
use crate::wire::internal::encoder_service_server::{EncoderService, EncoderServiceServer};
use crate::wire::internal::{
    EncodeRequest, EncodeResponse, Encoded as EncodedResult, ListModelsRequest, ListModelsResponse,
    RegisteredModel, TrainRequest, TrainResponse, encoded,
};
use crate::wire::v1::{self, Metric, Model, NamedValues, Payload, Vector, payload};

/// What a host of the tests does, and what it was asked.
#[derive(Debug, Default)]
struct Controls {
    /// Ids and weights of its models.
    models: Mutex<Vec<(String, String)>>,
    /// Calls of `encode` that have begun, and that have been answered.
    begun: AtomicUsize,
    answered: AtomicUsize,
    /// Milliseconds that a call takes.
    takes: AtomicUsize,
    /// Its queue is full.
    full: AtomicBool,
    /// It answers no question what it serves.
    mute: AtomicBool,
    /// The `grpc-timeout` of the last call.
    timeout: Mutex<Option<String>>,
}

impl Controls {
    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    fn serve(&self, models: &[(&str, &str)]) {
        let owned = models.iter().map(|(id, weights)| ((*id).to_owned(), (*weights).to_owned()));
        *self.models.lock().expect("no panic") = owned.collect();
    }

    fn provenance(&self, model: &str) -> Option<v1::Provenance> {
        let models = self.models.lock().expect("no panic");
        let (id, weights) = models.iter().find(|(id, _)| id == model)?;
        Some(v1::Provenance {
            encoder: id.clone(),
            weights_hash: weights.clone(),
            preprocessing: "none".to_owned(),
            pooling: "mean".to_owned(),
        })
    }
}

struct Fake(Arc<Controls>);

#[tonic::async_trait]
impl EncoderService for Fake {
    type TrainStream = tokio_stream::Empty<Result<TrainResponse, Status>>;

    async fn train(
        &self,
        _: Request<tonic::Streaming<TrainRequest>>,
    ) -> Result<Response<Self::TrainStream>, Status> {
        Err(Status::unimplemented("it trains nothing"))
    }

    async fn list_models(
        &self,
        _: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        if self.0.mute.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let ids: Vec<_> =
            self.0.models.lock().expect("no panic").iter().map(|(id, _)| id.clone()).collect();
        let models = ids.into_iter().map(|id| RegisteredModel {
            model: Some(Model {
                provenance: self.0.provenance(&id),
                id,
                dimension: 1,
                ..Model::default()
            }),
            metric: Metric::L2.into(),
            ..RegisteredModel::default()
        });
        Ok(Response::new(ListModelsResponse {
            models: models.collect(),
            ..ListModelsResponse::default()
        }))
    }

    async fn encode(
        &self,
        request: Request<EncodeRequest>,
    ) -> Result<Response<EncodeResponse>, Status> {
        let takes = Duration::from_millis(self.0.takes.load(Ordering::SeqCst) as u64);
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        let timeout = request.metadata().get("grpc-timeout").and_then(|value| value.to_str().ok());
        *self.0.timeout.lock().expect("no panic") = timeout.map(str::to_owned);
        if self.0.full.load(Ordering::SeqCst) {
            return Err(Status::resource_exhausted("the queue is full"));
        }
        let EncodeRequest { model, payloads, .. } = request.into_inner();
        let provenance = self.0.provenance(&model).ok_or_else(|| Status::not_found("no model"))?;
        tokio::time::sleep(takes).await;
        self.0.answered.fetch_add(1, Ordering::SeqCst);
        let results = payloads.into_iter().map(|payload| {
            let Some(payload::Content::Row(row)) = payload.content else { panic!("a row") };
            let values = vec![row.values["x"] as f32];
            EncodedResult { result: Some(encoded::Result::Vector(Vector { values })) }
        });
        let results = results.collect();
        Ok(Response::new(EncodeResponse { provenance: Some(provenance), results }))
    }
}

/// A host with a runtime of its own, so that its connections die with it.
struct Machine {
    address: SocketAddr,
    controls: Arc<Controls>,
    runtime: Option<Runtime>,
}

impl Machine {
    fn start(models: &[(&str, &str)]) -> Self {
        let controls = Arc::new(Controls::default());
        controls.serve(models);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut machine = Self { address: any, controls, runtime: None };
        machine.revive();
        machine
    }

    fn revive(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let began = Instant::now();
        let listener = loop {
            let _inside = runtime.enter();
            let bound = std::net::TcpListener::bind(self.address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(listener)
            });
            match bound {
                Ok(listener) => break listener,
                Err(error) => assert!(began.elapsed() < Duration::from_secs(10), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        self.address = listener.local_addr().expect("bound");
        let service = EncoderServiceServer::new(Fake(Arc::clone(&self.controls)));
        let router = tonic::transport::Server::builder().add_service(service);
        runtime.spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        self.runtime = Some(runtime);
    }

    fn kill(&mut self) {
        self.runtime.take().expect("it runs").shutdown_background();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn connect(machines: &[&Machine]) -> EncoderHandle {
    let addresses: Vec<_> = machines.iter().map(|machine| machine.address.to_string()).collect();
    let options = HostOptions {
        ping_every: Duration::from_millis(200),
        ping_within: Duration::from_millis(200),
        misses_max: 2,
        retry_min: Duration::from_millis(20),
        ..HostOptions::new(Duration::from_secs(5))
    };
    EncoderHandle::connect_all(&addresses, &options).expect("addresses")
}

fn rows(values: std::ops::Range<i32>) -> Vec<Payload> {
    values
        .map(|value| Payload {
            modality: String::new(),
            content: Some(payload::Content::Row(NamedValues {
                values: [("x".to_owned(), f64::from(value))].into(),
            })),
        })
        .collect()
}

/// Encodes one row; returns the weights that it was encoded with.
async fn weights(handle: &EncoderHandle, model: &str) -> Result<String, EncoderError> {
    Ok(handle.encode(model, "", rows(0..1)).await?.provenance.weights_hash)
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_to_the_host_with_the_fewest_under_way() {
    let machines = [Machine::start(&[("m", "w")]), Machine::start(&[("m", "w")])];
    let [first, second] = &machines;
    let handle = connect(&[first, second]);
    let counts = || (first.controls.begun(), second.controls.begun());
    for _ in 0..10 {
        weights(&handle, "m").await.expect("a vector");
    }
    assert_eq!(counts(), (5, 5), "hosts with nothing to do take turns");
    for machine in &machines {
        machine.controls.takes.store(300, Ordering::SeqCst);
    }
    let calls = (0..8).map(|_| weights(&handle, "m"));
    for call in join_all(calls).await {
        call.expect("a vector");
    }
    assert_eq!(counts(), (9, 9), "calls at once are shared");
    // A long request is several calls, which go to both; their answers keep their order.
    let encoded = handle.encode("m", "", rows(0..512)).await.expect("vectors");
    let values = encoded.results.into_iter().map(|made| made.and_then(Made::into_vector));
    let expected: Vec<_> = (0..512_u16).map(|value| Ok(vec![f32::from(value)])).collect();
    assert_eq!(values.collect::<Vec<_>>(), expected);
    let before = counts();
    assert_eq!(before.0 + before.1, 26);
    assert!(before.0 >= 12 && before.1 >= 12, "{before:?}");
    // One has a long call: the others go to its neighbour.
    first.controls.takes.store(600, Ordering::SeqCst);
    second.controls.takes.store(600, Ordering::SeqCst);
    let long = tokio::spawn({
        let handle = handle.clone();
        async move { weights(&handle, "m").await }
    });
    until("the long call has begun", async || counts() != before).await;
    first.controls.takes.store(1, Ordering::SeqCst);
    second.controls.takes.store(1, Ordering::SeqCst);
    for _ in 0..6 {
        weights(&handle, "m").await.expect("a vector");
    }
    let (one, other) = (counts().0 - before.0, counts().1 - before.1);
    assert_eq!((one.min(other), one.max(other)), (1, 6));
    long.await.expect("no panic").expect("a vector");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_costs_no_call_and_works_again_when_it_is_back() {
    let (mut first, second) = (Machine::start(&[("m", "w")]), Machine::start(&[("m", "w")]));
    let handle = connect(&[&first, &second]);
    for machine in [&first, &second] {
        machine.controls.takes.store(30, Ordering::SeqCst);
    }
    // Calls are under way at both hosts when one dies.
    let calls: Vec<_> = (0..40)
        .map(|number| {
            let handle = handle.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(5 * number)).await;
                weights(&handle, "m").await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(70)).await;
    first.kill();
    for call in join_all(calls).await {
        assert_eq!(call.expect("no panic").expect("the other host answers"), "w");
    }
    let lost = first.controls.begun() - first.controls.answered.load(Ordering::SeqCst);
    assert!(lost > 0, "some calls were under way");
    assert!(first.controls.begun() + second.controls.begun() >= 40 + lost, "and were repeated");
    let dead = first.controls.begun();
    for _ in 0..4 {
        weights(&handle, "m").await.expect("a vector");
    }
    assert_eq!(first.controls.begun(), dead);
    first.revive();
    until("it works again", async || {
        weights(&handle, "m").await.expect("a vector");
        first.controls.begun() > dead
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_host_answers_it_is_said_and_the_first_that_is_back_is_used() {
    let mut machines = [Machine::start(&[("m", "w")]), Machine::start(&[("m", "w")])];
    let handle = connect(&[&machines[0], &machines[1]]);
    weights(&handle, "m").await.expect("a vector");
    machines.iter_mut().for_each(Machine::kill);
    for _ in 0..2 {
        let error = weights(&handle, "m").await.expect_err("nobody is there");
        assert!(matches!(error, EncoderError::Unavailable { .. }), "{error}");
    }
    let error = handle.model_list().await.expect_err("nobody is there").to_string();
    for machine in &machines {
        assert!(error.contains(&machine.address.to_string()), "{error}");
    }
    machines[1].revive();
    // At once, whenever the next question to it would be.
    assert_eq!(weights(&handle, "m").await.expect("it is back"), "w");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_with_other_weights_on_another_host_is_not_mixed_in() {
    let mut first = Machine::start(&[("m", "old"), ("n", "w")]);
    let second = Machine::start(&[("m", "new"), ("n", "w"), ("o", "w")]);
    let handle = connect(&[&first, &second]);
    let list = handle.model_list().await.expect("models");
    let served: Vec<_> = list.models.iter().map(weights_of).collect();
    assert_eq!(served, [("m", "old"), ("n", "w"), ("o", "w")]);
    let [(id, reason)] = &list.broken[..] else { panic!("{:?}", list.broken) };
    assert_eq!(id, "m");
    let said = format!("host {} is not asked for it", second.address);
    assert!(reason.contains(&said) && reason.contains("old") && reason.contains("new"), "{reason}");
    for _ in 0..6 {
        assert_eq!(weights(&handle, "m").await.expect("a vector"), "old");
    }
    assert_eq!((first.controls.begun(), second.controls.begun()), (6, 0));
    for _ in 0..6 {
        weights(&handle, "n").await.expect("a vector");
    }
    assert_eq!((first.controls.begun(), second.controls.begun()), (9, 3));
    weights(&handle, "o").await.expect("a host that alone has a model serves it");
    let error = weights(&handle, "p").await.expect_err("no such model");
    assert!(
        error.to_string().contains("no model `p`; the encoder serves `m`, `n`, `o`"),
        "{error}"
    );
    first.kill();
    until("the other decides", async || weights(&handle, "m").await.is_ok_and(|w| w == "new"))
        .await;
}

fn weights_of(model: &ModelInfo) -> (&str, &str) {
    (&model.id, &model.provenance.weights_hash)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_was_exchanged_is_noticed_at_its_first_answer() {
    let machines = [Machine::start(&[("m", "w")]), Machine::start(&[("m", "w")])];
    let handle = connect(&[&machines[0], &machines[1]]);
    for _ in 0..2 {
        weights(&handle, "m").await.expect("a vector");
    }
    machines[1].controls.serve(&[("m", "exchanged")]);
    for _ in 0..6 {
        assert_eq!(weights(&handle, "m").await.expect("the other answers"), "w");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_sends_the_call_to_the_other_host() {
    let machines = [Machine::start(&[("m", "w")]), Machine::start(&[("m", "w")])];
    let handle = connect(&[&machines[0], &machines[1]]);
    machines[0].controls.full.store(true, Ordering::SeqCst);
    let began = Instant::now();
    for _ in 0..4 {
        weights(&handle, "m").await.expect("a vector");
    }
    assert_eq!(machines[1].controls.begun(), 4);
    assert!(machines[0].controls.begun() > 0 && began.elapsed() < Duration::from_secs(3));
    machines[1].controls.full.store(true, Ordering::SeqCst);
    let error = handle.encode_within(Duration::from_millis(200), "m", "", rows(0..1)).await;
    let error = error.expect_err("both are full");
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_misses_questions_is_left_out() {
    let machines = [Machine::start(&[("m", "w")]), Machine::start(&[("m", "w")])];
    let handle = connect(&[&machines[0], &machines[1]]);
    weights(&handle, "m").await.expect("a vector");
    machines[0].controls.mute.store(true, Ordering::SeqCst);
    until("it is left out", async || {
        let before = machines[0].controls.begun();
        for _ in 0..4 {
            weights(&handle, "m").await.expect("a vector");
        }
        machines[0].controls.begun() == before
    })
    .await;
    machines[0].controls.mute.store(false, Ordering::SeqCst);
    let before = machines[0].controls.begun();
    until("it is asked again", async || {
        weights(&handle, "m").await.expect("a vector");
        machines[0].controls.begun() > before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_deadline_travels_and_ends_the_work() {
    for count in [1, 2] {
        let machines = [Machine::start(&[("m", "w")]), Machine::start(&[("m", "w")])];
        let handle = connect(&machines.iter().take(count).collect::<Vec<_>>());
        weights(&handle, "m").await.expect("a vector");
        for machine in &machines {
            machine.controls.takes.store(1_000, Ordering::SeqCst);
        }
        let answered = || -> usize {
            machines.iter().map(|each| each.controls.answered.load(Ordering::SeqCst)).sum()
        };
        let before = answered();
        let began = Instant::now();
        let within = Duration::from_millis(300);
        let error = handle.encode_within(within, "m", "", rows(0..1)).await.expect_err("late");
        assert!(matches!(error, EncoderError::DeadlineExceeded { .. }), "{error}");
        assert!(began.elapsed() < Duration::from_millis(900));
        // Two seconds would be the limit of the calls before; the encoder's clock runs a second longer than the caller's.
        let told = machines
            .iter()
            .filter_map(|each| each.controls.timeout.lock().expect("no panic").clone());
        let shortest = told.filter_map(|told| told.strip_suffix('u')?.parse::<u64>().ok()).min();
        assert!(shortest.is_some_and(|shortest| shortest <= 1_300_000), "{shortest:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(answered(), before, "nothing was computed for a caller who had gone");
    }
}

#[tokio::test]
async fn no_address_is_no_encoder() {
    let none: [&str; 0] = [];
    let options = HostOptions::new(Duration::from_secs(1));
    EncoderHandle::connect_all(&none, &options).expect_err("no address");
    EncoderHandle::connect_all(&["gpu:1", "gpu"], &options).expect_err("one is none");
}
