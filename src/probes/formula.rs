//! Probes as columns that queries can name.

use std::collections::{HashMap, HashSet};
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
    let mut taken = HashSet::new();
    // Of each word the number that was not tried yet.
    let mut numbers: HashMap<String, u64> = HashMap::new();
    for class in classes {
        let usable =
            |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
        let word: String = class
            .chars()
            .take(CLASS_WORD_MAX)
            .map(|letter| if usable(letter) { letter } else { '_' })
            .collect();
        let number = numbers.entry(word.to_ascii_lowercase()).or_insert(2);
        let mut free = word.clone();
        while !taken.insert(free.to_ascii_lowercase()) {
            free = format!("{word}_{number}");
            *number += 1;
        }
        words.push(free);
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
            let best = |row: usize| predicted.class(row).map_or(f64::NAN, |place| place as f64);
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
    hash: blake3::Hash,
    formula: Arc<dyn Formula>,
}

static REGISTERED: Mutex<Vec<Registered>> = Mutex::new(Vec::new());

/// The collections that are being refreshed: of two refreshes of one the later has the last word, and those of others do not
/// wait for it.
static TURNS: Mutex<Vec<(String, Arc<Mutex<()>>)>> = Mutex::new(Vec::new());

fn turn_of(collection: &str) -> Arc<Mutex<()>> {
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|(_, turn)| Arc::strong_count(turn) > 1);
    if let Some((_, turn)) = turns.iter().find(|(name, _)| name == collection) {
        return Arc::clone(turn);
    }
    let turn = Arc::default();
    turns.push((collection.to_owned(), Arc::clone(&turn)));
    turn
}

/// The formula that was made of the same bytes: what was computed with it is kept with it.
fn known(collection: &str, hash: &blake3::Hash) -> Option<Arc<dyn Formula>> {
    let registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found =
        registered.iter().filter(|each| each.collection == collection && each.hash == *hash);
    found.next().map(|each| Arc::clone(&each.formula))
}

/// Has queries on a collection know its probes, as they are now.
///
/// # Errors
/// Those of the disk. A damaged record is logged and passed over: queries that do not name it go on.
pub fn refresh(db: &Db, collection: &str) -> Result<(), ProbeError> {
    let turn = turn_of(&db.schema(collection)?.name);
    let _held = turn.lock().unwrap_or_else(PoisonError::into_inner);
    let schema = db.schema(collection)?;
    let mut made = Vec::new();
    db.visit_records(collection, RecordKind::Probe, &mut |name, bytes| {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(collection, name, %error, "a probe is left out");
                return Ok(());
            }
        };
        let hash = blake3::hash(&bytes);
        let formula =
            known(&schema.name, &hash).or_else(|| match Record::decode(&name, &bytes, &schema) {
                Ok(record) => formula_of(record, &schema),
                Err(error) => {
                    tracing::warn!(collection, name, %error, "a probe is left out");
                    None
                }
            });
        let collection = schema.name.clone();
        made.extend(formula.map(|formula| Registered { collection, hash, formula }));
        Ok::<_, ProbeError>(())
    })?;
    let mut formulas: Vec<_> = made.iter().map(|each| Arc::clone(&each.formula)).collect();
    formulas.extend(super::bridge::formulas(db, &schema)?);
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    // What was dropped is let go.
    registered.retain(|each| each.collection != schema.name);
    registered.extend(made);
    drop(registered);
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

    /// Thousands of classes of letters that no name has are all one word: the time is not the cube of their number.
    #[test]
    fn many_classes_of_one_word_are_numbered_at_once() {
        let letter = |number: u32| char::from_u32(0x4e00 + number).expect("a letter");
        let classes: Vec<String> = (0..20_000).map(|number| letter(number).to_string()).collect();
        let words = class_words(&classes);
        assert_eq!(words.iter().collect::<HashSet<_>>().len(), 20_000);
        assert_eq!((words[0].as_str(), words[19_999].as_str()), ("_", "__20000"));
        let taken = ["a_2", "a", "A", "a"].map(str::to_owned);
        assert_eq!(class_words(&taken), ["a_2", "a", "A_3", "a_4"]);
    }
}
