//! Identifiers.

use std::fmt;

/// Number of a collection, assigned at creation and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionId(pub u32);

/// Number of an embedding space within its collection, assigned at creation and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceId(pub u32);

/// Whether the ids of a collection are integers or strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdKind {
    /// 64-bit signed integers.
    Number,
    /// Strings (survey triples such as plate-mjd-fibre).
    Text,
}

/// The stable name of an object within its collection.
///
/// Numbers sort by value and before strings; strings sort by bytes. Ties of distance are broken in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectId {
    /// A 64-bit integer id.
    Number(i64),
    /// A string id.
    Text(String),
}

impl ObjectId {
    /// Bytes allowed in a string id.
    pub const TEXT_LEN_MAX: usize = 256;

    /// Which kind this id is.
    pub fn kind(&self) -> IdKind {
        match self {
            Self::Number(_) => IdKind::Number,
            Self::Text(_) => IdKind::Text,
        }
    }

    /// Reads the text form of an id of the given kind; `None` if it is not one.
    pub fn parse(text: &str, kind: IdKind) -> Option<Self> {
        match kind {
            IdKind::Number => text.trim().parse().ok().map(Self::Number),
            IdKind::Text => (!text.is_empty() && text.len() <= Self::TEXT_LEN_MAX)
                .then(|| Self::Text(text.to_owned())),
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Text(text) => formatter.write_str(text),
        }
    }
}
