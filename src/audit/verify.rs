//! Reads a log and says whether it is whole.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;

use super::AuditError;
use super::chain::{Head, hash_of};
use super::folder::{self, before, file_name, numbers};

/// Faults that are told; where there are more, the rest is counted.
const FAULTS_TOLD_MAX: usize = 100;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// The line in it, from 1; 0 for the file as a whole.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

/// What the log says about itself: a crash, a full disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Number of the entry.
    pub n: u64,
    /// When.
    pub at: String,
    /// What.
    pub text: String,
}

/// What a log is found to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries that are as they were written.
    pub entries: u64,
    /// Files.
    pub files: u64,
    /// Time of the first entry.
    pub first: Option<String>,
    /// Time of the last entry.
    pub last: Option<String>,
    /// Number and hash of the last entry: kept elsewhere, they tell whether somebody has written the whole log anew.
    pub head: (u64, String),
    /// What is wrong; at most a hundred are told.
    pub faults: Vec<Fault>,
    /// How many faults there are.
    pub fault_count: u64,
    /// What the log tells of itself.
    pub notes: Vec<Note>,
    /// Bytes of a line that is being written, or that a crash left; the server puts them aside when it starts.
    pub unfinished_bytes: u64,
}

impl Summary {
    /// Whether every entry is as it was written, and none is missing.
    pub fn is_whole(&self) -> bool {
        self.fault_count == 0
    }

    /// Notes a fault where the log does not have an entry that it once had, by its number and hash.
    ///
    /// # Errors
    /// [`AuditError::Unreadable`].
    pub fn expect(&mut self, path: &Path, n: u64, hash: &str) -> Result<(), AuditError> {
        let mut found = None;
        read(path, &mut |line| {
            if line.n == n {
                found = Some(line.hash);
            }
        })?;
        let what = match found {
            Some(found) if found == hash => return Ok(()),
            Some(found) => {
                format!("entry {n} has hash {found} and had {hash}: it was written anew")
            }
            None => format!("entry {n}, which was there, is missing"),
        };
        self.fault(folder::HEAD, 0, what);
        Ok(())
    }

    fn fault(&mut self, file: &str, line: u64, what: String) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_TOLD_MAX {
            self.faults.push(Fault { file: file.to_owned(), line, what });
        }
    }
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Line {
    /// Its number.
    pub n: u64,
    /// When the call came.
    pub at: String,
    /// Who called.
    #[serde(default)]
    pub identity: String,
    /// How he has shown it.
    #[serde(default)]
    pub proof: String,
    /// From where.
    #[serde(default)]
    pub peer: String,
    /// The method.
    #[serde(default)]
    pub verb: String,
    /// The collection.
    #[serde(default)]
    pub collection: Option<String>,
    /// The role that was needed.
    #[serde(default)]
    pub role: Option<String>,
    /// `allowed` or `denied`.
    #[serde(default)]
    pub decision: String,
    /// Why it was denied.
    #[serde(default)]
    pub reason: Option<String>,
    /// The code of the answer.
    #[serde(default)]
    pub code: String,
    /// Rows.
    #[serde(default)]
    pub rows: u64,
    /// Bytes of the answer.
    #[serde(default)]
    pub bytes: u64,
    /// Milliseconds.
    #[serde(default)]
    pub duration_ms: f64,
    /// What the log says about itself, in place of a call.
    #[serde(default)]
    pub note: Option<String>,
    /// The hash of the line.
    #[serde(default)]
    pub hash: String,
}

/// Checks a log from its first line to its last. A server may be writing it meanwhile: what it appends is checked as far as it is
/// there.
///
/// # Errors
/// [`AuditError::Unreadable`]; what is wrong with the log itself is in the summary.
pub fn verify(path: &Path) -> Result<Summary, AuditError> {
    // First the head: what it knows is on the disk by now, whatever is appended later.
    let told = settled_head(path)?;
    let mut summary = Summary::default();
    let mut walk = Walk { head: Head::default(), in_step: true, told: None };
    if let Some(Ok(told)) = &told {
        walk.told = Some(told.clone());
    }
    let numbers = numbers(path)?;
    for (place, number) in numbers.iter().enumerate() {
        let name = file_name(*number);
        if *number != place as u64 + 1 && (place == 0 || numbers[place - 1] + 1 != *number) {
            summary.fault(&name, 0, "the file before it is missing".to_owned());
        }
        let is_last = place + 1 == numbers.len();
        walk.file(path, &name, is_last, &mut summary)?;
    }
    summary.files = numbers.len() as u64;
    match told {
        Some(Ok(told)) if told.n > walk.head.n => {
            let missing = told.n - walk.head.n;
            let what = format!(
                "{missing} entries are missing at the end: {} were written, the last is number {}",
                told.n, walk.head.n
            );
            let name =
                numbers.last().map_or_else(|| folder::HEAD.to_owned(), |last| file_name(*last));
            summary.fault(&name, 0, what);
        }
        Some(Err(())) => {
            summary.fault(folder::HEAD, 1, "it cannot be read: it was changed".to_owned());
        }
        None if walk.head.n > 0 => summary.fault(folder::HEAD, 0, "it is missing".to_owned()),
        Some(Ok(_)) | None => {}
    }
    summary.head = (walk.head.n, walk.head.hash);
    Ok(summary)
}

