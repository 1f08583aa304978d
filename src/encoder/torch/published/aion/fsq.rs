//! Finite scalar quantisation (Mentzer et al. 2023, arXiv:2309.15505): a few numbers, each rounded to a few levels.

use tch::{Device, Kind, TchError, Tensor};

use super::super::super::weights::{Weights, WeightsError};

/// By how much the outermost levels are wider than they need to be.
const SLACK: f64 = 1e-3;

/// The levels of each number, and how they make one code.
pub(super) struct Fsq {
    /// All of channels x 1.
    half: Tensor,
    offset: Tensor,
    shift: Tensor,
    /// Levels below the middle one.
    middle: Tensor,
    basis: Tensor,
}

impl Fsq {
    /// Takes `_quantizer.levels`, which must be those of the configuration.
    pub(super) fn load(
        weights: &mut Weights<'_>,
        levels: &[i64],
        device: Device,
    ) -> Result<Self, WeightsError> {
        let name = "_quantizer.levels";
        let found = weights.take_integers(name, levels.len())?;
        if found != levels {
            let reason = format!("the levels are {levels:?}, but `{name}` holds {found:?}");
            return Err(WeightsError::BadConfig { reason });
        }
        // Codes are computed in single precision, which holds so many whole numbers.
        let codes = levels.iter().try_fold(1i64, |codes, &count| codes.checked_mul(count));
        if levels.iter().any(|&count| count < 2) || codes.is_none_or(|codes| codes > 1 << 24) {
            let reason =
                "every number needs two levels or more, all together 2^24 codes at most".to_owned();
            return Err(WeightsError::BadConfig { reason });
        }
        Self::new(levels, device)
            .map_err(|source| WeightsError::Torch { name: name.to_owned(), source })
    }

    fn new(levels: &[i64], device: Device) -> Result<Self, TchError> {
        let column = |values: Vec<f32>| -> Result<Tensor, TchError> {
            Tensor::f_from_slice(&values)?.f_unsqueeze(1)?.f_to_device(device)
        };
        let of =
            |make: &dyn Fn(i64) -> f64| levels.iter().map(|&count| make(count) as f32).collect();
        let half = |count: i64| (count - 1) as f64 * (1.0 + SLACK) / 2.0;
        let offset = |count: i64| if count % 2 == 1 { 0.0 } else { 0.5 };
        let mut basis = Vec::with_capacity(levels.len());
        levels.iter().fold(1, |product, count| {
            basis.push(product as f32);
            product * count
        });
        Ok(Self {
            half: column(of(&half))?,
            offset: column(of(&offset))?,
            shift: column(of(&|count| (offset(count) / half(count)).atanh()))?,
            middle: column(of(&|count| (count / 2) as f64))?,
            basis: column(basis)?,
        })
    }

    /// Rounded numbers between -1 and 1, and codes.
    ///
    /// # Shape
    /// rows x channels x places; the same, and rows x places of integers.
    pub(super) fn forward(&self, latent: &Tensor) -> Result<(Tensor, Tensor), TchError> {
        let bounded =
            latent.f_add(&self.shift)?.f_tanh()?.f_mul(&self.half)?.f_sub(&self.offset)?;
        let rounded = bounded.f_round()?;
        let levels = rounded.f_add(&self.middle)?.f_mul(&self.basis)?;
        let codes = levels.f_sum_dim_intlist(1, false, Kind::Float)?.f_to_kind(Kind::Int)?;
        Ok((rounded.f_div(&self.middle)?, codes))
    }
}
