//! Dense linear algebra on row-major matrices: safe calls of the BLAS and LAPACK that the program is linked with.
//!
//! Every function computes on the thread that calls it. Callers that were given several threads divide the work.

mod ffi;

use super::LearnError;
pub use ffi::Real;

/// Ends the threads that OpenBLAS begins with the program and that nothing here uses: they keep the processors busy for the first
/// tenth of a second. To be called when a program begins, before anything is computed.
pub fn end_workers() {
    ffi::end_workers();
}

/// A row-major matrix, or the transpose of one, in borrowed memory.
#[derive(Debug, Clone, Copy)]
pub struct View<'a, T> {
    values: &'a [T],
    /// As stored.
    rows: usize,
    columns: usize,
    /// Numbers from one stored row to the next.
    stride: usize,
    is_transposed: bool,
}

impl<'a, T> View<'a, T> {
    /// Rows one after the other.
    ///
    /// # Errors
    /// [`LearnError::Shape`] when `values` has not `rows * columns` numbers.
    pub fn new(values: &'a [T], rows: usize, columns: usize) -> Result<Self, LearnError> {
        let expected = rows.saturating_mul(columns);
        if values.len() != expected {
            let what = "numbers of a matrix";
            return Err(LearnError::Shape { what, given: values.len(), expected });
        }
        Ok(Self { values, rows, columns, stride: columns, is_transposed: false })
    }

    /// Part of a larger matrix: rows that begin `stride` numbers after each other.
    ///
    /// # Errors
    /// [`LearnError::Shape`] when a row is longer than `stride`, or `values` ends before the last row.
    pub fn strided(
        values: &'a [T],
        rows: usize,
        columns: usize,
        stride: usize,
    ) -> Result<Self, LearnError> {
        let last = rows.saturating_sub(1).saturating_mul(stride).saturating_add(columns);
        if columns > stride || (rows > 0 && values.len() < last) {
            let what = "numbers of a part of a matrix";
            return Err(LearnError::Shape { what, given: values.len(), expected: last });
        }
        Ok(Self { values, rows, columns, stride, is_transposed: false })
    }

    /// The same memory, read as the transposed matrix.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { is_transposed: !self.is_transposed, ..self }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        if self.is_transposed { self.columns } else { self.rows }
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        if self.is_transposed { self.rows } else { self.columns }
    }
}

/// `c = alpha a b + beta c`, `c` being dense, row-major, with the rows of `a` and the columns of `b`.
///
/// With `beta` zero, what `c` held before does not matter.
///
/// # Errors
/// [`LearnError::Shape`] when the matrices do not fit together.
pub fn gemm<T: Real>(
    alpha: T,
    a: View<'_, T>,
    b: View<'_, T>,
    beta: T,
    c: &mut [T],
) -> Result<(), LearnError> {
    T::product(alpha, a, b, beta, c)
}

/// `c = alpha x' x + beta c` in the upper triangle of `c`, a dense square matrix as wide as `x`; what is below the diagonal
/// stays. [`mirror`] completes it.
///
/// # Errors
/// [`LearnError::Shape`].
pub fn syrk(alpha: f64, x: View<'_, f64>, beta: f64, c: &mut [f64]) -> Result<(), LearnError> {
    ffi::syrk(alpha, x, beta, c)
}

/// Copies the upper triangle of an `n x n` matrix into the lower one.
pub fn mirror(matrix: &mut [f64], n: usize) {
    // By tiles, so that neither the rows nor the columns leave the cache.
    const TILE: usize = 32;
    for top in (0..n).step_by(TILE) {
        for left in (top..n).step_by(TILE) {
            for row in top..(top + TILE).min(n) {
                for column in left.max(row + 1)..(left + TILE).min(n) {
                    matrix[column * n + row] = matrix[row * n + column];
                }
            }
        }
    }
}

