//! What came of an import.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::cli::failure::{Interrupted, one_line, say};
use crate::cli::render::{
    Cell, Format, Json, Table, duration, print_json, print_table, thousands, write_out,
};
use crate::files::RefusedRow;

/// Refused rows that are shown; all are in the report file.
const REFUSED_SHOWN: usize = 3;

/// What came of one file.
#[derive(Debug, Clone, Default)]
pub(super) struct FileSummary {
    pub(super) path: PathBuf,
    /// Rows of the file.
    pub(super) read: u64,
    /// Rows that became new objects.
    pub(super) inserted: u64,
    /// Rows that took the place of an object, or of an earlier row of the same id.
    pub(super) replaced: u64,
    /// Rows that could not be taken.
    pub(super) refused: u64,
    /// Where those are listed.
    pub(super) report: Option<PathBuf>,
    pub(super) seconds: f64,
    /// Columns and spaces of the collection that the file has not, where rows replace whole objects.
    pub(super) absent: Vec<String>,
    /// Whether somebody stopped it before its end.
    pub(super) is_cut: bool,
    first_refused: Vec<RefusedRow>,
}

impl FileSummary {
    /// Rows that are in the database.
    pub(super) fn written(&self) -> u64 {
        self.inserted + self.replaced
    }

    /// Counts refused rows and keeps the first.
    pub(super) fn note_refused(&mut self, rows: &[RefusedRow]) {
        self.refused += rows.len() as u64;
        let room = REFUSED_SHOWN.saturating_sub(self.first_refused.len());
        self.first_refused.extend(rows.iter().take(room).cloned());
    }

    /// What replaced objects have lost, if they may have lost something.
    fn loss(&self) -> Option<String> {
        const NAMED: usize = 6;
        if self.replaced == 0 || self.absent.is_empty() {
            return None;
        }
        let mut names = self.absent.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        if self.absent.len() > NAMED {
            names.push_str(&format!(" and {} more", self.absent.len() - NAMED));
        }
        let is = if self.absent.len() == 1 { "is" } else { "are" };
        let objects = match self.replaced {
            1 => "1 replaced object has".to_owned(),
            many => format!("{} replaced objects have", thousands(many)),
        };
        Some(format!(
            "{names} {is} not in the file: {objects} none now; --merge keeps what is there"
        ))
    }

    fn print_refused(&self) {
        for row in &self.first_refused {
            let id = if row.object_id.is_empty() {
                String::new()
            } else {
                format!(" (object {})", row.object_id)
            };
            say(&format!("refused: row {}{id}: {}", row.row, one_line(&row.reason)));
        }
        if let Some(report) = &self.report {
            let rows = match self.refused {
                1 => "1 refused row is".to_owned(),
                many => format!("{} refused rows are", thousands(many)),
            };
            say(&format!("{rows} listed in {}", report.display()));
        }
    }
}

/// What came of all files.
#[derive(Debug, Default)]
pub(super) struct Summary {
    collection: String,
    /// Whether the collection was made for it, so that what was replaced came earlier in the same files.
    is_new: bool,
    /// Whether rows keep what they had and the file does not have.
    is_merged: bool,
    /// Whether the collection that was made for it is gone again.
    is_taken_back: bool,
    files: Vec<FileSummary>,
}

impl Summary {
    pub(super) fn new(collection: &str, is_new: bool, is_merged: bool) -> Self {
        Self { collection: collection.to_owned(), is_new, is_merged, ..Self::default() }
    }

