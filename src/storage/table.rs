//! The tables of the record of truth: the one list of column families.

/// A table; one RocksDB column family each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    /// Format, collections, their heads (version and counts), unfinished bulk imports.
    Meta,
    /// Object key to position and columns.
    Objects,
    /// Collection, space, cell, ordinal to the components of one vector.
    Vectors,
    /// Collection, space, cell, ordinal to one sequence of tokens.
    Tokens,
    /// Object id to object key and the spaces that hold a vector or tokens.
    Ids,
    /// Collection and version to the keys that this commit changed.
    Changes,
    /// Sessions of labelling.
    Labels,
    /// Fitted probes.
    Probes,
    /// Fitted bridges between spaces.
    Bridges,
    /// Releases of collections, and what is left of withdrawn ones.
    Releases,
    /// Who may do what: tokens, groups, grants and policies of the server.
    Access,
    /// Audit trail.
    Audit,
    /// Long-running work.
    Jobs,
}

impl Table {
    /// Every table of the newest format.
    pub(crate) const ALL: [Self; 13] = [
        Self::Meta,
        Self::Objects,
        Self::Vectors,
        Self::Tokens,
        Self::Ids,
        Self::Changes,
        Self::Labels,
        Self::Probes,
        Self::Bridges,
        Self::Releases,
        Self::Access,
        Self::Audit,
        Self::Jobs,
    ];

    /// The name of the column family.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Objects => "objects",
            Self::Vectors => "vectors",
            Self::Tokens => "tokens",
            Self::Ids => "ids",
            Self::Changes => "changes",
            Self::Labels => "labels",
            Self::Probes => "probes",
            Self::Bridges => "bridges",
            Self::Releases => "releases",
            Self::Access => "access",
            Self::Audit => "audit",
            Self::Jobs => "jobs",
        }
    }

    /// The table of a name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Whether every key begins with the number of a collection, so that dropping a collection empties its part.
    pub(crate) fn is_per_collection(self) -> bool {
        match self {
            Self::Objects
            | Self::Vectors
            | Self::Tokens
            | Self::Ids
            | Self::Changes
            | Self::Labels
            | Self::Probes
            | Self::Bridges
            | Self::Releases => true,
            Self::Meta | Self::Access | Self::Audit | Self::Jobs => false,
        }
    }
}
