//! Restore drills, `kill -9`, and flipped bits in numbers: `cargo bench --bench drills -- --drills 100 --kills 1000 --flips 10000`;
//! and, with `--names`, every hostile text in every field of every request, watched by `strace`.
//!
//! What is left out is run zero times. Each harness ends at the first thing that is wrong.

#![allow(missing_docs, reason = "a program")]

#[expect(dead_code, reason = "what its tests use alone: a program has none")]
#[path = "../tests/harness/mod.rs"]
mod harness;

use std::time::Instant;

use harness::{drills, flips, kills, names};

/// Queries by which a restored database is compared.
const QUERIES: u64 = 1_000;

/// Versions of eighty writes each that follow a release: 100,000 writes.
const LATER: u64 = 1_250;

fn wanted(name: &str) -> u64 {
    let mut words = std::env::args().skip_while(|word| word != name).skip(1);
    words.next().map_or(0, |count| count.parse().expect("a number"))
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (drill_count, kill_count) = (wanted("--drills"), wanted("--kills"));
    let flip_count = wanted("--flips");
    let folder = tempfile::tempdir().expect("a folder");
    if drill_count > 0 {
        let began = Instant::now();
        let place = folder.path().join("drills");
        let handle = runtime.handle().clone();
        let report = runtime.block_on(async move {
            let drill = async move { drills::run(&place, drill_count, QUERIES, LATER).await };
            handle.spawn(drill).await.expect("the drills end")
        });
        println!("{report:?} in {:.0} s", began.elapsed().as_secs_f64());
    }
    if kill_count > 0 {
        let began = Instant::now();
        let report = runtime.spawn(kills::run(kill_count));
        let report = runtime.block_on(report).expect("nothing is wrong");
        println!("{report:?} in {:.0} s", began.elapsed().as_secs_f64());
    }
    if flip_count > 0 {
        let began = Instant::now();
        let report = flips::run(&folder.path().join("flips"), flip_count, 1);
        println!("{report:?} in {:.0} s", began.elapsed().as_secs_f64());
    }
    if std::env::args().any(|word| word == "--names") {
        let place = folder.path().join("names");
        std::fs::create_dir_all(&place).expect("a folder");
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_sidereus"));
        let all = names::Share { of: 1, turn: 0 };
        let report = runtime.block_on(names::run(&place, program, all));
        println!("{report}");
        assert!(report.watched, "strace is not installed, or may not be used: nothing was watched");
    }
}
