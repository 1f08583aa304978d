//! Which text of which request is replaced.

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow::ipc::writer::StreamWriter;
use serde::Deserialize;
use serde_json::Value;
use sidereus::wire::DESCRIPTORS;

use super::super::rules::{self, Protocol};
use super::foreign;
use super::message::{Given, Place, depth, encode, places, put};
use super::wire::Call;

/// Headers that somebody on the way reads.
const HEADERS: [&str; 10] = [
    "authorization",
    "content-type",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-forwarded-for",
    "x-request-id",
];

/// A request, and what is asked before and after it.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// Path of the method.
    #[serde(rename = "call")]
    pub(super) path: String,
    /// Its messages, in the names of the protocol.
    pub(super) send: Vec<Value>,
    /// How it must be answered.
    #[serde(default)]
    pub(super) answer: i32,
    /// How often it is asked while everything is set up.
    #[serde(default = "once")]
    pub(super) times: u64,
    /// The only texts of it that are replaced; empty for all.
    #[serde(default)]
    only: Vec<String>,
    #[serde(default)]
    pub(super) first: Vec<Asked>,
    #[serde(default)]
    pub(super) then: Vec<Asked>,
}

fn once() -> u64 {
    1
}

#[derive(Deserialize)]
struct Written {
    setup: Vec<Asked>,
    requests: Vec<Asked>,
}

/// What is replaced by a payload.
#[derive(Debug)]
pub(super) enum Target {
    /// A text or bytes of a request, by its number, in the message of that number.
    Text(usize, usize, Place),
    /// The name of a column in a table of Arrow that a request carries.
    Column(usize),
    /// A header of a request.
    Header(usize, &'static str),
    /// The path of a request.
    Path(usize),
    /// The path of what is asked over plain HTTP.
    Page,
}

impl Target {
    /// The request that it belongs to.
    pub(super) fn asked<'a>(&self, plan: &'a Plan) -> &'a Asked {
        match self {
            Self::Text(at, ..) | Self::Column(at) | Self::Header(at, _) | Self::Path(at) => {
                &plan.requests[*at]
            }
            Self::Page => &plan.requests[0],
        }
    }

    pub(super) fn name(&self) -> String {
        format!("{self:?}")
    }

    /// The call with the payload; `None` where it cannot be said.
    pub(super) fn call(&self, plan: &Plan, payload: &[u8], own: u64) -> Option<Call> {
        let asked = self.asked(plan);
        match self {
            Self::Text(_, number, place) => {
                let mut messages = plan.messages(asked, Given { own, words: &plan.words });
                messages[*number] = put(&messages[*number], &place.numbers, payload);
                Some(Call::new(&asked.path, &plan.admin, &messages))
            }
            Self::Column(_) => {
                let mut words = table(std::str::from_utf8(payload).ok()?);
                words.extend_from_slice(&plan.words);
                let messages = plan.messages(asked, Given { own, words: &words });
                Some(Call::new(&asked.path, &plan.admin, &messages))
            }
            Self::Header(_, name) => plan.call(asked, own).with_header(name, payload),
            Self::Path(_) => plan.call(asked, own).with_path(payload),
            Self::Page => None,
        }
    }
}

/// Every request and every text.
pub(super) struct Plan {
    protocol: Protocol,
    inputs: Vec<(String, String)>,
    admin: String,
    /// Whole texts of requests that stand for something else.
    pub(super) words: Vec<(&'static str, Vec<u8>)>,
    pub(super) setup: Vec<Asked>,
    pub(super) requests: Vec<Asked>,
    pub(super) targets: Vec<Target>,
    /// Methods with a text.
    pub(super) methods: usize,
}

impl Plan {
    /// # Panics
    /// Where a text of the protocol is in no request: its method, or the fields around it, must be written into
    /// `requests.json`.
    pub(super) fn new(admin: String) -> Self {
        rules::table(DESCRIPTORS).expect("every method has a rule");
        let mut protocol = rules::read(DESCRIPTORS).expect("the compiled protocol");
        let inputs = foreign::all_methods(&mut protocol);
        let Written { setup, requests } =
            serde_json::from_str(include_str!("requests.json")).expect("requests");
        let (targets, methods) = (Vec::new(), 0);
        let words = table("z");
        let mut plan = Self { protocol, inputs, admin, words, setup, requests, targets, methods };
        plan.find_targets();
        plan
    }

