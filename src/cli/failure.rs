//! What a person sees when something goes wrong: one line, and what to do.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::error::ErrorKind as UsageError;
use thiserror::Error;
use tonic::{Code, Status};

/// Exit status of a command that was not understood, as clap and the shells have it.
const USAGE_EXIT: u8 = 2;

/// Exit status of a command that a signal stopped: that of control-C, as the shells have it.
pub(super) const INTERRUPTED_EXIT: u8 = 130;

/// What a command that a signal stopped has to say.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct Interrupted(pub(super) String);

/// Writes a line to standard error. Nothing depends on its being read: whoever read it may have gone.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Turns a server's answer into an error for people: its message, and a hint where the code alone says more.
pub(super) fn of_status(status: &Status) -> anyhow::Error {
    let message = one_line(status.message());
    let hint = match status.code() {
        Code::Unimplemented => Some("the server is of another version than this program"),
        Code::Unavailable => Some("try again in a moment"),
        Code::DeadlineExceeded => Some("ask for less, or try again when the server has less to do"),
        // The server says the rest, unless it is older or another program stands before it.
        Code::Unauthenticated if !message.contains("--token-file") => {
            Some("show who you are with --token-file FILE, $SIDEREUS_TOKEN, or --cert and --key")
        }
        // What is seen of a server that closes the connection depends on how far the call has come.
        _ if ["h2 protocol error", "operation was canceled", "transport error"]
            .iter()
            .any(|broken| message.contains(broken)) =>
        {
            Some("the server may speak TLS: then its address begins with https://")
        }
        Code::Internal | Code::Unknown | Code::DataLoss => Some("the server's log says more"),
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => None,
    };
    let message = if message.is_empty() { status.code().description().to_owned() } else { message };
    match hint {
        Some(hint) => anyhow::anyhow!("{message} ({hint})"),
        None => anyhow::anyhow!(message),
    }
}

/// Prints an error of a command and gives the exit status.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        // `sidereus search ... | head` has all it wants.
        return ExitCode::SUCCESS;
    }
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        say(&one_line(&interrupted.to_string()));
        return ExitCode::from(INTERRUPTED_EXIT);
    }
    say(&format!("error: {}", one_line(&whole_message(error))));
    ExitCode::FAILURE
}

/// An error and its causes, without those that the message before them has told already.
fn whole_message(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

/// Prints an error of the command line itself (or the help that was asked for) and gives the exit status.
pub(super) fn report_usage(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        UsageError::DisplayHelp
            | UsageError::DisplayVersion
            | UsageError::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        let asked_for = error.kind() != UsageError::DisplayHelpOnMissingArgumentOrSubcommand;
        let printed = error.print();
        return if asked_for && printed.is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(USAGE_EXIT)
        };
    }
    say(&usage_line(&error.render().to_string()));
    ExitCode::from(USAGE_EXIT)
}

/// The first part of clap's message on one line, with the way to the help.
fn usage_line(rendered: &str) -> String {
    let said = rendered.split("\n\nUsage:").next().unwrap_or(rendered);
    let said = said.split("\n\nFor more information").next().unwrap_or(said);
    let command = rendered
        .split("Usage: ")
        .nth(1)
        .map(|usage| {
            let words = usage.split_whitespace();
            words.take_while(|word| word.chars().all(|each| each.is_ascii_lowercase())).collect()
        })
        .filter(|words: &Vec<&str>| !words.is_empty())
        .map_or_else(|| "sidereus".to_owned(), |words| words.join(" "));
    format!("{}; see `{command} --help`", one_line(said))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    })
}

/// A message on one line: white space of every kind becomes one blank.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_error_is_one_line_that_names_the_help() {
        let line = usage_line(
            "error: the following required arguments were not provided:\n  <NAME>\n\n\
             Usage: sidereus search <NAME>\n\nFor more information, try '--help'.\n",
        );
        assert_eq!(
            line,
            "error: the following required arguments were not provided: <NAME>; \
             see `sidereus search --help`"
        );
    }

    #[test]
    fn a_cause_is_told_once() {
        let missing = || std::io::Error::new(ErrorKind::NotFound, "no such file");
        let told = anyhow::Error::new(missing()).context("cannot open a.csv: no such file");
        assert_eq!(whole_message(&told), "cannot open a.csv: no such file");
        let untold = anyhow::Error::new(missing()).context("cannot open a.csv");
        assert_eq!(whole_message(&untold), "cannot open a.csv: no such file");
    }

    #[test]
    fn a_status_without_message_still_says_something() {
        let error = of_status(&Status::new(Code::ResourceExhausted, ""));
        assert!(!error.to_string().is_empty());
    }

    #[test]
    fn a_status_of_many_lines_becomes_one() {
        let error = of_status(&Status::invalid_argument("column `x`\n  is not there"));
        assert_eq!(error.to_string(), "column `x` is not there");
    }
}
