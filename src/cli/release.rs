//! `sidereus release`: named states of a collection that do not change.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::client::{Client, ClientArguments};
use super::failure::{of_status, say};
use super::ids::id_text;
use super::progress;
use super::render::{Cell, Format, Json, Table, print_facts, print_json, print_table, write_out};
use crate::clock::civil;
use crate::wire::v1;

/// Words of `sidereus release`.
#[derive(Debug, Args)]
pub(super) struct ReleaseArguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a release of what a collection holds now
    Create {
        /// Name of the collection
        collection: String,
        /// Name of the release, such as dr1; it can never be given again
        name: String,
        /// One line about it
        #[arg(long, default_value = "")]
        title: String,
        /// How to cite it, or @FILE with the text
        #[arg(long, default_value = "")]
        citation: String,
        /// Whom to thank, the makers of the encoders among them, or @FILE with the text
        #[arg(long, default_value = "")]
        acknowledgement: String,
        /// What else there is to know, or @FILE with the text
        #[arg(long, default_value = "")]
        notes: String,
    },
    /// List the releases of a collection
    List {
        /// Name of the collection
        collection: String,
    },
    /// Show a release, and how to cite it
    Show {
        /// Name of the collection
        collection: String,
        /// Name of the release
        name: String,
    },
    /// Hash the content of a release again and compare
    Verify {
        /// Name of the collection
        collection: String,
        /// Name of the release
        name: String,
    },
    /// Show what differs between two releases, or a release and the present
    Diff {
        /// Name of the collection
        collection: String,
        /// Name of the first release
        from: String,
        /// Name of the second release [default: the present]
        to: Option<String>,
        /// How many ids of each kind are listed
        #[arg(long, value_name = "N", default_value_t = 20)]
        ids: u32,
    },
    /// Have a release answered no more; its record stays and says why, and its data stay to be verified
    Withdraw {
        /// Name of the collection
        collection: String,
        /// Name of the release
        name: String,
        /// Why: every query of the release is answered with it
        #[arg(long)]
        reason: String,
        /// Delete the data of the release at once, and for ever; without it they are kept, and can be verified alone
        #[arg(long)]
        delete_data: bool,
        /// Keep the data, as is done anyway
        #[arg(long, hide = true, conflicts_with = "delete_data")]
        keep_data: bool,
    },
}

/// Runs `sidereus release`; a release that is not what it was has exit status 1.
pub(super) async fn run(arguments: ReleaseArguments) -> Result<ExitCode> {
    let format = arguments.client.format;
    let client = arguments.client.connect().await?;
    match arguments.action {
        Action::Create { collection, name, title, citation, acknowledgement, notes } => {
            let text = v1::ReleaseText {
                title: text(title)?,
                citation: text(citation)?,
                acknowledgement: text(acknowledgement)?,
                notes: text(notes)?,
            };
            let request = v1::CreateReleaseRequest { collection, name, text: Some(text) };
            show(&create(&client, request).await?, format)?;
        }
        Action::List { collection } => {
            let request = v1::ListReleasesRequest { collection };
            let reply = client.releases().list_releases(request).await;
            list(&reply.map_err(|status| of_status(&status))?.into_inner().releases, format)?;
        }
        Action::Show { collection, name } => {
            show(&get(&client, &collection, &name).await?, format)?;
        }
        Action::Verify { collection, name } => {
            return verify(&client, collection, name, format).await;
        }
        Action::Diff { collection, from, to, ids } => {
            let to = to.unwrap_or_default();
            let request = v1::DiffReleasesRequest { collection, from, to, ids_max: ids };
            print_diff(&diff(&client, request).await?, format)?;
        }
        Action::Withdraw { collection, name, reason, delete_data, keep_data: _ } => {
            let keep_data = !delete_data;
            let request = v1::WithdrawReleaseRequest { collection, name, reason, keep_data };
            let reply = client.releases().withdraw_release(request).await;
            let release = reply.map_err(|status| of_status(&status))?.into_inner().release;
            let release = release.context(NO_RELEASE)?;
            show(&release, format)?;
            say(&withdrawn_line(&release));
        }
    }
    Ok(ExitCode::SUCCESS)
}

const NO_RELEASE: &str = "the server's answer lacks the release; is it of another version?";

