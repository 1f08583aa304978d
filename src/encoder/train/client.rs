//! The database's end of a training.

use super::chunk::{Beginning, Chunk, ChunkSource};
use super::error::TrainError;
use super::session::Session;
use super::spec::{TowerInput, TrainSpec};
use crate::learn::{HeadShape, HeadWeights, LearnError, NamedTensor, Scaling};

/// How far a training is.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainStep {
    /// Number of the epoch under way, from 0.
    pub epoch: u32,
    /// Epochs at most.
    pub epochs: u32,
    /// Examples of this epoch that were sent.
    pub examples: u64,
    /// Mean loss of what was learned in this epoch so far.
    pub loss: f64,
    /// Whether the epoch is over.
    pub ended: bool,
    /// Mean loss on the validation chunks, at an epoch's end.
    pub validation_loss: Option<f64>,
}

/// What came of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The head, or the first tower.
    pub head: HeadWeights,
    /// The second tower.
    pub second: Option<HeadWeights>,
    /// The temperature of two towers.
    pub temperature: Option<f64>,
    /// Epochs that were run.
    pub epochs: u32,
    /// Number of the epoch whose weights these are, from 0.
    pub best_epoch: u32,
    /// No epoch was better on the validation chunks than what it was given to begin with, which is what these are.
    pub is_beginning: bool,
    /// Mean loss of each epoch.
    pub losses: Vec<f64>,
    /// Mean loss of each epoch on the validation chunks; empty without them.
    pub validation_losses: Vec<f64>,
}

/// Who is asked for chunks, and where.
pub(in crate::encoder) enum Source<'a> {
    /// On this thread, which may block.
    Here(&'a mut dyn ChunkSource),
    /// On threads that may block; absent while one of them has it.
    Elsewhere(Option<Box<dyn ChunkSource>>),
}

/// Which chunk is wanted.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    epoch: u32,
    chunk: u32,
    validation: bool,
}

impl Wanted {
    fn from(self, source: &mut dyn ChunkSource) -> Result<Option<Chunk>, LearnError> {
        if self.validation {
            source.validation(self.chunk)
        } else {
            source.chunk(self.epoch, self.chunk)
        }
    }
}

impl Source<'_> {
    fn beginning(&mut self) -> Option<Beginning> {
        match self {
            Self::Here(source) => source.beginning(),
            Self::Elsewhere(kept) => kept.as_mut().and_then(|source| source.beginning()),
        }
    }

    async fn ask(&mut self, wanted: Wanted) -> Result<Option<Chunk>, LearnError> {
        let kept = match self {
            Self::Here(source) => return wanted.from(&mut **source),
            Self::Elsewhere(kept) => kept,
        };
        let failed = || LearnError::Unreadable { reason: "reading the examples failed".to_owned() };
        let mut source = kept.take().ok_or_else(failed)?;
        let asked = tokio::task::spawn_blocking(move || {
            let chunk = wanted.from(&mut *source);
            (source, chunk)
        });
        let (source, chunk) = asked.await.map_err(|_| failed())?;
        *kept = Some(source);
        chunk
    }
}

/// Who hears how far it is.
type Hears<'a> = &'a mut (dyn FnMut(&TrainStep) -> Result<(), LearnError> + Send);

/// Trains to the end what has begun at one encoder.
pub(in crate::encoder) async fn train(
    mut session: Session,
    spec: &TrainSpec,
    source: &mut Source<'_>,
    progress: Hears<'_>,
) -> Result<Trained, TrainError> {
    let (mut losses, mut validation_losses) = (Vec::new(), Vec::new());
    if let Some(beginning) = source.beginning() {
        session.begin_with(beginning).await?;
        measure_beginning(&mut session, source).await?;
    }
    for epoch in 0..spec.epochs {
        let mut step = TrainStep {
            epoch,
            epochs: spec.epochs,
            examples: 0,
            loss: 0.0,
            ended: false,
            validation_loss: None,
        };
        for validation in [false, true] {
            for chunk in 0.. {
                let wanted = Wanted { epoch, chunk, validation };
                let Some(chunk) = source.ask(wanted).await? else { break };
                let examples = chunk.examples as u64;
                step.loss = session.send(chunk, validation).await?;
                if !validation {
                    step.examples += examples;
                    progress(&step)?;
                }
            }
        }
        if step.examples == 0 {
            let what = "training examples";
            return Err(LearnError::TooFew { what, given: 0, needed: 1 }.into());
        }
        let told = session.end_epoch().await?;
        losses.push(told.loss);
        validation_losses.extend(told.validation_loss);
        progress(&TrainStep {
            loss: told.loss,
            ended: true,
            validation_loss: told.validation_loss,
            ..step
        })?;
        if told.last {
            break;
        }
    }
    let networks = session.finish().await?;
    let (first, second) = spec.shapes();
    let head = head(first, &spec.input, spec.targets.clone(), networks.first)?;
    let second = match (second, spec.second()) {
        (Some(shape), Some(input)) => Some(self::head(shape, input, None, networks.second)?),
        _ => None,
    };
    Ok(Trained {
        head,
        second,
        temperature: networks.end.temperature,
        epochs: u32::try_from(losses.len()).unwrap_or(u32::MAX),
        best_epoch: networks.end.best_epoch,
        is_beginning: networks.end.beginning,
        losses,
        validation_losses,
    })
}

/// Measures the networks before they learn, where there is something to measure them on.
async fn measure_beginning(
    session: &mut Session,
    source: &mut Source<'_>,
) -> Result<(), TrainError> {
    for chunk in 0.. {
        let wanted = Wanted { epoch: 0, chunk, validation: true };
        match source.ask(wanted).await? {
            Some(examples) => {
                session.send(examples, true).await?;
            }
            None if chunk == 0 => return Ok(()),
            None => break,
        }
    }
    session.end_epoch().await?;
    Ok(())
}

fn head(
    shape: HeadShape,
    input: &TowerInput,
    targets: Option<Scaling>,
    members: Vec<Vec<NamedTensor>>,
) -> Result<HeadWeights, LearnError> {
    let head = HeadWeights { shape, inputs: input.scaling.clone(), targets, members };
    head.check()?;
    Ok(head)
}
