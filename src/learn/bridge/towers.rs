//! Pairs of small networks as bridges.

use super::map::{Activation, Layer, SideMap};
use super::moments::{Pairs, UNUSED};
use crate::learn::network::{self, HeadOutput, HeadWeights, Scaling};
use crate::learn::{LearnError, Progress};

/// The mean and the standard deviation of each component over the training objects, of FROM and of TO: networks learn from
/// numbers of the order of one. Components that do not vary are left as they are.
///
/// # Errors
/// [`LearnError::Shape`]; [`LearnError::TooFew`]; [`LearnError::Unreadable`]; [`LearnError::Stopped`].
pub fn scaling(pairs: &Pairs<'_>, progress: Progress<'_>) -> Result<[Scaling; 2], LearnError> {
    pairs.check()?;
    let width = pairs.features.width();
    let total = pairs.features.count() as u64;
    let (mut count, mut mean, mut spread) = (0.0, vec![0.0; width], vec![0.0; width]);
    pairs.features.pass(&mut |first, block| {
        progress.step("measuring the spread", first as u64, total)?;
        let mut block = block.to_vec();
        pairs.prepare(&mut block);
        for (place, row) in block.chunks_exact(width).enumerate() {
            if pairs.folds.get(first + place).is_none_or(|fold| *fold >= UNUSED) {
                continue;
            }
            // Welford 1962, Technometrics 4, 419.
            count += 1.0;
            for ((value, mean), spread) in row.iter().zip(&mut mean).zip(&mut spread) {
                let from_old: f64 = value - *mean;
                *mean += from_old / count;
                *spread += from_old * (value - *mean);
            }
        }
        Ok(())
    })?;
    if count < 2.0 {
        let what = "objects with a vector in both spaces to learn from";
        return Err(LearnError::TooFew { what, given: count as usize, needed: 2 });
    }
    let single = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<f32>>();
    let scale: Vec<f64> = spread
        .iter()
        .map(|spread| (spread / count).sqrt())
        .map(|deviation| if deviation as f32 > 0.0 { deviation } else { 1.0 })
        .collect();
    let side = |range: std::ops::Range<usize>| Scaling {
        mean: single(&mean[range.clone()]),
        scale: single(&scale[range]),
    };
    Ok([side(0..pairs.from_width), side(pairs.from_width..width)])
}

/// What a trained tower makes of vectors, the scaling of its inputs folded into the first layer.
///
/// # Errors
/// Those of [`HeadWeights::check`]; [`LearnError::BadSetting`] for a head that is no tower on vectors.
pub fn tower(head: &HeadWeights, unit_input: bool) -> Result<SideMap, LearnError> {
    head.check()?;
    let ([tensors], HeadOutput::Embedding(_), None) =
        (head.members.as_slice(), head.shape.output, head.shape.attention)
    else {
        return Err(LearnError::BadSetting {
            what: "a side of the bridge",
            value: format!("{:?}", head.shape.output),
            hint: "it is one network that makes a vector of a vector",
        });
    };
    let (pairs, _) = tensors.as_chunks::<2>();
    let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<f64>>();
    let mut layers = Vec::with_capacity(pairs.len());
    for (place, [weight, bias]) in pairs.iter().enumerate() {
        let (mut weights, mut bias) = (wide(&weight.values), wide(&bias.values));
        let inputs = weights.len() / bias.len().max(1);
        if let Some(scaling) = head.inputs.as_ref().filter(|_| place == 0) {
            fold(&mut weights, &mut bias, scaling);
        }
        let activation = match head.shape.activation {
            _ if place + 1 == pairs.len() => Activation::None,
            network::Activation::Relu => Activation::Relu,
            network::Activation::Gelu => Activation::Gelu,
        };
        layers.push(Layer::new(inputs, weights, bias, activation)?);
    }
    let side = SideMap { width: head.shape.input, unit_input, layers, unit_output: true };
    side.check()?;
    Ok(side)
}

/// `W (x - mean) / scale + b = (W / scale) x + (b - W mean / scale)`.
fn fold(weights: &mut [f64], bias: &mut [f64], scaling: &Scaling) {
    for (row, bias) in weights.chunks_exact_mut(scaling.mean.len().max(1)).zip(bias) {
        for ((weight, mean), scale) in row.iter_mut().zip(&scaling.mean).zip(&scaling.scale) {
            *weight /= f64::from(*scale);
            *bias -= *weight * f64::from(*mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::{HeadInputs, HeadShape, Matrix, NamedTensor, NetworkHead};

    fn head(hidden: Vec<usize>) -> HeadWeights {
        let shape = HeadShape {
            input: 3,
            attention: None,
            hidden,
            activation: network::Activation::Gelu,
            output: HeadOutput::Embedding(2),
        };
        let mut number = 0_u32;
        let tensors = shape.tensors().into_iter().map(|(name, shape)| {
            let values = (0..shape.iter().product::<usize>()).map(|_| {
                number += 1;
                (number as f32 * 0.7).sin()
            });
            NamedTensor { name, values: values.collect(), shape }
        });
        let members = vec![tensors.collect()];
        let inputs = Some(Scaling { mean: vec![0.5, -1.0, 2.0], scale: vec![2.0, 0.25, 1.0] });
        HeadWeights { shape, inputs, targets: None, members }
    }

    #[test]
    fn a_tower_maps_as_the_head_does() {
        let rows = [0.3, -0.2, 1.5, 4.0, 0.0, -1.0];
        for hidden in [vec![], vec![4], vec![5, 3]] {
            let head = head(hidden);
            let wanted = NetworkHead::new(&head).expect("a head");
            let wanted = wanted.apply(HeadInputs::Rows(&rows)).expect("rows fit");
            let mapped = tower(&head, false).expect("a tower").apply(&rows).expect("rows fit");
            let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-6;
            assert!(mapped.iter().zip(&wanted).all(near), "{mapped:?} {wanted:?}");
        }
        let mut other = head(vec![]);
        other.shape.output = HeadOutput::Values(2);
        assert!(tower(&other, false).is_err());
    }

    #[test]
    fn the_spread_is_that_of_the_training_objects() {
        let rows = vec![1.0, 10.0, 7.0, 3.0, 10.0, 9.0, 100.0, 100.0, 100.0];
        let matrix = Matrix::new(3, rows).expect("rows");
        let pairs = Pairs {
            features: &matrix,
            from_width: 2,
            from_unit: false,
            to_unit: false,
            folds: &[0, 0, UNUSED],
        };
        let [from, to] = scaling(&pairs, Progress::silent()).expect("two objects");
        assert_eq!((from.mean, from.scale), (vec![2.0, 10.0], vec![1.0, 1.0]));
        assert_eq!((to.mean, to.scale), (vec![8.0], vec![1.0]));
    }
}
