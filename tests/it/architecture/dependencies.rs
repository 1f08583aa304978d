//! What the lock file and the metadata of the dependencies say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Families of crates whose types cross between our modules: each in one version, and all of it the same.
const FAMILIES: [&str; 3] = ["arrow", "datafusion", "parquet"];

/// Single crates that must be there once.
const ONCE: [&str; 5] = ["tonic", "tonic-prost", "prost", "prost-types", "object_store"];

/// Crates of a family that are numbered apart from it.
const NUMBERED_APART: [&str; 1] = ["datafusion-distributed"];

/// What is in the lock file in more than one version and must not be.
pub(super) fn several_versions(lock: &str) -> Vec<String> {
    let lock: toml::Table = lock.parse().expect("a lock file");
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock["package"].as_array().expect("packages") {
        let text = |key: &str| package[key].as_str().expect("text").to_owned();
        let name = text("name");
        if let Some(group) = group(&name) {
            versions.entry(group).or_default().insert(text("version"));
        }
    }
    let several = versions.into_iter().filter(|(_, versions)| versions.len() > 1);
    several.map(|(name, versions)| format!("{name}: {versions:?}")).collect()
}

fn group(name: &str) -> Option<String> {
    if ONCE.contains(&name) {
        return Some(name.to_owned());
    }
    if NUMBERED_APART.contains(&name) {
        return None;
    }
    let belongs = |family: &&str| {
        name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    FAMILIES.into_iter().find(belongs).map(str::to_owned)
}

/// The licences of `deny.toml`.
pub(super) fn allowed_licences(deny: &str) -> Vec<String> {
    let deny: toml::Table = deny.parse().expect("deny.toml");
    let allowed = deny["licenses"]["allow"].as_array().expect("a list");
    allowed.iter().map(|name| name.as_str().expect("text").to_owned()).collect()
}

/// What cargo knows about every package, as JSON.
pub(super) fn metadata(root: &Path) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Packages whose licence is not on the list.
pub(super) fn licences_not_allowed(metadata: &str, allowed: &[String]) -> Vec<String> {
    let metadata: Value = serde_json::from_str(metadata).expect("json");
    let packages = metadata["packages"].as_array().expect("packages");
    let refused = packages.iter().filter(|package| {
        // Without a licence expression there is a file that somebody must read.
        !package["license"].as_str().is_some_and(|licence| is_allowed(licence, allowed))
    });
    let name = |package: &Value| {
        format!("{} {}: {}", package["name"], package["version"], package["license"])
    };
    refused.map(name).collect()
}

/// Whether an SPDX expression can be satisfied with licences of the list. `/` is the old way to write OR.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = expression.split_whitespace().collect();
    let mut at = 0;
    let satisfied = any_of(&tokens, &mut at, allowed);
    satisfied && at == tokens.len()
}

fn any_of(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut satisfied = all_of(tokens, at, allowed);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        satisfied |= all_of(tokens, at, allowed);
    }
    satisfied
}

fn all_of(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut satisfied = one(tokens, at, allowed);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        satisfied &= one(tokens, at, allowed);
    }
    satisfied
}

fn one(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let token = tokens.get(*at).copied().unwrap_or_default();
    *at += 1;
    if token == "(" {
        let satisfied = any_of(tokens, at, allowed);
        *at += 1;
        return satisfied;
    }
    let mut name = token.to_owned();
    if tokens.get(*at) == Some(&"WITH") {
        name = format!("{token} WITH {}", tokens.get(*at + 1).copied().unwrap_or_default());
        *at += 2;
    }
    allowed.contains(&name)
}
