//! Logs that are written, broken in every way, and read again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;

use super::*;

fn entry(number: u64) -> Entry {
    Entry {
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + number),
        identity: format!("person-{}", number % 3),
        proof: "token:k3f9".to_owned(),
        peer: "127.0.0.1:4711".to_owned(),
        verb: "/sidereus.v1.SearchService/Search".to_owned(),
        collection: number.is_multiple_of(2).then(|| "galaxies".to_owned()),
        role: Some("read".to_owned()),
        decision: match number % 5 {
            0 => Decision::Denied { reason: "no role in `galaxies`".to_owned() },
            _ => Decision::Allowed,
        },
        code: "OK".to_owned(),
        rows: number,
        bytes: number * 100,
        duration: Duration::from_micros(number * 37),
    }
}

fn options(folder: &Path) -> Options {
    Options {
        delay: Duration::from_millis(20),
        retry: Duration::from_millis(10),
        ..Options::new(folder.to_owned())
    }
}

/// A log of some entries, in files of about four.
fn written(folder: &Path, count: u64) {
    let log = Log::open(Options { file_bytes: 1_200, ..options(folder) }).expect("opens");
    for number in 0..count {
        log.append_now(entry(number)).wait().expect("written");
    }
}

type Files = BTreeMap<String, Vec<u8>>;

fn files(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().expect("text");
            (name, fs::read(entry.path()).expect("a file"))
        })
        .collect()
}

fn lay(folder: &Path, files: &Files) {
    for name in self::files(folder).keys() {
        fs::remove_file(folder.join(name)).expect("removed");
    }
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).expect("written");
    }
}

fn is_whole(folder: &Path) -> bool {
    verify(folder).expect("readable").is_whole()
}

#[test]
fn a_log_is_whole_across_files_and_openings() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(verify(folder.path()).expect("empty").is_whole());
    written(folder.path(), 10);
    written(folder.path(), 3);
    let summary = verify(folder.path()).expect("readable");
    assert!(summary.is_whole(), "{:?}", summary.faults);
    assert_eq!((summary.entries, summary.head.0), (13, 13));
    assert!(summary.files >= 3 && summary.notes.is_empty() && summary.unfinished_bytes == 0);
    assert_eq!(summary.first.as_deref(), Some("2023-11-14T22:13:20.000000Z"));
    let mut lines = Vec::new();
    assert_eq!(read(folder.path(), &mut |line| lines.push(line)).expect("readable"), 0);
    assert_eq!(lines.iter().map(|line| line.n).collect::<Vec<_>>(), (1..=13).collect::<Vec<_>>());
    assert_eq!(
        (lines[5].identity.as_str(), lines[5].rows, lines[5].duration_ms),
        ("person-2", 5, 0.185)
    );
    assert_eq!((lines[5].decision.as_str(), lines[5].reason.is_some()), ("denied", true));
    let (mut summary, known) = (summary, lines[6].hash.clone());
    summary.expect(folder.path(), 7, &known).expect("readable");
    assert!(summary.is_whole());
    summary.expect(folder.path(), 8, &known).expect("readable");
    summary.expect(folder.path(), 14, &known).expect("readable");
    assert_eq!(summary.fault_count, 2);
}

#[test]
fn every_changed_byte_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path(), 6);
    let whole = files(folder.path());
    for (name, bytes) in &whole {
        for place in 0..bytes.len() {
            for change in [1, 0x20, 0x80, bytes[place] ^ b'\n'] {
                if change == 0 {
                    continue;
                }
                let mut changed = bytes.clone();
                changed[place] ^= change;
                fs::write(folder.path().join(name), &changed).expect("written");
                assert!(!is_whole(folder.path()), "byte {place} of {name}, changed by {change:#x}");
            }
        }
        fs::write(folder.path().join(name), bytes).expect("written");
    }
    assert!(is_whole(folder.path()));
}

