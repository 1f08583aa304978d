//! The process, as the system sees it.

use std::sync::OnceLock;
use std::time::Instant;

use crate::clock::since_1970;

/// Ticks of a second in `/proc/self/stat`; the same on every Linux that there is.
const TICKS: f64 = 100.0;

/// Sizes of the process.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Process {
    /// Memory in use, in bytes.
    pub(super) resident_bytes: u64,
    /// Open files and connections.
    pub(super) open_files: u64,
    /// The most that there may be.
    pub(super) open_files_max: u64,
    /// Threads.
    pub(super) threads: u64,
    /// Time on processors, in seconds.
    pub(super) processor_seconds: f64,
    /// When it began to count, in seconds since 1970.
    pub(super) start_seconds: f64,
    /// How long ago that is, in seconds.
    pub(super) up_seconds: f64,
}

/// Remembers the moment as the start. Asked for by everything that counts, first when the server is made.
fn start() -> (Instant, f64) {
    static START: OnceLock<(Instant, f64)> = OnceLock::new();
    *START.get_or_init(|| (Instant::now(), since_1970().map_or(0.0, |since| since.as_secs_f64())))
}

impl Process {
    /// Reads what `/proc` tells; what it does not tell is 0.
    pub(super) fn read() -> Self {
        let (began, start_seconds) = start();
        let text =
            |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let (status, stat, limits) = (text("status"), text("stat"), text("limits"));
        let open_files = std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64);
        Self {
            resident_bytes: field(&status, "VmRSS:") * 1_024,
            open_files,
            open_files_max: field(&limits, "Max open files"),
            threads: field(&status, "Threads:"),
            processor_seconds: processor_seconds(&stat),
            start_seconds,
            up_seconds: began.elapsed().as_secs_f64(),
        }
    }
}

/// The first number behind a word at the beginning of a line.
fn field(text: &str, word: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(word));
    rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Fields 14 and 15 of `stat`: time in the program and in the system. The name before them may hold blanks.
fn processor_seconds(stat: &str) -> f64 {
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_files_and_threads() {
        let process = Process::read();
        assert!(process.resident_bytes > 1 << 20, "{process:?}");
        assert!(
            process.open_files >= 3 && process.open_files_max >= process.open_files,
            "{process:?}"
        );
        assert!(process.threads >= 1 && process.start_seconds > 1e9, "{process:?}");
    }

    #[test]
    fn what_is_not_told_is_nothing() {
        assert_eq!(field("VmRSS:\t  12 kB\n", "VmRSS:"), 12);
        assert_eq!(field("VmRSS:\n", "VmRSS:"), 0);
        assert_eq!(field("", "VmRSS:"), 0);
        let stat = "7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0";
        assert_eq!(processor_seconds(stat), 2.0);
        assert_eq!(processor_seconds(""), 0.0);
    }
}
