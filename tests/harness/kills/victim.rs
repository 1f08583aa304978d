//! The real program, which is killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tonic::transport::{Channel, Endpoint};

/// Settings: a bulk batch of any size takes the way of large ones, and nothing is built unless somebody asks for it, which the
/// harness does all the time.
const SETTINGS: &str = "version = 1\n[http]\nenabled = false\n[storage]\nbulk_min_mib = 0\ncache_mib = 16\n\
    write_buffer_mib = 1\nscrub_mib_s = 0\n[index]\nauto_rows = 0\n[backup.disk]\nurl = ";

/// How long a server may take until it listens.
const OPENING_MAX: Duration = Duration::from_mins(1);

/// Lines of the log that are told when something is wrong.
const LOG_LINES: usize = 40;

/// Places of a harness in a folder, which stay the same through all kills.
#[derive(Debug)]
pub(super) struct Places {
    data: PathBuf,
    kept: PathBuf,
    settings: PathBuf,
    log: PathBuf,
}

impl Places {
    /// Names the places and writes the settings.
    pub(super) fn new(folder: &Path) -> Self {
        let place = |name: &str| folder.join(name);
        let places = Self {
            data: place("data"),
            kept: place("kept"),
            settings: place("sidereus.toml"),
            log: place("log"),
        };
        std::fs::create_dir_all(&places.kept).expect("a folder");
        let text = format!("{SETTINGS}{:?}\n", places.kept.display().to_string());
        std::fs::write(&places.settings, text).expect("the settings are written");
        places
    }

    /// What a server that was killed says of snapshots under way would keep others from pruning for a week; its operator, who
    /// knows that it is dead, removes it.
    pub(super) fn forget_snapshots_under_way(&self) {
        let _ = std::fs::remove_dir_all(self.kept.join("under-way"));
    }

    /// The end of the last server's log.
    pub(super) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

/// A server that runs; killed when this is dropped.
pub(super) struct Victim {
    child: Child,
    began: Instant,
}

impl Victim {
    /// Starts it and does not wait.
    pub(super) fn start(places: &Places) -> Self {
        let log = std::fs::File::create(&places.log).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_sidereus"))
            .args(["serve", "--grpc", "127.0.0.1:0", "--log", "info", "--data"])
            .arg(&places.data)
            .arg("--config")
            .arg(&places.settings)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        Self { child, began: Instant::now() }
    }

    /// Waits until it listens; tells how to reach it and how long it took.
    ///
    /// # Errors
    /// It ends, or does not listen in time.
    pub(super) fn listening(&mut self) -> Result<(Endpoint, Duration), String> {
        let output = self.child.stdout.take().ok_or("it was waited for already")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        loop {
            let left = OPENING_MAX.saturating_sub(self.began.elapsed());
            let Ok(line) = lines.recv_timeout(left) else {
                let state = self.child.try_wait().map_err(|error| error.to_string())?;
                return Err(match state {
                    Some(status) => format!("the server does not start again: {status}"),
                    None => format!("the server does not listen after {OPENING_MAX:?}"),
                });
            };
            if let Some(address) = line.split_whitespace().find_map(|w| w.strip_prefix("grpc://")) {
                let endpoint = Channel::from_shared(format!("http://{address}"));
                let endpoint = endpoint.map_err(|error| error.to_string())?;
                return Ok((endpoint, self.began.elapsed()));
            }
        }
    }

    /// Sends SIGKILL and waits for the end. It must have lived until then.
    pub(super) fn kill(mut self) -> Result<(), String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("the server ended before it was killed: {status}"));
        }
        self.child.kill().map_err(|error| error.to_string())?;
        self.child.wait().map_err(|error| error.to_string())?;
        Ok(())
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
