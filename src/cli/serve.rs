//! `sidereus serve`: settings, database, encoder and server, wired together and taken down in reverse.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::interrupt;
use super::notify::Supervisor;
use super::render::write_out;
use crate::config::{ConfigError, EncoderChoice, Flag, Layered, Origin, Settings};
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
    /// Address for figures and health over HTTP; port 0 lets the system choose one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,
    /// Directory of models for the encoder service, one folder each with a model.toml
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Settings that differ from the defaults (deploy/sidereus.toml lists all); variables of the environment such as
    /// SIDEREUS_SERVER__GRPC come before it, and the words above before both
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is logged to standard error: error, warn, info, debug, trace, also by module
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Print the settings that the server would start with, and where each comes from, and end
    #[arg(long)]
    print_config: bool,
}

impl ServeArguments {
    /// The settings of the file, with the environment over them, and the words of the command line over both.
    fn settings(
        self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Layered, ConfigError> {
        let mut flags = Vec::new();
        let mut give = |word, key, value: Option<String>| {
            flags.extend(value.map(|text| Flag { word, key, value: text.into() }));
        };
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        give("--data", "server.data", self.data.map(path));
        give("--grpc", "server.grpc", self.grpc.map(|address| address.to_string()));
        give("--http", "http.listen", self.http.map(|address| address.to_string()));
        give("--models", "encoder.models", self.models.map(path));
        give("--log", "server.log", self.log);
        Layered::read(self.config.as_deref(), variables, flags)
    }
}

/// Variables of the environment that are texts.
pub(super) fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Runs the server until it is told to stop.
pub(super) async fn run(arguments: ServeArguments) -> Result<()> {
    let is_printed = arguments.print_config;
    let layered = arguments.settings(variables())?;
    if is_printed {
        return write_out(&layered.print());
    }
    let http_is_chosen = layered.origin("http.listen") != Origin::Default;
    let settings = layered.into_settings();
    let telemetry = start_telemetry(&settings.telemetry_options())?;
    let served = serve(&settings, http_is_chosen).await;
    telemetry.end().await;
    served
}

async fn serve(settings: &Settings, http_is_chosen: bool) -> Result<()> {
    let supervisor = Supervisor::of_environment();
    // Signals are caught before anything is open that a signal would leave behind.
    let stop = stop_on_signal(supervisor.clone())?;
    outlive_hangups()?;
    let data = settings.server.data.clone();
    // What refuses a start does so before there is a data directory.
    let service = settings.service_options(http_is_chosen)?;
    let encoder = encoder_choice(settings)?;
    Server::check(&service)?;
    let options = settings.db_options();
    let db = tokio::task::spawn_blocking(move || Db::open(options)).await??;
    let encoder = start_encoder(encoder)?;
    let scheme = if service.tls.is_some() { "grpcs" } else { "grpc" };
    let server = Server::bind(service, db, encoder.clone()).await?;
    let http = server.http_address().map_or_else(String::new, |http| format!(" http://{http}"));
    write_out(&format!(
        "listening on {scheme}://{}{http} data={}\n",
        server.address(),
        data.display()
    ))?;
    supervisor.ready();
    let served = server.serve(stop).await;
    if let Some(encoder) = encoder {
        encoder.shutdown().await;
    }
    Ok(served?)
}

/// A token that is cancelled by SIGINT (control-C) or SIGTERM. A second one ends the program at once: what was acknowledged is
/// on the disk, and what can be gone on with is gone on with at the next start.
fn stop_on_signal(supervisor: Supervisor) -> Result<CancellationToken> {
    let first = move || {
        tracing::info!("stopping: requests under way may end; a second signal ends at once");
        supervisor.stopping();
    };
    interrupt::stop_on_signal(first, || tracing::warn!("ending at once"))
}

/// Keeps SIGHUP, which ends a program that does not listen, from ending the server: supervisors and rotations of logs send it
/// to whatever they look after. Certificates, where there are some, are read again by those who keep them.
fn outlive_hangups() -> Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for signals")?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!(
                "SIGHUP: certificates are read again where [tls] names some; other settings need a restart"
            );
        }
    });
    Ok(())
}

/// How the encoder is to be started; its models are looked for now.
fn encoder_choice(settings: &Settings) -> Result<EncoderChoice> {
    let this = std::env::current_exe().context("cannot find the running program")?;
    let choice = settings.encoder(this.parent().unwrap_or(Path::new(".")));
    if let EncoderChoice::Own(options) = &choice
        && !options.models_dir.is_dir()
    {
        bail!("there is no directory of models {}", options.models_dir.display());
    }
    Ok(choice)
}

fn start_encoder(choice: EncoderChoice) -> Result<Option<EncoderHandle>> {
    Ok(match choice {
        EncoderChoice::Nothing => None,
        EncoderChoice::Own(options) => Some(EncoderHandle::spawn(*options)),
        EncoderChoice::Elsewhere { addresses, options } => {
            Some(EncoderHandle::connect_all(&addresses, &options)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> ServeArguments {
        ServeArguments {
            data: None,
            grpc: None,
            http: None,
            models: None,
            config: None,
            log: None,
            print_config: false,
        }
    }

    #[test]
    fn words_come_before_the_environment_that_before_the_file_and_the_file_before_the_defaults() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sidereus.toml");
        std::fs::write(&path, "version = 1\n[server]\ndata = \"file\"\nlog = \"warn\"\n")
            .expect("written");
        let given =
            ServeArguments { data: Some(PathBuf::from("word")), config: Some(path), ..arguments() };
        let variables = [("SIDEREUS_SERVER__DATA", "variable"), ("SIDEREUS_LIMITS__K", "9")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = given.settings(variables).expect("settings").into_settings();
        assert_eq!(settings.server.data, Path::new("word"));
        assert_eq!(settings.server.log, "warn");
        assert_eq!(settings.limits.k, 9);
        assert_eq!(settings.server.grpc.port(), 50_051);
    }

    #[test]
    fn a_wrong_word_is_refused_like_a_wrong_setting() {
        let wrong = ServeArguments { log: Some("sidereus=loud".to_owned()), ..arguments() };
        let refused = wrong.settings([]).expect_err("no such level").to_string();
        assert!(refused.starts_with("flag --log: "), "{refused}");
    }
}
