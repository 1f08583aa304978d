//! Where the two networks of a contrastive bridge begin: at the correlations of both spaces, of which the moments of the
//! pairs say everything, so that training only refines what a closed form knows already.

use super::cca::{self, Canonical};
use super::judge::{Judged, Judges};
use super::linear::scale_rows;
use super::map::{Activation, BridgeMap, Layer, SideMap, dot};
use super::moments::{self, Moments, Pairs};
use crate::learn::network::{HeadShape, NamedTensor, Scaling};
use crate::learn::{LearnError, Progress, Sampler};

/// Share of the mean variance that is added to the variance in every direction: that of a bridge by correlations.
const REGULARISATION: f64 = 1e-3;

/// Correlations are taken to lie between these, so that no component counts for nothing or for all.
const CORRELATION: (f64, f64) = (1e-4, 0.9999);

/// Components that no correlation fills begin random, with this share of a temperature as the square of their length: they
/// can learn, and change no similarity yet.
const FREE_SHARE: f64 = 0.1;

/// The stream of random numbers that these are of.
const STREAM: u64 = 0xbe91;

/// A beginning.
#[derive(Debug, Clone, PartialEq)]
pub struct Beginning {
    /// The closed form, learned from the pairs of all folds: what there is where training makes nothing better.
    pub map: BridgeMap,
    /// The closed form of the first fold.
    pub taught: BridgeMap,
    /// Tensors of both networks that compute it.
    pub towers: [Vec<NamedTensor>; 2],
    /// The temperature that suits it.
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

/// Finds where networks begin: of the ways to turn the correlations of the first fold into vectors the one by which most of the
/// judges, pairs that should be of another fold, find their own among them; of equal ones that of the least InfoNCE loss. Absent where a hidden layer is too narrow to hand
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
    let judges = Judges::read(pairs, judges)?;
    let mut best: Option<(Judged, Form, BridgeMap)> = None;
    for form in FORMS.into_iter().filter(|form| !form.flat || dimension > 1) {
        progress.step("choosing a beginning", 0, 0)?;
        let map = form.shaped(&taught, dimension)?;
        let judged = judges.judge(&map)?;
        if best.as_ref().is_none_or(|(best, ..)| judged.is_better(best)) {
            best = Some((judged, form, map));
        }
    }
    let Some((judged, form, taught)) = best else { return Ok(None) };
    let components = form.components(components, dimension);
    let filled = components + usize::from(form.flat);
    let mut random = Sampler::stream(towers.seed, STREAM);
    let mut tensors = |place: usize, side: &SideMap| {
        let plan = Plan {
            shape: towers.shapes[place],
            scaling: towers.scalings[place],
            components,
            filled,
            free: FREE_SHARE * judged.temperature,
        };
        plan.tensors(side, &mut random)
    };
    let towers = [tensors(0, &taught.from)?, tensors(1, &taught.to)?];
    let map = form.shaped(&of(&moments::together(&folds)?)?, dimension)?;
    Ok(Some(Beginning { map, taught, towers, temperature: judged.temperature }))
}

impl Form {
    /// Components that vary, of so many: the constant one takes one place.
    fn components(self, most: usize, dimension: usize) -> usize {
        most.min(dimension - usize::from(self.flat && dimension > 1))
    }

