//! Why a request message does not say anything that can be done.

use thiserror::Error;

use crate::class::Class;
use crate::query::QueryError;
use crate::schema::SchemaError;
use crate::sky::{CellError, MocError, PositionError, RegionError};

/// Why a request message does not say anything that can be done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A field that every such request needs.
    #[error("`{field}` is missing from the request")]
    Missing {
        /// Path of the field.
        field: &'static str,
    },
    /// A number that is no member of its enumeration.
    #[error("`{field}` is {value}, which this server does not know")]
    UnknownEnum {
        /// Path of the field.
        field: &'static str,
        /// The number.
        value: i32,
    },
    /// More of something than the server takes.
    #[error("{count} {what} are more than the limit of {max} (`{limit}`); split the request")]
    TooMany {
        /// What was counted.
        what: &'static str,
        /// The limit, as the configuration calls it.
        limit: &'static str,
        /// How many were given.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A word that names no role.
    #[error("{reason}")]
    UnknownRole {
        /// The word, and those that do.
        reason: String,
    },
    /// `k = 0` without a distance.
    #[error("k is 0: ask for at least one hit, or give `within`, a largest distance, instead")]
    NoHitsWanted,
    /// A scrub is asked for while one is running.
    #[error("a scrub is running already; `sidereus snapshot scrub` shows how it is getting on")]
    ScrubRunning,
    /// More hits than the server returns.
    #[error("k = {k} is above the limit of {max} (`limits.k`)")]
    TooManyHits {
        /// What was asked for.
        k: usize,
        /// The limit.
        max: usize,
    },
    /// A distance without anything to be near to.
    #[error("`within` is a distance between vectors: give at least one vector term with it")]
    WithinWithoutTerm,
    /// A number that must be finite.
    #[error("`{field}` is {value}: it must be a finite number")]
    NotFinite {
        /// Path of the field.
        field: &'static str,
        /// What was given.
        value: f64,
    },
    /// A weight that is not above zero.
    #[error(
        "the weight of a vector term is {weight}: it must be a number above 0 (use `unlike` to repel)"
    )]
    BadWeight {
        /// What was given.
        weight: f64,
    },
    /// A vector term that gives nothing to be near to.
    #[error("vector term {number} names no object, no vector and no example to be near to")]
    EmptyTerm {
        /// Place of the term, from 1.
        number: usize,
    },
    /// A bridge without a space that it leads from.
    #[error(
        "vector term {number} names bridge `{bridge}` and no space that it leads from: give from_space (--from-space), too"
    )]
    BridgeFromNowhere {
        /// Place of the term, from 1.
        number: usize,
        /// The bridge.
        bridge: String,
    },
    /// A search across spaces that does not say where it ends.
    #[error(
        "vector term {number} searches from space `{from}` and does not say in which: name the space that is searched (--to-space)"
    )]
    CrossingToNowhere {
        /// Place of the term, from 1.
        number: usize,
        /// The space of its examples.
        from: String,
    },
    /// A column that the collection does not have.
    #[error("collection `{collection}` has no column `{column}`")]
    UnknownColumn {
        /// Name of the collection.
        collection: String,
        /// What was given.
        column: String,
    },
    /// A direction of nothing.
    #[error("`descending` says in which order, but not of which column: set `order_by`, too")]
    DescendingWithoutOrder,
    /// One column or space twice in an object.
    #[error("`{name}` is given twice in one object (names are compared without regard to case)")]
    GivenTwice {
        /// The name.
        name: String,
    },
    /// A column that holds something else than what is to be written.
    #[error(
        "column `{column}` holds something else (it says \"{holds}\"; to be written is \"{wanted}\"): choose another \
         column, so that nothing is overwritten under a description that is not its own"
    )]
    ColumnOfOthers {
        /// The column.
        column: String,
        /// What it says that it holds.
        holds: String,
        /// What was to be written.
        wanted: String,
    },
    /// A space that the collection does not have.
    #[error("collection `{collection}` has no embedding space `{space}`; it has: {known}")]
    UnknownSpace {
        /// Name of the collection.
        collection: String,
        /// What was given.
        space: String,
        /// Names of the spaces there are.
        known: String,
    },
    /// No space, or more than one, that a term without a space name can mean.
    #[error("name the embedding space (--space) of example {number}: {fitting}")]
    AmbiguousSpace {
        /// Place of the term, from 1.
        number: usize,
        /// Which spaces fit, or why none does.
        fitting: String,
    },
    /// Vectors of one provenance for a space of another.
    #[error(
        "space `{space}` holds vectors of {expected}; the given ones are of {given}: they have no distance"
    )]
    WrongProvenance {
        /// Name of the space.
        space: String,
        /// Provenance of the space.
        expected: String,
        /// Provenance of what was given.
        given: String,
    },
    /// An example for a space that no model of this server made.
    #[error(
        "space `{space}` holds vectors that were made elsewhere: no model can encode an example for it; give a vector"
    )]
    NoModel {
        /// Name of the space.
        space: String,
    },
    /// An example of another modality.
    #[error("space `{space}` is of modality `{expected}`, the example is `{given}`")]
    WrongModality {
        /// Name of the space.
        space: String,
        /// Modality of the space.
        expected: String,
        /// Modality of the example.
        given: String,
    },
    /// An example that the model refuses.
    #[error("example {number}: {reason}")]
    BadExample {
        /// Place of the example in its term, from 1.
        number: usize,
        /// The model's words.
        reason: String,
    },
    /// A vector term in a space of tokens.
    #[error(transparent)]
    SpaceOfTokens(QueryError),
    /// A re-rank in a space of vectors.
    #[error(
        "space `{space}` holds vectors: a re-rank compares tokens; name a space of tokens or token ids"
    )]
    RerankOfVectors {
        /// Name of the space.
        space: String,
    },
    /// A re-rank of nothing.
    #[error("a re-rank orders the nearest anew: give at least one vector term to find them by")]
    RerankWithoutTerm,
    /// A re-rank together with hits that are to be apart.
    #[error(
        "hits that were ordered anew by their tokens are not grouped or made diverse: leave out the re-rank, or the other"
    )]
    RerankApart,
    /// A re-rank without end.
    #[error("a re-rank needs to know how many hits are wanted: give k")]
    RerankWithoutK,
    /// No tokens to compare with.
    #[error(
        "nothing says what tokens in `{space}` should be near to: give tokens, an object to be like, or an example that its model encodes; a vector has none"
    )]
    NothingToRerankBy {
        /// Name of the space.
        space: String,
    },
    /// An object to be like that has no tokens.
    #[error("object `{id}` has no tokens in space `{space}`; encode them first, or give tokens")]
    NoTokens {
        /// Its id.
        id: String,
        /// Name of the space.
        space: String,
    },
    /// The first message of an ingest stream names no collection.
    #[error("the first message of an ingest stream must be `open`, which names the collection")]
    NotOpened,
    /// `open` again in the midst of a stream.
    #[error("`open` was sent twice: begin a new stream for another collection")]
    OpenedTwice,
    /// An input that the model does not have.
    #[error("model `{model}` has no input `{input}`; its inputs are: {known}")]
    UnknownInput {
        /// Id of the model.
        model: String,
        /// What was given.
        input: String,
        /// Names of the inputs there are.
        known: String,
    },
    /// A model input for which the collection has no column.
    #[error(
        "model `{model}` wants an input `{input}` and collection `{collection}` has no such column; \
         map it as {input}=COLUMN, or as {input}= to leave it out"
    )]
    UnmappedInput {
        /// Id of the model.
        model: String,
        /// Name of the input.
        input: String,
        /// Name of the collection.
        collection: String,
    },
    /// A space that holds something else than token ids, where they are to be encoded further.
    #[error(
        "space `{space}` holds no token ids; make some with `sidereus encode --pooling token-ids`"
    )]
    NotTokenIds {
        /// Name of the space.
        space: String,
    },
    /// Inputs of a space that nothing is encoded into.
    #[error(
        "space `{space}` names inputs and is not encoded at ingest: say that it is, or leave them out"
    )]
    InputsOfNothing {
        /// Name of the space.
        space: String,
    },
    /// Encoding at ingest of less than all objects, or from something else than columns.
    #[error("objects are encoded at ingest from their columns, and all of them: leave out {what}")]
    AtIngestOf {
        /// What was given beside.
        what: &'static str,
    },
    /// A space for what its model does not make.
    #[error("model `{model}` makes {expected} where space `{space}` is declared to hold {given}")]
    NotOfModel {
        /// Name of the space.
        space: String,
        /// Id of the model.
        model: String,
        /// What the model makes.
        expected: String,
        /// What was declared.
        given: String,
    },
    /// Every input left out.
    #[error("no input of model `{model}` is taken from a column: map at least one")]
    NoInputs {
        /// Id of the model.
        model: String,
    },
    /// A column that cannot be a model's input.
    #[error("input `{input}` needs a column of type {expected}; `{column}` is {given}")]
    WrongInputType {
        /// Name of the input.
        input: String,
        /// What the model takes.
        expected: &'static str,
        /// The column.
        column: String,
        /// Type of the column.
        given: &'static str,
    },
    /// A column that scores cannot be written to.
    #[error(
        "scores cannot be written to column `{column}`: name a column of float64, or one that is not there yet"
    )]
    NotAScoreColumn {
        /// Name of the column.
        column: String,
    },
    /// A session that does not exist.
    #[error("no session `{name}`; `sidereus session list` shows those there are")]
    NoSession {
        /// Name of the session.
        name: String,
    },
    /// A session that exists already.
    #[error(
        "collection `{collection}` has a session `{name}` already; go on with it, or drop it first"
    )]
    SessionExists {
        /// Name of the collection.
        collection: String,
        /// Name of the session.
        name: String,
    },
    /// One name in several collections.
    #[error("several collections have a session `{name}` ({collections}); name the collection")]
    SeveralSessions {
        /// Name of the session.
        name: String,
        /// Names of the collections.
        collections: String,
    },
    /// A label of an object that does not exist.
    #[error("no object `{id}` in `{collection}`: only stored objects are labelled")]
    NoObject {
        /// Name of the collection.
        collection: String,
        /// Its id.
        id: String,
    },
    /// A descriptor or ticket of Flight that says nothing.
    #[error("the Flight command cannot be read: {reason}; it is a sidereus.v1.FlightCommand")]
    BadFlightCommand {
        /// What is wrong.
        reason: String,
    },
    /// A stream of Flight that is no table.
    #[error("the Flight stream cannot be read: {reason}")]
    BadFlightStream {
        /// What is wrong.
        reason: String,
    },
    /// A position that is none.
    #[error(transparent)]
    Position(#[from] PositionError),
    /// A HEALPix cell that is none.
    #[error(transparent)]
    Cell(#[from] CellError),
    /// A coverage map that is none.
    #[error(transparent)]
    Moc(#[from] MocError),
    /// A region that is none.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// An object or schema that breaks a rule.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

impl RequestError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::UnknownSpace { .. }
            | Self::NoTokens { .. }
            | Self::NoSession { .. }
            | Self::NoObject { .. } => Class::NotFound,
            Self::SessionExists { .. } | Self::ColumnOfOthers { .. } | Self::ScrubRunning => {
                Class::Conflict
            }
            Self::SpaceOfTokens(error) => error.class(),
            Self::Missing { .. }
            | Self::UnknownEnum { .. }
            | Self::UnknownRole { .. }
            | Self::TooMany { .. }
            | Self::NoHitsWanted
            | Self::TooManyHits { .. }
            | Self::WithinWithoutTerm
            | Self::NotFinite { .. }
            | Self::BadWeight { .. }
            | Self::EmptyTerm { .. }
            | Self::BridgeFromNowhere { .. }
            | Self::CrossingToNowhere { .. }
            | Self::UnknownColumn { .. }
            | Self::DescendingWithoutOrder
            | Self::GivenTwice { .. }
            | Self::AmbiguousSpace { .. }
            | Self::WrongProvenance { .. }
            | Self::NoModel { .. }
            | Self::WrongModality { .. }
            | Self::BadExample { .. }
            | Self::RerankOfVectors { .. }
            | Self::RerankWithoutTerm
            | Self::RerankWithoutK
            | Self::RerankApart
            | Self::NothingToRerankBy { .. }
            | Self::NotOpened
            | Self::OpenedTwice
            | Self::UnknownInput { .. }
            | Self::UnmappedInput { .. }
            | Self::NoInputs { .. }
            | Self::NotTokenIds { .. }
            | Self::InputsOfNothing { .. }
            | Self::AtIngestOf { .. }
            | Self::NotOfModel { .. }
            | Self::WrongInputType { .. }
            | Self::NotAScoreColumn { .. }
            | Self::SeveralSessions { .. }
            | Self::BadFlightCommand { .. }
            | Self::BadFlightStream { .. }
            | Self::Position(_)
            | Self::Region(_)
            | Self::Cell(_)
            | Self::Moc(_)
            | Self::Schema(_) => Class::Invalid,
        }
    }
}