    /// The collection that was made for it is gone again.
    pub(super) fn take_back(&mut self) {
        self.is_taken_back = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether somebody stopped it before its end.
    pub(super) fn is_cut(&self) -> bool {
        self.files.iter().any(|file| file.is_cut)
    }

    /// Whether there were rows, and none could be taken.
    pub(super) fn is_all_refused(&self) -> bool {
        let total = |count: fn(&FileSummary) -> u64| self.files.iter().map(count).sum::<u64>();
        total(FileSummary::written) == 0 && total(|file| file.refused) > 0
    }

    /// An error where somebody stopped it, which tells how to go on.
    pub(super) fn check_whole(&self) -> Result<()> {
        if !self.is_cut() {
            return Ok(());
        }
        let again = if self.is_merged { "merged" } else { "replaced" };
        let text = if self.is_taken_back {
            "the import was stopped before anything was written; give the command again".to_owned()
        } else {
            let hint = if self.is_new { ", without --create" } else { "" };
            format!(
                "the import was stopped; what was written stays. To finish it, give the command again{hint}: rows that are there are {again}"
            )
        };
        Err(Interrupted(text).into())
    }

    /// What a note has to tell of rows that share an id.
    fn doubled(&self) -> Option<String> {
        let replaced = self.files.iter().map(|file| file.replaced).sum::<u64>();
        (self.is_new && !self.is_merged && replaced > 0).then(|| {
            let rows = match replaced {
                1 => "1 row has the object_id".to_owned(),
                many => format!("{} rows have the object_id", thousands(many)),
            };
            format!("{rows} of an earlier row and took its place; of each id the last row is kept")
        })
    }

    pub(super) fn push(&mut self, file: FileSummary) {
        file.print_refused();
        if let Some(loss) = file.loss() {
            say(&format!("note: {loss}"));
        }
        self.files.push(file);
    }

    /// Prints the summary; an error when nothing at all could be taken.
    pub(super) fn print(&self, format: Format) -> Result<()> {
        match format {
            Format::Table => {
                for file in &self.files {
                    write_out(&self.line(file))?;
                }
            }
            Format::Json => print_json(&Json::object([
                ("collection", Cell::text(&self.collection).to_json()),
                ("files", self.table().to_json()),
            ]))?,
            Format::Csv => print_table(&self.table(), format)?,
        }
        if let Some(note) = self.doubled() {
            say(&format!("note: {note}"));
        }
        if self.is_all_refused() {
            bail!("no row could be imported; the reasons are in the .refused.csv file");
        }
        Ok(())
    }

    fn line(&self, file: &FileSummary) -> String {
        // The rate of a handful of rows is that of opening the file.
        const RATED_ROWS: u64 = 1_000;
        let rate = (file.read as f64 / file.seconds.max(1e-3)) as u64;
        let rate = if file.read < RATED_ROWS {
            String::new()
        } else {
            format!(" ({} rows/s)", thousands(rate))
        };
        format!(
            "{} {} into {}: {} rows read, {} inserted, {} replaced, {} refused, in {}{rate}\n",
            if file.is_cut { "imported a part of" } else { "imported" },
            file.path.display(),
            self.collection,
            thousands(file.read),
            thousands(file.inserted),
            thousands(file.replaced),
            thousands(file.refused),
            duration(Duration::from_secs_f64(file.seconds)),
        )
    }

    fn table(&self) -> Table {
        let mut table = Table::new([
            "file",
            "read",
            "inserted",
            "replaced",
            "refused",
            "refused_file",
            "seconds",
        ]);
        for file in &self.files {
            let report = file.report.as_ref();
            table.push(vec![
                Cell::text(file.path.display().to_string()),
                Cell::Count(file.read),
                Cell::Count(file.inserted),
                Cell::Count(file.replaced),
                Cell::Count(file.refused),
                report.map_or(Cell::Null, |path| Cell::text(path.display().to_string())),
                Cell::Real(file.seconds),
            ]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_refused_rows_are_kept_and_all_are_counted() {
        let mut file = FileSummary::default();
        let row = |row| RefusedRow { row, object_id: String::new(), reason: "no".to_owned() };
        file.note_refused(&[row(1), row(2)]);
        file.note_refused(&[row(3), row(4), row(5)]);
        assert_eq!(file.refused, 5);
        let kept: Vec<u64> = file.first_refused.iter().map(|row| row.row).collect();
        assert_eq!(kept, [1, 2, 3]);
    }

    #[test]
    fn what_replaced_objects_lose_is_told() {
        let absent = vec!["z".to_owned(), "vector.image".to_owned()];
        let mut file = FileSummary { absent, inserted: 3, ..FileSummary::default() };
        assert_eq!(file.loss(), None);
        file.replaced = 1_200;
        let told = "z, vector.image are not in the file: 1,200 replaced objects have none now; \
                    --merge keeps what is there";
        assert_eq!(file.loss().as_deref(), Some(told));
        file.absent.clear();
        assert_eq!(file.loss(), None);
    }

    #[test]
    fn an_import_of_nothing_but_refused_rows_fails() {
        let mut summary = Summary::new("galaxies", false, false);
        summary.push(FileSummary { refused: 2, ..FileSummary::default() });
        assert!(summary.print(Format::Csv).is_err());
    }
}
