//! Reading and writing the bytes of a record; little-endian, integers as LEB128 where they are mostly small.

use crate::storage::error::StorageError;

/// Appends the parts of a record.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// Goes on behind what is there.
    pub(super) fn behind(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// Signed numbers with small magnitudes become small unsigned ones.
    pub(super) fn zigzag(&mut self, value: i64) {
        self.varint((value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned());
    }

    pub(super) fn f64(&mut self, value: f64) {
        self.raw(&value.to_le_bytes());
    }

    /// A length and that many bytes.
    pub(super) fn sized(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.raw(bytes);
    }
}

/// Takes the parts of a record back; every lack or excess is [`StorageError::Corrupt`].
pub(super) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    pub(super) fn fail(&self, detail: impl Into<String>) -> StorageError {
        StorageError::corrupt(self.what, detail)
    }

    /// Reads the version byte of a record.
    pub(super) fn version(&mut self, newest: u8) -> Result<u8, StorageError> {
        let version = self.u8()?;
        if (1..=newest).contains(&version) {
            Ok(version)
        } else {
            Err(self.fail(format!("unknown record version {version}")))
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], StorageError> {
        let (head, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| self.fail(format!("{count} bytes wanted, {} there", self.rest.len())))?;
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], StorageError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.fail(format!("{N} bytes wanted, {} there", self.rest.len())))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, StorageError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn f64(&mut self) -> Result<f64, StorageError> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    pub(super) fn varint(&mut self) -> Result<u64, StorageError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.fail("a number of more than 64 bits"))
    }

    pub(super) fn varint_u32(&mut self) -> Result<u32, StorageError> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| self.fail(format!("{value} is more than 32 bits")))
    }

    pub(super) fn zigzag(&mut self) -> Result<i64, StorageError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Reads how many items follow; no more than can be there at `size_min` bytes each, so that a damaged count
    /// never makes a huge allocation.
    pub(super) fn count(&mut self, size_min: usize) -> Result<usize, StorageError> {
        let count = self.varint()?;
        let most = self.rest.len() / size_min.max(1);
        match usize::try_from(count) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(self.fail(format!("{count} items announced, at most {most} there"))),
        }
    }

    pub(super) fn sized(&mut self) -> Result<&'a [u8], StorageError> {
        let count = self.count(1)?;
        self.take(count)
    }

    pub(super) fn text(&mut self) -> Result<String, StorageError> {
        let bytes = self.sized()?;
        let text = std::str::from_utf8(bytes).map_err(|error| self.fail(error.to_string()))?;
        Ok(text.to_owned())
    }

    pub(super) fn end(&self) -> Result<(), StorageError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.fail(format!("{} bytes too many", self.rest.len())))
        }
    }
}
