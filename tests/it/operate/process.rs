//! A server process, and what can be asked of it over HTTP.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sidereus::wire::v1::collection_service_client::CollectionServiceClient;
use sidereus::wire::v1::object_service_client::ObjectServiceClient;
use sidereus::wire::v1::search_service_client::SearchServiceClient;
use sidereus::wire::v1::{CreateCollectionRequest, IngestBatch, IngestMode, Object};
use tonic::transport::Channel;

use crate::support::{batch_message, open_message, schema};

/// Longest time that a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server process on free ports.
pub(crate) struct Process {
    child: Child,
    pub(crate) grpc: String,
    pub(crate) http: String,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts it with further words and variables.
    pub(crate) fn start(data: &Path, words: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidereus"));
        command.args(["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"]);
        command.arg(data).args(words).envs(variables.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let (log, reader) = follow(&mut child);
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let part = |scheme: &str| {
            let (_, rest) = line.split_once(scheme).unwrap_or_else(|| panic!("{line}"));
            rest.split_whitespace().next().expect("an address").to_owned()
        };
        let (grpc, http) = (part("grpc://"), part("http://"));
        Self { child, grpc, http, log, reader: Some(reader) }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("not poisoned").clone()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), pid.as_str()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end, and gives all that it logged.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        };
        self.reader.take().expect("once").join().expect("read");
        (status, self.log())
    }

    /// Asks over HTTP: the status, the headers and the body.
    pub(crate) fn ask(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.http).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        write!(stream, "{request} HTTP/1.1\r\nHost: {}\r\n\r\n", self.http).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer, and the end of the connection");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        (status.expect("a status"), head.to_lowercase(), body.to_owned())
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.ask(&format!("GET {path}"));
        (status, body)
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.grpc)).expect("an address");
        endpoint.connect().await.expect("the server listens")
    }

    pub(crate) async fn objects(&self) -> ObjectServiceClient<Channel> {
        ObjectServiceClient::new(self.channel().await)
    }

    pub(crate) async fn searches(&self) -> SearchServiceClient<Channel> {
        SearchServiceClient::new(self.channel().await)
    }

    pub(crate) async fn create(&self, name: &str) {
        let request = CreateCollectionRequest { schema: Some(schema(name)) };
        let mut client = CollectionServiceClient::new(self.channel().await);
        client.create_collection(request).await.expect("created");
    }

    pub(crate) async fn write(&self, collection: &str, objects: Vec<Object>) {
        let count = objects.len() as u64;
        let batch = IngestBatch { objects, ..IngestBatch::default() };
        let messages = [open_message(collection, IngestMode::Unspecified), batch_message(batch)];
        let mut client = self.objects().await;
        let answers = client.ingest(tokio_stream::iter(messages)).await.expect("opens");
        let mut answers = answers.into_inner();
        let answer = answers.message().await.expect("written").expect("an answer");
        assert_eq!(answer.inserted + answer.refused.len() as u64, count);
        assert!(answers.message().await.expect("the end").is_none());
    }
}

fn follow(child: &mut Child) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let stderr = child.stderr.take().expect("piped");
    let log = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&log);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut log = into.lock().expect("not poisoned");
            log.push_str(&line);
            log.push('\n');
        }
    });
    (log, reader)
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Names of the samples of a scrape.
pub(crate) fn samples(scrape: &str) -> BTreeSet<String> {
    let lines = scrape.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split(['{', ' ']).next().expect("a name").to_owned()).collect()
}
