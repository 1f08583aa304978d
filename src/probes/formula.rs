//! Probes as columns that queries can name.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::ProbeError;
use super::model::Model;
use super::record::Record;
use crate::engine::{Db, DerivedColumn, DerivedKind, EngineError, Formula, RecordKind};
use crate::schema::{CollectionSchema, SpaceId, split_release};

/// Letters of a class that its column's name takes.
const CLASS_WORD_MAX: usize = 40;

/// A probe that computes its outputs from the vectors of an object.
#[derive(Debug)]
struct ProbeFormula {
    spaces: Vec<SpaceId>,
    columns: Vec<String>,
    outputs: Vec<DerivedColumn>,
    has_label: bool,
    model: Model,
}

impl ProbeFormula {
    /// `None` for probes that read tokens: they are not beside the vectors.
    fn new(record: Record, schema: &CollectionSchema) -> Option<Self> {
        let Record { probe, model } = record;
        let spec = probe.spec?;
        let mut spaces = Vec::with_capacity(spec.spaces.len());
        for name in &spec.spaces {
            spaces.push(schema.space(name).filter(|space| space.holds_vectors())?.id);
        }
        let name = format!("probe.{}", probe.name);
        let mut outputs = Vec::new();
        let has_label = !probe.classes.is_empty();
        if has_label {
            let kind = DerivedKind::Label(probe.classes.clone());
            outputs.push(DerivedColumn { name: name.clone(), kind });
            let of = |class: String| DerivedColumn {
                name: format!("{name}.{class}"),
                kind: DerivedKind::Real,
            };
            outputs.extend(class_words(&probe.classes).into_iter().map(of));
        } else {
            outputs.push(DerivedColumn { name: name.clone(), kind: DerivedKind::Real });
            if model.is_density() {
                outputs
                    .push(DerivedColumn { name: format!("{name}.sigma"), kind: DerivedKind::Real });
            }
        }
        Some(Self { spaces, columns: spec.columns, outputs, has_label, model })
    }
}

/// Classes as parts of column names: what a name cannot have becomes `_`, and of names that are then the same, without
/// regard to case, later ones are numbered.
fn class_words(classes: &[String]) -> Vec<String> {
    let mut words: Vec<String> = Vec::with_capacity(classes.len());
    for class in classes {
        let usable =
            |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
        let word: String = class
            .chars()
            .take(CLASS_WORD_MAX)
            .map(|letter| if usable(letter) { letter } else { '_' })
            .collect();
        let is_taken = |word: &String| words.iter().any(|other| other.eq_ignore_ascii_case(word));
        let numbered = (2..).map(|number| format!("{word}_{number}"));
        let free = std::iter::once(word.clone()).chain(numbered).find(|word| !is_taken(word));
        words.push(free.unwrap_or(word));
    }
    words
}

impl Formula for ProbeFormula {
    fn spaces(&self) -> &[SpaceId] {
        &self.spaces
    }

    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn outputs(&self) -> &[DerivedColumn] {
        &self.outputs
    }

    fn compute(&self, count: usize, inputs: &[f64]) -> Vec<Vec<f64>> {
        let Ok(predicted) = self.model.predict(inputs, count, 1) else {
            // Unknown is null.
            return vec![vec![f64::NAN; count]; self.outputs.len()];
        };
        let column = |at: usize| -> Vec<f64> {
            (0..count).map(|row| predicted.row(row).get(at).copied().unwrap_or(f64::NAN)).collect()
        };
        let mut outputs = Vec::with_capacity(self.outputs.len());
        if self.has_label {
            let best = |row: usize| {
                let best = predicted.row(row).iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
                best.map_or(f64::NAN, |(place, _)| place as f64)
            };
            outputs.push((0..count).map(best).collect());
        }
        outputs.extend((0..predicted.width).map(column));
        if self.model.is_density() {
            outputs.push(predicted.sigmas.clone());
        }
        outputs
    }
}

/// A formula that is registered, and of which fit.
struct Registered {
    collection: String,
    name: String,
    hash: blake3::Hash,
    formula: Arc<dyn Formula>,
}

