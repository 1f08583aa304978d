//! The file of an attribute: a header, then sections that are searched where they lie.
//!
//! ```text
//! header   64 bytes: "SIDATT01", kind u32, width u32, rows u64, distinct u64, bytes of text u64, zeros
//! starts   u32 x (distinct + 3): rows of lesser rank, for each rank (NaN and null among them) and for the end
//! values   u64 x distinct keys of numbers, or u64 x (distinct + 1) offsets of texts
//! text     the texts, one after the other
//! order    u32 x rows: the rows by (rank, row)
//! ranks    width x rows: the rank of each row
//! ```
//!
//! A file that begins with "SIDATT02" has three sections instead of the starts: those of NaN, null and the end; for each block of 512
//! rows by rank a u32, the number of values that begin before it; and a bit for each of them, 1 where a value begins.
//!
//! Little-endian; each section begins at a multiple of eight bytes.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::Attribute;
use super::keys::Kind;
use super::rank::{Ranked, Values};
use super::ranks::width;
use super::starts::{self, OTHERS};
use crate::engine::error::EngineError;
use crate::engine::mapped::MappedSections;
use crate::pieces::Pieces;

/// Of files with a table of starts, and of those with marks.
const MAGIC: [&[u8; 8]; 2] = [b"SIDATT01", b"SIDATT02"];
const HEADER_BYTES: usize = 64;

/// Where each section begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) kind: Kind,
    /// Bytes of a rank.
    pub(super) width: usize,
    pub(super) rows: usize,
    pub(super) distinct: usize,
    pub(super) text_bytes: usize,
    pub(super) starts: usize,
    /// Of the starts by marks, where they are so kept.
    pub(super) marks: Option<Marks>,
    pub(super) values: usize,
    pub(super) text: usize,
    pub(super) order: usize,
    pub(super) ranks: usize,
    /// Bytes of the file.
    pub(super) len: usize,
}

/// Where the ones before each block and the words of marks begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) before: usize,
    pub(super) words: usize,
}

impl Layout {
    /// `None` for numbers that no file has.
    fn new(kind: Kind, rows: u64, distinct: u64, text_bytes: u64, is_marked: bool) -> Option<Self> {
        // Ranks, with two for NaN and null, are 32-bit numbers.
        if distinct > rows || rows > u64::from(u32::MAX) - 2 {
            return None;
        }
        let width = width(distinct + 2);
        let after = |start: usize, count: usize, size: usize| {
            start.checked_add(count.checked_mul(size)?)?.checked_next_multiple_of(8)
        };
        let (rows, distinct) = (usize::try_from(rows).ok()?, usize::try_from(distinct).ok()?);
        let text_bytes = usize::try_from(text_bytes).ok()?;
        let starts = HEADER_BYTES;
        let (marks, values) = if is_marked {
            let before = after(starts, OTHERS, size_of::<u32>())?;
            let words = after(before, starts::block_count(rows), size_of::<u32>())?;
            let values = after(words, starts::word_count(rows), size_of::<u64>())?;
            (Some(Marks { before, words }), values)
        } else {
            (None, after(starts, distinct.checked_add(OTHERS)?, size_of::<u32>())?)
        };
        let value_count = distinct + usize::from(kind == Kind::Text);
        let text = after(values, value_count, size_of::<u64>())?;
        let order = after(text, text_bytes, 1)?;
        let ranks = after(order, rows, size_of::<u32>())?;
        let len = after(ranks, rows, width)?;
        Some(Self {
            kind,
            width,
            rows,
            distinct,
            text_bytes,
            starts,
            marks,
            values,
            text,
            order,
            ranks,
            len,
        })
    }
}

/// Maps an attribute's file; `None` when there is none. Only the header is read.
///
/// # Errors
/// When the file cannot be mapped, or its header or length is not that of a column of this kind and row count.
pub(super) fn open(
    path: &Path,
    kind: Kind,
    row_count: usize,
) -> Result<Option<Attribute>, EngineError> {
    let (file, header) = match MappedSections::open_with_header(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("map", path, source)),
    };
    match layout_of(&header, file.len(), kind, row_count) {
        Ok(layout) => Ok(Some(Attribute { file, layout })),
        Err(what) => {
            let what = what.to_owned();
            Err(EngineError::DamagedSegment { path: path.display().to_string(), what })
        }
    }
}

