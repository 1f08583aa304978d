//! The lines of the README that reach a server from Python, run as they stand against one with TLS and tokens.

use std::process::Command;

use super::Tokens;
use super::tls::{Authority, encrypted};
use crate::convert::{python, said};

#[tokio::test(flavor = "multi_thread")]
async fn three_lines_of_python_reach_an_encrypted_server_with_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, ca) = (folder.path().join("data"), folder.path().join("ca.pem"));
    let tokens = Tokens::make(&data);
    let authority = Authority::new();
    std::fs::write(&ca, authority.pem()).expect("written");
    let server = encrypted(&data, authority.server().options(folder.path())).await;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let url = format!("https://localhost:{}", server.address.port());
    let mut command = Command::new(python());
    command
        .arg("-B")
        .arg(root.join("tests/python/three_lines.py"))
        .arg(&url)
        .arg(&ca)
        .arg(&tokens.admin);
    command
        .arg(root.join("README.md"))
        .env_remove("SIDEREUS_TOKEN")
        .env_remove("SIDEREUS_TOKEN_FILE");
    command.env("PYTHONPATH", root.join("python/src")).env("SIDEREUS_CA", &ca);
    let output = tokio::task::spawn_blocking(move || command.output().expect("python starts"));
    let output = output.await.expect("no panic");
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("Unauthenticated"), "{}", said(&output));
    server.stop().await;
}
