//! `sidereus encoder check`: hands over to the encoder program, the only one that knows libtorch.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

/// The program beside this one that runs models.
pub(super) const ENCODER_PROGRAM: &str = "sidereus-encoder";

/// Words of `sidereus encoder check`.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Model directory with a model.toml, or a folder of golden files with a config.json
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Where the network computes: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Precision of published networks: f32, bf16 or f16; in the last two, rows are compared by their cosine
    #[arg(long, default_value = "f32")]
    precision: String,
}

/// The path of the encoder program: beside this one.
pub(super) fn encoder_program() -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find the running program")?;
    Ok(this.parent().unwrap_or(Path::new(".")).join(ENCODER_PROGRAM))
}

/// Runs the check in the encoder program, with this program's input and output, and gives its exit status.
pub(super) fn run(arguments: &CheckArguments) -> Result<ExitCode> {
    let program = encoder_program()?;
    if !program.is_file() {
        bail!(
            "{} is missing; build it with `make build`, or put it beside sidereus",
            program.display()
        );
    }
    let status = Command::new(&program)
        .arg("check")
        .arg(&arguments.directory)
        .args(["--device", &arguments.device, "--precision", &arguments.precision])
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    match status.code() {
        Some(0) => Ok(ExitCode::SUCCESS),
        Some(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))),
        None => bail!("{} was ended by a signal", program.display()),
    }
}
