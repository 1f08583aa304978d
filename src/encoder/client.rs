//! The calls of the encoder protocol, from the database's side.

use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::EncoderError;
use crate::schema::{Modality, Provenance};
use crate::vector::Metric;
use crate::wire::internal::encoder_service_client::EncoderServiceClient;
use crate::wire::internal::{EncodeRequest, ListModelsRequest, encoded};
use crate::wire::{internal, v1};

/// Longest message between the database and the encoder, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Most payloads of one call of the protocol; longer requests are cut.
pub const PAYLOADS_MAX: usize = 64;

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
    /// Components of its vectors.
    pub dimension: usize,
    /// Where its vectors come from.
    pub provenance: Provenance,
    /// Named inputs of a model of tables; `image` for models of images.
    pub inputs: Vec<String>,
    /// Inputs that a payload, or a collection, may lack altogether.
    pub optional_inputs: Vec<String>,
    /// How the model's author compares its vectors.
    pub metric: Metric,
    /// A sentence for people.
    pub description: String,
}

/// What an encoder process serves, and what it could not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelList {
    /// Models, sorted by id.
    pub models: Vec<ModelInfo>,
    /// Folders of the operator's directory that are not served, with the reason.
    pub broken: Vec<(String, String)>,
}

/// Vectors, and where they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Provenance of every vector.
    pub provenance: Provenance,
    /// One for each payload, in order: its vector, or what is wrong with it.
    pub results: Vec<Result<Vec<f32>, String>>,
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
    Ok(ModelList { models, broken })
}

/// Encodes payloads in one call of the protocol.
pub(super) async fn encode(
    channel: Channel,
    model: String,
    payloads: Vec<v1::Payload>,
    within: Duration,
) -> Result<Encoded, EncoderError> {
    let expected = payloads.len();
    let mut client = EncoderServiceClient::new(channel)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut request = Request::new(EncodeRequest { model, payloads });
    request.set_timeout(within.saturating_add(DEADLINE_SLACK));
    let reply = in_time(within, client.encode(request)).await?;
    let provenance =
        reply.provenance.map(provenance).ok_or_else(|| bad_reply("it has no provenance"))?;
    if reply.results.len() != expected {
        return Err(bad_reply(&format!("{} results for {expected} inputs", reply.results.len())));
    }
    let results = reply.results.into_iter().map(result).collect::<Result<_, _>>()?;
    Ok(Encoded { provenance, results })
}

/// Cuts a long request into calls of the protocol, in order.
pub(super) fn calls(payloads: Vec<v1::Payload>) -> Vec<Vec<v1::Payload>> {
    let mut calls: Vec<Vec<v1::Payload>> = Vec::new();
    let mut bytes = 0;
    for payload in payloads {
        let length = prost::Message::encoded_len(&payload);
        match calls.last_mut() {
            Some(call) if call.len() < PAYLOADS_MAX && bytes + length <= PAYLOAD_BYTES_MAX => {
                bytes += length;
                call.push(payload);
            }
            _ => {
                bytes = length;
                calls.push(vec![payload]);
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
fn error_of(status: &Status, within: Duration) -> EncoderError {
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

fn bad_reply(reason: &str) -> EncoderError {
    EncoderError::BadReply { reason: reason.to_owned() }
}

fn result(encoded: internal::Encoded) -> Result<Result<Vec<f32>, String>, EncoderError> {
    match encoded.result {
        Some(encoded::Result::Vector(vector))
            if vector.values.iter().all(|value| value.is_finite()) =>
        {
            Ok(Ok(vector.values))
        }
        Some(encoded::Result::Vector(_)) => {
            Ok(Err("the network gave a vector that is not finite".to_owned()))
        }
        Some(encoded::Result::Error(reason)) => Ok(Err(reason)),
        None => Err(bad_reply("a result is empty")),
    }
}

fn provenance(provenance: v1::Provenance) -> Provenance {
    Provenance {
        encoder: provenance.encoder,
        weights_hash: provenance.weights_hash,
        preprocessing: provenance.preprocessing,
        pooling: provenance.pooling,
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
    let provenance =
        model.provenance.map(provenance).ok_or_else(|| bad_reply("a model has no provenance"))?;
    Ok(ModelInfo {
        id: model.id,
        modality: Modality(model.modality),
        dimension: model.dimension as usize,
        provenance,
        inputs: model.inputs,
        optional_inputs,
        metric,
        description: model.description,
    })
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
        let counts =
            |payloads: Vec<v1::Payload>| calls(payloads).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(counts(Vec::new()), Vec::<usize>::new());
        assert_eq!(counts((0..130).map(|_| image(10)).collect()), [64, 64, 2]);
        assert_eq!(
            counts(vec![image(9 << 20), image(6 << 20), image(2 << 20), image(20 << 20)]),
            [2, 1, 1]
        );
        let order: Vec<usize> = calls((0..130).map(image).collect())
            .concat()
            .iter()
            .map(|payload| match &payload.content {
                Some(v1::payload::Content::Image(bytes)) => bytes.len(),
                _ => usize::MAX,
            })
            .collect();
        assert_eq!(order, (0..130).collect::<Vec<_>>());
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
        assert_eq!(result(vector(vec![1.0])), Ok(Ok(vec![1.0])));
        assert!(matches!(result(vector(vec![f32::NAN])), Ok(Err(_))));
        assert!(matches!(
            result(internal::Encoded { result: None }),
            Err(EncoderError::BadReply { .. })
        ));
    }
}
