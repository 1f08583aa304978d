//! The hash of what a collection says, whatever its files look like.
//!
//! Every part is hashed with its length before it, and every list with its number of items, so that no two contents give the
//! same bytes. Numbers are little-endian; floating-point numbers by their bits. In this order: the schema; objects in the order
//! of their cells along the sky, those of one cell by their ids, each with position, columns, and vectors and tokens of its
//! spaces in the order of the schema; probes and bridges by their names in lower case. Names of collections, versions,
//! numbers of spaces, and what is encoded at ingest are not content.

use crate::engine::error::EngineError;
use crate::schema::{CollectionSchema, IdKind, Object, ObjectId, SpaceId, Value};
use crate::sky::Cell29;
use crate::storage::{Snapshot, StorageError};
use crate::wire::v1::TokenSequence;

/// Says what is hashed, so that the hash of something else is never taken for it; changes with the rules above.
const DOMAIN: &[u8] = b"sidereus release content 1";

/// Objects whose tokens are read at once: they may be a megabyte each.
const TOKEN_PAGE: usize = 64;

/// A BLAKE3 hash of the content of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHash(blake3::Hash);

impl std::fmt::Display for ContentHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0.to_hex().as_str())
    }
}

struct Hasher(blake3::Hasher);

impl Hasher {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn sized(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.sized(text.as_bytes());
    }

    fn schema(&mut self, schema: &CollectionSchema) {
        self.text(match schema.id_kind {
            IdKind::Number => "numbers",
            IdKind::Text => "texts",
        });
        self.text(&schema.description);
        self.number(schema.columns.len() as u64);
        for column in &schema.columns {
            let kind = column.kind.to_string();
            for text in [&column.name, &kind, &column.unit, &column.ucd, &column.description] {
                self.text(text);
            }
        }
        self.number(schema.spaces.len() as u64);
        for space in &schema.spaces {
            let made = &space.provenance;
            self.text(&space.name);
            self.text(&space.modality.0);
            self.text(space.form.plural());
            self.number(space.dimension as u64);
            self.text(&space.metric.to_string());
            for text in [&made.encoder, &made.weights_hash, &made.preprocessing, &made.pooling] {
                self.text(text);
            }
            self.text(space.shared.as_deref().unwrap_or(""));
        }
    }

    fn id(&mut self, id: &ObjectId) {
        match id {
            ObjectId::Number(number) => self.sized(&number.to_le_bytes()),
            ObjectId::Text(text) => self.text(text),
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.number(0),
            Value::Boolean(value) => {
                self.number(1);
                self.number(u64::from(*value));
            }
            Value::Int64(value) => {
                self.number(2);
                self.number(value.cast_unsigned());
            }
            Value::Float32(value) => {
                self.number(3);
                self.number(u64::from(value.to_bits()));
            }
            Value::Float64(value) => {
                self.number(4);
                self.number(value.to_bits());
            }
            Value::Text(value) => {
                self.number(5);
                self.text(value);
            }
            Value::Binary(value) => {
                self.number(6);
                self.sized(value);
            }
            Value::FloatList(values) => {
                self.number(7);
                self.number(values.len() as u64);
                values.iter().for_each(|value| self.number(value.to_bits()));
            }
        }
    }

    fn object(&mut self, object: &Object) {
        self.id(&object.id);
        self.number(object.position.ra().0.to_bits());
        self.number(object.position.dec().0.to_bits());
        object.columns.iter().for_each(|value| self.value(value));
    }

    fn vector(&mut self, vector: &[f32]) {
        self.number(1 + vector.len() as u64);
        for value in vector {
            self.0.update(&value.to_le_bytes());
        }
    }

    fn tokens(&mut self, tokens: &TokenSequence) {
        self.number(1 + tokens.runs.len() as u64);
        for run in &tokens.runs {
            self.text(&run.modality);
            self.number(u64::from(run.count));
            self.number(u64::from(run.width));
            self.sized(&run.states);
            self.sized(&run.ids);
        }
    }
}

/// Hashes what a view shows; `told` hears of objects as they are read, and ends it by saying false.
pub(super) fn content_hash(
    snapshot: &Snapshot<'_>,
    named: [&[(String, Vec<u8>)]; 2],
    told: &mut dyn FnMut(u64) -> bool,
) -> Result<ContentHash, EngineError> {
    let schema = &snapshot.record().schema;
    let mut hasher = Hasher(blake3::Hasher::new());
    hasher.0.update(DOMAIN);
    hasher.schema(schema);
    hasher.number(snapshot.record().object_count);
    let spaces: Vec<SpaceId> = schema.vector_spaces().map(|space| space.id).collect();
    let has_tokens = schema.spaces.iter().any(|space| !space.holds_vectors());
    // Those of one cell, which the store tells apart by numbers that may depend on who came first.
    let mut page: Vec<Object> = Vec::new();
    let mut cell: Option<Cell29> = None;
    for found in snapshot.scan(0..u64::MAX, &spaces)? {
        let (key, object) = found?;
        // Several cells at once where tokens are looked up, which goes by pages.
        let is_full = !has_tokens || page.len() >= TOKEN_PAGE;
        if cell != Some(key.cell) && is_full && !page.is_empty() {
            if !told(page.len() as u64) {
                return Err(StorageError::Stopped.into());
            }
            hash_page(&mut hasher, snapshot, &mut page)?;
        }
        cell = Some(key.cell);
        page.push(object);
    }
    hash_page(&mut hasher, snapshot, &mut page)?;
    for (what, records) in ["probes", "bridges"].into_iter().zip(named) {
        hasher.text(what);
        hasher.number(records.len() as u64);
        for (name, bytes) in records {
            hasher.text(&name.to_lowercase());
            hasher.sized(bytes);
        }
    }
    Ok(ContentHash(hasher.0.finalize()))
}

/// Hashes whole cells, and forgets them.
fn hash_page(
    hasher: &mut Hasher,
    snapshot: &Snapshot<'_>,
    page: &mut Vec<Object>,
) -> Result<(), EngineError> {
    // A stable order within a cell; cells come in their order already.
    page.sort_by(|a, b| (a.position.cell29(), &a.id).cmp(&(b.position.cell29(), &b.id)));
    let schema = &snapshot.record().schema;
    let ids: Vec<ObjectId> = page.iter().map(|object| object.id.clone()).collect();
    let mut tokens = Vec::new();
    for space in &schema.spaces {
        let of_space = !space.holds_vectors() && !ids.is_empty();
        tokens.push(if of_space { snapshot.tokens(space.id, &ids)? } else { Vec::new() });
    }
    for (place, object) in page.iter().enumerate() {
        hasher.object(object);
        for (space, tokens) in schema.spaces.iter().zip(&tokens) {
            let vector = object.vectors.iter().find(|(id, _)| *id == space.id);
            match (vector, tokens.get(place)) {
                (Some((_, vector)), _) => hasher.vector(vector),
                (None, Some(Some(tokens))) => hasher.tokens(tokens),
                (None, Some(None) | None) => hasher.number(0),
            }
        }
    }
    page.clear();
    Ok(())
}
