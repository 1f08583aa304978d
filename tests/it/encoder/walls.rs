//! The walls around the process that the server starts.

use sidereus::encoder::SandboxMode;

use super::*;

/// What every thread of a process says of its walls.
fn threads(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let status = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("status"));
    tasks.map(|task| status(task.expect("an entry")).expect("readable")).collect()
}

fn options(models: &Models, mode: SandboxMode) -> EncoderOptions {
    EncoderOptions { sandbox: mode, ..models.options() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_thread_of_the_process_is_behind_the_walls_and_the_networks_compute() {
    let models = Models::new();
    let golden = floats(&goldens(&photometry_folder()), "outputs.embedding");
    let handle = EncoderHandle::spawn(options(&models, SandboxMode::Auto));
    let together = vectors(handle.encode(PHOTOMETRY, "", rows()).await.expect("vectors"));
    assert!(error(&together, &golden) < 1e-4);
    vectors(handle.encode(IMAGES, "", vec![picture(0)]).await.expect("vectors"));
    let pid = handle.pid().expect("it serves");
    let threads = threads(pid);
    assert!(threads.len() > 3, "the runtime, the networks and the decoders");
    for status in &threads {
        let says = |line: &str| status.lines().any(|each| each == line);
        assert!(says("Seccomp:\t2") && says("NoNewPrivs:\t1"), "{status}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("readable");
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    assert_eq!(core.and_then(|line| line.split_whitespace().nth(4)), Some("0"));
    // Whatever it may open for writing was open before: the pipes to its parent.
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs") {
        let target = std::fs::read_link(entry.expect("an entry").path()).unwrap_or_default();
        let target = target.display().to_string();
        assert!(!target.starts_with('/') || target.starts_with("/dev/null"), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn walls_can_be_required_or_left_away() {
    let models = Models::new();
    let handle = EncoderHandle::spawn(options(&models, SandboxMode::Off));
    handle.health().await.expect("serves");
    for status in threads(handle.pid().expect("it serves")) {
        assert!(status.lines().any(|line| line == "Seccomp:\t0"), "{status}");
    }
    let mut child = std::process::Command::new(PROGRAM)
        .args(["list", "--sandbox", "required"])
        .arg(models.directory.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("runs");
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().expect("a pipe"), &mut said)
        .expect("text");
    let served = child.wait().expect("ends").success();
    // A kernel that lacks one of them is told from one that has both.
    assert_eq!(served, !said.contains("the sandbox is not whole"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_memory_ends_no_more_than_the_process() {
    let models = Models::new();
    let handle = EncoderHandle::spawn(EncoderOptions { process_mib: Some(16), ..models.options() });
    let error = match handle.models().await {
        Ok(served) => panic!("16 MiB are not enough for {served:?}"),
        Err(error) => error,
    };
    assert!(matches!(error, EncoderError::Unavailable { .. }), "{error}");
}
