//! What hits should be near to: words of the command line become vector terms.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cli::angle::parse_number;
use crate::cli::example;
use crate::cli::ids::parse_ids;
use crate::cli::observation::ExampleCut;
use crate::cli::search::combine::Method;
use crate::files::NpyReader;
use crate::schema::Modality;
use crate::wire::v1::{CollectionSchema, EmbeddingSpace, Payload, SpaceForm, Vector, VectorTerm};

/// Most rows of a `--vector` file; each is a positive example.
const VECTOR_ROWS_MAX: usize = 256;

/// Words that say what hits should be near to.
#[derive(Debug, Default, Args)]
pub(super) struct TargetArguments {
    /// Near to this object (repeat for several); it is not a hit itself
    #[arg(
        long,
        value_name = "ID",
        allow_negative_numbers = true,
        help_heading = "What hits are like"
    )]
    like: Vec<String>,
    /// Far from this object (repeat for several)
    #[arg(
        long,
        value_name = "ID",
        allow_negative_numbers = true,
        help_heading = "What hits are like"
    )]
    unlike: Vec<String>,
    /// Near to the vector of a NumPy file, or to the mean of its rows
    #[arg(long, value_name = "[SPACE=]FILE.npy", help_heading = "What hits are like")]
    vector: Vec<String>,
    /// Near to an input that the space's model encodes: a cutout or a spectrum (FITS, HDF5, .npy,
    /// Parquet; g.fits,r.fits,z.fits is one cutout), a picture (.png, .jpg), or a row of named numbers
    /// (.json, .csv)
    #[arg(long, value_name = "FILE", help_heading = "What hits are like")]
    example: Vec<PathBuf>,
    /// What the example is [default: image for cutouts and pictures, spectrum, photometry for rows]
    #[arg(long, value_name = "M", requires = "example", help_heading = "What hits are like")]
    modality: Option<String>,
    #[command(flatten)]
    cut: ExampleCut,
    /// How several examples become one target [default: their mean; with --unlike, rocchio]
    #[arg(long, value_enum, value_name = "METHOD", help_heading = "What hits are like")]
    method: Option<Method>,
    /// Embedding space to compare in (repeat to combine several by weight); may be left out when
    /// only one fits
    #[arg(long, value_name = "S[=WEIGHT]", help_heading = "What hits are like")]
    space: Vec<String>,
    /// Space that the objects, vectors and examples are of, when they are searched in another one (--to-space): it must share
    /// a space with it, or a bridge must lead there
    #[arg(
        long,
        value_name = "S",
        requires = "to_space",
        conflicts_with = "space",
        help_heading = "What hits are like"
    )]
    from_space: Option<String>,
    /// Space that is searched for what is like those of --from-space
    #[arg(
        long,
        value_name = "T",
        requires = "from_space",
        conflicts_with = "space",
        help_heading = "What hits are like"
    )]
    to_space: Option<String>,
    /// Bridge from --from-space into --to-space; may be left out when there is one only
    #[arg(long, value_name = "B", requires = "from_space", help_heading = "What hits are like")]
    bridge: Option<String>,
}

/// A term on its way: everything that is known about one space.
#[derive(Debug)]
struct Draft {
    space: String,
    /// The space of its examples, when that is another one.
    from: String,
    weight: f64,
    vectors: Vec<Vector>,
    examples: Vec<Payload>,
}

impl Draft {
    fn new(space: impl Into<String>) -> Self {
        Self {
            space: space.into(),
            from: String::new(),
            weight: 1.0,
            vectors: Vec::new(),
            examples: Vec::new(),
        }
    }
}

impl TargetArguments {
    fn has_ids(&self) -> bool {
        !self.like.is_empty() || !self.unlike.is_empty()
    }

    /// One term for each space; none when nothing was asked to be near to.
    pub(super) fn to_terms(&self, schema: &CollectionSchema) -> Result<Vec<VectorTerm>> {
        let something = self.has_ids() || !self.vector.is_empty() || !self.example.is_empty();
        if !something {
            if self.space.is_empty() && self.from_space.is_none() {
                return Ok(Vec::new());
            }
            bail!(
                "a space needs something to be near to: --like ID, --vector FILE.npy or --example FILE"
            );
        }
        let mut drafts = self.named_drafts(schema)?;
        for text in &self.vector {
            add_vectors(&mut drafts, schema, text)?;
        }
        let options = self.cut.to_options()?;
        for path in &self.example {
            let payload = example::read(path, self.modality.as_deref(), &options)?;
            add_example(&mut drafts, schema, path, payload)?;
        }
        if drafts.is_empty() {
            // The server knows which space fits, or says that several do.
            drafts.push(Draft::new(""));
        }
        let like = parse_ids(schema, &self.like)?;
        let unlike = parse_ids(schema, &self.unlike)?;
        let term = |draft: Draft| VectorTerm {
            space: draft.space,
            weight: draft.weight,
            like: like.clone(),
            unlike: unlike.clone(),
            vectors: draft.vectors,
            examples: draft.examples,
            provenance: None,
            from_space: draft.from,
            bridge: self.bridge.clone().unwrap_or_default(),
            method: self.method.unwrap_or_default().to_wire().into(),
        };
        Ok(drafts.into_iter().map(term).collect())
    }

