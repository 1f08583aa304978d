//! The calls of the encoder protocol, from the database's side.

use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::{EncoderError, Made};
use crate::schema::{Modality, Provenance, SpaceForm};
use crate::vector::Metric;
use crate::wire::internal::encoder_service_client::EncoderServiceClient;
use crate::wire::internal::{EncodeRequest, ListModelsRequest, encoded};
use crate::wire::{internal, v1};

/// Longest message between the database and the encoder, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Most payloads of one call of the protocol; longer requests are cut.
pub const PAYLOADS_MAX: usize = 64;

/// Name of the output whose replies are large, and most inputs of a call for it: those of AION-1 XL stay below
/// [`MESSAGE_BYTES_MAX`].
const STATES: &str = "tokens";
const STATES_MAX: usize = 8;

/// Bytes of payloads after which a call is cut, unless one payload alone is longer.
const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// By how much the process's own deadline is later than ours, so that ours, which says what happened, comes first.
const DEADLINE_SLACK: Duration = Duration::from_secs(1);

/// A model that an encoder process serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// The name by which it is chosen.
    pub id: String,
    /// What kind of observation it takes.
    pub modality: Modality,
    /// Components of the vectors of its first output.
    pub dimension: usize,
    /// Where the vectors of its first output come from.
    pub provenance: Provenance,
    /// What it can make of an input; the first one is meant where nothing is said.
    pub outputs: Vec<ModelOutput>,
    /// Named inputs of a model of tables; `image` for models of images.
    pub inputs: Vec<String>,
    /// Inputs that a payload, or a collection, may lack altogether.
    pub optional_inputs: Vec<String>,
    /// How the model's author compares its vectors.
    pub metric: Metric,
    /// A sentence for people.
    pub description: String,
}

/// One way to come from the tokens of a model to what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelOutput {
    /// Name of the pooling, as it goes into the provenance.
    pub pooling: String,
    /// What it gives for an input.
    pub form: SpaceForm,
    /// Components of a vector, or of a token; 0 for token ids.
    pub dimension: usize,
}

impl ModelInfo {
    /// The output of a name; the first one for an empty name.
    ///
    /// # Errors
    /// [`EncoderError::Refused`] that names the outputs there are.
    pub fn output(&self, pooling: &str) -> Result<&ModelOutput, EncoderError> {
        let found = match pooling {
            "" => self.outputs.first(),
            name => self.outputs.iter().find(|output| output.pooling == name),
        };
        found.ok_or_else(|| {
            let names: Vec<_> = self.outputs.iter().map(|output| &*output.pooling).collect();
            let names = names.join(", ");
            let reason = format!("model `{}` has no pooling `{pooling}`; it has {names}", self.id);
            EncoderError::Refused { reason }
        })
    }

    /// Where what an output gives comes from.
    pub fn provenance_of(&self, output: &ModelOutput) -> Provenance {
        Provenance { pooling: output.pooling.clone(), ..self.provenance.clone() }
    }
}

/// What to encode.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// Observations.
    Payloads(Vec<v1::Payload>),
    /// Token ids that the model made earlier.
    Tokens(Vec<v1::TokenSequence>),
}

impl Inputs {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Payloads(payloads) => payloads.len(),
            Self::Tokens(tokens) => tokens.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What an encoder process serves, and what it could not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelList {
    /// Models, sorted by id.
    pub models: Vec<ModelInfo>,
    /// Folders of the operator's directory that are not served, with the reason.
    pub broken: Vec<(String, String)>,
    /// What each encoder has done since it started.
    pub metrics: Vec<v1::EncoderMetrics>,
}

/// Vectors or tokens, and where they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Provenance of every vector.
    pub provenance: Provenance,
    /// One for each input, in order: what was made of it, or what is wrong with it.
    pub results: Vec<Result<Made, String>>,
}

/// Asks an encoder process for its models.
pub(super) async fn list_models(
    channel: Channel,
    within: Duration,
) -> Result<ModelList, EncoderError> {
    let mut client = EncoderServiceClient::new(channel);
    let mut request = Request::new(ListModelsRequest {});
    request.set_timeout(within.saturating_add(DEADLINE_SLACK));
    let reply = in_time(within, client.list_models(request)).await?;
    let models = reply.models.into_iter().map(model_info).collect::<Result<_, _>>()?;
    let broken = reply.broken.into_iter().map(|model| (model.id, model.reason)).collect();
    Ok(ModelList { models, broken, metrics: reply.metrics.into_iter().collect() })
}

