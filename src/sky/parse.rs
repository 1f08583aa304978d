//! Lists of coordinates as people type them.

use super::{Degrees, Position, RegionError};

/// Reads `ra,dec,ra,dec,...` in degrees.
pub(super) fn positions(text: &str) -> Result<Vec<Position>, RegionError> {
    let angles = text.split(',').map(str::parse).collect::<Result<Vec<Degrees>, _>>()?;
    let pairs = angles.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(RegionError::Malformed { form: "ra,dec,ra,dec,...", text: text.to_owned() });
    }
    pairs.map(|pair| Ok(Position::new(pair[0], pair[1])?)).collect()
}
