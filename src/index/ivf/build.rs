//! Trains, fills and measures an index.

use super::super::section::Section;
use super::certain::compared_share;
use super::coder::Coder;
use super::curve::ProbeCurve;
use super::encode::{self, Filled};
use super::neighbours::{NORM_MAX, asked, depths, far_neighbours, find_neighbours, judged};
use super::parallel::{for_each_in_parallel, in_parallel};
use super::reach::{Gap, Reach};
use super::search::ranked_lists;
use super::strangers::{Far, strangers};
use super::tune::{Estimates, SHARES, Setting, Truth, WISHES};
use super::{IvfIndex, IvfSearch, IvfSpec, LISTS_MAX, MEASURED_K, POINTS_PER_LIST_MIN, ROWS_MIN};
use crate::index::IndexError;
use crate::index::random::stratified_rows;
use crate::index::recall::{Recall, RecallMeter};
use crate::vector::{Distance, Metric, VectorView, norm};

/// Training vectors for each list where there are that many.
const POINTS_PER_LIST: usize = 48;

/// Passes of k-means.
const TRAINING_PASSES: i32 = 8;

/// Sampled rows whose true neighbours are looked up.
const QUERIES: usize = 1024;

/// Share of the allowed loss that lists beyond a gap may use up: nothing is known of the gap.
const SHARE_OF_LOSS_THINNED: f64 = 0.05;

/// Share of the allowed loss that may be measured on rows of the collection: queries that are none lose a little more.
const SHARE_OF_LOSS_MEASURED: f64 = 0.45;

/// Share of what lists may lose that the last curve may lose.
const SHARE_OF_LOSS_FAR: f64 = 0.25;

/// Recall of which the made up queries of a kind can tell that it is reached: that without a miss is no surer.
const TELLABLE: f64 = 0.998;

/// Margin where none that was tried is enough.
const MARGIN_UNREACHED: f64 = 32.0;

/// Shares of the allowed loss of recall that lists and codes may each use up, tried until the measured recall keeps the wish.
const SHARES_OF_LOSS: [f64; 5] = [0.45, 0.3, 0.15, 0.06, 0.02];

pub(super) fn build(
    spec: &IvfSpec,
    metric: Metric,
    vectors: VectorView<'_>,
    like_queries: Option<VectorView<'_>>,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<IvfIndex, IndexError> {
    let list_count = check(spec, vectors)?;
    let depths = depths(metric, vectors.count());
    let deepest = depths.last().copied().unwrap_or(MEASURED_K);
    // Another seed than the training sample's: rows that shaped the centroids are a little easier to find.
    let rows = stratified_rows(vectors.count(), QUERIES, !spec.seed);
    let mut truths = vec![asked(metric, vectors, &rows)];
    if let Some(queries) = like_queries.filter(|queries| queries.count() > 0) {
        let own_rows = vec![None; queries.count()];
        let neighbours = Vec::new();
        truths.push(Truth { queries: queries.as_slice().to_vec(), own_rows, neighbours });
    }
    for truth in &mut truths {
        find_neighbours(spec, metric, vectors, truth, deepest, progress)?;
    }
    let far = far_neighbours(spec, metric, vectors, &truths)?;
    let strangers = strangers(spec, metric, vectors, deepest, progress)?;

    progress("train", 0, 1);
    let shape = encode::shape(spec, vectors)?;
    let coder = shape.choose(spec, metric, vectors, &truths[0])?;
    check_budget(spec, &coder, vectors.count(), list_count)?;
    let passes = TRAINING_PASSES;
    let centroids = encode::centroids(spec, &coder, vectors, list_count, POINTS_PER_LIST, passes)?;
    progress("train", 1, 1);
    let filled = encode::fill(spec, &coder, vectors, &centroids, progress)?;
    let measured = Measured { truths: &truths, far: &far, strangers: &strangers, depths: &depths };
    settle(spec, coder, filled, vectors, &measured, progress)
}

