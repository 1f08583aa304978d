//! The rules, each a function of one source file.

use std::fmt;

use super::source::{Source, item_end};

/// A rule that is broken, and where.
pub(super) struct Violation {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Every rule.
pub(super) const RULES: [fn(&Source) -> Vec<Violation>; 7] = [
    imports_go_down,
    libraries_stay,
    files_are_short,
    functions_are_short,
    nothing_is_forced,
    files_speak,
    objects_are_seen_through_the_door,
];

/// The floors, lowest first. A module uses itself and what stands before its own line, never beside it.
const FLOORS: [&[&str]; 10] = [
    &["class", "clock", "idle", "leave", "pieces"],
    &["sky", "vector", "wire"],
    &["schema", "learn", "audit"],
    &["storage", "index", "encoder", "files"],
    &["engine"],
    &["query"],
    &["probes", "access", "backup"],
    &["service"],
    &["config"],
    &["cli"],
];

/// Foreign libraries and the folders, or files, that may name them.
const FENCES: [(&str, &[&str]); 36] = [
    ("libc", &["src/idle.rs", "src/leave.rs", "src/storage/disk.rs", "src/encoder/sandbox/"]),
    ("landlock", &["src/encoder/sandbox/"]),
    ("seccompiler", &["src/encoder/sandbox/"]),
    ("memmap2", &["src/engine/mapped.rs", "src/index/"]),
    ("rocksdb", &["src/storage/rocks"]),
    ("librocksdb_sys", &["src/storage/rocks"]),
    ("faiss_sys", &["src/index/faiss"]),
    ("tch", &["src/encoder/torch/"]),
    ("safetensors", &["src/encoder/"]),
    ("image", &["src/encoder/"]),
    ("healpix", &["src/sky/healpix.rs"]),
    ("moc", &["src/sky/healpix.rs", "src/sky/moc_io.rs"]),
    ("datafusion", &["src/query/datafusion"]),
    ("npyz", &["src/files/", "src/encoder/preprocess/arrays.rs"]),
    ("hdf5_pure", &["src/files/"]),
    ("parquet", &["src/files/"]),
    ("arrow", &["src/files/", "src/engine/", "src/query/", "src/service/", "src/cli/"]),
    ("plotters", &["src/cli/"]),
    ("tonic", &["src/wire/", "src/encoder/", "src/service/", "src/cli/"]),
    ("prost", &["src/wire/", "src/encoder/", "src/probes/", "src/service/", "src/cli/export.rs"]),
    ("jsonwebtoken", &["src/access/oidc/"]),
    ("reqwest", &["src/access/oidc/"]),
    ("rustls", &["src/service/tls/"]),
    ("tokio_rustls", &["src/service/tls/"]),
    ("x509_parser", &["src/service/tls/"]),
    ("object_store", &["src/backup/remote/"]),
    ("governor", &["src/service/admission/"]),
    ("prometheus_client", &["src/service/metrics/"]),
    ("opentelemetry", &["src/service/telemetry/"]),
    ("axum", &["src/service/http/"]),
    ("arrow_flight", &["src/service/flight/", "src/cli/client/", "src/cli/export.rs"]),
    ("clap", &["src/cli/", "src/encoder/torch/"]),
    ("anyhow", &["src/cli/", "src/encoder/torch/"]),
    ("indicatif", &["src/cli/"]),
    ("comfy_table", &["src/cli/"]),
    ("console", &["src/cli/"]),
];

/// Names of serving, which is the business of two folders.
const SERVER_WORDS: [&str; 3] =
    ["tonic::transport::Server", "tonic::transport::server", "_server::"];
const SERVER_FOLDERS: [&str; 2] = ["src/service/", "src/encoder/torch/"];

/// The only places with unsafe code.
const UNSAFE_FENCES: [&str; 11] = [
    "src/index/faiss",
    "src/index/section.rs",
    "src/engine/mapped.rs",
    "src/idle.rs",
    "src/leave.rs",
    "src/storage/disk.rs",
    "src/storage/rocks/sorted_file.rs",
    "src/encoder/sandbox/limits.rs",
    "src/encoder/torch/staging.rs",
    "src/vector/simd/",
    "src/learn/lapack/ffi.rs",
];

/// The only file above the query engine that asks the database for objects, which it does for the grant of a call.
const DOOR: &str = "src/service/door.rs";
/// Where others might, and what they must not ask for: reads everywhere, writes where a call is served.
const BEHIND_THE_DOOR: [&str; 2] = ["src/service/", "src/probes/"];
const READS: [&str; 7] =
    ["view", "glance", "view_at_hand", "get", "tokens", "collection", "index_status"];
const WRITES: [&str; 2] = ["write", "insert"];

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

fn at(source: &Source, offset: usize, what: String) -> Violation {
    let line = 1 + source.code[..offset].matches('\n').count();
    Violation { path: source.path.clone(), line, what }
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Places of a word that stands alone.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let bytes = code.as_bytes();
        let before = at.checked_sub(1).is_none_or(|place| !is_word_byte(bytes[place]));
        before && bytes.get(at + word.len()).is_none_or(|byte| !is_word_byte(*byte))
    })
}

