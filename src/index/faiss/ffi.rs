//! The declarations of `shim.h`, field by field. Change both together.

use std::ffi::{c_char, c_int};

pub(super) const OK: c_int = 0;
pub(super) const OUT_OF_MEMORY: c_int = 2;

pub(super) const L2: i32 = 0;
pub(super) const INNER_PRODUCT: i32 = 1;

#[repr(C)]
pub(super) struct Message {
    pub(super) text: [c_char; 512],
}

#[repr(C)]
pub(super) struct Matrix {
    pub(super) values: *const f32,
    pub(super) rows: usize,
    pub(super) dimension: usize,
}

unsafe extern "C" {
    pub(super) fn sidereus_faiss_compile_options(
        text: *mut c_char,
        capacity: usize,
        message: *mut Message,
    ) -> c_int;
    pub(super) fn sidereus_principal_axes(
        sample: *const Matrix,
        kept: usize,
        threads: i32,
        mean: *mut f32,
        axes: *mut f32,
        message: *mut Message,
    ) -> c_int;
    pub(super) fn sidereus_train_centroids(
        sample: *const Matrix,
        lists: usize,
        passes: i32,
        seed: i32,
        threads: i32,
        centroids: *mut f32,
        message: *mut Message,
    ) -> c_int;
    pub(super) fn sidereus_nearest(
        queries: *const Matrix,
        base: *const Matrix,
        metric: i32,
        k: usize,
        threads: i32,
        rows: *mut i64,
        message: *mut Message,
    ) -> c_int;
}
