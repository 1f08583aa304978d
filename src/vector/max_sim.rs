//! Late interaction: how far a sequence of tokens is from another one.
//!
//! The cosine of every pair of tokens is needed, which is a product of two matrices. Tokens of the query lie in groups of
//! [`ROWS`] and tokens of the object in groups of [`LANES`], component by component, so that the sums of a pair of groups stay in
//! registers: every component of the object is loaded once for six multiplications, and nothing is added across lanes.
//!
//! # Reference
//! `MaxSim`: Khattab & Zaharia 2020, arXiv:2004.12832, section 3.3; here the mean over the query's tokens instead of the sum,
//! and of 1 - cos, so that smaller is nearer, as it is for every distance.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::kernel::norm;

/// Query tokens compared at once. Sums of six by sixteen fill twelve of the sixteen registers of AVX2.
const ROWS: usize = 6;

/// Object tokens compared at once.
const LANES: usize = 16;

/// The largest cosine of each query token of a group, by lanes.
type Best = [[f32; LANES]; ROWS];

/// Tokens that objects are compared with: of unit length, in the order in which they are multiplied.
#[derive(Debug, Clone)]
pub struct MaxSim {
    dimension: usize,
    count: usize,
    /// For each group of tokens, for each component, the components of the group's tokens.
    groups: Vec<[f32; ROWS]>,
}

/// Room that comparisons use again and again.
#[derive(Debug, Default)]
pub struct MaxSimRoom {
    halves: Vec<f16>,
    row: Vec<f32>,
    panels: Vec<[f32; LANES]>,
    best: Vec<Best>,
}

impl MaxSim {
    /// Takes the tokens of a query: states in half precision, little-endian, token by token. `None` when there is no
    /// token, or one of another width.
    pub fn new(dimension: usize, states: &[&[u8]]) -> Option<Self> {
        let mut room = MaxSimRoom::default();
        let mut groups = Vec::new();
        let count = pack(dimension, states, &mut room, &mut groups)?;
        Some(Self { dimension, count, groups })
    }

    /// Number of the query's tokens.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Components of a token.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The mean, over the query's tokens, of 1 - cos to the object's most similar token: from 0 to 2. A token without
    /// direction is like no other one (its cosines are 0). `None` when the object has no token, or one of another width.
    ///
    /// # Complexity
    /// Tokens of the query times tokens of the object times components, in multiplications.
    pub fn distance(&self, states: &[&[u8]], room: &mut MaxSimRoom) -> Option<f64> {
        let mut panels = std::mem::take(&mut room.panels);
        panels.clear();
        let packed = pack(self.dimension, states, room, &mut panels);
        room.best.clear();
        room.best.resize(self.count.div_ceil(ROWS), [[f32::NEG_INFINITY; LANES]; ROWS]);
        if packed.is_some() {
            for panel in panels.chunks_exact(self.dimension) {
                for (group, best) in self.groups.chunks_exact(self.dimension).zip(&mut room.best) {
                    raise(best, &products(group, panel));
                }
            }
        }
        room.panels = panels;
        packed?;
        let largest =
            |lanes: &[f32; LANES]| lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let cosines = room.best.iter().flatten().take(self.count).map(largest);
        let sum: f64 = cosines.map(|cosine| 1.0 - f64::from(cosine)).sum();
        Some(sum / self.count as f64)
    }
}

/// Inner products of a group of query tokens with a group of object tokens.
#[inline]
fn products(group: &[[f32; ROWS]], panel: &[[f32; LANES]]) -> Best {
    let mut sums = [[0.0_f32; LANES]; ROWS];
    for (query, object) in group.iter().zip(panel) {
        for row in 0..ROWS {
            for lane in 0..LANES {
                sums[row][lane] = query[row].mul_add(object[lane], sums[row][lane]);
            }
        }
    }
    sums
}

#[inline]
fn raise(best: &mut Best, found: &Best) {
    for (best, found) in best.iter_mut().flatten().zip(found.iter().flatten()) {
        *best = if *found > *best { *found } else { *best };
    }
}

/// Brings tokens to unit length and lays them out in groups of `N`; returns how many there are. The last group is filled
/// up with its first token, which changes no maximum.
fn pack<const N: usize>(
    dimension: usize,
    states: &[&[u8]],
    room: &mut MaxSimRoom,
    groups: &mut Vec<[f32; N]>,
) -> Option<usize> {
    let width = dimension * 2;
    if width == 0 || states.iter().any(|run| run.len() % width != 0) {
        return None;
    }
    let count: usize = states.iter().map(|run| run.len() / width).sum();
    if count == 0 {
        return None;
    }
    groups.resize(count.div_ceil(N) * dimension, [0.0; N]);
    let tokens = states.iter().flat_map(|run| run.chunks_exact(width));
    for (number, token) in tokens.enumerate() {
        unit(token, room);
        let start = number / N * dimension;
        let group = &mut groups[start..start + dimension];
        for (components, value) in group.iter_mut().zip(&room.row) {
            if number % N == 0 {
                *components = [*value; N];
            } else {
                components[number % N] = *value;
            }
        }
    }
    Some(count)
}

