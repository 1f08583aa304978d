//! What somebody may do with a collection.

use std::fmt;
use std::str::FromStr;

/// What somebody may do with a collection, or with the server. Each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Search, count and read objects; evaluate; list what there is.
    Read,
    /// Keep labels: sessions of labelling, and probes and bridges fitted for oneself.
    Annotate,
    /// Write objects, vectors and tokens, and delete objects.
    Ingest,
    /// Change the collection: spaces, indices, columns, releases.
    Curate,
    /// Make and drop collections, give roles, write row policies, make backups.
    Administer,
}

impl Role {
    /// Every role, the weakest first.
    pub const ALL: [Self; 5] =
        [Self::Read, Self::Annotate, Self::Ingest, Self::Curate, Self::Administer];

    /// The word for it, in the protocol and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Annotate => "annotate",
            Self::Ingest => "ingest",
            Self::Curate => "curate",
            Self::Administer => "administer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|role| role.name() == word).ok_or_else(|| {
            let words = Self::ALL.map(Self::name).join(", ");
            format!("`{word}` is no role; roles are {words}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_ascend_and_read_their_own_words() {
        assert!(Role::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("owner".parse::<Role>().is_err_and(|why| why.contains("administer")));
    }
}
