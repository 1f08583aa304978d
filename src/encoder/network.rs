//! The seam between the queue and whatever computes: one trait.

use thiserror::Error;

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

/// A network in evaluation mode. It moves to one thread and stays there.
pub trait Network: Send {
    /// Computes the stages of a batch; the last one holds the embeddings.
    ///
    /// # Shape
    /// `features` holds `rows` rows of the preprocessor's feature count; the last stage `rows` rows of the model's
    /// dimension.
    fn stages(&self, rows: usize, features: &[f32]) -> Result<Vec<Stage>, NetworkError>;
}
