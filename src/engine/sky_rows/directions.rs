//! The unit vectors of a part's rows, eight bytes each: what quick tests read instead of two angles.

use std::sync::OnceLock;

use crate::engine::mapped::{HEADER_BYTES, MappedSections};
use crate::sky::{Direction, Position};

/// [`Direction`]s of every row as their bits, in row order.
#[derive(Debug)]
pub(in crate::engine) enum Directions {
    /// In memory, made when they are first asked for unless they were given.
    Memory(OnceLock<Vec<u64>>),
    /// So many of them in a file of the segment, behind its header, read where they are touched.
    Mapped(MappedSections, usize),
}

impl Directions {
    /// Not made yet.
    pub(in crate::engine) fn unmade() -> Self {
        Self::Memory(OnceLock::new())
    }

    /// Takes directions that are there already.
    pub(in crate::engine) fn of(table: Vec<u64>) -> Self {
        Self::Memory(OnceLock::from(table))
    }

    /// Whether there is one for each of so many rows, as far as is known.
    pub(in crate::engine) fn fit(&self, row_count: usize) -> bool {
        match self {
            Self::Memory(table) => table.get().is_none_or(|table| table.len() == row_count),
            Self::Mapped(_, count) => *count == row_count,
        }
    }

    /// The table; `make` is asked when there is none yet.
    pub(in crate::engine) fn table(&self, make: impl FnOnce() -> Vec<u64>) -> &[u64] {
        match self {
            Self::Memory(table) => table.get_or_init(make),
            Self::Mapped(file, count) => file.numbers(HEADER_BYTES, *count).unwrap_or_default(),
        }
    }
}

/// The direction of a row; where the stored position is none, the row is left to the exact test.
pub(in crate::engine) fn direction_of(position: Option<Position>) -> u64 {
    position.map_or(Direction::NOWHERE, |position| Direction::of(&position)).to_bits()
}
