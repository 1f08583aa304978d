//! The fence around FAISS: the only folder that links it.
//!
//! FAISS does what it does best, the heavy work of a build: principal axes, k-means, and exact neighbours of many vectors at
//! once. Lists, codes and searches are ours: its interface cannot express runs of rows in sky order. A small C++ shim
//! (`shim.cpp`) is called instead of FAISS' C interface, which lacks these calls and leaves objects to be freed by hand; in the
//! shim they live on the stack of one call. Its failures become [`IndexError`].
#![expect(unsafe_code, reason = "calls into C++; every block says why it is sound")]

mod ffi;

use std::ffi::{CStr, c_int};
use std::sync::{Mutex, PoisonError};

// Links libfaiss, OpenMP and BLAS; the shim refers to them.
use faiss_sys as _;

use super::IndexError;
use crate::vector::VectorView;

/// OpenBLAS has one thread count for the whole process, so builders take turns.
static BUILDING: Mutex<()> = Mutex::new(());

/// How FAISS compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// Euclidean distance.
    L2,
    /// Inner product.
    InnerProduct,
}

/// Directions in which a set of vectors extends most.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PrincipalAxes {
    /// Mean of the vectors.
    pub(super) mean: Vec<f32>,
    /// Orthonormal axes, strongest first, one after the other.
    pub(super) axes: Vec<f32>,
}

/// The `kept` strongest principal axes of a sample, which has at least as many vectors as dimensions.
pub(super) fn principal_axes(
    sample: VectorView<'_>,
    kept: usize,
    threads: usize,
) -> Result<PrincipalAxes, IndexError> {
    let mut mean = vec![0.0; sample.dimension()];
    let mut axes = vec![0.0; kept * sample.dimension()];
    let _turn = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let matrix = matrix(sample);
    call("find the principal axes", |message| {
        // SAFETY: the matrix is borrowed during the call; `mean` has `dimension` places and `axes` `kept * dimension`.
        unsafe {
            ffi::sidereus_principal_axes(
                &raw const matrix,
                kept,
                thread_count(threads),
                mean.as_mut_ptr(),
                axes.as_mut_ptr(),
                message,
            )
        }
    })?;
    Ok(PrincipalAxes { mean, axes })
}

/// Centroids of a sample by k-means, one after the other.
pub(super) fn train_centroids(
    sample: VectorView<'_>,
    lists: usize,
    passes: i32,
    seed: u64,
    threads: usize,
) -> Result<Vec<f32>, IndexError> {
    let mut centroids = vec![0.0; lists * sample.dimension()];
    let _turn = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let matrix = matrix(sample);
    // FAISS takes a negative seed for "use the clock".
    let seed = (seed & 0x7fff_ffff) as i32;
    call("train the centroids", |message| {
        // SAFETY: the matrix is borrowed during the call; `centroids` has `lists * dimension` places.
        unsafe {
            ffi::sidereus_train_centroids(
                &raw const matrix,
                lists,
                passes,
                seed,
                thread_count(threads),
                centroids.as_mut_ptr(),
                message,
            )
        }
    })?;
    Ok(centroids)
}

/// For each query the `k` nearest rows of `base`, nearest first by FAISS' rounded distances; fewer where there are fewer.
pub(super) fn nearest(
    queries: VectorView<'_>,
    base: VectorView<'_>,
    comparison: Comparison,
    k: usize,
    threads: usize,
) -> Result<Vec<Vec<u32>>, IndexError> {
    if k == 0 {
        return Ok(vec![Vec::new(); queries.count()]);
    }
    let rows = nearest_rows(queries, base, comparison, k, threads)?;
    // Absent neighbours are negative.
    let found = rows.chunks_exact(k);
    Ok(found.map(|rows| rows.iter().filter_map(|&row| u32::try_from(row).ok()).collect()).collect())
}

/// The nearest centroid of each vector; the first where no distance is finite.
pub(super) fn assign(
    vectors: VectorView<'_>,
    centroids: VectorView<'_>,
    threads: usize,
) -> Result<Vec<u32>, IndexError> {
    let rows = nearest_rows(vectors, centroids, Comparison::L2, 1, threads)?;
    Ok(rows.into_iter().map(|row| u32::try_from(row).unwrap_or(0)).collect())
}