#[test]
fn every_cut_deletion_and_swap_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path(), 9);
    let whole = files(folder.path());
    let logs: Vec<&String> = whole.keys().filter(|name| name.ends_with("jsonl")).collect();
    assert!(logs.len() >= 3);
    for name in whole.keys() {
        let mut less = whole.clone();
        let bytes = less.remove(name).expect("there");
        lay(folder.path(), &less);
        assert!(!is_whole(folder.path()), "without {name}");
        for length in 0..bytes.len() {
            fs::write(folder.path().join(name), &bytes[..length]).expect("written");
            assert!(!is_whole(folder.path()), "{length} bytes of {name}");
        }
        lay(folder.path(), &whole);
    }
    let lines: Vec<(String, String)> = logs
        .iter()
        .flat_map(|name| {
            let text = String::from_utf8(whole[*name].clone()).expect("text");
            text.lines().map(|line| ((*name).clone(), line.to_owned())).collect::<Vec<_>>()
        })
        .collect();
    let laid = |lines: &[(String, String)]| {
        let mut changed: Files = logs.iter().map(|name| ((*name).clone(), Vec::new())).collect();
        changed.insert("head".to_owned(), whole["head"].clone());
        for (name, line) in lines {
            changed.get_mut(name).expect("a file").extend(format!("{line}\n").into_bytes());
        }
        lay(folder.path(), &changed);
        is_whole(folder.path())
    };
    assert!(laid(&lines));
    for first in 0..lines.len() {
        let mut less = lines.clone();
        less.remove(first);
        assert!(!laid(&less), "without line {first}");
        let mut twice = lines.clone();
        twice.insert(first, lines[first].clone());
        assert!(!laid(&twice), "line {first} twice");
        for second in first + 1..lines.len() {
            let mut swapped = lines.clone();
            let text = swapped[first].1.clone();
            swapped[first].1 = std::mem::replace(&mut swapped[second].1, text);
            assert!(!laid(&swapped), "lines {first} and {second} swapped");
        }
    }
}

#[test]
fn faults_are_named_and_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path(), 9);
    let path = folder.path().join("0001.jsonl");
    let text = fs::read_to_string(&path).expect("text");
    fs::write(&path, text.replacen("person-1", "person-7", 1)).expect("written");
    let summary = verify(folder.path()).expect("readable");
    let fault = &summary.faults[0];
    assert_eq!((summary.fault_count, fault.file.as_str(), fault.line), (1, "0001.jsonl", 2));
    assert!(fault.what.contains("was changed"), "{}", fault.what);
    assert_eq!(summary.entries, 8);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.remove(1);
    fs::write(&path, lines.join("\n") + "\n").expect("written");
    let summary = verify(folder.path()).expect("readable");
    assert!(
        summary.faults[0].what.contains("entry 3 where entry 2 belongs"),
        "{:?}",
        summary.faults
    );
    assert_eq!(summary.fault_count, 1, "{:?}", summary.faults);
}

#[test]
fn a_line_that_a_crash_cut_is_put_aside_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path(), 3);
    let path = folder.path().join("0001.jsonl");
    let mut bytes = fs::read(&path).expect("a file");
    // Written and never waited for: half a line, and what a disk makes of a page that it did not write.
    bytes.extend(b"{\"n\":4,\"at\":\"2023\0\0\0\n\0\0");
    fs::write(&path, &bytes).expect("written");
    assert!(!is_whole(folder.path()), "a line that is none");
    written(folder.path(), 2);
    let summary = verify(folder.path()).expect("readable");
    assert!(summary.is_whole(), "{:?}", summary.faults);
    assert_eq!((summary.entries, summary.notes.len()), (6, 1));
    assert!(summary.notes[0].text.contains("put aside"), "{:?}", summary.notes);
    let kept = folder.path().join("torn-before-4");
    assert!(fs::read(&kept).expect("kept").starts_with(b"{\"n\":4"));
    fs::write(&kept, b"something else").expect("written");
    assert!(!is_whole(folder.path()));
    fs::remove_file(&kept).expect("removed");
    assert!(!is_whole(folder.path()));
}

