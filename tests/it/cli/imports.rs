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
fn later_rows_widen_the_types_of_a_new_collection() {
    let running = Running::start();
    let mut rows = "object_id,ra,dec,whole,count,late,name\n".to_owned();
    for row in 0..60_000 {
        let (ra, dec) = (f64::from(row) * 1.7e-4, f64::from(row % 1_700) / 10.0 - 85.0);
        let others = match row {
            55_000 => "1.5,7,2.5,12",
            55_001 => "3,seven,,12",
            55_002 => "3,7,--,NGC 12",
            55_003..55_100 => "4,8,,NGC 13",
            _ => "3,7,,12",
        };
        rows += &format!("{row},{ra},{dec},{others}\n");
    }
    std::fs::write(running.path("late.csv"), rows).expect("written");
    let output = running.sidereus(&["import", "late", "late.csv", "--create", "--format", "json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let told = &told["files"][0];
    assert_eq!((&told["inserted"], &told["refused"]), (&Value::from(59_999), &Value::from(1)));
    let said = text(&output.stderr);
    assert!(
        said.contains("column `name` holds texts, since `NGC 12` is no number; 59902 of 60000"),
        "{said}"
    );
    let count =
        |predicate: &str| running.json(&["count", "late", "--where", predicate])["count"].clone();
    assert_eq!(count("whole BETWEEN 1.4 AND 1.6"), 1);
    assert_eq!(count("count = 7 AND whole = 3"), 59_901);
    assert_eq!(count("late = 2.5"), 1);
    assert_eq!(count("name = 'NGC 13'"), 97);

    // Another file into it has the types of the collection, from the first row on.
    let more = "object_id,ra,dec,whole,count,late,name\n60000,10,5,3,7,1,12\n";
    std::fs::write(running.path("more.csv"), more).expect("written");
    running.says(&["import", "late", "more.csv"]);
    assert_eq!(count("name = '12' AND late = 1"), 1);
}

#[test]
fn files_that_do_not_fit_are_found_before_the_first_is_written() {
    let running = Running::start();
    write_rows(&running.path("first.csv"), 20);
    std::fs::write(running.path("second.csv"), "object_id,left,right\n1,10,5\n").expect("written");
    let words = ["import", "rows", "first.csv", "second.csv", "--create"];
    let told = running.complains(&words);
    assert!(told.contains("second.csv; nothing was imported"), "{told}");
    assert!(running.complains(&["count", "rows"]).contains("no collection"));
    let mut here = Command::new(env!("CARGO_BIN_EXE_sidereus"));
    here.args(words).args(["--data", "own"]).current_dir(running.path("."));
    let told = text(&here.env_remove("SIDEREUS_SERVER").output().expect("runs").stderr);
    assert!(told.contains("second.csv; nothing was imported"), "{told}");
    assert!(!running.path("own").exists(), "no database is made for it");

    // What a later file has beside the first, or lacks, is told.
    let third = "object_id,ra,dec,extra\n700,10,5,1\n";
    std::fs::write(running.path("third.csv"), third).expect("written");
    let said =
        text(&running.sidereus(&["import", "rows", "first.csv", "third.csv", "--create"]).stderr);
    assert!(said.contains("column `extra` is left out"), "{said}");
    assert!(said.contains("third.csv has no z: its objects have none"), "{said}");
}

#[test]
fn a_quotation_mark_that_is_never_closed_is_told() {
    let running = Running::start();
    let mut rows = "object_id,ra,dec,class\n".to_owned();
    for row in 1..=200 {
        let class = if row == 100 { "\"GAL" } else { "QSO" };
        rows += &format!("{row},10,5,{class}\n");
    }
    let told = |name: &str, rows: &str| {
        std::fs::write(running.path("quote.csv"), rows).expect("written");
        let output = running.sidereus(&["import", name, "quote.csv", "--create"]);
        text(&output.stdout) + &text(&output.stderr)
    };
    let open = told("open", &rows);
    assert!(open.contains("99 inserted, 0 replaced, 1 refused"), "{open}");
    assert!(open.contains("up to the end of the file, 101 lines later"), "{open}");
    let listed = std::fs::read_to_string(running.path("quote.csv.refused.csv")).expect("listed");
    assert!(listed.contains("\n99,100,"), "its id is told: {listed}");
    let closed = told("closed", "object_id,ra,dec,class\n1,10,5,a\n2,10,5,\"two\nlines\"");
    assert!(closed.contains("2 inserted, 0 replaced, 0 refused"), "{closed}");
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
