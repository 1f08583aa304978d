//! Settings of the program: files, variables and words.

use std::process::{Command, Output};

fn serve(words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidereus"));
    command.arg("serve").args(words).envs(variables.iter().copied()).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_effective_settings_are_printed_with_their_origins_and_can_be_used_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("my.toml");
    let written = "version = 1\n\n[server]\nlog = \"warn\"\n\n[telemetry]\notlp = \"http://user:hunter2@host:4317\"\n";
    std::fs::write(&file, written).expect("written");
    let config = file.to_str().expect("text");
    let words = ["--config", config, "--grpc", "127.0.0.1:7001", "--print-config"];
    let variables = [("SIDEREUS_LIMITS__K", "55"), ("SIDEREUS_SERVER__GRPC", "127.0.0.1:7000")];
    let output = serve(&words, &variables);
    let printed = text(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(printed.contains("grpc = \"127.0.0.1:7001\"  # flag --grpc\n"), "{printed}");
    assert!(printed.contains("k = 55  # environment variable SIDEREUS_LIMITS__K\n"), "{printed}");
    assert!(printed.contains(&format!("log = \"warn\"  # file {config}, line 4\n")), "{printed}");
    assert!(printed.contains("listen = \"127.0.0.1:8080\"  # default\n"), "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
    // Nothing was made: the program has only told.
    assert!(!folder.path().join("sidereus-data").exists());

    let again = folder.path().join("again.toml");
    std::fs::write(&again, &printed).expect("written");
    let output = serve(&["--config", again.to_str().expect("text"), "--print-config"], &[]);
    let without_origins = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split("  # ").next().expect("a line").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(without_origins(&text(&output.stdout)), without_origins(&printed));
}

#[test]
fn what_is_wrong_is_told_in_one_line_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("my.toml");
    std::fs::write(&file, "version = 1\n[limits]\n\nk = 0\n").expect("written");
    let config = file.to_str().expect("text");
    for (words, variables, wanted) in [
        (&["--config", config][..], &[][..], "my.toml, line 4"),
        (&[], &[("SIDEREUS_LIMITS__K", "many")], "SIDEREUS_LIMITS__K"),
        (&[], &[("SIDEREUS_LIMIT__K", "1")], "did you mean `limits.k`"),
        (&["--log", "sidereus=loud"], &[], "flag --log"),
        (&["--config", "/nowhere/my.toml"], &[], "/nowhere/my.toml"),
    ] {
        let output = serve(&[words, &["--data", "/nowhere/data"]].concat(), variables);
        let said = text(&output.stderr);
        assert!(!output.status.success(), "{words:?} {variables:?}");
        assert!(said.starts_with("error: ") && said.contains(wanted), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
