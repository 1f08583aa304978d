//! The rules of the house, enforced: imports go down, foreign libraries stay in their folders, files and
//! functions stay readable. Each rule is a function of source text, and each is shown to fail.

mod dependencies;
mod rules;
mod source;

use std::path::Path;

use rules::{RULES, Violation};
use source::Source;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn violations(sources: &[Source]) -> Vec<Violation> {
    sources.iter().flat_map(|source| RULES.iter().flat_map(|rule| rule(source))).collect()
}

fn violations_of(path: &str, text: &str) -> Vec<String> {
    violations(&[Source::new(path, text)]).iter().map(ToString::to_string).collect()
}

fn assert_refused(path: &str, text: &str, wanted: &str) {
    let found = violations_of(path, text);
    assert!(found.iter().any(|each| each.contains(wanted)), "{path}: {wanted}: {found:?}");
}

fn assert_accepted(path: &str, text: &str) {
    let found = violations_of(path, text);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_house_keeps_its_rules() {
    let mut sources = source::read_all(&root().join("src"), root());
    sources.extend(source::read_all(&root().join("tests"), root()));
    sources.extend(source::read_all(&root().join("benches"), root()));
    assert!(sources.len() > 20, "the sources are found");
    let found: Vec<String> = violations(&sources).iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

#[test]
fn imports_that_go_up_or_sideways_are_found() {
    assert_refused("src/storage/a.rs", "//! A.\nuse crate::engine::Db;\n", "engine");
    assert_refused("src/storage/a.rs", "//! A.\nuse crate::index::IvfIndex;\n", "index");
    assert_refused("src/sky/a.rs", "//! A.\nfn f() { crate::schema::g() }\n", "schema");
    assert_refused("src/query/a.rs", "//! A.\nuse crate::{cli::main, sky::Cell29};\n", "cli");
    assert_refused("src/config/a.rs", "//! A.\nuse crate::cli::main;\n", "cli");
    assert_refused("src/attic/a.rs", "//! A.\n", "no floor");
    assert_accepted("src/engine/a.rs", "//! A.\nuse crate::{index::IvfIndex, sky::{Moc, Cone}};\n");
    assert_accepted(
        "src/storage/a.rs",
        "//! A.\n// crate::engine is above.\nuse crate::sky::Moc;\n",
    );
}

#[test]
fn foreign_libraries_outside_their_folder_are_found() {
    for (path, line) in [
        ("src/engine/a.rs", "use rocksdb::DB;"),
        ("src/index/a.rs", "let i = unsafe_free(faiss_sys::faiss_Index_free);"),
        ("src/encoder/a.rs", "use tch::Tensor;"),
        ("src/query/a.rs", "use healpix::nested;"),
        ("src/sky/region.rs", "use moc::moc::range::RangeMOC;"),
        ("src/service/a.rs", "use datafusion::prelude::SessionContext;"),
        ("src/cli/a.rs", "use tonic::transport::Server;"),
        ("src/cli/a.rs", "use crate::wire::v1::search_service_server::SearchService;"),
        ("src/engine/a.rs", "use tonic::Status;"),
        ("src/storage/a.rs", "use arrow::array::Array;"),
        ("src/service/a.rs", "use anyhow::Result;"),
        ("src/cli/a.rs", "use npyz::NpyFile;"),
    ] {
        assert_refused(path, &format!("//! A.\n{line}\n"), "belongs");
    }
    assert_accepted("src/storage/rocks/a.rs", "//! A.\nuse rocksdb::DB;\n");
    assert_accepted("src/query/datafusion/a.rs", "//! A.\nuse datafusion::prelude::col;\n");
    assert_accepted("src/query/a.rs", "//! A.\nuse super::datafusion::Predicate;\n");
    assert_accepted("src/sky/mod.rs", "//! A.\nmod moc;\npub use moc::Moc;\n");
    assert_accepted("src/cli/a.rs", "//! A.\nfn f() -> moc::Form { v1::moc::Form::A }\n");
}

#[test]
fn long_files_and_functions_are_found() {
    let long_file = format!("//! A.\n{}", "// line\n".repeat(500));
    assert_refused("src/sky/a.rs", &long_file, "lines");
    let body = "    let x = 1;\n".repeat(70);
    assert_refused("src/sky/a.rs", &format!("//! A.\nfn long() {{\n{body}}}\n"), "`long`");
    let body = "    let x = 1;\n".repeat(60);
    assert_accepted("src/sky/a.rs", &format!("//! A.\nfn f() {{\n{body}}}\nfn g() {{\n{body}}}\n"));
}

#[test]
fn unwrap_unsafe_and_silenced_lints_are_found() {
    assert_refused("src/sky/a.rs", "//! A.\nfn f() { x.unwrap() }\n", "unwrap");
    assert_refused("src/sky/a.rs", "//! A.\nfn f() { todo!() }\n", "todo");
    assert_refused("src/sky/a.rs", "//! A.\nfn f() { unsafe { g() } }\n", "unsafe");
    assert_refused("src/sky/a.rs", "//! A.\n#[allow(dead_code)]\nfn f() {}\n", "allow");
    let test_only = "//! A.\n#[cfg(test)]\nmod tests {\n    fn f() { x.unwrap() }\n}\n";
    assert_accepted("src/sky/a.rs", test_only);
    assert_refused("src/sky/a.rs", &format!("{test_only}fn g() {{ x.unwrap() }}\n"), "unwrap");
    assert_accepted("src/sky/a_tests.rs", "fn f() { x.unwrap() }\n");
    assert_accepted("src/sky/a.rs", "//! A.\nconst A: &str = \"x.unwrap() unsafe {\";\n");
}

#[test]
fn files_without_a_word_about_themselves_are_found() {
    assert_refused("src/sky/a.rs", "fn f() {}\n", "//!");
}

#[test]
fn objects_beside_the_door_are_found() {
    for line in [
        "fn f() { db.view(name) }",
        "fn f() { self.context.db\n    .get(name, ids) }",
        "fn f() { door.db().tokens(name, space, ids) }",
        "fn f() { db.view_at_hand(name) }",
        "fn f() { db.write(name, mode, writes) }",
    ] {
        assert_refused("src/service/a.rs", &format!("//! A.\n{line}\n"), "door");
    }
    assert_refused("src/probes/a.rs", "//! A.\nfn f() { tools.db.view(name) }\n", "door");
    assert_accepted("src/probes/a.rs", "//! A.\nfn f() { tools.db.write(name) }\n");
    assert_accepted("src/service/a.rs", "//! A.\nfn f() { door.view(name); db.schema(name) }\n");
    assert_accepted("src/service/door.rs", "//! A.\nfn f() { self.db.view(name) }\n");
}

#[test]
fn there_is_one_version_of_what_must_agree() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let found = dependencies::several_versions(&lock);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_second_version_is_found() {
    let package = |name: &str, version: &str| {
        format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n")
    };
    let several = |first: &str, second: &str| {
        dependencies::several_versions(&(package(first, "1.0.0") + &package(second, "2.0.0")))
    };
    assert_eq!(several("arrow-array", "arrow-array").len(), 1);
    assert_eq!(several("tonic", "tonic").len(), 1);
    // Crates of one family that are released together must agree with each other too.
    assert_eq!(several("arrow-array", "arrow-schema").len(), 1);
    assert!(several("syn", "syn").is_empty());
    assert!(several("tonic", "prost").is_empty());
}

#[test]
fn every_licence_is_on_the_list() {
    let allowed = dependencies::allowed_licences(
        &std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml"),
    );
    let found = dependencies::licences_not_allowed(&dependencies::metadata(root()), &allowed);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_licence_that_is_not_on_the_list_is_found() {
    let allowed = vec!["MIT".to_owned(), "Apache-2.0".to_owned(), "Zlib".to_owned()];
    let refused = |licence: &str| {
        let text =
            format!(r#"{{"packages":[{{"name":"a","version":"1.0.0","license":{licence}}}]}}"#);
        dependencies::licences_not_allowed(&text, &allowed).len()
    };
    assert_eq!(refused("\"MIT OR Apache-2.0\""), 0);
    assert_eq!(refused("\"GPL-3.0 OR MIT\""), 0);
    assert_eq!(refused("\"MIT/GPL-3.0\""), 0);
    assert_eq!(refused("\"(MIT OR GPL-3.0) AND Zlib\""), 0);
    assert_eq!(refused("\"MIT AND GPL-3.0\""), 1);
    assert_eq!(refused("\"GPL-3.0\""), 1);
    assert_eq!(refused("null"), 1);
}
