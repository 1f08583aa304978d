//! The celestial sphere: angles, positions, HEALPix cells, coverage maps and regions.

mod angle;
mod cell;
mod position;

pub use angle::{Degrees, Radians};
pub use cell::Cell29;
pub use position::{Position, PositionError};
