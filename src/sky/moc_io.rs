//! Coverage maps as text: the ASCII and JSON forms of the IVOA.
//!
//! Writing goes through the `moc` library. Its readers let orders above 29 and numbers beyond the
//! last cell pass and skip what they do not know, so that reading is done here, strictly, and
//! tested against them.
//!
//! # Reference
//! IVOA Recommendation MOC 2.0 (2022), sections 4.2.3 (ASCII) and 4.2.2 (JSON).

use std::fmt;
use std::ops::Range;

use ::moc::moc::range::RangeMOC;
use ::moc::moc::{
    CellMOCIterator, CellOrCellRangeMOCIterator, RangeMOCIntoIterator, RangeMOCIterator,
};
use ::moc::qty::Hpx;
use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use thiserror::Error;

use super::{Cell, CellError, Moc, Order};
use crate::class::Class;

/// Why a text is not a coverage map.
#[derive(Debug, Error)]
pub enum MocError {
    /// A character that has no meaning there.
    #[error(
        "coverage map: expected {expected} at character {at}; the form is for example `5/10-12 6/99`"
    )]
    Unexpected {
        /// What could have stood there.
        expected: &'static str,
        /// Place in the text, from 1.
        at: usize,
    },
    /// An order or a cell that does not exist.
    #[error("coverage map: {source} (at character {at})")]
    Cell {
        /// Which number is wrong.
        source: CellError,
        /// Place in the text, from 1.
        at: usize,
    },
    /// A range that ends before it starts.
    #[error("coverage map: the range {first}-{last} at character {at} ends before it starts")]
    BackwardRange {
        /// The first cell.
        first: u64,
        /// The last cell.
        last: u64,
        /// Place in the text, from 1.
        at: usize,
    },
    /// Not the JSON form.
    #[error("coverage map: {source}; the form is for example {{\"5\":[10,11],\"6\":[99]}}")]
    Json {
        /// What the JSON reader says, with line and column.
        #[from]
        source: serde_json::Error,
    },
}

impl MocError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::Unexpected { .. }
            | Self::Cell { .. }
            | Self::BackwardRange { .. }
            | Self::Json { .. } => Class::Invalid,
        }
    }
}

impl Moc {
    /// Reads the ASCII form, for example `5/10-12 6/99`; overlaps are united. A text without any
    /// cell is an empty map.
    pub fn from_ascii(text: &str) -> Result<Self, MocError> {
        let mut scanner = Scanner { text: text.as_bytes(), next: 0 };
        let mut order = None;
        let mut ranges = Vec::new();
        scanner.skip_separators();
        while scanner.peek().is_some() {
            let at = scanner.next + 1;
            let number = scanner.number()?;
            if scanner.take(b'/') {
                let checked = Order::new(number).map_err(|source| MocError::Cell { source, at })?;
                order = Some(checked);
            } else {
                let order =
                    order.ok_or(MocError::Unexpected { expected: "an order and `/`", at })?;
                ranges.push(scanner.rest_of_range(order, number, at)?);
            }
            scanner.skip_separators();
        }
        Ok(Self::from_ranges(ranges))
    }

    /// Reads the JSON form, for example `{"5":[10,11],"6":[99]}`; overlaps are united.
    pub fn from_json(text: &str) -> Result<Self, MocError> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let cells = reader.deserialize_map(CellsByOrder)?;
        reader.end()?;
        Ok(cells.into_iter().collect())
    }

    /// Writes the ASCII form on one line.
    pub fn to_ascii(&self) -> String {
        let mut text = Vec::new();
        let cells = self.library_map().into_range_moc_iter().cells().cellranges();
        written(&cells.to_ascii_ivoa(None, false, &mut text), text).trim_end().to_owned()
    }

    /// Writes the JSON form.
    pub fn to_json(&self) -> String {
        let mut text = Vec::new();
        let cells = self.library_map().into_range_moc_iter().cells();
        written(&cells.to_json_aladin(None, &mut text), text)
    }

    fn library_map(&self) -> RangeMOC<u64, Hpx<u64>> {
        RangeMOC::from_maxdepth_ranges(self.order().get(), self.ranges().iter().cloned(), None)
    }
}

