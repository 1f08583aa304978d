//! The program as a client of a server that encrypts and asks who it is.

use std::path::Path;
use std::process::{Command, Output};

use super::tls::{Authority, encrypted};
use super::{OURS, Tokens};
use sidereus::service::{ClientCertificates, TlsOptions};

/// Runs the program with words, and with a token in its environment.
fn sidereus(folder: &Path, token: Option<&str>, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidereus"));
    command.args(words).current_dir(folder).env_remove("SIDEREUS_CA").env_remove("SIDEREUS_TOKEN");
    if let Some(token) = token {
        command.env("SIDEREUS_TOKEN", token);
    }
    command.output().expect("the program runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_says_who_it_is_and_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, data) = (folder.path(), folder.path().join("data"));
    let tokens = Tokens::make(&data);
    let (authority, clients) = (Authority::new(), Authority::new());
    std::fs::write(here.join("ca.pem"), authority.pem()).expect("written");
    std::fs::write(here.join("clients.pem"), clients.pem()).expect("written");
    let pair = clients.client("admin", false);
    std::fs::write(here.join("me.pem"), &pair.certificate).expect("written");
    std::fs::write(here.join("me.key"), &pair.key).expect("written");
    std::fs::write(here.join("token"), format!("{}\n", tokens.admin)).expect("written");
    std::fs::write(here.join("empty"), "\n").expect("written");
    let tls = TlsOptions {
        client_ca: Some(here.join("clients.pem")),
        client_certificates: ClientCertificates::Optional,
        ..authority.server().options(here)
    };
    let server = encrypted(&data, tls).await;
    let url = format!("https://localhost:{}", server.address.port());
    let run = |token: Option<&str>, words: &[&str]| {
        let list = ["collection", "list", "--server", &url];
        sidereus(here, token, &[&list[..], words].concat())
    };
    let trusts = ["--ca", "ca.pem"];
    for words in [&["--token-file", "token"][..], &["--cert", "me.pem", "--key", "me.key"]] {
        let output = run(None, &[&trusts[..], words].concat());
        assert!(output.status.success(), "{words:?}: {}", said(&output));
    }
    let output = run(Some(&tokens.admin), &trusts);
    assert!(output.status.success(), "{}", said(&output));

    let refused = |output: &Output, words: &str| {
        let said = said(output);
        assert!(!output.status.success() && said.contains(words), "{words}: {said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
        assert!(!said.contains(&tokens.admin), "a secret was told");
    };
    refused(&run(None, &trusts), "--token-file");
    refused(&run(Some(&tokens.revoked), &trusts), "--token-file");
    refused(&run(Some("two words"), &trusts), "SIDEREUS_TOKEN");
    refused(&run(Some(&tokens.admin), &[]), "--ca FILE");
    refused(&run(None, &["--ca", "none.pem"]), "none.pem");
    refused(&run(None, &["--ca", "token"]), "no certificate in PEM");
    refused(&run(None, &["--ca", "ca.pem", "--token-file", "empty"]), "it is empty");
    refused(&run(None, &["--ca", "ca.pem", "--cert", "me.pem"]), "--key");
    let get = ["get", OURS, "1", "--server", &url, "--ca", "ca.pem"];
    let output = sidereus(here, Some(&tokens.stranger), &get);
    refused(&output, "you have no role on it");
    let plain = format!("http://localhost:{}", server.address.port());
    refused(&sidereus(here, None, &["collection", "list", "--server", &plain]), "https://");
    let plain = ["collection", "list", "--server", "http://192.0.2.1:50051"];
    refused(&sidereus(here, Some(&tokens.admin), &plain), "unencrypted");
    let plain = ["collection", "list", "--ca", "ca.pem"];
    refused(&sidereus(here, None, &plain), "https://");
}
