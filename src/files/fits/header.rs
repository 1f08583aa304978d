//! FITS headers: 2880-byte blocks of 80-byte cards.

use std::collections::HashMap;
use std::io::Read;

/// Bytes of a FITS block; headers and data are padded to it.
pub(super) const BLOCK: u64 = 2_880;

const CARD: usize = 80;

/// Most blocks of a header (147,456 cards); a longer one is a damaged file.
const BLOCKS_MAX: u64 = 4_096;

/// Why no header could be read.
#[derive(Debug)]
pub(super) enum HeaderFault {
    /// The file ends inside the header.
    Ends,
    /// The bytes are no header.
    Damaged(String),
    /// The system could not read.
    Io(std::io::Error),
}

#[derive(Debug)]
struct Card {
    value: String,
    is_text: bool,
    comment: String,
}

/// Keywords and values of one header-data unit. Of repeated keywords the first counts.
#[derive(Debug, Default)]
pub(in crate::files) struct Header {
    cards: HashMap<String, Card>,
    /// Keyword of the very first card.
    first: String,
}

impl Header {
    /// Reads a header with its padding; `None` at the end of the file.
    pub(super) fn read(source: &mut impl Read) -> Result<Option<(Self, u64)>, HeaderFault> {
        let mut header = Self::default();
        let mut last_text: Option<String> = None;
        for blocks in 1..=BLOCKS_MAX {
            let mut block = Vec::with_capacity(BLOCK as usize);
            source.by_ref().take(BLOCK).read_to_end(&mut block).map_err(HeaderFault::Io)?;
            if block.is_empty() && blocks == 1 {
                return Ok(None);
            }
            if block.len() < BLOCK as usize {
                return Err(HeaderFault::Ends);
            }
            for card in block.chunks_exact(CARD) {
                let text: String = card.iter().map(|byte| readable(*byte)).collect();
                let keyword = text.get(..8).unwrap_or("").trim_end().to_owned();
                if keyword == "END" {
                    return Ok(Some((header, blocks * BLOCK)));
                }
                if header.first.is_empty() {
                    header.first.clone_from(&keyword);
                }
                last_text = header.take_card(keyword, &text, last_text);
            }
        }
        Err(HeaderFault::Damaged("a header has no END card".to_owned()))
    }

    /// Stores one card; returns its keyword when a CONTINUE card may follow.
    fn take_card(
        &mut self,
        keyword: String,
        text: &str,
        continued: Option<String>,
    ) -> Option<String> {
        if keyword == "CONTINUE" {
            let keyword = continued?;
            let more = parse_value(text.get(8..).unwrap_or(""));
            let card = self.cards.get_mut(&keyword)?;
            if !more.is_text || !card.value.ends_with('&') {
                return None;
            }
            card.value.pop();
            card.value.push_str(&more.value);
            card.comment.push_str(&more.comment);
            return Some(keyword);
        }
        if text.get(8..10) != Some("= ") || self.cards.contains_key(&keyword) {
            return None;
        }
        let card = parse_value(text.get(10..).unwrap_or(""));
        let may_go_on = card.is_text.then(|| keyword.clone());
        self.cards.insert(keyword, card);
        may_go_on
    }

    /// Whether a keyword with a value is there.
    pub(super) fn has(&self, keyword: &str) -> bool {
        self.cards.contains_key(keyword)
    }

    /// Keyword of the first card: `SIMPLE` or `XTENSION` in a sound file.
    pub(super) fn first_keyword(&self) -> &str {
        &self.first
    }

    /// A string value.
    pub(in crate::files) fn text(&self, keyword: &str) -> Option<&str> {
        self.cards.get(keyword).filter(|card| card.is_text).map(|card| card.value.trim_end())
    }

    /// A logical value.
    pub(in crate::files) fn logical(&self, keyword: &str) -> Option<bool> {
        self.cards.get(keyword).filter(|card| !card.is_text).map(|card| card.value == "T")
    }

    /// An integer value.
    pub(in crate::files) fn integer(&self, keyword: &str) -> Option<i64> {
        self.cards.get(keyword).filter(|card| !card.is_text)?.value.parse().ok()
    }

    /// A real value; Fortran's `D` exponents are understood.
    pub(in crate::files) fn real(&self, keyword: &str) -> Option<f64> {
        let card = self.cards.get(keyword).filter(|card| !card.is_text)?;
        card.value.replace(['D', 'd'], "E").parse().ok()
    }

