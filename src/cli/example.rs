//! Inputs of models as files: a cutout or a spectrum in whatever form, a picture, or a row of named numbers.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::angle::parse_number;
use super::observation::paths;
use crate::files::{ObservationOptions, is_observation_file, read_together};
use crate::schema::Modality;
use crate::wire::v1::payload::Content;
use crate::wire::v1::{NamedValues, Payload};

/// Largest row of numbers; a row is a few kilobytes.
const ROW_BYTES_MAX: u64 = 16 << 20;

/// Reads an example. Without a modality, pictures and cutouts are `image`, spectra `spectrum`, and rows `photometry`.
/// Several files with commas between them are one example, such as a file for each band.
pub(super) fn read(
    path: &Path,
    modality: Option<&str>,
    options: &ObservationOptions,
) -> Result<Payload> {
    let files = paths(path);
    if files.len() > 1 || is_observation_file(path) {
        let observation = read_together(&files, options)?;
        return Ok(observation.into_payload(modality));
    }
    let size = std::fs::metadata(path)
        .with_context(|| format!("cannot read the example {}", path.display()))?
        .len();
    if size > ROW_BYTES_MAX {
        bail!("the row of numbers {} has {size} bytes, more than {ROW_BYTES_MAX}", path.display());
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let extension = path.extension().and_then(|name| name.to_str()).unwrap_or_default();
    let values = row_of(&extension.to_lowercase(), &bytes)
        .with_context(|| format!("example {}", path.display()))?;
    Ok(Payload {
        modality: modality.unwrap_or(Modality::PHOTOMETRY).to_owned(),
        content: Some(Content::Row(NamedValues { values })),
    })
}

fn row_of(extension: &str, bytes: &[u8]) -> Result<HashMap<String, f64>> {
    match extension {
        "json" => json_row(bytes),
        "csv" => csv_row(bytes),
        "png" | "jpg" | "jpeg" => {
            bail!("the file is not a PNG or JPEG image, whatever its name says")
        }
        "gz" => bail!("the file is compressed; decompress it first with gunzip"),
        "npz" => bail!("archives of arrays are not read; save one array with numpy.save"),
        _ => bail!(
            "the file is neither a cutout or spectrum (FITS, HDF5, .npy, Parquet, Arrow), nor a PNG or JPEG image, nor a .json or .csv row"
        ),
    }
}

/// An object of numbers.
fn json_row(bytes: &[u8]) -> Result<HashMap<String, f64>> {
    let members: HashMap<String, serde_json::Value> = serde_json::from_slice(bytes)
        .context("a .json example is one object of numbers, like {\"flux_g\": 12.5}")?;
    let number = |(name, value): (String, serde_json::Value)| match value.as_f64() {
        Some(number) => Ok((name, number)),
        None => bail!("`{name}` is {value}, not a number"),
    };
    members.into_iter().map(number).collect()
}

/// A line of names and a line of numbers.
fn csv_row(bytes: &[u8]) -> Result<HashMap<String, f64>> {
    let text = std::str::from_utf8(bytes).context("a .csv example is UTF-8 text")?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let [names, numbers] = lines.as_slice() else {
        bail!(
            "a .csv example is a line of names and one line of numbers, this has {} lines",
            lines.len()
        );
    };
    let fields = |line: &str| -> Vec<String> {
        line.split(',').map(|field| field.trim().trim_matches('"').to_owned()).collect()
    };
    let (names, numbers) = (fields(names), fields(numbers));
    if names.len() != numbers.len() {
        bail!("{} names but {} numbers", names.len(), numbers.len());
    }
    let pairs = names.into_iter().zip(&numbers);
    pairs.map(|(name, text)| Ok((name.clone(), parse_number(text).context(name)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(extension: &str, text: &str) -> Result<HashMap<String, f64>> {
        row_of(extension, text.as_bytes())
    }

    fn read_bytes(name: &str, bytes: &[u8]) -> Result<Payload> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        read(&path, None, &ObservationOptions::default())
    }

    #[test]
    fn rows_come_from_json_and_csv() {
        let wanted = HashMap::from([("flux_g".to_owned(), 12.5), ("flux_r".to_owned(), -3.0)]);
        assert_eq!(row("json", r#"{"flux_g": 12.5, "flux_r": -3}"#).expect("json"), wanted);
        assert_eq!(row("csv", "flux_g,\"flux_r\"\n12.5, -3\n").expect("csv"), wanted);
        let payload = read_bytes("a.csv", b"u,g\n1,2\n").expect("a row");
        assert_eq!(payload.modality, Modality::PHOTOMETRY);
    }

    #[test]
    fn an_image_is_known_by_its_first_bytes() {
        let bytes = b"\x89PNG\r\n\x1a\nrest".to_vec();
        let payload = read_bytes("a.dat", &bytes).expect("png");
        assert_eq!(payload.modality, Modality::IMAGE);
        assert_eq!(payload.content, Some(Content::Image(bytes)));
    }

    #[test]
    fn what_is_no_example_is_refused() {
        for (extension, text, wanted) in [
            ("png", "hello", "not a PNG"),
            ("txt", "hello", "neither"),
            ("json", "[1]", "object of numbers"),
            ("json", "{\"a\": \"b\"}", "`a`"),
            ("csv", "a,b\n1,2\n3,4\n", "3 lines"),
            ("csv", "a,b\n1\n", "2 names"),
            ("csv", "a\nx\n", "not a number"),
        ] {
            let error = format!("{:#}", row(extension, text).expect_err(text));
            assert!(error.contains(wanted), "{error}");
        }
    }
}
