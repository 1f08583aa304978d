//! The beginning of a text table: byte-order mark, comment lines, delimiter and column names.

use std::io::{BufRead, Read};

/// Longest first line.
const LINE_BYTES_MAX: u64 = 4 << 20;

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Where the rows begin and what their columns are called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) delimiter: u8,
    pub(super) names: Vec<String>,
    /// First byte of the rows.
    pub(super) start: u64,
    /// What was read of the rows.
    pub(super) again: Vec<u8>,
}

/// Reads the head. Lines that begin with `#` are skipped, except that the last of them gives the names when the
/// first other line has numbers, and as many of them as names (as NumPy's `savetxt` writes it). `Ok(Err(..))` says why there is no header.
pub(super) fn read(source: &mut impl BufRead) -> std::io::Result<Result<Head, String>> {
    let mut comment: Option<Vec<u8>> = None;
    let mut place = 0_u64;
    loop {
        let mut line = Vec::new();
        let length = source.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? as u64;
        if length == 0 {
            return Ok(Err("it is empty".to_owned()));
        }
        place += length;
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
        if text.is_empty() {
            continue;
        }
        if let Some(rest) = text.strip_prefix(b"#") {
            comment = Some(rest.trim_ascii_start().to_vec());
            continue;
        }
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        return Ok(choose(text, comment.as_deref(), place));
    }
}

fn choose(line: &[u8], comment: Option<&[u8]>, end: u64) -> Result<Head, String> {
    let delimiter = delimiter_of(line);
    let names = split(line, delimiter);
    let is_number = |name: &String| name.trim().parse::<f64>().is_ok();
    let commented = comment.map(|comment| split(comment, delimiter)).unwrap_or_default();
    // Names are seldom numbers, so a line that has some is a row where the comment has as many names.
    let is_row = names.iter().any(is_number);
    if is_row && commented.len() == names.len() && !commented.iter().any(is_number) {
        let start = end - line.len() as u64;
        return Ok(Head { delimiter, names: commented, start, again: line.to_vec() });
    }
    if !names.iter().all(is_number) {
        return Ok(Head { delimiter, names, start: end, again: Vec::new() });
    }
    let shown: String = String::from_utf8_lossy(line).trim_end().chars().take(60).collect();
    Err(format!("its first line is `{shown}`"))
}

fn delimiter_of(line: &[u8]) -> u8 {
    let mut counts = [0_usize; DELIMITERS.len()];
    let mut quoted = false;
    for byte in line {
        if *byte == b'"' {
            quoted = !quoted;
        } else if !quoted {
            for (count, delimiter) in counts.iter_mut().zip(DELIMITERS) {
                *count += usize::from(*byte == delimiter);
            }
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0);
    let chosen = counts.iter().zip(DELIMITERS).find(|(count, _)| **count == most && most > 0);
    chosen.map_or(b',', |(_, delimiter)| delimiter)
}

fn split(line: &[u8], delimiter: u8) -> Vec<String> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(line);
    let mut record = csv::ByteRecord::new();
    // Reading from memory cannot fail; a line that is no record has no names.
    let _ = reader.read_byte_record(&mut record);
    record
        .iter()
        .enumerate()
        .map(|(place, name)| match String::from_utf8_lossy(name).trim() {
            "" => format!("col{}", place + 1),
            name => name.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head, String> {
        read(&mut text.as_bytes()).expect("memory can be read")
    }

    #[test]
    fn delimiters_comments_and_marks_are_found() {
        let names = |text: &str| head(text).map(|head| (head.delimiter, head.names, head.start));
        let three = || ["a", "b c", "d"].map(str::to_owned).to_vec();
        assert_eq!(names("a,b c,d\n1,2,3\n"), Ok((b',', three(), 8)));
        assert_eq!(names("\u{feff}a;b c;d\n1,5;2;3\n"), Ok((b';', three(), 11)));
        assert_eq!(names("a\tb c\td"), Ok((b'\t', three(), 7)));
        assert_eq!(names("# made by me\n\na,\"b c\",d\n"), Ok((b',', three(), 24)));
        assert_eq!(names("# a,b c,d\n1,2,3\n"), Ok((b',', three(), 10)));
        assert_eq!(names("#a,b c,d\n1,2,STAR\n"), Ok((b',', three(), 9)));
        assert_eq!(names("# by me, 2026\na,b c,d\n"), Ok((b',', three(), 22)));
        assert_eq!(names("x,,y\n").map(|(_, names, _)| names[1].clone()), Ok("col2".to_owned()));
        assert!(names("1,2,3\n4,5,6\n").expect_err("numbers").contains("`1,2,3`"));
        assert!(names("").is_err());
    }
}