/// What settings are measured on.
struct Measured<'a> {
    /// For each kind of query, the nearest rows.
    truths: &'a [Truth],
    /// The same queries, with the nearest rows of a thin sample.
    far: &'a [Truth],
    /// Queries like no row.
    strangers: &'a [Truth],
    depths: &'a [usize],
}

/// Proves that the vectors can be indexed, and decides the number of lists.
fn check(spec: &IvfSpec, vectors: VectorView<'_>) -> Result<usize, IndexError> {
    let rows = vectors.count();
    if rows < ROWS_MIN {
        return Err(IndexError::TooFew { rows, rows_min: ROWS_MIN });
    }
    let rows_max = u32::MAX as usize;
    if rows > rows_max {
        return Err(IndexError::TooMany { rows, rows_max });
    }
    check_norms(spec, vectors)?;
    let lists_max = (rows.min(spec.train_sample_max) / POINTS_PER_LIST_MIN).min(LISTS_MAX);
    match spec.lists {
        Some(lists) if lists == 0 || lists > lists_max => {
            Err(IndexError::BadLists { lists, lists_max })
        }
        Some(lists) => Ok(lists),
        None if lists_max == 0 => Err(IndexError::BadLists { lists: 1, lists_max }),
        None => Ok(((4.0 * (rows as f64).sqrt()) as usize).clamp(1, lists_max)),
    }
}

/// Refuses what cannot be trained on: k-means never ends when no distance is finite.
fn check_norms(spec: &IvfSpec, vectors: VectorView<'_>) -> Result<(), IndexError> {
    let share = vectors.count().div_ceil(spec.threads.max(1)).max(1);
    let shares = vectors.as_slice().chunks(share * vectors.dimension()).enumerate();
    let checked = in_parallel(shares, |(place, values)| {
        for (row, vector) in values.chunks_exact(vectors.dimension()).enumerate() {
            let square = crate::vector::dot(vector, vector);
            if f64::from(square) <= NORM_MAX {
                continue;
            }
            let row = place * share + row;
            if let Some(component) = vector.iter().position(|value| !value.is_finite()) {
                return Err(IndexError::NotFinite { what: "a vector to index", row, component });
            }
            if norm(vector) > NORM_MAX {
                return Err(IndexError::TooLong { row, norm: norm(vector), norm_max: NORM_MAX });
            }
        }
        Ok(())
    });
    checked.into_iter().collect()
}

/// Refuses to build what the memory would not hold.
fn check_budget(
    spec: &IvfSpec,
    coder: &Coder,
    rows: usize,
    lists: usize,
) -> Result<(), IndexError> {
    let sample = (lists * POINTS_PER_LIST).min(spec.train_sample_max).min(rows) * coder.kept * 4;
    let bytes =
        rows * (coder.code_bytes + coder.list_bytes + 28) + 2 * sample + lists * coder.kept * 8;
    let (needed, budget) = (bytes as u64, spec.memory_bytes_max);
    if needed <= budget { Ok(()) } else { Err(IndexError::BudgetTooSmall { needed, budget, rows }) }
}

/// Where the true neighbours of the queries lie.
struct Places {
    /// For each query, the place of the list of each of its neighbours in the order in which lists are probed.
    ranks: Vec<Vec<u32>>,
    /// For each query, how far away each neighbour is, and what its list looks like from the query.
    gaps: Vec<Vec<Gap>>,
    /// How far each query lies from the rows.
    oddness: Vec<f64>,
}

