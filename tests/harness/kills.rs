//! `kill -9` of a process that writes, builds, backs up and releases.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sidereus::backup::{self, Remote};
use sidereus::engine::{Db, ReleaseText};

use super::world::Model;
use super::world::{NAME, apply, create, difference, mixed, open, write};

/// What the kills met.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Processes killed.
    pub(crate) kills: u64,
    /// Version at the end.
    pub(crate) version: u64,
    /// How often a kill fell into each phase.
    pub(crate) phases: BTreeMap<String, u64>,
    /// Releases that were there and whole.
    pub(crate) releases: u64,
}

/// The process that is killed: writes for ever, and beside it builds, backs up and releases. Everything is said before it
/// begins and after it is done.
pub(crate) fn work_forever(place: &Path) -> ! {
    let db = open(&place.join("data"));
    let upkeep = db.clone();
    let kept = place.join("kept").display().to_string();
    std::thread::spawn(move || upkeep_forever(&upkeep, &kept));
    let mut version = db.collection(NAME).expect("is there").version;
    loop {
        version += 1;
        println!("\nbegin write {version}");
        write(&db, version);
        println!("\nend write {version}");
    }
}

fn upkeep_forever(db: &Db, kept: &str) -> ! {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let place = Remote::open(kept).expect("opens");
    let mut round = u64::from(std::process::id());
    loop {
        round += 1;
        println!("\nbegin build {round}");
        db.build_index(NAME, &mut |_, _, _| {}).expect("builds");
        println!("\nend build {round}");
        println!("\nbegin release {round}");
        let name = format!("r{round}-{}", db.releases(NAME).expect("lists").len());
        db.create_release(NAME, &name, ReleaseText::default(), &mut |_, _, _| {})
            .expect("releases");
        println!("\nreleased {name}");
        println!("\nend release {round}");
        println!("\nbegin snapshot {round}");
        let made = runtime.block_on(backup::create(db, &place, &mut |_, _, _| {}));
        println!("\nsnapshot {}", made.expect("a snapshot").name);
        println!("\nend snapshot {round}");
        println!("\nbegin withdraw {round}");
        db.withdraw_release(NAME, &name, "a test", round.is_multiple_of(2)).expect("withdraws");
        println!("\nend withdraw {round}");
    }
}

/// What a killed process said.
#[derive(Debug, Default)]
struct Said {
    begun: u64,
    acknowledged: u64,
    open: BTreeMap<String, String>,
    released: Vec<String>,
    snapshots: Vec<String>,
}

fn listen(child: &mut Child) -> std::thread::JoinHandle<Said> {
    let lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
    std::thread::spawn(move || {
        let mut said = Said::default();
        for line in lines.map_while(Result::ok) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["begin", what, number] => {
                    if what == "write" {
                        said.begun = number.parse().expect("a number");
                    }
                    said.open.insert(what.to_owned(), number.to_owned());
                }
                ["end", what, number] => {
                    if what == "write" {
                        said.acknowledged = number.parse().expect("a number");
                    }
                    said.open.remove(what);
                }
                ["released", name] => said.released.push(name.to_owned()),
                ["snapshot", name] => said.snapshots.push(name.to_owned()),
                _ => {}
            }
        }
        said
    })
}

/// Kills so many processes, which `start` starts for a folder.
pub(crate) async fn run(folder: &Path, kills: u64, start: impl Fn(&Path) -> Command) -> Report {
    {
        let db = open(&folder.join("data"));
        create(&db);
    }
    let mut report = Report::default();
    let mut model = Model::new();
    let place = Arc::new(Remote::open(&folder.join("kept").display().to_string()).expect("opens"));
    for round in 0..kills {
        let mut child = start(folder).stdout(std::process::Stdio::piped()).spawn().expect("starts");
        let listening = listen(&mut child);
        let started = Instant::now();
        let wait = Duration::from_millis(200 + mixed(round) % 900);
        tokio::time::sleep(wait.saturating_sub(started.elapsed())).await;
        child.kill().expect("kills");
        child.wait().expect("ends");
        let said = listening.join().expect("listens");
        for phase in said.open.keys() {
            *report.phases.entry(phase.clone()).or_default() += 1;
        }
        let db = open(&folder.join("data"));
        let version = db.collection(NAME).expect("is there").version;
        assert!(version >= said.acknowledged, "acknowledged writes are lost in round {round}");
        assert!(version <= said.begun.max(report.version), "a write that never began is there");
        (report.version + 1..=version).for_each(|version| apply(&mut model, version));
        report.version = version;
        assert_eq!(difference(&db, NAME, &model), None, "after round {round}");
        report.releases += check_releases(&db, &said);
        drop(db);
        // What a killed process left under way is a week old at once for nobody: it is done by hand.
        let _ = std::fs::remove_dir_all(folder.join("kept/under-way"));
        if let Some(name) = said.snapshots.last() {
            backup::verify(&place, name, &mut |_, _, _| {}).await.expect("is whole");
        }
        report.kills += 1;
    }
    report
}

/// Every release that is there is what its record says, and every acknowledged one is there.
fn check_releases(db: &Db, said: &Said) -> u64 {
    let releases = db.releases(NAME).expect("lists");
    for name in &said.released {
        assert!(releases.iter().any(|release| release.name == *name), "{name} is lost");
    }
    let mut whole = 0;
    for release in releases.iter().filter(|release| release.has_data()) {
        let (_, hash) =
            db.verify_release(NAME, &release.name, &mut |_, _, _| {}).expect("verifies");
        assert_eq!(hash.to_string(), release.content_hash, "{}", release.name);
        whole += 1;
    }
    whole
}
