//! The hash that a split is made by. It is part of what a split means and never changes.

/// An object's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SplitId<'a> {
    /// A number.
    Number(i64),
    /// A text.
    Text(&'a str),
}

/// What is hashed, so that the draws for one thing say nothing about those for another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Draw {
    /// The side of an object.
    Side,
    /// The side of a cell on the sky.
    Cell,
    /// The place in the order from which few examples are taken.
    Few,
}

/// 64 bits that look random: the first eight bytes, little-endian, of the BLAKE3 hash of one byte for what is drawn (0 side,
/// 1 cell, 2 few), the seed in eight bytes little-endian, one byte for the kind of the id (0 number, 1 text), and the id: a
/// number in eight bytes little-endian, a text in UTF-8.
pub(super) fn bits(draw: Draw, seed: u64, id: SplitId<'_>) -> u64 {
    let mut hasher = blake3::Hasher::new();
    let draw = match draw {
        Draw::Side => 0_u8,
        Draw::Cell => 1,
        Draw::Few => 2,
    };
    hasher.update(&[draw]);
    hasher.update(&seed.to_le_bytes());
    match id {
        SplitId::Number(number) => hasher.update(&[0]).update(&number.to_le_bytes()),
        SplitId::Text(text) => hasher.update(&[1]).update(text.as_bytes()),
    };
    let hash = hasher.finalize();
    hash.as_bytes().iter().take(8).rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// A number from 0 up to 1, without 1, from the upper 53 of 64 bits.
pub(super) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// A whole number below `bound`.
pub(super) fn below(bits: u64, bound: u32) -> u32 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u32
}
