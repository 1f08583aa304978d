//! What somebody meets who knows the README alone.

use super::*;

/// What a command that must succeed says beside its result.
fn notes(running: &Running, words: &[&str]) -> String {
    let output = running.sidereus(words);
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    text(&output.stderr)
}

#[test]
fn what_would_be_lost_is_kept_or_told() {
    let running = Running::start();
    running.import_catalogue();
    std::fs::write(running.path("part.csv"), "object_id,ra,dec,class\n7,10,0,QSO\n8,10,1,QSO\n")
        .expect("written");
    let merged = notes(&running, &["import", "galaxies", "part.csv", "--merge"]);
    assert!(!merged.contains("none now"), "{merged}");
    let whole = notes(&running, &["import", "galaxies", "part.csv"]);
    let told = "z, vector.phase are not in the file: 2 replaced objects have none now; --merge";
    assert!(whole.contains(told), "{whole}");

    running.says(&["release", "create", "galaxies", "dr1"]);
    running.says(&["release", "create", "galaxies", "dr2"]);
    let withdraw = ["release", "withdraw", "galaxies", "dr1", "--reason", "wrong zero point"];
    let kept = notes(&running, &withdraw);
    assert!(kept.contains("its data are kept"), "{kept}");
    assert_eq!(running.json(&["release", "verify", "galaxies", "dr1"])["intact"], "yes");
    let withdraw = ["release", "withdraw", "galaxies", "dr2", "--reason", "wrong", "--delete-data"];
    let deleted = notes(&running, &withdraw);
    assert!(deleted.contains("its data are deleted"), "{deleted}");
    running.complains(&["release", "verify", "galaxies", "dr2"]);
}

#[test]
fn what_is_exported_comes_back_as_what_it_was() {
    let running = Running::start();
    write_catalogue(&running.path("catalogue.csv"));
    write_npy(&running.path("phase.npy"), &(0..OBJECTS).map(vector).collect::<Vec<_>>());
    let schema = "id = \"number\"\n[[column]]\nname = \"z\"\ntype = \"float64\"\n[[space]]\nname = \"phase\"\n\
                  modality = \"angle\"\ndimension = 2\nmetric = \"l2\"\n";
    std::fs::write(running.path("schema.toml"), schema).expect("written");
    running.says(&["collection", "create", "first", "--schema", "schema.toml"]);
    running.says(&["import", "first", "catalogue.csv", "--vectors", "phase=phase.npy"]);
    for file in ["first.parquet", "first.arrow"] {
        running.says(&["export", "first", "-o", file, "--with-vectors"]);
        running.says(&["import", "second", file, "--create"]);
        let shown = running.json(&["collection", "show", "second"]);
        assert_eq!(shown["spaces"][0]["space"], "phase", "{shown}");
        assert_eq!(shown["spaces"][0]["metric"], "l2", "{shown}");
        assert_eq!(shown["spaces"][0]["modality"], "angle", "{shown}");
        assert_eq!(shown["columns"].as_array().map(Vec::len), Some(1), "{shown}");
        let search = |name| running.json(&["search", name, "--like", "7", "-k", "5"]);
        assert_eq!(search("second")["hits"], search("first")["hits"]);
        // Again, into a collection that has the space.
        let again = notes(&running, &["import", "second", file]);
        assert!(!again.contains("none now") && !again.contains("left out"), "{again}");
        running.says(&["collection", "drop", "second"]);
    }
}

#[test]
fn a_place_that_is_not_there_is_not_made_by_looking() {
    let folder = tempfile::tempdir().expect("a folder");
    for words in [
        &["snapshot", "verify", "x", "--at", "nobk"][..],
        &["snapshot", "list", "--at", "nobk"],
        &["snapshot", "restore", "x", "--at", "nobk", "--into", "new"],
        &["serve", "--data", "nobk", "--models", "none", "--grpc", "127.0.0.1:0"],
        &["serve", "--data", "nobk", "--grpc", "0.0.0.0:0"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_sidereus"))
            .args(words)
            .current_dir(folder.path())
            .output()
            .expect("runs");
        complaint(words, &output);
        assert!(!folder.path().join("nobk").exists(), "{words:?}");
    }
}

#[test]
fn positions_are_written_and_answered_as_astronomers_do() {
    let running = Running::start();
    running.import_catalogue();
    let cone = ["search", "galaxies", "--cone", "00h40m00s,-01d00m00s,1'", "-k", "3"];
    let found = running.json(&cone);
    assert_eq!(ids(&found), ["0", "1", "2"]);
    let far = |hit: usize| found["hits"][hit]["separation_arcsec"].as_f64().expect("a separation");
    assert!(far(0) < 1e-6 && (far(1) - 25.45).abs() < 0.01, "{found}");
    assert!(running.says(&cone).contains("separation [arcsec]"));
    assert_eq!(
        ids(&running.json(&["search", "galaxies", "--cone", "10,-1,1m", "-k", "3"])),
        ids(&found)
    );
    for (cone, words) in [("10:00:24,2,1", "10h00m24s"), ("370,2,1", "is 10")] {
        let told = running.complains(&["count", "galaxies", "--cone", cone]);
        assert!(told.contains(words), "{told}");
    }
    let text = "object_id,ra,dec,flux\n1,01h33m50.9s,+30d39m36s,3\n";
    std::fs::write(running.path("text.csv"), text).expect("written");
    running.says(&["import", "m33", "text.csv", "--create"]);
    assert_eq!(running.json(&["count", "m33", "--cone", "23.462,30.66,1arcmin"])["count"], 1);

    let words = ["--title", "t", "--citation", "Us (2026)"];
    running.says(&[&["release", "create", "galaxies", "dr1"], &words[..]].concat());
    let answer = running.json(&["search", "galaxies", "--release", "dr1", "-k", "1"]);
    assert_eq!(answer["release"]["name"], "dr1");
    assert_eq!(answer["release"]["citation"], "Us (2026)");
    let verified = running.says(&["release", "verify", "galaxies", "dr1"]);
    let hash = running.json(&["release", "show", "galaxies", "dr1"])["content_hash"].clone();
    assert!(verified.contains(hash.as_str().expect("a hash")), "{verified}");
}
