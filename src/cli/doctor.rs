//! `sidereus doctor`: examines the data directory of a stopped server.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use super::failure::say;
use super::progress;
use super::render::{Cell, Format, Table, print_table, write_out};
use crate::engine::{DbOptions, Finding, examine, holds_database};

/// Words of `sidereus doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// The data directory; no server may have it open
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Make again what is derived from what is there: counts and segments. What was written is never touched
    #[arg(long)]
    repair: bool,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Runs `sidereus doctor`; the exit status is 1 when something is found that was not repaired.
pub(super) async fn run(arguments: DoctorArguments) -> Result<ExitCode> {
    if !holds_database(&arguments.data)? {
        bail!("{} is no data directory: it has no file FORMAT", arguments.data.display());
    }
    let (data, repair) = (arguments.data.clone(), arguments.repair);
    let bar = progress::stage_bar();
    let shown = bar.clone();
    let examined = tokio::task::spawn_blocking(move || {
        examine(DbOptions::new(data), repair, &mut |stage, done, total| {
            progress::show_stage(&shown, Some(stage.to_owned()), done, total);
        })
    });
    let findings = examined.await??;
    bar.finish_and_clear();
    if findings.is_empty() && arguments.format == Format::Table {
        write_out("nothing is wrong\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(["collection", "object", "finding", "repaired"]);
    for finding in &findings {
        table.push(vec![
            Cell::text(finding.collection.as_deref().unwrap_or("-")),
            Cell::text(finding.object.as_deref().unwrap_or("-")),
            Cell::text(&finding.what),
            Cell::text(if finding.is_repaired { "yes" } else { "no" }),
        ]);
    }
    match arguments.format {
        // Sentences, which a table would cut.
        Format::Table => findings.iter().try_for_each(|finding| write_out(&line(finding)))?,
        format => print_table(&table, format)?,
    }
    if !findings.is_empty() {
        say(&summary(&findings, repair));
    }
    let is_sound = findings.iter().all(|finding| finding.is_repaired);
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many findings there are, and what can be done about them.
fn summary(findings: &[Finding], repair: bool) -> String {
    let (count, repaired) =
        (findings.len(), findings.iter().filter(|finding| finding.is_repaired).count());
    let found = if count == 1 { "1 finding".to_owned() } else { format!("{count} findings") };
    match (count - repaired, repair) {
        (0, _) => format!("{found}, all repaired"),
        (left, true) => format!(
            "{found}, {repaired} repaired, {left} not: each line says what is wrong; what was written comes back from a backup, or by being written again"
        ),
        (_, false) => {
            format!("{found}; --repair makes again what can be made from what is there")
        }
    }
}

/// A finding on one line, whole.
fn line(finding: &Finding) -> String {
    let place = match (&finding.collection, &finding.object) {
        (Some(collection), Some(object)) => format!("{collection}, object {object}: "),
        (Some(collection), None) => format!("{collection}: "),
        (None, _) => String::new(),
    };
    let end = if finding.is_repaired { " (repaired)" } else { "" };
    format!("{place}{}{end}\n", super::failure::one_line(&finding.what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_tells_what_was_repaired() {
        let finding = |is_repaired| Finding {
            collection: None,
            object: None,
            what: "something".to_owned(),
            is_repaired,
        };
        let told = |repaired: &[bool], repair| {
            let findings: Vec<Finding> = repaired.iter().copied().map(finding).collect();
            summary(&findings, repair)
        };
        assert_eq!(told(&[true, true], true), "2 findings, all repaired");
        assert!(told(&[false], false).starts_with("1 finding; --repair"));
        assert!(told(&[false], true).starts_with("1 finding, 0 repaired, 1 not: "));
        assert!(told(&[true, false], true).starts_with("2 findings, 1 repaired, 1 not: "));
    }
}