/// What was done to a release that is withdrawn now.
fn withdrawn_line(release: &v1::Release) -> String {
    let (collection, name) = (&release.collection, &release.name);
    let done = match release.withdrawn.as_ref().is_some_and(|withdrawal| withdrawal.data_kept) {
        true => format!(
            "its data are kept, and `sidereus release verify {collection} {name}` still reads them"
        ),
        false => "its data are deleted; its record is kept".to_owned(),
    };
    format!("withdrew {collection} {name}: queries of it are answered with the reason; {done}")
}

/// A text, or that of a file after an `@`.
fn text(given: String) -> Result<String> {
    match given.strip_prefix('@').map(PathBuf::from) {
        Some(path) => {
            let read = std::fs::read_to_string(&path);
            Ok(read.with_context(|| format!("cannot read {}", path.display()))?.trim().to_owned())
        }
        None => Ok(given),
    }
}

async fn create(client: &Client, request: v1::CreateReleaseRequest) -> Result<v1::Release> {
    let reply = client.releases().create_release(request).await;
    let mut stream = reply.map_err(|status| of_status(&status))?.into_inner();
    let bar = progress::stage_bar();
    let mut release = None;
    while let Some(message) = stream.message().await.map_err(|status| of_status(&status))? {
        progress::show_stage(&bar, Some(message.stage), message.done, message.total);
        release = message.release.or(release);
    }
    bar.finish_and_clear();
    release.context("the server's answer ended early; see `sidereus release list`")
}

async fn get(client: &Client, collection: &str, name: &str) -> Result<v1::Release> {
    let (collection, name) = (collection.to_owned(), name.to_owned());
    let reply = client.releases().get_release(v1::GetReleaseRequest { collection, name }).await;
    let reply = reply.map_err(|status| of_status(&status))?.into_inner();
    reply.release.context(NO_RELEASE)
}

