//! Where the two networks of a contrastive bridge begin: at the correlations of both spaces, of which the moments of the
//! pairs say everything, so that training only refines what a closed form knows already.

use super::cca::{self, Canonical};
use super::linear::{product_nt, scale_rows};
use super::map::{Activation, BridgeMap, Layer, SideMap, dot};
use super::moments::{self, Moments, Pairs};
use crate::learn::network::{HeadShape, NamedTensor, Scaling};
use crate::learn::{LearnError, Progress, Sampler};

/// Share of the mean variance that is added to the variance in every direction: that of a bridge by correlations.
const REGULARISATION: f64 = 1e-3;

/// Correlations are taken to lie between these, so that no component counts for nothing or for all.
const CORRELATION: (f64, f64) = (1e-4, 0.9999);

/// Temperatures that are tried: these powers of ten. Finer similarities are lost in single precision.
const COLDEST: f64 = -4.75;
const TEMPERATURES: u32 = 20;

/// Pairs that judge, at most: their similarities are as many as their square.
const JUDGES_MAX: usize = 512;

/// Components that no correlation fills begin random, with this share of a temperature as the square of their length: they
/// can learn, and change no similarity yet.
const FREE_SHARE: f64 = 0.1;

/// A beginning.
#[derive(Debug, Clone, PartialEq)]
pub struct Beginning {
    /// The closed form, learned from the pairs of all folds: what there is where training makes nothing better.
    pub map: BridgeMap,
    /// Tensors of both networks that compute the closed form of the first fold.
    pub towers: [Vec<NamedTensor>; 2],
    /// The temperature that suits it best.
    pub temperature: f64,
}

/// What is wanted of the networks.
#[derive(Debug, Clone, Copy)]
pub struct Towers<'a> {
    /// Sizes of both networks, without attention, which differ in what they read only.
    pub shapes: [&'a HeadShape; 2],
    /// How their inputs are scaled.
    pub scalings: [&'a Scaling; 2],
    /// Of whatever is random.
    pub seed: u64,
}

/// How correlated components become vectors that are compared by their cosine.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Form {
    /// Each counts by `sqrt(r / (1 - r^2))` with its correlation `r`, and not by `r`: cosines are then, up to the lengths, the
    /// logarithms of how much more probable two vectors are together than apart if all is Gaussian, which is what InfoNCE
    /// looks for (Poole et al. 2019, arXiv:1905.06922).
    by_information: bool,
    /// One more component is the same for all: on a small part of the sphere angles are distances.
    flat: bool,
}

const FORMS: [Form; 3] = [
    Form { by_information: true, flat: true },
    Form { by_information: true, flat: false },
    Form { by_information: false, flat: false },
];

/// Finds where networks begin: of the ways to turn the correlations of the first fold into vectors the one that makes the
/// InfoNCE loss of the judges, pairs that should be of another fold, least. Absent where a hidden layer is too narrow to hand
/// anything on.
///
/// # Errors
/// Those of [`fit`](super::fit) by correlations.
pub fn begin(
    pairs: &Pairs<'_>,
    judges: &[u32],
    towers: &Towers<'_>,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Option<Beginning>, LearnError> {
    let [shape, _] = towers.shapes;
    let dimension = shape.output.raw_width();
    let most = pairs.from_width.min(pairs.target_width()).min(dimension);
    // A hidden layer hands a number on as its positive and its negative part.
    let components = shape.hidden.iter().fold(most, |most, width| most.min(width / 2));
    if components == 0 {
        return Ok(None);
    }
    let folds = moments::gather(pairs, threads, progress)?;
    progress.step("solving", 0, 1)?;
    let of = |moments: &Moments| {
        let settings = cca::Settings { components, regularisation: REGULARISATION, power: 0.0 };
        cca::fit(pairs, moments, &settings)
    };
    let taught = of(&moments::together(folds.get(..1).unwrap_or(&[]))?)?;
    let mut rows = Vec::new();
    pairs.features.read(judges.get(..JUDGES_MAX).unwrap_or(judges), &mut rows)?;
    pairs.prepare(&mut rows);
    let mut best: Option<(f64, f64, Form, BridgeMap)> = None;
    for form in FORMS.into_iter().filter(|form| !form.flat || components < dimension) {
        progress.step("choosing a beginning", 0, 0)?;
        let map = form.shaped(&taught, dimension)?;
        let (loss, temperature) = judge(pairs, &map, &rows)?;
        if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
            best = Some((loss, temperature, form, map));
        }
    }
    let Some((_, temperature, form, map)) = best else { return Ok(None) };
    let filled = components + usize::from(form.flat);
    let mut random = Sampler::stream(towers.seed, 0xbe91);
    let mut tensors = |place: usize, side: &SideMap| {
        let plan = Plan {
            shape: towers.shapes[place],
            scaling: towers.scalings[place],
            components,
            filled,
            free: FREE_SHARE * temperature,
        };
        plan.tensors(side, &mut random)
    };
    let towers = [tensors(0, &map.from)?, tensors(1, &map.to)?];
    let map = form.shaped(&of(&moments::together(&folds)?)?, dimension)?;
    Ok(Some(Beginning { map, towers, temperature }))
}

