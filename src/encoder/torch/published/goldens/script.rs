//! Golden outputs of TorchScript archives.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tch::{CModule, IValue, Kind, Tensor};

use super::super::super::device::Computing;
use super::{Golden, Tensors, input};

/// Archives and the calls that are made of them.
#[derive(Debug, Deserialize)]
pub(super) struct Archives {
    calls: Vec<Call>,
}

#[derive(Debug, Deserialize)]
struct Call {
    output: String,
    /// A file of the folder.
    file: String,
    method: String,
    args: Vec<String>,
}

impl Archives {
    pub(super) fn run(&self, golden: &Golden<'_>) -> Result<Tensors> {
        let inputs = golden.inputs()?;
        let Computing { device, kind } = golden.computing;
        let mut found = Tensors::new();
        for call in &self.calls {
            if call.file.contains(['/', '\\']) {
                bail!("`{}` must be a file of the folder, without a path", call.file);
            }
            let mut module = CModule::load_on_device(golden.folder.join(&call.file), device)
                .with_context(|| format!("{} is no TorchScript archive", call.file))?;
            module.set_eval();
            if kind != Kind::Float {
                module.to(device, kind, false);
            }
            let arguments = call
                .args
                .iter()
                .map(|name| Ok(IValue::Tensor(in_precision(input(&inputs, name)?, kind)?)))
                .collect::<Result<Vec<_>>>()?;
            let output = module
                .method_is(&call.method, &arguments)
                .with_context(|| format!("{} refuses its arguments", call.file))?;
            match output {
                IValue::Tensor(tensor) => {
                    found.insert(call.output.clone(), tensor);
                }
                IValue::Tuple(parts) => {
                    for (place, part) in parts.into_iter().enumerate() {
                        let IValue::Tensor(tensor) = part else {
                            bail!("{} returns a tuple of other things than tensors", call.file);
                        };
                        found.insert(format!("{}.{place}", call.output), tensor);
                    }
                }
                _ => bail!("{} returns neither a tensor nor a tuple of tensors", call.file),
            }
        }
        Ok(found)
    }
}

/// Numbers in another precision; whole numbers as they are.
fn in_precision(tensor: &Tensor, kind: Kind) -> Result<Tensor> {
    Ok(if tensor.kind() == Kind::Float { tensor.f_to_kind(kind)? } else { tensor.shallow_clone() })
}
