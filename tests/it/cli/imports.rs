//! Imports that are stopped, given twice, or of files that say things twice.

use std::time::{Duration, Instant};

use super::*;

/// Rows of a file of more messages than may be under way at once, so that not all are when the first is answered.
const MANY: usize = 4_000_000;

fn write_rows(path: &Path, rows: usize) {
    let file = std::fs::File::create(path).expect("created");
    let mut file = std::io::BufWriter::new(file);
    writeln!(file, "object_id,ra,dec,z").expect("written");
    for row in 0..rows {
        let (ra, dec) = (row as f64 * 1.7e-4, (row % 1_700) as f64 / 10.0 - 85.0);
        writeln!(file, "{row},{ra},{dec},{}", row % 97).expect("written");
    }
}

/// Stops a process as control-C does.
fn interrupt(child: &Child) {
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("runs").success());
}

#[test]
fn a_stopped_import_says_what_is_there_and_how_to_go_on() {
    let running = Running::start();
    write_rows(&running.path("many.csv"), MANY);
    let count = || running.sidereus(&["count", "many", "--format", "json"]);
    let counted = |output: &Output| {
        let told: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        told.and_then(|told| told["count"].as_u64()).unwrap_or(0)
    };
    let child = Command::new(env!("CARGO_BIN_EXE_sidereus"))
        .args(["import", "many", "many.csv", "--create", "--format", "json"])
        .args(["--server", &running.url])
        .current_dir(running.folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let began = Instant::now();
    while counted(&count()) == 0 {
        assert!(began.elapsed() < Duration::from_mins(2), "no row came");
    }
    interrupt(&child);
    let output = child.wait_with_output().expect("ends");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("stopping: ") && said.contains("without --create"), "{said}");
    assert!(!said.contains("error:"), "{said}");
    // What it says was written is there, and nothing else.
    let report: Value = serde_json::from_slice(&output.stdout).expect("json");
    let written = counted(&count());
    assert_eq!(report["files"][0]["inserted"], written, "{report}");
    assert!(written > 0 && written < MANY as u64, "{written}");

    let again = running.complains(&["import", "many", "many.csv", "--create"]);
    assert!(again.contains("leave out --create"), "{again}");
    write_rows(&running.path("few.csv"), 50_000);
    let rest = running.json(&["import", "many", "few.csv"]);
    assert_eq!((&rest["files"][0]["replaced"], counted(&count())), (&Value::from(50_000), written));
}

#[test]
fn rows_that_share_an_id_are_told() {
    let running = Running::start();
    let rows = "object_id,ra,dec\n1,10,5\n2,10,6\n1,11,5\n3,10,95\n";
    std::fs::write(running.path("twice.csv"), rows).expect("written");
    let said = |words: &[&str]| text(&running.sidereus(words).stderr);
    let first = said(&["import", "twice", "twice.csv", "--create"]);
    assert!(first.contains("1 row has the object_id of an earlier row"), "{first}");
    assert!(first.contains("1 refused row is listed in"), "{first}");
    // What was there before cannot be told from what came twice.
    let second = said(&["import", "twice", "twice.csv"]);
    assert!(!second.contains("earlier row"), "{second}");
}

#[test]
fn a_metric_that_a_space_does_not_have_is_refused() {
    let running = Running::start();
    running.import_catalogue();
    let again = ["import", "galaxies", "catalogue.csv", "--vectors", "phase=phase.npy"];
    let told = running.complains(&[&again[..], &["--metric", "ip"]].concat());
    assert!(told.contains("are compared by cosine, not ip"), "{told}");
    running.says(&[&again[..], &["--metric", "cosine"]].concat());
}

#[test]
fn types_that_nothing_tells_are_not_guessed_and_doubtful_ones_are_told() {
    let running = Running::start();
    std::fs::write(running.path("empty.csv"), "object_id,ra,dec,z\n").expect("written");
    let told = running.complains(&["import", "e", "empty.csv", "--create"]);
    assert!(told.contains("has no rows") && told.contains("collection create"), "{told}");
    assert!(running.complains(&["count", "e"]).contains("no collection"));

    let rows = "object_id,ra,dec,z\n1,10,5,0.5\n2,10,6,oops\n3,11,5,0.25\n";
    std::fs::write(running.path("stray.csv"), rows).expect("written");
    let said = text(&running.sidereus(&["import", "stray", "stray.csv", "--create"]).stderr);
    assert!(said.contains("column `z` holds texts, since `oops` is no number; 2 of"), "{said}");
}

#[test]
fn an_array_of_another_length_is_refused_before_anything_is_written() {
    let running = Running::start();
    running.import_catalogue();
    let few: Vec<_> = (1..OBJECTS).map(vector).collect();
    write_npy(&running.path("few.npy"), &few);
    for space in ["phase=few.npy", "other=few.npy"] {
        let told = running.complains(&["import", "galaxies", "catalogue.csv", "--vectors", space]);
        assert!(told.contains("has 399 vectors for the 400 rows"), "{told}");
    }
    let shown = running.json(&["collection", "show", "galaxies"]);
    assert!(!shown.to_string().contains("other"), "{shown}");
    let status = running.json(&["index", "status", "galaxies"]);
    assert_eq!(status["version"], 1, "{status}");
}

#[test]
fn a_build_in_the_background_is_told() {
    let running = Running::start();
    write_rows(&running.path("rows.csv"), 150_000);
    running.says(&["import", "rows", "rows.csv", "--create"]);
    let (began, mut stages) = (Instant::now(), Vec::new());
    loop {
        let status = running.json(&["index", "status", "rows"]);
        match status["build"].as_str() {
            Some(stage) => stages.push(stage.to_owned()),
            None if status["tail_rows"] == 0 => break,
            None => {}
        }
        assert!(began.elapsed() < Duration::from_mins(2), "{stages:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(stages.iter().any(|stage| !stage.starts_with("waiting")), "{stages:?}");
}