/// Reads a token and brings it to unit length; one without direction, or with components that are no finite numbers,
/// becomes zero.
fn unit(token: &[u8], room: &mut MaxSimRoom) {
    let halves = token.as_chunks::<2>().0.iter().map(|half| f16::from_le_bytes(*half));
    room.halves.clear();
    room.halves.extend(halves);
    room.row.resize(room.halves.len(), 0.0);
    room.halves.convert_to_f32_slice(&mut room.row);
    let length = norm(&room.row);
    let scale = if length > 0.0 && length.is_finite() { 1.0 / length } else { 0.0 };
    for value in &mut room.row {
        *value = if scale == 0.0 { 0.0 } else { (f64::from(*value) * scale) as f32 };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(tokens: &[Vec<f32>]) -> Vec<u8> {
        let values = tokens.iter().flatten();
        values.flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()
    }

    /// The definition in `f64`, token by token.
    fn reference(query: &[Vec<f32>], object: &[Vec<f32>]) -> f64 {
        let halved = |value: &f32| f16::from_f32(*value).to_f64();
        let cosine = |left: &Vec<f32>, right: &Vec<f32>| {
            let dot: f64 = left.iter().zip(right).map(|(a, b)| halved(a) * halved(b)).sum();
            let length = |token: &Vec<f32>| -> f64 {
                token.iter().map(|value| halved(value).powi(2)).sum::<f64>().sqrt()
            };
            let lengths = length(left) * length(right);
            if lengths == 0.0 { 0.0 } else { dot / lengths }
        };
        let nearest = |token: &Vec<f32>| {
            let cosines = object.iter().map(|other| cosine(token, other));
            1.0 - cosines.fold(f64::NEG_INFINITY, f64::max)
        };
        query.iter().map(nearest).sum::<f64>() / query.len() as f64
    }

    fn sequences() -> impl Strategy<Value = (usize, Vec<Vec<f32>>, Vec<Vec<f32>>)> {
        (1..40_usize).prop_flat_map(|dimension| {
            let component = prop_oneof![9 => -4.0_f32..4.0, 1 => Just(0.0)];
            let token = prop::collection::vec(component, dimension);
            let tokens = prop::collection::vec(token, 1..40);
            (Just(dimension), tokens.clone(), tokens)
        })
    }

    proptest! {
        #[test]
        fn it_is_the_mean_of_the_nearest((dimension, query, object) in sequences(), cut in any::<usize>()) {
            let (asked, stored) = (bytes(&query), bytes(&object));
            let cut = cut % (object.len() + 1) * dimension * 2;
            let max_sim = MaxSim::new(dimension, &[&asked]).expect("has tokens");
            let mut room = MaxSimRoom::default();
            let expected = reference(&query, &object);
            // The second time in used room, and in two runs.
            for runs in [[&stored[..], &[]], [&stored[..cut], &stored[cut..]]] {
                let found = max_sim.distance(&runs, &mut room).expect("has tokens");
                prop_assert!((found - expected).abs() < 2e-6, "{found} is not {expected}");
            }
        }

        #[test]
        fn lengths_do_not_matter_and_nothing_is_nearer_than_itself((dimension, query, object) in sequences()) {
            let longer: Vec<Vec<f32>> =
                object.iter().map(|token| token.iter().map(|value| 4.0 * value).collect()).collect();
            let max_sim = MaxSim::new(dimension, &[&bytes(&query)]).expect("has tokens");
            let mut room = MaxSimRoom::default();
            let near = max_sim.distance(&[&bytes(&object)], &mut room).expect("has tokens");
            let far = max_sim.distance(&[&bytes(&longer)], &mut room).expect("has tokens");
            prop_assert!((near - far).abs() < 1e-6);
            let itself = max_sim.distance(&[&bytes(&query)], &mut room).expect("has tokens");
            prop_assert!(itself <= near + 1e-6);
        }

        #[test]
        fn any_bytes_have_a_distance_or_none(asked in prop::collection::vec(any::<u8>(), 0..60), stored in prop::collection::vec(any::<u8>(), 0..60), dimension in 0..5_usize) {
            if let Some(max_sim) = MaxSim::new(dimension, &[&asked]) {
                let distance = max_sim.distance(&[&stored], &mut MaxSimRoom::default());
                prop_assert!(distance.is_none_or(|distance| (-1e-5..=2.00001).contains(&distance)));
            }
        }
    }

    #[test]
    fn other_widths_and_nothing_have_no_distance() {
        assert!(MaxSim::new(2, &[]).is_none() && MaxSim::new(0, &[&[0, 0]]).is_none());
        let max_sim = MaxSim::new(2, &[&bytes(&[vec![1.0, 0.0]])]).expect("has a token");
        let mut room = MaxSimRoom::default();
        assert_eq!(max_sim.distance(&[&[0, 0]], &mut room), None);
        assert_eq!(max_sim.distance(&[], &mut room), None);
        assert_eq!((max_sim.count(), max_sim.dimension()), (1, 2));
    }

    /// A sequence of the size of AION-1's tokens of a five-band image.
    #[test]
    fn a_sequence_of_a_network_takes_milliseconds() {
        let token = |number: usize| (0..768).map(|at| ((number * 768 + at) as f32).sin()).collect();
        let tokens: Vec<Vec<f32>> = (0..576).map(token).collect();
        let states = bytes(&tokens);
        let max_sim = MaxSim::new(768, &[&states]).expect("has tokens");
        let mut room = MaxSimRoom::default();
        let began = std::time::Instant::now();
        let rounds = 10;
        for _ in 0..rounds {
            let itself = max_sim.distance(&[&states], &mut room).expect("has tokens");
            assert!(itself.abs() < 1e-6, "{itself}");
        }
        let each = began.elapsed() / rounds;
        println!("{each:?} for 576 x 576 tokens of 768 components");
        assert!(each.as_millis() < 500, "{each:?}");
    }
}
