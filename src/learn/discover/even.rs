//! Vectors of any length made even, so that none is extreme: for heads whose scores would otherwise grow with the length.

/// Makes the median absolute deviation of a Gaussian equal to its standard deviation.
const MAD_FACTOR: f64 = 1.4826;

/// Deviations beyond which a component counts as one of so many.
const CLIP: f64 = 5.0;

/// Share of a sample whose vectors keep their length; longer ones are shortened to that of the last of these.
const KEPT: f64 = 0.95;

/// Moves every component by its median, divides it by its spread, both of a sample and both blind to a few extreme values,
/// and bounds first each component and then the length.
///
/// What comes out is no longer than most of the sample, so that a linear function of it is bounded: an outlier looks like an
/// ordinary vector of its direction, and is not the first by being the farthest.
#[derive(Debug, Clone, PartialEq)]
pub struct Even {
    centre: Vec<f64>,
    scale: Vec<f64>,
    reach: f64,
}

impl Even {
    /// Of a sample of vectors, row-major; `None` where there are none.
    pub fn of(sample: &[f32], width: usize) -> Option<Self> {
        let count = sample.len().checked_div(width)?;
        if count == 0 {
            return None;
        }
        let (mut centre, mut scale) = (Vec::with_capacity(width), Vec::with_capacity(width));
        let mut column = vec![0.0; count];
        for place in 0..width {
            let values = sample.iter().skip(place).step_by(width);
            column.iter_mut().zip(values).for_each(|(to, value)| *to = f64::from(*value));
            let middle = median(&mut column);
            column.iter_mut().for_each(|value| *value = (*value - middle).abs());
            let spread = MAD_FACTOR * median(&mut column);
            // More than half are the same: what the others say must do.
            let mean = column.iter().sum::<f64>() / count as f64;
            let spread = if spread > 0.0 { spread } else { mean };
            centre.push(middle);
            scale.push(if spread > 0.0 && spread.is_finite() { spread } else { 1.0 });
        }
        let mut even = Self { centre, scale, reach: f64::INFINITY };
        let mut lengths: Vec<f64> =
            sample.chunks_exact(width).map(|vector| even.length(vector)).collect();
        let last = ((count as f64 * KEPT) as usize).min(count - 1);
        let (_, reach, _) = lengths.select_nth_unstable_by(last, f64::total_cmp);
        even.reach = if *reach > 0.0 { *reach } else { 1.0 };
        Some(even)
    }

    fn moved<'a>(&'a self, vector: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
        let units = self.centre.iter().zip(&self.scale);
        let moved = |(value, (centre, scale)): (&f32, (&f64, &f64))| {
            ((f64::from(*value) - centre) / scale).clamp(-CLIP, CLIP)
        };
        vector.iter().zip(units).map(moved)
    }

    fn length(&self, vector: &[f32]) -> f64 {
        self.moved(vector).map(|value| value * value).sum::<f64>().sqrt()
    }

    fn shortened(&self, length: f64) -> f64 {
        if length > self.reach { self.reach / length } else { 1.0 }
    }

    /// Appends the vector as it is made even.
    pub fn apply(&self, vector: &[f32], into: &mut Vec<f64>) {
        let factor = self.shortened(self.length(vector));
        into.extend(self.moved(vector).map(|value| factor * value));
    }

    /// The product of weights with the vector as it is made even.
    pub fn dot(&self, weights: &[f64], vector: &[f32]) -> f64 {
        let (mut product, mut square) = (0.0, 0.0);
        for (value, weight) in self.moved(vector).zip(weights) {
            product += weight * value;
            square += value * value;
        }
        product * self.shortened(square.sqrt())
    }
}

/// The upper median, by moving the values around.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64) -> f32 {
        let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) as f64 / u64::MAX as f64 * 2.0 - 1.0) as f32
    }

    #[test]
    fn extreme_vectors_neither_matter_for_the_rest_nor_stand_out() {
        const WIDTH: usize = 6;
        let component = |at: usize| noise(at as u64) * (1 + at % WIDTH) as f32 + 10.0;
        let plain: Vec<f32> = (0..1_000 * WIDTH).map(component).collect();
        let even = Even::of(&plain, WIDTH).expect("a sample");
        let mut spoilt = plain.clone();
        spoilt[..30 * WIDTH].iter_mut().for_each(|value| *value *= 1e6);
        let beside = Even::of(&spoilt, WIDTH).expect("a sample");
        for place in 0..WIDTH {
            assert!((even.centre[place] / beside.centre[place] - 1.0).abs() < 0.1);
            assert!((even.scale[place] / beside.scale[place] - 1.0).abs() < 0.1);
        }
        assert!((even.reach / beside.reach - 1.0).abs() < 0.2, "{} {}", even.reach, beside.reach);
        for vector in spoilt.chunks_exact(WIDTH) {
            let mut made = Vec::new();
            beside.apply(vector, &mut made);
            let length = made.iter().map(|value| value * value).sum::<f64>().sqrt();
            assert!(length <= beside.reach * (1.0 + 1e-12), "{length}");
            let weights = [1.0, -2.0, 0.5, 0.0, 3.0, 1.5];
            let product: f64 = made.iter().zip(weights).map(|(value, weight)| value * weight).sum();
            assert!((beside.dot(&weights, vector) - product).abs() < 1e-9);
        }
    }

    #[test]
    fn components_that_hardly_vary_do_no_harm() {
        let sample: Vec<f32> = (0..100).flat_map(|row| [7.0, f32::from(row % 50 == 0)]).collect();
        let even = Even::of(&sample, 2).expect("a sample");
        let mut made = Vec::new();
        even.apply(&[7.0, 1.0], &mut made);
        even.apply(&[7.0, 0.0], &mut made);
        even.apply(&[f32::MAX, f32::MAX], &mut made);
        assert!(made.iter().all(|value| value.is_finite()), "{made:?}");
        assert_eq!(made[0], 0.0);
        assert!(Even::of(&[], 3).is_none() && Even::of(&[], 0).is_none());
        let alike = Even::of(&[1.0, 2.0, 1.0, 2.0], 2).expect("a sample");
        assert_eq!(alike.dot(&[1.0, 1.0], &[1.0, 2.0]), 0.0);
    }
}