impl Form {
    /// Both sides as maps to vectors of unit length with so many components.
    fn shaped(self, found: &Canonical, dimension: usize) -> Result<BridgeMap, LearnError> {
        let weight = |correlation: &f64| {
            let (least, greatest) = CORRELATION;
            let r = correlation.clamp(least, greatest);
            if self.by_information { (r / (1.0 - r * r)).sqrt() } else { r }
        };
        let weights: Vec<f64> = found.correlations.iter().map(weight).collect();
        // Every component has the variance one: this is the mean square of a vector's length.
        let square = dot(&weights, &weights);
        let (all, constant) =
            if self.flat { (2.0 * square, Some(square.sqrt())) } else { (square, None) };
        let by: Vec<f64> = weights.iter().map(|weight| weight / all.sqrt()).collect();
        let constant = constant.map(|constant| constant / all.sqrt());
        Ok(BridgeMap {
            from: side(&found.map.from, &by, constant, dimension)?,
            to: side(&found.map.to, &by, constant, dimension)?,
        })
    }
}

/// The rows of an affine map times their weights, a component that is constant, and zeros.
fn side(
    map: &SideMap,
    by: &[f64],
    constant: Option<f64>,
    dimension: usize,
) -> Result<SideMap, LearnError> {
    let (mut weights, mut bias) = map
        .layers
        .first()
        .map_or_else(Default::default, |layer| (layer.weights.clone(), layer.bias.clone()));
    scale_rows(&mut weights, map.width, by.iter().copied());
    scale_rows(&mut bias, 1, by.iter().copied());
    bias.extend(constant);
    bias.resize(dimension, 0.0);
    weights.resize(dimension * map.width, 0.0);
    let layers = vec![Layer::new(map.width, weights, bias, Activation::None)?];
    Ok(SideMap { width: map.width, unit_input: map.unit_input, layers, unit_output: true })
}

/// The InfoNCE loss of pairs that are prepared, at the temperature that makes it least.
fn judge(pairs: &Pairs<'_>, map: &BridgeMap, rows: &[f64]) -> Result<(f64, f64), LearnError> {
    let (mut from, mut to) = (Vec::new(), Vec::new());
    for row in rows.chunks_exact(pairs.features.width()) {
        let (x, y) = row.split_at(pairs.from_width);
        from.extend_from_slice(x);
        to.extend_from_slice(y);
    }
    let (from, to) = (map.from.apply(&from)?, map.to.apply(&to)?);
    let cosines = product_nt(&from, &to, map.to.outputs())?;
    let back = product_nt(&to, &from, map.to.outputs())?;
    let mut best = (f64::INFINITY, 1.0);
    for step in 0..TEMPERATURES {
        let temperature = 10.0_f64.powf(COLDEST + 0.25 * f64::from(step));
        let loss = info_nce(&cosines, temperature) + info_nce(&back, temperature);
        if loss < best.0 {
            best = (loss, temperature);
        }
    }
    Ok(best)
}

/// The mean over the rows of a square matrix of how improbable the number on the diagonal is.
fn info_nce(cosines: &[f64], temperature: f64) -> f64 {
    let count = cosines.len().isqrt();
    let of_row = |(place, row): (usize, &[f64])| {
        let own = row.get(place).copied().unwrap_or(0.0);
        let most = row.iter().copied().fold(own, f64::max);
        let sum: f64 = row.iter().map(|other| ((other - most) / temperature).exp()).sum();
        (most - own) / temperature + sum.ln()
    };
    let sum: f64 = cosines.chunks_exact(count.max(1)).enumerate().map(of_row).sum();
    sum / count.max(1) as f64
}

