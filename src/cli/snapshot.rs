//! `sidereus snapshot`: backups of the whole database.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;

use super::access::in_directory;
use super::client::ClientArguments;
use super::failure::{of_status, say};
use super::progress;
use super::render::{Cell, Format, Table, print_facts, print_table, write_out};
use crate::access::Registry;
use crate::backup::{self, Remote, SnapshotManifest};
use crate::engine::{Db, DbOptions, holds_database};
use crate::wire::v1;

/// Words of `sidereus snapshot`.
#[derive(Debug, Args)]
pub(super) struct SnapshotArguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    client: ClientArguments,
}

/// Where snapshots are.
#[derive(Debug, Args)]
struct Place {
    /// A directory or s3://BUCKET/PREFIX (credentials from AWS_... in the environment), reached from here
    #[arg(long, value_name = "PLACE", conflicts_with = "destination")]
    at: Option<String>,
    /// A destination that the server's configuration names ([backup.NAME])
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Back up: a running server into a destination of its configuration, or a stopped one (--data) into a place. The audit log
    /// is not part of it
    Create {
        /// Destination that the server's configuration names; with --data, a directory or s3://BUCKET/PREFIX
        #[arg(long, value_name = "DESTINATION")]
        to: String,
        /// Data directory of a stopped server
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// List the snapshots of a place
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Read everything of a snapshot and compare it with its hashes
    Verify {
        /// Name of the snapshot
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Make a data directory of a snapshot
    #[command(
        override_usage = "sidereus snapshot restore [OPTIONS] --at <PLACE> --into <DIR> <NAME>"
    )]
    Restore {
        /// Name of the snapshot
        name: String,
        /// A directory or s3://BUCKET/PREFIX (credentials from AWS_... in the environment), reached from here
        #[arg(long, value_name = "PLACE", required_unless_present = "destination")]
        at: Option<String>,
        /// Refused with the reason
        #[arg(long, value_name = "NAME", hide = true, conflicts_with = "at")]
        destination: Option<String>,
        /// The new data directory: empty, or not there yet
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
        /// Revoke every token in the new directory: those that were revoked since the snapshot would open it again
        #[arg(long)]
        revoke_tokens: bool,
    },
    /// Remove a snapshot, and what no other needs
    Drop {
        /// Name of the snapshot
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Show what the last scrub of the server's checksums found, or start one
    Scrub {
        /// Start one
        #[arg(long)]
        start: bool,
    },
}

/// Runs `sidereus snapshot`.
pub(super) async fn run(arguments: SnapshotArguments) -> Result<()> {
    let SnapshotArguments { action, client } = arguments;
    match action {
        Action::Create { to, data: Some(data) } => {
            // Opening would make one, and the backup would be one of nothing.
            if !holds_database(&data)? {
                bail!("{} is no data directory: it has no file FORMAT", data.display());
            }
            let db = tokio::task::spawn_blocking(move || Db::open(DbOptions::new(data))).await??;
            let place = Remote::open(&to)?;
            let bar = progress::stage_bar();
            let made = backup::create(&db, &place, &mut steps(&bar)).await?;
            bar.finish_and_clear();
            print(&[of_manifest(&made)], client.format)
        }
        Action::Create { to, data: None } => create(&client, to).await,
        Action::List { place } => {
            let snapshots = match place.remote()? {
                Where::Here(place) => {
                    let listed = backup::list(&place).await?;
                    let damaged = listed.damaged.into_iter().map(|(name, error)| v1::Snapshot {
                        name,
                        damage: error.to_string(),
                        ..v1::Snapshot::default()
                    });
                    listed.snapshots.iter().map(of_manifest).chain(damaged).collect()
                }
                Where::Server(destination) => {
                    let request = v1::ListSnapshotsRequest { destination };
                    let reply = client.connect().await?.backups().list_snapshots(request).await;
                    reply.map_err(|status| of_status(&status))?.into_inner().snapshots
                }
            };
            print(&snapshots, client.format)
        }
        Action::Verify { name, place } => verify(&client, name, place).await,
        Action::Restore { name, at, destination, into, revoke_tokens } => {
            let Some(at) = at else {
                // Nobody who calls a server makes directories there.
                bail!(
                    "a snapshot is restored without a server, straight from its place: give --at PLACE, the `url` of \
                     [backup.{}] in the server's configuration",
                    destination.unwrap_or_default()
                )
            };
            let restored = restore(&name, &at, into, revoke_tokens).await?;
            print(&[of_manifest(&restored)], client.format)
        }
        Action::Drop { name, place } => {
            let (objects, bytes) = match place.remote()? {
                Where::Here(place) => {
                    let pruned = backup::drop_snapshot(&place, &name).await?;
                    (pruned.objects, pruned.bytes)
                }
                Where::Server(destination) => {
                    let request = v1::DropSnapshotRequest { destination, name };
                    let reply = client.connect().await?.backups().drop_snapshot(request).await;
                    let reply = reply.map_err(|status| of_status(&status))?.into_inner();
                    (reply.objects, reply.bytes)
                }
            };
            let facts = [("objects_removed", Cell::Count(objects)), ("bytes", Cell::Bytes(bytes))];
            print_facts(&facts, client.format)
        }
        Action::Scrub { start } => scrub(&client, start).await,
    }
}

async fn restore(
    name: &str,
    at: &str,
    into: PathBuf,
    revoke_tokens: bool,
) -> Result<SnapshotManifest> {
    let place = existing(at)?;
    let bar = progress::stage_bar();
    let restored = backup::restore(&place, name, &into, &mut steps(&bar)).await?;
    bar.finish_and_clear();
    let data = into.display().to_string();
    tell_of_access(&restored, into, revoke_tokens).await?;
    say(&format!(
        "restored into {data}; `sidereus serve --data {data}` starts a server with it: with the --config FILE of the old one, \
         or nobody is asked who he is"
    ));
    Ok(restored)
}

enum Where {
    Here(Remote),
    Server(String),
}

impl Place {
    fn remote(self) -> Result<Where> {
        match (self.at, self.destination) {
            (Some(at), None) => Ok(Where::Here(existing(&at)?)),
            (None, Some(destination)) => Ok(Where::Server(destination)),
            (None, None) | (Some(_), Some(_)) => {
                bail!("say where: --at PLACE, or --destination NAME of the server's configuration")
            }
        }
    }
}

/// Opens a place that is read; a directory that is not there is a mistake, and is not made.
fn existing(at: &str) -> Result<Remote> {
    let path = at.strip_prefix("file://").unwrap_or(at);
    if !at.is_empty() && !path.contains("://") && !Path::new(path).is_dir() {
        bail!("there is no directory {path}, so there are no snapshots in it");
    }
    Ok(Remote::open(at)?)
}

fn steps(bar: &ProgressBar) -> impl FnMut(&str, u64, u64) + Send + use<> {
    let bar = bar.clone();
    move |stage, done, total| {
        progress::show_stage(&bar, Some(stage.to_owned()), done, total);
    }
}

/// Says that a restored database lets in whom it let in when the snapshot was made, and revokes its tokens where that is wanted.
async fn tell_of_access(
    restored: &SnapshotManifest,
    into: PathBuf,
    revoke_tokens: bool,
) -> Result<()> {
    let (made, data) = (super::release::date(restored.created_ms), into.display().to_string());
    say(&format!(
        "note: tokens, groups, roles and row policies are those of {made}: what was revoked, taken or restricted since is as \
         it was then. Look at them before the server is reached by others"
    ));
    if !revoke_tokens {
        say("note: --revoke-tokens would have revoked every token of the restored database");
        return Ok(());
    }
    let revoked = in_directory(into, Registry::revoke_all_tokens).await.with_context(|| {
        format!(
            "the tokens of {data} are not all revoked: do not serve it; remove it and restore again"
        )
    })?;
    say(&format!(
        "note: {revoked} tokens are revoked; `sidereus access bootstrap --data {data}` makes an administrator and a token for him"
    ));
    Ok(())
}

async fn create(client: &ClientArguments, destination: String) -> Result<()> {
    let request = v1::CreateSnapshotRequest { destination };
    let connected = client.connect().await.context(
        "a running server is asked for a backup; --data DIR is the directory of a stopped one",
    )?;
    let reply = connected.backups().create_snapshot(request).await;
    let mut stream = reply.map_err(|status| of_status(&status))?.into_inner();
    let bar = progress::stage_bar();
    let mut step = steps(&bar);
    let mut snapshot = None;
    while let Some(message) = stream.message().await.map_err(|status| of_status(&status))? {
        step(&message.stage, message.done, message.total);
        snapshot = message.snapshot.or(snapshot);
    }
    bar.finish_and_clear();
    let snapshot =
        snapshot.context("the server's answer ended early; see `sidereus snapshot list`")?;
    print(&[snapshot], client.format)
}

async fn verify(client: &ClientArguments, name: String, place: Place) -> Result<()> {
    let bar = progress::stage_bar();
    let mut step = steps(&bar);
    let snapshot = match place.remote()? {
        Where::Here(place) => of_manifest(&backup::verify(&place, &name, &mut step).await?),
        Where::Server(destination) => {
            let request = v1::VerifySnapshotRequest { destination, name };
            let reply = client.connect().await?.backups().verify_snapshot(request).await;
            let mut stream = reply.map_err(|status| of_status(&status))?.into_inner();
            let mut snapshot = None;
            while let Some(message) = stream.message().await.map_err(|status| of_status(&status))? {
                step(&message.stage, message.done, message.total);
                snapshot = message.snapshot.or(snapshot);
            }
            snapshot.context("the server's answer ended early; try again")?
        }
    };
    bar.finish_and_clear();
    let name = snapshot.name.clone();
    print(&[snapshot], client.format)?;
    if client.format == Format::Table {
        write_out(&format!("{name} is intact: all of it is as its hashes say\n"))?;
    }
    Ok(())
}

async fn scrub(client: &ClientArguments, start: bool) -> Result<()> {
    let connected = client.connect().await?;
    if start {
        let started = connected.maintenance().start_scrub(v1::StartScrubRequest {}).await;
        started.map_err(|status| of_status(&status))?;
    }
    let reply = connected.maintenance().get_scrub(v1::GetScrubRequest {}).await;
    let state = reply.map_err(|status| of_status(&status))?.into_inner();
    let last = state.last.unwrap_or_default();
    let facts = [
        ("running", Cell::text(if state.running { "yes" } else { "no" })),
        ("bytes_read", Cell::Bytes(state.bytes)),
        ("last_ended", Cell::text(super::release::date(last.ended_ms))),
        ("last_complete", Cell::text(if last.complete { "yes" } else { "no" })),
        ("problems", Cell::Count(last.problems.len() as u64)),
    ];
    print_facts(&facts, client.format)?;
    if client.format == Format::Table {
        last.problems.iter().try_for_each(|problem| write_out(&format!("{problem}\n")))?;
    }
    Ok(())
}

fn of_manifest(manifest: &SnapshotManifest) -> v1::Snapshot {
    let collections = manifest.collections.iter().map(|collection| v1::SnapshotCollection {
        name: collection.name.clone(),
        version: collection.version,
        objects: collection.objects,
    });
    v1::Snapshot {
        name: manifest.name.clone(),
        created_ms: manifest.created_ms,
        database_format: manifest.database_format,
        files: manifest.file_count() as u64,
        bytes: manifest.size_bytes(),
        collections: collections.collect(),
        damage: String::new(),
    }
}

fn print(snapshots: &[v1::Snapshot], format: Format) -> Result<()> {
    if snapshots.is_empty() && format == Format::Table {
        return write_out("no snapshots there yet; `sidereus snapshot create` makes one\n");
    }
    // On standard error, so that nobody who reads the table has to know of it.
    for snapshot in snapshots.iter().filter(|snapshot| !snapshot.damage.is_empty()) {
        say(&format!("warning: snapshot {} cannot be read: {}", snapshot.name, snapshot.damage));
    }
    let mut table = Table::new(["snapshot", "made", "collections", "objects", "files", "bytes"]);
    for snapshot in snapshots {
        if !snapshot.damage.is_empty() {
            let name = [Cell::text(&snapshot.name), Cell::text("damaged")];
            table.push(name.into_iter().chain(std::iter::repeat_n(Cell::text("-"), 4)).collect());
            continue;
        }
        table.push(vec![
            Cell::text(&snapshot.name),
            Cell::text(super::release::date(snapshot.created_ms)),
            Cell::Count(snapshot.collections.len() as u64),
            Cell::Count(snapshot.collections.iter().map(|each| each.objects).sum()),
            Cell::Count(snapshot.files),
            Cell::Bytes(snapshot.bytes),
        ]);
    }
    print_table(&table, format)
}