    /// Texts in the order of the requests: those that leave something behind come after those that list it.
    fn find_targets(&mut self) {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for (path, input) in &self.inputs {
            let places = places(&self.protocol, input);
            self.methods += usize::from(!places.is_empty());
            for place in places {
                match self.request_with(path, &place) {
                    Some((at, number)) => found.push((at, Target::Text(at, number, place))),
                    None => missing.push(format!("{path} {}", place.name)),
                }
            }
        }
        assert!(missing.is_empty(), "no request has {missing:#?}");
        for (at, asked) in self.requests.iter().enumerate() {
            let text = format!("{:?}", asked.send);
            if text.contains("$TABLE") || text.contains("$SCHEMA") {
                found.push((at, Target::Column(at)));
            }
        }
        found.sort_by_key(|(at, _)| *at);
        let mut targets: Vec<Target> = HEADERS.map(|name| Target::Header(0, name)).into();
        targets.extend([Target::Path(0), Target::Page]);
        targets.extend(found.into_iter().map(|(_, target)| target));
        self.targets = targets;
    }

    /// The first request of a method with all fields on the way to a place, and which of its messages that is.
    fn request_with(&self, path: &str, place: &Place) -> Option<(usize, usize)> {
        let words = Given { own: 0, words: &self.words };
        let suits = |asked: &Asked| {
            asked.path == path && (asked.only.is_empty() || asked.only.contains(&place.name))
        };
        self.requests.iter().enumerate().filter(|(_, asked)| suits(asked)).find_map(
            |(at, asked)| {
                let messages = self.messages(asked, words);
                let has = |message: &Vec<u8>| depth(message, &place.numbers) == place.numbers.len();
                messages.iter().position(has).map(|number| (at, number))
            },
        )
    }

    fn messages(&self, asked: &Asked, given: Given) -> Vec<Vec<u8>> {
        let known = self.inputs.iter().find(|(path, _)| *path == asked.path);
        let (_, input) = known.unwrap_or_else(|| panic!("there is no {}", asked.path));
        asked.send.iter().map(|message| encode(&self.protocol, input, message, given)).collect()
    }

    /// A request as it should be.
    pub(super) fn call(&self, asked: &Asked, own: u64) -> Call {
        let messages = self.messages(asked, Given { own, words: &self.words });
        Call::new(&asked.path, &self.admin, &messages)
    }
}

/// A table of one object with a column of a name: as a stream of Arrow, and in the parts that Flight sends.
fn table(column: &str) -> Vec<(&'static str, Vec<u8>)> {
    let real = |value: f64| -> ArrayRef { std::sync::Arc::new(Float64Array::from(vec![value])) };
    let id: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![7]));
    let columns = [("object_id", id), ("ra", real(1.0)), ("dec", real(2.0)), (column, real(3.0))];
    let batch = RecordBatch::try_from_iter(columns).expect("a table");
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, &batch.schema()).expect("a stream");
    writer.write(&batch).expect("written");
    writer.finish().expect("written");
    drop(writer);
    let part = |at: usize| {
        let length = u32::from_le_bytes(stream[at + 4..at + 8].try_into().expect("four bytes"));
        at + 8..at + 8 + length as usize
    };
    let schema = part(0);
    let batch = part(schema.end);
    let parts = [
        ("$SCHEMA", stream[schema].to_vec()),
        ("$BODY", stream[batch.end..stream.len() - 8].to_vec()),
        ("$BATCH", stream[batch].to_vec()),
        ("$TABLE", stream),
    ];
    parts.into()
}
