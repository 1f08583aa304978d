//! The command line: a client of the gRPC API, and the launcher of the server.
//!
//! Every command parses its words, calls the server and prints; what a command *means* is decided by the
//! server. One line on standard error says what went wrong and what to do, and the exit status is then not 0.

mod access;
mod angle;
mod audit;
mod bridge;
mod check;
mod client;
mod collection;
mod count;
mod delete;
mod doctor;
mod encode;
mod encoder;
mod evaluate;
mod example;
mod export;
mod failure;
mod get;
mod health;
mod hits;
mod ids;
mod import;
mod index;
mod inspect;
mod interrupt;
mod notify;
mod observation;
mod outliers;
mod probe;
mod progress;
mod region;
mod register;
mod release;
mod render;
mod report;
mod schema_file;
mod search;
mod serve;
mod session;
mod snapshot;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// How long work on threads may take to end after everything else has.
const END_WAIT: Duration = Duration::from_secs(2);

/// A vector database for the sky.
///
/// Start a server with `sidereus serve --data DIR`; every other command talks to it.
#[derive(Debug, Parser)]
#[command(name = "sidereus", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "one is made in the life of the program")]
enum Command {
    /// Run the server
    Serve(serve::ServeArguments),
    /// Create, list, show and drop collections
    Collection(collection::CollectionArguments),
    /// Read catalogue files into a collection
    Import(import::ImportArguments),
    /// Show objects by id
    Get(get::GetArguments),
    /// Count objects, on the whole sky or a part of it
    Count(count::CountArguments),
    /// Find the objects most like an example, in a part of the sky, with given properties
    Search(search::SearchArguments),
    /// Write a part of a collection into a Parquet, Arrow or CSV file
    Export(export::ExportArguments),
    /// Make embeddings of a collection's objects with a registered model
    Encode(encode::EncodeArguments),
    /// Build and inspect vector indices
    Index(index::IndexArguments),
    /// List the models of the encoder service, or check a model directory
    Encoder(encoder::EncoderArguments),
    /// Fit, measure, keep and apply heads on embeddings
    Probe(probe::ProbeArguments),
    /// Fit maps between embedding spaces, which make their vectors comparable
    Bridge(bridge::BridgeArguments),
    /// Measure how much the neighbours in a space know about a column
    Evaluate(evaluate::EvaluateArguments),
    /// Score objects by how lonely they are among others
    Outliers(outliers::OutlierArguments),
    /// Label objects, and be asked for the labels that teach most
    Session(session::SessionArguments),
    /// Read and check the log of who did what
    Audit(audit::AuditArguments),
    /// Tokens, groups, roles and row policies: who may do what, and who sees which rows
    Access(access::AccessArguments),
    /// Delete objects by id
    Delete(delete::DeleteArguments),
    /// Ask the server of this machine whether it is ready
    Health(health::HealthArguments),
    /// Make, show, verify, compare and withdraw named states of a collection that do not change
    Release(release::ReleaseArguments),
    /// Back up the whole database, and restore it
    Snapshot(snapshot::SnapshotArguments),
    /// Look whether the data directory of a stopped server is sound
    Doctor(doctor::DoctorArguments),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    crate::learn::lapack::end_workers();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::report_usage(&error),
    };
    match run(arguments.command) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(dispatch(command));
    // Work that nobody waits for any more, such as a build that goes on at the next start, must not hold the end. The database
    // is closed, and its logs sealed, where all of it ends in that time; else its threads still work when the program leaves.
    crate::leave::at_signals();
    runtime.shutdown_timeout(END_WAIT);
    outcome
}

async fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve(arguments) => serve::run(arguments).await?,
        Command::Collection(arguments) => collection::run(arguments).await?,
        Command::Import(arguments) => import::run(arguments).await?,
        Command::Get(arguments) => get::run(arguments).await?,
        Command::Count(arguments) => count::run(arguments).await?,
        Command::Search(arguments) => search::run(arguments).await?,
        Command::Export(arguments) => export::run(arguments).await?,
        Command::Encode(arguments) => encode::run(arguments).await?,
        Command::Index(arguments) => index::run(arguments).await?,
        // A check has an exit status of its own.
        Command::Encoder(arguments) => return encoder::run(arguments).await,
        Command::Probe(arguments) => probe::run(arguments).await?,
        Command::Bridge(arguments) => bridge::run(arguments).await?,
        Command::Evaluate(arguments) => evaluate::run(arguments).await?,
        Command::Outliers(arguments) => outliers::run(arguments).await?,
        Command::Session(arguments) => session::run(arguments).await?,
        Command::Audit(arguments) => return audit::run(arguments),
        Command::Access(arguments) => access::run(arguments).await?,
        Command::Delete(arguments) => delete::run(arguments).await?,
        Command::Health(arguments) => return health::run(&arguments),
        Command::Release(arguments) => return release::run(arguments).await,
        Command::Snapshot(arguments) => snapshot::run(arguments).await?,
        // What is found has an exit status of its own.
        Command::Doctor(arguments) => return doctor::run(arguments).await,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_words_are_consistent() {
        Arguments::command().debug_assert();
    }
}
