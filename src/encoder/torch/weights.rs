//! Strict reading of a weights file: every tensor that the network wants, and none beside.

use std::collections::BTreeSet;

use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};
use thiserror::Error;

/// Why a weights file does not fit the network.
#[derive(Debug, Error)]
pub(crate) enum WeightsError {
    /// A tensor that the network wants.
    #[error("tensor `{name}` is missing")]
    Missing {
        /// Its key.
        name: String,
    },
    /// Tensors that the network does not know.
    #[error("the network has no tensor `{name}` ({count} unknown tensors)")]
    Unknown {
        /// The first key.
        name: String,
        /// How many there are.
        count: usize,
    },
    /// A tensor of another type or shape.
    #[error("tensor `{name}` is {found}, expected F32 {expected:?}")]
    Misshapen {
        /// Its key.
        name: String,
        /// Type and shape in the file.
        found: String,
        /// The shape that the network wants.
        expected: Vec<i64>,
    },
    /// A list of integers of another type or length.
    #[error("tensor `{name}` is {found}, expected I32 [{count}]")]
    NotIntegers {
        /// Its key.
        name: String,
        /// Type and shape in the file.
        found: String,
        /// The length that the network wants.
        count: usize,
    },
    /// A NaN or infinity among the weights.
    #[error("tensor `{name}` holds a number that is not finite")]
    NotFinite {
        /// Its key.
        name: String,
    },
    /// A description without the sizes of its network.
    #[error("model.toml has no [config] with the sizes of the network")]
    NoConfig,
    /// Sizes that make no network, or one that is not known.
    #[error("config: {reason}")]
    BadConfig {
        /// What is wrong.
        reason: String,
    },
    /// libtorch failed.
    #[error("tensor `{name}`: {source}")]
    Torch {
        /// Key of the tensor.
        name: String,
        /// What it said.
        source: tch::TchError,
    },
}

/// The tensors of a file that have not been taken yet.
pub(crate) struct Weights<'data> {
    file: &'data SafeTensors<'data>,
    left: BTreeSet<String>,
    device: Device,
    kind: Kind,
}

impl<'data> Weights<'data> {
    /// Begins with all tensors of the file; they will be put on `device`.
    pub(crate) fn new(file: &'data SafeTensors<'data>, device: Device) -> Self {
        let left = file.names().into_iter().map(str::to_owned).collect();
        Self { file, left, device, kind: Kind::Float }
    }

    /// Numbers are handed out in this precision; files hold single precision all the same.
    pub(crate) fn in_precision(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// Strikes off tensors that something else reads (and checks).
    pub(crate) fn skip(&mut self, names: &[&str]) {
        for name in names {
            self.left.remove(*name);
        }
    }

    /// Strikes off all tensors of which a rule says that the network does not need them.
    pub(crate) fn skip_all(&mut self, is_unused: impl Fn(&str) -> bool) {
        self.left.retain(|name| !is_unused(name));
    }

    /// Whether the file has a tensor.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_ok()
    }

    /// Whether the file has a tensor whose name begins so.
    pub(crate) fn has_any(&self, beginning: &str) -> bool {
        self.file.names().iter().any(|name| name.starts_with(beginning))
    }

    /// Takes a list of so many integers.
    pub(crate) fn take_integers(
        &mut self,
        name: &str,
        count: usize,
    ) -> Result<Vec<i64>, WeightsError> {
        let view =
            self.file.tensor(name).map_err(|_| WeightsError::Missing { name: name.to_owned() })?;
        if view.dtype() != Dtype::I32 || view.shape() != [count] {
            return Err(WeightsError::NotIntegers {
                name: name.to_owned(),
                found: format!("{:?} {:?}", view.dtype(), view.shape()),
                count,
            });
        }
        self.left.remove(name);
        let (numbers, _) = view.data().as_chunks::<4>();
        Ok(numbers.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect())
    }

    /// The precision that numbers are handed out in.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Takes a tensor of exactly this shape, in the precision that was asked for.
    pub(crate) fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, WeightsError> {
        let kind = self.kind;
        self.take_single(name, shape)?
            .f_to_kind(kind)
            .map_err(|source| WeightsError::Torch { name: name.to_owned(), source })
    }

