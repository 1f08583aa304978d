//! Batches of examples as tensors.

use std::ops::Range;

use sidereus::encoder::{Chunk, ChunkRows, TowerInput};
use tch::{Device, Kind, TchError, Tensor};

/// Numbers of token sequences that are padded to one length and computed together.
const PADDED_MAX: usize = 4 << 20;

/// What a network reads of a batch.
pub(super) enum Inputs {
    /// Examples x features.
    Rows(Tensor),
    /// Groups of examples, each padded to its longest sequence.
    Tokens(Vec<Group>),
}

/// Token sequences of some examples.
pub(super) struct Group {
    /// Examples x tokens x features.
    pub(super) tokens: Tensor,
    /// Examples x 1 x tokens: 0 for a token and minus infinity for padding; absent where nothing is padded.
    pub(super) padding: Option<Tensor>,
}

/// Scalings as tensors.
pub(super) struct Scale {
    mean: Tensor,
    scale: Tensor,
}

impl Scale {
    pub(super) fn new(mean: &[f32], scale: &[f32], device: Device) -> Result<Self, TchError> {
        let tensor = |values| Tensor::f_from_slice(values)?.f_to_device(device);
        Ok(Self { mean: tensor(mean)?, scale: tensor(scale)? })
    }

    pub(super) fn apply(&self, values: &Tensor) -> Result<Tensor, TchError> {
        values.f_sub(&self.mean)?.f_div(&self.scale)
    }
}

/// Places in a chunk's token sequences: where each begins, and where the last ends.
pub(super) fn offsets(rows: &ChunkRows) -> Vec<usize> {
    let mut sum = 0;
    let mut offsets = vec![0];
    for length in &rows.lengths {
        sum += *length as usize;
        offsets.push(sum);
    }
    offsets
}

impl Inputs {
    /// The features of some examples of a chunk that was checked.
    pub(super) fn new(
        rows: &ChunkRows,
        offsets: &[usize],
        examples: Range<usize>,
        input: &TowerInput,
        scale: Option<&Scale>,
        device: Device,
    ) -> Result<Self, TchError> {
        let width = input.width;
        if input.attention.is_none() {
            let values = &rows.values[examples.start * width..examples.end * width];
            let values = tensor(values, &[examples.len() as i64, width as i64], device)?;
            return Ok(Self::Rows(scaled(&values, scale)?));
        }
        let mut groups = Vec::new();
        let mut from = examples.start;
        while from < examples.end {
            let until = group_end(offsets, from, examples.end, width);
            groups.push(Group::new(rows, &offsets[from..=until], width, scale, device)?);
            from = until;
        }
        Ok(Self::Tokens(groups))
    }
}

/// Where a group that begins at an example ends, so that it is not too large when padded.
fn group_end(offsets: &[usize], from: usize, end: usize, width: usize) -> usize {
    let mut longest = 0;
    for until in from..end {
        longest = longest.max(offsets[until + 1] - offsets[until]);
        let padded = longest.saturating_mul(width).saturating_mul(until + 1 - from);
        if until > from && padded > PADDED_MAX {
            return until;
        }
    }
    end
}

impl Group {
    fn new(
        rows: &ChunkRows,
        offsets: &[usize],
        width: usize,
        scale: Option<&Scale>,
        device: Device,
    ) -> Result<Self, TchError> {
        let lengths: Vec<usize> = offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let (count, first) = (lengths.len(), offsets.first().copied().unwrap_or(0));
        let values = &rows.values[first * width..offsets.last().copied().unwrap_or(0) * width];
        let shape = [count as i64, longest as i64, width as i64];
        if lengths.iter().all(|length| *length == longest) {
            let tokens = scaled(&tensor(values, &shape, device)?, scale)?;
            return Ok(Self { tokens, padding: None });
        }
        let mut padded = vec![0.0; count * longest * width];
        let mut padding = vec![f32::NEG_INFINITY; count * longest];
        let places =
            padded.chunks_exact_mut(longest * width).zip(padding.chunks_exact_mut(longest));
        for ((padded, padding), pair) in places.zip(offsets.windows(2)) {
            let tokens = &values[(pair[0] - first) * width..(pair[1] - first) * width];
            padded[..tokens.len()].copy_from_slice(tokens);
            padding[..pair[1] - pair[0]].fill(0.0);
        }
        Ok(Self {
            tokens: scaled(&tensor(&padded, &shape, device)?, scale)?,
            padding: Some(tensor(&padding, &[count as i64, 1, longest as i64], device)?),
        })
    }
}

fn scaled(values: &Tensor, scale: Option<&Scale>) -> Result<Tensor, TchError> {
    scale.map_or_else(|| Ok(values.shallow_clone()), |scale| scale.apply(values))
}

/// Numbers of a shape, on the device.
pub(super) fn tensor(values: &[f32], shape: &[i64], device: Device) -> Result<Tensor, TchError> {
    Tensor::f_from_slice(values)?.f_reshape(shape)?.f_to_device(device)
}

/// What is to be learned of a batch.
pub(super) struct Wanted {
    /// Examples x numbers or fractions, scaled.
    pub(super) targets: Option<Tensor>,
    /// A class for each example.
    pub(super) classes: Option<Tensor>,
    /// A weight for each example; absent for equal ones.
    pub(super) weights: Option<Tensor>,
    /// Sum of the weights.
    pub(super) weight: f64,
}

impl Wanted {
    pub(super) fn new(
        chunk: &Chunk,
        examples: Range<usize>,
        scale: Option<&Scale>,
        device: Device,
    ) -> Result<Self, TchError> {
        let count = examples.len();
        let targets = if chunk.targets.is_empty() {
            None
        } else {
            let width = chunk.targets.len() / chunk.examples;
            let values = &chunk.targets[examples.start * width..examples.end * width];
            Some(scaled(&tensor(values, &[count as i64, width as i64], device)?, scale)?)
        };
        let classes = if chunk.classes.is_empty() {
            None
        } else {
            let classes = chunk.classes[examples.clone()].iter().map(|class| i64::from(*class));
            let classes: Vec<i64> = classes.collect();
            Some(Tensor::f_from_slice(&classes)?.f_to_kind(Kind::Int64)?.f_to_device(device)?)
        };
        let (weights, weight) = if chunk.weights.is_empty() {
            (None, count as f64)
        } else {
            let weights = &chunk.weights[examples];
            let sum = weights.iter().map(|weight| f64::from(*weight)).sum();
            (Some(tensor(weights, &[count as i64], device)?), sum)
        };
        Ok(Self { targets, classes, weights, weight })
    }
}
