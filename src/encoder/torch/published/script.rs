//! TorchScript archives: networks that bring their own code.

use std::io::Cursor;

use sidereus::encoder::{Features, Made, ModelError, RegisteredModel, ScriptConfig};
use tch::{CModule, IValue, Kind, TchError};

use super::super::device::Computing;
use super::super::staging::Staging;
use super::network::{stacked, vectors};

/// A loaded archive.
pub(super) struct Script {
    module: CModule,
    call: ScriptConfig,
    computing: Computing,
}

impl Script {
    /// Loads the archive from the bytes whose digest was checked: no other file is looked at.
    pub(super) fn load(model: &RegisteredModel, computing: Computing) -> Result<Self, ModelError> {
        let bytes = model.read_weights()?;
        let bad = |error: TchError| ModelError::BadWeights {
            path: model.weights_path(),
            reason: format!("no TorchScript archive: {}", first_line(&error)),
        };
        let mut module =
            CModule::load_data_on_device(&mut Cursor::new(bytes), computing.device).map_err(bad)?;
        module.set_eval();
        if computing.kind != Kind::Float {
            module.to(computing.device, computing.kind, false);
        }
        Ok(Self { module, call: model.spec.script.clone().unwrap_or_default(), computing })
    }

    /// Calls the archive with every array of the rows as an argument.
    pub(super) fn make(
        &self,
        rows: &[&Features],
        staging: &Staging,
    ) -> Result<Vec<Made>, TchError> {
        let count = rows.first().map_or(0, |row| row.layout().len());
        let argument = |place| {
            let tensor = stacked(rows, place, (staging, place), self.computing)?;
            Ok(IValue::Tensor(tensor.f_to_kind(self.computing.kind)?))
        };
        let arguments = (0..count).map(argument).collect::<Result<Vec<_>, TchError>>()?;
        let ScriptConfig { method, output } = &self.call;
        let refused = |error: TchError| {
            TchError::Convert(format!("the archive refuses its input: {}", first_line(&error)))
        };
        let returned = self.module.method_is(method, &arguments).map_err(refused)?;
        let returned = match returned {
            IValue::Tuple(parts) => parts.into_iter().nth(*output),
            one if *output == 0 => Some(one),
            _ => None,
        };
        match returned {
            Some(IValue::Tensor(tensor)) => vectors(&tensor.f_flatten(1, -1)?),
            _ => Err(TchError::Convert(format!("the archive gives no tensor as output {output}"))),
        }
    }
}

/// libtorch puts a stack trace behind what it says.
fn first_line(error: &TchError) -> String {
    let text = error.to_string();
    // The last line that says something is the cause; the ones before it are the archive's own source.
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let cause = lines.clone().find(|line| line.starts_with("RuntimeError"));
    cause.or_else(|| lines.clone().next()).unwrap_or("no reason").to_owned()
}