/// How one network is made to compute an affine map.
struct Plan<'a> {
    shape: &'a HeadShape,
    scaling: &'a Scaling,
    /// Rows of the map that vary.
    components: usize,
    /// Rows of the map that are not zero.
    filled: usize,
    /// Square of the length of the components that the map leaves free, about.
    free: f64,
}

impl Plan<'_> {
    /// The tensors, in the order of [`HeadShape::tensors`].
    fn tensors(
        &self,
        side: &SideMap,
        random: &mut Sampler,
    ) -> Result<Vec<NamedTensor>, LearnError> {
        let not_affine = || LearnError::NoResult {
            what: "the beginning of a network",
            hint: "its closed form is not one affine map".to_owned(),
        };
        let layer = side.layers.first().ok_or_else(not_affine)?;
        let (weights, bias) = unscaled(layer, self.scaling);
        let mut values: Vec<Vec<f64>> = Vec::new();
        let mut inputs = side.width;
        for (number, width) in self.shape.hidden.iter().enumerate() {
            let bound = 1.0 / (inputs as f64).sqrt();
            let mut layer = uniform(width * inputs, bound, random);
            let mut offsets = uniform(*width, bound, random);
            if number == 0 {
                self.split(&mut layer, &weights, inputs);
                self.split(&mut offsets, &bias, 1);
            } else {
                let through = self.through(2 * self.components, inputs, &[1.0, -1.0]);
                layer[..through.len()].copy_from_slice(&through);
                offsets[..2 * self.components].fill(0.0);
            }
            values.extend([layer, offsets]);
            inputs = *width;
        }
        let (mut last, mut offsets) = (weights, bias);
        if !self.shape.hidden.is_empty() {
            last = self.through(self.components, inputs, &[1.0]);
            last.resize(self.shape.output.raw_width() * inputs, 0.0);
            offsets[..self.components].fill(0.0);
        }
        let free = offsets.len().saturating_sub(self.filled);
        if free > 0 {
            // Of uniform numbers, whose variance is a third of the square of their bound.
            let bound = (3.0 * self.free / (free * inputs) as f64).sqrt();
            let from = self.filled * inputs;
            last.truncate(from);
            last.extend(uniform(free * inputs, bound, random));
        }
        values.extend([last, offsets]);
        let named = self.shape.tensors().into_iter().zip(values);
        let single = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
        Ok(named
            .map(|((name, shape), values)| NamedTensor { name, shape, values: single(values) })
            .collect())
    }

    /// Puts each row of the map and its negative among the first rows of a layer.
    fn split(&self, layer: &mut [f64], map: &[f64], width: usize) {
        let part = self.components * width;
        layer[..part].copy_from_slice(&map[..part]);
        for (value, of_map) in layer[part..2 * part].iter_mut().zip(map) {
            *value = -of_map;
        }
    }

    /// Rows that put positive and negative parts of numbers together again, `a(z) - a(-z) = z` for the activations that there
    /// are, with each of the signs.
    fn through(&self, rows: usize, inputs: usize, signs: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; rows * inputs];
        for (place, row) in out.chunks_exact_mut(inputs).enumerate() {
            let component = place % self.components;
            let sign = signs.get(place / self.components).copied().unwrap_or(1.0);
            row[component] = sign;
            row[self.components + component] = -sign;
        }
        out
    }
}

/// `W x + b` for inputs `(x - mean) / scale`.
fn unscaled(layer: &Layer, scaling: &Scaling) -> (Vec<f64>, Vec<f64>) {
    let (mut weights, mut bias) = (layer.weights.clone(), layer.bias.clone());
    for (row, bias) in weights.chunks_exact_mut(layer.inputs.max(1)).zip(&mut bias) {
        for ((weight, mean), scale) in row.iter_mut().zip(&scaling.mean).zip(&scaling.scale) {
            *bias += *weight * f64::from(*mean);
            *weight *= f64::from(*scale);
        }
    }
    (weights, bias)
}

/// Numbers between `-bound` and `bound`.
fn uniform(count: usize, bound: f64, random: &mut Sampler) -> Vec<f64> {
    let unit = |random: &mut Sampler| (random.bits() >> 11) as f64 / (1_u64 << 53) as f64;
    (0..count).map(|_| (2.0 * unit(random) - 1.0) * bound).collect()
}
