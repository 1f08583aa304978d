//! Choosing the codes, and coding every row.

use std::sync::OnceLock;

use super::super::section::Section;
use super::certain::{self, Extremes, Lengths};
use super::coder::{Coder, SKY_STEP, code_bytes, list_bytes};
use super::neighbours::judged;
use super::parallel::in_parallel;
use super::tune::{Estimates, Truth};
use super::{IvfSpec, Lists};
use crate::index::IndexError;
use crate::index::faiss::{self, PrincipalAxes};
use crate::index::random::stratified_rows;
use crate::vector::{CODE_BYTES_MAX, CONSTANT_BYTES, Metric, VectorView};

/// Lengths of codes that are tried, shortest first, where they do not hold all components.
const CODE_BYTES: [usize; 10] = [32, 64, 96, 128, 192, 256, 384, 512, 768, 1024];

/// Rows of the sample that the axes are found in: several for each dimension, within reason.
const AXES_SAMPLE_MIN: usize = 16_384;
const AXES_SAMPLE_PER_DIMENSION: usize = 48;

/// Queries and neighbours that codes are tried on.
const TRIED_QUERIES: usize = 128;
const TRIED_NEIGHBOURS: usize = 400;

/// Rows that a search is taken to look at by their codes when lengths of codes are weighed against each other.
const USUAL_ROWS: f64 = 6_000.0;

/// Nanoseconds for a byte of a code that is scanned, for a row, for a byte of a vector that is compared, and for going there:
/// enough to weigh codes against each other. Plans are weighed by what is measured on the machine.
const CODE_BYTE_NS: f64 = 0.06;
const ROW_NS: f64 = 1.0;
const VECTOR_BYTE_NS: f64 = 0.08;
const VECTOR_NS: f64 = 80.0;

/// Recall that a code has to allow by itself.
const CODE_RECALL: f64 = 0.997;

/// Rows coded between two reports of progress.
const BLOCK_ROWS: usize = 65_536;

/// Principal axes of the vectors and how far they reach along each.
pub(super) struct Shape {
    found: PrincipalAxes,
    /// Least and greatest component of the sample on each axis.
    low: Vec<f32>,
    high: Vec<f32>,
    /// Mean square of the sample's components on each axis.
    power: Vec<f64>,
    /// Mean square of the sample's lengths.
    total_power: f64,
}

/// Finds the axes in a sample.
pub(super) fn shape(spec: &IvfSpec, vectors: VectorView<'_>) -> Result<Shape, IndexError> {
    let dimension = vectors.dimension();
    let wanted = AXES_SAMPLE_MIN
        .max(AXES_SAMPLE_PER_DIMENSION * dimension)
        .min(spec.train_sample_max)
        .min(vectors.count());
    let sample = sampled(vectors, wanted, spec.seed);
    let view = part(dimension, &sample)?;
    let kept = dimension.min(CODE_BYTES_MAX - CONSTANT_BYTES);
    // Fewer vectors than dimensions span no axes: the components are as good as any.
    let found = if view.count() >= dimension {
        faiss::principal_axes(view, kept, spec.threads)?
    } else {
        plain_axes(view, kept)
    };
    let mut shape = Shape::unknown(found, kept);
    let coder = shape.coder(Metric::L2, dimension, CODE_BYTES_MAX);
    let step = view.count().div_ceil(AXES_SAMPLE_MIN).max(1);
    let looked_at: Vec<&[f32]> = view.as_slice().chunks_exact(dimension).step_by(step).collect();
    let share = looked_at.len().div_ceil(spec.threads.max(1)).max(1);
    let weight = 1.0 / looked_at.len().max(1) as f64;
    for part in in_parallel(looked_at.chunks(share), |part| Extent::of(&coder, kept, part)) {
        shape.widen(&part, weight);
    }
    Ok(shape)
}

/// How far some vectors reach along the axes.
struct Extent {
    low: Vec<f32>,
    high: Vec<f32>,
    /// Sums of squares: on each axis, and of the lengths.
    squares: Vec<f64>,
    length_squares: f64,
}

