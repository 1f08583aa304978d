//! Identities, roles and row policies of a real server: managed from the command line, shown over gRPC.

mod sign_on;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sidereus");

/// Objects of the test catalogue.
const OBJECTS: usize = 40;

/// A folder with a data directory, and a server process on it.
struct Place {
    folder: tempfile::TempDir,
    server: Option<(Child, String)>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = std::fs::File::create(folder.path().join("catalogue.csv")).expect("a file");
        writeln!(file, "object_id,ra,dec,released").expect("written");
        for number in 0..OBJECTS {
            writeln!(file, "{number},{}.5,1.0,{}", number, number % 2).expect("written");
        }
        Self { folder, server: None }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts a server that asks who calls, or does not.
    fn serve(&mut self, mode: &str) {
        self.stop();
        let config = self.folder.path().join("sidereus.toml");
        std::fs::write(&config, format!("version = 1\n[auth]\nmode = '{mode}'\n"))
            .expect("written");
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--grpc", "127.0.0.1:0", "--log", "warn", "--config"])
            .arg(config)
            .arg("--data")
            .arg(self.data())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.strip_prefix("listening on grpc://").expect("the ready line");
        let url = format!("http://{}", address.split(' ').next().expect("an address"));
        self.server = Some((child, url));
    }

    fn stop(&mut self) {
        if let Some((mut child, _)) = self.server.take() {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }

    /// Runs a command as the holder of a token.
    fn run(&self, token: &str, words: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(words).current_dir(self.folder.path()).env("SIDEREUS_TOKEN", token);
        if let Some((_, url)) = &self.server {
            command.env("SIDEREUS_SERVER", url);
        }
        command.output().expect("the program runs")
    }

    fn says(&self, token: &str, words: &[&str]) -> String {
        let output = self.run(token, words);
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn json(&self, token: &str, words: &[&str]) -> Value {
        let words = [words, &["--format", "json"]].concat();
        serde_json::from_str(&self.says(token, &words)).expect("json")
    }

    fn complains(&self, token: &str, words: &[&str]) -> String {
        let output = self.run(token, words);
        assert!(!output.status.success(), "{words:?} succeeded: {}", text(&output.stdout));
        let complaint = text(&output.stderr);
        assert!(!token.starts_with("sid_") || !complaint.contains(&token[13..]), "{complaint}");
        complaint
    }

    fn token_of(&self, administrator: &str, name: &str) -> String {
        let output = self.run(administrator, &["access", "token", "create", name]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        alone(&output)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The token that is alone on standard output, and is nowhere else.
fn alone(output: &Output) -> String {
    let printed = text(&output.stdout);
    let token = printed.trim_end().to_owned();
    assert_eq!(printed, format!("{token}\n"));
    assert_eq!((token.len(), &token[..4]), (56, "sid_"));
    let beside = text(&output.stderr);
    assert!(beside.contains(&token[4..12]) && !beside.contains(&token[13..]), "{beside}");
    token
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn bootstrapped() -> (Place, String) {
    let mut place = Place::new();
    let data = place.data();
    let words = ["access", "bootstrap", "--name", "root", "--data", path_text(&data)];
    let root = alone(&place.run("", &words));
    place.serve("on");
    place.says(&root, &["import", "galaxies", "catalogue.csv", "--create"]);
    (place, root)
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn nobody_gets_in_by_default_and_the_first_administrator_is_made_in_the_directory() {
    let mut place = Place::new();
    place.serve("on");
    for token in ["", "admin", "sid_aaaaaaaa_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        for words in [&["access", "whoami"] as &[_], &["collection", "list"], &["access", "grants"]]
        {
            place.complains(token, words);
        }
    }
    let data = place.data();
    let bootstrap = ["access", "bootstrap", "--data", path_text(&data)];
    let locked = place.complains("", &bootstrap);
    assert!(locked.contains("is in use by"), "{locked}");
    place.stop();
    let token = alone(&place.run("", &bootstrap));
    place.serve("on");
    let who = place.json(&token, &["access", "whoami"]);
    assert_eq!((&who["name"], &who["shown_by"]), (&"admin".into(), &"token".into()));
    assert_eq!(
        (&who["id"], &who["groups"]),
        (&token[4..12].into(), &serde_json::json!(["everyone"]))
    );
    assert_eq!(who["roles"][0]["role"], "administer");
    assert!(place.says(&token, &["access", "whoami"]).contains("administer"));
}

#[test]
fn tokens_open_what_their_owners_were_given_and_end_at_once() {
    let (mut place, root) = bootstrapped();
    let ada = place.token_of(&root, "ada");
    let none = place.complains(&ada, &["count", "galaxies"]);
    let nothing = place.complains(&ada, &["count", "nothing"]);
    assert_eq!(none.replace("galaxies", "nothing"), nothing, "existence is not told");
    let given = place.says(&root, &["access", "grant", "user:ada", "read", "Galaxies"]);
    assert_eq!(given, "user:ada may read galaxies\n");
    assert_eq!(place.json(&ada, &["count", "galaxies"])["count"], OBJECTS);
    let weak = place.complains(&ada, &["delete", "galaxies", "1"]);
    assert!(weak.contains("`ingest`") && weak.contains("`read`"), "{weak}");
    // What is for administrators is not for her; what she owns is.
    for words in [
        &["access", "token", "create", "eve"] as &[_],
        &["access", "group", "set", "team", "ada"],
        &["access", "group", "list"],
        &["access", "grant", "user:ada", "administer", "*"],
        &["access", "grant", "user:ada", "curate", "galaxies"],
        &["access", "policy", "set", "user:ada", "galaxies", "--where", "released = 1"],
        &["access", "token", "revoke", &root[4..12]],
    ] {
        place.complains(&ada, words);
    }
    let listed = place.json(&ada, &["access", "token", "list"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(listed[0]["owner"], "ada");
    let none = place.json(&ada, &["access", "token", "list", "--owner", "root"]);
    assert_eq!(none.as_array().map(Vec::len), Some(0));
    assert_eq!(place.json(&ada, &["access", "grants"]).as_array().map(Vec::len), Some(0));
    assert_eq!(place.json(&root, &["access", "token", "list"]).as_array().map(Vec::len), Some(2));
    // Revoked, it is denied to the next call, and after a restart.
    place.says(&ada, &["access", "token", "revoke", &ada[4..12]]);
    let revoked = place.complains(&ada, &["count", "galaxies"]);
    assert!(revoked.contains("the token is not valid"), "{revoked}");
    let ended = place.json(&root, &["access", "token", "list", "--all"]);
    assert_eq!(ended[0]["state"], "revoked");
    place.serve("on");
    place.complains(&ada, &["count", "galaxies"]);
    let again = place.token_of(&root, "ada");
    assert_eq!(place.json(&again, &["count", "galaxies"])["count"], OBJECTS);
}

#[test]
fn groups_roles_and_policies_are_managed_by_those_who_may() {
    let (place, root) = bootstrapped();
    place.says(&root, &["access", "group", "set", "Team", "bea", "cyd"]);
    let groups = place.json(&root, &["access", "group", "list"]);
    assert_eq!(groups[0]["members"], serde_json::json!(["bea", "cyd"]));
    place.says(&root, &["access", "grant", "group:team", "administer", "galaxies"]);
    let bea = place.token_of(&root, "bea");
    // She gives roles on her collection, and on no other.
    place.says(&bea, &["access", "grant", "group:everyone", "read", "galaxies"]);
    for (collection, principal) in [("*", "user:bea"), ("stars", "user:bea")] {
        place.complains(&bea, &["access", "grant", principal, "administer", collection]);
        place.complains(&bea, &["access", "revoke", "user:root", collection]);
    }
    let refused = place.complains(&bea, &["access", "grant", "user:x", "read", "galaxies@dr1"]);
    assert!(refused.contains("galaxies@dr1"), "{refused}");
    let roles = place.json(&bea, &["access", "grants"]);
    let on: Vec<&str> = roles
        .as_array()
        .expect("a list")
        .iter()
        .map(|role| role["collection"].as_str().expect("a text"))
        .collect();
    assert_eq!(on, ["galaxies", "galaxies"]);
    let set = |predicate: &str| {
        let words = ["access", "policy", "set", "group:everyone", "galaxies", "--where", predicate];
        place.run(&bea, &words)
    };
    let unknown = text(&set("releasd = 1").stderr);
    assert!(unknown.contains("releasd"), "{unknown}");
    assert!(!set("released").status.success() && !set("").status.success());
    assert!(set("released = 1").status.success());
    // Everybody sees half of the rows, and she who administers all of them.
    let dan = place.token_of(&root, "dan");
    assert_eq!(place.json(&dan, &["count", "galaxies"])["count"], OBJECTS / 2);
    assert_eq!(place.json(&bea, &["count", "galaxies"])["count"], OBJECTS);
    let hidden = place.complains(&dan, &["get", "galaxies", "2"]);
    let nowhere = place.complains(&dan, &["get", "galaxies", "4444"]);
    assert_eq!(hidden.replace('2', "4444"), nowhere);
    let policies = place.json(&root, &["access", "policy", "list", "galaxies"]);
    assert_eq!(policies[0]["where"], "released = 1");
    assert_eq!(policies[0]["by"], "bea");
    let none = ["access", "policy", "drop", "group:team", "galaxies"];
    assert!(place.complains(&root, &none).contains("no row policy"));
    // The last administrator stays, and a collection takes its roles and policies along.
    let last = place.complains(&root, &["access", "revoke", "user:root", "*"]);
    assert!(last.contains("last grant"), "{last}");
    place.says(&root, &["collection", "drop", "galaxies"]);
    assert_eq!(place.json(&root, &["access", "grants"]).as_array().map(Vec::len), Some(1));
    assert_eq!(place.json(&root, &["access", "policy", "list"]).as_array().map(Vec::len), Some(0));
    place.complains(&bea, &["access", "grant", "user:bea", "read", "galaxies"]);
}

#[test]
fn a_session_is_found_without_its_collection_by_those_who_may_know_of_it() {
    let (place, root) = bootstrapped();
    let schema = place.folder.path().join("looks.toml");
    std::fs::write(
        schema,
        "id = 'number'\n[[space]]\nname = 'v'\nmodality = 'image'\ndimension = 2\nmetric = 'l2'\n",
    )
    .expect("written");
    for name in ["stars", "secrets"] {
        place.says(&root, &["collection", "create", name, "--schema", "looks.toml"]);
    }
    for (name, session) in [("stars", "arcs"), ("secrets", "arcs"), ("secrets", "rings")] {
        place.says(&root, &["session", "start", name, "--name", session]);
    }
    let ada = place.token_of(&root, "ada");
    place.says(&root, &["access", "grant", "user:ada", "annotate", "stars"]);
    // Of the other collection, and of what is there, she is told nothing.
    for session in ["rings", "nothing"] {
        let complaint = place.complains(&ada, &["session", "show", session]);
        assert!(complaint.contains(&format!("no session `{session}`")), "{complaint}");
    }
    assert_eq!(place.json(&ada, &["session", "show", "ARCS"])["collection"], "stars");
    let several = place.complains(&root, &["session", "show", "arcs"]);
    assert!(several.contains("name the collection"), "{several}");
    let named = place.json(&root, &["session", "show", "arcs", "--collection", "secrets"]);
    assert_eq!(named["collection"], "secrets");
    assert_eq!(place.json(&root, &["session", "show", "rings"])["collection"], "secrets");
    for words in [
        &["session", "label", "arcs", "1="] as &[_],
        &["session", "next", "arcs", "-n", "1"],
        &["session", "drop", "arcs"],
    ] {
        place.says(&ada, words);
    }
    let left = place.json(&root, &["session", "list"]);
    assert_eq!(left["sessions"].as_array().map(Vec::len), Some(2), "{left}");
}

#[test]
fn a_server_that_asks_nobody_can_be_made_ready() {
    let mut place = Place::new();
    place.serve("off");
    assert!(place.says("", &["access", "whoami"]).contains("asks nobody"));
    place.says("", &["access", "grant", "user:ada", "administer", "*"]);
    let note = text(&place.run("", &["access", "grant", "user:bea", "read", "later"]).stderr);
    assert!(note.contains("no collection later"), "{note}");
    for (words, told) in [
        (&["access", "grant", "ada", "read", "*"] as &[_], "user:NAME"),
        (&["access", "grant", "user:ada", "own", "*"], "administer"),
        (&["access", "token", "create", "ada", "--expires", "9000d"], "365 days"),
        (&["access", "token", "create", "ada", "--groups", "nobody"], "no group `nobody`"),
        (&["access", "group", "set", "everyone", "ada"], "everyone"),
        (&["access", "revoke", "user:cyd", "*"], "no role"),
        (&["access", "token", "revoke", "aaaaaaaa"], "no token"),
    ] {
        let complaint = place.complains("", words);
        assert!(complaint.contains(told), "{words:?}: {complaint}");
    }
    let made = place.json("", &["access", "token", "create", "ada", "--expires", "2h"]);
    let token = made["token"].as_str().expect("a token").to_owned();
    assert_eq!(made["id"], token[4..12]);
    place.serve("on");
    assert_eq!(place.json(&token, &["access", "whoami"])["name"], "ada");
    assert!(place.complains("", &["access", "whoami"]).contains("SIDEREUS_TOKEN"));
}
