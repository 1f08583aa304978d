//! What a training makes small.

use sidereus::encoder::TrainTask;
use sidereus::learn::HeadOutput;
use tch::{Kind, TchError, Tensor};

use super::inputs::Wanted;

/// Half of the logarithm of 2 pi.
const HALF_LOG_TAU: f64 = 0.918_938_533_204_672_7;

/// The loss of each example of a head, from what its last layer gave.
///
/// # Shape
/// `raw`: examples x raw width; the result: examples.
pub(super) fn of_head(task: &TrainTask, raw: &Tensor, wanted: &Wanted) -> Result<Tensor, TchError> {
    let absent = || TchError::Shape("there is nothing to be learned".to_owned());
    let sum = |values: Tensor| values.f_sum_dim_intlist(-1, false, Kind::Float);
    match task {
        TrainTask::Regression { .. } => {
            let difference = raw.f_sub(wanted.targets.as_ref().ok_or_else(absent)?)?;
            difference.f_square()?.f_mean_dim(-1, false, Kind::Float)
        }
        TrainTask::Classes { .. } => {
            let classes = wanted.classes.as_ref().ok_or_else(absent)?.f_unsqueeze(1)?;
            let logarithms = raw.f_log_softmax(-1, Kind::Float)?;
            logarithms.f_gather(1, &classes, false)?.f_squeeze_dim(1)?.f_neg()
        }
        TrainTask::Fractions { .. } => {
            let fractions = wanted.targets.as_ref().ok_or_else(absent)?;
            sum(raw.f_log_softmax(-1, Kind::Float)?.f_mul(fractions)?)?.f_neg()
        }
        TrainTask::Density { components } => {
            let targets = wanted.targets.as_ref().ok_or_else(absent)?;
            density(raw, targets, *components as i64)
        }
        TrainTask::Contrastive { .. } => Err(absent()),
    }
}

/// Negative logarithm of a mixture of Gaussians.
fn density(raw: &Tensor, targets: &Tensor, components: i64) -> Result<Tensor, TchError> {
    let part = |number: i64| raw.f_narrow(1, number * components, components);
    let (lowest, highest) = HeadOutput::LOG_SIGMA;
    let log_sigma = part(2)?.f_clamp(lowest, highest)?;
    let z = targets.f_sub(&part(1)?)?.f_mul(&log_sigma.f_neg()?.f_exp()?)?;
    let gaussians =
        z.f_square()?.f_mul_scalar(-0.5)?.f_sub(&log_sigma)?.f_sub_scalar(HALF_LOG_TAU)?;
    part(0)?.f_log_softmax(-1, Kind::Float)?.f_add(&gaussians)?.f_logsumexp([1_i64], false)?.f_neg()
}

/// Vectors of unit length.
pub(super) fn unit(raw: &Tensor) -> Result<Tensor, TchError> {
    let length = raw.f_square()?.f_sum_dim_intlist(-1, true, Kind::Float)?.f_sqrt()?;
    raw.f_div(&length.f_clamp_min(1e-12)?)
}

/// InfoNCE of two towers, the mean of both directions: each vector is to be more similar to its own than to the others'.
///
/// # Shape
/// `first`, `second`: examples x dimension, of unit length; `log_scale`: one number, minus the logarithm of the temperature;
/// the result: examples.
pub(super) fn of_towers(
    first: &Tensor,
    second: &Tensor,
    log_scale: &Tensor,
) -> Result<Tensor, TchError> {
    let logits = first.f_matmul(&second.f_transpose(0, 1)?)?.f_mul(&log_scale.f_exp()?)?;
    let own = |logits: &Tensor| logits.f_log_softmax(-1, Kind::Float)?.f_diagonal(0, 0, 1);
    own(&logits)?.f_add(&own(&logits.f_transpose(0, 1)?)?)?.f_mul_scalar(-0.5)
}
