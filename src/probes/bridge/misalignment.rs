//! How little an object's own vectors of two spaces agree, as a column: `misalignment.FROM.TO` is 1 - cos between them, of
//! shared spaces or across a bridge. Objects that look otherwise than their spectrum says stand out in it.

use std::sync::{Arc, Mutex, PoisonError};

use super::BridgeError;
use super::record::Record;
use crate::engine::{Db, DerivedColumn, DerivedKind, EngineError, Formula, RecordKind};
use crate::learn::bridge::BridgeMap;
use crate::probes::formula::is_of;
use crate::schema::{CollectionSchema, EmbeddingSpace, SpaceId, check_name};

/// 1 - cos between what both vectors of an object are mapped to.
#[derive(Debug)]
struct Misalignment {
    spaces: [SpaceId; 2],
    /// Length of the vectors of FROM.
    from_width: usize,
    outputs: [DerivedColumn; 1],
    /// `None` where both are of a shared space.
    map: Option<BridgeMap>,
}

impl Misalignment {
    fn new(
        name: String,
        from: &EmbeddingSpace,
        to: &EmbeddingSpace,
        map: Option<BridgeMap>,
    ) -> Self {
        Self {
            spaces: [from.id, to.id],
            from_width: from.dimension,
            outputs: [DerivedColumn { name, kind: DerivedKind::Real }],
            map,
        }
    }
}

impl Formula for Misalignment {
    fn spaces(&self) -> &[SpaceId] {
        &self.spaces
    }

    fn columns(&self) -> &[String] {
        &[]
    }

    fn outputs(&self) -> &[DerivedColumn] {
        &self.outputs
    }

    fn compute(&self, count: usize, inputs: &[f64]) -> Vec<Vec<f64>> {
        let width = inputs.len() / count.max(1);
        if count == 0 || width <= self.from_width {
            return vec![vec![f64::NAN; count]];
        }
        let (mut from, mut to) = (Vec::new(), Vec::new());
        for row in inputs.chunks_exact(width) {
            let (x, y) = row.split_at(self.from_width);
            from.extend_from_slice(x);
            to.extend_from_slice(y);
        }
        if let Some(map) = &self.map {
            let mapped = map.from.apply(&from).and_then(|from| Ok((from, map.to.apply(&to)?)));
            let Ok(mapped) = mapped else { return vec![vec![f64::NAN; count]] };
            (from, to) = mapped;
        }
        let (from_width, to_width) = (from.len() / count, to.len() / count);
        let pairs = from.chunks_exact(from_width.max(1)).zip(to.chunks_exact(to_width.max(1)));
        vec![pairs.map(|(x, y)| 1.0 - cosine(x, y)).collect()]
    }
}

/// NaN where one of them has no direction.
fn cosine(x: &[f64], y: &[f64]) -> f64 {
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    xy / (xx * yy).sqrt()
}

/// A formula that is registered, and what it was made of.
struct Registered {
    collection: String,
    name: String,
    /// Of both spaces with their provenance, and of the bridge.
    hash: blake3::Hash,
    formula: Arc<dyn Formula>,
}

/// Formulas that were made: the same one again keeps what was computed with it.
static REGISTERED: Mutex<Vec<Registered>> = Mutex::new(Vec::new());

/// Lets go of what a dropped collection had, and its releases: the maps of bridges are large.
pub(super) fn forget(collection: &str) {
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    registered.retain(|each| !is_of(&each.collection, collection));
}

/// The misalignment of all spaces of a collection that can be compared: of those that are declared shared, in the order of
/// the schema, and of those that a bridge joins. Where several bridges join the same spaces, each has a column of its own,
/// `misalignment.FROM.TO.BRIDGE`.
///
/// # Errors
/// Those of the disk. Bridges that are damaged or stale are logged and passed over: queries that do not name them go on.
pub(in crate::probes) fn formulas(
    db: &Db,
    schema: &CollectionSchema,
) -> Result<Vec<Arc<dyn Formula>>, EngineError> {
    let records = usable(db, schema)?;
    let mut columns: Vec<Column<'_>> = Vec::new();
    let spaces: Vec<&EmbeddingSpace> = schema.vector_spaces().collect();
    for (place, &from) in spaces.iter().enumerate() {
        for &to in spaces.iter().skip(place + 1).filter(|to| from.shares_with(to)) {
            columns.push(Column { name: name_of(from, to), from, to, bridge: None });
        }
    }
    for (record, hash) in &records {
        let Ok((from, to)) = record.spaces(schema) else { continue };
        let same = |other: &Record| other.from() == record.from() && other.to() == record.to();
        let is_alone = records.iter().filter(|(other, _)| same(other)).count() == 1;
        let mut name = name_of(from, to);
        if !is_alone || columns.iter().any(|column| column.name == name) {
            name = format!("{name}.{}", record.bridge.name);
        }
        columns.push(Column { name, from, to, bridge: Some((record, hash)) });
    }
    keep_namable(&mut columns, schema);
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut formulas = Vec::with_capacity(columns.len());
    for Column { name, from, to, bridge } in columns {
        let hash = fingerprint(from, to, bridge.map(|(_, hash)| hash));
        let known = registered
            .iter()
            .find(|each| each.collection == schema.name && each.name == name && each.hash == hash)
            .map(|each| Arc::clone(&each.formula));
        let formula: Arc<dyn Formula> = known.unwrap_or_else(|| {
            let map = bridge.map(|(record, _)| record.map.clone());
            Arc::new(Misalignment::new(name.clone(), from, to, map))
        });
        registered.retain(|each| each.collection != schema.name || each.name != name);
        let collection = schema.name.clone();
        registered.push(Registered { collection, name, hash, formula: Arc::clone(&formula) });
        formulas.push(formula);
    }
    Ok(formulas)
}

