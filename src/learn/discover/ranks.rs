//! Several rankings as one.

/// What is added to every rank, so that the first places do not decide alone.
///
/// # Reference
/// Cormack, Clarke & Buettcher 2009, SIGIR, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods".
pub const RANK_CONSTANT: f64 = 60.0;

/// What a rank, from 1, is worth.
pub fn reciprocal_rank(rank: f64) -> f64 {
    1.0 / (RANK_CONSTANT + rank)
}
