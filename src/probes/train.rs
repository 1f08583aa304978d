//! Networks, trained by the encoder program on examples that are read for it chunk by chunk.

use tokio::runtime::Handle;

use super::dataset::Targets;
use super::heads::{Examples, Fit};
use super::model::Model;
use super::network::Frame;
use super::spec::Spec;
use super::{ProbeError, Tools, tokens};
use crate::encoder::{
    Chunk, ChunkRows, ChunkSource, EncoderHandle, TowerInput, TrainError, TrainSpec, TrainStep,
    TrainTask, Trained,
};
use crate::learn::scale::Scale;
use crate::learn::{Activation, AttentionShape, Features, LearnError, Progress, epoch_order};
use crate::wire::v1;

/// Epochs without a better loss on the validation side after which a training ends.
const PATIENCE: u32 = 5;

/// Tokens of an object that a chunk is sized for.
const TOKENS_GUESS: usize = 256;

/// Which network is trained.
pub(super) struct Network {
    mlp: v1::MlpHead,
    components: Option<u32>,
    attention_heads: Option<u32>,
}

impl Network {
    pub(super) fn plain(mlp: &v1::MlpHead) -> Self {
        Self { mlp: mlp.clone(), components: None, attention_heads: None }
    }

    pub(super) fn density(density: &v1::DensityHead) -> Self {
        let mlp = density.mlp.clone().unwrap_or_default();
        Self { mlp, components: Some(density.components), attention_heads: None }
    }

    pub(super) fn attention(attention: &v1::AttentionHead) -> Self {
        let mlp = attention.mlp.clone().unwrap_or_default();
        Self { mlp, components: None, attention_heads: Some(attention.heads) }
    }
}

/// Trains a network.
///
/// # Errors
/// [`ProbeError::Encoder`] when the encoder program is not there or dies; [`ProbeError::Learn`].
pub(super) fn fit(
    tools: &Tools,
    spec: &Spec,
    network: &Network,
    train: &Examples<'_>,
    validation: &Examples<'_>,
    progress: Progress<'_>,
) -> Result<Fit, ProbeError> {
    let encoder = tools.encoder.as_ref().ok_or_else(|| {
        let hint = "start the server with an encoder, or use knn, ridge or logistic";
        ProbeError::bad(
            "networks are trained by the encoder program, and this server runs without one",
            hint,
        )
    })?;
    let frame = frame(spec, train, progress)?;
    let wanted = train_spec(spec, network, train, validation)?;
    let examples_at_once =
        wanted.chunk_examples(if spec.uses_tokens() { TOKENS_GUESS } else { 1 }).max(1);
    let order = (u32::MAX, Vec::new());
    let unused = validation.places.len();
    let validation = Some(validation).filter(|validation| judges(validation));
    let mut source = Source { spec, frame: &frame, train, validation, examples_at_once, order };
    let count = train.places.len();
    let trained = train_watched(encoder, &wanted, &mut source, count, progress)?;
    let mut fit = Fit::of(Model::network(trained.head, frame)?);
    if validation.is_some() {
        let (best, ran) = (trained.best_epoch + 1, trained.epochs);
        fit.warnings
            .push(format!("weights of epoch {best} of {ran}, the best on the validation side"));
    } else if let Some(warning) = told_weightless(unused) {
        fit.warnings.push(warning);
    }
    Ok(fit)
}

/// Trains what a spec says on so many examples, and tells how far it is.
///
/// # Errors
/// [`ProbeError::Encoder`] when the encoder program is not there or dies; [`ProbeError::Learn`].
pub(super) fn train_watched(
    encoder: &EncoderHandle,
    spec: &TrainSpec,
    source: &mut dyn ChunkSource,
    examples: usize,
    progress: Progress<'_>,
) -> Result<Trained, ProbeError> {
    let runtime = Handle::try_current().map_err(|_| {
        ProbeError::bad("no runtime to train a network in", "fit it through the server")
    })?;
    let examples = examples as u64;
    let mut told = |step: &TrainStep| {
        let total = examples * u64::from(step.epochs);
        let done = u64::from(step.epoch) * examples + step.examples;
        progress.step(&format!("training, loss {:.4}", step.loss), done.min(total), total)
    };
    encoder.train_blocking(&runtime, spec, source, &mut told).map_err(|error| match error {
        TrainError::Encoder(error) => ProbeError::Encoder(error),
        TrainError::Learn(error) => ProbeError::Learn(error),
    })
}

/// How features and targets are scaled before they are cut to single precision.
fn frame(spec: &Spec, train: &Examples<'_>, progress: Progress<'_>) -> Result<Frame, ProbeError> {
    let inputs = if spec.wire.standardize && !spec.uses_tokens() {
        Some(Scale::fit(&train.features, None, progress)?)
    } else {
        None
    };
    // Networks learn numbers of the order of one.
    let target = match &train.targets {
        Targets::Numbers(values) => Some(Frame::target_of(values)),
        Targets::Classes { .. } | Targets::Fractions { .. } => None,
    };
    Ok(Frame { inputs, target })
}

