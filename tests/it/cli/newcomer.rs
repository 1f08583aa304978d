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