fn imports_go_down(source: &Source) -> Vec<Violation> {
    let Some(module) = source.module() else { return Vec::new() };
    let Some(own) = floor(module) else {
        return vec![at(
            source,
            0,
            format!("`{module}` has no floor; give it one in tests/it/architecture"),
        )];
    };
    // The encoder program is a crate of its own and names the library from outside.
    let roots: &[&str] = if source.path.starts_with("src/encoder/torch/") {
        &["crate::", "sidereus::"]
    } else {
        &["crate::"]
    };
    let mut found = Vec::new();
    for root in roots {
        for (place, _) in source.code.match_indices(root) {
            for used in names_after(&source.code[place + root.len()..]) {
                let Some(theirs) = floor(used) else { continue };
                if used != module && theirs >= own {
                    found.push(at(
                        source,
                        place,
                        format!("`{module}` uses `{used}`, which is not below it"),
                    ));
                }
            }
        }
    }
    found
}

/// The first names of a path, or of each path of a group in braces.
fn names_after(code: &str) -> Vec<&str> {
    let name = |text: &str| {
        text.len()
            - text.trim_start_matches(|each: char| each.is_alphanumeric() || each == '_').len()
    };
    let Some(group) = code.strip_prefix('{') else { return vec![&code[..name(code)]] };
    let mut names = Vec::new();
    let (mut depth, mut expects_name) = (1_usize, true);
    for (place, each) in group.char_indices() {
        match each {
            '{' => depth += 1,
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' if depth == 1 => expects_name = true,
            each if depth == 1 && expects_name && !each.is_whitespace() => {
                names.push(&group[place..place + name(&group[place..])]);
                expects_name = false;
            }
            _ => {}
        }
    }
    names
}

fn libraries_stay(source: &Source) -> Vec<Violation> {
    if !source.path.starts_with("src/") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (library, folders) in FENCES {
        if folders.iter().any(|folder| source.path.starts_with(folder)) {
            continue;
        }
        for place in
            words(&source.code, library).filter(|place| names_crate(&source.code, *place, library))
        {
            found.push(at(
                source,
                place,
                format!("`{library}` belongs into {}", folders.join(", ")),
            ));
        }
    }
    if !SERVER_FOLDERS.iter().any(|folder| source.path.starts_with(folder)) {
        for word in SERVER_WORDS {
            for (place, _) in source.product.match_indices(word) {
                found.push(at(source, place, "serving belongs into service".to_owned()));
            }
        }
    }
    found
}

/// Whether a word is the name of a crate: it begins a path and is not a module's or a variable's name.
fn names_crate(code: &str, place: usize, library: &str) -> bool {
    if code.contains(&format!("mod {library};")) {
        return false;
    }
    let before = code[..place].trim_end();
    let after = &code[place + library.len()..];
    let imported = before.ends_with("use") && (after.starts_with("::") || after.starts_with(';'));
    // `moc` and `image` are also names of our own modules: there only imports are told apart.
    let is_common_word = matches!(library, "moc" | "image" | "console" | "healpix" | "datafusion");
    let begins_path = after.starts_with("::") && !before.ends_with("::");
    imported || (begins_path && !is_common_word)
}

fn files_are_short(source: &Source) -> Vec<Violation> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![at(source, 0, format!("{lines} lines, more than {FILE_LINES_MAX}: the module is two"))]
}

fn functions_are_short(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for place in words(&source.product, "fn") {
        let item = &source.product[place..];
        let name: String =
            item[2..].trim_start().chars().take_while(|each| is_word_byte(*each as u8)).collect();
        let lines = item[..item_end(item)].lines().count();
        if !name.is_empty() && lines > FUNCTION_LINES_MAX {
            let what = format!("`{name}` has {lines} lines, more than {FUNCTION_LINES_MAX}");
            found.push(at(source, place, what));
        }
    }
    found
}

fn nothing_is_forced(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for word in [".unwrap()", "todo!(", "unimplemented!(", "dbg!(", "#[allow(", "#![allow("] {
        for (place, _) in source.product.match_indices(word) {
            found.push(at(source, place, format!("`{word}` in the product")));
        }
    }
    if !UNSAFE_FENCES.iter().any(|fence| source.path.starts_with(fence)) {
        for place in words(&source.product, "unsafe") {
            found.push(at(source, place, "unsafe code outside its fences".to_owned()));
        }
    }
    found
}

fn objects_are_seen_through_the_door(source: &Source) -> Vec<Violation> {
    let is_behind = BEHIND_THE_DOOR.iter().any(|folder| source.path.starts_with(folder));
    if source.path == DOOR || !is_behind {
        return Vec::new();
    }
    let serves = source.path.starts_with("src/service/");
    let mut found = Vec::new();
    for place in words(&source.product, "db") {
        let after = source.product[place + 2..].trim_start();
        let after = after.strip_prefix("()").unwrap_or(after).trim_start();
        let Some(after) = after.strip_prefix('.').map(str::trim_start) else { continue };
        let end = after.find(|each: char| !each.is_alphanumeric() && each != '_');
        let (name, rest) = after.split_at(end.unwrap_or(after.len()));
        let is_call = rest.trim_start().starts_with('(');
        if is_call && (READS.contains(&name) || serves && WRITES.contains(&name)) {
            found.push(at(source, place, format!("`db.{name}` beside the door: ask {DOOR}")));
        }
    }
    found
}

fn files_speak(source: &Source) -> Vec<Violation> {
    let speaks = source.text.starts_with("//!") || source.text.starts_with("#![doc");
    if speaks || source.is_test() {
        return Vec::new();
    }
    vec![at(source, 0, "the file begins without `//!`: say what it answers".to_owned())]
}