impl Extent {
    fn of(coder: &Coder, kept: usize, vectors: &[&[f32]]) -> Self {
        let mut extent = Self {
            low: vec![f32::INFINITY; kept],
            high: vec![f32::NEG_INFINITY; kept],
            squares: vec![0.0; kept],
            length_squares: 0.0,
        };
        let (mut centred, mut rotated) = (Vec::new(), Vec::new());
        for vector in vectors {
            coder.rotate(vector, &mut centred, &mut rotated);
            for (axis, &value) in rotated.iter().enumerate() {
                extent.low[axis] = extent.low[axis].min(value);
                extent.high[axis] = extent.high[axis].max(value);
                extent.squares[axis] += f64::from(value).powi(2);
            }
            extent.length_squares += crate::vector::norm(&centred).powi(2);
        }
        extent
    }
}

/// The mean and the axes of the components themselves.
fn plain_axes(sample: VectorView<'_>, kept: usize) -> PrincipalAxes {
    let dimension = sample.dimension();
    let axes = (0..kept * dimension)
        .map(|place| if place / dimension == place % dimension { 1.0 } else { 0.0 })
        .collect();
    PrincipalAxes { mean: mean(dimension, sample.as_slice()), axes }
}

/// The mean of vectors that lie one after the other.
pub(super) fn mean(dimension: usize, vectors: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0f64; dimension];
    for vector in vectors.chunks_exact(dimension) {
        sums.iter_mut().zip(vector).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let count = (vectors.len() / dimension).max(1) as f64;
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

impl Shape {
    /// Axes along which nothing was looked at yet.
    fn unknown(found: PrincipalAxes, kept: usize) -> Self {
        let (low, high) = (vec![f32::INFINITY; kept], vec![f32::NEG_INFINITY; kept]);
        Self { low, high, power: vec![0.0; kept], total_power: 0.0, found }
    }

    /// Takes in what a part of the sample reaches; `weight` is one over all that are looked at.
    fn widen(&mut self, extent: &Extent, weight: f64) {
        for (low, other) in self.low.iter_mut().zip(&extent.low) {
            *low = low.min(*other);
        }
        for (high, other) in self.high.iter_mut().zip(&extent.high) {
            *high = high.max(*other);
        }
        for (power, squares) in self.power.iter_mut().zip(&extent.squares) {
            *power += squares * weight;
        }
        self.total_power += extent.length_squares * weight;
    }

    /// A coder with codes of so many bytes at most.
    fn coder(&self, metric: Metric, dimension: usize, bytes: usize) -> Coder {
        let kept = (bytes - CONSTANT_BYTES).min(self.power.len());
        let axes = self.found.axes[..kept * dimension].to_vec();
        let steps = self.low.iter().zip(&self.high).take(kept).map(|(low, high)| {
            let width = high - low;
            // Rows beyond the sample reach a little farther than it; all alike still need a step.
            if width > 0.0 && width.is_finite() { 1.05 * width / 255.0 } else { f32::MIN_POSITIVE }
        });
        let step: Vec<f32> = steps.collect();
        let low = self.low.iter().zip(&self.high).take(kept).map(|(low, high)| {
            let width = high - low;
            if width.is_finite() { low - 0.025 * width } else { 0.0 }
        });
        let kept_power: f64 = self.power.iter().take(kept).sum();
        let axes_left = (dimension - kept).max(1) as f64;
        let left_out = ((self.total_power - kept_power).max(0.0) / axes_left).sqrt();
        Coder {
            metric,
            dimension,
            kept,
            code_bytes: code_bytes(kept),
            list_bytes: list_bytes(kept),
            mean: Section::Owned(self.found.mean.clone()),
            axes: Section::Owned(axes),
            low: Section::Owned(low.collect()),
            step: Section::Owned(step),
            left_out,
        }
    }

    /// Chooses the length of the codes by what it costs to reach a recall on true neighbours, or takes the one wished.
    pub(super) fn choose(
        &self,
        spec: &IvfSpec,
        metric: Metric,
        vectors: VectorView<'_>,
        truth: &Truth,
    ) -> Result<Coder, IndexError> {
        let dimension = vectors.dimension();
        let longest = code_bytes(self.power.len()).min(CODE_BYTES_MAX);
        if let Some(bytes) = spec.code_bytes {
            let fits = bytes.is_multiple_of(SKY_STEP) && (1..=CODE_BYTES_MAX).contains(&bytes);
            return if fits {
                Ok(self.coder(metric, dimension, bytes))
            } else {
                Err(IndexError::BadCode { bytes, bytes_max: CODE_BYTES_MAX })
            };
        }
        let tried = truth.first(TRIED_QUERIES, dimension);
        let mut best: Option<(f64, Coder)> = None;
        let shorter = CODE_BYTES.into_iter().filter(|&bytes| bytes < longest);
        for bytes in shorter.chain([longest]) {
            let coder = self.coder(metric, dimension, bytes);
            let scanning = USUAL_ROWS * (ROW_NS + coder.list_bytes as f64 * CODE_BYTE_NS);
            if best.as_ref().is_some_and(|(cost, _)| *cost <= scanning) {
                break;
            }
            let estimates =
                Estimates::of_vectors(&coder, vectors, &tried, TRIED_NEIGHBOURS, spec.threads);
            let Some(outcome) = estimates.least_margin(&tried, judged(metric), CODE_RECALL) else {
                continue;
            };
            let comparing =
                outcome.reranked * (VECTOR_NS + (dimension * 4) as f64 * VECTOR_BYTE_NS);
            let cost = scanning + comparing;
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, coder));
            }
        }
        Ok(best.map_or_else(|| self.coder(metric, dimension, longest), |(_, coder)| coder))
    }
}