async fn verify(
    client: &Client,
    collection: String,
    name: String,
    format: Format,
) -> Result<ExitCode> {
    let request = v1::VerifyReleaseRequest { collection, name };
    let reply = client.releases().verify_release(request).await;
    let mut stream = reply.map_err(|status| of_status(&status))?.into_inner();
    let bar = progress::stage_bar();
    let mut last = v1::VerifyReleaseResponse::default();
    while let Some(message) = stream.message().await.map_err(|status| of_status(&status))? {
        progress::show_stage(&bar, Some(message.stage.clone()), message.done, message.total);
        last = message;
    }
    bar.finish_and_clear();
    let release = last.release.context(NO_RELEASE)?;
    let is_same = release.content_hash == last.found_hash;
    print_facts(
        &[
            ("release", Cell::text(&release.name)),
            ("content_hash", Cell::text(&release.content_hash)),
            ("found_hash", Cell::text(&last.found_hash)),
            ("intact", Cell::text(if is_same { "yes" } else { "no" })),
        ],
        format,
    )?;
    Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn diff(client: &Client, request: v1::DiffReleasesRequest) -> Result<v1::ReleaseDiff> {
    let reply = client.releases().diff_releases(request).await;
    let mut stream = reply.map_err(|status| of_status(&status))?.into_inner();
    let bar = progress::stage_bar();
    let mut diff = None;
    while let Some(message) = stream.message().await.map_err(|status| of_status(&status))? {
        progress::show_stage(&bar, Some(message.stage), message.done, message.total);
        diff = message.diff.or(diff);
    }
    bar.finish_and_clear();
    diff.context("the server's answer ended early; try again")
}

/// A count, which whoever may not see everything is not told.
fn told_count(count: u64) -> Cell {
    if count == 0 { Cell::Null } else { Cell::Count(count) }
}

fn list(releases: &[v1::Release], format: Format) -> Result<()> {
    if releases.is_empty() && format == Format::Table {
        return write_out("no releases yet; `sidereus release create` makes one\n");
    }
    let mut table =
        Table::new(["release", "made", "objects", "title", "content_hash", "withdrawn"]);
    for release in releases {
        let withdrawn = release.withdrawn.as_ref().map_or("-", |withdrawal| &withdrawal.reason);
        table.push(vec![
            Cell::text(&release.name),
            Cell::text(date(release.created_ms)),
            told_count(release.objects),
            Cell::text(release.text.as_ref().map_or("", |text| &text.title)),
            Cell::Id(release.content_hash.clone()),
            Cell::text(withdrawn),
        ]);
    }
    print_table(&table, format)
}

fn show(release: &v1::Release, format: Format) -> Result<()> {
    let text = release.text.clone().unwrap_or_default();
    let mut facts = vec![
        ("collection", Cell::text(&release.collection)),
        ("release", Cell::text(&release.name)),
        ("made", Cell::text(date(release.created_ms))),
        ("source_version", Cell::Count(release.source_version)),
        ("objects", told_count(release.objects)),
        ("probes", Cell::Count(release.probes)),
        ("bridges", Cell::Count(release.bridges)),
        ("content_hash", Cell::text(&release.content_hash)),
        ("title", Cell::text(&text.title)),
        ("citation", Cell::text(&text.citation)),
        ("acknowledgement", Cell::text(&text.acknowledgement)),
        ("notes", Cell::text(&text.notes)),
    ];
    if let Some(withdrawal) = &release.withdrawn {
        facts.push(("withdrawn", Cell::text(date(withdrawal.at_ms))));
        facts.push(("reason", Cell::text(&withdrawal.reason)));
        facts.push(("data_kept", Cell::text(if withdrawal.data_kept { "yes" } else { "no" })));
    }
    let mut table = Table::new(["space", "count", "provenance"]);
    for space in &release.spaces {
        table.push(vec![
            Cell::text(&space.space),
            told_count(space.count),
            Cell::text(&space.provenance),
        ]);
    }
    match format {
        Format::Table => {
            print_facts(&facts, format)?;
            if table.len() == 0 {
                return Ok(());
            }
            write_out("\n")?;
            print_table(&table, format)
        }
        Format::Json => {
            let members = facts.iter().map(|(name, cell)| (*name, cell.to_json()));
            print_json(&Json::object(members.chain([("spaces", table.to_json())])))
        }
        Format::Csv => print_facts(&facts, format),
    }
}

fn print_diff(diff: &v1::ReleaseDiff, format: Format) -> Result<()> {
    let mut table = Table::new(["what", "count", "objects"]);
    let kinds = [("added", &diff.added), ("removed", &diff.removed), ("changed", &diff.changed)];
    for (what, objects) in kinds {
        let objects = objects.clone().unwrap_or_default();
        let ids: Vec<String> = objects.ids.iter().map(|id| id_text(Some(id))).collect();
        table.push(vec![Cell::text(what), Cell::Count(objects.count), Cell::text(ids.join(" "))]);
    }
    let part = |kind: &str, part: &v1::ChangedPart| {
        vec![Cell::text(format!("{kind} {}", part.name)), Cell::Count(part.count), Cell::text("")]
    };
    table.push(vec![Cell::text("moved"), Cell::Count(diff.moved), Cell::text("")]);
    diff.columns.iter().for_each(|each| table.push(part("column", each)));
    diff.spaces.iter().for_each(|each| table.push(part("space", each)));
    for difference in &diff.schema {
        table.push(vec![Cell::text("schema"), Cell::Count(1), Cell::text(difference)]);
    }
    print_table(&table, format)
}

/// How to cite a release, and whom to thank.
pub(super) async fn credits(
    client: &Client,
    collection: &str,
    name: &str,
) -> Result<v1::ReleaseText> {
    Ok(get(client, collection, name).await?.text.unwrap_or_default())
}

/// Says on standard error how to cite a release that was searched.
pub(super) fn cite(collection: &str, name: &str, text: &v1::ReleaseText) {
    if !text.citation.is_empty() {
        say(&format!("cite {collection} {name} as: {}", super::failure::one_line(&text.citation)));
    }
    if !text.acknowledgement.is_empty() {
        say(&format!("acknowledge: {}", super::failure::one_line(&text.acknowledgement)));
    }
}

/// `2026-11-26 13:21:00 UTC` of milliseconds since 1970; a dash for none.
pub(super) fn date(ms: u64) -> String {
    if ms == 0 {
        return "-".to_owned();
    }
    let seconds = ms / 1_000;
    let (year, month, day) = civil(i64::try_from(seconds / 86_400).unwrap_or(i64::MAX));
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}
