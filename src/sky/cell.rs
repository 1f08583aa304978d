//! HEALPix cells.

/// A HEALPix cell of order 29 in the NESTED scheme (0.4 milliarcseconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell29(pub u64);
