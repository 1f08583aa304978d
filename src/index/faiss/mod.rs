//! The fence around FAISS: the only folder that links it, and the only one whose code is allowed to be `unsafe`.
//!
//! A small C++ shim (`shim.cpp`) is called instead of FAISS' C interface, because that has no filtered scan of chosen
//! lists, no way to tell what the library was compiled for, and leaves selectors and parameters to be freed by hand; in
//! the shim they live on the stack of one call. Row numbers, signs and thread counts of FAISS stop here: absent hits
//! (`-1`) are dropped, its approximate distances do not leave, and its failures become [`IndexError`].
#![expect(unsafe_code, reason = "calls into C++; every block says why it is sound")]

mod ffi;

use std::ffi::{CStr, c_int};
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

// Links libfaiss, OpenMP and BLAS; the shim refers to them.
use faiss_sys as _;

use super::IndexError;
use crate::vector::{RowBitmap, VectorView};

/// OpenBLAS has one thread count for the whole process, so builders take turns.
static BUILDING: Mutex<()> = Mutex::new(());

/// How FAISS compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// Squared Euclidean distance.
    L2,
    /// Inner product; centroids have unit length.
    InnerProduct,
}

/// How FAISS keeps the rows in its lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    /// As they are, four bytes a component.
    Flat,
    /// One byte a component of the difference from the centroid.
    Sq8,
}

/// What to train.
#[derive(Debug, Clone, Copy)]
pub(super) struct Training {
    pub(super) lists: usize,
    pub(super) comparison: Comparison,
    pub(super) storage: Storage,
    pub(super) passes: i32,
    pub(super) seed: u64,
    pub(super) threads: usize,
}

/// A list and what FAISS says of its centroid: the squared distance, or the inner product.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RankedList {
    pub(super) list: usize,
    pub(super) closeness: f32,
}

/// What a scan of some lists found.
#[derive(Debug)]
pub(super) struct Scanned {
    /// Rows nearest by their codes, nearest first.
    pub(super) candidates: Vec<u32>,
    /// Rows that the lists hold.
    pub(super) rows_listed: usize,
    /// Those of them that are allowed, hence compared.
    pub(super) rows_compared: usize,
}

/// Inverted lists in FAISS.
#[derive(Debug)]
pub(super) struct RawIvf {
    handle: NonNull<ffi::Ivf>,
    shape: ffi::Shape,
}

// SAFETY: the index owns all its memory, and no part of it is tied to the thread that made it.
unsafe impl Send for RawIvf {}
// SAFETY: the functions that take `&self` call const members of FAISS (`search_preassigned`, `IndexFlat::search`,
// `list_size`, `get_ids`, `write_index`) that write only to memory handed in by the caller; the statistics, which are
// global by default, are handed in too. Mutation needs `&mut self`.
unsafe impl Sync for RawIvf {}

impl Drop for RawIvf {
    fn drop(&mut self) {
        // SAFETY: the handle came from the shim, is owned by this value alone, and is not used afterwards.
        unsafe { ffi::sidereus_ivf_free(self.handle.as_ptr()) }
    }
}

impl RawIvf {
    /// Trains centroids and codes on a sample; the result holds no row.
    pub(super) fn train(training: &Training, sample: VectorView<'_>) -> Result<Self, IndexError> {
        let _turn = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        let request = ffi::Training {
            sample: sample.as_slice().as_ptr(),
            sample_rows: sample.count(),
            dimension: sample.dimension(),
            lists: training.lists,
            metric: match training.comparison {
                Comparison::L2 => ffi::L2,
                Comparison::InnerProduct => ffi::INNER_PRODUCT,
            },
            codes: match training.storage {
                Storage::Flat => ffi::FLAT,
                Storage::Sq8 => ffi::SQ8,
            },
            passes: training.passes,
            // FAISS takes a negative seed for "use the clock".
            seed: (training.seed & 0x7fff_ffff) as i32,
            threads: thread_count(training.threads),
        };
        let mut handle = ptr::null_mut();
        call("train the index", |message| {
            // SAFETY: `request` points to `sample_rows * dimension` floats that are borrowed during the call.
            unsafe { ffi::sidereus_ivf_train(&raw const request, &raw mut handle, message) }
        })?;
        Self::adopt(handle, "train the index")
    }

    fn adopt(handle: *mut ffi::Ivf, action: &'static str) -> Result<Self, IndexError> {
        let handle = NonNull::new(handle)
            .ok_or_else(|| IndexError::Faiss { action, reason: "no index came back".to_owned() })?;
        let mut index = Self { handle, shape: ffi::Shape::default() };
        index.refresh()?;
        Ok(index)
    }

