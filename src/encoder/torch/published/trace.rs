//! Named results on the way to an embedding, to be held against another implementation.

use std::collections::BTreeMap;

use tch::Tensor;

/// What a network writes its stages into; one that is off keeps nothing.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    is_on: bool,
    prefix: String,
    found: BTreeMap<String, Tensor>,
}

impl Trace {
    /// Keeps nothing.
    pub(crate) fn off() -> Self {
        Self::default()
    }

    /// Keeps every stage.
    pub(crate) fn on() -> Self {
        Self { is_on: true, ..Self::default() }
    }

    /// Names of later stages begin with this and a dot.
    pub(crate) fn within(&mut self, prefix: &str) {
        self.prefix = format!("{prefix}.");
    }

    /// Keeps a stage.
    pub(super) fn note(&mut self, name: &str, value: &Tensor) {
        if self.is_on {
            self.found.insert(format!("{}{name}", self.prefix), value.shallow_clone());
        }
    }

    /// Keeps what `value` makes of a stage, which is not computed otherwise.
    pub(super) fn note_with<E>(
        &mut self,
        name: &str,
        value: impl FnOnce() -> Result<Tensor, E>,
    ) -> Result<(), E> {
        if self.is_on {
            let value = value()?;
            self.note(name, &value);
        }
        Ok(())
    }

    /// What was kept.
    pub(crate) fn into_found(self) -> BTreeMap<String, Tensor> {
        self.found
    }
}
