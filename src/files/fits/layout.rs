//! Columns of a binary table: where their bytes are and which Arrow type they become.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

use super::header::Header;
use crate::files::reader::{META_DESCRIPTION, META_UCD, META_UNIT, SkippedColumn, unique_names};

/// Most columns of a binary table (the standard's limit).
const FIELDS_MAX: i64 = 999;

/// Elements of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Logical,
    Byte,
    Short,
    Long,
    LongLong,
    Single,
    Double,
    Text,
}

/// One readable column.
#[derive(Debug)]
pub(super) struct ColumnLayout {
    /// First byte within the row.
    pub(super) offset: usize,
    /// Bytes of the cell.
    pub(super) width: usize,
    /// Elements of the cell; of text, its bytes.
    pub(super) repeat: usize,
    pub(super) element: Element,
    /// TNULL: the stored integer that means "no value".
    pub(super) null: Option<i64>,
    /// TSCAL and TZERO.
    pub(super) scale: f64,
    pub(super) zero: f64,
    pub(super) field: Field,
}

impl ColumnLayout {
    /// Type of one element after scaling.
    pub(super) fn element_type(&self) -> DataType {
        // The standard stores unsigned integers (and signed bytes) as signed ones with an offset of half the range.
        let offset_by = |offset: f64| self.scale == 1.0 && self.zero == offset;
        let plain = offset_by(0.0);
        match self.element {
            Element::Logical => DataType::Boolean,
            Element::Byte if plain => DataType::UInt8,
            Element::Byte if offset_by(-128.0) => DataType::Int8,
            Element::Short if plain => DataType::Int16,
            Element::Short if offset_by(32_768.0) => DataType::UInt16,
            Element::Long if plain => DataType::Int32,
            Element::Long if offset_by(2_147_483_648.0) => DataType::UInt32,
            Element::LongLong if plain => DataType::Int64,
            Element::LongLong if offset_by(9_223_372_036_854_775_808.0) => DataType::UInt64,
            Element::Single if plain => DataType::Float32,
            Element::Byte
            | Element::Short
            | Element::Long
            | Element::LongLong
            | Element::Single
            | Element::Double => DataType::Float64,
            Element::Text => DataType::Utf8,
        }
    }

    fn column_type(&self) -> DataType {
        let element = self.element_type();
        if self.repeat == 1 || self.element == Element::Text {
            return element;
        }
        // `repeat` is bounded by the row length, which fits in i32 (checked in `columns`).
        DataType::FixedSizeList(Arc::new(Field::new("item", element, true)), self.repeat as i32)
    }
}

/// Columns of the table that `header` describes; `row_bytes` is NAXIS1.
pub(super) fn columns(
    header: &Header,
    row_bytes: u64,
) -> Result<(Vec<ColumnLayout>, Vec<SkippedColumn>), String> {
    let count = header.integer("TFIELDS").ok_or("TFIELDS is missing")?;
    if !(0..=FIELDS_MAX).contains(&count) {
        return Err(format!("TFIELDS is {count}"));
    }
    let row_bytes = i32::try_from(row_bytes)
        .map_err(|_| format!("a row of {row_bytes} bytes is beyond the limit of 2 GiB"))?
        as usize;
    let names = (1..=count).map(|number| {
        let name = header.text(&format!("TTYPE{number}")).unwrap_or("");
        if name.is_empty() { format!("col{number}") } else { name.to_owned() }
    });
    let (mut readable, mut skipped) = (Vec::new(), Vec::new());
    let mut offset = 0_usize;
    for (number, name) in (1..=count).zip(unique_names(names)) {
        let form = header
            .text(&format!("TFORM{number}"))
            .ok_or_else(|| format!("TFORM{number} is missing"))?;
        let (repeat, letter, rest) =
            split_form(form).ok_or_else(|| format!("TFORM{number} is `{form}`"))?;
        let width = cell_bytes(repeat, letter)
            .ok_or_else(|| format!("TFORM{number} is `{form}`, a type that FITS does not have"))?;
        let end = offset
            .checked_add(width)
            .filter(|end| *end <= row_bytes)
            .ok_or_else(|| format!("the columns need more than the {row_bytes} bytes of a row"))?;
        match supported(header, number, repeat, letter, rest) {
            Ok(element) => {
                let place = Place { offset, width, repeat };
                readable.push(layout(header, number, name, element, place));
            }
            Err(reason) => skipped.push(SkippedColumn { name, reason }),
        }
        offset = end;
    }
    Ok((readable, skipped))
}

