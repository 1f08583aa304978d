//! Kept probes: listed, applied, named by queries, stale.
