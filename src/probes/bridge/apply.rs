//! Writing what a bridge makes of stored vectors, so that it is indexed and searched as any other space.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::record::Record;
use super::{BridgeError, Bridges, rule};
use crate::engine::{CollectionView, Still, Write};
use crate::learn::bridge::SideMap;
use crate::probes::again::{self, Chosen, Pages};
use crate::probes::table::Table;
use crate::query::StopFlag;
use crate::schema::{EmbeddingSpace, Modality, Provenance, SpaceForm, SpaceId, check_name};
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
        let kept = self.kept(view)?;
        let record = Arc::clone(rule::find(view.schema(), &kept, &request.name)?);
        let (from, to) = record.spaces(view.schema())?;
        let spaces = [(from, &record.map.from), (to, &record.map.to)];
        // Both or none: a space that is refused leaves no other one behind.
        let of = |(source, _)| target(&record, source, to.metric, &request.space);
        let made = db.add_spaces(&request.collection, spaces.map(of).to_vec())?.schema;
        let writing = |(source, map): (&EmbeddingSpace, _)| {
            let target = target(&record, source, to.metric, &request.space);
            let target = made.space(&target.name).cloned().unwrap_or(target);
            Writing { source: source.id, target, map }
        };
        let writings = spaces.map(writing);
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
        let pages = Pages { db, chosen_in: view, flag };
        for (writing, table) in writings.iter().zip(&tables) {
            for first in (0..table.count()).step_by(AT_ONCE) {
                let page = table.page(first..(first + AT_ONCE).min(table.count()));
                let mut refused = 0;
                answer.skipped += pages.page(page.objects(), &mut |page, still| {
                    let (again, reasons) = self.write(writing, page, still)?;
                    refused += reasons.len() as u64;
                    Ok::<_, BridgeError>(again)
                })?;
                answer.refused += refused;
                answer.done += page.count() as u64;
                tell(answer.clone());
            }
        }
        answer.spaces = writings.into_iter().map(|writing| writing.target.name).collect();
        tell(answer);
        Ok(())
    }

    /// Maps the vectors of a page and writes what comes of them, but for objects that have changed since: these are returned,
    /// with the reasons for which others were refused.
    fn write(
        &self,
        writing: &Writing<'_>,
        page: &mut Table<'_>,
        still: &Still<'_>,
    ) -> Result<(Vec<Chosen>, Vec<String>), BridgeError> {
        let keys: Vec<ObjectKey> = page.keys().collect();
        let found = still.vectors_at(writing.source, &keys)?;
        let has: Vec<bool> = found.iter().map(Option::is_some).collect();
        page.retain(&has);
        let vectors: Vec<f32> = found.into_iter().flatten().flatten().collect();
        let mapped = writing.map.apply_stored(&vectors)?;
        let rows = mapped.chunks_exact(writing.target.dimension);
        let write = |(place, vector): (usize, &[f32])| Write::SetVectors {
            id: page.id(place),
            vectors: vec![(writing.target.id, vector.to_vec())],
        };
        let writes = rows.enumerate().map(write).collect();
        Ok(again::write(&self.tools.db, page, writes)?)
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
