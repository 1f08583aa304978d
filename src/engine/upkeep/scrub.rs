//! Reading everything and comparing it with its checksums, beside queries and no faster than allowed.

use std::path::Path;
use std::time::{Duration, Instant};

use super::doctor::is_damage;
use crate::engine::collection::Collection;
use crate::engine::db::Db;
use crate::engine::segment;

/// Longest sleep at once, so that a scrub that is to end does.
const SLEEP_MAX: Duration = Duration::from_millis(200);

/// What a scrub found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScrubReport {
    /// Bytes that were read.
    pub bytes: u64,
    /// What is damaged, a sentence each.
    pub problems: Vec<String>,
    /// Whether it got to the end.
    pub is_complete: bool,
}

impl Db {
    /// Reads every record and every file of every segment and compares them with their checksums. At most `bytes_per_s` are
    /// read (0 for no limit). `go_on` hears of the bytes read so far and ends the scrub by saying false.
    pub fn scrub(&self, bytes_per_s: u64, go_on: &mut dyn FnMut(u64) -> bool) -> ScrubReport {
        let mut report = ScrubReport::default();
        let began = Instant::now();
        let mut bytes = 0;
        let mut told = |read: u64| {
            bytes += read;
            if bytes_per_s > 0 {
                let due = Duration::from_secs_f64(bytes as f64 / bytes_per_s as f64);
                while let Some(ahead) = due.checked_sub(began.elapsed()).filter(|d| !d.is_zero()) {
                    std::thread::sleep(ahead.min(SLEEP_MAX));
                    if !go_on(bytes) {
                        return false;
                    }
                }
            }
            go_on(bytes)
        };
        let (_, failures) = self.store().scrub(&mut told);
        let of_table = |(table, error)| format!("table `{table}`: {error}");
        report.problems.extend(failures.into_iter().map(of_table));
        report.is_complete = self.scrub_segments(&mut told, &mut report.problems);
        report.bytes = bytes;
        report
    }

    fn scrub_segments(
        &self,
        told: &mut dyn FnMut(u64) -> bool,
        problems: &mut Vec<String>,
    ) -> bool {
        for collection in self.open_collections() {
            let Some((folder, manifest)) = segment::newest(collection.folder()) else { continue };
            match segment::check_all(&folder, &manifest, told) {
                Ok(true) => {}
                Ok(false) => return false,
                // A build that ended meanwhile has removed what was being read.
                Err(_) if !folder.exists() => {}
                Err(error) => {
                    let mut problem = format!("collection `{}`: {error}", collection.name());
                    if is_damage(&error) {
                        problem.push_str(&made_again(&collection, &folder));
                    }
                    problems.push(problem);
                }
            }
        }
        told(0)
    }
}

/// Has a damaged segment made again, since it would go on to give wrong answers; says so, to be added to what was found.
fn made_again(collection: &Collection, folder: &Path) -> String {
    match collection.withdraw_segment(folder) {
        Ok(true) => "; the segment was made again from the records".to_owned(),
        Ok(false) => "; the build that runs makes another segment".to_owned(),
        Err(error) => {
            format!("; the segment is not used any more, and could not be made again: {error}")
        }
    }
}