#[test]
fn a_log_that_lost_what_was_promised_is_not_gone_on_with() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path(), 9);
    let whole = files(folder.path());
    let refused = |what: &str| {
        let error = Log::open(options(folder.path())).expect_err(what);
        assert!(matches!(error, AuditError::Damaged { .. }), "{what}: {error}");
        lay(folder.path(), &whole);
    };
    let last = whole.keys().rfind(|name| name.ends_with("jsonl")).expect("a file");
    fs::remove_file(folder.path().join(last)).expect("removed");
    refused("the last file is gone");
    let cut = &whole[last][..whole[last].len() - 1];
    fs::write(folder.path().join(last), cut).expect("written");
    refused("the last line is cut");
    for name in whole.keys().filter(|name| name.ends_with("jsonl")) {
        fs::remove_file(folder.path().join(name)).expect("removed");
    }
    refused("all files are gone");
    // Without its head a log can be gone on with, and says so.
    fs::remove_file(folder.path().join("head")).expect("removed");
    assert!(!is_whole(folder.path()));
    written(folder.path(), 1);
    let summary = verify(folder.path()).expect("readable");
    assert!(summary.is_whole() && summary.notes[0].text.contains("head"), "{:?}", summary.notes);
}

/// A disk that can be full: it writes half of what it is given, or loses it when it is to be synced.
#[derive(Clone, Default)]
struct BadDisk {
    full: Arc<AtomicBool>,
    forgets: Arc<AtomicBool>,
    syncs: Arc<AtomicU64>,
}

impl Disk for BadDisk {
    fn open(&mut self, path: &Path) -> io::Result<File> {
        SystemDisk.open(path)
    }

    fn append(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            SystemDisk.append(file, &bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        SystemDisk.append(file, bytes)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if self.forgets.load(Ordering::Relaxed) {
            file.set_len(file.metadata()?.len().saturating_sub(100))?;
            return Err(io::Error::other("input/output error"));
        }
        SystemDisk.sync(file)
    }

    fn cut(&mut self, file: &File, length: u64) -> io::Result<()> {
        SystemDisk.cut(file, length)
    }

    fn put(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        SystemDisk.put(path, bytes)
    }
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_full_disk_refuses_and_nothing_is_lost_when_there_is_room_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = BadDisk::default();
    let log = Log::open_on(options(folder.path()), disk.clone()).expect("opens");
    log.append_now(entry(0)).wait().expect("written");
    assert!(log.check().is_ok());
    for bad in [&disk.full, &disk.forgets] {
        bad.store(true, Ordering::Relaxed);
        let refused = log.append_now(entry(1)).wait().expect_err("not on the disk");
        assert!(refused.to_string().starts_with("the audit log cannot be written: "), "{refused}");
        assert_eq!(refused.class(), crate::class::Class::Exhausted);
        assert!(log.check().is_err());
        let again = log.append_now(entry(2)).wait().expect_err("not on the disk");
        assert_eq!(again.to_string(), refused.to_string());
        log.append(entry(3));
        std::thread::sleep(Duration::from_millis(50));
        bad.store(false, Ordering::Relaxed);
        until("it recovers by itself", || log.check().is_ok());
        log.append_now(entry(4)).wait().expect("written");
    }
    log.append(entry(5));
    let flushed = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    flushed.block_on(log.flush()).expect("written");
    let so_far = verify(folder.path()).expect("readable");
    assert!(so_far.is_whole() && so_far.entries == 12, "{so_far:?}");
    drop(log);
    let summary = verify(folder.path()).expect("readable");
    assert!(summary.is_whole(), "{:?}", summary.faults);
    assert_eq!((summary.entries, summary.notes.len()), (1 + 2 * 5 + 1, 2));
    assert!(summary.notes[0].text.contains("entries lost: 0"), "{:?}", summary.notes);
}

#[test]
fn what_finds_no_room_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = BadDisk::default();
    let log = Log::open_on(options(folder.path()), disk.clone()).expect("opens");
    disk.full.store(true, Ordering::Relaxed);
    log.append_now(entry(0)).wait().expect_err("full");
    for number in 1..80_000 {
        log.append(entry(number));
    }
    assert!(log.append_now(entry(7)).wait().is_err());
    disk.full.store(false, Ordering::Relaxed);
    until("it recovers by itself", || log.check().is_ok());
    drop(log);
    let summary = verify(folder.path()).expect("readable");
    assert!(summary.is_whole(), "{:?}", summary.faults);
    let lost = 80_001 - (summary.entries - summary.notes.len() as u64);
    // The writer may have found the disk full more than once: every time it says how many it has lost.
    let counts = summary.notes.iter().filter_map(|note| note.text.rsplit_once("lost: "));
    let told: u64 = counts.map(|(_, count)| count.parse::<u64>().expect("a number")).sum();
    assert!(lost > 0 && told == lost, "{lost}, {:?}", summary.notes);
}

