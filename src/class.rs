//! What the caller must do about an error.

/// Every error of the library belongs to one class; the class alone decides the gRPC status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request can never succeed as it is: mend it.
    Invalid,
    /// What is named does not exist: name something else or create it.
    NotFound,
    /// It exists already, or the state forbids the operation: decide which of the two is meant.
    Conflict,
    /// A part is not there for the moment: try again.
    Unavailable,
    /// A limit, the disk or the memory is used up: make room or ask for less.
    Exhausted,
    /// Stored data is damaged: restore it.
    Corrupt,
    /// A fault of the program: report it.
    Internal,
}
