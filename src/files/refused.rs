//! Rows that were not taken, and the report that lists them.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::FileError;

/// A row that was left out, with the reason; the other rows go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRow {
    /// Row of the file or batch, from 0; a header line does not count.
    pub row: u64,
    /// Id of the object, as far as it could be read; may be empty.
    pub object_id: String,
    /// What is wrong with the row.
    pub reason: String,
}

/// Writes `FILE.refused.csv` (row, object_id, reason), and only when a row was refused.
#[derive(Debug)]
pub struct RefusedReport {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    count: u64,
}

impl RefusedReport {
    const HEADER: &'static str = "row,object_id,reason";

    /// A report beside the imported file, or, of a pipe, where the program runs; a bracketed FITS extension stays out of the name.
    pub fn beside(imported: &Path) -> Self {
        let place = super::Location::parse(imported).path;
        let is_kept = place.is_file() || !place.exists();
        let mut name = match place.file_name().filter(|_| !is_kept) {
            Some(name) => name.to_owned(),
            None => place.into_os_string(),
        };
        name.push(".refused.csv");
        Self::at(PathBuf::from(name))
    }

    /// A report at a path of the caller's choice.
    pub fn at(path: PathBuf) -> Self {
        Self { path, file: None, count: 0 }
    }

    /// Where the report is, or would be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Rows refused so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds one row.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn push(&mut self, refused: &RefusedRow) -> Result<(), FileError> {
        self.count += 1;
        self.write(refused)
            .map_err(|source| FileError::Write { path: self.path.display().to_string(), source })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn extend<'a>(
        &mut self,
        refused: impl IntoIterator<Item = &'a RefusedRow>,
    ) -> Result<(), FileError> {
        refused.into_iter().try_for_each(|row| self.push(row))
    }

    /// Ends the report: its path and count, or `None` when no row was refused. A report that an earlier run left at
    /// the same place is removed then, so that it does not speak for this run.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn finish(mut self) -> Result<Option<(PathBuf, u64)>, FileError> {
        let Some(mut file) = self.file.take() else {
            if self.is_of_an_earlier_run() {
                std::fs::remove_file(&self.path).map_err(|source| FileError::Write {
                    path: self.path.display().to_string(),
                    source,
                })?;
            }
            return Ok(None);
        };
        file.flush()
            .map_err(|source| FileError::Write { path: self.path.display().to_string(), source })?;
        Ok(Some((self.path, self.count)))
    }

    fn is_of_an_earlier_run(&self) -> bool {
        let Ok(file) = File::open(&self.path) else {
            return false;
        };
        let mut line = String::new();
        BufReader::new(file).read_line(&mut line).is_ok() && line.trim_end() == Self::HEADER
    }

    /// Makes the file, in the working directory where the imported file's own folder is not writable (archives), or else in the
    /// folder of temporary files: the rows that can be taken must not wait for a list of the others.
    fn create(&mut self, working: &Path, temporary: &Path) -> std::io::Result<File> {
        let first = match File::create(&self.path) {
            Ok(file) => return Ok(file),
            Err(error) => error,
        };
        let Some(name) = self.path.file_name().map(OsString::from) else { return Err(first) };
        let beside = working.join(&name);
        if let Ok(file) = File::create(&beside) {
            self.path = beside;
            return Ok(file);
        }
        // Others write there, too: what is there already, a link perhaps, is not opened.
        let mut own = OsString::from(format!("sidereus-{}-", std::process::id()));
        own.push(name);
        let own = temporary.join(own);
        let file = File::create_new(&own).map_err(|_| first)?;
        self.path = own;
        Ok(file)
    }

    fn write(&mut self, refused: &RefusedRow) -> std::io::Result<()> {
        let file = if let Some(file) = &mut self.file {
            file
        } else {
            let made = self.create(Path::new(""), &std::env::temp_dir())?;
            let mut file = BufWriter::new(made);
            writeln!(file, "{}", Self::HEADER)?;
            self.file.insert(file)
        };
        let (id, reason) = (quoted(&refused.object_id), quoted(&refused.reason));
        writeln!(file, "{},{id},{reason}", refused.row)
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r', ';', '\t']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u64, reason: &str) -> RefusedRow {
        RefusedRow { row: number, object_id: "a,b".to_owned(), reason: reason.to_owned() }
    }

    #[test]
    fn a_report_exists_only_when_a_row_was_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let table = folder.path().join("t.csv");
        let report = RefusedReport::beside(&table);
        assert!(report.finish().expect("nothing to write").is_none());
        assert!(!folder.path().join("t.csv.refused.csv").exists());

        let mut report = RefusedReport::beside(&table);
        report.extend(&[row(3, "dec is \"x\""), row(9, "plain")]).expect("written");
        let (path, count) = report.finish().expect("flushed").expect("rows");
        assert_eq!(count, 2);
        let text = std::fs::read_to_string(&path).expect("readable");
        let wanted = "row,object_id,reason\n3,\"a,b\",\"dec is \"\"x\"\"\"\n9,\"a,b\",plain\n";
        assert_eq!(text, wanted);

        // The next clean run takes the old report away, and nothing that is not a report.
        assert!(RefusedReport::beside(&table).finish().expect("removed").is_none());
        assert!(!path.exists());
        std::fs::write(&path, "mine\n").expect("written");
        assert!(RefusedReport::beside(&table).finish().expect("kept").is_none());
        assert!(path.exists());
    }

    #[test]
    fn a_report_is_written_where_it_can_be() {
        let folder = tempfile::tempdir().expect("folder");
        let nowhere = folder.path().join("nowhere");
        let made = |working: &Path, temporary: &Path| {
            let mut report = RefusedReport::beside(&nowhere.join("t.csv"));
            report.create(working, temporary).map(|_| report.path)
        };
        let beside = made(folder.path(), &nowhere).expect("where the program runs");
        assert_eq!(beside, folder.path().join("t.csv.refused.csv"));
        let own = made(&nowhere, folder.path()).expect("among the temporary files");
        assert_eq!(own.parent(), Some(folder.path()));
        assert!(own != beside && own.to_string_lossy().ends_with("-t.csv.refused.csv"), "{own:?}");
        let again = made(&nowhere, folder.path()).expect_err("that one is there already");
        assert_eq!(again.kind(), std::io::ErrorKind::NotFound, "the first reason is told");
    }
}
