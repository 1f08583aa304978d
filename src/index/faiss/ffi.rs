//! The declarations of `shim.h`, field by field. Change both together.

use std::ffi::{c_char, c_int};

pub(super) const OK: c_int = 0;
pub(super) const OUT_OF_MEMORY: c_int = 2;

pub(super) const L2: i32 = 0;
pub(super) const INNER_PRODUCT: i32 = 1;

pub(super) const FLAT: i32 = 0;
pub(super) const SQ8: i32 = 1;

/// An index; opaque.
#[repr(C)]
pub(super) struct Ivf {
    _private: [u8; 0],
}

/// Serialised bytes; opaque.
#[repr(C)]
pub(super) struct Bytes {
    _private: [u8; 0],
}

#[repr(C)]
pub(super) struct Message {
    pub(super) text: [c_char; 512],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) dimension: usize,
    pub(super) lists: usize,
    pub(super) rows: usize,
    pub(super) code_bytes: usize,
    pub(super) metric: i32,
    pub(super) codes: i32,
}

#[repr(C)]
pub(super) struct Training {
    pub(super) sample: *const f32,
    pub(super) sample_rows: usize,
    pub(super) dimension: usize,
    pub(super) lists: usize,
    pub(super) metric: i32,
    pub(super) codes: i32,
    pub(super) passes: i32,
    pub(super) seed: i32,
    pub(super) threads: i32,
}

#[repr(C)]
pub(super) struct Scan {
    pub(super) query: *const f32,
    pub(super) lists: *const i64,
    pub(super) list_distances: *const f32,
    pub(super) list_count: usize,
    pub(super) allowed: *const u8,
    pub(super) allowed_bytes: usize,
    pub(super) k: usize,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ScanCounts {
    pub(super) rows_listed: usize,
    pub(super) rows_compared: usize,
}

unsafe extern "C" {
    pub(super) fn sidereus_faiss_compile_options(
        text: *mut c_char,
        capacity: usize,
        message: *mut Message,
    ) -> c_int;
    pub(super) fn sidereus_ivf_train(
        training: *const Training,
        out: *mut *mut Ivf,
        message: *mut Message,
    ) -> c_int;
    pub(super) fn sidereus_ivf_add(
        ivf: *mut Ivf,
        vectors: *const f32,
        rows: usize,
        threads: i32,
        message: *mut Message,
    ) -> c_int;
    pub(super) fn sidereus_ivf_shape(
        ivf: *const Ivf,
        out: *mut Shape,
        message: *mut Message,
    ) -> c_int;
    pub(super) fn sidereus_ivf_rank(
        ivf: *const Ivf,
        query: *const f32,
        lists: *mut i64,
        distances: *mut f32,
        message: *mut Message,
    ) -> c_int;
    pub(super) fn sidereus_ivf_scan(
        ivf: *const Ivf,
        scan: *const Scan,
        rows: *mut i64,
        distances: *mut f32,
        counts: *mut ScanCounts,
        message: *mut Message,
    ) -> c_int;
    pub(super) fn sidereus_ivf_list(
        ivf: *const Ivf,
        list: usize,
        rows: *mut *const i64,
        count: *mut usize,
        message: *mut Message,
    ) -> c_int;
    pub(super) fn sidereus_ivf_centroids(
        ivf: *const Ivf,
        values: *mut *const f32,
        count: *mut usize,
        message: *mut Message,
    ) -> c_int;
    pub(super) fn sidereus_ivf_write(
        ivf: *const Ivf,
        out: *mut *mut Bytes,
        message: *mut Message,
    ) -> c_int;
    pub(super) fn sidereus_ivf_read(
        bytes: *const u8,
        count: usize,
        out: *mut *mut Ivf,
        message: *mut Message,
    ) -> c_int;
    pub(super) fn sidereus_ivf_free(ivf: *mut Ivf);
    pub(super) fn sidereus_bytes_data(bytes: *const Bytes) -> *const u8;
    pub(super) fn sidereus_bytes_count(bytes: *const Bytes) -> usize;
    pub(super) fn sidereus_bytes_free(bytes: *mut Bytes);
}