impl Truth {
    /// The first so many queries.
    fn first(&self, count: usize, dimension: usize) -> Self {
        let count = count.min(self.len());
        Self {
            queries: self.queries[..count * dimension].to_vec(),
            own_rows: self.own_rows[..count].to_vec(),
            neighbours: self.neighbours[..count].to_vec(),
        }
    }
}

/// Trains centroids on the kept axes of a sample.
pub(super) fn centroids(
    spec: &IvfSpec,
    coder: &Coder,
    vectors: VectorView<'_>,
    lists: usize,
    points_per_list: usize,
    passes: i32,
) -> Result<Vec<f32>, IndexError> {
    let wanted = (lists * points_per_list).min(spec.train_sample_max).min(vectors.count());
    let rows = stratified_rows(vectors.count(), wanted, spec.seed ^ 1);
    let share = rows.len().div_ceil(spec.threads.max(1)).max(1);
    let rotated: Vec<f32> = in_parallel(rows.chunks(share), |rows| {
        let (mut centred, mut rotated, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for vector in rows.iter().filter_map(|&row| vectors.row(row)) {
            coder.rotate(vector, &mut centred, &mut rotated);
            all.extend_from_slice(&rotated);
        }
        all
    })
    .concat();
    faiss::train_centroids(part(coder.kept, &rotated)?, lists, passes, spec.seed, spec.threads)
}

/// Codes along the sky, and lists.
pub(super) struct Filled {
    pub(super) sky_codes: Vec<u8>,
    pub(super) lists: Lists,
    pub(super) list_of_row: Vec<u32>,
    pub(super) extremes: Extremes,
}

/// What a thread makes of its rows.
struct Coded {
    codes: Vec<u8>,
    rotated: Vec<f32>,
    /// Squared length of what the kept axes leave out of each row.
    left_squares: Vec<f32>,
    lengths: Vec<Lengths>,
}

/// Codes every row and puts it into its list.
pub(super) fn fill(
    spec: &IvfSpec,
    coder: &Coder,
    vectors: VectorView<'_>,
    centroids: &[f32],
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Filled, IndexError> {
    let total = vectors.count();
    let centres = part(coder.kept, centroids)?;
    let mut sky_codes = Vec::with_capacity(total * coder.code_bytes);
    let mut list_of_row: Vec<u32> = Vec::with_capacity(total);
    let mut squares = vec![(0.0f64, 0u32); centres.count()];
    let skew = certain::skew(coder);
    let mut lengths: Vec<Lengths> = Vec::with_capacity(total);
    progress("encode", 0, total as u64);
    for start in (0..total).step_by(BLOCK_ROWS) {
        let rows: Vec<usize> = (start..(start + BLOCK_ROWS).min(total)).collect();
        let share = rows.len().div_ceil(spec.threads.max(1));
        let coded = in_parallel(rows.chunks(share), |rows| code_rows(coder, skew, vectors, rows));
        let rotated: Vec<f32> =
            coded.iter().flat_map(|coded| coded.rotated.iter().copied()).collect();
        let lists = faiss::assign(part(coder.kept, &rotated)?, centres, spec.threads)?;
        let left = coded.iter().flat_map(|coded| &coded.left_squares);
        for ((row, &list), left) in rotated.chunks_exact(coder.kept).zip(&lists).zip(left) {
            let Some(centre) = centres.row(list as usize) else { continue };
            let square = crate::vector::l2_squared(row, centre) + left;
            let sum = &mut squares[list as usize];
            *sum = (sum.0 + f64::from(square), sum.1 + 1);
        }
        coded.iter().for_each(|coded| sky_codes.extend_from_slice(&coded.codes));
        coded.iter().for_each(|coded| lengths.extend_from_slice(&coded.lengths));
        list_of_row.extend(lists);
        progress("encode", list_of_row.len() as u64, total as u64);
    }
    let lists = into_lists(coder, centres, &sky_codes, &list_of_row, &squares);
    let extremes = Extremes::of(skew, &lengths);
    Ok(Filled { sky_codes, lists, list_of_row, extremes })
}

fn code_rows(coder: &Coder, skew: f64, vectors: VectorView<'_>, rows: &[usize]) -> Coded {
    let mut coded = Coded {
        codes: Vec::with_capacity(rows.len() * coder.code_bytes),
        rotated: Vec::with_capacity(rows.len() * coder.kept),
        left_squares: Vec::with_capacity(rows.len()),
        lengths: Vec::with_capacity(rows.len()),
    };
    let (mut centred, mut rotated) = (Vec::new(), Vec::new());
    for vector in rows.iter().filter_map(|&row| vectors.row(row)) {
        coder.rotate(vector, &mut centred, &mut rotated);
        let start = coded.codes.len();
        coder.encode(coder.constant(vector, &centred), &rotated, &mut coded.codes);
        let code = &coded.codes[start..];
        coded.lengths.push(certain::lengths(coder, skew, &centred, &rotated, code));
        let left = crate::vector::dot(&centred, &centred) - crate::vector::dot(&rotated, &rotated);
        coded.left_squares.push(left.max(0.0));
        coded.rotated.extend_from_slice(&rotated);
    }
    coded
}

fn into_lists(
    coder: &Coder,
    centres: VectorView<'_>,
    sky_codes: &[u8],
    list_of_row: &[u32],
    squares: &[(f64, u32)],
) -> Lists {
    let mut starts = vec![0u32; centres.count() + 1];
    for (list, (_, count)) in squares.iter().enumerate() {
        starts[list + 1] = starts[list] + count;
    }
    let mut next = starts.clone();
    let mut rows = vec![0u32; list_of_row.len()];
    // Rows are met along the sky, so each list comes out in that order, too.
    for (row, &list) in list_of_row.iter().enumerate() {
        rows[next[list as usize] as usize] = row as u32;
        next[list as usize] += 1;
    }
    let mut codes = Vec::with_capacity(rows.len() * coder.list_bytes);
    for &row in &rows {
        let start = row as usize * coder.code_bytes;
        codes.extend_from_slice(&sky_codes[start..start + coder.list_bytes]);
    }
    let mut centroids = Vec::with_capacity(centres.count() * coder.list_bytes);
    let mut code = Vec::new();
    for centre in centres.as_slice().chunks_exact(coder.kept) {
        code.clear();
        coder.encode(coder.centroid_constant(centre), centre, &mut code);
        centroids.extend_from_slice(&code[..coder.list_bytes]);
    }
    let radius = |&(sum, count): &(f64, u32)| (sum / f64::from(count.max(1))).sqrt() as f32;
    Lists {
        centroids: Section::Owned(centroids),
        radii: Section::Owned(squares.iter().map(radius).collect()),
        starts: Section::Owned(starts),
        rows: Section::Owned(rows),
        codes: Section::Owned(codes),
        usual_oddness: f64::INFINITY,
        lengths: OnceLock::new(),
    }
}

/// Some of the rows, one after the other.
pub(super) fn sampled(vectors: VectorView<'_>, wanted: usize, seed: u64) -> Vec<f32> {
    let rows = stratified_rows(vectors.count(), wanted, seed);
    let mut sample = Vec::with_capacity(rows.len() * vectors.dimension());
    for vector in rows.into_iter().filter_map(|row| vectors.row(row)) {
        sample.extend_from_slice(vector);
    }
    sample
}

pub(super) fn part(dimension: usize, values: &[f32]) -> Result<VectorView<'_>, IndexError> {
    VectorView::new(dimension, values).map_err(|_| IndexError::WrongDimension {
        what: "a part of the vectors",
        expected: dimension,
        given: values.len(),
    })
}
