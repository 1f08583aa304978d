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
    // It has no file open but those that it was started with.
    let files = |process: &str| -> Vec<String> {
        let entries = std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").flatten();
        let targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        let targets = targets.map(|target| target.display().to_string());
        targets.filter(|target| target.starts_with('/') && !target.starts_with("/dev/")).collect()
    };
    let inherited = files("self");
    for file in files(&pid.to_string()) {
        assert!(inherited.contains(&file), "{file}");
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

#[test]
fn a_limit_of_memory_is_kept() {
    let models = Models::new();
    let listed = |mebibytes: &str| {
        let mut list = std::process::Command::new(PROGRAM);
        list.args(["list", "--process-mib", mebibytes]).arg(models.directory.path());
        let output = list.output().expect("runs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (served, said) = listed("16");
    assert!(!served && said.contains("out of memory"), "{said}");
    let (served, said) = listed("4096");
    assert!(served, "{said}");
}
