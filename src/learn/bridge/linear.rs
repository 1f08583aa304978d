//! Products of row-major matrices that are as wide as is said.

use crate::learn::LearnError;
use crate::learn::lapack::{View, gemm, mirror, syrk};

/// `a b'`, both of rows of `width` numbers.
pub(super) fn product_nt(a: &[f64], b: &[f64], width: usize) -> Result<Vec<f64>, LearnError> {
    let (rows, columns) = (a.len() / width.max(1), b.len() / width.max(1));
    let mut out = vec![0.0; rows * columns];
    let (a, b) = (View::new(a, rows, width)?, View::new(b, columns, width)?);
    gemm(1.0, a, b.transposed(), 0.0, &mut out)?;
    Ok(out)
}

/// `a b`, `a` having rows of `width` numbers and `b` as many rows.
pub(super) fn product(a: &[f64], b: &[f64], width: usize) -> Result<Vec<f64>, LearnError> {
    let (rows, columns) = (a.len() / width.max(1), b.len() / width.max(1));
    let mut out = vec![0.0; rows * columns];
    gemm(1.0, View::new(a, rows, width)?, View::new(b, width, columns)?, 0.0, &mut out)?;
    Ok(out)
}

/// `a' b`, both of `rows` rows.
pub(super) fn product_tn(a: &[f64], b: &[f64], rows: usize) -> Result<Vec<f64>, LearnError> {
    let (width, columns) = (a.len() / rows.max(1), b.len() / rows.max(1));
    let mut out = vec![0.0; width * columns];
    let (a, b) = (View::new(a, rows, width)?, View::new(b, rows, columns)?);
    gemm(1.0, a.transposed(), b, 0.0, &mut out)?;
    Ok(out)
}

/// Adds `rows' rows` to the upper triangle of a square matrix.
pub(super) fn add_gram(rows: &[f64], width: usize, into: &mut [f64]) -> Result<(), LearnError> {
    syrk(1.0, View::new(rows, rows.len() / width.max(1), width)?, 1.0, into)
}

/// Completes a matrix of which the upper triangle is known.
pub(super) fn complete(matrix: &mut [f64], width: usize) {
    mirror(matrix, width);
}

/// Multiplies each row by a number of its own.
pub(super) fn scale_rows(matrix: &mut [f64], width: usize, by: impl Iterator<Item = f64>) {
    for (row, by) in matrix.chunks_exact_mut(width.max(1)).zip(by) {
        for value in row {
            *value *= by;
        }
    }
}

/// The sum of the diagonal.
pub(super) fn trace(matrix: &[f64], width: usize) -> f64 {
    matrix.iter().step_by(width + 1).sum()
}
