//! The program from its command line.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use safetensors::tensor::{TensorView, serialize};

use super::*;

fn program(arguments: &[&str]) -> Output {
    let output = Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().expect("runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{errors}");
    output
}

#[track_caller]
fn fails(arguments: &[&str], message: &str) {
    let output = program(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?} succeeds");
    assert!(errors.contains(message), "{errors}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

/// A process that serves, and the address that it has told.
fn serve(models: &Models, arguments: &[&str]) -> (Child, String) {
    let mut child = Command::new(PROGRAM)
        .args(["serve", "--device", "cpu", "--models", text(models.directory.path())])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut line = String::new();
    let stdout = child.stdout.as_mut().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix(sidereus::encoder::ADDRESS_LINE).expect("an address");
    (child, address.to_owned())
}

fn wait(mut child: Child) -> std::process::ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("waits") {
            return status;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the process did not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A copy of the photometry model with other tensors, pinned anew.
fn forge(change: impl FnOnce(&mut Vec<(String, Dtype, Vec<usize>, Vec<u8>)>)) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a folder");
    let folder = directory.path().join(PHOTOMETRY);
    std::fs::create_dir(&folder).expect("a folder");
    let original = photometry_folder();
    let bytes = std::fs::read(original.join("weights.safetensors")).expect("weights");
    let file = SafeTensors::deserialize(&bytes).expect("parses");
    let mut tensors: Vec<_> = file
        .iter()
        .map(|(name, view)| {
            (name.to_owned(), view.dtype(), view.shape().to_vec(), view.data().to_vec())
        })
        .collect();
    change(&mut tensors);
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), data).expect("a tensor"))
    });
    let forged = serialize(views, None).expect("a file");
    std::fs::write(folder.join("weights.safetensors"), &forged).expect("a file");
    std::fs::copy(original.join("goldens.safetensors"), folder.join("goldens.safetensors"))
        .expect("a copy");
    let description = std::fs::read_to_string(original.join("model.toml")).expect("a description");
    let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let pinned = description.replace(&digest(&bytes), &digest(&forged));
    std::fs::write(folder.join("model.toml"), pinned).expect("a file");
    directory
}

#[test]
fn both_models_pass_their_own_check() {
    for (folder, tensors) in [
        (
            photometry_folder(),
            ["inputs.features", "outputs.posterior", "outputs.context", "outputs.embedding"]
                .as_slice(),
        ),
        (images_folder(), &["outputs.embedding"]),
    ] {
        let output = program(&["check", text(&folder), "--device", "cpu"]);
        let (report, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{report}{errors}");
        for tensor in tensors {
            assert!(
                report.lines().any(|line| line.starts_with(tensor) && line.ends_with("ok")),
                "{report}"
            );
        }
    }
}

#[test]
fn weights_that_do_not_fit_are_refused_by_name() {
    let name = "norm.bias";
    let find = |tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)]| {
        tensors.iter().position(|(each, ..)| each == name).expect("the tensor")
    };
    let cases: [(tempfile::TempDir, &str); 5] = [
        (forge(|tensors| drop(tensors.remove(find(tensors)))), "tensor `norm.bias` is missing"),
        (
            forge(|tensors| {
                tensors.push(("decoder.weight".to_owned(), Dtype::F32, vec![1], vec![0; 4]));
            }),
            "the network has no tensor `decoder.weight`",
        ),
        (
            forge(|tensors| {
                let place = find(tensors);
                tensors[place].2 = vec![24, 2];
            }),
            "tensor `norm.bias` is F32 [24, 2], expected F32 [48]",
        ),
        (
            forge(|tensors| {
                let place = find(tensors);
                tensors[place].1 = Dtype::I32;
            }),
            "tensor `norm.bias` is I32 [48], expected F32 [48]",
        ),
        (
            forge(|tensors| tensors.retain(|(each, ..)| each != "preprocess.scale")),
            "tensor `preprocess.scale` is missing",
        ),
    ];
    for (directory, message) in &cases {
        fails(&["check", text(&directory.path().join(PHOTOMETRY))], message);
        fails(&["list", text(directory.path())], "1 models are broken");
    }
}

#[test]
fn a_changed_weight_fails_the_digest_and_then_the_check() {
    let directory = forge(|tensors| {
        let (.., data) =
            tensors.iter_mut().find(|(name, ..)| name == "whiten.bias").expect("the tensor");
        data[..4].copy_from_slice(&100_f32.to_le_bytes());
    });
    let folder = directory.path().join(PHOTOMETRY);
    let output = program(&["check", text(&folder), "--device", "cpu"]);
    let (report, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success());
    assert!(
        errors.contains("does not reproduce its golden outputs: outputs.embedding"),
        "{errors}"
    );
    assert!(report.contains("FAILED"), "{report}");

    let path = folder.join("weights.safetensors");
    let mut bytes = std::fs::read(&path).expect("weights");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).expect("a file");
    fails(&["check", text(&folder)], "pin the new digest if the change is meant");
}

#[test]
fn mistakes_on_the_command_line_are_said_in_one_line() {
    fails(&["serve", "--models", "/nowhere"], "error: cannot read /nowhere");
    fails(&["check", "/nowhere"], "error: cannot read /nowhere/model.toml");
    let models = Models::new();
    let directory = text(models.directory.path());
    fails(&["serve", "--models", directory, "--listen", "0.0.0.0:0"], "--trust-network");
    fails(&["serve", "--models", directory, "--device", "gpu"], "use auto, cpu, cuda or cuda:N");
    fails(&["serve", "--models", directory, "--device", "cuda:99"], "use --device cpu");
    fails(&["serve", "--models", directory, "--queue-rows-max", "1"], "64");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = listener.local_addr().expect("an address").to_string();
    fails(
        &["serve", "--models", directory, "--device", "cpu", "--listen", &taken],
        "choose another --listen",
    );
}

#[test]
fn the_digest_is_the_one_that_is_pinned() {
    let path = photometry_folder().join("weights.safetensors");
    let output = program(&["digest", text(&path)]);
    let digest = String::from_utf8_lossy(&output.stdout).chars().take(64).collect::<String>();
    let description =
        std::fs::read_to_string(photometry_folder().join("model.toml")).expect("a description");
    assert!(description.contains(&digest), "{digest}");
    let models = Models::new();
    let output = program(&["list", text(models.directory.path())]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
}

#[test]
fn a_process_whose_parent_has_gone_ends() {
    let models = Models::new();
    let (mut child, _) = serve(&models, &["--exit-with-parent"]);
    let stdin = child.stdin.take().expect("a pipe");
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().expect("waits").is_none(), "it ended too early");
    drop(stdin);
    assert!(wait(child).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_of_another_host_is_used_by_its_address() {
    let models = Models::new();
    let (mut child, address) = serve(&models, &["--listen", "127.0.0.1:0"]);
    // Nobody watches its input: it goes on without it.
    drop(child.stdin.take());
    let handle = EncoderHandle::connect(&address, Duration::from_secs(30)).expect("an address");
    let together = vectors(handle.encode(PHOTOMETRY, "", rows()).await.expect("vectors"));
    let golden = floats(&goldens(&photometry_folder()), "outputs.embedding");
    assert!(error(&together, &golden) < 1e-4);
    assert_eq!(handle.pid(), None);
    kill(child.id());
    let mut rest = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut rest).expect("reads");
    wait(child);
    let failure = handle.encode(PHOTOMETRY, "", rows()).await.expect_err("it is dead");
    assert!(matches!(failure, EncoderError::Unavailable { .. }), "{failure}");
}
