//! The words of the command line: fit, show, list, apply, drop, and searches across spaces.

use std::process::{Command, Output};

use serde_json::Value;

use super::{view, with_galaxies};
use crate::support::npy;

struct Words {
    url: String,
    folder: tempfile::TempDir,
}

impl Words {
    fn sidereus(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidereus"));
        command.args(words).args(["--server", &self.url]).current_dir(self.folder.path());
        command.output().expect("the program runs")
    }

    fn says(&self, words: &[&str]) -> String {
        let output = self.sidereus(words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn json(&self, words: &[&str]) -> Value {
        let words = [words, &["--format", "json"]].concat();
        serde_json::from_str(&self.says(&words)).expect("json")
    }

    fn complains(&self, words: &[&str]) -> String {
        let output = self.sidereus(words);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{words:?} succeeds");
        assert_eq!(errors.trim_end().lines().count(), 1, "{errors}");
        errors
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_from_the_command_line() {
    let data = tempfile::tempdir().expect("a folder");
    let server = with_galaxies(data.path()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let words = Words { url: format!("http://{}", server.address), folder };
    let told = tokio::task::spawn_blocking(move || walk(&words));
    told.await.expect("all of it");
    server.stop().await;
}

fn walk(words: &Words) {
    assert!(words.says(&["bridge", "list", "sky"]).contains("no bridges yet"));
    let ends = ["--from", "image", "--to", "spectrum"];
    let fit = [&["bridge", "fit", "sky"][..], &ends, &["--resamples", "50"]].concat();
    let with = |more: &[&'static str]| [&fit[..], more].concat();
    let told = words.json(&with(&["--method", "procrustes", "--name", "b"]));
    assert!(told["metrics"]["recall@10"]["value"].as_f64().expect("a number") > 0.9, "{told}");
    assert_eq!(
        told["n_train"].as_u64().zip(told["n_test"].as_u64()).map(|(a, b)| a + b),
        Some(1_080)
    );
    let error = words.complains(&with(&["--method", "procrustes", "--name", "c", "--dims", "4"]));
    assert!(error.contains("--method cca or infonce"), "{error}");
    let error = words.complains(&with(&["--method", "ridge", "--name", "b"]));
    assert!(error.contains("--overwrite"), "{error}");
    words.says(&with(&["--method", "ridge", "--name", "b", "--overwrite", "--alpha", "0.1,1"]));
    let shown = words.says(&["bridge", "show", "sky", "b"]);
    for part in ["recall_back@100", "mutual_knn_before@10", "ridge", "alpha"] {
        assert!(shown.contains(part), "{shown}");
    }
    let listed = words.json(&["bridge", "list", "sky"]);
    assert_eq!(listed[0]["bridge"], "b");
    assert_eq!(listed[0]["version"], 2);

    let image = view(30, 1, 0.05);
    std::fs::write(words.folder.path().join("image.npy"), npy("8,", &image)).expect("written");
    let across = ["--from-space", "image", "--to-space", "spectrum"];
    let search =
        |more: &[&'static str]| [&["search", "sky", "-k", "3"][..], &across, more].concat();
    let found = words.json(&search(&["--vector", "image.npy", "--explain"]));
    assert_eq!(found["hits"][0]["object_id"], "30");
    let explained = found["stats"]["explanation"].as_str().expect("text");
    assert!(explained.contains("bridge `b` version 2"), "{explained}");
    let found = words.json(&search(&["--like", "30", "--bridge", "b"]));
    assert_eq!(found["hits"].as_array().map(Vec::len), Some(3));
    let error = words.complains(&search(&["--like", "30", "--bridge", "c"]));
    assert!(error.contains("no bridge `c`"), "{error}");
    let error = words.complains(&["search", "sky", "--like", "1", "--from-space", "image"]);
    assert!(error.contains("--to-space"), "{error}");
    let error = words.complains(&search(&[]));
    assert!(error.contains("needs something to be near to"), "{error}");

    words.says(&with(&["--method", "cca", "--dims", "5", "--name", "own"]));
    let error = words.complains(&search(&["--like", "30", "--bridge", "own"]));
    assert!(error.contains("--materialise own"), "{error}");
    let written = words.json(&["bridge", "apply", "sky", "own", "--materialise", "own"]);
    assert_eq!(written["written"], 2_280);
    let there = ["--from-space", "own.image", "--to-space", "own.spectrum", "--like", "30"];
    words.says(&[&["search", "sky"][..], &there].concat());
    let shared =
        words.json(&["collection", "share", "sky", "--spaces", "image,spectrum", "--as", "both"]);
    assert!(shared.to_string().contains("both"), "{shared}");
    assert!(words.says(&["bridge", "drop", "sky", "b"]).contains("dropped bridge b"));
    // They are declared to be shared now.
    words.says(&search(&["--like", "30"]));
}
