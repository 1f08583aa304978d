//! The converter of published checkpoints: a Python script beside the models, run on checkpoints made by hand.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Converted folders that `test_convert.py` leaves, named as the golden folders whose weights they hold.
const CONVERTED: [&str; 5] =
    ["astroclip_image", "astroclip_spectrum", "astrodino", "specformer_pooled", "stein_resnet50"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Python with numpy that the set-up has made.
pub(crate) fn python() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let folder = set("SIDEREUS_PYTHON")
        .or_else(|| Some(set("SIDEREUS_CACHE")?.join("python")))
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("sidereus/python")))
        .or_else(|| Some(set("HOME")?.join(".cache/sidereus/python")))
        .expect("a home folder");
    let program = folder.join("bin/python");
    assert!(
        program.exists(),
        "{} is missing; `make setup` makes it, or set SIDEREUS_PYTHON",
        program.display()
    );
    program
}

pub(crate) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Checkpoints of all kinds are converted bit by bit, without running what they name; the networks then take the
/// converted folders and make the golden outputs.
#[test]
fn checkpoints_are_converted_without_running_them_and_the_networks_take_them() {
    let work = tempfile::tempdir().expect("a folder");
    let fixtures = root().join("tests/fixtures/published");
    let output = Command::new(python())
        .arg("-B")
        .arg(root().join("tests/python/test_convert.py"))
        .arg("--fixtures")
        .arg(&fixtures)
        .arg("--converter")
        .arg(root().join("deploy/models/convert/convert.py"))
        .arg("--work")
        .arg(work.path())
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", said(&output));

    for name in CONVERTED {
        let folder = work.path().join(name);
        for file in ["inputs.safetensors", "outputs.safetensors"] {
            std::fs::copy(fixtures.join(name).join(file), folder.join(file)).expect("a copy");
        }
        let output = Command::new(env!("CARGO_BIN_EXE_sidereus-encoder"))
            .arg("check")
            .arg(&folder)
            .args(["--device", "cpu"])
            .output()
            .expect("the encoder program starts");
        assert!(output.status.success(), "{name}: {}", said(&output));
    }
}
