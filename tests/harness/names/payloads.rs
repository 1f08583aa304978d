//! The corpus: each target, written in each of the ways that have fooled somebody.

use std::collections::BTreeSet;
use std::path::Path;

/// Begins the name of every link that is laid into the data directory and leads out of it.
pub(super) const LINK: &str = "planted-";

/// What somebody would like to read, or to overwrite.
const TARGETS: [&str; 27] = [
    "etc/passwd",
    "etc/shadow",
    "proc/self/environ",
    "proc/self/mem",
    "proc/self/cmdline",
    "dev/zero",
    "dev/random",
    "root/.ssh/id_rsa",
    "var/run/docker.sock",
    "sys/kernel/profiling",
    "tmp/canary",
    "LOCK",
    "FORMAT",
    "records/CURRENT",
    "records/MANIFEST-000001",
    "segments",
    "staging",
    "cost.toml",
    "segment.toml",
    "canary.txt",
    "windows/win.ini",
    "boot.ini",
    "..",
    ".",
    "",
    "con",
    "nul",
];

const URLS: [&str; 15] = [
    "http://127.0.0.1:9/",
    "http://169.254.169.254/latest/meta-data/",
    "https://example.com/",
    "ftp://127.0.0.1/",
    "file:///",
    "gopher://127.0.0.1:9/",
    "dict://127.0.0.1:11211/",
    "ldap://127.0.0.1:389/",
    "s3://bucket/",
    "jar:file:///",
    "http://[::1]:9/",
    "http://2130706433:9/",
    "\\\\127.0.0.1\\share\\",
    "//127.0.0.1/share/",
    "unix:///",
];

const CLIMBS: [&str; 36] = [
    "../",
    "../../../../../../../../",
    "..\\",
    "..\\..\\..\\..\\",
    "..%2f..%2f..%2f",
    "%2e%2e%2f%2e%2e%2f",
    "%252e%252e%252f",
    "..%c0%af..%c0%af",
    "..%5c..%5c",
    "....//....//",
    "..;/..;/",
    "/",
    "//",
    "///",
    "\\",
    "C:\\",
    "C:/",
    "/./././",
    "/../../../",
    "./",
    "~/",
    "~root/",
    "$HOME/",
    "${HOME}/",
    "`pwd`/",
    "%00/",
    "\u{ff0e}\u{ff0e}\u{ff0f}",
    "\u{2025}\u{2215}",
    "\u{202e}../",
    "..\u{2044}..\u{2044}",
    "\u{0}../",
    "a\u{0}/../../",
    ".\u{200b}./",
    "..\u{fe68}..\u{fe68}",
    "@/",
    "a@dr1/../../",
];

const ENDS: [&str; 12] =
    ["", "\u{0}", "\u{0}.toml", "%00", "#", "?", "/", "/.", "/..", " ", "\n", "\r\nHost: x"];

/// Names of links in the data directory, and ways through them. The last leads to a file, the others to folders.
const LINKS: [&str; 5] = ["folder", "segments/folder", "records/folder", "staging/folder", "file"];

/// Where a link of the data directory is that leads to the folder outside, or to the file in it.
pub(super) fn links() -> [(String, bool); 5] {
    LINKS.map(|link| {
        let (folder, name) = link.rsplit_once('/').unwrap_or(("", link));
        let is_file = name == "file";
        (Path::new(folder).join(format!("{LINK}{name}")).display().to_string(), is_file)
    })
}

/// Every payload, for a data directory and for a folder beside it; a collection of the name is there.
pub(super) fn payloads(collection: &str, data: &Path, outside: &Path) -> Vec<Vec<u8>> {
    let outside = outside.to_string_lossy();
    let mut made = BTreeSet::new();
    for target in TARGETS.into_iter().chain([outside.trim_start_matches('/')]) {
        for climb in CLIMBS {
            made.insert(format!("{climb}{target}"));
            made.insert(format!("{collection}/{climb}{target}"));
        }
        for url in URLS {
            made.insert(format!("{url}{target}"));
        }
        for end in ENDS {
            made.insert(format!("/{target}{end}"));
            made.insert(format!("../../{target}{end}"));
        }
    }
    for (link, is_file) in links() {
        let inner = if is_file { link } else { format!("{link}/canary.txt") };
        let whole = data.join(&inner).display().to_string();
        for before in ["", "./", "../", "../../", "file:///", "segments/../"] {
            made.insert(format!("{before}{inner}"));
        }
        made.insert(format!("file://{whole}"));
        made.insert(whole);
    }
    made.insert(outside.to_string());
    made.insert("../".repeat(2_000));
    made.insert("a".repeat(100_000));
    let mut made: Vec<Vec<u8>> = made.into_iter().map(String::into_bytes).collect();
    made.push(vec![0xff, 0xfe, b'/', b'.', b'.']);
    made.push(vec![0xc0, 0xae, 0xc0, 0xae, 0xc0, 0xaf]);
    made
}