/// A column that can be computed.
struct Column<'a> {
    name: String,
    from: &'a EmbeddingSpace,
    to: &'a EmbeddingSpace,
    /// With a hash of the bytes of its record.
    bridge: Option<(&'a Record, &'a blake3::Hash)>,
}

fn name_of(from: &EmbeddingSpace, to: &EmbeddingSpace) -> String {
    format!("misalignment.{}.{}", from.name, to.name)
}

/// Leaves out columns whose names are too long or taken: one refused column would take all others with it.
fn keep_namable(columns: &mut Vec<Column<'_>>, schema: &CollectionSchema) {
    let mut taken = std::collections::HashSet::new();
    columns.retain(|column| {
        let name = column.name.as_str();
        let is_free = check_name("column", name).is_ok()
            && schema.column_place(name).is_none()
            && taken.insert(name.to_lowercase());
        if !is_free {
            tracing::warn!(collection = schema.name, column = name, "its name cannot be used");
        }
        is_free
    });
}

/// Bridges that can be used, with hashes of their records.
fn usable(db: &Db, schema: &CollectionSchema) -> Result<Vec<(Record, blake3::Hash)>, EngineError> {
    let mut usable = Vec::new();
    let collection = schema.name.as_str();
    db.visit_records(collection, RecordKind::Bridge, &mut |name, bytes| {
        let read = bytes.map_err(BridgeError::from);
        match read.and_then(|bytes| Ok((Record::decode(&name, &bytes)?, bytes))) {
            Ok((record, bytes)) => match record.stale(schema) {
                None => usable.push((record, blake3::hash(&bytes))),
                Some(reason) => tracing::warn!(collection, name, reason, "a bridge is stale"),
            },
            Err(error) => tracing::warn!(collection, name, %error, "a bridge is left out"),
        }
        Ok::<_, EngineError>(())
    })?;
    Ok(usable)
}

fn fingerprint(
    from: &EmbeddingSpace,
    to: &EmbeddingSpace,
    bridge: Option<&blake3::Hash>,
) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for space in [from, to] {
        let own = format!("{} {} {:?}\n", space.id.0, space.dimension, space.provenance);
        hasher.update(own.as_bytes());
    }
    if let Some(bridge) = bridge {
        hasher.update(bridge.as_bytes());
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::bridge::SideMap;
    use crate::schema::{Modality, Provenance, SpaceForm};
    use crate::vector::Metric;

    fn space(id: u32, dimension: usize) -> EmbeddingSpace {
        EmbeddingSpace {
            id: SpaceId(id),
            name: format!("s{id}"),
            modality: Modality("image".to_owned()),
            form: SpaceForm::Vector,
            dimension,
            metric: Metric::Cosine,
            provenance: Provenance::external(),
            shared: None,
            at_ingest: None,
        }
    }

    #[test]
    fn what_was_dropped_is_let_go() {
        let (a, b) = (space(1, 2), space(2, 2));
        let registered = || REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        for collection in ["dropped_here", "dropped_here@dr1", "dropped_here_not"] {
            registered().push(Registered {
                collection: collection.to_owned(),
                name: "m".to_owned(),
                hash: fingerprint(&a, &b, None),
                formula: Arc::new(Misalignment::new("m".to_owned(), &a, &b, None)),
            });
        }
        forget("Dropped_Here");
        let left = registered();
        let mut ours = left.iter().filter(|each| each.collection.starts_with("dropped_here"));
        assert_eq!(ours.next().map(|each| each.collection.as_str()), Some("dropped_here_not"));
        assert!(ours.next().is_none());
    }

    #[test]
    fn misalignment_is_one_less_the_cosine_also_across_a_bridge() {
        let (a, b) = (space(1, 2), space(2, 2));
        let plain = Misalignment::new("m".to_owned(), &a, &b, None);
        let rows = [1.0, 0.0, 0.0, 2.0, 3.0, 4.0, 6.0, 8.0, 0.0, 0.0, 1.0, 1.0];
        let found = plain.compute(3, &rows);
        assert!((found[0][0] - 1.0).abs() < 1e-12);
        assert!(found[0][1].abs() < 1e-12);
        assert!(found[0][2].is_nan());
        assert_eq!(plain.compute(0, &[]), [Vec::<f64>::new()]);

        // FROM is turned by a right angle, and TO has one dimension more.
        let turn = vec![0.0, -1.0, 1.0, 0.0, 0.0, 0.0];
        let from = SideMap::affine(false, 2, turn, vec![0.0; 3]).expect("a map");
        let map = BridgeMap { from, to: SideMap::identity(3) };
        let across = Misalignment::new("m".to_owned(), &a, &space(3, 3), Some(map));
        let found = across.compute(2, &[1.0, 0.0, 0.0, 5.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
        assert!(found[0][0].abs() < 1e-12);
        assert!((found[0][1] - 1.0).abs() < 1e-12);
        assert_eq!(across.spaces(), [SpaceId(1), SpaceId(3)]);
    }
}
