//! Which sequences of tokens a space takes.

use super::{CollectionSchema, EmbeddingSpace, SchemaError, SpaceForm, SpaceId};
use crate::wire::v1::{TokenRun, TokenSequence};

/// Most tokens of a sequence.
pub const TOKENS_MAX: usize = 65_536;

/// Most bytes of the tokens of a sequence.
pub const TOKEN_BYTES_MAX: usize = 16 << 20;

/// Most runs of a sequence, and bytes of the name of a modality: far more than any network has.
const RUNS_MAX: usize = 1_024;
const MODALITY_BYTES_MAX: usize = 128;

/// Bits of the exponent of a half: all of them are set in infinities and in what is no number.
const HALF_EXPONENT: u16 = 0x7c00;

impl CollectionSchema {
    /// Checks a sequence of tokens against its space.
    ///
    /// # Errors
    /// [`SchemaError::UnknownSpace`]; [`SchemaError::WrongForm`] for a space of vectors; [`SchemaError::BadTokens`].
    pub fn check_tokens(
        &self,
        space: SpaceId,
        sequence: &TokenSequence,
    ) -> Result<(), SchemaError> {
        let space = self.space_by_id(space).ok_or(SchemaError::UnknownSpace { space })?;
        check_tokens(space, sequence)
    }

    /// Checks the tokens of one object, at most one sequence for each space.
    ///
    /// # Errors
    /// Those of [`CollectionSchema::check_tokens`]; [`SchemaError::TwoVectors`].
    pub fn check_all_tokens(&self, tokens: &[(SpaceId, TokenSequence)]) -> Result<(), SchemaError> {
        for (place, (space, sequence)) in tokens.iter().enumerate() {
            self.check_tokens(*space, sequence)?;
            if tokens[..place].iter().any(|(other, _)| other == space) {
                let name = self.space_by_id(*space).map(|space| space.name.clone());
                return Err(SchemaError::TwoVectors { space: name.unwrap_or_default() });
            }
        }
        Ok(())
    }
}

/// Checks a sequence of tokens against a space.
///
/// # Errors
/// [`SchemaError::WrongForm`] for a space of vectors; [`SchemaError::BadTokens`].
pub fn check_tokens(space: &EmbeddingSpace, sequence: &TokenSequence) -> Result<(), SchemaError> {
    if space.form == SpaceForm::Vector {
        return Err(SchemaError::WrongForm {
            space: space.name.clone(),
            holds: space.form.plural(),
            given: "tokens",
        });
    }
    let fault = fault_of(space, sequence);
    fault.map_or(Ok(()), |reason| Err(SchemaError::BadTokens { space: space.name.clone(), reason }))
}

/// What is wrong with a sequence, if anything is.
fn fault_of(space: &EmbeddingSpace, sequence: &TokenSequence) -> Option<String> {
    let runs = &sequence.runs;
    if runs.len() > RUNS_MAX {
        return Some(format!("{} runs are more than {RUNS_MAX}", runs.len()));
    }
    let count: u64 = runs.iter().map(|run| u64::from(run.count)).sum();
    if count == 0 {
        return Some("there is no token".to_owned());
    }
    if count > TOKENS_MAX as u64 {
        return Some(format!("{count} tokens are more than {TOKENS_MAX}"));
    }
    let bytes: usize = runs.iter().map(|run| run.states.len() + run.ids.len()).sum();
    if bytes > TOKEN_BYTES_MAX {
        return Some(format!("{bytes} bytes of tokens are more than {TOKEN_BYTES_MAX}"));
    }
    runs.iter().zip(1..).find_map(|(run, number)| {
        let fault = match space.form {
            SpaceForm::Tokens => fault_of_states(space.dimension, run),
            SpaceForm::TokenIds | SpaceForm::Vector => fault_of_ids(run),
        };
        fault.map(|fault| format!("run {number}: {fault}"))
    })
}

fn fault_of_states(dimension: usize, run: &TokenRun) -> Option<String> {
    if let Some(fault) = fault_of_run(run) {
        return Some(fault);
    }
    if !run.ids.is_empty() {
        return Some("it has ids where the space holds states".to_owned());
    }
    if run.width as usize != dimension {
        return Some(format!("its states have {} components, the space {dimension}", run.width));
    }
    let expected = u64::from(run.count) * dimension as u64 * 2;
    if run.states.len() as u64 != expected {
        let given = run.states.len();
        return Some(format!("{given} bytes of states where {} tokens have {expected}", run.count));
    }
    let is_finite = |half: &[u8; 2]| u16::from_le_bytes(*half) & HALF_EXPONENT != HALF_EXPONENT;
    let component = run.states.as_chunks::<2>().0.iter().position(|half| !is_finite(half))?;
    let (token, component) = (component / dimension.max(1), component % dimension.max(1));
    Some(format!("component {component} of token {token} is not a finite number"))
}

fn fault_of_ids(run: &TokenRun) -> Option<String> {
    if let Some(fault) = fault_of_run(run) {
        return Some(fault);
    }
    if !run.states.is_empty() || run.width != 0 {
        return Some("it has states, or a width, where the space holds ids".to_owned());
    }
    let expected = u64::from(run.count) * 2;
    if run.ids.len() as u64 != expected {
        let given = run.ids.len();
        return Some(format!("{given} bytes of ids where {} tokens have {expected}", run.count));
    }
    None
}

fn fault_of_run(run: &TokenRun) -> Option<String> {
    if run.modality.len() > MODALITY_BYTES_MAX {
        return Some(format!("the name of its modality is longer than {MODALITY_BYTES_MAX} bytes"));
    }
    match (run.states.is_empty(), run.ids.is_empty()) {
        (false, false) => Some("it has states and ids; give one of them".to_owned()),
        (true, true) => Some("it has neither states nor ids".to_owned()),
        (true, false) | (false, true) => None,
    }
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
