//! Calls of BLAS and LAPACK by their Fortran names: the one file of this folder with unsafe code.
//!
//! Fortran keeps matrices column by column. Row-major memory read that way is the transposed matrix, so each function here
//! asks for the transpose of what its caller wants; nothing is copied for it. All lengths are checked before a call.
#![expect(
    unsafe_code,
    reason = "calls of Fortran; every length is checked in the calling function"
)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use super::{LearnError, Svd, View};

unsafe extern "C" {
    fn dgemm_(
        op_a: *const c_char,
        op_b: *const c_char,
        m: *const c_int,
        n: *const c_int,
        k: *const c_int,
        alpha: *const f64,
        a: *const f64,
        lda: *const c_int,
        b: *const f64,
        ldb: *const c_int,
        beta: *const f64,
        c: *mut f64,
        ldc: *const c_int,
    );
    fn sgemm_(
        op_a: *const c_char,
        op_b: *const c_char,
        m: *const c_int,
        n: *const c_int,
        k: *const c_int,
        alpha: *const f32,
        a: *const f32,
        lda: *const c_int,
        b: *const f32,
        ldb: *const c_int,
        beta: *const f32,
        c: *mut f32,
        ldc: *const c_int,
    );
    fn dsyrk_(
        triangle: *const c_char,
        op: *const c_char,
        n: *const c_int,
        k: *const c_int,
        alpha: *const f64,
        a: *const f64,
        lda: *const c_int,
        beta: *const f64,
        c: *mut f64,
        ldc: *const c_int,
    );
    fn dsyevd_(
        job: *const c_char,
        triangle: *const c_char,
        n: *const c_int,
        a: *mut f64,
        lda: *const c_int,
        values: *mut f64,
        work: *mut f64,
        work_length: *const c_int,
        whole_work: *mut c_int,
        whole_work_length: *const c_int,
        info: *mut c_int,
    );
    fn dpotrf_(
        triangle: *const c_char,
        n: *const c_int,
        a: *mut f64,
        lda: *const c_int,
        info: *mut c_int,
    );
    fn dpotrs_(
        triangle: *const c_char,
        n: *const c_int,
        right_sides: *const c_int,
        a: *const f64,
        lda: *const c_int,
        b: *mut f64,
        ldb: *const c_int,
        info: *mut c_int,
    );
    fn dgesdd_(
        job: *const c_char,
        m: *const c_int,
        n: *const c_int,
        a: *mut f64,
        lda: *const c_int,
        values: *mut f64,
        u: *mut f64,
        ldu: *const c_int,
        vt: *mut f64,
        ldvt: *const c_int,
        work: *mut f64,
        work_length: *const c_int,
        whole_work: *mut c_int,
        info: *mut c_int,
    );
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

const PLAIN: c_char = b'N' as c_char;
const TRANSPOSED: c_char = b'T' as c_char;
/// The upper triangle of a row-major matrix: the lower one for Fortran.
static TRIANGLE: c_char = b'L' as c_char;

type SetThreads = unsafe extern "C" fn(c_int);
type GetThreads = unsafe extern "C" fn() -> c_int;
type EndWorkers = unsafe extern "C" fn() -> c_int;

/// A function of the whole program by its name; null where there is none.
fn look_up(name: &CStr) -> *mut c_void {
    // SAFETY: a null handle looks in the whole program (RTLD_DEFAULT), and the name ends with a zero.
    unsafe { dlsym(std::ptr::null_mut(), name.as_ptr()) }
}

/// The functions of OpenBLAS that set its number of threads; another BLAS has none and keeps its own setting.
fn thread_setting() -> Option<(SetThreads, GetThreads)> {
    static FOUND: OnceLock<Option<(SetThreads, GetThreads)>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let set = look_up(c"openblas_set_num_threads");
        let get = look_up(c"openblas_get_num_threads");
        if set.is_null() || get.is_null() {
            return None;
        }
        // SAFETY: `void openblas_set_num_threads(int)` and `int openblas_get_num_threads(void)` are what OpenBLAS's header
        // declares under these names.
        unsafe {
            Some((
                std::mem::transmute::<*mut c_void, SetThreads>(set),
                std::mem::transmute::<*mut c_void, GetThreads>(get),
            ))
        }
    })
}