/// The head; one that has no meaning may be just being written, and is read again.
fn settled_head(path: &Path) -> Result<Option<Result<Head, ()>>, AuditError> {
    for _ in 0..3 {
        match folder::head(path)? {
            Some(Err(())) => std::thread::sleep(std::time::Duration::from_millis(1)),
            settled => return Ok(settled),
        }
    }
    folder::head(path)
}

/// A walk along the chain.
struct Walk {
    head: Head,
    /// Whether the line before was good, so that the next has to follow it.
    in_step: bool,
    told: Option<Head>,
}

impl Walk {
    fn file(
        &mut self,
        path: &Path,
        name: &str,
        is_last: bool,
        summary: &mut Summary,
    ) -> Result<(), AuditError> {
        let whole = path.join(name);
        let unreadable = |error| AuditError::unreadable(&whole, error);
        let mut reader = BufReader::new(File::open(&whole).map_err(unreadable)?);
        let mut line = Vec::new();
        for place in 1.. {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
                return Ok(());
            }
            if line.pop_if(|byte| *byte == b'\n').is_none() {
                // Nothing that the head knows of may be unfinished; that more were written is told at the end.
                if is_last {
                    summary.unfinished_bytes = line.len() as u64;
                } else {
                    summary.fault(name, place, "the line is cut off".to_owned());
                    self.in_step = false;
                }
                return Ok(());
            }
            self.line(path, name, place, &line, summary);
        }
        Ok(())
    }

    fn line(&mut self, path: &Path, name: &str, place: u64, line: &[u8], summary: &mut Summary) {
        let mut next = self.head.clone();
        if !self.in_step
            && let Some(before) = before(line)
        {
            next = before;
        }
        match next.accept(line) {
            Ok(value) => {
                if let Some(told) = self.told.as_ref().filter(|told| told.n == next.n)
                    && told.hash != next.hash
                {
                    let what = format!("entry {} is another than the one that was written", next.n);
                    summary.fault(name, place, what);
                }
                self.head = next;
                self.in_step = true;
                summary.entries += 1;
                tell(path, name, place, &value, summary);
            }
            Err(what) => {
                summary.fault(name, place, what);
                // One fault is told once: the next line that is good by itself is where the walk goes on.
                match before(line).filter(|before| before.clone().accept(line).is_ok()) {
                    Some(mut before) => {
                        self.in_step = before.accept(line).is_ok();
                        self.head = before;
                    }
                    None => {
                        self.head.n += 1;
                        self.in_step = false;
                    }
                }
            }
        }
    }
}

/// Notes times and remarks of a good line.
fn tell(path: &Path, name: &str, place: u64, value: &serde_json::Value, summary: &mut Summary) {
    let text = |key: &str| value.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    let at = text("at").unwrap_or_default();
    summary.first.get_or_insert_with(|| at.clone());
    summary.last = Some(at.clone());
    let Some(note) = text("note") else { return };
    let n = value.get("n").and_then(serde_json::Value::as_u64).unwrap_or_default();
    summary.notes.push(Note { n, at, text: note });
    if let (Some(kept), Some(hash)) = (text("kept"), text("kept_hash")) {
        let is_name = kept.starts_with("torn-before-") && !kept.contains(['/', '\\']);
        match fs::read(path.join(&kept)).ok().filter(|_| is_name) {
            Some(bytes) if hash_of(&bytes) == hash => {}
            Some(_) => summary.fault(&kept, 0, "what was put aside was changed".to_owned()),
            None => {
                summary.fault(name, place, format!("`{kept}`, which was put aside, is missing"));
            }
        }
    }
}

/// Hands on the lines of a log in order; what is no line is passed over. Returns how many were.
///
/// # Errors
/// [`AuditError::Unreadable`].
pub fn read(path: &Path, each: &mut dyn FnMut(Line)) -> Result<u64, AuditError> {
    let mut passed_over = 0;
    for number in numbers(path)? {
        let whole = path.join(file_name(number));
        let unreadable = |error| AuditError::unreadable(&whole, error);
        let mut reader = BufReader::new(File::open(&whole).map_err(unreadable)?);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).map_err(unreadable)? > 0 {
            match serde_json::from_slice(&line) {
                Ok(read) => each(read),
                Err(_) => passed_over += 1,
            }
            line.clear();
        }
    }
    Ok(passed_over)
}
