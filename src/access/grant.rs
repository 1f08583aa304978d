//! The decision on one call.

use std::sync::Arc;

use super::{Identity, Role};

/// Which rows of a collection somebody sees.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Rows {
    /// All of them.
    All,
    /// Those that satisfy at least one of these SQL predicates, one for each way in which he may read the collection. `today`
    /// in them is the date of the call. None of them means no row.
    Any(Arc<[String]>),
}

/// The decision on one call, which the gate puts beside the request: whom it serves, and how far.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Who calls.
    pub identity: Arc<Identity>,
    /// What he may do with the collection, or, where the call names none, with the server.
    pub role: Role,
    /// The one collection that the call may touch, as it was written in the request; `None` for calls that name none, which
    /// may touch none.
    pub collection: Option<Arc<str>>,
    /// The rows of it that he sees.
    pub rows: Rows,
    /// Whether the server asks nobody, so that everybody may do and know everything.
    pub open: bool,
}

impl Grant {
    /// The grant of a server that asks nobody.
    pub fn open(collection: Option<&str>) -> Self {
        Self {
            identity: Arc::new(Identity::open()),
            role: Role::Administer,
            collection: collection.map(Arc::from),
            rows: Rows::All,
            open: true,
        }
    }
}