/// Reads the header of a file of so many bytes.
fn layout_of(
    header: &[u8; HEADER_BYTES],
    file_bytes: usize,
    kind: Kind,
    row_count: usize,
) -> Result<Layout, &'static str> {
    if file_bytes < HEADER_BYTES {
        return Err("it is shorter than its header");
    }
    let form = MAGIC.iter().position(|magic| header.starts_with(*magic));
    let is_marked = form.ok_or("it is no attribute of format 1 or 2")? == 1;
    let [tag, width]: [u32; 2] = bytemuck::pod_read_unaligned(&header[8..16]);
    let [rows, distinct, text_bytes]: [u64; 3] = bytemuck::pod_read_unaligned(&header[16..40]);
    if tag != kind.tag() {
        return Err("it is of a column of another type");
    }
    if rows != row_count as u64 {
        return Err("it is of another number of rows");
    }
    let layout = Layout::new(kind, rows, distinct, text_bytes, is_marked);
    let layout = layout.ok_or("its numbers are wrong")?;
    if layout.width != width as usize || layout.len != file_bytes {
        return Err("its length is wrong");
    }
    Ok(layout)
}

/// Writes an attribute to a new file, which is on the disk when this returns.
pub(super) fn write(path: &Path, kind: Kind, ranked: &Ranked<'_>) -> Result<(), EngineError> {
    let written = File::create(path).and_then(|file| {
        let mut sections = Sections { file: Pieces::looked_into(file), len: 0 };
        write_sections(&mut sections, kind, ranked)?;
        sections.file.finish()
    });
    written.map_err(|source| failed("write", path, source))
}

fn write_sections(
    sections: &mut Sections,
    kind: Kind,
    ranked: &Ranked<'_>,
) -> Result<(), std::io::Error> {
    let rows = ranked.ranks.len() as u64;
    let (distinct, text_bytes) = match &ranked.values {
        Values::Keys(keys) => (keys.len(), 0),
        Values::Texts(texts) => (texts.len(), texts.iter().map(|text| text.len() as u64).sum()),
    };
    let width = width(distinct as u64 + 2);
    let is_marked = starts::is_marked(ranked.ranks.len(), distinct);
    sections.put(MAGIC[usize::from(is_marked)])?;
    sections.put(&kind.tag().to_le_bytes())?;
    sections.put(&(width as u32).to_le_bytes())?;
    for number in [rows, distinct as u64, text_bytes] {
        sections.put(&number.to_le_bytes())?;
    }
    sections.pad(HEADER_BYTES as u64)?;
    if is_marked {
        let (of_values, others) = ranked.starts.split_at(distinct);
        sections.put_all(others.iter().map(|start| start.to_le_bytes()))?;
        let (before, words) = starts::marks(ranked.ranks.len(), of_values);
        sections.put_all(before.iter().map(|ones| ones.to_le_bytes()))?;
        sections.put_all(words.iter().map(|word| word.to_le_bytes()))?;
    } else {
        sections.put_all(ranked.starts.iter().map(|start| start.to_le_bytes()))?;
    }
    match &ranked.values {
        Values::Keys(keys) => sections.put_all(keys.iter().map(|key| key.to_le_bytes()))?,
        Values::Texts(texts) => {
            let mut end = 0u64;
            sections.put(&end.to_le_bytes())?;
            for text in texts {
                end += text.len() as u64;
                sections.put(&end.to_le_bytes())?;
            }
            sections.pad(8)?;
            texts.iter().try_for_each(|text| sections.put(text.as_bytes()))?;
            sections.pad(8)?;
        }
    }
    sections.put_all(ranked.order.iter().map(|row| row.to_le_bytes()))?;
    let ranks = ranked.ranks.iter();
    match width {
        1 => sections.put_all(ranks.map(|&rank| (rank as u8).to_le_bytes())),
        2 => sections.put_all(ranks.map(|&rank| (rank as u16).to_le_bytes())),
        _ => sections.put_all(ranks.map(|rank| rank.to_le_bytes())),
    }
}

/// A file that counts its bytes.
struct Sections {
    file: Pieces,
    len: u64,
}

impl Sections {
    fn put(&mut self, bytes: &[u8]) -> Result<(), std::io::Error> {
        self.len += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// One whole section.
    fn put_all<const SIZE: usize>(
        &mut self,
        numbers: impl Iterator<Item = [u8; SIZE]>,
    ) -> Result<(), std::io::Error> {
        for number in numbers {
            self.put(&number)?;
        }
        self.pad(8)
    }

    fn pad(&mut self, multiple: u64) -> Result<(), std::io::Error> {
        let zeros = self.len.next_multiple_of(multiple) - self.len;
        (0..zeros).try_for_each(|_| self.put(&[0]))
    }
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> EngineError {
    EngineError::SegmentFile { action, path: path.display().to_string(), source }
}
