//! Where networks compute.

use std::str::FromStr;

use anyhow::bail;
use tch::{Cuda, Device, Kind, TchError, Tensor};

/// Where and how precisely networks compute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Computing {
    /// CPU or GPU.
    pub(crate) device: Device,
    /// Single, or half precision for the networks whose authors run them so.
    pub(crate) kind: Kind,
}

/// A precision as the operator names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Precision {
    /// Single precision.
    F32,
    /// The upper half of single precision.
    Bf16,
    /// Half precision.
    F16,
}

impl Precision {
    /// What the provenance of vectors says of it; nothing for single precision.
    pub(crate) fn told(self) -> Option<&'static str> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some("bf16"),
            Self::F16 => Some("f16"),
        }
    }

    /// The kind of a tensor's numbers.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::F16 => Kind::Half,
        }
    }
}

/// A device as the operator names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceName {
    /// The first GPU where there is one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU by its number.
    Cuda(usize),
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => name
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| "use auto, cpu, cuda or cuda:N".to_owned()),
        }
    }
}

impl DeviceName {
    /// Finds the device.
    pub(crate) fn choose(self) -> anyhow::Result<Device> {
        let count = if Cuda::is_available() { usize::try_from(Cuda::device_count())? } else { 0 };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto if count == 0 => Ok(Device::Cpu),
            Self::Auto => Ok(Device::Cuda(0)),
            Self::Cuda(number) if number < count => Ok(Device::Cuda(number)),
            Self::Cuda(number) => {
                bail!("there is no GPU number {number}: libtorch sees {count}; use --device cpu")
            }
        }
    }
}

/// How a convolution moves over its input, axis by axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps<'a> {
    pub(crate) stride: &'a [i64],
    pub(crate) padding: &'a [i64],
    pub(crate) groups: i64,
}

/// A convolution whose products keep the precision of its numbers. By default libtorch multiplies single precision in TF32 on
/// a GPU, which keeps 10 binary digits of 23: embeddings would be off by 1e-3, and codes of codecs would be others.
pub(crate) fn convolve(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    steps: Steps<'_>,
) -> Result<Tensor, TchError> {
    let Steps { stride, padding, groups } = steps;
    let (dilation, no_padding) = (vec![1; stride.len()], vec![0; stride.len()]);
    let [is_transposed, is_benchmarked, is_deterministic, has_cudnn, has_tf32] =
        [false, false, false, true, false];
    input.f_internal_convolution(
        weight,
        bias,
        stride,
        padding,
        dilation,
        is_transposed,
        no_padding,
        groups,
        is_benchmarked,
        is_deterministic,
        has_cudnn,
        has_tf32,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_convolution_is_the_usual_one() {
        let options = (Kind::Float, Device::Cpu);
        tch::manual_seed(2);
        let input = Tensor::randn([2, 4, 9, 7], options);
        let weight = Tensor::randn([6, 2, 3, 3], options);
        let bias = Tensor::randn([6], options);
        let usual = input.conv2d(&weight, Some(&bias), [2, 1], [1, 0], [1, 1], 2);
        let steps = Steps { stride: &[2, 1], padding: &[1, 0], groups: 2 };
        let ours = convolve(&input, &weight, Some(&bias), steps).expect("convolves");
        assert_eq!(ours, usual);
        let (row, weight) = (input.select(3, 0), weight.select(3, 0));
        let usual = row.conv1d(&weight, None::<&Tensor>, 1, 1, 1, 2);
        let steps = Steps { stride: &[1], padding: &[1], groups: 2 };
        assert_eq!(convolve(&row, &weight, None, steps).expect("convolves"), usual);
    }

    #[test]
    fn devices_are_read_by_name() {
        for (name, device) in [
            ("auto", DeviceName::Auto),
            ("cpu", DeviceName::Cpu),
            ("cuda", DeviceName::Cuda(0)),
            ("cuda:3", DeviceName::Cuda(3)),
        ] {
            assert_eq!(name.parse(), Ok(device));
        }
        for bad in ["", "gpu", "cuda:", "cuda:x", "cuda:-1"] {
            assert!(bad.parse::<DeviceName>().is_err(), "{bad}");
        }
        assert!(DeviceName::Cuda(999).choose().is_err());
    }
}