/// Writing into memory cannot fail and the library writes ASCII only.
fn written(result: &std::io::Result<()>, text: Vec<u8>) -> String {
    debug_assert!(result.is_ok());
    String::from_utf8(text).unwrap_or_default()
}

struct Scanner<'a> {
    text: &'a [u8],
    next: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.next).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.next += usize::from(found);
        found
    }

    /// White space, and the comma that older texts put between cells.
    fn skip_separators(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace() || byte == b',') {
            self.next += 1;
        }
    }

    fn number(&mut self) -> Result<u64, MocError> {
        let at = self.next + 1;
        let mut value = None;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            // Saturating keeps a number that is too large out of range.
            let next = value.unwrap_or(0_u64).saturating_mul(10);
            value = Some(next.saturating_add(u64::from(digit - b'0')));
            self.next += 1;
        }
        value.ok_or(MocError::Unexpected { expected: "a number", at })
    }

    /// Reads `-last` if it follows and returns the order-29 range of `first` to it.
    fn rest_of_range(
        &mut self,
        order: Order,
        first: u64,
        at: usize,
    ) -> Result<Range<u64>, MocError> {
        let last_at = self.next + 2;
        let last = if self.take(b'-') { self.number()? } else { first };
        if last < first {
            return Err(MocError::BackwardRange { first, last, at });
        }
        let start = Cell::new(order, first).map_err(|source| MocError::Cell { source, at })?;
        let end =
            Cell::new(order, last).map_err(|source| MocError::Cell { source, at: last_at })?;
        Ok(start.range().start..end.range().end)
    }
}

/// Reads an object of orders and lists of numbers; an order given twice counts twice.
struct CellsByOrder;

impl<'de> Visitor<'de> for CellsByOrder {
    type Value = Vec<Cell>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of HEALPix orders with lists of cell numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut cells = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let number = key.parse().map_err(|_| {
                A::Error::custom(format_args!("`{key}` is not a HEALPix order: use 0 to 29"))
            })?;
            let order = Order::new(number).map_err(A::Error::custom)?;
            for number in map.next_value::<Vec<u64>>()? {
                cells.push(Cell::new(order, number).map_err(A::Error::custom)?);
            }
        }
        Ok(cells)
    }
}

#[cfg(test)]
mod tests {
    use ::moc::deser::ascii::from_ascii_ivoa;
    use ::moc::deser::json::from_json_aladin;
    use ::moc::elemset::range::MocRanges;
    use ::moc::moc::{CellMOCIntoIterator, CellOrCellRangeMOCIntoIterator};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::sky::Cell29;

    fn maps() -> impl Strategy<Value = Moc> {
        vec((0_u64..Cell29::COUNT, 0_u32..60), 0..20)
            .prop_map(|places| {
                places
                    .into_iter()
                    .map(|(cell, shift)| cell >> shift..(cell >> shift) + (1_u64 << shift))
                    .collect::<Vec<_>>()
            })
            .prop_map(Moc::from_ranges)
    }

    fn library_ranges(ranges: &MocRanges<u64, Hpx<u64>>) -> Vec<Range<u64>> {
        ranges.iter().cloned().collect()
    }