    fn refresh(&mut self) -> Result<(), IndexError> {
        let mut shape = ffi::Shape::default();
        call("describe the index", |message| {
            // SAFETY: the handle is alive; `shape` outlives the call.
            unsafe { ffi::sidereus_ivf_shape(self.handle.as_ptr(), &raw mut shape, message) }
        })?;
        self.shape = shape;
        Ok(())
    }

    /// Appends rows; their numbers go on from the last.
    pub(super) fn add(
        &mut self,
        vectors: VectorView<'_>,
        threads: usize,
    ) -> Result<(), IndexError> {
        self.check_length("a vector to add", vectors.dimension())?;
        let _turn = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        let threads = thread_count(threads);
        call("add vectors to the index", |message| {
            // SAFETY: the view holds `count * dimension` floats, and its dimension is the index's.
            unsafe {
                ffi::sidereus_ivf_add(
                    self.handle.as_ptr(),
                    vectors.as_slice().as_ptr(),
                    vectors.count(),
                    threads,
                    message,
                )
            }
        })?;
        self.refresh()
    }

    pub(super) fn dimension(&self) -> usize {
        self.shape.dimension
    }

    pub(super) fn lists(&self) -> usize {
        self.shape.lists
    }

    pub(super) fn rows(&self) -> usize {
        self.shape.rows
    }

    /// Bytes of one row's code.
    pub(super) fn code_bytes(&self) -> usize {
        self.shape.code_bytes
    }

    pub(super) fn comparison(&self) -> Comparison {
        if self.shape.metric == ffi::L2 { Comparison::L2 } else { Comparison::InnerProduct }
    }

    pub(super) fn storage(&self) -> Storage {
        if self.shape.codes == ffi::FLAT { Storage::Flat } else { Storage::Sq8 }
    }

    /// Ranks the lists by the nearness of their centroids to the query, nearest first. Lists without a finite distance are
    /// left out.
    pub(super) fn rank_lists(&self, query: &[f32]) -> Result<Vec<RankedList>, IndexError> {
        self.check_length("the query", query.len())?;
        let mut lists = vec![-1i64; self.lists()];
        let mut closeness = vec![0.0f32; self.lists()];
        call("rank the lists", |message| {
            // SAFETY: the query has the index's dimension, and both outputs have one place a list.
            unsafe {
                ffi::sidereus_ivf_rank(
                    self.handle.as_ptr(),
                    query.as_ptr(),
                    lists.as_mut_ptr(),
                    closeness.as_mut_ptr(),
                    message,
                )
            }
        })?;
        let ranked = lists.into_iter().zip(closeness);
        Ok(ranked
            .filter_map(|(list, closeness)| {
                Some(RankedList { list: usize::try_from(list).ok()?, closeness })
            })
            .collect())
    }

    /// Compares the allowed rows of some lists, and keeps the `k` nearest.
    pub(super) fn scan(
        &self,
        query: &[f32],
        lists: &[RankedList],
        allowed: Option<&RowBitmap>,
        k: usize,
    ) -> Result<Scanned, IndexError> {
        self.check_length("the query", query.len())?;
        if let Some(allowed) = allowed
            && allowed.len() != self.rows()
        {
            let (expected, given) = (self.rows(), allowed.len());
            return Err(IndexError::WrongRows { what: "the bitmap", expected, given });
        }
        let mut found = Scanned { candidates: Vec::new(), rows_listed: 0, rows_compared: 0 };
        if lists.is_empty() || k == 0 {
            return Ok(found);
        }
        let numbers: Vec<i64> = lists.iter().map(|ranked| ranked.list as i64).collect();
        let closeness: Vec<f32> = lists.iter().map(|ranked| ranked.closeness).collect();
        let (allowed, allowed_bytes) = allowed.map_or((ptr::null(), 0), |rows| {
            (rows.words().as_ptr().cast(), rows.words().len() * 8)
        });
        let scan = ffi::Scan {
            query: query.as_ptr(),
            lists: numbers.as_ptr(),
            list_distances: closeness.as_ptr(),
            list_count: numbers.len(),
            allowed,
            allowed_bytes,
            k,
        };
        let mut rows = vec![-1i64; k];
        let mut distances = vec![0.0f32; k];
        let mut counts = ffi::ScanCounts::default();
        call("scan lists", |message| {
            // SAFETY: the query has the index's dimension; the lists and their distances are two vectors of one length;
            // the bitmap's words are borrowed during the call; both outputs have `k` places.
            unsafe {
                ffi::sidereus_ivf_scan(
                    self.handle.as_ptr(),
                    &raw const scan,
                    rows.as_mut_ptr(),
                    distances.as_mut_ptr(),
                    &raw mut counts,
                    message,
                )
            }
        })?;
        found.candidates.extend(rows.into_iter().filter_map(|row| u32::try_from(row).ok()));
        found.rows_listed = counts.rows_listed;
        found.rows_compared = counts.rows_compared;
        Ok(found)
    }