    fn named_drafts(&self, schema: &CollectionSchema) -> Result<Vec<Draft>> {
        let mut drafts: Vec<Draft> = Vec::new();
        if let Some((from, to)) = self.from_space.as_ref().zip(self.to_space.as_ref()) {
            let from = space_name(schema, from)?;
            drafts.push(Draft { from, ..Draft::new(space_name(schema, to)?) });
        }
        for text in &self.space {
            let (name, weight) = match text.rsplit_once('=') {
                Some((name, weight)) => (
                    name,
                    parse_number(weight)
                        .with_context(|| format!("`{text}` is not SPACE=WEIGHT"))?,
                ),
                None => (text.as_str(), 1.0),
            };
            let name = space_name(schema, name)?;
            if drafts.iter().any(|draft| draft.space == name) {
                bail!("space `{name}` is named twice; give it one weight");
            }
            drafts.push(Draft { weight, ..Draft::new(name) });
        }
        Ok(drafts)
    }
}

/// The space's own spelling of its name.
fn space_name(schema: &CollectionSchema, name: &str) -> Result<String> {
    let found = schema.spaces.iter().find(|space| space.name.eq_ignore_ascii_case(name));
    match found {
        Some(space) => Ok(space.name.clone()),
        None => bail!("`{}` has no space `{name}`; {}", schema.name, spaces_text(schema)),
    }
}

fn spaces_text(schema: &CollectionSchema) -> String {
    if schema.spaces.is_empty() {
        return "it has none yet: make one with `sidereus encode`".to_owned();
    }
    let names: Vec<&str> = schema.spaces.iter().map(|space| space.name.as_str()).collect();
    format!("it has {}", names.join(", "))
}

/// Adds the vectors of a file to the space that it names, or to the only one.
fn add_vectors(drafts: &mut Vec<Draft>, schema: &CollectionSchema, text: &str) -> Result<()> {
    let (space, path) = match text.split_once('=') {
        // A file may have an equals sign in its name.
        Some((space, path)) if !Path::new(text).exists() => {
            (Some(space_name(schema, space)?), path)
        }
        Some(_) | None => (None, text),
    };
    let vectors = read_vectors(Path::new(path))?;
    let draft = match space {
        Some(space) => draft_of(drafts, &space),
        None if drafts.len() > 1 => {
            bail!("which of the spaces is {path} for? write --vector SPACE={path}")
        }
        None => first_draft(drafts, ""),
    };
    draft.vectors.extend(vectors);
    Ok(())
}

fn read_vectors(path: &Path) -> Result<Vec<Vector>> {
    let mut array = NpyReader::open(path)?;
    if array.row_count() > VECTOR_ROWS_MAX as u64 {
        bail!(
            "{} has {} rows; a search takes at most {VECTOR_ROWS_MAX} examples",
            path.display(),
            array.row_count()
        );
    }
    let values = array.next_rows(VECTOR_ROWS_MAX)?;
    let rows = values.chunks_exact(array.dimension());
    Ok(rows.map(|row| Vector { values: row.to_vec() }).collect())
}

/// Whether an example of a modality can be encoded into a space.
fn takes(space: &EmbeddingSpace, modality: &str) -> bool {
    Modality(space.modality.clone()).takes(modality)
}

/// Adds an example to the spaces of its modality.
fn add_example(
    drafts: &mut Vec<Draft>,
    schema: &CollectionSchema,
    path: &Path,
    payload: Payload,
) -> Result<()> {
    let fits = |name: &str| {
        let space = schema.spaces.iter().find(|space| space.name == name);
        space.is_some_and(|space| takes(space, &payload.modality))
    };
    if drafts.is_empty() {
        // Tokens are not searched for; a re-rank names its space apart.
        let is_searched = |space: &&EmbeddingSpace| space.form() == SpaceForm::Unspecified;
        let searched = schema.spaces.iter().filter(is_searched);
        let mut fitting = searched.filter(|space| takes(space, &payload.modality));
        match (fitting.next(), fitting.next()) {
            (Some(space), None) => drafts.push(Draft::new(&space.name)),
            (Some(_), Some(_)) => bail!(
                "several spaces of `{}` are of modality {}; choose one with --space ({})",
                schema.name,
                payload.modality,
                spaces_text(schema)
            ),
            (None, _) => bail!(
                "no space of `{}` is of modality {}; {}; --modality says what the example is",
                schema.name,
                payload.modality,
                spaces_text(schema)
            ),
        }
    }
    if let [only] = drafts.as_mut_slice() {
        // Named by the user: the server says so if its model cannot take the example.
        only.examples.push(payload);
        return Ok(());
    }
    let mut fitting = drafts.iter_mut().filter(|draft| fits(&draft.space)).peekable();
    if fitting.peek().is_none() {
        bail!(
            "none of the spaces named is of modality {}, as {} is",
            payload.modality,
            path.display()
        );
    }
    for draft in fitting {
        draft.examples.push(payload.clone());
    }
    Ok(())
}

fn draft_of<'a>(drafts: &'a mut Vec<Draft>, space: &str) -> &'a mut Draft {
    let is_of = |draft: &Draft| draft.space == space || draft.from == space;
    let place = drafts.iter().position(is_of).unwrap_or_else(|| {
        drafts.push(Draft::new(space));
        drafts.len() - 1
    });
    &mut drafts[place]
}

fn first_draft<'a>(drafts: &'a mut Vec<Draft>, space: &str) -> &'a mut Draft {
    if drafts.is_empty() {
        drafts.push(Draft::new(space));
    }
    &mut drafts[0]
}

#[cfg(test)]
#[path = "terms_tests.rs"]
mod tests;
