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
            Ok(Learned { value, decays, mean, square })
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
