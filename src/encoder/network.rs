//! The seam between the queue and whatever computes: one trait, what goes in and what comes out.

use std::hash::{DefaultHasher, Hash, Hasher};

use thiserror::Error;

use crate::wire::v1::TokenSequence;

/// A network that could not compute a batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the network failed on a batch of {rows} rows: {reason}")]
pub struct NetworkError {
    /// Rows of the batch.
    pub rows: usize,
    /// What the library said.
    pub reason: String,
}

/// A named intermediate or final result of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Name, as in the golden file; the last stage is `embedding`.
    pub name: &'static str,
    /// Values, row by row.
    pub values: Vec<f32>,
}

/// Name and shape of one array of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FeaturePart {
    /// What the network calls it.
    pub name: String,
    /// Lengths of its axes, the slowest first.
    pub shape: Vec<usize>,
    /// Names along the first axis, where they matter.
    pub bands: Vec<String>,
}

impl FeaturePart {
    /// An array without named bands.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), shape: shape.into(), bands: Vec::new() }
    }

    /// Numbers in the array.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What preprocessing makes of one input. Rows of the same layout can be computed together.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    layout: Vec<FeaturePart>,
    arrays: Vec<Vec<f32>>,
    /// Hash of the layout, so that rows of different layouts are told apart quickly.
    key: u64,
}

impl Features {
    /// Arrays with their names and shapes; every array has as many numbers as its shape says.
    ///
    /// # Panics
    /// In debug builds, when an array is longer or shorter.
    pub fn new(parts: impl IntoIterator<Item = (FeaturePart, Vec<f32>)>) -> Self {
        let (layout, arrays): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        debug_assert!(
            layout.iter().zip(&arrays).all(|(part, array)| part.count() == array.len()),
            "an array is not of its shape"
        );
        let mut hasher = DefaultHasher::new();
        layout.hash(&mut hasher);
        Self { layout, arrays, key: hasher.finish() }
    }

    /// The one array of a network that takes nothing else.
    pub fn plain(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        Self::new([(FeaturePart::new("features", shape), values)])
    }

    /// Names and shapes, in the order of the arrays.
    pub fn layout(&self) -> &[FeaturePart] {
        &self.layout
    }

    /// The numbers, array by array.
    pub fn arrays(&self) -> &[Vec<f32>] {
        &self.arrays
    }

    /// Whether both can be rows of one batch.
    pub fn fits(&self, other: &Self) -> bool {
        self.key == other.key && self.layout == other.layout
    }
}

/// What was made of an input.
#[derive(Debug, Clone, PartialEq)]
pub enum Made {
    /// One vector.
    Vector(Vec<f32>),
    /// States or ids.
    Tokens(TokenSequence),
}

impl Made {
    /// The vector; tokens are a sentence about what was expected.
    pub fn into_vector(self) -> Result<Vec<f32>, String> {
        match self {
            Self::Vector(vector) => Ok(vector),
            Self::Tokens(_) => Err("the model gave tokens where a vector is wanted".to_owned()),
        }
    }
}

/// A network in evaluation mode. It moves to one thread and stays there.
pub trait Network: Send {
    /// Computes one of the model's outputs for rows of one layout, in their order.
    fn make(&self, rows: &[&Features], output: usize) -> Result<Vec<Made>, NetworkError> {
        // Networks with a single output give it as their last stage.
        let _ = output;
        let mut features = Vec::new();
        for row in rows {
            features.extend(row.arrays().concat());
        }
        let last = self.stages(rows.len(), &features)?.pop();
        let values = last.map(|stage| stage.values).unwrap_or_default();
        let dimension = values.len() / rows.len().max(1);
        if dimension == 0 || values.len() != rows.len() * dimension {
            let reason = format!("{} components of vectors", values.len());
            return Err(NetworkError { rows: rows.len(), reason });
        }
        Ok(values.chunks_exact(dimension).map(|vector| Made::Vector(vector.to_vec())).collect())
    }

    /// Computes the stages of a batch; the last one holds the embeddings. Only networks whose golden file has stages
    /// have them.
    ///
    /// # Shape
    /// `features` holds `rows` rows of the preprocessor's features; the last stage `rows` rows of the model's dimension.
    fn stages(&self, rows: usize, features: &[f32]) -> Result<Vec<Stage>, NetworkError> {
        let reason = format!("it has no stages for {} features", features.len());
        Err(NetworkError { rows, reason })
    }
}
