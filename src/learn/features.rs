//! Matrices of features, wherever they lie.

use super::LearnError;

/// Features of examples: one row each, in a fixed order, all finite.
///
/// Implementations read from a store or a scratch file; [`Matrix`] holds them in memory.
pub trait Features: Sync {
    /// Number of examples.
    fn count(&self) -> usize;

    /// Features of each example.
    fn width(&self) -> usize;

    /// Shows all examples in order, in blocks of whole rows (row-major): `visit(first, features)`, `first` being the place of
    /// the block's first example. The first error ends the pass.
    ///
    /// # Errors
    /// [`LearnError::Unreadable`], and those of `visit`.
    fn pass(
        &self,
        visit: &mut dyn FnMut(usize, &[f64]) -> Result<(), LearnError>,
    ) -> Result<(), LearnError>;

    /// Replaces `into` by the features of some examples, row-major, in the order asked.
    ///
    /// # Errors
    /// [`LearnError::Unreadable`]; [`LearnError::Shape`] for a place beyond the end.
    fn read(&self, examples: &[u32], into: &mut Vec<f64>) -> Result<(), LearnError>;
}

/// Features in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    width: usize,
    values: Vec<f64>,
}

/// Rows that a pass shows at once.
const BLOCK_ROWS: usize = 2_048;

impl Matrix {
    /// Takes row-major numbers.
    ///
    /// # Errors
    /// [`LearnError::Shape`] when they do not divide into rows; [`LearnError::NotFinite`].
    pub fn new(width: usize, values: Vec<f64>) -> Result<Self, LearnError> {
        if width == 0 || !values.len().is_multiple_of(width) {
            return Err(LearnError::Shape {
                what: "numbers of a row-major matrix",
                given: values.len(),
                expected: width,
            });
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(place) => Err(LearnError::NotFinite { what: "a feature", example: place / width }),
            None => Ok(Self { width, values }),
        }
    }

    /// The features of one example; empty past the end.
    pub fn row(&self, example: usize) -> &[f64] {
        self.values.get(example * self.width..(example + 1) * self.width).unwrap_or(&[])
    }

    /// All numbers, row-major.
    pub fn as_slice(&self) -> &[f64] {
        &self.values
    }
}

impl Features for Matrix {
    fn count(&self) -> usize {
        self.values.len() / self.width
    }

    fn width(&self) -> usize {
        self.width
    }

    fn pass(
        &self,
        visit: &mut dyn FnMut(usize, &[f64]) -> Result<(), LearnError>,
    ) -> Result<(), LearnError> {
        let mut first = 0;
        for block in self.values.chunks(BLOCK_ROWS * self.width) {
            visit(first, block)?;
            first += block.len() / self.width;
        }
        Ok(())
    }

    fn read(&self, examples: &[u32], into: &mut Vec<f64>) -> Result<(), LearnError> {
        into.clear();
        for &example in examples {
            let row = self.row(example as usize);
            if row.is_empty() {
                return Err(LearnError::Shape {
                    what: "place of an example",
                    given: example as usize,
                    expected: self.count(),
                });
            }
            into.extend_from_slice(row);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_shown_in_order_and_read_in_any() {
        let values: Vec<f64> = (0..9_000).map(f64::from).collect();
        let matrix = Matrix::new(3, values.clone()).expect("whole rows");
        let mut seen = Vec::new();
        matrix
            .pass(&mut |first, block| {
                assert_eq!(first * 3, seen.len());
                seen.extend_from_slice(block);
                Ok(())
            })
            .expect("in memory");
        assert_eq!(seen, values);
        let mut some = Vec::new();
        matrix.read(&[2_999, 0], &mut some).expect("inside");
        assert_eq!(some, [8_997.0, 8_998.0, 8_999.0, 0.0, 1.0, 2.0]);
        assert!(matrix.read(&[3_000], &mut some).is_err());
        assert!(Matrix::new(2, vec![1.0; 3]).is_err());
        assert!(Matrix::new(1, vec![f64::NAN]).is_err());
    }
}