    /// The comment behind a value.
    pub(super) fn comment(&self, keyword: &str) -> &str {
        self.cards.get(keyword).map_or("", |card| card.comment.trim())
    }

    /// Bytes of the data behind this header, without padding; `None` when the sizes make no sense.
    pub(super) fn data_bytes(&self) -> Option<u64> {
        let axes = self.integer("NAXIS")?;
        if axes == 0 {
            return Some(0);
        }
        let mut cells: u64 = 1;
        for axis in 1..=axes {
            let length = u64::try_from(self.integer(&format!("NAXIS{axis}"))?).ok()?;
            let is_group = axis == 1 && length == 0 && self.logical("GROUPS") == Some(true);
            if !is_group {
                cells = cells.checked_mul(length)?;
            }
        }
        let groups = u64::try_from(self.integer("GCOUNT").unwrap_or(1)).ok()?;
        let parameters = u64::try_from(self.integer("PCOUNT").unwrap_or(0)).ok()?;
        let cell_bytes = self.integer("BITPIX")?.unsigned_abs() / 8;
        cells.checked_add(parameters)?.checked_mul(groups)?.checked_mul(cell_bytes)
    }
}

/// Rounds up to whole blocks.
pub(super) fn padded(bytes: u64) -> Option<u64> {
    bytes.checked_next_multiple_of(BLOCK)
}

/// A byte of a card. The standard has no control characters in headers; in a damaged one they would break messages.
fn readable(byte: u8) -> char {
    if byte.is_ascii_control() { ' ' } else { char::from(byte) }
}

fn parse_value(text: &str) -> Card {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('\'') else {
        let (value, comment) = text.split_once('/').unwrap_or((text, ""));
        let (value, comment) = (value.trim().to_owned(), comment.trim().to_owned());
        return Card { value, is_text: false, comment };
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices().peekable();
    let mut end = quoted.len();
    while let Some((place, character)) = characters.next() {
        if character != '\'' {
            value.push(character);
        } else if characters.next_if(|(_, next)| *next == '\'').is_some() {
            value.push('\'');
        } else {
            end = place + 1;
            break;
        }
    }
    let rest = quoted.get(end..).unwrap_or("");
    let comment = rest.split_once('/').map_or("", |(_, comment)| comment.trim()).to_owned();
    Card { value: value.trim_end().to_owned(), is_text: true, comment }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(cards: &[&str]) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            cards.iter().flat_map(|card| format!("{card:<80}").into_bytes()).collect();
        bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), b' ');
        bytes
    }

    #[test]
    fn values_comments_and_long_strings_are_read() {
        let bytes = block(&[
            "XTENSION= 'BINTABLE'           / binary table",
            "BITPIX  =                    8",
            "NAXIS   =                    2",
            "NAXIS1  =                   10",
            "NAXIS2  =                    3",
            "PCOUNT  =                    5",
            "TTYPE1  = 'it''s /one '        / what it / is",
            "LONG    = 'begins &'",
            "CONTINUE  'goes on &'",
            "CONTINUE  'ends'  / comment",
            "TZERO1  = 9.223372036854775808D18",
            "COMMENT = no value",
            "ZIMAGE  =                    T",
            "END",
        ]);
        let (header, length) =
            Header::read(&mut bytes.as_slice()).expect("sound").expect("present");
        assert_eq!(length, BLOCK);
        assert_eq!(header.first_keyword(), "XTENSION");
        assert_eq!(header.text("TTYPE1"), Some("it's /one"));
        assert_eq!(header.comment("TTYPE1"), "what it / is");
        assert_eq!(header.text("LONG"), Some("begins goes on ends"));
        assert_eq!(header.real("TZERO1"), Some(9_223_372_036_854_775_808.0));
        assert_eq!(header.logical("ZIMAGE"), Some(true));
        assert_eq!(header.data_bytes(), Some(35));
        assert_eq!(padded(35), Some(BLOCK));
    }

    #[test]
    fn short_and_endless_headers_are_faults() {
        let bytes = block(&["SIMPLE  =                    T"]);
        assert!(matches!(Header::read(&mut bytes.as_slice()), Err(HeaderFault::Ends)));
        assert!(matches!(Header::read(&mut &bytes[..100]), Err(HeaderFault::Ends)));
        assert!(matches!(Header::read(&mut &b""[..]), Ok(None)));
    }
}
