//! `sidereus encoder inspect`: what the program reads from files of observations, before anything is encoded.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::failure::{one_line, say};
use super::observation::{Cut, paths};
use super::render::{Cell, Format, Table, print_table, significant, thousands};
use crate::files::{
    FileError, NamedArray, Observation, ObservationOptions, Observed, read_observation,
    read_observations, read_together,
};

/// Words of `sidereus encoder inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectArguments {
    /// Files of cutouts and spectra: FITS, HDF5, .npy, Parquet, Arrow, PNG, JPEG. Several with commas between them are one
    /// observation (a file for each band)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    cut: Cut,
    /// Most observations that are shown of each file
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Prints a table of what is in the files. Files that cannot be read are named on standard error, and the exit status is
/// then not 0.
pub(super) fn run(arguments: &InspectArguments) -> Result<ExitCode> {
    let options = arguments.cut.to_options()?;
    let mut table = Table::new([
        "file",
        "object",
        "kind",
        "shape",
        "bands",
        "wavelength",
        "median",
        "finite",
        "ra",
        "dec",
        "arrays",
    ]);
    let mut notes = Vec::new();
    let mut exit = ExitCode::SUCCESS;
    for given in &arguments.files {
        if let Err(error) = inspect(given, &options, arguments.limit, &mut table, &mut notes) {
            say(&format!("not read: {}", one_line(&error.to_string())));
            exit = ExitCode::FAILURE;
        }
    }
    if table.len() > 0 {
        print_table(&table.without_silent_columns(4), arguments.format)?;
    }
    for note in notes {
        say(&note);
    }
    Ok(exit)
}

/// Adds the observations of a file to the table.
fn inspect(
    given: &Path,
    options: &ObservationOptions,
    limit: usize,
    table: &mut Table,
    notes: &mut Vec<String>,
) -> Result<(), FileError> {
    let files = paths(given);
    let name = given
        .file_name()
        .map_or_else(|| given.display().to_string(), |name| name.to_string_lossy().into_owned());
    if files.len() > 1 {
        add_observation(table, &name, &read_together(&files, options)?);
        return Ok(());
    }
    if options.row.is_some() {
        add_observation(table, &name, &read_observation(given, options)?);
        return Ok(());
    }
    let mut observations = read_observations(given, options)?;
    let mut shown = 0;
    for (object, read) in observations.by_ref().take(limit) {
        shown += 1;
        match read {
            Ok(observation) => add_observation(table, &name, &observation),
            Err(error) => {
                let object = object.unwrap_or_else(|| format!("number {}", shown - 1));
                notes.push(format!("{name}: {object}: {}", one_line(&error.to_string())));
            }
        }
    }
    if let Some(more) = observations.count_known().and_then(|count| count.checked_sub(shown))
        && more > 0
    {
        notes.push(format!("{name}: {} more; --limit N shows them", thousands(more)));
    }
    if observations.skipped() > 0 {
        let skipped = thousands(observations.skipped());
        notes.push(format!("{name}: {skipped} fibres on sky or without a target are passed over"));
    }
    Ok(())
}

/// Adds a line for each kind of array of an observation.
fn add_observation(table: &mut Table, name: &str, observation: &Observation) {
    let degrees = |value: Option<f64>| value.map_or(Cell::Null, Cell::Degrees);
    let ra = degrees(observation.position.map(|position| position.ra().0));
    let dec = degrees(observation.position.map(|position| position.dec().0));
    let mut add = |kind: &str, facts: [Cell; 5], arrays: Cell| {
        let mut row = vec![
            Cell::text(name),
            observation.object.clone().map_or(Cell::Null, Cell::Id),
            Cell::text(kind),
        ];
        row.extend(facts);
        row.extend([ra.clone(), dec.clone(), arrays]);
        table.push(row);
    };
    let Observed::Arrays(arrays) = &observation.content else {
        let Observed::Picture(bytes) = &observation.content else { return };
        let size = Cell::Bytes(bytes.len() as u64);
        let form = if bytes.starts_with(&[0xff]) { "JPEG" } else { "PNG" };
        let unknown = || Cell::Null;
        add("image", [size, unknown(), unknown(), unknown(), unknown()], Cell::text(form));
        return;
    };
    if let Some(image) = observation.array("image") {
        add("image", facts(image, Cell::Null), Cell::text("image"));
    }
    if let Some(flux) = observation.array("flux") {
        let names = arrays.iter().map(|array| array.name.as_str());
        let names: Vec<&str> = names.filter(|name| *name != "image").collect();
        let range = observation.array("wavelength").and_then(|wavelength| {
            let (first, last) = (wavelength.values.first()?, wavelength.values.last()?);
            let digits = |value: &f32| significant(f64::from(*value), 5);
            Some(format!("{}..{} Å", digits(first), digits(last)))
        });
        let range = range.map_or(Cell::Null, Cell::Text);
        add("spectrum", facts(flux, range), Cell::Text(names.join(" ")));
    }
}

/// Shape, bands, wavelengths, and the median and the share of the finite numbers.
fn facts(array: &NamedArray, range: Cell) -> [Cell; 5] {
    let shape: Vec<String> = array.shape.iter().map(usize::to_string).collect();
    let mut finite: Vec<f32> =
        array.values.iter().copied().filter(|value| value.is_finite()).collect();
    let share = finite.len() as f64 / array.values.len().max(1) as f64;
    [
        Cell::Text(shape.join(" x ")),
        Cell::text(array.bands.join(" ")),
        range,
        Cell::optional_real(median(&mut finite)),
        Cell::Real(share),
    ]
}

/// The middle value; of an even number, the mean of the two in the middle.
fn median(values: &mut [f32]) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let is_even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    let upper = f64::from(*upper);
    if !is_even {
        return Some(upper);
    }
    let lower = below.iter().copied().max_by(f32::total_cmp)?;
    Some(f64::midpoint(f64::from(lower), upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&mut []), None);
    }
}
