//! A page of objects: what is encoded of them, and whether that is still wanted when it has been made.

use crate::encoder::Inputs;
use crate::engine::Standing;
use crate::schema::{Object, ObjectId, SpaceId};
use crate::service::ServiceError;
use crate::service::convert::{InputMap, Print};
use crate::service::door::Door;
use crate::wire::v1::TokenSequence;

/// Where inputs come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Columns(InputMap),
    /// A space of token ids that the model made.
    Tokens(SpaceId),
}

/// Objects and what is encoded of each.
pub(super) struct Page {
    pub(super) ids: Vec<ObjectId>,
    pub(super) inputs: Inputs,
    /// What the inputs were read from; `None` where the caller gave them.
    pub(super) basis: Option<Basis>,
}

/// What the inputs of a page were read from.
pub(super) struct Basis {
    source: Source,
    /// Version of the collection before they were read.
    version: u64,
    /// One for each object of the page.
    prints: Vec<Print>,
}

/// What is to be done with what was made of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is written.
    Wanted,
    /// The object has something in the space already.
    Has,
    /// The object has other inputs by now, or is gone.
    Rewritten,
}

impl Page {
    /// The objects of a version that have inputs in columns. Those without any are left out.
    pub(super) fn of_columns(map: &InputMap, version: u64, objects: Vec<Object>) -> Self {
        let (mut ids, mut payloads, mut prints) = (Vec::new(), Vec::new(), Vec::new());
        for mut object in objects {
            // The print first: the payload takes the columns along.
            let print = map.print(&object);
            if let Some(print) = print
                && let Some(payload) = map.payload(&mut object)
            {
                ids.push(object.id);
                payloads.push(payload);
                prints.push(print);
            }
        }
        let basis = Basis { source: Source::Columns(map.clone()), version, prints };
        Self { ids, inputs: Inputs::Payloads(payloads), basis: Some(basis) }
    }

    /// Reads objects as a caller sees them; those without inputs, and those that are not there, are left out.
    pub(super) fn read(
        door: &Door,
        collection: &str,
        source: &Source,
        ids: Vec<ObjectId>,
    ) -> Result<Self, ServiceError> {
        let view = door.view(collection)?;
        match source {
            Source::Columns(map) => {
                let found = view.columns_of(&ids)?.into_iter().flatten();
                let objects = found.map(|(_, object)| object).collect();
                Ok(Self::of_columns(map, view.version(), objects))
            }
            Source::Tokens(space) => {
                let found = view.tokens(*space, &ids)?;
                let there = ids.into_iter().zip(found);
                let (ids, tokens): (Vec<_>, Vec<_>) =
                    there.filter_map(|(id, tokens)| Some((id, tokens?))).unzip();
                let prints = tokens.iter().map(print_of_tokens).collect();
                let basis = Basis { source: source.clone(), version: view.version(), prints };
                Ok(Self { ids, inputs: Inputs::Tokens(tokens), basis: Some(basis) })
            }
        }
    }
}

fn print_of_tokens(tokens: &TokenSequence) -> Print {
    blake3::hash(&prost::Message::encode_to_vec(tokens))
}

impl Source {
    /// Prints of the inputs that objects have now.
    fn prints(
        &self,
        standing: &Standing<'_>,
        ids: &[ObjectId],
    ) -> Result<Vec<Option<Print>>, ServiceError> {
        Ok(match self {
            Self::Columns(map) => {
                let print = |object: Option<Object>| object.and_then(|object| map.print(&object));
                standing.get(ids)?.into_iter().map(print).collect()
            }
            Self::Tokens(space) => {
                let found = standing.tokens(*space, ids)?;
                found.iter().map(|tokens| tokens.as_ref().map(print_of_tokens)).collect()
            }
        })
    }
}

/// What is to be done with what was made of the objects at some places of a page, in their order.
pub(super) fn verdicts(
    standing: &Standing<'_>,
    space: SpaceId,
    overwrite: bool,
    basis: Option<&Basis>,
    places: &[usize],
    ids: &[ObjectId],
) -> Result<Vec<(ObjectId, Verdict)>, ServiceError> {
    let mut verdicts = vec![Verdict::Wanted; ids.len()];
    // Nothing has been written since the page was read where the version is still the same.
    if let Some(basis) = basis.filter(|basis| basis.version != standing.version()) {
        let now = basis.source.prints(standing, ids)?;
        for ((verdict, place), now) in verdicts.iter_mut().zip(places).zip(now) {
            if now.is_none() || now.as_ref() != basis.prints.get(*place) {
                *verdict = Verdict::Rewritten;
            }
        }
    }
    if !overwrite {
        for (verdict, has) in verdicts.iter_mut().zip(standing.have(space, ids)?) {
            if has {
                *verdict = Verdict::Has;
            }
        }
    }
    Ok(ids.iter().cloned().zip(verdicts).collect())
}
