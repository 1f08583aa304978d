//! Bridges of two networks, trained by the encoder program so that an object's own vectors are the most alike of all.

use super::BridgeError;
use crate::encoder::{Chunk, ChunkRows, ChunkSource, TowerInput, TrainSpec, TrainTask};
use crate::learn::bridge::{self, BridgeMap, Fitted, Pairs, UNUSED};
use crate::learn::{LearnError, Progress, epoch_order};
use crate::probes::train::train_watched;
use crate::probes::{ProbeError, Tools};
use crate::wire::v1;

/// Components of the space of both sides where nothing is said.
pub(super) const DIMENSION_DEFAULT: u32 = 128;
const TEMPERATURE_DEFAULT: f32 = 0.07;

/// Pairs that are compared with each other: the more, the harder it is to tell the own one.
const BATCH_DEFAULT: usize = 1_024;

/// Trains both sides.
///
/// # Errors
/// [`BridgeError::NoEncoder`]; [`BridgeError::Gather`] when the encoder program is not there or dies;
/// [`BridgeError::Learn`].
pub(super) fn fit(
    tools: &Tools,
    given: &v1::ContrastiveBridge,
    seed: u64,
    pairs: &Pairs<'_>,
    progress: Progress<'_>,
) -> Result<Fitted, BridgeError> {
    let encoder = tools.encoder.as_ref().ok_or(BridgeError::NoEncoder)?;
    let places: Vec<u32> =
        (0..).zip(pairs.folds).filter(|(_, fold)| **fold < UNUSED).map(|(at, _)| at).collect();
    let spec = spec(given, seed, pairs, places.len(), progress)?;
    let at_once = spec.chunk_examples(1).max(1);
    let mut source = Source { pairs, places, seed, at_once, order: None };
    let count = source.places.len();
    let trained = train_watched(encoder, &spec, &mut source, count, progress)?;
    let second = trained.second.ok_or_else(|| LearnError::NoResult {
        what: "the training of two networks",
        hint: "the encoder gave one back; is it of another version?".to_owned(),
    })?;
    let map = BridgeMap {
        from: bridge::tower(&trained.head, pairs.from_unit)?,
        to: bridge::tower(&second, pairs.to_unit)?,
    };
    map.check()?;
    Ok(Fitted::of(map, source.places.len()))
}

fn spec(
    given: &v1::ContrastiveBridge,
    seed: u64,
    pairs: &Pairs<'_>,
    count: usize,
    progress: Progress<'_>,
) -> Result<TrainSpec, BridgeError> {
    let [from, to] = bridge::scaling(pairs, progress)?;
    let input = |width, scaling| TowerInput { scaling: Some(scaling), ..TowerInput::rows(width) };
    let dimension = if given.dimension == 0 { DIMENSION_DEFAULT } else { given.dimension };
    let temperature = given.temperature as f32;
    let task = TrainTask::Contrastive {
        second: input(pairs.target_width(), to),
        dimension: dimension as usize,
        temperature: if temperature == 0.0 { TEMPERATURE_DEFAULT } else { temperature },
        learn_temperature: true,
    };
    let mut spec = TrainSpec::new(input(pairs.from_width, from), task);
    spec.hidden = given.hidden.iter().map(|width| *width as usize).collect();
    spec.weight_decay = given.weight_decay;
    spec.anneal = true;
    spec.seed = seed;
    spec.examples = count as u64;
    spec.batch = if given.batch == 0 { BATCH_DEFAULT } else { given.batch as usize };
    // A batch is compared within itself: the last one of an epoch should not be all but empty.
    spec.batch = spec.batch.min(count);
    if given.learning_rate > 0.0 {
        spec.learning_rate = given.learning_rate;
    }
    if given.epochs > 0 {
        spec.epochs = given.epochs;
    }
    spec.check().map_err(ProbeError::from)?;
    Ok(spec)
}

/// Reads chunks of shuffled pairs.
struct Source<'a> {
    pairs: &'a Pairs<'a>,
    /// Those that teach.
    places: Vec<u32>,
    seed: u64,
    at_once: usize,
    /// The order of an epoch.
    order: Option<(u32, Vec<u32>)>,
}

impl ChunkSource for Source<'_> {
    fn chunk(&mut self, epoch: u32, chunk: u32) -> Result<Option<Chunk>, LearnError> {
        let order = match self.order.take() {
            Some((of, order)) if of == epoch => order,
            _ => epoch_order(self.places.len(), epoch, self.seed),
        };
        let first = (chunk as usize).saturating_mul(self.at_once).min(order.len());
        let last = first.saturating_add(self.at_once).min(order.len());
        let places: Vec<u32> =
            order[first..last].iter().map(|at| self.places[*at as usize]).collect();
        self.order = Some((epoch, order));
        if places.is_empty() {
            return Ok(None);
        }
        let mut rows = Vec::new();
        self.pairs.features.read(&places, &mut rows)?;
        self.pairs.prepare(&mut rows);
        let mut sides = [ChunkRows::default(), ChunkRows::default()];
        for row in rows.chunks_exact(self.pairs.features.width()) {
            let (from, to) = row.split_at(self.pairs.from_width);
            for (side, values) in sides.iter_mut().zip([from, to]) {
                side.values.extend(values.iter().map(|value| *value as f32));
            }
        }
        let [first, second] = sides;
        Ok(Some(Chunk { examples: places.len(), first, second, ..Chunk::default() }))
    }
}
