//! Why a file, a mapping or an ingest batch cannot be used.

use thiserror::Error;

use crate::class::Class;

/// What is wrong with a whole file or batch; single bad rows are a [`RefusedRow`](super::RefusedRow) instead.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be opened.
    #[error("cannot open `{path}`: {source}")]
    Open {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A report cannot be written.
    #[error("cannot write `{path}`: {source}")]
    Write {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Neither the name nor the first bytes tell the format.
    #[error(
        "`{path}` is of no known format; give a .csv, .tsv, .parquet, .arrow, .feather or .fits file, or name the format with --input-format csv|parquet|arrow|fits"
    )]
    UnknownFormat {
        /// The file.
        path: String,
    },
    /// A format of a name that does not exist.
    #[error("unknown file format `{name}`; use csv, parquet, arrow or fits")]
    UnknownFormatName {
        /// What was given.
        name: String,
    },
    /// A file in a form that is recognised and not read.
    #[error("`{path}` is {what}; {hint}")]
    Unsupported {
        /// The file.
        path: String,
        /// What it is.
        what: String,
        /// What to do.
        hint: String,
    },
    /// The file ends before its own header says.
    #[error("`{path}` is a truncated {format} file: {detail}; copy or download it again")]
    Truncated {
        /// The file.
        path: String,
        /// Name of the format.
        format: &'static str,
        /// What is missing.
        detail: String,
    },
    /// The content contradicts the format.
    #[error("`{path}` is not a readable {format} file: {detail}; check it, or make it again")]
    Damaged {
        /// The file.
        path: String,
        /// Name of the format.
        format: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// A CSV file without a line of column names.
    #[error("`{path}` has no header: {detail}; its first line must name the columns")]
    NoHeader {
        /// The file.
        path: String,
        /// What was found instead.
        detail: String,
    },
    /// A file of text without rows, from which a schema was to be made.
    #[error(
        "`{path}` has no rows, so that nothing tells the types of its columns; make the collection from a file that has some, or with \
         `sidereus collection create NAME --schema FILE.toml`"
    )]
    NoRows {
        /// The file.
        path: String,
    },
    /// No such extension, or no table at all.
    #[error("`{path}` has no binary table {wanted}; it has {available}")]
    NoTable {
        /// The file.
        path: String,
        /// What was asked for; `at all` when nothing was.
        wanted: String,
        /// Extensions of the file.
        available: String,
    },
    /// An array of vectors of the wrong shape or type.
    #[error("`{path}` does not hold vectors: {detail}")]
    NotVectors {
        /// The file.
        path: String,
        /// What it holds and how to mend it.
        detail: String,
    },
    /// A file without a cutout or spectrum that is understood.
    #[error("`{path}` cannot be read as an observation: {detail}")]
    NotObservation {
        /// The file.
        path: String,
        /// What is missing or does not fit.
        detail: String,
    },
    /// A file of several observations, or of none with a number.
    #[error("`{path}` has {given} {count} observations; choose one by its number, from 0")]
    WhichObservation {
        /// The file.
        path: String,
        /// `not one but`, or the number that it does not have.
        given: String,
        /// How many it has.
        count: String,
    },
    /// A square of pixels that the image does not have.
    #[error("nothing can be cut out of `{path}`: {detail}")]
    Cutout {
        /// The file.
        path: String,
        /// Why, and what to ask for.
        detail: String,
    },
    /// Vectors and rows do not pair.
    #[error(
        "`{vectors}` has {given} vectors for the {expected} rows of `{path}`; they are paired row by row, so the numbers must be equal"
    )]
    VectorCount {
        /// The array of vectors.
        vectors: String,
        /// The table.
        path: String,
        /// Rows of the table.
        expected: u64,
        /// Vectors of the array.
        given: u64,
    },
    /// A mapping that cannot be read.
    #[error(
        "mapping `{given}` is not understood: {detail}; write object_id=COLUMN,ra=COLUMN,dec=COLUMN,NEW=COLUMN,NEW=COLUMN[0]"
    )]
    BadMapping {
        /// The part that is wrong.
        given: String,
        /// Why.
        detail: String,
    },
    /// A column that the mapping names and the file does not have.
    #[error("the file has no column `{name}` (wanted for {role}); its columns are {available}")]
    NoColumn {
        /// The column.
        name: String,
        /// What it was wanted for.
        role: String,
        /// Columns of the file.
        available: String,
    },
    /// Nothing in the file looks like an id or a coordinate.
    #[error(
        "no column of the file looks like {role}; name one with --map {role}=COLUMN{or_row}; its columns are {available}"
    )]
    NothingFits {
        /// `object_id`, `ra` or `dec`.
        role: &'static str,
        /// The other way that there is for ids.
        or_row: &'static str,
        /// Columns of the file.
        available: String,
    },
    /// Several columns fit equally well.
    #[error("{names} could each be {role}; say which with --map {role}=COLUMN")]
    Ambiguous {
        /// The columns.
        names: String,
        /// What they were wanted for.
        role: String,
    },
    /// An element of a column that has none, or not so many.
    #[error("`{name}[{element}]` does not exist: {detail}")]
    NoElement {
        /// The column.
        name: String,
        /// The element, from 0.
        element: usize,
        /// Why.
        detail: String,
    },
    /// A position in a unit that is not an angle.
    #[error(
        "{role} is taken from column `{name}`, whose unit is `{unit}`; positions must be in degrees, radians or (ra) hours: convert the column, or map another one"
    )]
    PositionUnit {
        /// `ra` or `dec`.
        role: &'static str,
        /// The column.
        name: String,
        /// Its unit.
        unit: String,
    },
    /// A column of the file in another unit than the collection's.
    #[error(
        "column `{name}` of the file is in `{given}`, column `{column}` of the collection in `{expected}`; convert the file's column, or map it to another name"
    )]
    UnitMismatch {
        /// Column of the file.
        name: String,
        /// Its unit.
        given: String,
        /// Column of the collection.
        column: String,
        /// The collection's unit.
        expected: String,
    },
    /// A column whose type cannot serve.
    #[error("column `{name}` is {given}, which cannot be {wanted}")]
    ColumnType {
        /// The column.
        name: String,
        /// Its type.
        given: String,
        /// What it was wanted for.
        wanted: String,
    },
    /// A space whose dimension differs from the vectors'.
    #[error("space `{space}` has dimension {expected}, the vectors of `{from}` have {given}")]
    Dimension {
        /// The space.
        space: String,
        /// Its dimension.
        expected: usize,
        /// Where the vectors come from.
        from: String,
        /// Their dimension.
        given: usize,
    },
    /// A column of vectors of unknown or changing length.
    #[error("column `{name}` cannot be an embedding space: {detail}")]
    NoDimension {
        /// The column.
        name: String,
        /// Why.
        detail: String,
    },
    /// A space that the collection does not have.
    #[error("the collection has no embedding space `{space}`; it has {available}")]
    UnknownSpace {
        /// The space.
        space: String,
        /// Spaces of the collection.
        available: String,
    },
    /// A batch whose columns are not the ingest layout of the collection.
    #[error("the batch does not fit the collection: {detail}")]
    Layout {
        /// What is wrong and what to do.
        detail: String,
    },
    /// Bytes that are not an Arrow IPC stream of plain columns.
    #[error("the batch is not a valid Arrow IPC stream: {detail}")]
    BadIpc {
        /// What is wrong.
        detail: String,
    },
    /// A batch beyond a limit.
    #[error("the batch has {given} {what}, the limit is {limit}; send smaller batches")]
    TooLarge {
        /// Bytes, rows or messages.
        what: &'static str,
        /// How many came.
        given: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// An inferred schema that the database would refuse.
    #[error(transparent)]
    Schema(#[from] crate::schema::SchemaError),
}

impl FileError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::Open { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Class::NotFound
            }
            Self::Read { .. } => Class::Unavailable,
            Self::Write { .. } | Self::TooLarge { .. } => Class::Exhausted,
            Self::Truncated { .. } | Self::Damaged { .. } => Class::Corrupt,
            Self::NoTable { .. } | Self::NoColumn { .. } | Self::UnknownSpace { .. } => {
                Class::NotFound
            }
            Self::NotObservation { .. } | Self::WhichObservation { .. } | Self::Cutout { .. } => {
                Class::Invalid
            }
            Self::Schema(error) => error.class(),
            Self::Open { .. }
            | Self::UnknownFormat { .. }
            | Self::UnknownFormatName { .. }
            | Self::Unsupported { .. }
            | Self::NoHeader { .. }
            | Self::NoRows { .. }
            | Self::NotVectors { .. }
            | Self::VectorCount { .. }
            | Self::BadMapping { .. }
            | Self::NothingFits { .. }
            | Self::Ambiguous { .. }
            | Self::NoElement { .. }
            | Self::PositionUnit { .. }
            | Self::UnitMismatch { .. }
            | Self::ColumnType { .. }
            | Self::Dimension { .. }
            | Self::NoDimension { .. }
            | Self::Layout { .. }
            | Self::BadIpc { .. } => Class::Invalid,
        }
    }
}
