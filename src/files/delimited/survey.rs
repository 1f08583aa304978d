//! What the columns of a text table hold, found out before any of its rows is handed out.

use csv::ByteRecord;

use super::guess::Evidence;
use crate::schema::ColumnType;

/// Letters of a value that is shown.
const WORD_CHARS: usize = 40;

/// A column and its type.
#[derive(Debug, Clone)]
pub(super) struct TypedColumn {
    pub(super) name: String,
    pub(super) kind: ColumnType,
    /// Whether a collection says so.
    pub(super) is_known: bool,
}

/// The columns of a table and the rows that were looked at.
#[derive(Debug)]
pub(super) struct Survey {
    columns: Vec<Surveyed>,
    /// Rows so far, of whatever shape.
    pub(super) rows: u64,
}

#[derive(Debug)]
struct Surveyed {
    name: String,
    /// What a collection says of it.
    known: Option<ColumnType>,
    evidence: Evidence,
    /// The first value that is no plain number, and why it is none.
    odd: Option<(String, &'static str)>,
}

impl Surveyed {
    fn see(&mut self, value: &[u8]) {
        let value = String::from_utf8_lossy(value);
        if let (Some(why), None) = (self.evidence.see(&value), &self.odd) {
            self.odd = Some((value.trim().chars().take(WORD_CHARS).collect(), why));
        }
    }

    fn kind(&self) -> ColumnType {
        self.known.unwrap_or_else(|| self.evidence.column_type())
    }

    /// What is to be said of its type: stray words make texts of all numbers, and no value at all says nothing.
    fn doubt(&self, rows: &str) -> Option<String> {
        let name = &self.name;
        if self.known.is_some() {
            return None;
        }
        if self.evidence.is_none() {
            return Some(format!(
                "column `{name}` is stored as text: no value in {rows} tells its type; \
                 `sidereus collection create --schema` makes the collection with another"
            ));
        }
        let (value, why) = self.odd.as_ref().filter(|_| self.kind() == ColumnType::Text)?;
        let (numbers, seen) = self.evidence.mostly_numbers()?;
        Some(format!(
            "column `{name}` holds texts, since `{value}` {why}; {numbers} of {seen} values in {rows} are plain numbers"
        ))
    }
}

impl Survey {
    /// Of columns, some of which are known to have a type.
    pub(super) fn new(columns: impl Iterator<Item = (String, Option<ColumnType>)>) -> Self {
        let columns = columns.map(|(name, known)| {
            let evidence = Evidence::default();
            Surveyed { name, known, evidence, odd: None }
        });
        Self { columns: columns.collect(), rows: 0 }
    }

    /// Takes a row into account.
    pub(super) fn see(&mut self, record: &ByteRecord) {
        self.rows += 1;
        if record.len() != self.columns.len() {
            return;
        }
        for (column, value) in self.columns.iter_mut().zip(record) {
            if column.known.is_none() {
                column.see(value);
            }
        }
    }

    /// What is to be said of the types, a sentence a column; `rows` are those that were looked at. Of an empty file there is nothing
    /// to say.
    pub(super) fn doubts(&self, rows: &str) -> Vec<String> {
        let columns = self.columns.iter().filter(|_| self.rows > 0);
        columns.filter_map(|column| column.doubt(rows)).collect()
    }

    /// All columns.
    pub(super) fn columns(&self) -> Vec<TypedColumn> {
        let typed = |column: &Surveyed| TypedColumn {
            name: column.name.clone(),
            kind: column.kind(),
            is_known: column.known.is_some(),
        };
        self.columns.iter().map(typed).collect()
    }
}
