//! What is to be trained, and how.

use super::super::EncoderError;
use super::chunk::{CHUNK_EXAMPLES_MAX, CHUNK_NUMBERS_MAX};
use crate::learn::{
    Activation, AttentionShape, HeadOutput, HeadShape, HeadWeights, LearnError, NamedTensor,
    Scaling,
};

/// Largest width of rows, tokens and layers, and most outputs.
const WIDTH_MAX: usize = 1 << 16;

/// Most hidden layers.
const LAYERS_MAX: usize = 8;

/// Most parts of an attention's query.
const HEADS_MAX: usize = 64;

/// Most Gaussians of a density.
const COMPONENTS_MAX: usize = 256;

/// Most members of an ensemble.
const MEMBERS_MAX: usize = 32;

/// Most numbers of one network, which is one message of the protocol, and of all networks of a training.
const PARAMETERS_MAX: usize = 8 << 20;
const PARAMETERS_SUM_MAX: usize = 16 << 20;

/// Most examples of a batch.
const BATCH_MAX: usize = 1 << 14;

/// Most epochs.
const EPOCHS_MAX: u32 = 100_000;

/// Numbers of a chunk of the size that [`TrainSpec::chunk_examples`] advises.
const CHUNK_NUMBERS: usize = 1 << 20;

/// What a network reads of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct TowerInput {
    /// Numbers of a row, or of a token.
    pub width: usize,
    /// Present where objects are sequences of tokens.
    pub attention: Option<AttentionShape>,
    /// How the numbers are scaled before the network sees them.
    pub scaling: Option<Scaling>,
}

impl TowerInput {
    /// Rows of so many features, as they are.
    pub fn rows(width: usize) -> Self {
        Self { width, attention: None, scaling: None }
    }

    /// Sequences of tokens, as they are; a query of `heads` parts collects as many numbers as a token has.
    pub fn tokens(width: usize, heads: usize) -> Self {
        Self { width, attention: Some(AttentionShape { heads, width }), scaling: None }
    }
}

/// What is to be learned.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainTask {
    /// Numbers, by their mean squared error.
    Regression {
        /// Numbers of an object.
        outputs: usize,
    },
    /// One class of an object, by cross entropy.
    Classes {
        /// How many classes there are.
        classes: usize,
    },
    /// A fraction for each class, by cross entropy; votes weigh an object.
    Fractions {
        /// How many classes there are.
        classes: usize,
    },
    /// The density of a number, by its negative logarithm: a mixture of Gaussians.
    Density {
        /// Gaussians.
        components: usize,
    },
    /// Two towers whose vectors of the same object agree, by InfoNCE (van den Oord et al. 2018), symmetric over both.
    Contrastive {
        /// What the second tower reads.
        second: TowerInput,
        /// Components of the vectors.
        dimension: usize,
        /// Divides the cosines; where it is learned, where it begins.
        temperature: f32,
        /// Whether the temperature is learned.
        learn_temperature: bool,
    },
}

/// A training.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSpec {
    /// What the head, or the first tower, reads.
    pub input: TowerInput,
    /// What it learns.
    pub task: TrainTask,
    /// How numbers to be learned are scaled before they are compared; for regressions and densities.
    pub targets: Option<Scaling>,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// What stands between the layers.
    pub activation: Activation,
    /// Fraction of the hidden numbers that are left out at random while learning.
    pub dropout: f64,
    /// Step size of Adam (Kingma & Ba 2015).
    pub learning_rate: f64,
    /// Whether the step size falls to zero along a cosine.
    pub anneal: bool,
    /// Decoupled weight decay (Loshchilov & Hutter 2019), of weights and not of biases.
    pub weight_decay: f64,
    /// Passes over the examples, at most.
    pub epochs: u32,
    /// Examples of a step.
    pub batch: usize,
    /// Epochs without a better loss on the validation chunks after which it ends; 0: it goes to the last.
    ///
    /// With validation chunks the weights of the best epoch are kept in any case.
    pub patience: u32,
    /// Networks that learn the same from different beginnings.
    pub members: usize,
    /// Decides the beginnings and what is left out.
    pub seed: u64,
    /// Examples of an epoch, for a smooth `anneal`; 0: not known.
    pub examples: u64,
}

impl TrainSpec {
    /// Least and greatest temperature of two towers. Vectors of single precision tell no finer similarities apart.
    pub const TEMPERATURE: (f64, f64) = (1e-5, 100.0);

    /// One hidden layer of 256, ten epochs in batches of 64 with a step of 1e-3.
    pub fn new(input: TowerInput, task: TrainTask) -> Self {
        Self {
            input,
            task,
            targets: None,
            hidden: vec![256],
            activation: Activation::Relu,
            dropout: 0.0,
            learning_rate: 1e-3,
            anneal: false,
            weight_decay: 0.0,
            epochs: 10,
            batch: 64,
            patience: 0,
            members: 1,
            seed: 0,
            examples: 0,
        }
    }

    /// Sizes of the head, or of both towers.
    pub fn shapes(&self) -> (HeadShape, Option<HeadShape>) {
        let output = match self.task {
            TrainTask::Regression { outputs } => HeadOutput::Values(outputs),
            TrainTask::Classes { classes } | TrainTask::Fractions { classes } => {
                HeadOutput::Classes(classes)
            }
            TrainTask::Density { components } => HeadOutput::Density { components },
            TrainTask::Contrastive { dimension, .. } => HeadOutput::Embedding(dimension),
        };
        let shape = |input: &TowerInput| HeadShape {
            input: input.width,
            attention: input.attention,
            hidden: self.hidden.clone(),
            activation: self.activation,
            output,
        };
        (shape(&self.input), self.second().map(shape))
    }