/// Ends the workers that OpenBLAS begins with the program, one for each processor but the first: nobody here gives them work, and
/// they turn in circles for the first tenth of a second, on processors that a short command has better use for.
///
/// To be called when the program begins, before anything is computed. Another BLAS keeps its workers.
pub(super) fn end_workers() {
    let end = look_up(c"blas_thread_shutdown_");
    if end.is_null() || thread_setting().is_none() {
        return;
    }
    // First, since a change of their number would begin them again.
    one_thread_a_call();
    // SAFETY: `int blas_thread_shutdown_(void)` is what OpenBLAS itself calls before a fork, after which it begins new workers when
    // it needs any. It waits for the workers' end; they have nothing to do.
    unsafe {
        let end = std::mem::transmute::<*mut c_void, EndWorkers>(end);
        end();
    }
}

/// Keeps OpenBLAS from using workers of its own: callers have a number of threads and divide the work themselves.
///
/// The setting belongs to the process. Where the workers were not ended when the program began, FAISS's shim sets the same while it
/// works and puts back what it found, so the setting is looked at before every call; a call that crosses the shim's putting back,
/// once in a process, may use more.
fn one_thread_a_call() {
    if let Some((set, get)) = thread_setting() {
        // SAFETY: both take and give plain numbers and may be called from any thread.
        unsafe {
            if get() != 1 {
                set(1);
            }
        }
    }
}

fn length(value: usize) -> Result<c_int, LearnError> {
    c_int::try_from(value).map_err(|_| LearnError::Shape {
        what: "rows, columns or working numbers of a matrix for LAPACK",
        given: value,
        expected: c_int::MAX as usize,
    })
}

fn fits(what: &'static str, given: usize, expected: usize) -> Result<(), LearnError> {
    if given == expected { Ok(()) } else { Err(LearnError::Shape { what, given, expected }) }
}

/// The `n * n` numbers of a square matrix.
fn square(given: usize, n: usize) -> Result<(), LearnError> {
    fits("numbers of a square matrix", given, n.saturating_mul(n))
}

fn finite(what: &'static str, values: &[f64]) -> Result<(), LearnError> {
    if values.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    let hint = "the matrix holds a number that is not finite; are the features too large?";
    Err(LearnError::NoResult { what, hint: hint.to_owned() })
}

/// Numbers that BLAS multiplies.
pub trait Real: Copy + Send + Sync + sealed::Multiply {}

impl Real for f32 {}
impl Real for f64 {}

mod sealed {
    use super::{LearnError, View};

    pub trait Multiply: Sized {
        fn product(
            alpha: Self,
            a: View<'_, Self>,
            b: View<'_, Self>,
            beta: Self,
            c: &mut [Self],
        ) -> Result<(), LearnError>;
    }
}

