//! Writing what a bridge makes of stored vectors, so that it is indexed and searched as any other space.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::record::Record;
use super::{BridgeError, Bridges, rule};
use crate::engine::{CollectionView, Write, WriteMode, WriteOutcome};
use crate::learn::LearnError;
use crate::learn::bridge::SideMap;
use crate::probes::table::Table;
use crate::query::StopFlag;
use crate::schema::{
    EmbeddingSpace, Modality, ObjectId, Provenance, SpaceForm, SpaceId, check_name,
};
use crate::storage::ObjectKey;
use crate::vector::Metric;
use crate::wire::v1;

/// Objects whose vectors are mapped and written at a time.
const AT_ONCE: usize = 4_096;

/// One side of a bridge on its way into a space of its own.
struct Writing<'a> {
    source: SpaceId,
    target: EmbeddingSpace,
    map: &'a SideMap,
}

impl Bridges {
    /// Writes what a bridge makes of a view's vectors of both spaces into two new ones, which are declared shared, and tells how
    /// far it is.
    ///
    /// # Errors
    /// [`BridgeError::Stale`], [`BridgeError::NoBridge`], and those of the disk; what was written before stays.
    pub fn apply(
        &self,
        view: &CollectionView,
        request: &v1::ApplyBridgeRequest,
        stop: &StopFlag,
        flag: &AtomicBool,
        tell: &mut dyn FnMut(v1::ApplyBridgeResponse),
    ) -> Result<(), BridgeError> {
        let db = &self.tools.db;
        check_name("shared space", &request.space).map_err(|error| {
            BridgeError::bad(error.to_string(), "name the shared space (--materialise)")
        })?;
        let records = self.records(view)?;
        let record = Arc::clone(rule::find(view.schema(), &records, &request.name)?);
        let (from, to) = record.spaces(view.schema())?;
        let spaces = [(from, &record.map.from), (to, &record.map.to)];
        let mut writings = Vec::with_capacity(spaces.len());
        for (source, map) in spaces {
            let target = target(&record, source, to.metric, &request.space);
            let info = db.add_space(&request.collection, target.clone())?;
            let made = info.schema.space(&target.name).cloned().unwrap_or(target);
            writings.push(Writing { source: source.id, target: made, map });
        }
        crate::probes::refresh(db, &request.collection)?;
        let mut answer = v1::ApplyBridgeResponse::default();
        let mut tables = Vec::with_capacity(writings.len());
        for writing in &writings {
            let mut table = Table::choose(view, None, stop)?;
            let keep = table.have_vectors(&[writing.source]);
            table.retain(&keep);
            answer.total += table.count() as u64;
            tables.push(table);
        }
        for (writing, table) in writings.iter().zip(&tables) {
            let places: Vec<usize> = (0..table.count()).collect();
            for places in places.chunks(AT_ONCE) {
                if flag.load(Ordering::Relaxed) {
                    return Err(LearnError::Stopped.into());
                }
                let objects =
                    places.iter().map(|place| (table.key(*place), table.id(*place))).collect();
                self.write(view, writing, objects, &mut answer)?;
                tell(answer.clone());
            }
        }
        answer.spaces = writings.into_iter().map(|writing| writing.target.name).collect();
        tell(answer);
        Ok(())
    }

    fn write(
        &self,
        view: &CollectionView,
        writing: &Writing<'_>,
        objects: Vec<(ObjectKey, ObjectId)>,
        answer: &mut v1::ApplyBridgeResponse,
    ) -> Result<(), BridgeError> {
        let keys: Vec<ObjectKey> = objects.iter().map(|(key, _)| *key).collect();
        let (mut ids, mut vectors) = (Vec::new(), Vec::new());
        for ((_, id), found) in objects.into_iter().zip(view.fetch(&keys, true)?) {
            answer.done += 1;
            // An object that was deleted meanwhile, or whose key another one has now.
            let Some((_, object)) = found.filter(|(_, object)| object.id == id) else { continue };
            let own = object.vectors.into_iter().find(|(space, _)| *space == writing.source);
            if let Some((_, vector)) = own {
                ids.push(id);
                vectors.extend(vector);
            }
        }
        let mapped = writing.map.apply_stored(&vectors)?;
        let space = writing.target.id;
        let set = |(id, vector): (ObjectId, &[f32])| Write::SetVectors {
            id,
            vectors: vec![(space, vector.to_vec())],
        };
        let rows = mapped.chunks_exact(writing.target.dimension);
        let writes = ids.into_iter().zip(rows).map(set).collect();
        self.tools.db.check_there(view)?;
        let report = self.tools.db.write(&view.schema().name, WriteMode::Bulk, writes)?;
        let refused =
            report.outcomes.iter().filter(|outcome| matches!(outcome, WriteOutcome::Refused(_)));
        answer.refused += refused.count() as u64;
        Ok(())
    }
}

/// The space that one side of a bridge is written to. Its provenance names the bridge and its very map, so that vectors of
/// another fit never get into it.
fn target(
    record: &Record,
    source: &EmbeddingSpace,
    metric: Metric,
    shared: &str,
) -> EmbeddingSpace {
    let map = blake3::hash(&record.encode());
    EmbeddingSpace {
        id: SpaceId(0),
        name: format!("{shared}.{}", source.name),
        modality: Modality(source.modality.0.clone()),
        form: SpaceForm::Vector,
        dimension: record.map.to.outputs(),
        metric: if record.map.leads_into_target() { metric } else { Metric::Cosine },
        provenance: Provenance {
            encoder: format!("bridge:{}", record.bridge.name),
            weights_hash: map.to_hex().to_string(),
            preprocessing: format!("vectors of {}", source.name),
            pooling: String::new(),
        },
        shared: Some(shared.to_owned()),
        at_ingest: None,
    }
}