    /// Whether these tensors can be what a network of this training begins with: the head or first tower, or the second one.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check_beginning(&self, tensors: &[NamedTensor], second: bool) -> Result<(), String> {
        let (first, other) = self.shapes();
        let shape = if second {
            other.ok_or("there is no second tower that could begin with anything")?
        } else {
            first
        };
        if self.members > 1 {
            return Err("all members of an ensemble would begin alike; set members to 1".to_owned());
        }
        if shape.attention.is_some() {
            return Err("an attention begins with random numbers; give no beginning".to_owned());
        }
        let members = vec![tensors.to_vec()];
        let head = HeadWeights { shape, inputs: None, targets: None, members };
        head.check().map_err(|error| error.to_string())
    }

    /// What the second tower reads.
    pub fn second(&self) -> Option<&TowerInput> {
        match &self.task {
            TrainTask::Contrastive { second, .. } => Some(second),
            _ => None,
        }
    }

    /// A good number of examples for a chunk: whole batches, a few megabytes. `tokens` is how many tokens an object of
    /// either tower has at most; 1 for rows.
    pub fn chunk_examples(&self, tokens: usize) -> usize {
        let width = self.input.width + self.second().map_or(0, |second| second.width);
        let each = width.saturating_mul(tokens).max(1);
        let batch = self.batch.max(1);
        let wanted = (CHUNK_NUMBERS / each).max(batch);
        // Half of what is allowed: targets and shorter sequences have room beside it.
        let most = wanted.min(CHUNK_NUMBERS_MAX / 2 / each).clamp(1, CHUNK_EXAMPLES_MAX);
        if most > batch { most / batch * batch } else { most }
    }

    /// Whether it can be trained.
    ///
    /// # Errors
    /// [`EncoderError::Refused`] that says what to change.
    pub fn check(&self) -> Result<(), EncoderError> {
        let (first, second) = self.shapes();
        let shapes = || [Some(&first), second.as_ref()].into_iter().flatten();
        self.numbers()?;
        for shape in shapes() {
            shape.check().map_err(|error| refused(&error))?;
            sizes(shape)?;
        }
        let scalings = [Some(&self.input), self.second()].into_iter().flatten();
        for input in scalings {
            if let Some(scaling) = &input.scaling {
                scaling.check(input.width).map_err(|error| refused(&error))?;
            }
        }
        self.targets()?;
        let sum = shapes().map(HeadShape::parameters).fold(0, usize::saturating_add);
        let sum = sum.saturating_mul(self.members);
        at_most("parameters of all networks together", sum, PARAMETERS_SUM_MAX)
    }

    fn targets(&self) -> Result<(), EncoderError> {
        let expected = match self.task {
            TrainTask::Regression { outputs } => outputs,
            TrainTask::Density { .. } => 1,
            _ => 0,
        };
        match &self.targets {
            None => Ok(()),
            Some(_) if expected == 0 => {
                Err(refusal("only regressions and densities have targets that are scaled"))
            }
            Some(scaling) => scaling.check(expected).map_err(|error| refused(&error)),
        }
    }

    /// Settings that are no sizes of a network.
    fn numbers(&self) -> Result<(), EncoderError> {
        between("members", self.members as f64, 1.0, MEMBERS_MAX as f64)?;
        between("batch", self.batch as f64, 1.0, BATCH_MAX as f64)?;
        between("epochs", f64::from(self.epochs), 1.0, f64::from(EPOCHS_MAX))?;
        between("dropout", self.dropout, 0.0, 0.95)?;
        between("learning_rate", self.learning_rate, 1e-9, 10.0)?;
        between("weight_decay", self.weight_decay, 0.0, 10.0)?;
        match self.task {
            TrainTask::Density { components } => at_most("components", components, COMPONENTS_MAX),
            TrainTask::Classes { classes } | TrainTask::Fractions { classes } if classes < 2 => {
                Err(refusal("there must be two classes at least"))
            }
            TrainTask::Contrastive { temperature, .. } => {
                let (least, most) = Self::TEMPERATURE;
                // A bound in single precision is a little off.
                let rounded = (f64::from(temperature) * 1e9).round() / 1e9;
                between("temperature", rounded, least, most)?;
                if self.members > 1 {
                    return Err(refusal("two towers are trained alone; set members to 1"));
                }
                if self.batch < 2 {
                    return Err(refusal(
                        "two towers need others to compare with; set batch to 2 or more",
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn sizes(shape: &HeadShape) -> Result<(), EncoderError> {
    at_most("features of a row or a token", shape.input, WIDTH_MAX)?;
    at_most("outputs", shape.output.raw_width(), WIDTH_MAX)?;
    at_most("hidden layers", shape.hidden.len(), LAYERS_MAX)?;
    for width in &shape.hidden {
        at_most("width of a hidden layer", *width, WIDTH_MAX)?;
    }
    if let Some(attention) = shape.attention {
        at_most("attention heads", attention.heads, HEADS_MAX)?;
        at_most("width of the attention", attention.width, WIDTH_MAX)?;
    }
    at_most("parameters of a network", shape.parameters(), PARAMETERS_MAX)
}

fn at_most(what: &str, given: usize, most: usize) -> Result<(), EncoderError> {
    if given <= most {
        return Ok(());
    }
    Err(refusal(&format!("{what}: {given}, and {most} is the most; make it smaller")))
}

fn between(what: &str, given: f64, least: f64, most: f64) -> Result<(), EncoderError> {
    if (least..=most).contains(&given) {
        return Ok(());
    }
    Err(refusal(&format!("{what} is {given}; choose {least} to {most}")))
}

fn refusal(reason: &str) -> EncoderError {
    EncoderError::Refused { reason: reason.to_owned() }
}

fn refused(error: &LearnError) -> EncoderError {
    refusal(&error.to_string())
}
