//! Where networks compute.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::str::FromStr;

use anyhow::bail;
use sidereus::encoder::gpu_devices;
use tch::{Cuda, Device, Kind};

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

/// What NVIDIA's libraries look at before they multiply single precision in TF32.
const TF32: &str = "NVIDIA_TF32_OVERRIDE";

/// Has single precision computed as such on a GPU. By default libtorch's convolutions are in TF32 there, which keeps 10 binary
/// digits of 23: embeddings would be off by 1e-3, and codes of codecs would be others. The environment is the one word that
/// archives heed too. As the libraries have read it by now, the process begins anew with it, under its own number.
///
/// Does nothing where there is no GPU, where the environment says it already, and, with a warning, where the program
/// cannot be started again.
pub(crate) fn forbid_tf32() {
    if std::env::var_os(TF32).is_some() || gpu_devices().is_empty() {
        return;
    }
    let error = std::env::current_exe().map_or_else(
        |error| error,
        |program| Command::new(program).args(std::env::args_os().skip(1)).env(TF32, "0").exec(),
    );
    eprintln!("warning: convolutions on a GPU are in TF32, for {TF32}=0 cannot be set: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;

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