static REGISTERED: Mutex<Vec<Registered>> = Mutex::new(Vec::new());

/// Has queries on a collection know its probes, as they are now.
///
/// # Errors
/// Those of the disk. A damaged record is logged and passed over: queries that do not name it go on.
pub fn refresh(db: &Db, collection: &str) -> Result<(), ProbeError> {
    let schema = db.schema(collection)?;
    let mut formulas: Vec<Arc<dyn Formula>> = Vec::new();
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut names = HashSet::new();
    db.visit_records(collection, RecordKind::Probe, &mut |name, bytes| {
        names.insert(name.clone());
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(collection, name, %error, "a probe is left out");
                return Ok(());
            }
        };
        let hash = blake3::hash(&bytes);
        // What was computed with the same formula is kept with it.
        let known = registered
            .iter()
            .find(|each| each.collection == schema.name && each.hash == hash)
            .map(|each| Arc::clone(&each.formula));
        let formula = known.or_else(|| match Record::decode(&name, &bytes, &schema) {
            Ok(record) => formula_of(record, &schema),
            Err(error) => {
                tracing::warn!(collection, name, %error, "a probe is left out");
                None
            }
        });
        if let Some(formula) = formula {
            registered.retain(|each| each.collection != schema.name || each.name != name);
            let collection = schema.name.clone();
            registered.push(Registered { collection, name, hash, formula: Arc::clone(&formula) });
            formulas.push(formula);
        }
        Ok::<_, ProbeError>(())
    })?;
    // What was dropped is let go.
    registered.retain(|each| each.collection != schema.name || names.contains(&each.name));
    formulas.extend(super::bridge::formulas(db, &schema)?);
    // Still under the lock: of two refreshes the later one has the last word.
    set(db, collection, formulas)
}

/// Lets go of what a dropped collection had, and its releases.
pub(super) fn forget(collection: &str) {
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    registered.retain(|each| !is_of(&each.collection, collection));
}

/// Whether this is the name of a collection, or of a release of it.
pub(super) fn is_of(name: &str, collection: &str) -> bool {
    let base = split_release(name).map(|(base, _)| base);
    [Some(name), base].into_iter().flatten().any(|each| each.eq_ignore_ascii_case(collection))
}

/// Gives a collection all formulas that fit it. One that does not fit must not take the others along.
fn set(db: &Db, collection: &str, formulas: Vec<Arc<dyn Formula>>) -> Result<(), ProbeError> {
    let Err(error) = db.set_formulas(collection, formulas.clone()) else { return Ok(()) };
    tracing::warn!(collection, %error, "derived columns are taken one by one");
    let mut fitting: Vec<Arc<dyn Formula>> = Vec::new();
    for formula in formulas {
        fitting.push(formula);
        match db.set_formulas(collection, fitting.clone()) {
            Ok(()) => {}
            Err(EngineError::Formula { names, what, .. }) => {
                tracing::error!(collection, names, what, "derived columns are left out");
                fitting.pop();
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(db.set_formulas(collection, fitting)?)
}

fn formula_of(record: Record, schema: &CollectionSchema) -> Option<Arc<dyn Formula>> {
    if !record.probe.stale.is_empty() {
        tracing::warn!(probe = record.probe.name, reason = record.probe.stale, "a probe is stale");
        return None;
    }
    ProbeFormula::new(record, schema).map(|formula| Arc::new(formula) as Arc<dyn Formula>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_is_forgotten_with_its_releases() {
        let of = |name| is_of(name, "sky");
        assert!(of("sky") && of("Sky@dr1") && !of("skyline") && !of("skyline@sky"));
        assert!(is_of("sky@dr1", "sky@dr1") && !is_of("sky@dr2", "sky@dr1"));
        assert!(!is_of("sky", "sky@dr1"));
    }

    #[test]
    fn classes_become_names_that_differ() {
        let classes = ["Merging Galaxies", "SB", "Sb", "dwarf.irr", "dwarf irr", ""];
        let words = class_words(&classes.map(str::to_owned));
        assert_eq!(words, ["Merging_Galaxies", "SB", "Sb_2", "dwarf_irr", "dwarf_irr_2", ""]);
    }
}
