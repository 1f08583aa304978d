//! Adam with decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019).

use tch::{TchError, Tensor};

/// Memory of the mean and of the mean square of a gradient, and what keeps its division finite.
const BETA: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

/// Learns parameters from their gradients.
pub(super) struct Adam {
    parameters: Vec<Learned>,
    weight_decay: f64,
    steps: i32,
}

struct Learned {
    value: Tensor,
    decays: bool,
    mean: Tensor,
    square: Tensor,
}

impl Adam {
    /// Takes parameters, and whether each of them decays.
    pub(super) fn new(
        parameters: Vec<(Tensor, bool)>,
        weight_decay: f64,
    ) -> Result<Self, TchError> {
        let learned = |(value, decays): (Tensor, bool)| {
            let (mean, square) =
                (value.f_detach()?.f_zeros_like()?, value.f_detach()?.f_zeros_like()?);
            Ok::<_, TchError>(Learned { value, decays, mean, square })
        };
        let parameters = parameters.into_iter().map(learned).collect::<Result<_, _>>()?;
        Ok(Self { parameters, weight_decay, steps: 0 })
    }

    /// One step down the gradient of a loss.
    pub(super) fn step(&mut self, loss: &Tensor, learning_rate: f64) -> Result<(), TchError> {
        for parameter in &self.parameters {
            let mut gradient = parameter.value.f_grad()?;
            if gradient.defined() {
                let _zero = gradient.f_detach_()?.f_zero_()?;
            }
        }
        loss.f_backward()?;
        self.steps = self.steps.saturating_add(1);
        let (first, second) = BETA;
        let corrections = (1.0 - first.powi(self.steps), 1.0 - second.powi(self.steps));
        let weight_decay = self.weight_decay * learning_rate;
        tch::no_grad(|| {
            for Learned { value, decays, mean, square } in &mut self.parameters {
                let gradient = value.f_grad()?;
                if !gradient.defined() {
                    continue;
                }
                if *decays && weight_decay > 0.0 {
                    let _decayed = value.f_mul_scalar_(1.0 - weight_decay)?;
                }
                let _moved = mean.f_lerp_(&gradient, 1.0 - first)?;
                let share = gradient.f_mul_scalar(1.0 - second)?;
                let _moved = square.f_mul_scalar_(second)?.f_addcmul_(&share, &gradient)?;
                let root = square.f_div_scalar(corrections.1)?.f_sqrt()?.f_add_scalar(EPSILON)?;
                let step = mean.f_mul_scalar(-learning_rate / corrections.0)?;
                let _moved = value.f_addcdiv_(&step, &root)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_of_the_textbook() {
        // A weight that decays and a bias that does not, pulled towards 3 and towards -1.
        let begin = |value: f32| Tensor::from_slice(&[value]).set_requires_grad(true);
        let (weight, bias) = (begin(0.5), begin(2.0));
        let pairs = vec![(weight.shallow_clone(), true), (bias.shallow_clone(), false)];
        let mut adam = Adam::new(pairs, 0.1).expect("begins");
        let mut expected = [0.5_f64, 2.0];
        let mut moments = [(0.0, 0.0); 2];
        for step in 1..=20 {
            let loss = ((&weight - 3.0).square() + (&bias + 1.0).square() * 2.0).sum(None);
            adam.step(&loss, 0.05).expect("steps");
            let gradients = [2.0 * (expected[0] - 3.0), 4.0 * (expected[1] + 1.0)];
            expected[0] *= 1.0 - 0.05 * 0.1;
            for ((value, (mean, square)), gradient) in
                expected.iter_mut().zip(&mut moments).zip(gradients)
            {
                *mean = 0.9 * *mean + 0.1 * gradient;
                *square = 0.999 * *square + 0.001 * gradient * gradient;
                let mean = *mean / (1.0 - 0.9_f64.powi(step));
                let square: f64 = *square / (1.0 - 0.999_f64.powi(step));
                *value -= 0.05 * mean / (square.sqrt() + 1e-8);
            }
        }
        for (value, expected) in [&weight, &bias].into_iter().zip(expected) {
            let value = value.double_value(&[0]);
            assert!((value - expected).abs() < 1e-5, "{value} {expected}");
        }
    }
}