macro_rules! multiply {
    ($number:ty, $function:ident) => {
        impl sealed::Multiply for $number {
            fn product(
                alpha: Self,
                a: View<'_, Self>,
                b: View<'_, Self>,
                beta: Self,
                c: &mut [Self],
            ) -> Result<(), LearnError> {
                let (m, n, k) = (a.rows(), b.columns(), a.columns());
                fits("rows of the second factor", b.rows(), k)?;
                fits("numbers of a product", c.len(), m.saturating_mul(n))?;
                if m == 0 || n == 0 {
                    return Ok(());
                }
                let op = |view: View<'_, Self>| if view.is_transposed { TRANSPOSED } else { PLAIN };
                let (op_a, op_b) = (op(a), op(b));
                let (rows, columns, inner) = (length(m)?, length(n)?, length(k)?);
                let (lda, ldb) = (length(a.stride)?.max(1), length(b.stride)?.max(1));
                one_thread_a_call();
                // SAFETY: the transposed product is B' A', column-major with `n` rows and `m` columns, dense in `c`, whose
                // length is `m * n`. A view holds `stride * (rows - 1) + columns` stored numbers (checked when it was
                // made) with `stride >= columns`, which is what Fortran reads with that leading dimension.
                unsafe {
                    $function(
                        &raw const op_b,
                        &raw const op_a,
                        &raw const columns,
                        &raw const rows,
                        &raw const inner,
                        &raw const alpha,
                        b.values.as_ptr(),
                        &raw const ldb,
                        a.values.as_ptr(),
                        &raw const lda,
                        &raw const beta,
                        c.as_mut_ptr(),
                        &raw const columns,
                    );
                }
                Ok(())
            }
        }
    };
}

multiply!(f64, dgemm_);
multiply!(f32, sgemm_);

/// Upper triangle of `c = alpha x' x + beta c`.
pub(super) fn syrk(
    alpha: f64,
    x: View<'_, f64>,
    beta: f64,
    c: &mut [f64],
) -> Result<(), LearnError> {
    let (rows, width) = (x.rows(), x.columns());
    square(c.len(), width)?;
    if width == 0 {
        return Ok(());
    }
    // Fortran sees the stored matrix transposed, so that x' x is its product with its own transpose.
    let op = if x.is_transposed { TRANSPOSED } else { PLAIN };
    let (n, k, stride) = (length(width)?, length(rows)?, length(x.stride)?.max(1));
    one_thread_a_call();
    // SAFETY: `c` has `width * width` numbers, and the view holds what Fortran reads (see `product`).
    unsafe {
        dsyrk_(
            &raw const TRIANGLE,
            &raw const op,
            &raw const n,
            &raw const k,
            &raw const alpha,
            x.values.as_ptr(),
            &raw const stride,
            &raw const beta,
            c.as_mut_ptr(),
            &raw const n,
        );
    }
    Ok(())
}

/// Replaces a symmetric matrix, of which the upper triangle is read, by its eigenvectors, one a row; returns the
/// eigenvalues in rising order.
pub(super) fn eigh(matrix: &mut [f64], n: usize) -> Result<Vec<f64>, LearnError> {
    const WHAT: &str = "the eigendecomposition";
    square(matrix.len(), n)?;
    finite(WHAT, matrix)?;
    if n == 0 {
        return Ok(Vec::new());
    }
    let mut values = vec![0.0; n];
    let order = length(n)?;
    let (job, mut info) = (b'V' as c_char, 0);
    let mut call = |work: &mut [f64], work_length: c_int, whole: &mut [c_int], whole_length| {
        // SAFETY: the matrix has `n * n` numbers, `values` n of them; the working memories have the lengths told, or at
        // least one number where the length is -1, which asks for the best lengths.
        unsafe {
            dsyevd_(
                &raw const job,
                &raw const TRIANGLE,
                &raw const order,
                matrix.as_mut_ptr(),
                &raw const order,
                values.as_mut_ptr(),
                work.as_mut_ptr(),
                &raw const work_length,
                whole.as_mut_ptr(),
                &raw const whole_length,
                &raw mut info,
            );
        }
        info
    };
    one_thread_a_call();
    let (mut asked, mut whole_asked) = ([0.0], [0]);
    result(WHAT, call(&mut asked, -1, &mut whole_asked, -1))?;
    let mut work = vec![0.0; (asked[0] as usize).max(1)];
    let mut whole = vec![0; (whole_asked[0] as usize).max(1)];
    let (work_length, whole_length) = (length(work.len())?, length(whole.len())?);
    result(WHAT, call(&mut work, work_length, &mut whole, whole_length))?;
    Ok(values)
}