impl Places {
    fn of(index: &IvfIndex, list_of_row: &[u32], truth: &Truth) -> Self {
        let radii = index.lists.radii.as_slice();
        let mut places = Self { ranks: Vec::new(), gaps: Vec::new(), oddness: Vec::new() };
        for (query, neighbours) in truth.neighbours.iter().enumerate() {
            let asked = truth.query(query, index.coder.dimension);
            let Some(coded) = index.coder.list_query(asked) else {
                continue;
            };
            let mut view = vec![(0u32, f64::INFINITY); index.list_count()];
            let ranked = ranked_lists(index, &coded);
            places.oddness.push(index.oddness(&coded, &ranked));
            for (rank, ranked) in (0u32..).zip(ranked) {
                let gap = coded.gap(ranked.estimate);
                view[ranked.list as usize] = (rank, gap);
            }
            let list_of = |row: u32| list_of_row[row as usize] as usize;
            places.ranks.push(neighbours.iter().map(|&(_, row)| view[list_of(row)].0).collect());
            let gap = |&(distance, row): &(Distance, u32)| Gap {
                neighbour: coded.limit(distance),
                centroid: view[list_of(row)].1,
                radius: radii[list_of(row)].into(),
            };
            places.gaps.push(neighbours.iter().map(gap).collect());
        }
        places
    }

    /// What divides the queries by how far they lie from the rows into the shares that have curves of their own.
    fn edges(&self) -> Vec<f64> {
        let mut nearest = self.oddness.clone();
        nearest.sort_unstable_by(f64::total_cmp);
        let mut below = 0.0;
        let mut edges = Vec::with_capacity(SHARES.len());
        for share in SHARES {
            below += share * nearest.len() as f64;
            let place = (below.round() as usize).clamp(1, nearest.len().max(1)) - 1;
            edges.push(nearest.get(place).copied().unwrap_or(f64::MAX));
        }
        edges
    }

    /// Whether most neighbours lie in a small part of the lists.
    fn is_telling(&self, lists: usize) -> bool {
        let ranks = self.ranks.iter().flat_map(|ranks| ranks.iter().take(MEASURED_K));
        let near = ranks.clone().filter(|rank| (**rank as usize) < lists / 4).count();
        near * 10 >= ranks.count() * 9
    }

    /// The places of the neighbours of the queries of one share.
    fn ranks_within(&self, edges: &[f64], bin: usize) -> Vec<Vec<u32>> {
        let from = bin.checked_sub(1).map_or(f64::NEG_INFINITY, |before| edges[before]);
        let to = if bin + 1 == edges.len() { f64::INFINITY } else { edges[bin] };
        let queries = self.ranks.iter().zip(&self.oddness);
        queries
            .filter(|(_, nearest)| **nearest > from && **nearest <= to)
            .map(|(ranks, _)| ranks.clone())
            .collect()
    }

    /// What nearly all queries keep below.
    fn usual_oddness(&self) -> f64 {
        let mut nearest = self.oddness.clone();
        nearest.sort_unstable_by(f64::total_cmp);
        let place = (nearest.len() * 39 / 40).min(nearest.len().saturating_sub(1));
        nearest.get(place).copied().unwrap_or(f64::MAX)
    }
}

