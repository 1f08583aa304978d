//! The unit vectors of a part's rows, 12 bytes each: what quick tests read instead of two angles.

use std::sync::OnceLock;

use crate::engine::mapped::MappedFloats;
use crate::sky::{Position, direction};

/// Directions of every row, in row order.
#[derive(Debug)]
pub(in crate::engine) enum Directions {
    /// In memory, made when they are first asked for unless they were given.
    Memory(OnceLock<Vec<[f32; 3]>>),
    /// In a file of the segment, read where they are touched.
    Mapped(MappedFloats),
}

impl Directions {
    /// Not made yet.
    pub(in crate::engine) fn unmade() -> Self {
        Self::Memory(OnceLock::new())
    }

    /// Takes directions that are there already.
    pub(in crate::engine) fn of(table: Vec<[f32; 3]>) -> Self {
        Self::Memory(OnceLock::from(table))
    }

    /// Whether there is one for each of so many rows, as far as is known.
    pub(in crate::engine) fn fit(&self, row_count: usize) -> bool {
        match self {
            Self::Memory(table) => table.get().is_none_or(|table| table.len() == row_count),
            Self::Mapped(file) => file.as_slice().len() == 3 * row_count,
        }
    }

    /// The table; `make` is asked when there is none yet.
    pub(in crate::engine) fn table(&self, make: impl FnOnce() -> Vec<[f32; 3]>) -> &[[f32; 3]] {
        match self {
            Self::Memory(table) => table.get_or_init(make),
            Self::Mapped(file) => file.as_slice().as_chunks().0,
        }
    }
}

/// The direction of a row, not a number where the stored position is none: such rows are left to the exact test.
pub(in crate::engine) fn direction_of(position: Option<Position>) -> [f32; 3] {
    position.map_or([f32::NAN; 3], |position| direction(&position))
}
