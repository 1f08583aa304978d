//! A sequence of tokens, run by run.

use super::bytes::{Reader, Writer};
use crate::schema::{EmbeddingSpace, check_tokens};
use crate::storage::error::StorageError;
use crate::wire::v1::{TokenRun, TokenSequence};

const TOKENS: &str = "sequence of tokens";
const TOKENS_VERSION: u8 = 1;

const STATES: u8 = 0;
const IDS: u8 = 1;

/// Bytes of a token id.
const ID_BYTES: usize = 2;
/// Bytes of a component of a state.
const COMPONENT_BYTES: usize = 2;

/// Bytes of a run without its tokens, at least.
const RUN_BYTES_MIN: usize = 4;

/// The bytes of a sequence that has passed the checks of its space: version, number of runs, and of each run the
/// modality, what it holds, how many tokens of what width, and the tokens.
pub(crate) fn encode_tokens(sequence: &TokenSequence) -> Vec<u8> {
    let bytes: usize = sequence
        .runs
        .iter()
        .map(|run| 24 + run.modality.len() + run.states.len() + run.ids.len())
        .sum();
    let mut out = Writer::with_capacity(8 + bytes);
    out.u8(TOKENS_VERSION);
    out.varint(sequence.runs.len() as u64);
    for run in &sequence.runs {
        out.sized(run.modality.as_bytes());
        let holds_states = run.ids.is_empty();
        out.u8(if holds_states { STATES } else { IDS });
        out.varint(u64::from(run.count));
        out.varint(u64::from(run.width));
        out.raw(if holds_states { &run.states } else { &run.ids });
    }
    out.finish()
}

/// Reads the sequence of a space back; one that the space would not take is damaged.
pub(crate) fn decode_tokens(
    space: &EmbeddingSpace,
    bytes: &[u8],
) -> Result<TokenSequence, StorageError> {
    let mut rest = Reader::new(TOKENS, bytes);
    rest.version(TOKENS_VERSION)?;
    let count = rest.count(RUN_BYTES_MIN)?;
    let runs = (0..count).map(|_| decode_run(&mut rest)).collect::<Result<Vec<_>, _>>()?;
    rest.end()?;
    let sequence = TokenSequence { runs };
    check_tokens(space, &sequence).map_err(|error| rest.fail(error.to_string()))?;
    Ok(sequence)
}

fn decode_run(rest: &mut Reader<'_>) -> Result<TokenRun, StorageError> {
    let modality = rest.text()?;
    let tag = rest.u8()?;
    let (count, width) = (rest.varint_u32()?, rest.varint_u32()?);
    let bytes = match tag {
        STATES => (count as usize)
            .checked_mul(width as usize)
            .and_then(|components| components.checked_mul(COMPONENT_BYTES)),
        IDS => (count as usize).checked_mul(ID_BYTES),
        tag => return Err(rest.fail(format!("unknown tag {tag} of a run"))),
    };
    let bytes = bytes.ok_or_else(|| rest.fail(format!("{count} tokens of width {width}")))?;
    let tokens = rest.take(bytes)?.to_vec();
    let (states, ids) = if tag == STATES { (tokens, Vec::new()) } else { (Vec::new(), tokens) };
    Ok(TokenRun { modality, count, width, states, ids })
}