    /// Both sides as maps to vectors of unit length with so many components.
    fn shaped(self, found: &Canonical, dimension: usize) -> Result<BridgeMap, LearnError> {
        let weight = |correlation: &f64| {
            let (least, greatest) = CORRELATION;
            let r = correlation.clamp(least, greatest);
            if self.by_information { (r / (1.0 - r * r)).sqrt() } else { r }
        };
        let components = self.components(found.correlations.len(), dimension);
        let weights: Vec<f64> = found.correlations.iter().take(components).map(weight).collect();
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
    weights.truncate(by.len() * map.width);
    bias.truncate(by.len());
    scale_rows(&mut weights, map.width, by.iter().copied());
    scale_rows(&mut bias, 1, by.iter().copied());
    bias.extend(constant);
    bias.resize(dimension, 0.0);
    weights.resize(dimension * map.width, 0.0);
    let layers = vec![Layer::new(map.width, weights, bias, Activation::None)?];
    Ok(SideMap { width: map.width, unit_input: map.unit_input, layers, unit_output: true })
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

#[cfg(test)]
mod tests {
    use super::super::tests::{Normal, folds, linear, paired, pairs};
    use super::super::{Likeness, Measured, Measuring, Method, evaluate, fit, scaling, tower};
    use super::*;
    use crate::learn::network::{self, HeadOutput, HeadWeights};
    use crate::learn::{Features, Matrix};

    const FROM: usize = 9;
    const TO: usize = 6;

    /// Two views of four hidden numbers, each beside much that the other does not show.
    fn views(count: usize) -> Matrix {
        let mut normal = Normal(7);
        let zs = normal.many(count * 4);
        let mut view = |width: usize, mean: f64| {
            let mixing = normal.many(width * 4);
            let seen = linear(&mut normal, &zs, &mixing, &vec![mean; width], 4, 0.15);
            let along = normal.many(width);
            let rows = seen.chunks_exact(width).flat_map(|row| {
                let strength = 3.0 * normal.next();
                row.iter().zip(&along).map(move |(value, along)| value + strength * along)
            });
            rows.collect::<Vec<f64>>()
        };
        let (xs, ys) = (view(FROM, 4.0), view(TO, -1.0));
        paired(&xs, &ys, FROM, TO)
    }

    fn shape(input: usize, hidden: &[usize], dimension: usize) -> HeadShape {
        HeadShape {
            input,
            attention: None,
            hidden: hidden.to_vec(),
            activation: network::Activation::Relu,
            output: HeadOutput::Embedding(dimension),
        }
    }

    fn begun(
        pairs: &Pairs<'_>,
        judges: &[u32],
        shapes: [&HeadShape; 2],
    ) -> (Option<Beginning>, [Scaling; 2]) {
        let scalings = scaling(pairs, Progress::silent()).expect("objects");
        let towers = Towers { shapes, scalings: scalings.each_ref(), seed: 5 };
        let found = begin(pairs, judges, &towers, 2, Progress::silent()).expect("found");
        (found, scalings)
    }

    #[test]
    fn networks_begin_as_the_closed_form_whatever_their_layers() {
        let matrix = views(600);
        // All are of one fold: both closed forms are the same.
        let folds = vec![0; 600];
        let pairs = pairs(&matrix, FROM, &folds);
        let judges: Vec<u32> = (0..300).collect();
        let mut rows = Vec::new();
        matrix.read(&judges, &mut rows).expect("rows");
        let wide = [&[][..], &[12], &[20, 14], &[33, 12, 40]];
        for (hidden, dimension) in wide.into_iter().flat_map(|hidden| [(hidden, 7), (hidden, 40)]) {
            for activation in [network::Activation::Relu, network::Activation::Gelu] {
                let of = |input| HeadShape { activation, ..shape(input, hidden, dimension) };
                let shapes = [of(FROM), of(TO)];
                let (found, scalings) = begun(&pairs, &judges, shapes.each_ref());
                let found = found.expect("wide enough");
                assert!((1e-5..=1.0).contains(&found.temperature));
                let sides = [&found.map.from, &found.map.to];
                let inputs: [Vec<f64>; 2] = [0..FROM, FROM..FROM + TO].map(|part| {
                    rows.chunks_exact(FROM + TO)
                        .flat_map(|row| row[part.clone()].to_vec())
                        .collect()
                });
                for (place, side) in sides.into_iter().enumerate() {
                    let head = HeadWeights {
                        shape: shapes[place].clone(),
                        inputs: Some(scalings[place].clone()),
                        targets: None,
                        members: vec![found.towers[place].clone()],
                    };
                    let network = tower(&head, false).expect("a tower");
                    let (ours, theirs) =
                        (network.apply(&inputs[place]), side.apply(&inputs[place]));
                    let (ours, theirs) = (ours.expect("fits"), theirs.expect("fits"));
                    let worst = ours.chunks_exact(dimension).zip(theirs.chunks_exact(dimension));
                    let worst = worst.map(|(a, b)| 1.0 - dot(a, b)).fold(0.0, f64::max);
                    // What is free is small against what the temperature tells apart.
                    let allowed = if dimension == 7 { 1e-9 } else { 5.0 * found.temperature };
                    assert!(worst < allowed, "{hidden:?} {dimension}: {worst} of {allowed}");
                    assert!(dimension == 7 || worst > 0.0, "free components can learn");
                }
            }
        }
        let narrow = [shape(FROM, &[8, 1], 7), shape(TO, &[8, 1], 7)];
        assert_eq!(begun(&pairs, &judges, narrow.each_ref()).0, None);
    }

    #[test]
    fn the_beginning_finds_more_than_correlations_alone() {
        let matrix = views(3_000);
        // The last fold of those that teach judges.
        let judged = |fold| match fold {
            0..=3 => 0,
            4 => 1,
            held => held,
        };
        let split: Vec<u8> = folds(3_000).into_iter().map(judged).collect();
        let pairs = pairs(&matrix, FROM, &split);
        let judges: Vec<u32> =
            (0..).zip(&split).filter(|(_, fold)| **fold == 1).map(|(place, _)| place).collect();
        let measuring = Measuring {
            from: Likeness::Euclidean,
            to: Likeness::Euclidean,
            across: Likeness::Cosine,
            resamples: 20,
            seed: 1,
            threads: 2,
        };
        let recall = |map: &BridgeMap| {
            let measured = evaluate(&pairs, map, &measuring, Progress::silent()).expect("measured");
            let of = |name| {
                measured.iter().find(|each: &&Measured| each.name == name).expect(name).value
            };
            of("recall@1") + of("recall_back@1")
        };
        // Where one component cannot be spared for being the same, little is won.
        for (dimension, more) in [(7, 0.2), (6, 0.2), (3, -0.05)] {
            let shapes = [shape(FROM, &[], dimension), shape(TO, &[], dimension)];
            let ours = recall(&begun(&pairs, &judges, shapes.each_ref()).0.expect("found").map);
            let components = dimension.min(TO);
            let cca = Method::Cca { components, regularisation: 1e-3, power: 1.0 };
            let cca = recall(&fit(&pairs, &cca, 2, Progress::silent()).expect("fitted").map);
            assert!(ours > cca + more, "{dimension}: {ours}, and {cca} by correlations alone");
        }
    }
}