fn nearest_rows(
    queries: VectorView<'_>,
    base: VectorView<'_>,
    comparison: Comparison,
    k: usize,
    threads: usize,
) -> Result<Vec<i64>, IndexError> {
    if queries.dimension() != base.dimension() {
        let (expected, given) = (base.dimension(), queries.dimension());
        return Err(IndexError::WrongDimension { what: "the queries", expected, given });
    }
    let mut rows = vec![-1i64; queries.count() * k];
    let _turn = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let (wanted, from) = (matrix(queries), matrix(base));
    let metric = match comparison {
        Comparison::L2 => ffi::L2,
        Comparison::InnerProduct => ffi::INNER_PRODUCT,
    };
    call("find nearest vectors", |message| {
        // SAFETY: both matrices are borrowed during the call and have one dimension; `rows` has `queries * k` places.
        unsafe {
            ffi::sidereus_nearest(
                &raw const wanted,
                &raw const from,
                metric,
                k,
                thread_count(threads),
                rows.as_mut_ptr(),
                message,
            )
        }
    })?;
    Ok(rows)
}

/// What FAISS says of its own build, for example `OPTIMIZE AVX2`.
pub fn compile_options() -> Result<String, IndexError> {
    let mut text = [0; 256];
    call("tell its compile options", |message| {
        // SAFETY: the buffer is as long as its capacity says.
        unsafe { ffi::sidereus_faiss_compile_options(text.as_mut_ptr(), text.len(), message) }
    })?;
    // SAFETY: the shim wrote a terminating zero within the buffer.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) };
    Ok(text.to_string_lossy().trim().to_owned())
}

fn matrix(view: VectorView<'_>) -> ffi::Matrix {
    ffi::Matrix {
        values: view.as_slice().as_ptr(),
        rows: view.count(),
        dimension: view.dimension(),
    }
}

fn thread_count(threads: usize) -> i32 {
    i32::try_from(threads.max(1)).unwrap_or(i32::MAX)
}

/// Makes one call of the shim and turns its status into a result.
fn call(
    action: &'static str,
    function: impl FnOnce(*mut ffi::Message) -> c_int,
) -> Result<(), IndexError> {
    let mut message = ffi::Message { text: [0; 512] };
    match function(&raw mut message) {
        ffi::OK => Ok(()),
        ffi::OUT_OF_MEMORY => Err(IndexError::OutOfMemory { action }),
        _ => {
            // SAFETY: the buffer began as zeros and the shim always ends its text with one.
            let reason = unsafe { CStr::from_ptr(message.text.as_ptr()) };
            Err(IndexError::Faiss { action, reason: reason.to_string_lossy().into_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faiss_is_compiled_for_avx2() {
        let options = compile_options().expect("faiss answers");
        assert!(options.contains("AVX2") && options.contains("OPTIMIZE"), "{options}");
    }

    #[test]
    fn a_failure_in_cpp_becomes_an_error_here() {
        let view = VectorView::new(2, &[0.5f32; 6]).expect("three vectors");
        let refused = train_centroids(view, 4, 2, 1, 1).expect_err("more lists than vectors");
        assert!(refused.to_string().contains("fewer vectors than lists"), "{refused}");
        let refused = principal_axes(view, 3, 1).expect_err("more axes than dimensions");
        assert!(refused.to_string().contains("more axes than dimensions"), "{refused}");
    }

    #[test]
    fn axes_of_a_line_point_along_it() {
        let values: Vec<f32> =
            (0..40).flat_map(|step| [1.0 + 3.0 * step as f32, 2.0 + 4.0 * step as f32]).collect();
        let view = VectorView::new(2, &values).expect("pairs");
        let found = principal_axes(view, 1, 1).expect("an axis");
        assert!((found.mean[0] - 59.5).abs() < 1e-3 && (found.mean[1] - 80.0).abs() < 1e-3);
        assert!(
            (found.axes[0].abs() - 0.6).abs() < 1e-4 && (found.axes[1].abs() - 0.8).abs() < 1e-4
        );
    }

    #[test]
    fn neighbours_of_many_queries_are_found_on_several_threads() {
        let values: Vec<f32> = (0..500).map(|value| value as f32).collect();
        let view = VectorView::new(1, &values).expect("numbers");
        for threads in [1, 3] {
            let found = nearest(view, view, Comparison::L2, 1, threads).expect("neighbours");
            assert!(found.iter().enumerate().all(|(row, near)| near == &[row as u32]));
        }
    }
}
