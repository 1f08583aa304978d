//! The Python client: its own tests, against the server program.

use std::path::Path;
use std::process::Command;

use crate::convert::{python, said};

/// Types, documentation, a notebook, and every call against a server that is killed on the way.
#[test]
fn the_python_client_passes_its_tests_against_this_server() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let work = tempfile::tempdir().expect("a folder");
    let output = Command::new(python())
        .args(["-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--doctest-modules"])
        .args(["src/sidereus", "tests"])
        .current_dir(&folder)
        .env("PYTHONPATH", folder.join("src"))
        .env("SIDEREUS_BIN", env!("CARGO_BIN_EXE_sidereus"))
        .env("IPYTHONDIR", work.path())
        .env("MPLCONFIGDIR", work.path())
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", said(&output));
}
