//! Sidereus as one of the engines of `benches/rivals`: searches in process and over gRPC, and what changes under it.
//!
//! `run.sh` starts it; by hand, `cargo bench --bench rivals -- search --data DIR --collection NAME --workload DIR`.
//! Every line of the output is a JSON object. `WORKLOAD` is a folder made by `data.py`.
//!
//! | command | measures |
//! |---|---|
//! | `search --data DIR` | in process: start to first answer, every filter shape, memory |
//! | `grpc --server URL` | the same shapes through a running server, a channel for each client, and a call that does nothing |
//! | `churn --data DIR` | recall after 30 % deletes and 20 % overwrites, against a scan made here |
//! | `build-p99 --data DIR` | latencies while an index build runs beside the searches |
//!
//! `search --resident-mib N` bounds the memory of full vectors.
//! All take `--collection NAME --workload DIR [--clients N] [--seconds S] [--shapes A,B] [--exact] [--plan P]
//! [--answers]`.

mod churn;
mod during_build;
mod local;
mod measure;
mod remote;
mod workload;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Words that stand alone.
const SWITCHES: [&str; 2] = ["exact", "answers"];

/// The command line, and when the process began.
pub(crate) struct Arguments {
    command: String,
    options: HashMap<String, String>,
    /// When the process began.
    pub(crate) began: Instant,
}

impl Arguments {
    fn parse(began: Instant) -> Result<Self> {
        // `cargo bench` adds a word of its own.
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        let command = words.next().context("which command? search, grpc, churn or build-p99")?;
        let mut options = HashMap::new();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else { bail!("`{word}` is not an option") };
            let value = if SWITCHES.contains(&name) {
                "yes".to_owned()
            } else {
                words.next().with_context(|| format!("--{name} needs a value"))?
            };
            options.insert(name.to_owned(), value);
        }
        Ok(Self { command, options, began })
    }

    /// A value that must be there.
    pub(crate) fn text(&self, name: &str) -> Result<&str> {
        self.find(name).with_context(|| format!("--{name} is missing"))
    }

    /// A value, if it was given.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// A folder that must be there.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        Ok(PathBuf::from(self.text(name)?))
    }

    /// Whether a switch was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// Clients at once.
    pub(crate) fn clients(&self) -> Result<usize> {
        self.find("clients").map_or(Ok(1), |text| text.parse().context("--clients is a number"))
    }

    /// About how long each shape is measured.
    pub(crate) fn duration(&self) -> Result<Duration> {
        let seconds: f64 = self.find("seconds").unwrap_or("1.5").parse().context("--seconds")?;
        Ok(Duration::try_from_secs_f64(seconds)?)
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse(Instant::now())?;
    match arguments.command.as_str() {
        "search" => local::run(&arguments),
        "grpc" => remote::run(&arguments),
        "churn" => churn::run(&arguments),
        "build-p99" => during_build::run(&arguments),
        other => bail!("`{other}` is not one of search, grpc, churn, build-p99"),
    }
}
