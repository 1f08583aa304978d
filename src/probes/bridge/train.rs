//! Bridges of two networks, trained by the encoder program so that an object's own vectors are the most alike of all.

use super::BridgeError;
use crate::encoder::{
    Beginning, Chunk, ChunkRows, ChunkSource, EncoderHandle, TowerInput, TrainSpec, TrainTask,
};
use crate::learn::bridge::{self, BridgeMap, Fitted, Pairs, Towers, UNUSED};
use crate::learn::{LearnError, Progress, Scaling, epoch_order};
use crate::probes::train::train_watched;
use crate::probes::{ProbeError, Tools};
use crate::wire::v1;

/// Components of the space of both sides where nothing is said, at most.
const DIMENSION_MOST: usize = 128;

/// Temperature of networks that begin with random numbers.
const TEMPERATURE_RANDOM: f32 = 0.07;

/// Pairs that are compared with each other: the more, the harder it is to tell the own one.
const BATCH_DEFAULT: usize = 1_024;

/// Networks that begin where the correlations are have little way to go.
const LEARNING_RATE_DEFAULT: f64 = 3e-4;

/// Steps that a training has at least where nothing is said, and its epochs.
const STEPS_DEFAULT: usize = 600;
const EPOCHS_DEFAULT: (usize, usize) = (10, 100);

/// Epochs without a better loss on the pairs that judge after which a training ends.
const PATIENCE: u32 = 5;

/// One of so many pairs judges, but no more than there are in the second line: it is not learned from.
const JUDGING_SHARE: usize = 10;
const JUDGING_MAX: usize = 4_096;

/// With fewer pairs than this none can be spared to judge, and nothing is trained.
const TRAINED_LEAST: usize = 16;

/// Components of the space of both sides: two affine maps have use for one more than the smaller space has.
pub(super) fn dimension(given: &v1::ContrastiveBridge, from: usize, to: usize) -> u32 {
    match given.dimension {
        0 if given.hidden.is_empty() => (from.min(to) + 1).min(DIMENSION_MOST) as u32,
        0 => DIMENSION_MOST as u32,
        given => given,
    }
}

/// Trains both sides, which begin as the best of the closed forms by correlations and end as it where training makes nothing
/// better.
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
    let sides = Sides::of(pairs, seed);
    let scalings = bridge::scaling(pairs, progress)?;
    let mut spec = spec(given, seed, pairs, &sides, &scalings)?;
    let folded = Pairs { folds: &sides.folds, ..*pairs };
    let beginning = {
        let (first, second) = spec.shapes();
        let shapes = [&first, second.as_ref().unwrap_or(&first)];
        let towers = Towers { shapes, scalings: scalings.each_ref(), seed };
        bridge::begin(&folded, sides.judges(), &towers, tools.threads, progress)?
    };
    if let TrainTask::Contrastive { temperature, .. } = &mut spec.task
        && let Some(beginning) = &beginning
        && given.temperature == 0.0
    {
        *temperature = beginning.temperature as f32;
    }
    let count = sides.learning.len() + sides.judging.len();
    let map = match beginning {
        Some(beginning) if sides.judging.is_empty() => beginning.map,
        Some(bridge::Beginning { map, taught, towers: [first, second], .. }) => {
            let judges = sides.judging.clone();
            let towers = Beginning { first, second };
            match trained(encoder, &spec, (pairs, sides), Some(towers), progress)? {
                // A smaller loss may find less.
                Some(trained) if bridge::finds_as_much(pairs, &judges, &trained, &taught)? => {
                    trained
                }
                _ => map,
            }
        }
        None => trained(encoder, &spec, (pairs, sides), None, progress)?.ok_or_else(no_network)?,
    };
    map.check()?;
    Ok(Fitted::of(map, count))
}

