//! Trainings and heads as messages.

use super::chunk::{Chunk, ChunkRows};
use super::spec::{TowerInput, TrainSpec, TrainTask};
use crate::learn::{
    Activation, AttentionShape, HeadOutput, HeadShape, HeadWeights, LearnError, NamedTensor,
    Scaling,
};
use crate::wire::internal::{self, head_shape, train_start};
use crate::wire::v1;

/// Sizes were checked to be small; one that is not becomes one that is refused.
fn narrow(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn all_narrow(sizes: &[usize]) -> Vec<u32> {
    sizes.iter().map(|size| narrow(*size)).collect()
}

fn all_wide(sizes: Vec<u32>) -> Vec<usize> {
    sizes.into_iter().map(|size| size as usize).collect()
}

fn activation_number(activation: Activation) -> i32 {
    match activation {
        Activation::Relu => v1::Activation::Unspecified.into(),
        Activation::Gelu => v1::Activation::Gelu.into(),
    }
}

fn activation(number: i32) -> Result<Activation, String> {
    match v1::Activation::try_from(number) {
        Ok(v1::Activation::Unspecified) => Ok(Activation::Relu),
        Ok(v1::Activation::Gelu) => Ok(Activation::Gelu),
        Err(_) => Err(format!("no activation has the number {number}")),
    }
}

fn attention_message(shape: AttentionShape) -> internal::Attention {
    internal::Attention { heads: narrow(shape.heads), width: narrow(shape.width) }
}

fn attention(message: internal::Attention) -> AttentionShape {
    AttentionShape { heads: message.heads as usize, width: message.width as usize }
}

fn scaling_message(scaling: &Scaling) -> internal::Scaling {
    internal::Scaling { mean: scaling.mean.clone(), scale: scaling.scale.clone() }
}

fn scaling(message: internal::Scaling) -> Scaling {
    Scaling { mean: message.mean, scale: message.scale }
}

fn tower_message(input: &TowerInput) -> internal::TowerInput {
    internal::TowerInput {
        width: narrow(input.width),
        attention: input.attention.map(attention_message),
        scaling: input.scaling.as_ref().map(scaling_message),
    }
}

fn tower(message: Option<internal::TowerInput>) -> Result<TowerInput, String> {
    let message = message.ok_or("it does not say what a network reads")?;
    Ok(TowerInput {
        width: message.width as usize,
        attention: message.attention.map(attention),
        scaling: message.scaling.map(scaling),
    })
}

impl From<&TrainSpec> for internal::TrainStart {
    fn from(spec: &TrainSpec) -> Self {
        let task = match &spec.task {
            TrainTask::Regression { outputs } => {
                train_start::Task::RegressionOutputs(narrow(*outputs))
            }
            TrainTask::Classes { classes } => train_start::Task::Classes(narrow(*classes)),
            TrainTask::Fractions { classes } => train_start::Task::Fractions(narrow(*classes)),
            TrainTask::Density { components } => train_start::Task::Components(narrow(*components)),
            TrainTask::Contrastive { second, dimension, temperature, learn_temperature } => {
                train_start::Task::Contrastive(internal::Contrastive {
                    second: Some(tower_message(second)),
                    dimension: narrow(*dimension),
                    temperature: *temperature,
                    learn_temperature: *learn_temperature,
                })
            }
        };
        Self {
            first: Some(tower_message(&spec.input)),
            task: Some(task),
            targets: spec.targets.as_ref().map(scaling_message),
            hidden: all_narrow(&spec.hidden),
            activation: activation_number(spec.activation),
            dropout: spec.dropout,
            learning_rate: spec.learning_rate,
            weight_decay: spec.weight_decay,
            epochs: spec.epochs,
            batch: narrow(spec.batch),
            patience: spec.patience,
            members: narrow(spec.members),
            seed: spec.seed,
            examples: spec.examples,
            anneal: spec.anneal,
        }
    }
}

impl TryFrom<internal::TrainStart> for TrainSpec {
    type Error = String;

    fn try_from(message: internal::TrainStart) -> Result<Self, String> {
        let task = match message.task.ok_or("it does not say what is to be learned")? {
            train_start::Task::RegressionOutputs(outputs) => {
                TrainTask::Regression { outputs: outputs as usize }
            }
            train_start::Task::Classes(classes) => TrainTask::Classes { classes: classes as usize },
            train_start::Task::Fractions(classes) => {
                TrainTask::Fractions { classes: classes as usize }
            }
            train_start::Task::Components(components) => {
                TrainTask::Density { components: components as usize }
            }
            train_start::Task::Contrastive(towers) => TrainTask::Contrastive {
                second: tower(towers.second)?,
                dimension: towers.dimension as usize,
                temperature: towers.temperature,
                learn_temperature: towers.learn_temperature,
            },
        };
        Ok(Self {
            input: tower(message.first)?,
            task,
            targets: message.targets.map(scaling),
            hidden: all_wide(message.hidden),
            activation: activation(message.activation)?,
            dropout: message.dropout,
            learning_rate: message.learning_rate,
            anneal: message.anneal,
            weight_decay: message.weight_decay,
            epochs: message.epochs,
            batch: message.batch as usize,
            patience: message.patience,
            members: message.members as usize,
            seed: message.seed,
            examples: message.examples,
        })
    }
}

impl Chunk {
    /// The message; `validation` tells that it is to be measured on.
    pub(super) fn into_message(self, validation: bool) -> internal::TrainChunk {
        let rows =
            |rows: ChunkRows| internal::ChunkRows { values: rows.values, lengths: rows.lengths };
        internal::TrainChunk {
            examples: narrow(self.examples),
            first: Some(rows(self.first)),
            second: Some(rows(self.second)),
            targets: self.targets,
            classes: self.classes,
            weights: self.weights,
            validation,
        }
    }
}

impl From<internal::TrainChunk> for Chunk {
    fn from(message: internal::TrainChunk) -> Self {
        let rows = |rows: Option<internal::ChunkRows>| {
            let rows = rows.unwrap_or_default();
            ChunkRows { values: rows.values, lengths: rows.lengths }
        };
        Self {
            examples: message.examples as usize,
            first: rows(message.first),
            second: rows(message.second),
            targets: message.targets,
            classes: message.classes,
            weights: message.weights,
        }
    }
}

impl From<&HeadShape> for internal::HeadShape {
    fn from(shape: &HeadShape) -> Self {
        let output = match shape.output {
            HeadOutput::Values(width) => head_shape::Output::Values(narrow(width)),
            HeadOutput::Classes(width) => head_shape::Output::Classes(narrow(width)),
            HeadOutput::Density { components } => {
                head_shape::Output::Components(narrow(components))
            }
            HeadOutput::Embedding(width) => head_shape::Output::Embedding(narrow(width)),
        };
        Self {
            input: narrow(shape.input),
            attention: shape.attention.map(attention_message),
            hidden: all_narrow(&shape.hidden),
            activation: activation_number(shape.activation),
            output: Some(output),
        }
    }
}

impl TryFrom<internal::HeadShape> for HeadShape {
    type Error = String;

    fn try_from(message: internal::HeadShape) -> Result<Self, String> {
        let output = match message.output.ok_or("it does not say what the head gives")? {
            head_shape::Output::Values(width) => HeadOutput::Values(width as usize),
            head_shape::Output::Classes(width) => HeadOutput::Classes(width as usize),
            head_shape::Output::Components(components) => {
                HeadOutput::Density { components: components as usize }
            }
            head_shape::Output::Embedding(width) => HeadOutput::Embedding(width as usize),
        };
        Ok(Self {
            input: message.input as usize,
            attention: message.attention.map(attention),
            hidden: all_wide(message.hidden),
            activation: activation(message.activation)?,
            output,
        })
    }
}

impl From<Vec<NamedTensor>> for internal::HeadMember {
    fn from(tensors: Vec<NamedTensor>) -> Self {
        let tensor = |tensor: NamedTensor| internal::NamedTensor {
            name: tensor.name,
            shape: all_narrow(&tensor.shape),
            values: tensor.values,
        };
        Self { tensors: tensors.into_iter().map(tensor).collect() }
    }
}

impl From<internal::HeadMember> for Vec<NamedTensor> {
    fn from(member: internal::HeadMember) -> Self {
        let tensor = |tensor: internal::NamedTensor| NamedTensor {
            name: tensor.name,
            shape: all_wide(tensor.shape),
            values: tensor.values,
        };
        member.tensors.into_iter().map(tensor).collect()
    }
}

impl From<&HeadWeights> for internal::HeadWeights {
    fn from(head: &HeadWeights) -> Self {
        Self {
            shape: Some((&head.shape).into()),
            inputs: head.inputs.as_ref().map(scaling_message),
            targets: head.targets.as_ref().map(scaling_message),
            members: head.members.iter().map(|member| member.clone().into()).collect(),
        }
    }
}

impl TryFrom<internal::HeadWeights> for HeadWeights {
    type Error = LearnError;

    fn try_from(message: internal::HeadWeights) -> Result<Self, LearnError> {
        let unreadable = |reason| LearnError::Unreadable { reason };
        let shape = message.shape.ok_or_else(|| unreadable("a head has no sizes".to_owned()))?;
        let head = Self {
            shape: shape.try_into().map_err(unreadable)?,
            inputs: message.inputs.map(scaling),
            targets: message.targets.map(scaling),
            members: message.members.into_iter().map(Into::into).collect(),
        };
        head.check()?;
        Ok(head)
    }
}