    proptest! {
        #[test]
        fn texts_round_trip_and_the_library_reads_the_same(map in maps()) {
            let (ascii, json) = (map.to_ascii(), map.to_json());
            prop_assert_eq!(&Moc::from_ascii(&ascii).expect("own text"), &map);
            prop_assert_eq!(&Moc::from_json(&json).expect("own text"), &map);
            let by_ascii = from_ascii_ivoa::<u64, Hpx<u64>>(&ascii).expect("own text");
            let by_ascii = by_ascii.into_cellcellrange_moc_iter().ranges().into_range_moc();
            prop_assert_eq!(library_ranges(by_ascii.moc_ranges()), map.ranges());
            let by_json = from_json_aladin::<u64, Hpx<u64>>(&json).expect("own text");
            let by_json = by_json.into_cell_moc_iter().ranges().into_range_moc();
            prop_assert_eq!(library_ranges(by_json.moc_ranges()), map.ranges());
        }

        #[test]
        fn no_text_panics(text in "[0-9/ ,\\-\\n{}\\[\\]\":x]{0,40}") {
            let _ = Moc::from_ascii(&text);
            let _ = Moc::from_json(&text);
        }
    }

    #[test]
    fn known_texts() {
        let map = Moc::from_ascii("5/10-12 6/99").expect("as in the protocol");
        let expected = Moc::from_ranges([10 << 48..13 << 48, 99 << 46..100 << 46]);
        assert_eq!(map, expected);
        assert_eq!(map.to_ascii(), "5/10-12 6/99");
        assert_eq!(Moc::from_json(r#"{"6":[99], "5":[10,11,12]}"#).expect("JSON"), expected);
        assert_eq!(Moc::from_json(r#"{"6":[99], "5":[10,11], "5":[12]}"#).expect("JSON"), expected);
        assert_eq!(Moc::from_ascii("0/0-11").expect("all sky"), Moc::all_sky());
        assert_eq!(Moc::all_sky().to_ascii(), "0/0-11");
        for empty in ["", "  ", "6/", "0/"] {
            assert!(Moc::from_ascii(empty).expect("an empty map").is_empty());
        }
        assert!(Moc::from_json("{}").expect("an empty map").is_empty());
        assert_eq!(Moc::empty().to_ascii(), "0/");
        assert_eq!(
            Moc::from_ascii("5/40\n6/160,161 5/40").expect("overlaps"),
            Moc::from_ascii("5/40").expect("one")
        );
    }

    #[test]
    fn broken_texts_say_what_and_where() {
        let cases = [
            (
                "10 5/3",
                "coverage map: expected an order and `/` at character 1; the form is for example `5/10-12 6/99`",
            ),
            (
                "5/x",
                "coverage map: expected a number at character 3; the form is for example `5/10-12 6/99`",
            ),
            (
                "5/3-",
                "coverage map: expected a number at character 5; the form is for example `5/10-12 6/99`",
            ),
            (
                "30/1",
                "coverage map: HEALPix order 30 is out of range: use 0 to 29 (at character 1)",
            ),
            (
                "0/12",
                "coverage map: HEALPix cell 12 is out of range: order 0 has cells 0 to 11 (at character 3)",
            ),
            (
                "0/3-12",
                "coverage map: HEALPix cell 12 is out of range: order 0 has cells 0 to 11 (at character 5)",
            ),
            ("3/7-5", "coverage map: the range 7-5 at character 3 ends before it starts"),
            (
                "29/99999999999999999999999",
                "coverage map: HEALPix cell 18446744073709551615 is out of range: order 29 has cells 0 to 3458764513820540927 (at character 4)",
            ),
        ];
        for (text, message) in cases {
            let error = Moc::from_ascii(text).expect_err(text);
            assert_eq!(error.to_string(), message);
            assert_eq!(error.class(), Class::Invalid);
        }
        let texts = [
            "",
            "[]",
            r#"{"5":10}"#,
            r#"{"30":[1]}"#,
            r#"{"0":[12]}"#,
            r#"{"5":[-1]}"#,
            r#"{"5":["1"]}"#,
            r#"{"5":[1]} x"#,
            r#"{"x":[1]}"#,
        ];
        for text in texts {
            let error = Moc::from_json(text).expect_err(text);
            assert!(error.to_string().contains("line 1 column"), "{error}");
        }
    }
}
