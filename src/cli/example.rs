//! Inputs of models as files: an image, or a row of named numbers.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::angle::parse_number;
use crate::schema::Modality;
use crate::wire::v1::payload::Content;
use crate::wire::v1::{NamedValues, Payload};

/// Largest example file; a cutout is a few hundred kilobytes.
const EXAMPLE_BYTES_MAX: u64 = 64 << 20;

/// Reads an example. Without a modality, pictures are `image` and rows are `photometry`.
pub(super) fn read(path: &Path, modality: Option<&str>) -> Result<Payload> {
    let size = std::fs::metadata(path)
        .with_context(|| format!("cannot read the example {}", path.display()))?
        .len();
    if size > EXAMPLE_BYTES_MAX {
        bail!("the example {} has {size} bytes, more than {EXAMPLE_BYTES_MAX}", path.display());
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let extension = path.extension().and_then(|name| name.to_str()).unwrap_or_default();
    let content = content_of(&extension.to_lowercase(), bytes)
        .with_context(|| format!("example {}", path.display()))?;
    let usual = match &content {
        Content::Image(_) => Modality::IMAGE,
        Content::Row(_) => Modality::PHOTOMETRY,
        // A spectrum lies along one axis, an image along more.
        Content::Arrays(arrays) => {
            match arrays.arrays.values().map(|array| array.shape.len()).max() {
                Some(0..=1) | None => Modality::SPECTRUM,
                Some(_) => Modality::IMAGE,
            }
        }
    };
    Ok(Payload { modality: modality.unwrap_or(usual).to_owned(), content: Some(content) })
}

fn content_of(extension: &str, bytes: Vec<u8>) -> Result<Content> {
    if is_image(&bytes) {
        return Ok(Content::Image(bytes));
    }
    match extension {
        "json" => Ok(Content::Row(NamedValues { values: json_row(&bytes)? })),
        "csv" => Ok(Content::Row(NamedValues { values: csv_row(&bytes)? })),
        "png" | "jpg" | "jpeg" => {
            bail!("the file is not a PNG or JPEG image, whatever its name says")
        }
        _ => bail!("the file is neither a PNG or JPEG image nor a .json or .csv row"),
    }
}

fn is_image(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n") || bytes.starts_with(&[0xff, 0xd8, 0xff])
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
        match content_of(extension, text.as_bytes().to_vec())? {
            Content::Row(row) => Ok(row.values),
            Content::Image(_) | Content::Arrays(_) => bail!("no row"),
        }
    }

    #[test]
    fn rows_come_from_json_and_csv() {
        let wanted = HashMap::from([("flux_g".to_owned(), 12.5), ("flux_r".to_owned(), -3.0)]);
        assert_eq!(row("json", r#"{"flux_g": 12.5, "flux_r": -3}"#).expect("json"), wanted);
        assert_eq!(row("csv", "flux_g,\"flux_r\"\n12.5, -3\n").expect("csv"), wanted);
    }

    #[test]
    fn an_image_is_known_by_its_first_bytes() {
        let bytes = b"\x89PNG\r\n\x1a\nrest".to_vec();
        assert_eq!(content_of("dat", bytes.clone()).expect("png"), Content::Image(bytes));
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
