//! Reading tokens: by id, one space at a time. No other way of reading objects touches them, since they are long.

use super::error::StorageError;
use super::key::{IdKey, Key, TokenKey};
use super::read::Snapshot;
use super::record::{Located, decode_tokens};
use super::table::Table;
use crate::schema::{EmbeddingSpace, ObjectId, SchemaError, SpaceId};
use crate::wire::v1::TokenSequence;

impl Snapshot<'_> {
    /// Reads the tokens of objects in a space, in the order asked; `None` where there is no such object, or it has
    /// none.
    ///
    /// # Errors
    /// [`StorageError::Schema`] when the collection has no such space of tokens; [`StorageError::Corrupt`] and those
    /// of the disk.
    pub fn tokens(
        &self,
        space: SpaceId,
        ids: &[ObjectId],
    ) -> Result<Vec<Option<TokenSequence>>, StorageError> {
        let space = self.token_space(space)?;
        let located = self.located(ids)?;
        let there = located.iter().enumerate().filter_map(|(place, located)| {
            let located = located.as_ref()?;
            let has_tokens = located.spaces.binary_search(&space.id).is_ok();
            has_tokens.then(|| (place, TokenKey::new(&located.key, space.id).encode()))
        });
        let (places, keys): (Vec<usize>, Vec<Vec<u8>>) = there.unzip();
        let mut found = vec![None; ids.len()];
        for (place, bytes) in places.into_iter().zip(self.view.get_many(Table::Tokens, &keys)?) {
            let Some(bytes) = bytes else {
                let detail = format!("that of object `{}` is missing", ids[place]);
                return Err(StorageError::corrupt("sequence of tokens", detail));
            };
            found[place] = Some(decode_tokens(space, &bytes)?);
        }
        Ok(found)
    }

    /// Whether objects have something in a space, a vector or tokens, in the order asked.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] and those of the disk.
    pub fn have(&self, space: SpaceId, ids: &[ObjectId]) -> Result<Vec<bool>, StorageError> {
        let has = |located: &Option<Located>| {
            located.as_ref().is_some_and(|located| located.spaces.binary_search(&space).is_ok())
        };
        Ok(self.located(ids)?.iter().map(has).collect())
    }

    /// What the table of ids knows of objects, in the order asked.
    pub(super) fn located(&self, ids: &[ObjectId]) -> Result<Vec<Option<Located>>, StorageError> {
        let keys: Vec<_> = ids.iter().map(|id| IdKey::encode_parts(self.record.id, id)).collect();
        self.view
            .get_many(Table::Ids, &keys)?
            .into_iter()
            .map(|bytes| bytes.map(|bytes| Located::decode(self.record.id, &bytes)).transpose())
            .collect()
    }

    fn token_space(&self, space: SpaceId) -> Result<&EmbeddingSpace, StorageError> {
        let found = self.record.schema.space_by_id(space);
        let found = found.ok_or(SchemaError::UnknownSpace { space })?;
        if found.holds_vectors() {
            let (space, holds) = (found.name.clone(), found.form.plural());
            return Err(SchemaError::WrongForm { space, holds, given: "tokens" }.into());
        }
        Ok(found)
    }
}
