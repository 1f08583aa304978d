//! The celestial sphere: angles, positions, HEALPix cells, coverage maps and regions.
//!
//! Answers where things are and which cells hold a region. Not for projections, frames other than
//! ICRS, or proper motion.
//!
//! - SKY-1: a region's cover holds the cell of every position that the region contains.
//! - SKY-2: edges belong to regions; computed edges are [`EDGE_TOLERANCE`] wide.
//! - SKY-3: a coverage map has one form: sorted, disjoint ranges that do not touch.

mod angle;
mod cell;
mod chord;
mod cone;
mod cover;
mod healpix;
mod judge;
mod moc;
mod moc_io;
mod parse;
mod polygon;
mod position;
mod region;
mod vector3;
mod zone;

#[cfg(test)]
mod golden;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use angle::{AngleError, ArcSec, Degrees, Radians};
pub use cell::{Cell, Cell29, CellError, Order};
pub use chord::{ConeTest, Direction};
pub use cone::Cone;
pub use cover::COVER_RANGES_MAX;
pub use judge::{CellJudge, Overlap};
pub use moc::Moc;
pub use moc_io::MocError;
pub use polygon::{Polygon, VERTICES_MAX};
pub use position::{Position, PositionError};
pub use region::{EDGE_TOLERANCE, Region, RegionError};
pub use zone::Zone;
