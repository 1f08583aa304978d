//! Imports into a database that the program opens itself.

use super::*;

fn run(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidereus"));
    command.args(words).current_dir(folder).env_remove("SIDEREUS_SERVER");
    command.output().expect("the program runs")
}

const IMPORT: [&str; 5] = ["import", "galaxies", "catalogue.csv", "--data", "own"];
const VECTORS: [&str; 2] = ["--vectors", "phase=phase.npy"];

fn write_files(folder: &Path) {
    write_catalogue(&folder.join("catalogue.csv"));
    write_npy(&folder.join("phase.npy"), &(0..OBJECTS).map(vector).collect::<Vec<_>>());
}

#[test]
fn what_is_imported_without_a_server_is_what_one_would_have_taken() {
    let asked = Running::start();
    asked.import_catalogue();
    let folder = tempfile::tempdir().expect("a folder");
    write_files(folder.path());
    let words = [&IMPORT[..], &VECTORS, &["--create", "--format", "json"]].concat();
    let output = run(folder.path(), &words);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("json");
    assert_eq!(report["files"][0]["inserted"], OBJECTS, "{report}");

    let own = Running::over(folder);
    for words in [
        &["count", "galaxies"][..],
        &["count", "galaxies", "--where", "z > 0.1 AND class = 'QSO'"],
        &["search", "galaxies", "--like", "7", "--space", "phase", "-k", "20"],
        &["search", "galaxies", "--cone", "10.5,-0.5,0.2"],
        &["get", "galaxies", "0", "17", "399"],
        &["collection", "show", "galaxies"],
    ] {
        let told = |running: &Running| {
            let mut told = running.json(words);
            // The one thing that may differ.
            if let Some(elapsed) = told.pointer_mut("/stats/elapsed_ms") {
                elapsed.take();
            }
            told
        };
        assert_eq!(told(&own), told(&asked), "{words:?}");
    }
}

#[test]
fn rows_are_merged_replaced_and_refused_as_by_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    write_files(folder.path());
    let words = [&IMPORT[..], &VECTORS, &["--create"]].concat();
    assert!(run(folder.path(), &words).status.success());
    let rows = "object_id,ra,dec,z\n1,10,5,7.5\n2,10,95,1\n3,10,x,1\n500,11,6,2\n";
    std::fs::write(folder.path().join("more.csv"), rows).expect("written");
    let words = ["import", "galaxies", "more.csv", "--data", "own", "--merge", "--format", "json"];
    let output = run(folder.path(), &words);
    let report: Value = serde_json::from_slice(&output.stdout).expect("json");
    let told = &report["files"][0];
    let counts = ["inserted", "replaced", "refused"].map(|count| told[count].as_u64());
    assert_eq!(counts, [Some(1), Some(1), Some(2)], "{report}");
    assert!(folder.path().join("more.csv.refused.csv").exists());

    let own = Running::over(folder);
    let merged = own.json(&["count", "galaxies", "--where", "z = 7.5 AND class = 'QSO'"]);
    assert_eq!(merged["count"], 1, "{merged}");
    let like = own.json(&["search", "galaxies", "--like", "1", "--space", "phase", "-k", "2"]);
    assert_eq!(ids(&like).len(), 2, "the vector is still there");
}

#[test]
fn words_for_what_is_missing_are_missing_numbers_and_remain_texts() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = "object_id,ra,dec,z,count,note,unknown\n1,10,5,0.5,NULL,null,NA\n2,11,5,--,3,bright,\n3,12,5,N/A,\\N,None,--\n";
    std::fs::write(folder.path().join("masked.csv"), rows).expect("written");
    let words = ["import", "masked", "masked.csv", "--data", "own", "--create"];
    let output = run(folder.path(), &words);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.contains("`unknown` is stored as text: no value in its rows"), "{said}");
    let own = Running::over(folder);
    let count =
        |predicate: &str| own.json(&["count", "masked", "--where", predicate])["count"].clone();
    assert_eq!(count("z IS NULL"), 2);
    assert_eq!(count("count IS NULL"), 2);
    assert_eq!(count("z > 0.4 AND note = 'null'"), 1);
    assert_eq!(count("note IS NULL"), 0);
}