fn train_spec(
    spec: &Spec,
    network: &Network,
    train: &Examples<'_>,
    validation: &Examples<'_>,
) -> Result<TrainSpec, ProbeError> {
    let task = match (&train.targets, network.components) {
        (Targets::Numbers(_), Some(components)) => {
            TrainTask::Density { components: components as usize }
        }
        (Targets::Numbers(_), None) => TrainTask::Regression { outputs: 1 },
        (Targets::Classes { names, .. }, _) => TrainTask::Classes { classes: names.len() },
        (Targets::Fractions { names, .. }, _) => TrainTask::Fractions { classes: names.len() },
    };
    let input = if spec.uses_tokens() {
        let width = spec.spaces.iter().map(|space| space.dimension).sum();
        let heads = network.attention_heads.unwrap_or(1).max(1) as usize;
        if !usize::is_multiple_of(width, heads) {
            let what = format!("{heads} attention heads over tokens of {width} components");
            return Err(ProbeError::bad(what, "give a number of heads that divides them"));
        }
        let attention = Some(AttentionShape { heads, width });
        TowerInput { width, attention, scaling: None }
    } else {
        TowerInput::rows(train.features.width())
    };
    let mlp = &network.mlp;
    let mut wanted = TrainSpec::new(input, task);
    wanted.hidden = mlp.hidden.iter().map(|width| *width as usize).collect();
    wanted.activation = match mlp.activation() {
        v1::Activation::Unspecified => Activation::Relu,
        v1::Activation::Gelu => Activation::Gelu,
    };
    wanted.dropout = mlp.dropout;
    wanted.learning_rate = mlp.learning_rate;
    wanted.weight_decay = mlp.weight_decay;
    wanted.epochs = mlp.epochs;
    wanted.batch = mlp.batch as usize;
    if judges(validation) {
        wanted.patience = PATIENCE;
    }
    wanted.seed = spec.wire.seed;
    wanted.check()?;
    Ok(wanted)
}

/// Whether a validation side can tell epochs apart.
fn judges(validation: &Examples<'_>) -> bool {
    let weights = &validation.weights;
    !validation.places.is_empty() && (weights.is_empty() || weights.iter().any(|each| *each > 0.0))
}

/// What is said of so many validation objects that judge nothing.
fn told_weightless(unused: usize) -> Option<String> {
    (unused > 0).then(|| {
        format!("all {unused} objects on the validation side have weight 0: the weights of the last epoch are taken")
    })
}

fn singles(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

/// Reads chunks of shuffled examples.
struct Source<'a> {
    spec: &'a Spec,
    frame: &'a Frame,
    train: &'a Examples<'a>,
    /// `None` where nothing is judged by it.
    validation: Option<&'a Examples<'a>>,
    examples_at_once: usize,
    /// The order of an epoch.
    order: (u32, Vec<u32>),
}

impl Source<'_> {
    /// The `chunk`-th run of an order, if it is not behind its end.
    fn run(&self, order: &[u32], chunk: u32) -> Vec<u32> {
        let first = (chunk as usize).saturating_mul(self.examples_at_once);
        let last = first.saturating_add(self.examples_at_once).min(order.len());
        order.get(first..last).unwrap_or(&[]).to_vec()
    }

    fn read(&self, of: &Examples<'_>, examples: &[u32]) -> Result<Option<Chunk>, LearnError> {
        if examples.is_empty() {
            return Ok(None);
        }
        let first = if let Some(space) =
            self.spec.spaces.first().filter(|_| self.spec.uses_tokens())
        {
            let places: Vec<u32> = examples.iter().map(|&at| of.places[at as usize]).collect();
            let from = of.data.tokens_from();
            let read = from.and_then(|still| tokens::read(&of.data.table, still, space, &places));
            let read =
                read.map_err(|error| LearnError::Unreadable { reason: error.to_string() })?;
            ChunkRows { values: read.values, lengths: read.lengths }
        } else {
            let mut values = Vec::new();
            of.features.read(examples, &mut values)?;
            self.frame.scale_inputs(&mut values);
            ChunkRows { values: singles(&values), lengths: Vec::new() }
        };
        let (mut targets, mut classes) = (Vec::new(), Vec::new());
        match of.targets.select(examples) {
            Targets::Numbers(values) => targets = singles(&self.frame.scale_targets(&values)),
            Targets::Fractions { values, .. } => targets = singles(&values),
            Targets::Classes { of, .. } => classes = of,
        }
        let weight = |&at: &u32| of.weights[at as usize] as f32;
        let weights =
            if of.weights.is_empty() { Vec::new() } else { examples.iter().map(weight).collect() };
        let second = ChunkRows { values: Vec::new(), lengths: Vec::new() };
        Ok(Some(Chunk { examples: examples.len(), first, second, targets, classes, weights }))
    }
}

impl ChunkSource for Source<'_> {
    fn chunk(&mut self, epoch: u32, chunk: u32) -> Result<Option<Chunk>, LearnError> {
        if self.order.0 != epoch || self.order.1.is_empty() {
            let order = epoch_order(self.train.places.len(), epoch, self.spec.wire.seed);
            self.order = (epoch, order);
        }
        let examples = self.run(&self.order.1, chunk);
        self.read(self.train, &examples)
    }

    fn validation(&mut self, chunk: u32) -> Result<Option<Chunk>, LearnError> {
        let Some(validation) = self.validation else { return Ok(None) };
        let all: Vec<u32> = (0..validation.places.len() as u32).collect();
        let examples = self.run(&all, chunk);
        self.read(validation, &examples)
    }
}
