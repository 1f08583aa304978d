//! `sidereus serve`: settings, database, encoder and server, wired together and taken down in reverse.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::render::write_out;
use crate::config::{EncoderChoice, Settings};
use crate::encoder::EncoderHandle;
use crate::engine::Db;
use crate::service::{Server, start_telemetry};

/// Words of `sidereus serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    /// Directory of everything that is stored; made when it does not exist
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address for gRPC; port 0 lets the system choose one [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDR:PORT")]
    grpc: Option<SocketAddr>,
    /// Address for HTTP: accepted so that scripts can name it; nothing is served there yet
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,
    /// Directory of models for the encoder service, one folder each with a model.toml
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Settings that differ from the defaults (deploy/sidereus.toml lists all); the words above
    /// come before it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is logged to standard error: error, warn, info, debug, trace, also by module
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

impl ServeArguments {
    /// The settings of the file, with the words of the command line over them.
    fn settings(self) -> Result<Settings> {
        let mut settings = match &self.config {
            Some(path) => Settings::load(path)?,
            None => Settings::reference()?,
        };
        settings.server.data = self.data.unwrap_or(settings.server.data);
        settings.server.grpc = self.grpc.unwrap_or(settings.server.grpc);
        settings.server.log = self.log.unwrap_or(settings.server.log);
        settings.encoder.models = self.models.or(settings.encoder.models);
        settings.validate()?;
        Ok(settings)
    }
}

/// Runs the server until it is told to stop.
pub(super) async fn run(arguments: ServeArguments) -> Result<()> {
    let http = arguments.http;
    let settings = arguments.settings()?;
    start_telemetry(&settings.server.log)?;
    if let Some(address) = http {
        tracing::warn!(%address, "HTTP is not served yet; the address is ignored");
    }
    // Signals are caught before anything is open that a signal would leave behind.
    let stop = stop_on_signal()?;
    let data = settings.server.data.clone();
    let options = settings.db_options();
    let db = tokio::task::spawn_blocking(move || Db::open(options)).await??;
    let encoder = start_encoder(&settings)?;
    let server = Server::bind(settings.service_options()?, db, encoder.clone()).await?;
    write_out(&format!("listening on grpc://{} data={}\n", server.address(), data.display()))?;
    let served = server.serve(stop).await;
    if let Some(encoder) = encoder {
        encoder.shutdown().await;
    }
    Ok(served?)
}

/// A token that is cancelled by SIGINT (control-C) or SIGTERM.
fn stop_on_signal() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping: requests under way may end");
        stopping.cancel();
    });
    Ok(stop)
}

fn start_encoder(settings: &Settings) -> Result<Option<EncoderHandle>> {
    let this = std::env::current_exe().context("cannot find the running program")?;
    let programs = this.parent().unwrap_or(Path::new("."));
    Ok(match settings.encoder(programs) {
        EncoderChoice::Nothing => None,
        EncoderChoice::Own(options) => {
            if !options.models_dir.is_dir() {
                bail!("there is no directory of models {}", options.models_dir.display());
            }
            Some(EncoderHandle::spawn(*options))
        }
        EncoderChoice::Elsewhere { addresses, options } => {
            Some(EncoderHandle::connect_all(&addresses, &options)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> ServeArguments {
        ServeArguments { data: None, grpc: None, http: None, models: None, config: None, log: None }
    }

    #[test]
    fn words_come_before_the_file_and_the_file_before_the_defaults() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sidereus.toml");
        std::fs::write(&path, "version = 1\n[server]\ndata = \"file\"\nlog = \"warn\"\n")
            .expect("written");
        let settings =
            ServeArguments { data: Some(PathBuf::from("word")), config: Some(path), ..arguments() };
        let settings = settings.settings().expect("settings");
        assert_eq!(settings.server.data, Path::new("word"));
        assert_eq!(settings.server.log, "warn");
        assert_eq!(settings.server.grpc.port(), 50_051);
    }

    #[test]
    fn a_wrong_word_is_refused_like_a_wrong_setting() {
        let wrong = ServeArguments { log: Some("sidereus=loud".to_owned()), ..arguments() };
        assert!(wrong.settings().is_err());
    }
}