    /// Takes a tensor of exactly this shape in single precision, as the file has it.
    pub(crate) fn take_single(
        &mut self,
        name: &str,
        shape: &[i64],
    ) -> Result<Tensor, WeightsError> {
        let view =
            self.file.tensor(name).map_err(|_| WeightsError::Missing { name: name.to_owned() })?;
        let fits = view
            .shape()
            .iter()
            .map(|size| i64::try_from(*size).ok())
            .eq(shape.iter().copied().map(Some));
        if view.dtype() != Dtype::F32 || !fits {
            return Err(WeightsError::Misshapen {
                name: name.to_owned(),
                found: format!("{:?} {:?}", view.dtype(), view.shape()),
                expected: shape.to_vec(),
            });
        }
        let (numbers, _) = view.data().as_chunks::<4>();
        if numbers.iter().any(|bytes| !f32::from_le_bytes(*bytes).is_finite()) {
            return Err(WeightsError::NotFinite { name: name.to_owned() });
        }
        self.left.remove(name);
        Tensor::f_from_data_size(view.data(), shape, Kind::Float)
            .and_then(|tensor| tensor.f_to_device(self.device))
            .map_err(|source| WeightsError::Torch { name: name.to_owned(), source })
    }

    /// Takes `<prefix>.weight` of this shape and `<prefix>.bias` of that shape.
    pub(crate) fn take_pair(
        &mut self,
        prefix: &str,
        weight: &[i64],
        bias: &[i64],
    ) -> Result<(Tensor, Tensor), WeightsError> {
        Ok((
            self.take(&format!("{prefix}.weight"), weight)?,
            self.take(&format!("{prefix}.bias"), bias)?,
        ))
    }

    /// Ends the reading; a tensor that nobody took is an error.
    pub(crate) fn finish(self) -> Result<(), WeightsError> {
        let count = self.left.len();
        self.left
            .into_iter()
            .next()
            .map_or(Ok(()), |name| Err(WeightsError::Unknown { name, count }))
    }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{TensorView, serialize};

    use super::*;

    fn file(tensors: &[(&str, Dtype, Vec<usize>, Vec<f32>)]) -> Vec<u8> {
        let data: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(.., values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
            .collect();
        let views = tensors.iter().zip(&data).map(|((name, dtype, shape, _), bytes)| {
            (*name, TensorView::new(*dtype, shape.clone(), bytes).expect("a tensor"))
        });
        serialize(views, None).expect("a file")
    }

    #[test]
    fn a_tensor_that_fits_is_taken_with_its_values() {
        let bytes = file(&[
            ("a.weight", Dtype::F32, vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]),
            ("a.bias", Dtype::F32, vec![2], vec![5.0, 6.0]),
        ]);
        let parsed = SafeTensors::deserialize(&bytes).expect("parses");
        let mut weights = Weights::new(&parsed, Device::Cpu);
        let (weight, bias) = weights.take_pair("a", &[2, 2], &[2]).expect("fits");
        assert_eq!((weight.double_value(&[1, 0]), bias.double_value(&[1])), (3.0, 6.0));
        weights.finish().expect("nothing is left");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let bytes = file(&[
            ("a", Dtype::F32, vec![2], vec![1.0, 2.0]),
            ("b", Dtype::I32, vec![1], vec![1.0]),
            ("c", Dtype::F32, vec![1], vec![f32::NAN]),
        ]);
        let parsed = SafeTensors::deserialize(&bytes).expect("parses");
        let mut weights = Weights::new(&parsed, Device::Cpu);
        let message =
            |result: Result<Tensor, WeightsError>| result.expect_err("must fail").to_string();
        assert_eq!(message(weights.take("x", &[1])), "tensor `x` is missing");
        assert_eq!(message(weights.take("a", &[3])), "tensor `a` is F32 [2], expected F32 [3]");
        assert_eq!(
            message(weights.take("a", &[2, 1])),
            "tensor `a` is F32 [2], expected F32 [2, 1]"
        );
        assert_eq!(message(weights.take("b", &[1])), "tensor `b` is I32 [1], expected F32 [1]");
        assert_eq!(
            message(weights.take("c", &[1])),
            "tensor `c` holds a number that is not finite"
        );
        let _taken = weights.take("a", &[2]).expect("fits");
        weights.skip(&["c"]);
        assert_eq!(
            weights.finish().expect_err("must fail").to_string(),
            "the network has no tensor `b` (1 unknown tensors)"
        );
    }
}