/// Both networks after training; absent where they were never better than at their beginning.
fn trained(
    encoder: &EncoderHandle,
    spec: &TrainSpec,
    (pairs, sides): (&Pairs<'_>, Sides),
    beginning: Option<Beginning>,
    progress: Progress<'_>,
) -> Result<Option<BridgeMap>, BridgeError> {
    let at_once = spec.chunk_examples(1).max(1);
    let count = sides.learning.len();
    let mut source = Source { pairs, sides, seed: spec.seed, at_once, order: None, beginning };
    let trained = train_watched(encoder, spec, &mut source, count, progress)?;
    if trained.is_beginning {
        return Ok(None);
    }
    let second = trained.second.ok_or_else(no_network)?;
    Ok(Some(BridgeMap {
        from: bridge::tower(&trained.head, pairs.from_unit)?,
        to: bridge::tower(&second, pairs.to_unit)?,
    }))
}

fn no_network() -> LearnError {
    LearnError::NoResult {
        what: "the training of two networks",
        hint: "the encoder gave less than two back; is it of another version?".to_owned(),
    }
}

/// Which pairs teach, and which of them judge what was taught.
struct Sides {
    learning: Vec<u32>,
    /// None where there are too few.
    judging: Vec<u32>,
    /// For each pair 0 where it is learned from, 1 where it judges, or that it takes no part.
    folds: Vec<u8>,
}

impl Sides {
    fn of(pairs: &Pairs<'_>, seed: u64) -> Self {
        let all: Vec<u32> =
            (0..).zip(pairs.folds).filter(|(_, fold)| **fold < UNUSED).map(|(at, _)| at).collect();
        let mut folds: Vec<u8> =
            pairs.folds.iter().map(|fold| if *fold < UNUSED { 0 } else { *fold }).collect();
        if all.len() < TRAINED_LEAST {
            return Self { learning: all, judging: Vec::new(), folds };
        }
        let spared = (all.len() / JUDGING_SHARE).clamp(2, JUDGING_MAX);
        // An order that no epoch has.
        let order = epoch_order(all.len(), u32::MAX, seed);
        let judging: Vec<u32> = order[..spared].iter().map(|at| all[*at as usize]).collect();
        for place in &judging {
            folds[*place as usize] = 1;
        }
        let learning = all.into_iter().filter(|place| folds[*place as usize] == 0).collect();
        Self { learning, judging, folds }
    }

    /// Pairs by which a beginning is chosen.
    fn judges(&self) -> &[u32] {
        if self.judging.is_empty() { &self.learning } else { &self.judging }
    }
}

fn spec(
    given: &v1::ContrastiveBridge,
    seed: u64,
    pairs: &Pairs<'_>,
    sides: &Sides,
    [from, to]: &[Scaling; 2],
) -> Result<TrainSpec, BridgeError> {
    let input = |width, scaling: &Scaling| TowerInput {
        scaling: Some(scaling.clone()),
        ..TowerInput::rows(width)
    };
    let temperature = given.temperature as f32;
    let task = TrainTask::Contrastive {
        second: input(pairs.target_width(), to),
        dimension: dimension(given, pairs.from_width, pairs.target_width()) as usize,
        temperature: if temperature == 0.0 { TEMPERATURE_RANDOM } else { temperature },
        learn_temperature: true,
    };
    let count = sides.learning.len();
    let mut spec = TrainSpec::new(input(pairs.from_width, from), task);
    spec.hidden = given.hidden.iter().map(|width| *width as usize).collect();
    spec.weight_decay = given.weight_decay;
    spec.anneal = true;
    spec.seed = seed;
    spec.examples = count as u64;
    spec.batch = if given.batch == 0 { BATCH_DEFAULT } else { given.batch as usize };
    // A batch is compared within itself: the last one of an epoch should not be all but empty.
    spec.batch = spec.batch.min(count);
    spec.learning_rate =
        if given.learning_rate > 0.0 { given.learning_rate } else { LEARNING_RATE_DEFAULT };
    spec.epochs = if given.epochs > 0 { given.epochs } else { epochs(count, spec.batch) };
    spec.patience = PATIENCE;
    spec.check().map_err(ProbeError::from)?;
    Ok(spec)
}

/// Few pairs are few steps to an epoch, and need more epochs.
fn epochs(count: usize, batch: usize) -> u32 {
    let steps = count.div_ceil(batch.max(1)).max(1);
    let (least, most) = EPOCHS_DEFAULT;
    STEPS_DEFAULT.div_ceil(steps).clamp(least, most) as u32
}

/// Reads chunks of shuffled pairs.
struct Source<'a> {
    pairs: &'a Pairs<'a>,
    sides: Sides,
    seed: u64,
    at_once: usize,
    /// The order of an epoch.
    order: Option<(u32, Vec<u32>)>,
    beginning: Option<Beginning>,
}

impl Source<'_> {
    /// Reads pairs; none where there are no places.
    fn read(&self, places: &[u32]) -> Result<Option<Chunk>, LearnError> {
        if places.is_empty() {
            return Ok(None);
        }
        let mut rows = Vec::new();
        self.pairs.features.read(places, &mut rows)?;
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

    /// Where the `chunk`-th run of so many begins and ends.
    fn run(&self, chunk: u32, count: usize) -> std::ops::Range<usize> {
        let first = (chunk as usize).saturating_mul(self.at_once).min(count);
        first..first.saturating_add(self.at_once).min(count)
    }
}

impl ChunkSource for Source<'_> {
    fn chunk(&mut self, epoch: u32, chunk: u32) -> Result<Option<Chunk>, LearnError> {
        let learning = &self.sides.learning;
        let order = match self.order.take() {
            Some((of, order)) if of == epoch => order,
            _ => epoch_order(learning.len(), epoch, self.seed),
        };
        let run = self.run(chunk, order.len());
        let places: Vec<u32> = order[run].iter().map(|at| learning[*at as usize]).collect();
        self.order = Some((epoch, order));
        self.read(&places)
    }

    fn validation(&mut self, chunk: u32) -> Result<Option<Chunk>, LearnError> {
        let judging = &self.sides.judging;
        self.read(&judging[self.run(chunk, judging.len())])
    }

    fn beginning(&mut self) -> Option<Beginning> {
        self.beginning.clone()
    }
}
