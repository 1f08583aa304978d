//! A named record whose contents are somebody else's.

use super::bytes::{Reader, Writer};
use crate::storage::error::StorageError;

const NAMED: &str = "named record";
const NAMED_VERSION: u8 = 1;

/// Bytes of a checksum.
const CHECKSUM_BYTES: usize = 32;

/// The bytes of a named record: version, name as it was given, BLAKE3 of the contents, the contents.
pub(crate) fn encode_named(name: &str, contents: &[u8]) -> Vec<u8> {
    let mut out = Writer::with_capacity(16 + name.len() + CHECKSUM_BYTES + contents.len());
    out.u8(NAMED_VERSION);
    out.sized(name.as_bytes());
    out.raw(blake3::hash(contents).as_bytes());
    out.sized(contents);
    out.finish()
}

/// Reads the name and the contents of a named record back.
pub(crate) fn decode_named(bytes: &[u8]) -> Result<(String, Vec<u8>), StorageError> {
    let mut rest = Reader::new(NAMED, bytes);
    rest.version(NAMED_VERSION)?;
    let name = rest.text()?;
    let checksum: [u8; CHECKSUM_BYTES] = rest.array()?;
    let contents = rest.sized()?;
    rest.end()?;
    if *blake3::hash(contents).as_bytes() != checksum {
        return Err(rest.fail(format!("`{name}` does not have its checksum")));
    }
    Ok((name, contents.to_vec()))
}