#[test]
fn a_pipe_is_read_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let piped = |name: &str, rows: &str, more: &[&str]| {
        std::fs::write(folder.path().join("rows.txt"), rows).expect("written");
        let words = ["import", name, "/dev/stdin", "--data", "own", "--create"];
        let mut cat = Command::new("cat")
            .arg(folder.path().join("rows.txt"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("runs");
        let program = Command::new(env!("CARGO_BIN_EXE_sidereus"))
            .current_dir(folder.path())
            .args(words)
            .args(more)
            .stdin(cat.stdout.take().expect("a pipe"))
            .output();
        cat.wait().expect("ends");
        program.expect("runs")
    };
    let told = piped("sky", "object_id,ra,dec\n1,10,5\n", &[]);
    assert!(text(&told.stderr).contains("--input-format"), "{}", text(&told.stderr));
    let format = ["--input-format", "csv"];
    let rows = "# object_id,ra,dec,z\n1,10,5,0.5\n2,10,95,0.5\n3,11,5,0.25\n";
    let output = piped("sky", rows, &format);
    assert!(text(&output.stdout).contains("2 inserted"), "{}", text(&output.stderr));
    assert!(folder.path().join("stdin.refused.csv").is_file(), "where the program runs");
    let own = Running::over(folder);
    assert_eq!(own.json(&["count", "sky", "--where", "z > 0.4"])["count"], 1);
}

#[test]
fn vectors_that_an_import_would_drop_are_told_first() {
    let folder = tempfile::tempdir().expect("a folder");
    write_files(folder.path());
    let words = [&IMPORT[..], &VECTORS, &["--create"]].concat();
    assert!(run(folder.path(), &words).status.success());
    let output = run(folder.path(), &[&IMPORT[..], &["--merge"]].concat());
    assert!(!text(&output.stderr).contains("lose"), "{}", text(&output.stderr));
    let output = run(folder.path(), &IMPORT);
    let said = text(&output.stderr);
    assert!(said.contains("lose their vectors of phase") && said.contains("--merge"), "{said}");
    let words = [&IMPORT[..], &["--metric", "l2"]].concat();
    let said = complaint(&words, &run(folder.path(), &words));
    assert!(said.contains("--metric") && said.contains("--vectors"), "{said}");
}

#[test]
fn a_large_import_leaves_its_index() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalogue = std::fs::File::create(folder.path().join("large.csv")).expect("created");
    let mut catalogue = std::io::BufWriter::new(catalogue);
    writeln!(catalogue, "object_id,ra,dec").expect("written");
    for row in 0..60_000 {
        writeln!(catalogue, "{row},{},{}", f64::from(row) * 6e-3, f64::from(row) * 1e-3)
            .expect("written");
    }
    drop(catalogue);
    let turns: Vec<_> = (0..60_000).map(|row| vector(row % OBJECTS)).collect();
    write_npy(&folder.path().join("phase.npy"), &turns);
    let words = ["import", "large", "large.csv", "--data", "own", "--create"];
    let output = run(folder.path(), &[&words[..], &VECTORS].concat());
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("index built in"), "{said}");
    let words = ["import", "waiting", "large.csv", "--data", "own", "--create", "--no-index"];
    let output = run(folder.path(), &words);
    let said = text(&output.stderr);
    assert!(output.status.success() && !said.contains("index built"), "{said}");
    let own = Running::over(folder);
    let status = own.json(&["index", "status", "large"]);
    let count = |what: &str| status[what].as_u64().expect("a count");
    assert!(count("tail_rows") == 0 && count("indexed_version") > 0, "{status}");
    let like = own.json(&["search", "large", "--like", "7", "--space", "phase", "-k", "149"]);
    let mut same: Vec<usize> = ids(&like).iter().map(|id| id.parse().expect("a number")).collect();
    same.sort_unstable();
    assert_eq!(same, (1..150).map(|turn| 7 + turn * OBJECTS).collect::<Vec<_>>());
}

#[test]
fn a_database_that_is_not_there_or_in_use_is_said() {
    let running = Running::start();
    write_files(running.folder.path());
    let folder = running.folder.path();
    std::fs::create_dir(folder.join("empty")).expect("made");
    let told = |words: &[&str]| complaint(words, &run(folder, words));
    for place in ["nowhere", "empty"] {
        let nowhere = told(&["import", "galaxies", "catalogue.csv", "--data", place]);
        assert!(nowhere.contains("no database in /"), "{nowhere}");
        assert!(nowhere.contains(&format!("/{place}: check the path")), "{nowhere}");
    }
    assert!(!folder.join("nowhere").exists());
    assert_eq!(std::fs::read_dir(folder.join("empty")).expect("lists").count(), 0);
    let new = ["--data", "nowhere", "--create"];
    for (words, hint) in [
        (&["catalog.csv"][..], "catalog.csv"),
        (&["catalogue.csv", "catalog.csv"], "nothing was imported"),
        (&["catalogue.csv", "--map", "ra=RAJ2000"], "RAJ2000"),
        (&["catalogue.csv", "--vectors", "phase=phases.npy"], "phases.npy"),
        (&["catalogue.csv", "--metric", "l2"], "--vectors"),
    ] {
        let told = told(&[&["import", "galaxies"], words, &new].concat());
        assert!(told.contains(hint), "{told}");
        assert!(!folder.join("nowhere").exists(), "no directory for what cannot be imported");
    }
    let in_use = told(&["import", "galaxies", "catalogue.csv", "--data", "data", "--create"]);
    assert!(in_use.contains("data") && in_use.contains("another"), "{in_use}");
    let both =
        run(folder, &["import", "g", "catalogue.csv", "--data", "x", "--server", &running.url]);
    assert!(!both.status.success() && text(&both.stderr).contains("--server"));
    let words = ["import", "g", "catalogue.csv", "--no-index", "--server", &running.url];
    assert!(!run(folder, &words).status.success(), "a server builds as its settings say");
}