/// Encodes inputs in one call of the protocol.
pub(super) async fn encode(
    channel: Channel,
    model: String,
    pooling: String,
    inputs: Inputs,
    within: Duration,
) -> Result<Encoded, EncoderError> {
    let expected = inputs.len();
    let (payloads, tokens) = match inputs {
        Inputs::Payloads(payloads) => (payloads, Vec::new()),
        Inputs::Tokens(tokens) => (Vec::new(), tokens),
    };
    let mut client = EncoderServiceClient::new(channel)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut request = Request::new(EncodeRequest { model, payloads, pooling, tokens });
    request.set_timeout(within.saturating_add(DEADLINE_SLACK));
    let reply = in_time(within, client.encode(request)).await?;
    let provenance =
        reply.provenance.map(Provenance::from).ok_or_else(|| bad_reply("it has no provenance"))?;
    if reply.results.len() != expected {
        return Err(bad_reply(&format!("{} results for {expected} inputs", reply.results.len())));
    }
    let results = reply.results.into_iter().map(result).collect::<Result<_, _>>()?;
    Ok(Encoded { provenance, results })
}

/// Cuts a long request into calls of the protocol, in order.
pub(super) fn calls(inputs: Inputs, pooling: &str) -> Vec<Inputs> {
    // States of tokens are far larger than what they are made of.
    let most = if pooling == STATES { STATES_MAX } else { PAYLOADS_MAX };
    match inputs {
        Inputs::Payloads(all) => cut(all, most).into_iter().map(Inputs::Payloads).collect(),
        Inputs::Tokens(all) => cut(all, most).into_iter().map(Inputs::Tokens).collect(),
    }
}

fn cut<Input: prost::Message>(inputs: Vec<Input>, most: usize) -> Vec<Vec<Input>> {
    let mut calls: Vec<Vec<Input>> = Vec::new();
    let mut bytes = 0;
    for input in inputs {
        let length = input.encoded_len();
        match calls.last_mut() {
            Some(call) if call.len() < most && bytes + length <= PAYLOAD_BYTES_MAX => {
                bytes += length;
                call.push(input);
            }
            _ => {
                bytes = length;
                calls.push(vec![input]);
            }
        }
    }
    calls
}

async fn in_time<Reply>(
    within: Duration,
    call: impl Future<Output = Result<tonic::Response<Reply>, Status>>,
) -> Result<Reply, EncoderError> {
    match tokio::time::timeout(within, call).await {
        Ok(Ok(reply)) => Ok(reply.into_inner()),
        Ok(Err(status)) => Err(error_of(&status, within)),
        Err(_) => Err(EncoderError::DeadlineExceeded { after: within }),
    }
}

/// What a failed call means to the caller.
pub(super) fn error_of(status: &Status, within: Duration) -> EncoderError {
    let reason = status.message().to_owned();
    // A status that did not come over the wire has a source: the connection broke, whatever its code says.
    if std::error::Error::source(status).is_some() {
        return EncoderError::Unavailable {
            reason: format!("the connection to it broke ({reason})"),
        };
    }
    match status.code() {
        Code::Unavailable | Code::Aborted | Code::Unknown => EncoderError::Unavailable { reason },
        Code::ResourceExhausted => EncoderError::Overloaded { reason },
        Code::DeadlineExceeded | Code::Cancelled => {
            EncoderError::DeadlineExceeded { after: within }
        }
        Code::NotFound => EncoderError::UnknownModel { reason },
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => {
            EncoderError::Refused { reason }
        }
        Code::Ok
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => EncoderError::Failed { reason },
    }
}

pub(super) fn bad_reply(reason: &str) -> EncoderError {
    EncoderError::BadReply { reason: reason.to_owned() }
}

fn result(encoded: internal::Encoded) -> Result<Result<Made, String>, EncoderError> {
    match encoded.result {
        Some(encoded::Result::Vector(vector))
            if vector.values.iter().all(|value| value.is_finite()) =>
        {
            Ok(Ok(Made::Vector(vector.values)))
        }
        Some(encoded::Result::Vector(_)) => {
            Ok(Err("the network gave a vector that is not finite".to_owned()))
        }
        Some(encoded::Result::Tokens(tokens)) => Ok(Ok(Made::Tokens(tokens))),
        Some(encoded::Result::Error(reason)) => Ok(Err(reason)),
        None => Err(bad_reply("a result is empty")),
    }
}