/// Eigenvalues and eigenvectors of a symmetric matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Eigen {
    /// In rising order.
    pub values: Vec<f64>,
    /// Row-major: row `i` is the eigenvector, of unit length, of value `i`.
    pub vectors: Vec<f64>,
}

/// Decomposes a symmetric `n x n` matrix, of which only the upper triangle is read (but all of it must be finite).
///
/// # Errors
/// [`LearnError::Shape`]; [`LearnError::NoResult`] for a number that is not finite, or without convergence.
pub fn eigh(mut matrix: Vec<f64>, n: usize) -> Result<Eigen, LearnError> {
    let values = ffi::eigh(&mut matrix, n)?;
    Ok(Eigen { values, vectors: matrix })
}

/// Solves `matrix x = right` by Cholesky's decomposition, in place. The `n x n` matrix is symmetric and positive definite;
/// only its upper triangle is read, and it is replaced by its factor. Each row of `right` (any number of rows, `n` numbers
/// each) is one right side, and is replaced by its solution.
///
/// # Errors
/// [`LearnError::Shape`]; [`LearnError::NoResult`] when the matrix is not positive definite or not finite.
pub fn cholesky_solve(matrix: &mut [f64], n: usize, right: &mut [f64]) -> Result<(), LearnError> {
    ffi::cholesky_solve(matrix, n, right)
}

/// Singular value decomposition `u diag(values) vt`, with `k` the smaller of both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct Svd {
    /// `rows x k`, row-major, with orthonormal columns.
    pub u: Vec<f64>,
    /// In falling order.
    pub values: Vec<f64>,
    /// `k x columns`, row-major, with orthonormal rows.
    pub vt: Vec<f64>,
}

