//! What a snapshot consists of.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::error::BackupError;

/// Layout of manifests that this program writes and reads.
pub(super) const FORMAT: u32 = 1;

/// What stands before the checksum in the last line.
const CHECKSUM: &str = "blake3 ";

/// Top-level names of a data directory that a backup may hold.
const KNOWN: [&str; 4] = ["FORMAT", "cost.toml", "records", "segments"];

/// Most folders above a file.
const DEPTH_MAX: usize = 4;

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SnapshotFile {
    /// Path in the data directory, with `/`.
    pub(super) path: String,
    /// Its bytes.
    pub(super) size: u64,
    /// BLAKE3 of them in hexadecimal digits, which is also the name of the object that holds them.
    pub(super) blake3: String,
}

/// A collection of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotCollection {
    /// Its name; those of releases are `NAME@RELEASE`.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Its objects.
    pub objects: u64,
}

/// What a snapshot consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotManifest {
    pub(super) format: u32,
    /// Its name.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// On-disk format of the database in it.
    pub database_format: u32,
    /// The collections in it, releases among them.
    pub collections: Vec<SnapshotCollection>,
    pub(super) files: Vec<SnapshotFile>,
}

impl SnapshotManifest {
    /// Bytes of all files.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Number of files.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// The bytes: JSON, and a last line with the checksum of all before.
    pub(super) fn encode(&self) -> Result<Vec<u8>, BackupError> {
        let mut text = serde_json::to_string_pretty(self).map_err(|error| {
            BackupError::Damaged { name: self.name.clone(), what: error.to_string() }
        })?;
        text.push('\n');
        let checksum = blake3::hash(text.as_bytes()).to_hex();
        text.push_str(CHECKSUM);
        text.push_str(checksum.as_str());
        text.push('\n');
        Ok(text.into_bytes())
    }

    /// Reads a manifest back, and refuses one whose names could lead out of a directory.
    pub(super) fn decode(name: &str, bytes: &[u8]) -> Result<Self, BackupError> {
        let damaged = |what: &str| BackupError::Damaged {
            name: super::manifest_name(name),
            what: what.to_owned(),
        };
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
        let (body, checksum) = text
            .strip_suffix('\n')
            .and_then(|text| text.rsplit_once('\n'))
            .ok_or_else(|| damaged("it has no checksum"))?;
        let body = format!("{body}\n");
        let checksum =
            checksum.strip_prefix(CHECKSUM).ok_or_else(|| damaged("it has no checksum"))?;
        if blake3::hash(body.as_bytes()).to_hex().as_str() != checksum {
            return Err(damaged("it does not have its checksum"));
        }
        let manifest: Self =
            serde_json::from_str(&body).map_err(|error| damaged(&error.to_string()))?;
        if manifest.format > FORMAT {
            let (name, found) = (name.to_owned(), manifest.format);
            return Err(BackupError::NewerFormat { name, found, supported: FORMAT });
        }
        if manifest.name != name {
            return Err(damaged(&format!("it calls itself `{}`", manifest.name)));
        }
        let mut seen = BTreeSet::new();
        for file in &manifest.files {
            if !is_safe(&file.path) || !seen.insert(&file.path) {
                return Err(damaged(&format!("`{}` is no file of a database", file.path)));
            }
            if !is_hash(&file.blake3) {
                return Err(damaged(&format!("the hash of `{}` is none", file.path)));
            }
        }
        Ok(manifest)
    }
}

/// Whether a name is that of a snapshot or of an object: nothing else becomes part of a path.
pub(super) fn is_plain(name: &str) -> bool {
    let first = name.chars().next();
    first.is_some_and(|first| first.is_ascii_alphanumeric())
        && name.len() <= 255
        && name.chars().all(|each| each.is_ascii_alphanumeric() || matches!(each, '-' | '_' | '.'))
}

fn is_safe(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    parts.len() <= DEPTH_MAX
        && parts.iter().all(|part| is_plain(part))
        && parts.first().is_some_and(|first| KNOWN.contains(first))
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|each| matches!(each, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(paths: &[&str]) -> SnapshotManifest {
        let file = |path: &&str| SnapshotFile {
            path: (*path).to_owned(),
            size: 1,
            blake3: "0".repeat(64),
        };
        SnapshotManifest {
            format: FORMAT,
            name: "s".to_owned(),
            created_ms: 5,
            database_format: 4,
            collections: Vec::new(),
            files: paths.iter().map(file).collect(),
        }
    }

    #[test]
    fn a_manifest_comes_back_and_every_flipped_byte_is_noticed() {
        let made = manifest(&["FORMAT", "records/000004.log", "segments/00000001/7/rows.arrow"]);
        let bytes = made.encode().expect("encodes");
        assert_eq!(SnapshotManifest::decode("s", &bytes).expect("reads"), made);
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 4;
            assert!(SnapshotManifest::decode("s", &flipped).is_err(), "byte {place}");
        }
        assert!(SnapshotManifest::decode("t", &bytes).is_err(), "of another name");
        assert!(SnapshotManifest::decode("s", &bytes[..bytes.len() / 2]).is_err());
        assert!(SnapshotManifest::decode("s", b"").is_err());
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in [
            "/etc/passwd",
            "../x",
            "records/../../x",
            "records//x",
            "",
            ".",
            "records/.x",
            "a",
            "records/x\\y",
            "segments/1/2/3/4/5",
            "records/\u{e9}",
            "LOCK",
            "FORMAT/",
        ] {
            let bytes = manifest(&[bad]).encode().expect("encodes");
            assert!(SnapshotManifest::decode("s", &bytes).is_err(), "{bad}");
        }
        let twice = manifest(&["FORMAT", "FORMAT"]).encode().expect("encodes");
        assert!(SnapshotManifest::decode("s", &twice).is_err(), "twice");
        let mut wrong = manifest(&["FORMAT"]);
        wrong.files[0].blake3 = "../../x".to_owned();
        assert!(SnapshotManifest::decode("s", &wrong.encode().expect("encodes")).is_err());
    }
}
