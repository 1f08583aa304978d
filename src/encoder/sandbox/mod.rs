//! The walls around what comes with a model: a program of TorchScript is code, and its author may not be a friend.
//!
//! The encoder process goes in when it has bound its address and before it reads the first model. From then on, whatever
//! runs in it can read the operator's models, the libraries and what the kernel tells about the machine; it can open no
//! other file, change none, begin no connection, start no program, and touch no other process. Connections that
//! come to the bound address are accepted as before.
//!
//! There are two walls, and most of what matters is behind both: *Landlock* says which files can be opened, *seccomp* which
//! calls of the system can be made. A call that is forbidden fails as one without permission: a library that only tries
//! goes on.
//!
//! With a GPU there are gates more, for its driver does not start without them: its devices can be opened and called, the
//! process can write what the kernel keeps under `/proc` about its own threads, such as their names, and it can have local
//! sockets of packets in sequence, which others could connect to and it to none. (To see which calls a driver misses:
//! `strace -f sidereus-encoder check FOLDER --device cuda`.)

mod calls;
mod files;
mod limits;

use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use thiserror::Error;

/// Files that may be open at once: connections, libraries, and a model's files while it is read.
const OPEN_FILES_MAX: u64 = 4_096;

/// Whether the encoder process goes behind its walls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxMode {
    /// A process that cannot be walled in whole does not serve.
    Required,
    /// As far as the kernel can; what is missing is logged.
    #[default]
    Auto,
    /// Not at all: for debugging.
    Off,
}

impl SandboxMode {
    /// As it is written in settings and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Auto => "auto",
            Self::Off => "off",
        }
    }
}

impl FromStr for SandboxMode {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Required, Self::Auto, Self::Off]
            .into_iter()
            .find(|mode| mode.name() == name)
            .ok_or_else(|| "use required, auto or off".to_owned())
    }
}

/// What the process needs behind its walls.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// Whether there are walls.
    pub mode: SandboxMode,
    /// Directory or folder of the models, which can be read, with what its links lead to.
    pub models: PathBuf,
    /// Devices of GPUs that are needed, as [`gpu_devices`] finds them; none where networks compute on the processor.
    pub gpu: Vec<PathBuf>,
    /// Most memory for data, in bytes; none for no limit.
    pub memory_bytes: Option<u64>,
}

/// Why a process does not go on.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The operator wants all walls and the kernel has not built them.
    #[error("the sandbox is not whole: {missing}; use a kernel that has it, or --sandbox auto")]
    Missing {
        /// What is missing, and why.
        missing: String,
    },
    /// The limit of memory cannot be set.
    #[error("memory cannot be limited to {bytes} bytes: {source}")]
    Memory {
        /// The limit.
        bytes: u64,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Devices of NVIDIA's GPUs on this machine.
pub fn gpu_devices() -> Vec<PathBuf> {
    let devices = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let named = devices.filter(|each| each.file_name().to_string_lossy().starts_with("nvidia"));
    named.map(|each| each.path()).collect()
}

/// Goes behind the walls, for ever; returns what of them is missing, one line each.
///
/// To be called while the process has a single thread: the wall around files is built for the calling thread and those that
/// it starts.
///
/// # Errors
/// [`SandboxError::Missing`] when they are required and not whole; then some may stand all the same.
pub fn enter_sandbox(options: &SandboxOptions) -> Result<Vec<String>, SandboxError> {
    if let Some(bytes) = options.memory_bytes {
        limits::memory(bytes).map_err(|source| SandboxError::Memory { bytes, source })?;
    }
    if options.mode == SandboxMode::Off {
        return Ok(Vec::new());
    }
    let steps: [(&str, Result<(), String>); 4] = [
        ("a limit of open files", limits::open_files(OPEN_FILES_MAX).map_err(|e| e.to_string())),
        ("no core files", limits::no_core_files().map_err(|error| error.to_string())),
        // Files before calls: opening what is allowed takes calls that are forbidden afterwards.
        ("Landlock, the wall around files", files::restrict(options)),
        ("seccomp, the wall around calls", calls::restrict(!options.gpu.is_empty())),
    ];
    let missing: Vec<String> = steps
        .into_iter()
        .filter_map(|(what, done)| Some(format!("{what} ({})", done.err()?)))
        .collect();
    if options.mode == SandboxMode::Required && !missing.is_empty() {
        return Err(SandboxError::Missing { missing: missing.join(", ") });
    }
    Ok(missing)
}

#[cfg(test)]
mod tests;