/// Decomposes a row-major matrix.
///
/// # Errors
/// [`LearnError::Shape`]; [`LearnError::NoResult`] for a number that is not finite, or without convergence.
pub fn svd(mut matrix: Vec<f64>, rows: usize, columns: usize) -> Result<Svd, LearnError> {
    ffi::svd(&mut matrix, rows, columns)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Seeded numbers between -1 and 1.
    fn numbers(count: usize, seed: u64) -> Vec<f64> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        (0..count)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
            })
            .collect()
    }

    fn plain(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
        let mut c = vec![0.0; m * n];
        for (row, out) in c.chunks_mut(n).enumerate() {
            for (column, cell) in out.iter_mut().enumerate() {
                *cell = (0..k).map(|i| a[row * k + i] * b[i * n + column]).sum();
            }
        }
        c
    }

    fn turned(a: &[f64], rows: usize, columns: usize) -> Vec<f64> {
        (0..rows * columns).map(|at| a[at % rows * columns + at / rows]).collect()
    }

    fn close(left: &[f64], right: &[f64]) -> bool {
        left.len() == right.len() && left.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-10)
    }

    proptest! {
        #[test]
        fn products_are_those_of_the_definition(
            m in 1usize..9, k in 1usize..9, n in 1usize..9, seed in any::<u64>()
        ) {
            let (a, b) = (numbers(m * k, seed), numbers(k * n, seed ^ 1));
            let expected = plain(&a, &b, m, k, n);
            let (at, bt) = (turned(&a, m, k), turned(&b, k, n));
            let of = |a, b| {
                let mut c = vec![f64::NAN; m * n];
                gemm(1.0, a, b, 0.0, &mut c).expect("shapes fit");
                c
            };
            let a = View::new(&a, m, k).expect("whole");
            let b = View::new(&b, k, n).expect("whole");
            let at = View::new(&at, k, m).expect("whole").transposed();
            let bt = View::new(&bt, n, k).expect("whole").transposed();
            for product in [of(a, b), of(at, b), of(a, bt), of(at, bt)] {
                prop_assert!(close(&product, &expected), "{product:?} {expected:?}");
            }
        }

        #[test]
        fn decompositions_give_the_matrix_back(m in 1usize..12, n in 1usize..12, seed in any::<u64>()) {
            let x = numbers(m * n, seed);
            let view = View::new(&x, m, n).expect("whole");
            let mut gram = vec![0.0; n * n];
            syrk(1.0, view, 0.0, &mut gram).expect("shapes fit");
            mirror(&mut gram, n);
            prop_assert!(close(&gram, &plain(&turned(&x, m, n), &x, n, m, n)));

            let eigen = eigh(gram.clone(), n).expect("symmetric");
            prop_assert!(eigen.values.is_sorted());
            let scaled: Vec<f64> =
                (0..n * n).map(|at| eigen.vectors[at] * eigen.values[at / n]).collect();
            prop_assert!(close(&plain(&turned(&eigen.vectors, n, n), &scaled, n, n, n), &gram));

            let Svd { u, values, vt } = svd(x.clone(), m, n).expect("finite");
            let k = m.min(n);
            let scaled: Vec<f64> = (0..k * n).map(|at| vt[at] * values[at / n]).collect();
            prop_assert!(close(&plain(&u, &scaled, m, k, n), &x));

            for place in 0..n {
                gram[place * n + place] += 1.0;
            }
            let solution = numbers(2 * n, seed ^ 2);
            let mut right = plain(&solution, &gram, 2, n, n);
            cholesky_solve(&mut gram, n, &mut right).expect("positive definite");
            prop_assert!(close(&right, &solution));
        }
    }

    #[test]
    fn parts_of_a_matrix_multiply_without_a_copy() {
        let x: Vec<f64> = (0..12).map(f64::from).collect();
        // Columns 1 and 2 of a 3 x 4 matrix.
        let part = View::strided(&x[1..], 3, 2, 4).expect("inside");
        let mut gram = vec![0.0; 4];
        syrk(1.0, part, 0.0, &mut gram).expect("shapes fit");
        mirror(&mut gram, 2);
        assert_eq!(gram, [107.0, 122.0, 122.0, 140.0]);
        let mut product = vec![1.0; 4];
        gemm(1.0, part.transposed(), part, 2.0, &mut product).expect("shapes fit");
        assert_eq!(product, [109.0, 124.0, 124.0, 142.0]);
        let mut single = vec![0.0f32; 1];
        let row = [1.0f32, 2.0, 3.0];
        let view = View::new(&row, 1, 3).expect("whole");
        gemm(1.0, view, view.transposed(), 0.0, &mut single).expect("shapes fit");
        assert_eq!(single, [14.0]);
    }

    #[test]
    fn what_does_not_fit_or_has_no_result_is_told() {
        let x = [1.0, 2.0, 3.0, 4.0];
        assert!(View::new(&x, 3, 2).is_err());
        assert!(View::strided(&x, 2, 3, 2).is_err());
        assert!(View::strided(&x, 3, 1, 2).is_err());
        let view = View::new(&x, 2, 2).expect("whole");
        let flat = View::new(&x, 1, 4).expect("whole");
        assert!(gemm(1.0, flat, view, 0.0, &mut [0.0; 2]).is_err());
        assert!(gemm(1.0, view, view, 0.0, &mut [0.0; 3]).is_err());
        assert!(syrk(1.0, view, 0.0, &mut [0.0; 3]).is_err());
        assert!(eigh(vec![1.0; 3], 2).is_err());
        assert!(eigh(vec![f64::NAN; 4], 2).is_err());
        assert!(svd(vec![f64::INFINITY; 4], 2, 2).is_err());
        assert!(cholesky_solve(&mut [1.0, 0.0, 0.0, 1.0], 2, &mut [1.0; 3]).is_err());
        let error = cholesky_solve(&mut [1.0, 2.0, 2.0, 1.0], 2, &mut [1.0; 2]);
        assert!(matches!(error, Err(LearnError::NoResult { .. })), "{error:?}");
        assert_eq!(eigh(Vec::new(), 0).expect("empty").values, Vec::<f64>::new());
    }
}