#[test]
fn a_hundred_thousand_entries_of_many_threads_are_one_chain() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = BadDisk::default();
    let set = Options { file_bytes: 8 << 20, ..options(folder.path()) };
    let log = Log::open_on(set, disk.clone()).expect("opens");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let log = log.clone();
            scope.spawn(move || {
                for number in 0..25_000 {
                    // A burst that the disk cannot keep up with is held back as calls are.
                    while log.check().is_err() {
                        std::thread::yield_now();
                    }
                    if number % 500 == 0 {
                        log.append_now(entry(thread * 25_000 + number)).wait().expect("written");
                    } else {
                        log.append(entry(thread * 25_000 + number));
                    }
                }
            });
        }
    });
    drop(log);
    let summary = verify(folder.path()).expect("readable");
    assert!(summary.is_whole(), "{:?}", summary.faults);
    assert_eq!((summary.entries, summary.notes.len()), (100_000, 0));
    // Entries share the waits for the disk.
    assert!(disk.syncs.load(Ordering::Relaxed) < 2_000, "{}", disk.syncs.load(Ordering::Relaxed));
    let mut last = [0; 4];
    read(folder.path(), &mut |line| {
        let place = &mut last[(line.rows / 25_000) as usize];
        assert!(*place <= line.rows, "entries of one thread are in its order");
        *place = line.rows;
    })
    .expect("readable");
}

#[test]
fn entries_that_nobody_waits_for_reach_the_disk_in_time_while_others_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = Log::open(options(folder.path())).expect("opens");
    for round in 1..=5 {
        log.append(entry(round));
        until("within the delay", || {
            let summary = verify(folder.path()).expect("readable");
            assert!(summary.is_whole(), "{:?}", summary.faults);
            summary.entries == round
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever texts callers send, a line stays one line that reads as it was bounded, and changes of several bytes are found.
    #[test]
    fn any_texts_and_any_changes(
        identity in "\\PC{0,40}|[\\x00-\\x1f\\x7f\u{80}-\u{9f}\u{202e}\"\\\\]{0,400}",
        reason in ".{0,900}",
        places in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..6),
        removed in prop::option::of((any::<prop::sample::Index>(), 1_usize..400)),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::open(options(folder.path())).expect("opens");
        for number in 0..4 {
            let decision = Decision::Denied { reason: reason.clone() };
            let given = Entry { identity: identity.clone(), decision, ..entry(number) };
            log.append_now(given).wait().expect("written");
        }
        drop(log);
        prop_assert!(is_whole(folder.path()));
        let path = folder.path().join("0001.jsonl");
        let bytes = fs::read(&path).expect("a file");
        prop_assert_eq!(bytes.split(|byte| *byte == b'\n').count(), 5);
        prop_assert!(bytes.iter().all(|byte| *byte == b'\n' || (*byte >= 0x20 && *byte != 0x7f)));
        prop_assert!(bytes.len() < 4 * 2_500);
        read(folder.path(), &mut |line| {
            assert!(line.identity.len() <= 256 && line.reason.expect("a reason").len() <= 512);
        }).expect("readable");
        let mut changed = bytes.clone();
        for (place, change) in places {
            let place = place.index(changed.len());
            changed[place] ^= change;
        }
        if let Some((place, count)) = removed {
            let place = place.index(changed.len());
            changed.drain(place..changed.len().min(place + count));
        }
        prop_assume!(changed != bytes);
        fs::write(&path, &changed).expect("written");
        prop_assert!(!is_whole(folder.path()));
    }
}
