//! Who calls.

/// How somebody has shown who he is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Nobody is asked: the server listens on this machine alone and has no authentication.
    Open,
    /// An API token of this server, by its public prefix.
    Token {
        /// The prefix: names the token, and opens nothing.
        id: String,
    },
    /// A client certificate of the authority that the operator named.
    Certificate,
    /// A bearer token of the collaboration's single sign-on.
    Oidc {
        /// Who issued it.
        issuer: String,
        /// The groups for which he vouches, in order.
        groups: Vec<String>,
        /// The first second, since 1970, in which the token opens nothing any more.
        ends: u64,
    },
}

/// Who calls: a name, and the groups that he belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The name that roles, quotas and the audit log know.
    pub name: String,
    /// Names of groups, in order. Everybody who has shown who he is belongs to `everyone`.
    pub groups: Vec<String>,
    /// How he has shown it.
    pub proof: Proof,
}

impl Identity {
    /// The identity of every caller of a server that asks nobody.
    pub fn open() -> Self {
        Self { name: "anybody".to_owned(), groups: Vec::new(), proof: Proof::Open }
    }
}