/// Measures the settings for every wish.
fn settle(
    spec: &IvfSpec,
    coder: Coder,
    filled: Filled,
    vectors: VectorView<'_>,
    measured: &Measured<'_>,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<IvfIndex, IndexError> {
    let truths = measured.truths;
    let Filled { sky_codes, lists, list_of_row, extremes } = filled;
    let mut index = IvfIndex {
        coder,
        sky_codes: Section::Owned(sky_codes),
        lists,
        extremes: Some(extremes),
        settings: Vec::new(),
        seed: spec.seed,
    };
    let share = truths.first().map_or(1.0, |truth| compared_share(&index, vectors, truth));
    if let Some(extremes) = &mut index.extremes {
        extremes.compared_share = share;
    }
    let placed = |truths: &[Truth]| -> Vec<Places> {
        truths.iter().map(|truth| Places::of(&index, &list_of_row, truth)).collect()
    };
    let (mut places, mut far) = (placed(truths), placed(measured.far));
    let of_strangers = placed(measured.strangers);
    // Queries that have no neighbourhood among the rows are no use to be tuned on, whatever was thought of them.
    let heeded =
        places.iter().filter(|places| places.is_telling(index.list_count())).count().max(1);
    let truths = &truths[..heeded.min(truths.len())];
    let measured = &Measured { truths, ..*measured };
    places.truncate(heeded);
    far.truncate(heeded);
    // Under the inner product they are negative.
    let usual = places.iter().map(Places::usual_oddness).reduce(f64::max);
    index.lists.usual_oddness = usual.unwrap_or(f64::MAX);
    let estimated = |truths: &[Truth]| -> Vec<Estimates> {
        let codes = index.sky_codes.as_slice();
        let of_codes = |truth| Estimates::of_codes(&index.coder, codes, truth, spec.threads);
        truths.iter().map(of_codes).collect()
    };
    let estimates = estimated(truths);
    let strange = Strange { places: of_strangers, estimates: estimated(measured.strangers) };
    progress("tune", 0, WISHES.len() as u64);
    let lists = index.list_count() as f64;
    for (done, wish) in WISHES.into_iter().enumerate() {
        for share in SHARES_OF_LOSS {
            let target = 1.0 - share * (1.0 - wish);
            let setting = setting(&index, measured, &places, &far, &estimates, wish, target);
            index.settings.push(setting);
            let (recall, reranked) = measure(&index, spec, vectors, truths, wish, false)?;
            let Some(setting) = index.settings.last_mut() else { continue };
            setting.recall = recall;
            setting.reranked = reranked;
            // Where half of all lists are probed, the vectors have no neighbourhoods to speak of: more tries gain little.
            let is_last = share == SHARES_OF_LOSS[SHARES_OF_LOSS.len() - 1]
                || setting.probes_expected(MEASURED_K as f64) * 2.0 >= lists;
            // For sure, not on average: the queries to come are others.
            if recall.lower >= 1.0 - SHARE_OF_LOSS_MEASURED * (1.0 - wish) || is_last {
                break;
            }
            index.settings.pop();
        }
        settle_far(&mut index, spec, vectors, measured, &strange, wish)?;
        progress("tune", done as u64 + 1, WISHES.len() as u64);
    }
    Ok(index)
}

/// Where the neighbours of queries like no row lie, and how near codes say that they are.
struct Strange {
    places: Vec<Places>,
    estimates: Vec<Estimates>,
}

/// Measures how the last setting searches for queries that are like no row.
fn settle_far(
    index: &mut IvfIndex,
    spec: &IvfSpec,
    vectors: VectorView<'_>,
    measured: &Measured<'_>,
    strange: &Strange,
    wish: f64,
) -> Result<(), IndexError> {
    let metric = index.coder.metric;
    let mut targets =
        SHARES_OF_LOSS.map(|share| (1.0 - share * (1.0 - wish)).min(TELLABLE)).to_vec();
    targets.dedup();
    // Where none is kept, lists reach as far as their farthest rows.
    for target in targets.into_iter().map(Some).chain([None]) {
        let Some(setting) = index.settings.last_mut() else { return Ok(()) };
        setting.far.reach = match target {
            Some(target) => {
                let places = strange.places.iter();
                let measured =
                    places.map(|places| Reach::measured(&places.gaps, measured.depths, target));
                Reach::widest(measured.chain([setting.reach_thinned]))
            }
            None => Reach::FARTHEST,
        };
        let of_strangers = target.unwrap_or(TELLABLE);
        let of_strangers = margin(metric, &strange.estimates, measured.strangers, of_strangers);
        setting.far.margin = of_strangers.max(setting.margin);
        let (recall, _) = measure(index, spec, vectors, measured.strangers, wish, true)?;
        let Some(setting) = index.settings.last_mut() else { return Ok(()) };
        setting.far.recall = recall;
        // In few dimensions none may be farther than the rows themselves.
        if recall.queries == 0 || recall.mean >= 1.0 || recall.reaches(wish) {
            break;
        }
    }
    Ok(())
}

