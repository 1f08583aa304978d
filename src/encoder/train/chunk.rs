//! Examples on their way to the encoder.

use super::spec::{TowerInput, TrainSpec, TrainTask};
use crate::learn::{LearnError, NamedTensor};

/// Most examples of a chunk.
pub const CHUNK_EXAMPLES_MAX: usize = 1 << 16;

/// Most numbers of a chunk: features, those of both towers together, and targets.
pub const CHUNK_NUMBERS_MAX: usize = 8 << 20;

/// Features of some examples.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChunkRows {
    /// Row-major; all finite. Of tokens those of all examples one after the other.
    pub values: Vec<f32>,
    /// Tokens of each example, at least one; empty for rows.
    pub lengths: Vec<u32>,
}

/// Examples in the order in which they are to be learned. They are cut into batches as they come, so that all chunks of an
/// epoch but the last hold whole batches.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chunk {
    /// How many there are.
    pub examples: usize,
    /// Features of the head, or of the first tower.
    pub first: ChunkRows,
    /// Features of the second tower.
    pub second: ChunkRows,
    /// Numbers or fractions to be learned, row-major.
    pub targets: Vec<f32>,
    /// Classes to be learned, from 0.
    pub classes: Vec<u32>,
    /// Weights of the examples, not negative; empty for equal ones. Two towers have none.
    pub weights: Vec<f32>,
}

/// What networks begin with instead of random numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Beginning {
    /// Tensors of the head, or of the first tower.
    pub first: Vec<NamedTensor>,
    /// Tensors of the second tower; none for a head.
    pub second: Vec<NamedTensor>,
}

/// Where the examples come from.
pub trait ChunkSource: Send {
    /// Chunk number `chunk` (0, 1, ...) of an epoch; none behind the last one. Chunks are asked for in order, and each epoch
    /// should have an order of its own, such as [`epoch_order`](crate::learn::epoch_order). May block.
    ///
    /// # Errors
    /// Whatever keeps the examples from being read; it ends the training.
    fn chunk(&mut self, epoch: u32, chunk: u32) -> Result<Option<Chunk>, LearnError>;

    /// The chunk of a number of examples that are not learned, and on which each epoch is measured; none behind the last one.
    ///
    /// # Errors
    /// As for [`Self::chunk`].
    fn validation(&mut self, _chunk: u32) -> Result<Option<Chunk>, LearnError> {
        Ok(None)
    }

    /// What the networks begin with; none for random numbers. With validation chunks it is measured, too, and kept where no
    /// epoch is better.
    fn beginning(&mut self) -> Option<Beginning> {
        None
    }
}

impl Chunk {
    /// Whether these are examples for a training.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self, spec: &TrainSpec) -> Result<(), String> {
        if self.examples == 0 || self.examples > CHUNK_EXAMPLES_MAX {
            let given = self.examples;
            return Err(format!("{given} examples in a chunk; send 1 to {CHUNK_EXAMPLES_MAX}"));
        }
        let numbers = self.first.values.len() + self.second.values.len() + self.targets.len();
        if numbers > CHUNK_NUMBERS_MAX {
            return Err(format!("{numbers} numbers in a chunk; send at most {CHUNK_NUMBERS_MAX}"));
        }
        self.first.check(self.examples, Some(&spec.input), "features")?;
        self.second.check(self.examples, spec.second(), "features of the second tower")?;
        let (targets, classes) = match spec.task {
            TrainTask::Regression { outputs } => (outputs, None),
            TrainTask::Fractions { classes } => (classes, None),
            TrainTask::Density { .. } => (1, None),
            TrainTask::Classes { classes } => (0, Some(classes)),
            TrainTask::Contrastive { .. } => (0, None),
        };
        counted("targets", self.targets.len(), self.examples * targets)?;
        finite("targets", &self.targets)?;
        counted("classes", self.classes.len(), self.examples * usize::from(classes.is_some()))?;
        if let Some(class) = self.classes.iter().find(|class| classes <= Some(**class as usize)) {
            return Err(format!("class {class} of {} classes", classes.unwrap_or(0)));
        }
        if matches!(spec.task, TrainTask::Fractions { .. })
            && let Some(bad) = self.targets.iter().find(|fraction| !(0.0..=1.0).contains(*fraction))
        {
            return Err(format!("a fraction is {bad}; fractions lie between 0 and 1"));
        }
        self.weights_fit(spec)
    }

    fn weights_fit(&self, spec: &TrainSpec) -> Result<(), String> {
        if self.weights.is_empty() {
            return Ok(());
        }
        if spec.second().is_some() {
            return Err("two towers know no weights of examples; leave them out".to_owned());
        }
        counted("weights", self.weights.len(), self.examples)?;
        finite("weights", &self.weights)?;
        match self.weights.iter().find(|weight| **weight < 0.0) {
            Some(weight) => Err(format!("a weight is {weight}; weights are not negative")),
            None => Ok(()),
        }
    }
}

impl ChunkRows {
    fn check(&self, examples: usize, input: Option<&TowerInput>, what: &str) -> Result<(), String> {
        let Some(input) = input else {
            counted(what, self.values.len(), 0)?;
            return counted("lengths of token sequences", self.lengths.len(), 0);
        };
        let rows = if input.attention.is_some() {
            counted("lengths of token sequences", self.lengths.len(), examples)?;
            if self.lengths.contains(&0) {
                return Err("an example has no tokens; leave it out".to_owned());
            }
            self.lengths.iter().map(|length| *length as usize).fold(0, usize::saturating_add)
        } else {
            counted("lengths of token sequences", self.lengths.len(), 0)?;
            examples
        };
        counted(what, self.values.len(), rows.saturating_mul(input.width))?;
        finite(what, &self.values)
    }
}

fn counted(what: &str, given: usize, expected: usize) -> Result<(), String> {
    if given == expected {
        return Ok(());
    }
    Err(format!("{given} numbers of {what} where {expected} belong"))
}

fn finite(what: &str, values: &[f32]) -> Result<(), String> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(format!("{value} among the {what}; leave such examples out")),
        None => Ok(()),
    }
}
