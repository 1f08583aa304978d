//! Source files, and their text without comments and literals.

use std::path::Path;

/// A source file.
pub(super) struct Source {
    /// Path from the root of the repository, with forward slashes.
    pub path: String,
    /// As it is.
    pub text: String,
    /// The same lines with the content of comments, strings and characters blanked.
    pub code: String,
    /// [`Self::code`] with `#[cfg(test)]` blocks blanked; empty for files of tests.
    pub product: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = blank_literals(text);
        let product = if is_test_file(path) { String::new() } else { blank_test_blocks(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, product }
    }

    pub(super) fn is_test(&self) -> bool {
        is_test_file(&self.path)
    }

    /// The folder below `src`, which names the floor; `None` for the roots and for tests.
    pub(super) fn module(&self) -> Option<&str> {
        let (module, _) = self.path.strip_prefix("src/")?.split_once('/')?;
        Some(module)
    }
}

fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/")
        || path.starts_with("benches/")
        || path.ends_with("tests.rs")
        || path.contains("/tests/")
}

/// Every Rust file below a folder.
pub(super) fn read_all(folder: &Path, root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return sources };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            sources.extend(read_all(&path, root));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("below the root").display().to_string();
            sources.push(Source::new(&name, &std::fs::read_to_string(&path).expect("text")));
        }
    }
    sources
}

/// Replaces what is inside comments, strings and character literals by blanks; lines stay.
fn blank_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none does.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let word_before = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if rest.starts_with(b"//") {
        return find(bytes, at, b"\n").unwrap_or(bytes.len());
    }
    if rest.starts_with(b"/*") {
        return find(bytes, at, b"*/").map_or(bytes.len(), |end| end + 2);
    }
    if !word_before && (rest.starts_with(b"r\"") || rest.starts_with(b"r#")) {
        return raw_string_end(bytes, at + 1).unwrap_or(at);
    }
    if !word_before && (rest.starts_with(b"br\"") || rest.starts_with(b"br#")) {
        return raw_string_end(bytes, at + 2).unwrap_or(at);
    }
    match rest.first() {
        Some(b'"') => quoted_end(bytes, at, b'"'),
        Some(b'\'') => char_end(bytes, at),
        _ => at,
    }
}

fn find(bytes: &[u8], from: usize, wanted: &[u8]) -> Option<usize> {
    bytes[from..].windows(wanted.len()).position(|window| window == wanted).map(|at| from + at)
}

/// `None` when the `#` is that of an identifier such as `r#type`.
fn raw_string_end(bytes: &[u8], hashes_from: usize) -> Option<usize> {
    let hashes = bytes[hashes_from..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(hashes_from + hashes) != Some(&b'"') {
        return None;
    }
    let mut closing = vec![b'"'];
    closing.resize(hashes + 1, b'#');
    let end = find(bytes, hashes_from + hashes + 1, &closing);
    Some(end.map_or(bytes.len(), |end| end + closing.len()))
}

fn quoted_end(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut end = at + 1;
    while end < bytes.len() {
        match bytes[end] {
            b'\\' => end += 2,
            byte if byte == quote => return end + 1,
            _ => end += 1,
        }
    }
    bytes.len()
}

/// A character literal, or `at` for a lifetime.
fn char_end(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        return quoted_end(bytes, at, b'\'');
    }
    // One character of up to four bytes, then the closing quote.
    let closing = (2..=5).find(|step| bytes.get(at + step) == Some(&b'\''));
    let one_character = closing.filter(|step| {
        std::str::from_utf8(&bytes[at + 1..at + step]).is_ok_and(|text| text.chars().count() == 1)
    });
    one_character.map_or(at, |step| at + step + 1)
}

/// Blanks every block or item behind `#[cfg(test)]`.
fn blank_test_blocks(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let end = item_end(item);
        out.extend(item[..end].chars().map(|each| if each == '\n' { '\n' } else { ' ' }));
        rest = &item[end..];
    }
    out.push_str(rest);
    out
}

/// The end of an item: its closing brace, or the semicolon of one without a body.
pub(super) fn item_end(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, each) in item.char_indices() {
        match each {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    item.len()
}

#[test]
fn literals_and_comments_are_blanked() {
    let code = |text: &str| Source::new("src/a.rs", text).code;
    assert_eq!(code("a // b\nc"), "a     \nc");
    assert_eq!(code(r#"f("x\"y", 'z', '\'')"#), "f(      ,    ,     )");
    assert_eq!(code("fn f<'a>(x: &'a str)"), "fn f<'a>(x: &'a str)");
    assert_eq!(code("r#type + r#\"a\"b\"#"), "r#type +         ");
    assert_eq!(code("/* a\nb */c"), "    \n    c");
}