fn model_info(model: internal::RegisteredModel) -> Result<ModelInfo, EncoderError> {
    let metric = match model.metric() {
        v1::Metric::Cosine => Metric::Cosine,
        v1::Metric::L2 => Metric::L2,
        v1::Metric::Ip => Metric::Ip,
        v1::Metric::Unspecified => return Err(bad_reply("a model has no metric")),
    };
    let internal::RegisteredModel { model, optional_inputs, .. } = model;
    let model = model.ok_or_else(|| bad_reply("a model is empty"))?;
    let provenance = model
        .provenance
        .map(Provenance::from)
        .ok_or_else(|| bad_reply("a model has no provenance"))?;
    let mut outputs: Vec<ModelOutput> = model.outputs.iter().map(Into::into).collect();
    if outputs.is_empty() {
        // A process of an older program knows one output only.
        outputs.push(ModelOutput {
            pooling: provenance.pooling.clone(),
            form: SpaceForm::Vector,
            dimension: model.dimension as usize,
        });
    }
    Ok(ModelInfo {
        id: model.id,
        modality: Modality(model.modality),
        dimension: model.dimension as usize,
        provenance,
        outputs,
        inputs: model.inputs,
        optional_inputs,
        metric,
        description: model.description,
    })
}

impl From<&v1::ModelOutput> for ModelOutput {
    fn from(output: &v1::ModelOutput) -> Self {
        Self {
            pooling: output.pooling.clone(),
            form: output.form().into(),
            dimension: output.dimension as usize,
        }
    }
}

impl From<&ModelOutput> for v1::ModelOutput {
    fn from(output: &ModelOutput) -> Self {
        Self {
            pooling: output.pooling.clone(),
            form: v1::SpaceForm::from(output.form).into(),
            dimension: u32::try_from(output.dimension).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(length: usize) -> v1::Payload {
        v1::Payload {
            modality: String::new(),
            content: Some(v1::payload::Content::Image(vec![0; length])),
        }
    }

    #[test]
    fn long_requests_are_cut_by_count_and_by_bytes() {
        let counts = |payloads: Vec<v1::Payload>| {
            cut(payloads, PAYLOADS_MAX).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(counts(Vec::new()), Vec::<usize>::new());
        assert_eq!(counts((0..130).map(|_| image(10)).collect()), [64, 64, 2]);
        assert_eq!(
            counts(vec![image(9 << 20), image(6 << 20), image(2 << 20), image(20 << 20)]),
            [2, 1, 1]
        );
        let order: Vec<usize> = cut((0..130).map(image).collect(), PAYLOADS_MAX)
            .concat()
            .iter()
            .map(|payload| match &payload.content {
                Some(v1::payload::Content::Image(bytes)) => bytes.len(),
                _ => usize::MAX,
            })
            .collect();
        assert_eq!(order, (0..130).collect::<Vec<_>>());
        let inputs = || Inputs::Payloads((0..17).map(|_| image(10)).collect());
        assert_eq!(calls(inputs(), "mean").len(), 1);
        assert_eq!(
            calls(inputs(), "tokens").iter().map(Inputs::len).collect::<Vec<_>>(),
            [8, 8, 1]
        );
    }

    #[test]
    fn a_status_becomes_what_the_caller_must_do() {
        let within = Duration::from_secs(1);
        let of = |status: Status| error_of(&status, within);
        assert!(of(Status::unavailable("x")).is_retryable());
        assert!(of(Status::resource_exhausted("x")).is_retryable());
        assert!(of(Status::deadline_exceeded("x")).is_retryable());
        assert!(of(Status::from_error("connection reset".into())).is_retryable());
        assert!(matches!(of(Status::not_found("x")), EncoderError::UnknownModel { .. }));
        assert!(matches!(of(Status::invalid_argument("x")), EncoderError::Refused { .. }));
        assert!(matches!(of(Status::internal("x")), EncoderError::Failed { .. }));
    }

    #[test]
    fn a_result_that_is_no_vector_is_said_so() {
        let vector = |values| internal::Encoded {
            result: Some(encoded::Result::Vector(v1::Vector { values })),
        };
        assert_eq!(result(vector(vec![1.0])), Ok(Ok(Made::Vector(vec![1.0]))));
        assert!(matches!(result(vector(vec![f32::NAN])), Ok(Err(_))));
        assert!(matches!(
            result(internal::Encoded { result: None }),
            Err(EncoderError::BadReply { .. })
        ));
    }
}