/// The setting with which lists and codes each keep a target, on every kind of query.
fn setting(
    index: &IvfIndex,
    measured: &Measured<'_>,
    places: &[Places],
    far: &[Places],
    estimates: &[Estimates],
    wish: f64,
    target: f64,
) -> Setting {
    let (lists, rows) = (index.list_count(), index.row_count());
    let Measured { truths, depths, .. } = *measured;
    let edges = places.first().map(Places::edges).unwrap_or_default();
    let last = edges.len().saturating_sub(1);
    let curve = |bin: usize| {
        // Queries unlike any row end up in the last bin, which therefore has to hold more.
        let target = if bin == last { 1.0 - SHARE_OF_LOSS_FAR * (1.0 - target) } else { target };
        let ranks = places.iter().map(|places| places.ranks_within(&edges, bin));
        let measured: Vec<ProbeCurve> = ranks
            .filter(|ranks| !ranks.is_empty())
            .map(|ranks| ProbeCurve::measured(&ranks, depths, lists, rows, target))
            .collect();
        (edges[bin], ProbeCurve::widest(&measured))
    };
    let reach = |target| {
        let near_and_far = places.iter().chain(far);
        Reach::widest(near_and_far.map(|places| Reach::measured(&places.gaps, depths, target)))
    };
    let margin = margin(index.coder.metric, estimates, truths, target);
    let reach_thinned = reach(1.0 - SHARE_OF_LOSS_THINNED * (1.0 - wish));
    Setting {
        wish,
        curves: (0..edges.len()).map(curve).collect(),
        reach: reach(target),
        reach_thinned,
        far: Far::unmeasured(reach_thinned, margin),
        margin,
        reranked: 0.0,
        recall: Recall::UNKNOWN,
    }
}

/// The margin with which codes keep a target on every kind of query.
fn margin(metric: Metric, estimates: &[Estimates], truths: &[Truth], target: f64) -> f64 {
    let margins = estimates.iter().zip(truths).map(|(estimates, truth)| {
        let outcome = estimates.least_margin(truth, judged(metric), target);
        outcome.map_or(MARGIN_UNREACHED, |outcome| outcome.margin)
    });
    margins.fold(0.0, f64::max)
}

/// Carries the searches out, and returns the lowest recall of any kind of query, of those alone that are far from the rows where it is
/// said so, and the rows compared at full precision.
fn measure(
    index: &IvfIndex,
    spec: &IvfSpec,
    vectors: VectorView<'_>,
    truths: &[Truth],
    wish: f64,
    far_alone: bool,
) -> Result<(Recall, f64), IndexError> {
    let mut worst: Option<Recall> = None;
    let mut reranked_most = 0.0f64;
    for truth in truths {
        let answered = for_each_in_parallel(truth.len(), spec.threads, |place| {
            let own = truth.own_rows[place];
            let k = MEASURED_K + usize::from(own.is_some());
            let search = IvfSearch { recall: wish, ..IvfSearch::nearest(k) };
            let query = truth.query(place, index.coder.dimension);
            index.search(query, &vectors, &search).map(|mut answer| {
                answer.hits.retain(|&(_, row)| Some(row) != own);
                answer
            })
        });
        let answered = answered.into_iter().collect::<Result<Vec<_>, _>>()?;
        let reranked: u64 = answered.iter().map(|answer| answer.rows_reranked).sum();
        reranked_most = reranked_most.max(reranked as f64 / truth.len().max(1) as f64);
        for &depth in judged(index.coder.metric) {
            let mut meter = RecallMeter::default();
            let pairs = truth.neighbours.iter().zip(&answered);
            for (neighbours, answer) in pairs.filter(|(_, answer)| answer.is_far || !far_alone) {
                meter.compare(neighbours, &answer.hits, depth);
            }
            let Some(recall) = meter.recall() else { continue };
            if worst.is_none_or(|worst| recall.mean < worst.mean) {
                worst = Some(recall);
            }
        }
    }
    Ok((worst.unwrap_or(Recall::UNKNOWN), reranked_most))
}
