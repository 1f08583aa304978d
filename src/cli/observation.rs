//! Words of the command line that say what is wanted of a file of observations.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use super::angle::parse_numbers;
use crate::files::ObservationOptions;
use crate::sky::{Degrees, Position};

/// What of an example's file is meant.
#[derive(Debug, Default, Args)]
pub(super) struct ExampleCut {
    /// Cut a square out of the example's image around this position, by the image's own coordinates
    #[arg(
        long,
        value_name = "RA,DEC",
        requires_all = ["example", "example_size"],
        allow_hyphen_values = true,
        help_heading = "What hits are like"
    )]
    example_at: Option<String>,
    /// Pixels of the square's side [without --example-at: out of the middle]
    #[arg(long, value_name = "PIXELS", requires = "example", help_heading = "What hits are like")]
    example_size: Option<usize>,
    /// Names of the example's bands, such as DES-G,DES-R,DES-Z; where the file names them, which of them and in which order
    #[arg(
        long,
        value_name = "BAND,...",
        value_delimiter = ',',
        requires = "example",
        help_heading = "What hits are like"
    )]
    example_bands: Vec<String>,
    /// Number, from 0, of the observation that is meant in a file of many
    #[arg(long, value_name = "N", requires = "example", help_heading = "What hits are like")]
    example_row: Option<u64>,
}

impl ExampleCut {
    pub(super) fn to_options(&self) -> Result<ObservationOptions> {
        Ok(ObservationOptions {
            center: self.example_at.as_deref().map(position).transpose()?,
            size: self.example_size,
            bands: self.example_bands.clone(),
            row: self.example_row,
        })
    }
}

/// What of the files to look at is meant.
#[derive(Debug, Default, Args)]
pub(super) struct Cut {
    /// Cut a square out of the images around this position, by the images' own coordinates
    #[arg(long, value_name = "RA,DEC", requires = "size", allow_hyphen_values = true)]
    at: Option<String>,
    /// Pixels of the square's side [without --at: out of the middle]
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// Names of the bands of images; where the file names them, which of them and in which order
    #[arg(long, value_name = "BAND,...", value_delimiter = ',')]
    bands: Vec<String>,
    /// Only the observation with this number, from 0, of files of many
    #[arg(long, value_name = "N")]
    row: Option<u64>,
}

impl Cut {
    pub(super) fn to_options(&self) -> Result<ObservationOptions> {
        Ok(ObservationOptions {
            center: self.at.as_deref().map(position).transpose()?,
            size: self.size,
            bands: self.bands.clone(),
            row: self.row,
        })
    }
}

fn position(text: &str) -> Result<Position> {
    let numbers = parse_numbers(text, 2, "RA,DEC")?;
    Position::new(Degrees(numbers[0]), Degrees(numbers[1]))
        .with_context(|| format!("`{text}` is not a position"))
}

/// The files of one observation: `g.fits,r.fits,z.fits` are three, unless one file has this name.
pub(super) fn paths(given: &Path) -> Vec<PathBuf> {
    match given.to_str() {
        Some(text) if text.contains(',') && !text.contains('[') && !given.exists() => text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(PathBuf::from)
            .collect(),
        _ => vec![given.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_apart_by_commas_are_one_observation() {
        assert_eq!(paths(Path::new("g.fits,r.fits")), [Path::new("g.fits"), Path::new("r.fits")]);
        assert_eq!(paths(Path::new("a.fits[SCI,2]")), [Path::new("a.fits[SCI,2]")]);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a,b.npy");
        std::fs::write(&path, "").expect("written");
        assert_eq!(paths(&path), [path]);
    }

    #[test]
    fn a_position_is_two_numbers_on_the_sky() {
        let cut = |at: &str| Cut { at: Some(at.to_owned()), size: Some(8), ..Cut::default() };
        let center = cut("150.1,-2.2").to_options().expect("a position").center.expect("given");
        assert_eq!((center.ra().0, center.dec().0), (150.1, -2.2));
        for text in ["150", "1,2,3", "1,95", "a,b"] {
            assert!(cut(text).to_options().is_err(), "{text}");
        }
    }
}