/// What LAPACK's `info` says.
fn result(what: &'static str, info: c_int) -> Result<(), LearnError> {
    if info == 0 {
        return Ok(());
    }
    let hint = format!("LAPACK gave up with code {info}; standardising the features may help");
    Err(LearnError::NoResult { what, hint })
}

/// Solves `matrix x = right` for each row of `right`; the matrix, of which the upper triangle is read, is replaced by its
/// factor.
pub(super) fn cholesky_solve(
    matrix: &mut [f64],
    n: usize,
    right: &mut [f64],
) -> Result<(), LearnError> {
    const WHAT: &str = "the Cholesky decomposition";
    square(matrix.len(), n)?;
    if n == 0 {
        return fits("numbers of the right sides", right.len(), 0);
    }
    let sides = right.len() / n;
    fits("numbers of the right sides", right.len(), sides * n)?;
    finite(WHAT, matrix)?;
    let (order, sides, mut info) = (length(n)?, length(sides)?, 0);
    one_thread_a_call();
    // SAFETY: the matrix has `n * n` numbers.
    unsafe {
        dpotrf_(
            &raw const TRIANGLE,
            &raw const order,
            matrix.as_mut_ptr(),
            &raw const order,
            &raw mut info,
        );
    }
    if info > 0 {
        let hint = format!(
            "the matrix is not positive definite (column {}); a larger regularisation makes it so",
            info - 1
        );
        return Err(LearnError::NoResult { what: WHAT, hint });
    }
    result(WHAT, info)?;
    // SAFETY: the factor has `n * n` numbers; the right sides, one a row, are the columns of Fortran's n x sides matrix.
    unsafe {
        dpotrs_(
            &raw const TRIANGLE,
            &raw const order,
            &raw const sides,
            matrix.as_ptr(),
            &raw const order,
            right.as_mut_ptr(),
            &raw const order,
            &raw mut info,
        );
    }
    result(WHAT, info)
}

/// Factors of a matrix with `rows * columns` numbers, which is used up.
pub(super) fn svd(matrix: &mut [f64], rows: usize, columns: usize) -> Result<Svd, LearnError> {
    const WHAT: &str = "the singular value decomposition";
    fits("numbers of a matrix", matrix.len(), rows.saturating_mul(columns))?;
    finite(WHAT, matrix)?;
    let k = rows.min(columns);
    let (mut u, mut values, mut vt) = (vec![0.0; rows * k], vec![0.0; k], vec![0.0; k * columns]);
    if k == 0 {
        return Ok(Svd { u, values, vt });
    }
    let (job, mut info) = (b'S' as c_char, 0);
    let (m, n, least) = (length(rows)?, length(columns)?, length(k)?);
    let mut whole = vec![0; 8 * k];
    let mut call = |work: &mut [f64], work_length: c_int| {
        // SAFETY: Fortran sees the transposed matrix, `columns x rows`, whose left factor is v (its columns are the rows of
        // v') and whose right one is u'. All have the lengths that follow from it; `whole` has 8 k numbers; `work` has the
        // length told, or at least one number where it is -1, which asks for the best length.
        unsafe {
            dgesdd_(
                &raw const job,
                &raw const n,
                &raw const m,
                matrix.as_mut_ptr(),
                &raw const n,
                values.as_mut_ptr(),
                vt.as_mut_ptr(),
                &raw const n,
                u.as_mut_ptr(),
                &raw const least,
                work.as_mut_ptr(),
                &raw const work_length,
                whole.as_mut_ptr(),
                &raw mut info,
            );
        }
        info
    };
    one_thread_a_call();
    let mut asked = [0.0];
    result(WHAT, call(&mut asked, -1))?;
    let mut work = vec![0.0; (asked[0] as usize).max(1)];
    let work_length = length(work.len())?;
    result(WHAT, call(&mut work, work_length))?;
    Ok(Svd { u, values, vt })
}
