//! `sidereus audit`: reads and checks the log of who did what. It needs no server, and disturbs none.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use super::failure::say;
use super::render::{Cell, Format, Json, Table, print_facts, print_json, print_table, thousands};
use crate::audit::{self, Line, Summary};
use crate::config::audit_folder;

/// Words of `sidereus audit`.
#[derive(Debug, Args)]
pub(super) struct AuditArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check that no entry was changed, deleted, moved or cut off since it was written
    Verify(VerifyArguments),
    /// Show entries
    Show(ShowArguments),
}

#[derive(Debug, Args)]
struct VerifyArguments {
    /// Data directory of the server, which may be running
    #[arg(long, value_name = "DIR", default_value = "sidereus-data")]
    data: PathBuf,
    /// Number and hash of an entry as an earlier check told them (NUMBER:HASH): somebody who wrote the whole log anew is found
    #[arg(long, value_name = "NUMBER:HASH")]
    known: Option<String>,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Args)]
struct ShowArguments {
    /// Data directory of the server, which may be running
    #[arg(long, value_name = "DIR", default_value = "sidereus-data")]
    data: PathBuf,
    /// Only calls of this identity
    #[arg(long, value_name = "NAME")]
    identity: Option<String>,
    /// Only calls that name this collection
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Only calls that were denied
    #[arg(long)]
    denied: bool,
    /// Only entries from a moment on: 2026-03-01, 2026-03-01T12:00:00Z (UTC), or how long ago (90s, 30m, 12h, 7d)
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Most entries, the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Runs `sidereus audit`. A log that is not whole gives an exit status that is not 0.
pub(super) fn run(arguments: AuditArguments) -> Result<ExitCode> {
    match arguments.command {
        Command::Verify(arguments) => verify(&arguments),
        Command::Show(arguments) => show(&arguments),
    }
}

/// The folder of the log; a directory that has none was perhaps mistyped.
fn folder(data: &Path) -> Result<PathBuf> {
    let folder = audit_folder(data);
    if folder.is_dir() {
        return Ok(folder);
    }
    bail!(
        "there is no audit log in {}: it is kept where the server asks who calls, or where `audit.mode` is on",
        data.display()
    )
}

fn verify(arguments: &VerifyArguments) -> Result<ExitCode> {
    let folder = folder(&arguments.data)?;
    let mut summary = audit::verify(&folder)?;
    if let Some(known) = &arguments.known {
        check_known(&folder, known, &mut summary)?;
    }
    match arguments.format {
        Format::Json => print_json(&summary_json(&summary))?,
        format => print_facts(&facts(&summary), format)?,
    }
    if arguments.format != Format::Json {
        for note in &summary.notes {
            say(&format!("note in entry {} ({}): {}", note.n, note.at, note.text));
        }
        for fault in &summary.faults {
            let line =
                if fault.line > 0 { format!(", line {}", fault.line) } else { String::new() };
            say(&format!("damaged: {}{line}: {}", fault.file, fault.what));
        }
    }
    Ok(if summary.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the log still has an entry that was known before.
fn check_known(folder: &Path, known: &str, summary: &mut Summary) -> Result<()> {
    let Some((n, hash)) = known.split_once(':') else {
        bail!("`{known}` is not NUMBER:HASH, as `sidereus audit verify` prints it");
    };
    let n: u64 = n.parse().map_err(|_| anyhow::anyhow!("`{n}` is no number of an entry"))?;
    summary.expect(folder, n, hash)?;
    Ok(())
}

fn facts(summary: &Summary) -> Vec<(&'static str, Cell)> {
    let text = |text: &Option<String>| text.clone().map_or(Cell::Null, Cell::Text);
    let verdict = if summary.is_whole() { "whole" } else { "DAMAGED" };
    let mut facts = vec![
        ("log", Cell::text(verdict)),
        ("entries", Cell::Count(summary.entries)),
        ("files", Cell::Count(summary.files)),
        ("first", text(&summary.first)),
        ("last", text(&summary.last)),
        ("head", Cell::Text(format!("{}:{}", summary.head.0, summary.head.1))),
        ("notes", Cell::Count(summary.notes.len() as u64)),
        ("faults", Cell::Count(summary.fault_count)),
    ];
    if summary.unfinished_bytes > 0 {
        facts.push(("unfinished", Cell::Bytes(summary.unfinished_bytes)));
    }
    facts
}

fn summary_json(summary: &Summary) -> Json {
    let facts = facts(summary);
    let faults = summary.faults.iter().map(|fault| {
        Json::object([
            ("file", Cell::text(&fault.file).to_json()),
            ("line", Cell::Count(fault.line).to_json()),
            ("what", Cell::text(&fault.what).to_json()),
        ])
    });
    let notes = summary.notes.iter().map(|note| {
        Json::object([
            ("n", Cell::Count(note.n).to_json()),
            ("at", Cell::text(&note.at).to_json()),
            ("text", Cell::text(&note.text).to_json()),
        ])
    });
    let (faults, notes) = (Json::List(faults.collect()), Json::List(notes.collect()));
    let plain = facts.iter().filter(|(name, _)| !["faults", "notes"].contains(name));
    let plain: Vec<_> = plain.map(|(name, cell)| (*name, cell.to_json())).collect();
    Json::object(plain.into_iter().chain([("faults", faults), ("notes", notes)]))
}

fn show(arguments: &ShowArguments) -> Result<ExitCode> {
    let folder = folder(&arguments.data)?;
    let since = arguments.since.as_deref().map(|text| audit::parse_time(text, SystemTime::now()));
    // Moments are written so that they compare as texts.
    let since = since.transpose().map_err(anyhow::Error::msg)?.map(audit::readable_time);
    let is_wanted = |line: &Line| {
        let is =
            |wanted: &Option<String>, given: &str| wanted.as_deref().is_none_or(|it| it == given);
        let narrows =
            arguments.identity.is_some() || arguments.collection.is_some() || arguments.denied;
        since.as_ref().is_none_or(|since| line.at >= *since)
            && is(&arguments.identity, &line.identity)
            && is(&arguments.collection, line.collection.as_deref().unwrap_or_default())
            && (!arguments.denied || line.decision == "denied")
            && !(narrows && line.note.is_some())
    };
    let (mut kept, mut found) = (VecDeque::new(), 0_u64);
    let passed_over = audit::read(&folder, &mut |line| {
        if is_wanted(&line) {
            found += 1;
            kept.push_back(line);
            if kept.len() > arguments.limit {
                kept.pop_front();
            }
        }
    })?;
    let table = table(&kept);
    if table.len() > 0 || arguments.format != Format::Table {
        print_table(&table, arguments.format)?;
    }
    if found > kept.len() as u64 {
        let shown = thousands(kept.len() as u64);
        say(&format!("the newest {shown} of {}; --limit N shows more", thousands(found)));
    }
    if passed_over > 0 {
        say(&format!(
            "{} lines are damaged; `sidereus audit verify` names them",
            thousands(passed_over)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(lines: &VecDeque<Line>) -> Table {
    let mut table = Table::new([
        "n",
        "at",
        "identity",
        "verb",
        "collection",
        "decision",
        "code",
        "rows",
        "role",
        "proof",
        "peer",
        "bytes",
        "ms",
        "reason",
    ]);
    let optional = |text: &Option<String>| text.clone().map_or(Cell::Null, Cell::Text);
    for line in lines {
        let verb = line.verb.strip_prefix("/sidereus.v1.").unwrap_or(&line.verb);
        let reason = line.reason.clone().or_else(|| line.note.clone());
        table.push(vec![
            Cell::Count(line.n),
            Cell::text(&line.at),
            Cell::text(&line.identity),
            Cell::text(verb),
            optional(&line.collection),
            Cell::text(if line.note.is_some() { "note" } else { &line.decision }),
            Cell::text(&line.code),
            Cell::Count(line.rows),
            optional(&line.role),
            Cell::text(&line.proof),
            Cell::text(&line.peer),
            Cell::Bytes(line.bytes),
            Cell::Real(line.duration_ms),
            reason.map_or(Cell::Null, Cell::Text),
        ]);
    }
    table
}
