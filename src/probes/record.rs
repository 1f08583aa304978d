//! Probes in the store.

use prost::Message;

use super::model::Model;
use super::{Page, ProbeError, Tools, formula};
use crate::engine::{CollectionView, Db, RecordKind};
use crate::schema::CollectionSchema;
use crate::wire::internal::{ProbeHeader, ProbeRecord};
use crate::wire::v1;

/// Longest name: with `probe.` and the word of a class it is the name of a column.
const NAME_LEN_MAX: usize = 48;

/// A probe and what predicts.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) probe: v1::Probe,
    pub(super) model: Model,
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let model = Some(self.model.to_wire());
        ProbeRecord { probe: Some(self.probe.clone()), model }.encode_to_vec()
    }

    /// Reads a record, and marks its probe stale where the collection has changed under it.
    pub(super) fn decode(
        name: &str,
        bytes: &[u8],
        schema: &CollectionSchema,
    ) -> Result<Self, ProbeError> {
        let damaged = |reason: String| ProbeError::Damaged { name: name.to_owned(), reason };
        let record = ProbeRecord::decode(bytes).map_err(|error| damaged(error.to_string()))?;
        let mut probe = record.probe.ok_or_else(|| damaged("it says nothing".to_owned()))?;
        let model = record.model.ok_or_else(|| damaged("it has no model".to_owned()))?;
        probe.stale = stale(&probe, schema).unwrap_or_default();
        let width = if probe.stale.is_empty() { Some(width_of(&probe, schema)) } else { None };
        let model = Model::from_wire(model, width, &probe).map_err(damaged)?;
        Ok(Self { probe, model })
    }
}

/// Reads what a record says of its probe and passes over the rest, which may be large; the probe is marked stale where the
/// collection has changed under it.
fn header(name: &str, bytes: &[u8], schema: &CollectionSchema) -> Result<v1::Probe, ProbeError> {
    let damaged = |reason: String| ProbeError::Damaged { name: name.to_owned(), reason };
    let header = ProbeHeader::decode(bytes).map_err(|error| damaged(error.to_string()))?;
    let mut probe = header.probe.ok_or_else(|| damaged("it says nothing".to_owned()))?;
    probe.stale = stale(&probe, schema).unwrap_or_default();
    Ok(probe)
}

/// Features that a probe reads of each object, or of each token.
fn width_of(probe: &v1::Probe, schema: &CollectionSchema) -> usize {
    let Some(spec) = &probe.spec else { return 0 };
    let spaces = spec.spaces.iter().filter_map(|name| schema.space(name));
    spaces.map(|space| space.dimension).sum::<usize>() + spec.columns.len()
}

/// Why a probe must not be applied to a collection as it is now.
fn stale(probe: &v1::Probe, schema: &CollectionSchema) -> Option<String> {
    let spec = probe.spec.as_ref()?;
    for (name, fitted) in spec.spaces.iter().zip(&probe.provenances) {
        let Some(space) = schema.space(name) else {
            return Some(format!("its space `{name}` is gone"));
        };
        if v1::Provenance::from(space.provenance.clone()) != *fitted {
            return Some(format!("its space `{name}` holds vectors of another provenance"));
        }
    }
    let has =
        |name: &&String| schema.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    spec.columns.iter().find(|name| !has(name)).map(|name| format!("its column `{name}` is gone"))
}

/// Refuses a name that is taken: before the fit, which may be long. [`keep`] looks again.
pub(super) fn check_name(
    db: &Db,
    collection: &str,
    name: &str,
    overwrite: bool,
) -> Result<(), ProbeError> {
    let usable = name.chars().next().is_some_and(|first| first.is_ascii_alphabetic())
        && name.len() <= NAME_LEN_MAX
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if !usable {
        let hint = "use at most 48 letters, digits and underscores, a letter first, as it becomes part of a column name";
        return Err(ProbeError::bad(format!("`{name}` cannot name a probe"), hint));
    }
    if !overwrite && db.record(collection, RecordKind::Probe, name)?.is_some() {
        return Err(exists(collection, name));
    }
    Ok(())
}

/// Keeps a probe and makes it a column for queries.
pub(super) fn keep(
    tools: &Tools,
    view: &CollectionView,
    name: &str,
    record: &Record,
    overwrite: bool,
) -> Result<(), ProbeError> {
    let collection = &view.schema().name;
    let bytes = record.encode();
    // The collection may be gone, or another one, and somebody else may have taken the name during the fit.
    tools.db.make_record(view, RecordKind::Probe, name, &mut |present| {
        if present.is_some() && !overwrite {
            return Err(exists(collection, name));
        }
        Ok(bytes.clone())
    })?;
    formula::refresh(&tools.db, collection)
}

/// A page of the probes of a collection behind a name, by name; of each what can be put beside others. One whose record is
/// damaged is listed as stale, with the reason.
///
/// # Errors
/// Those of the disk.
pub fn list(db: &Db, collection: &str, after: &str) -> Result<Page<v1::Probe>, ProbeError> {
    let schema = db.schema(collection)?;
    let mut page = Page::after(after);
    db.visit_records(collection, RecordKind::Probe, &mut |name, bytes| {
        if page.wants(&name) {
            let read = bytes.map_err(ProbeError::from).and_then(|it| header(&name, &it, &schema));
            let probe = read.unwrap_or_else(|error| v1::Probe {
                name: name.clone(),
                collection: schema.name.clone(),
                stale: error.to_string(),
                ..v1::Probe::default()
            });
            page.push(&name, in_list(probe));
        }
        Ok::<_, ProbeError>(())
    })?;
    Ok(page)
}

/// A probe without what grows with its classes and its settings: a confusion matrix of a thousand classes has megabytes.
fn in_list(probe: v1::Probe) -> v1::Probe {
    v1::Probe {
        confusion: None,
        calibration: Vec::new(),
        alphas: Vec::new(),
        alpha_scores: Vec::new(),
        ..probe
    }
}

/// One probe.
///
/// # Errors
/// [`ProbeError::NoProbe`], [`ProbeError::Damaged`]; those of the disk.
pub fn get(db: &Db, collection: &str, name: &str) -> Result<v1::Probe, ProbeError> {
    let (schema, bytes) = stored(db, collection, name)?;
    header(name, &bytes, &schema)
}

pub(super) fn find(db: &Db, collection: &str, name: &str) -> Result<Record, ProbeError> {
    let (schema, bytes) = stored(db, collection, name)?;
    Record::decode(name, &bytes, &schema)
}

fn stored(
    db: &Db,
    collection: &str,
    name: &str,
) -> Result<(CollectionSchema, Vec<u8>), ProbeError> {
    let schema = db.schema(collection)?;
    match db.record(collection, RecordKind::Probe, name)? {
        Some(bytes) => Ok((schema, bytes)),
        None => Err(no_probe(schema.name, name)),
    }
}

/// Forgets a probe.
///
/// # Errors
/// [`ProbeError::NoProbe`]; those of the disk.
pub fn drop_probe(db: &Db, collection: &str, name: &str) -> Result<(), ProbeError> {
    if !db.delete_record(collection, RecordKind::Probe, name)? {
        return Err(no_probe(collection.to_owned(), name));
    }
    formula::refresh(db, collection)
}

fn no_probe(collection: String, name: &str) -> ProbeError {
    ProbeError::NoProbe { collection, name: name.to_owned() }
}

fn exists(collection: &str, name: &str) -> ProbeError {
    ProbeError::Exists { collection: collection.to_owned(), name: name.to_owned() }
}
