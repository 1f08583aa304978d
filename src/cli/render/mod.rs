//! Results on standard output: tables for people, JSON and CSV for programs.

mod base64;
mod cell;
mod json;
mod number;
mod table;

use std::io::Write;

use anyhow::Result;
use clap::ValueEnum;

pub(super) use base64::encode as base64_text;
pub(super) use cell::Cell;
pub(super) use json::Json;
pub(super) use number::{bytes, duration, significant, thousands};
pub(super) use table::Table;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people: fitted to the terminal, numbers rounded
    Table,
    /// For programs: full precision, 64-bit ids as strings, null for what is missing
    Json,
    /// For spreadsheets and scripts: full precision, empty for what is missing
    Csv,
}

/// Writes text to standard output. A closed pipe is an error that the caller's end takes for success.
pub(super) fn write_out(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints one JSON value on one line.
pub(super) fn print_json(value: &Json) -> Result<()> {
    write_out(&(value.to_line()? + "\n"))
}

/// Prints a table in the wanted format; as JSON it is a list of objects.
pub(super) fn print_table(table: &Table, format: Format) -> Result<()> {
    match format {
        Format::Table => write_out(&table.to_text(terminal_width())),
        Format::Json => print_json(&table.to_json()),
        Format::Csv => write_out(&table.to_csv()),
    }
}

/// Prints named facts: a line each for people, never cut, one object as JSON, two columns as CSV.
pub(super) fn print_facts(facts: &[(&str, Cell)], format: Format) -> Result<()> {
    match format {
        Format::Table => {
            let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            let lines =
                facts.iter().map(|(name, cell)| format!("{name:<width$}  {}\n", cell.to_text()));
            write_out(&lines.collect::<String>())
        }
        Format::Json => {
            print_json(&Json::object(facts.iter().map(|(name, cell)| (*name, cell.to_json()))))
        }
        Format::Csv => {
            let mut table = Table::new(["name", "value"]);
            for (name, cell) in facts {
                table.push(vec![Cell::text(*name), cell.clone()]);
            }
            write_out(&table.to_csv())
        }
    }
}

/// Columns of the terminal, or what `COLUMNS` says; `None` where nobody reads along, and nothing need be cut.
fn terminal_width() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.trim().parse().ok());
    let size = || console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    said.filter(|columns| *columns > 0).or_else(size)
}