#[derive(Clone, Copy)]
struct Place {
    offset: usize,
    width: usize,
    repeat: usize,
}

fn layout(
    header: &Header,
    number: i64,
    name: String,
    element: Element,
    place: Place,
) -> ColumnLayout {
    let is_integer =
        matches!(element, Element::Byte | Element::Short | Element::Long | Element::LongLong);
    let mut column = ColumnLayout {
        offset: place.offset,
        width: place.width,
        repeat: place.repeat,
        element,
        null: header.integer(&format!("TNULL{number}")).filter(|_| is_integer),
        scale: header.real(&format!("TSCAL{number}")).unwrap_or(1.0),
        zero: header.real(&format!("TZERO{number}")).unwrap_or(0.0),
        field: Field::new(&name, DataType::Null, true),
    };
    let metadata: HashMap<String, String> = [
        (META_UNIT, header.text(&format!("TUNIT{number}")).unwrap_or("").trim()),
        (META_UCD, header.text(&format!("TUCD{number}")).unwrap_or("").trim()),
        (META_DESCRIPTION, description(header, number)),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .map(|(key, text)| (key.to_owned(), text.to_owned()))
    .collect();
    column.field = Field::new(name, column.column_type(), true).with_metadata(metadata);
    column
}

/// TCOMM, or the comment of TTYPE unless a library wrote it for want of anything better.
fn description(header: &Header, number: i64) -> &str {
    let own = header.text(&format!("TCOMM{number}")).unwrap_or("").trim();
    let comment = header.comment(&format!("TTYPE{number}"));
    let lower = comment.to_lowercase();
    let generic = ["label for field", "label for column", "name of", "field name", "column name"];
    if own.is_empty() && !generic.iter().any(|words| lower.starts_with(words)) {
        comment
    } else {
        own
    }
}

fn split_form(form: &str) -> Option<(usize, char, &str)> {
    let form = form.trim();
    let digits = form.bytes().take_while(u8::is_ascii_digit).count();
    let (repeat, rest) = form.split_at_checked(digits)?;
    let letter = rest.chars().next()?;
    let repeat = if repeat.is_empty() { 1 } else { repeat.parse().ok()? };
    Some((repeat, letter.to_ascii_uppercase(), rest.get(letter.len_utf8()..)?))
}

fn cell_bytes(repeat: usize, letter: char) -> Option<usize> {
    let element = match letter {
        'X' => return Some(repeat.div_ceil(8)),
        'L' | 'B' | 'A' => 1,
        'I' => 2,
        'J' | 'E' => 4,
        'K' | 'D' | 'C' | 'P' => 8,
        'M' | 'Q' => 16,
        _ => return None,
    };
    repeat.checked_mul(element)
}

/// The element of a column that can be handed out, or why it cannot.
fn supported(
    header: &Header,
    number: i64,
    repeat: usize,
    letter: char,
    rest: &str,
) -> Result<Element, String> {
    if repeat == 0 {
        return Err("its cells are empty (TFORM repeats 0 times)".to_owned());
    }
    let element = match letter {
        'L' => Element::Logical,
        'B' => Element::Byte,
        'I' => Element::Short,
        'J' => Element::Long,
        'K' => Element::LongLong,
        'E' => Element::Single,
        'D' => Element::Double,
        'A' => Element::Text,
        'X' => return Err("bit columns are not read".to_owned()),
        'C' | 'M' => return Err("complex columns are not read".to_owned()),
        _ => return Err("variable-length columns are not read".to_owned()),
    };
    let dimensions = header.text(&format!("TDIM{number}")).unwrap_or("");
    let strings = rest.trim().parse().is_ok_and(|width: usize| width < repeat)
        || (dimensions.contains(',') && !dimensions.trim_end_matches([')', ' ']).ends_with(",1"));
    if element == Element::Text && strings {
        return Err("columns of several strings a row are not read".to_owned());
    }
    Ok(element)
}
