//! Token states of objects as numbers.

use half::f16;

use super::ProbeError;
use super::measure::Predicted;
use super::model::Model;
use super::table::Table;
use crate::engine::Still;
use crate::schema::{EmbeddingSpace, ObjectId, SpaceId};
use crate::wire::v1::TokenSequence;

/// Objects asked about, or whose tokens are read, at a time.
const ASKED_AT_ONCE: usize = 4_096;
const READ_AT_ONCE: usize = 64;

/// Tokens of some objects, one after the other.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Row-major: a row for each token.
    pub(super) values: Vec<f32>,
    /// Tokens of each object.
    pub(super) lengths: Vec<u32>,
}

/// Whether each object has tokens in a space.
pub(super) fn have(
    table: &Table<'_>,
    still: &Still<'_>,
    space: SpaceId,
) -> Result<Vec<bool>, ProbeError> {
    let ids: Vec<ObjectId> = (0..table.count()).map(|place| table.id(place)).collect();
    let mut have = Vec::with_capacity(ids.len());
    for some in ids.chunks(ASKED_AT_ONCE) {
        have.extend(still.have(space, some)?);
    }
    Ok(have)
}

/// Reads the tokens of some objects of a table.
///
/// # Errors
/// [`ProbeError::BadSpec`] when they are gone, or of another width than the space's.
pub(super) fn read(
    table: &Table<'_>,
    still: &Still<'_>,
    space: &EmbeddingSpace,
    places: &[u32],
) -> Result<Tokens, ProbeError> {
    let mut tokens = Tokens::default();
    let ids: Vec<ObjectId> = places.iter().map(|&place| table.id(place as usize)).collect();
    for ids in ids.chunks(READ_AT_ONCE) {
        let found = still.tokens(space.id, ids)?;
        for (id, sequence) in ids.iter().zip(found) {
            let gone = || {
                let what =
                    format!("the tokens of object {id} in `{}` are gone or cut off", space.name);
                ProbeError::bad(what, "set the tokens of the object again")
            };
            tokens.push(&sequence.ok_or_else(gone)?, space.dimension).ok_or_else(gone)?;
        }
    }
    Ok(tokens)
}

impl Tokens {
    /// `None` for a sequence that does not fit, which is left out.
    fn push(&mut self, sequence: &TokenSequence, width: usize) -> Option<()> {
        let before = self.values.len();
        for run in &sequence.runs {
            let halves = run.states.as_chunks::<2>().0;
            self.values.extend(halves.iter().map(|half| f16::from_le_bytes(*half).to_f32()));
        }
        let numbers = self.values.len() - before;
        if width == 0 || numbers == 0 || !numbers.is_multiple_of(width) {
            self.values.truncate(before);
            return None;
        }
        self.lengths.push((numbers / width) as u32);
        Some(())
    }
}

/// Predicts for some objects of a table from their tokens; `truth` is empty, or one number for each.
pub(super) fn predict(
    table: &Table<'_>,
    still: &Still<'_>,
    space: &EmbeddingSpace,
    places: &[u32],
    truth: &[f64],
    model: &Model,
) -> Result<Predicted, ProbeError> {
    let mut predicted = Predicted::default();
    for (number, some) in places.chunks(READ_AT_ONCE).enumerate() {
        let tokens = read(table, still, space, some)?;
        let first = number * READ_AT_ONCE;
        let truth = truth.get(first..first + some.len()).unwrap_or(&[]);
        predicted.append(model.predict_tokens(&tokens.values, &tokens.lengths, truth)?);
    }
    Ok(predicted)
}
