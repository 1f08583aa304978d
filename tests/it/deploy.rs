//! What is under deploy/: that it names figures, settings and words which exist. Its grammar is checked by `make lint-deploy`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::fake_encoder;
use crate::operate::{Process, samples};
use crate::support::{galaxy, near};

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Names of figures in a text.
fn figures(text: &str) -> BTreeSet<String> {
    let is_of_name = |each: char| each.is_ascii_alphanumeric() || "_:".contains(each);
    let words = text.split(|each| !is_of_name(each));
    let ours =
        words.filter(|word| ["sidereus_", "process_"].iter().any(|start| word.starts_with(start)));
    ours.map(str::to_owned).collect()
}

/// The expressions of a dashboard, and the query of a variable.
fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let mut found: Vec<String> =
        targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect();
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    found.extend(variables.iter().filter_map(|it| it["query"].as_str()).map(str::to_owned));
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alerts_use_only_figures_that_a_server_has() {
    let (encoder, _controls) = fake_encoder::serve().await;
    let folder = tempfile::tempdir().expect("a folder");
    let variables = [("SIDEREUS_ENCODER__ADDRESS", encoder.as_str())];
    let server = Process::start(folder.path(), &[], &variables);
    server.create("galaxies").await;
    server.write("galaxies", vec![galaxy(1, 1.0, 1.0)]).await;
    let mut hits = server
        .searches()
        .await
        .search(near("galaxies", &[1.0, 0.0, 1.0], 1))
        .await
        .expect("found")
        .into_inner();
    while hits.message().await.expect("hits").is_some() {}
    let there = samples(&server.get("/metrics").1);
    let dashboard: Value = serde_json::from_str(&read("grafana/sidereus.json")).expect("json");
    let shown = figures(&expressions(&dashboard).join("\n"));
    let alerts = read("prometheus/alerts.yml");
    let lines =
        alerts.lines().filter(|line| !line.contains("summary:") && !line.contains("description:"));
    let watched = figures(&lines.collect::<Vec<_>>().join("\n"));
    assert!(shown.len() > 30 && watched.len() > 12, "{shown:?} {watched:?}");
    let missing: Vec<_> = shown.union(&watched).filter(|name| !there.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not among {there:?}");
}

/// Variables of settings that a file gives, with values that it shows in quotation marks or behind a colon or equals sign.
fn variables(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        for (at, _) in line.match_indices("SIDEREUS_") {
            let rest = &line[at..];
            let end = rest
                .find(|each: char| !each.is_ascii_uppercase() && each != '_')
                .unwrap_or(rest.len());
            let (name, rest) = rest.split_at(end);
            let value = rest.trim_start_matches([':', '=', ' ']).trim_matches(['"', '\\', ' ']);
            if name.contains("__") && !value.is_empty() {
                found.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    found
}

#[test]
fn variables_of_image_and_compose_are_settings_that_the_program_takes() {
    for (path, least) in [("docker/Dockerfile", 2), ("compose/compose.yaml", 3)] {
        let given = variables(&read(path));
        assert!(given.len() >= least, "{path}: {given:?}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidereus"));
        command.args(["serve", "--print-config"]).envs(given.iter().cloned());
        let output = command.output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{path}: {said}");
        let printed = String::from_utf8_lossy(&output.stdout);
        for (name, _) in given {
            assert!(
                printed.contains(&format!("# environment variable {name}\n")),
                "{path}: {name}"
            );
        }
    }
}

#[test]
fn words_of_unit_image_and_chart_are_words_of_the_program() {
    let help = |command: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_sidereus"));
        let output = program.args([command, "--help"]).output().expect("runs");
        assert!(output.status.success(), "{command}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (serve, health) = (help("serve"), help("health"));
    let unit = read("systemd/sidereus.service");
    let start =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/sidereus serve "));
    for word in
        start.expect("it starts the server").split(' ').filter(|word| word.starts_with("--"))
    {
        assert!(serve.contains(word), "{word}");
    }
    for hardening in [
        "Type=notify",
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=\n",
    ] {
        assert!(unit.contains(hardening), "{hardening}");
    }
    let image = read("docker/Dockerfile");
    let last = image.rsplit("\nFROM ").next().expect("a stage");
    assert!(
        last.contains("USER 65532") && last.contains("[\"/usr/local/bin/sidereus\", \"health\"]"),
        "{last}"
    );
    assert!(!last.contains("RUN "), "the image has no shell");
    let pod = read("helm/sidereus/templates/statefulset.yaml");
    assert!(pod.contains("\"health\", \"--live\"") && health.contains("--live"));
    assert!(pod.contains("runAsNonRoot: true") && pod.contains("readOnlyRootFilesystem: true"));
}

#[test]
fn the_build_of_the_image_has_every_file_that_cargo_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ignored = std::fs::read_to_string(root.join(".dockerignore")).expect("a file");
    let kept: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let is_kept = |path: &str| {
        kept.iter().any(|each| {
            path == *each || path.strip_prefix(each).is_some_and(|rest| rest.starts_with('/'))
        })
    };
    let manifest: toml::Table =
        std::fs::read_to_string(root.join("Cargo.toml")).expect("a file").parse().expect("toml");
    let paths = ["bin", "test", "bench"]
        .into_iter()
        .filter_map(|kind| manifest.get(kind)?.as_array())
        .flatten();
    for path in paths.filter_map(|target| target.get("path")?.as_str()) {
        assert!(is_kept(path), "{path} is named by Cargo.toml and not sent to the build");
    }
    for path in [
        "Cargo.toml",
        "Cargo.lock",
        "build.rs",
        "src/lib.rs",
        "proto",
        "migrations",
        "deploy/sidereus.toml",
        ".cargo/config.toml",
    ] {
        assert!(is_kept(path), "{path}");
    }
    for path in kept {
        assert!(root.join(path).exists(), "{path} is not there");
    }
}