    /// The centroids, `lists x dimension`.
    pub(super) fn centroids(&self) -> Result<&[f32], IndexError> {
        let mut values = ptr::null();
        let mut count = 0;
        call("read the centroids", |message| {
            // SAFETY: the handle is alive; both outputs outlive the call.
            unsafe {
                ffi::sidereus_ivf_centroids(
                    self.handle.as_ptr(),
                    &raw mut values,
                    &raw mut count,
                    message,
                )
            }
        })?;
        if values.is_null() || count == 0 {
            return Ok(&[]);
        }
        // SAFETY: the shim lends `count` numbers that stay in place until the index changes, and a change needs
        // `&mut self`, which the borrow of `self` rules out.
        Ok(unsafe { std::slice::from_raw_parts(values, count) })
    }

    /// Calls `each` with the rows of a list.
    pub(super) fn for_each_row_of(
        &self,
        list: usize,
        mut each: impl FnMut(usize),
    ) -> Result<(), IndexError> {
        let mut rows = ptr::null();
        let mut count = 0;
        call("read a list", |message| {
            // SAFETY: the handle is alive; both outputs outlive the call.
            unsafe {
                ffi::sidereus_ivf_list(
                    self.handle.as_ptr(),
                    list,
                    &raw mut rows,
                    &raw mut count,
                    message,
                )
            }
        })?;
        if rows.is_null() || count == 0 {
            return Ok(());
        }
        // SAFETY: the shim lends `count` numbers that stay in place until the index changes, and a change needs
        // `&mut self`, which the borrow of `self` rules out.
        let rows = unsafe { std::slice::from_raw_parts(rows, count) };
        rows.iter().filter_map(|&row| usize::try_from(row).ok()).for_each(&mut each);
        Ok(())
    }

    /// Writes the index in FAISS' own format.
    pub(super) fn to_bytes(&self) -> Result<FaissBytes, IndexError> {
        let mut handle = ptr::null_mut();
        call("write the index", |message| {
            // SAFETY: the handle is alive; the output outlives the call.
            unsafe { ffi::sidereus_ivf_write(self.handle.as_ptr(), &raw mut handle, message) }
        })?;
        let handle = NonNull::new(handle).ok_or_else(|| IndexError::Faiss {
            action: "write the index",
            reason: "no bytes came back".to_owned(),
        })?;
        Ok(FaissBytes { handle })
    }

    /// Reads what [`RawIvf::to_bytes`] wrote. FAISS trusts lengths in its files, so the bytes must be known to be intact.
    pub(super) fn from_verified_bytes(bytes: &[u8]) -> Result<Self, IndexError> {
        let mut handle = ptr::null_mut();
        call("read the index", |message| {
            // SAFETY: the slice is borrowed during the call, and FAISS copies what it keeps.
            unsafe { ffi::sidereus_ivf_read(bytes.as_ptr(), bytes.len(), &raw mut handle, message) }
        })?;
        Self::adopt(handle, "read the index")
    }

    fn check_length(&self, what: &'static str, given: usize) -> Result<(), IndexError> {
        let expected = self.dimension();
        if given == expected {
            Ok(())
        } else {
            Err(IndexError::WrongDimension { what, expected, given })
        }
    }
}

/// Bytes owned by the C++ side.
#[derive(Debug)]
pub(super) struct FaissBytes {
    handle: NonNull<ffi::Bytes>,
}

impl Drop for FaissBytes {
    fn drop(&mut self) {
        // SAFETY: the handle came from the shim, is owned by this value alone, and is not used afterwards.
        unsafe { ffi::sidereus_bytes_free(self.handle.as_ptr()) }
    }
}

impl Deref for FaissBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the vector behind the handle never changes while this value lives; an index is never empty, so the
        // pointer is not null.
        unsafe {
            let count = ffi::sidereus_bytes_count(self.handle.as_ptr());
            let data = ffi::sidereus_bytes_data(self.handle.as_ptr());
            if data.is_null() { &[] } else { std::slice::from_raw_parts(data, count) }
        }
    }
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
        let refused =
            RawIvf::from_verified_bytes(b"IwFlnot an index at all").expect_err("nonsense");
        assert!(matches!(refused, IndexError::Faiss { action: "read the index", .. }), "{refused}");
        let sample = [0.5f32; 6];
        let training = Training {
            lists: 4,
            comparison: Comparison::L2,
            storage: Storage::Sq8,
            passes: 2,
            seed: 1,
            threads: 1,
        };
        let view = VectorView::new(2, &sample).expect("three vectors");
        let refused = RawIvf::train(&training, view).expect_err("more lists than vectors");
        assert!(refused.to_string().contains("fewer vectors than lists"), "{refused}");
    }
}
