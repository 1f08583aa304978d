//! A matrix of vectors whose length and finiteness are proven once.

use thiserror::Error;

/// Why numbers do not make a [`VectorBlock`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlockError {
    /// The dimension is zero.
    #[error("a vector needs at least one dimension")]
    ZeroDimension,
    /// The count of numbers is not a multiple of the dimension.
    #[error("{len} numbers do not divide into vectors of dimension {dimension}")]
    Ragged {
        /// Numbers given.
        len: usize,
        /// Dimension asked for.
        dimension: usize,
    },
    /// A NaN or an infinity.
    #[error("component {component} of vector {row} is not a finite number")]
    NotFinite {
        /// Row of the offending vector, from 0.
        row: usize,
        /// Its component, from 0.
        component: usize,
    },
}

/// Row-major `count x dimension` block of finite `f32`.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorBlock {
    dimension: usize,
    values: Vec<f32>,
}

impl VectorBlock {
    /// Takes ownership of row-major numbers after proving their length and finiteness.
    ///
    /// # Errors
    /// [`BlockError`] names the first offending row and component.
    pub fn new(dimension: usize, values: Vec<f32>) -> Result<Self, BlockError> {
        if dimension == 0 {
            return Err(BlockError::ZeroDimension);
        }
        if !values.len().is_multiple_of(dimension) {
            return Err(BlockError::Ragged { len: values.len(), dimension });
        }
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            return Err(BlockError::NotFinite {
                row: place / dimension,
                component: place % dimension,
            });
        }
        Ok(Self { dimension, values })
    }

    /// A block without rows.
    ///
    /// # Errors
    /// [`BlockError::ZeroDimension`].
    pub fn empty(dimension: usize) -> Result<Self, BlockError> {
        Self::new(dimension, Vec::new())
    }

    /// Appends one vector.
    ///
    /// # Errors
    /// [`BlockError`] when its length differs or a component is not finite; the block is unchanged then.
    pub fn push(&mut self, vector: &[f32]) -> Result<(), BlockError> {
        if vector.len() != self.dimension {
            return Err(BlockError::Ragged { len: vector.len(), dimension: self.dimension });
        }
        if let Some(component) = vector.iter().position(|value| !value.is_finite()) {
            return Err(BlockError::NotFinite { row: self.count(), component });
        }
        self.values.extend_from_slice(vector);
        Ok(())
    }

    /// Components of each vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Number of vectors.
    pub fn count(&self) -> usize {
        self.values.len() / self.dimension
    }

    /// Whether there is no vector.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The vector of `row`, or `None` past the end.
    pub fn row(&self, row: usize) -> Option<&[f32]> {
        self.values.get(row * self.dimension..(row + 1) * self.dimension)
    }

    /// All rows in order.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.dimension)
    }

    /// The numbers, row-major.
    pub fn as_slice(&self) -> &[f32] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_finiteness_are_proven_at_the_door() {
        assert_eq!(VectorBlock::new(0, vec![]), Err(BlockError::ZeroDimension));
        assert_eq!(
            VectorBlock::new(3, vec![1.0; 4]),
            Err(BlockError::Ragged { len: 4, dimension: 3 })
        );
        assert_eq!(
            VectorBlock::new(2, vec![1.0, 2.0, 3.0, f32::NAN]),
            Err(BlockError::NotFinite { row: 1, component: 1 })
        );
        let mut block = VectorBlock::new(2, vec![1.0, 2.0]).expect("finite");
        assert!(block.push(&[f32::INFINITY, 0.0]).is_err());
        block.push(&[3.0, 4.0]).expect("finite");
        assert_eq!(block.count(), 2);
        assert_eq!(block.row(1), Some(&[3.0, 4.0][..]));
        assert_eq!(block.row(2), None);
    }
}
