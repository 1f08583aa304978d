//! The program itself: real processes, real files, and what they print.

mod discovery;
mod here;
mod imports;
mod newcomer;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::support::npy;

/// Objects of the test catalogue; neighbours in number are neighbours in space `phase`.
const OBJECTS: usize = 400;

/// A server process on a free port, stopped at the end of the test.
pub(crate) struct Running {
    child: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Running {
    pub(crate) fn start() -> Self {
        Self::serving(tempfile::tempdir().expect("a folder"), "data")
    }

    /// A server of the database `own` of a folder.
    fn over(folder: tempfile::TempDir) -> Self {
        Self::serving(folder, "own")
    }

    fn serving(folder: tempfile::TempDir, data: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sidereus"))
            .args(["serve", "--grpc", "127.0.0.1:0", "--log", "warn", "--data"])
            .arg(folder.path().join(data))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.strip_prefix("listening on grpc://").expect("the ready line");
        let address = address.split(' ').next().expect("an address");
        assert!(line.contains(" data="), "{line}");
        Self { child, url: format!("http://{address}"), folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sidereus(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidereus"));
        command.args(words).args(["--server", &self.url]).current_dir(self.folder.path());
        command.output().expect("the program runs")
    }

    /// Standard output of a command that must succeed.
    pub(crate) fn says(&self, words: &[&str]) -> String {
        let output = self.sidereus(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let words = [words, &["--format", "json"]].concat();
        serde_json::from_str(&self.says(&words)).expect("json")
    }

    /// The one line on standard error of a command that must fail.
    pub(crate) fn complains(&self, words: &[&str]) -> String {
        complaint(words, &self.sidereus(words))
    }

    /// A catalogue of [`OBJECTS`] rows and its vectors.
    fn import_catalogue(&self) -> Value {
        write_catalogue(&self.path("catalogue.csv"));
        write_npy(&self.path("phase.npy"), &(0..OBJECTS).map(vector).collect::<Vec<_>>());
        let words =
            ["import", "galaxies", "catalogue.csv", "--create", "--vectors", "phase=phase.npy"];
        self.json(&words)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn complaint(words: &[&str], output: &Output) -> String {
    let stderr = text(&output.stderr);
    assert!(!output.status.success(), "{words:?} succeeded: {}", text(&output.stdout));
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{words:?}: {stderr}");
    assert!(
        stderr.trim_end().ends_with(errors[0].trim_end()),
        "the error is the last line: {stderr}"
    );
    errors[0].to_owned()
}

fn write_catalogue(path: &Path) {
    let mut file = std::fs::File::create(path).expect("a file");
    writeln!(file, "object_id,ra,dec,z,class").expect("written");
    for number in 0..OBJECTS {
        let (ra, dec) = (10.0 + 0.005 * number as f64, -1.0 + 0.005 * number as f64);
        let class = if number % 2 == 0 { "GALAXY" } else { "QSO" };
        writeln!(file, "{number},{ra},{dec},{},{class}", 0.001 * number as f64).expect("written");
    }
}

/// A point of a half circle.
fn vector(number: usize) -> [f32; 2] {
    let angle = std::f32::consts::PI * number as f32 / OBJECTS as f32;
    [angle.cos(), angle.sin()]
}

/// Writes single-precision vectors as `numpy.save` does.
fn write_npy(path: &Path, rows: &[[f32; 2]]) {
    let bytes = npy(&format!("{}, 2", rows.len()), &rows.concat());
    std::fs::write(path, bytes).expect("written");
}

fn ids(answer: &Value) -> Vec<&str> {
    let hits = answer["hits"].as_array().expect("hits");
    hits.iter().map(|hit| hit["object_id"].as_str().expect("ids are strings")).collect()
}

#[test]
fn words_that_are_not_understood_cost_one_line() {
    for words in
        [&["search"][..], &["serch", "galaxies"], &["count", "a", "--cone"], &["import", "a"]]
    {
        let output =
            Command::new(env!("CARGO_BIN_EXE_sidereus")).args(words).output().expect("runs");
        let line = complaint(words, &output);
        assert!(line.contains("--help"), "{line}");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn without_a_server_the_way_to_start_one_is_said() {
    let output = Command::new(env!("CARGO_BIN_EXE_sidereus"))
        .args(["collection", "list", "--server", "http://127.0.0.1:9"])
        .output()
        .expect("runs");
    let line = complaint(&["collection", "list"], &output);
    assert!(line.contains("sidereus serve --data"), "{line}");
}

#[test]
fn a_catalogue_is_imported_searched_and_deleted() {
    let server = Running::start();
    let report = server.import_catalogue();
    assert_eq!(report["files"][0]["inserted"], OBJECTS);
    assert_eq!(report["files"][0]["refused"], 0);
    assert_eq!(server.json(&["count", "galaxies"])["count"], OBJECTS);
    let quasars = server.json(&["count", "galaxies", "--where", "class = 'QSO' AND z < 0.1"]);
    assert_eq!(quasars["count"], 50);

    let near =
        server.json(&["search", "galaxies", "--like", "100", "-k", "2", "--columns", "z,class"]);
    let mut found = ids(&near);
    found.sort_unstable();
    assert_eq!(found, ["101", "99"]);
    assert_eq!(near["hits"][0]["columns"]["class"], "QSO");
    assert_eq!(near["stats"]["rows_total"], OBJECTS);
    let opposite =
        server.json(&["search", "galaxies", "--like", "200", "--unlike", "100", "-k", "1"]);
    assert!(ids(&opposite)[0].parse::<usize>().expect("a number") > 200);

    write_npy(&server.path("query.npy"), &[vector(7)]);
    let vector =
        ["search", "galaxies", "--vector", "query.npy", "--where", "class = 'QSO'", "-k", "1"];
    let answer = server.json(&vector);
    assert_eq!(ids(&answer), ["7"]);
    assert!(answer["hits"][0]["distance"].as_f64().expect("a distance") < 1e-6);
    let within = server.json(&["search", "galaxies", "--like", "100", "--within", "0.0005"]);
    assert_eq!(within["hits"].as_array().expect("hits").len(), 8);

    let largest = ["search", "galaxies", "--order-by", "Z", "--descending", "-k", "3"];
    assert_eq!(ids(&server.json(&largest)), ["399", "398", "397"]);
    let smallest = ["search", "galaxies", "--order-by", "z", "--where", "class = 'QSO'", "-k", "2"];
    assert_eq!(ids(&server.json(&smallest)), ["1", "3"]);

    assert_eq!(server.json(&["delete", "galaxies", "99", "12345"])["deleted"], 1);
    assert!(server.complains(&["get", "galaxies", "99"]).contains("99"));
    assert_eq!(server.json(&["count", "galaxies"])["count"], OBJECTS - 1);
}

#[test]
fn every_kind_of_region_selects() {
    let server = Running::start();
    server.import_catalogue();
    let count = |words: &[&str]| {
        server.json(&[&["count", "galaxies"], words].concat())["count"].as_u64().expect("a count")
    };
    // Object 200 is at (11, 0); its neighbours are 0.00707 degrees apart.
    assert_eq!(count(&["--cone", "11,0,0.1arcsec"]), 1);
    assert_eq!(count(&["--cone", "11,0,30arcsec"]), 3);
    assert_eq!(count(&["--zone", "10.5,-0.5,11,0"]), 101);
    assert_eq!(count(&["--polygon", "10.9,-0.2,11.2,-0.2,11.2,0.2,10.9,0.2"]), 61);
    assert_eq!(count(&["--moc", "0/0-11"]), OBJECTS as u64);
    assert_eq!(count(&["--cells", "0/0-11"]), OBJECTS as u64);
    let listed = server.says(&["search", "galaxies", "--cone", "11,0,30arcsec", "--format", "csv"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines[0], "object_id,ra,dec,separation_arcsec,distance,score,z,class");
    assert_eq!(lines.len(), 4);
    assert!(lines[2].starts_with("200,11,0,0,,,0.2,GALAXY"), "{}", lines[2]);
}

#[test]
fn bad_rows_are_listed_and_the_good_ones_kept() {
    let server = Running::start();
    let rows = "object_id,ra,dec,z\n1,10,5,0.1\n2,10,95,0.2\n3,x,5,0.3\n4,11,5,0.4\n1,12,6,0.9\n";
    std::fs::write(server.path("mixed.csv"), rows).expect("written");
    let report = server.json(&["import", "mixed", "mixed.csv", "--create"]);
    let file = &report["files"][0];
    assert_eq!((&file["read"], &file["refused"]), (&Value::from(5), &Value::from(2)));
    assert_eq!((&file["inserted"], &file["replaced"]), (&Value::from(2), &Value::from(1)));
    let refused = std::fs::read_to_string(server.path("mixed.csv.refused.csv")).expect("a report");
    assert!(refused.starts_with("row,object_id,reason\n1,2,"), "{refused}");
    // The last row of an id wins.
    let object = server.json(&["get", "mixed", "1"]);
    assert_eq!(object["objects"][0]["columns"]["z"], 0.9);
    assert_eq!(server.json(&["count", "mixed"])["count"], 2);
}

#[test]
fn an_index_is_built_and_neighbours_are_evaluated() {
    let server = Running::start();
    server.import_catalogue();
    let before = server.json(&["search", "galaxies", "--like", "50", "--exact"]);
    server.says(&["index", "build", "galaxies"]);
    let status = server.json(&["index", "status", "galaxies"]);
    assert_eq!(status["tail_rows"], 0);
    assert_eq!(status["spaces"][0]["vectors"], OBJECTS);
    let after = server.json(&["search", "galaxies", "--like", "50", "--exact"]);
    assert_eq!(before["hits"], after["hits"]);
    let explained = server.says(&["search", "galaxies", "--like", "50", "--explain"]);
    assert!(explained.contains("10 hits"), "{explained}");

    let words = ["evaluate", "knn", "galaxies", "--space", "phase", "--target", "z", "-k", "4"];
    let row = &server.json(&words)[0];
    assert_eq!(row["objects"], OBJECTS);
    assert!(row["R2"].as_f64().expect("a number") > 0.999);
    assert!(row["random_apart"].as_f64() > row["neighbours_apart"].as_f64());
}

#[test]
fn collections_are_made_shown_and_dropped() {
    let server = Running::start();
    let schema =
        "id = \"text\"\n[[column]]\nname = \"z\"\ntype = \"float64\"\nucd = \"src.redshift\"\n";
    std::fs::write(server.path("schema.toml"), schema).expect("written");
    server.says(&["collection", "create", "names", "--schema", "schema.toml"]);
    let shown = server.json(&["collection", "show", "names"]);
    assert_eq!(shown["columns"][0]["ucd"], "src.redshift");
    assert!(server.says(&["collection", "list"]).contains("names"));
    let again = ["collection", "create", "names", "--schema", "schema.toml"];
    assert!(server.complains(&again).contains("names"));
    server.says(&["collection", "drop", "names"]);
    assert!(server.complains(&["collection", "show", "names"]).contains("names"));
}

#[test]
fn mistakes_get_a_line_that_says_what_to_do() {
    let server = Running::start();
    server.import_catalogue();
    std::fs::write(server.path("no.png"), "not a picture").expect("written");
    write_npy(&server.path("bad.npy"), &[[f32::NAN, 1.0]]);
    let search = |words: &[&str]| server.complains(&[&["search", "galaxies"], words].concat());
    for (words, wanted) in [
        (&["--where", "redshift > 1"][..], "redshift"),
        (&["--where", "z >"], "column 4"),
        (&["--cone", "11,0,181"], "180"),
        (&["--cone", "11,95,1"], "95"),
        (&["--polygon", "10,0,11,0"], "polygon"),
        (&["--like", "100", "-k", "0"], "k"),
        (&["--like", "100", "--space", "image"], "phase"),
        (&["--like", "99999"], "99999"),
        (&["--example", "no.png"], "not a PNG"),
        (&["--vector", "bad.npy"], "finite"),
        (&["--within", "0.1"], "--like"),
        (&["--columns", "colour"], "colour"),
        (&["--order-by", "class"], "text"),
        (&["--order-by", "colour"], "colour"),
        (&["--order-by", "z", "--like", "100"], "--order-by"),
    ] {
        let line = search(words);
        assert!(line.contains(wanted), "{words:?}: {line}");
    }
    assert!(server.complains(&["search", "stars"]).contains("stars"));
    assert!(server.complains(&["import", "stars", "catalogue.csv"]).contains("--create"));
    let encode = ["encode", "galaxies", "--model", "none", "--space", "image"];
    server.complains(&encode);
    let taken = server.url.trim_start_matches("http://");
    let second = ["serve", "--grpc", taken, "--data", "elsewhere", "--log", "error"];
    let output = Command::new(env!("CARGO_BIN_EXE_sidereus"))
        .args(second)
        .current_dir(server.folder.path())
        .output()
        .expect("runs");
    assert!(complaint(&second, &output).contains("in use"));
    let locked = ["serve", "--grpc", "127.0.0.1:0", "--data", "data", "--log", "error"];
    let output = Command::new(env!("CARGO_BIN_EXE_sidereus"))
        .args(locked)
        .current_dir(server.folder.path())
        .output()
        .expect("runs");
    assert!(complaint(&locked, &output).contains("data"));
}
