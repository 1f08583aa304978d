//! What a batch of operations does to the tables.
//!
//! The plan reads what it needs in two batched look-ups (ids, then the keys that new objects would take), applies the
//! operations in order to what it knows, and writes down only the difference between before and after: within one
//! batch the last operation on an object wins, and every key is written at most once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::engine::{KvView, Row};
use super::error::StorageError;
use super::key::{IdKey, Key, ObjectKey, TokenKey, VectorKey};
use super::operation::{Change, ChangeKind, Operation, Outcome};
use super::record::{
    Head, Located, decode_row, decode_row_id, encode_row, encode_tokens, encode_vector,
};
use super::table::Table;
use crate::schema::{
    CollectionId, CollectionSchema, FedSpace, IdRef, Object, ObjectId, SchemaError, SpaceId, Value,
};
use crate::sky::Cell29;
use crate::wire::v1::TokenSequence;

/// The effect of a batch.
#[derive(Debug)]
pub(crate) struct Plan {
    /// One for each operation.
    pub(crate) outcomes: Vec<Outcome>,
    /// Rows of `objects`, `vectors`, `tokens` and `ids`; every key once, in no order.
    pub(crate) rows: Vec<Row>,
    /// Keys whose objects changed, ascending.
    pub(crate) changes: Vec<Change>,
    /// The head afterwards.
    pub(crate) head: Head,
}

/// Plans a batch against a view of the collection.
///
/// # Errors
/// [`StorageError::Row`] for the first operation that the schema refuses; nothing is done then.
pub(crate) fn plan(
    view: &dyn KvView,
    collection: CollectionId,
    schema: &CollectionSchema,
    head: &Head,
    operations: &[Operation],
) -> Result<Plan, StorageError> {
    for (place, operation) in operations.iter().enumerate() {
        check(schema, operation).map_err(|source| StorageError::Row {
            place,
            id: operation.id().to_string(),
            source,
        })?;
    }
    let mut ledger = Ledger::read(view, collection, schema, head, operations)?;
    let outcomes =
        operations.iter().map(|operation| ledger.apply(operation)).collect::<Result<_, _>>()?;
    let mut plan = Plan { outcomes, rows: Vec::new(), changes: Vec::new(), head: head.clone() };
    let place = Whereabouts { view, schema, collection };
    for track in ledger.tracks {
        plan.settle(&place, track)?;
    }
    plan.changes.sort_unstable_by_key(|change| change.key);
    if !plan.changes.is_empty() {
        plan.head.version += 1;
    }
    Ok(plan)
}

fn check(schema: &CollectionSchema, operation: &Operation) -> Result<(), SchemaError> {
    match operation {
        Operation::Put(object) | Operation::Update { object, .. } => schema.check(object),
        Operation::SetVectors { id, vectors } => {
            schema.check_id(id)?;
            for (place, (space, vector)) in vectors.iter().enumerate() {
                schema.check_vector(*space, vector)?;
                if vectors[..place].iter().any(|(other, _)| other == space) {
                    let known = schema.space_by_id(*space);
                    let space = known.map(|space| space.name.clone()).unwrap_or_default();
                    return Err(SchemaError::TwoVectors { space });
                }
            }
            Ok(())
        }
        Operation::SetTokens { id, tokens } => {
            schema.check_id(id)?;
            schema.check_all_tokens(tokens)
        }
        Operation::SetColumns { id, columns } => {
            schema.check_id(id)?;
            schema.check_columns(columns)
        }
        Operation::Delete(id) => schema.check_id(id),
    }
}

fn holds_tokens(schema: &CollectionSchema, space: SpaceId) -> bool {
    schema.space_by_id(space).is_some_and(|space| !space.holds_vectors())
}

/// Where a batch goes.
struct Whereabouts<'v> {
    view: &'v dyn KvView,
    schema: &'v CollectionSchema,
    collection: CollectionId,
}

impl Whereabouts<'_> {
    fn holds_tokens(&self, space: SpaceId) -> bool {
        holds_tokens(self.schema, space)
    }

    /// The row that removes what an object has in a space.
    fn removal(&self, key: &ObjectKey, space: SpaceId) -> Row {
        if self.holds_tokens(space) {
            Row::delete(&TokenKey::new(key, space))
        } else {
            Row::delete(&VectorKey::new(key, space))
        }
    }

    /// The rows that take the tokens of spaces along with an object that moves.
    fn moved_tokens(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        spaces: impl Iterator<Item = SpaceId>,
    ) -> Result<Vec<Row>, StorageError> {
        let each = |space| match self.view.fetch(&TokenKey::new(from, space))? {
            Some(bytes) => Ok(Row::put(&TokenKey::new(to, space), bytes)),
            None => Err(StorageError::corrupt("sequence of tokens", "it is missing")),
        };
        spaces.map(each).collect()
    }
}

/// One object of the batch, before and after.
struct Track<'o> {
    id: &'o ObjectId,
    before: Option<Located>,
    now: Option<State<'o>>,
}

/// An object as the batch leaves it.
struct State<'o> {
    key: ObjectKey,
    /// Spaces that hold a vector or tokens.
    spaces: BTreeSet<SpaceId>,
    /// Its new row; `None` when the stored one stays.
    row: Option<Vec<u8>>,
    /// Its new vectors.
    vectors: BTreeMap<SpaceId, &'o [f32]>,
    /// Its new tokens; those of other spaces of tokens are the stored ones.
    tokens: BTreeMap<SpaceId, &'o TokenSequence>,
}

/// What is known of the objects and keys that a batch touches.
struct Ledger<'v, 'o> {
    view: &'v dyn KvView,
    collection: CollectionId,
    schema: &'v CollectionSchema,
    /// Spaces whose content is made of columns.
    fed: Vec<FedSpace>,
    tracks: Vec<Track<'o>>,
    by_id: HashMap<&'o ObjectId, usize>,
    /// Keys that objects of this batch have taken.
    taken: HashMap<ObjectKey, usize>,
    /// Stored owners of the keys that were looked up; `None` where a key is free.
    stored: HashMap<ObjectKey, Option<ObjectId>>,
    /// Stored rows of objects of which columns are set, by track.
    rows: HashMap<usize, Vec<u8>>,
    /// No object is stored: every key is free.
    empty: bool,
}

impl<'v, 'o> Ledger<'v, 'o> {
    fn read(
        view: &'v dyn KvView,
        collection: CollectionId,
        schema: &'v CollectionSchema,
        head: &Head,
        operations: &'o [Operation],
    ) -> Result<Self, StorageError> {
        let mut ledger = Self {
            view,
            collection,
            schema,
            fed: schema.fed_spaces(),
            tracks: Vec::with_capacity(operations.len()),
            by_id: HashMap::with_capacity(operations.len()),
            taken: HashMap::with_capacity(operations.len()),
            stored: HashMap::new(),
            rows: HashMap::new(),
            empty: head.object_count == 0,
        };
        for operation in operations {
            let id = operation.id();
            if !ledger.by_id.contains_key(id) {
                ledger.by_id.insert(id, ledger.tracks.len());
                ledger.tracks.push(Track { id, before: None, now: None });
            }
        }
        if !ledger.empty {
            ledger.read_ids()?;
            ledger.read_keys(operations)?;
            ledger.read_rows(operations)?;
        }
        Ok(ledger)
    }

    /// Looks up all ids at once.
    fn read_ids(&mut self) -> Result<(), StorageError> {
        let keys: Vec<_> = self
            .tracks
            .iter()
            .map(|track| IdKey::encode_parts(self.collection, track.id))
            .collect();
        let found = self.view.get_many(Table::Ids, &keys)?;
        for (place, (track, bytes)) in self.tracks.iter_mut().zip(found).enumerate() {
            let Some(bytes) = bytes else { continue };
            let located = Located::decode(self.collection, &bytes)?;
            self.taken.insert(located.key, place);
            track.now = Some(State {
                key: located.key,
                spaces: located.spaces.iter().copied().collect(),
                row: None,
                vectors: BTreeMap::new(),
                tokens: BTreeMap::new(),
            });
            track.before = Some(located);
        }
        Ok(())
    }

    /// Looks up at once the keys that new and moved objects would take.
    fn read_keys(&mut self, operations: &[Operation]) -> Result<(), StorageError> {
        let mut wanted = BTreeSet::new();
        for operation in operations {
            let (Operation::Put(object) | Operation::Update { object, .. }) = operation else {
                continue;
            };
            let key = first_key(self.collection, object.position.cell29(), IdRef::from(&object.id));
            if !self.taken.contains_key(&key) {
                wanted.insert(key);
            }
        }
        let wanted: Vec<ObjectKey> = wanted.into_iter().collect();
        let keys: Vec<_> = wanted.iter().map(Key::encode).collect();
        let found = self.view.get_many(Table::Objects, &keys)?;
        for (key, bytes) in wanted.into_iter().zip(found) {
            let owner = bytes.map(|bytes| decode_row_id(&bytes)).transpose()?;
            self.stored.insert(key, owner);
        }
        Ok(())
    }

    /// Looks up at once the rows of which columns are set.
    fn read_rows(&mut self, operations: &[Operation]) -> Result<(), StorageError> {
        let mut wanted = BTreeMap::new();
        for operation in operations {
            let Operation::SetColumns { id, .. } = operation else { continue };
            let Some(&track) = self.by_id.get(id) else { continue };
            if let Some(before) = &self.tracks[track].before {
                wanted.insert(before.key, track);
            }
        }
        let keys: Vec<_> = wanted.keys().map(Key::encode).collect();
        let found = self.view.get_many(Table::Objects, &keys)?;
        let found = wanted.into_values().zip(found);
        self.rows.extend(found.filter_map(|(track, bytes)| Some((track, bytes?))));
        Ok(())
    }

    /// The stored owner of a key.
    fn owner(&mut self, key: ObjectKey) -> Result<Option<ObjectId>, StorageError> {
        if self.empty {
            return Ok(None);
        }
        if let Some(owner) = self.stored.get(&key) {
            return Ok(owner.clone());
        }
        let row = self.view.fetch(&key)?;
        let owner = row.map(|bytes| decode_row_id(&bytes)).transpose()?;
        self.stored.insert(key, owner.clone());
        Ok(owner)
    }

    /// Finds the key of an object in a cell: the one that it has there already, else the first free one from the hash
    /// of its id on.
    fn place(&mut self, track: usize, cell: Cell29) -> Result<ObjectKey, StorageError> {
        let Track { id, before, now } = &self.tracks[track];
        let here = [before.as_ref().map(|located| located.key), now.as_ref().map(|now| now.key)];
        if let Some(key) = here.into_iter().flatten().find(|key| key.cell == cell) {
            return Ok(key);
        }
        let id: &ObjectId = id;
        let mut key = first_key(self.collection, cell, IdRef::from(id));
        loop {
            // Keys that this batch frees are not used again in it: each key is written at most once.
            let free = match self.taken.get(&key) {
                Some(owner) => *owner == track,
                None => self.owner(key)?.is_none_or(|owner| owner == *id),
            };
            if free {
                self.taken.insert(key, track);
                return Ok(key);
            }
            key.ordinal = key.ordinal.wrapping_add(1);
        }
    }

    fn apply(&mut self, operation: &'o Operation) -> Result<Outcome, StorageError> {
        let Some(&track) = self.by_id.get(operation.id()) else {
            return Ok(Outcome::Absent);
        };
        match operation {
            Operation::Put(object) => self.put(track, object, None),
            Operation::Update { object, forgets } => self.put(track, object, Some(forgets)),
            Operation::SetVectors { vectors, .. } => {
                let Some(now) = &mut self.tracks[track].now else { return Ok(Outcome::Absent) };
                now.spaces.extend(vectors.iter().map(|(space, _)| *space));
                now.vectors.extend(borrowed(vectors));
                Ok(Outcome::VectorsSet { key: now.key })
            }
            Operation::SetTokens { tokens, .. } => {
                let Some(now) = &mut self.tracks[track].now else { return Ok(Outcome::Absent) };
                now.spaces.extend(tokens.iter().map(|(space, _)| *space));
                now.tokens.extend(tokens.iter().map(|(space, sequence)| (*space, sequence)));
                Ok(Outcome::TokensSet { key: now.key })
            }
            Operation::SetColumns { columns, .. } => self.set_columns(track, columns),
            Operation::Delete(_) => Ok(match self.tracks[track].now.take() {
                Some(now) => Outcome::Deleted { previous: now.key },
                None => Outcome::Absent,
            }),
        }
    }

    fn put(
        &mut self,
        track: usize,
        object: &'o Object,
        keeps_tokens_but: Option<&[SpaceId]>,
    ) -> Result<Outcome, StorageError> {
        let key = self.place(track, object.position.cell29())?;
        let row = encode_row(object);
        let mut state = State {
            key,
            spaces: object.vectors.iter().map(|(space, _)| *space).collect(),
            row: Some(row),
            vectors: borrowed(&object.vectors).collect(),
            tokens: BTreeMap::new(),
        };
        if let (Some(forgets), Some(before)) = (keeps_tokens_but, &mut self.tracks[track].now) {
            let kept =
                |space: &SpaceId| holds_tokens(self.schema, *space) && !forgets.contains(space);
            state.spaces.extend(before.spaces.iter().filter(|space| kept(space)));
            state.tokens = std::mem::take(&mut before.tokens);
            state.tokens.retain(|space, _| kept(space));
        }
        Ok(match self.tracks[track].now.replace(state) {
            Some(previous) => Outcome::Replaced { key, previous: previous.key },
            None => Outcome::Inserted { key },
        })
    }
}

impl Ledger<'_, '_> {
    fn set_columns(
        &mut self,
        track: usize,
        columns: &[(usize, Value)],
    ) -> Result<Outcome, StorageError> {
        let Track { id, now, .. } = &mut self.tracks[track];
        let Some(now) = now else { return Ok(Outcome::Absent) };
        let row = now.row.as_ref().or_else(|| self.rows.get(&track));
        let object = row.map(|bytes| decode_row(bytes, self.schema.columns.len())).transpose()?;
        let Some(mut object) = object.filter(|object| object.id == **id) else {
            let detail = format!("the row of object `{id}` is missing");
            return Err(StorageError::corrupt("object row", detail));
        };
        let before = if self.fed.is_empty() { Vec::new() } else { object.columns.clone() };
        for (place, value) in columns {
            if let Some(column) = object.columns.get_mut(*place) {
                column.clone_from(value);
            }
        }
        // What was made of other columns goes, and is made again.
        for fed in self.fed.iter().filter(|fed| fed.differs(&before, &object.columns)) {
            now.spaces.remove(&fed.space);
            now.vectors.remove(&fed.space);
            now.tokens.remove(&fed.space);
        }
        now.row = Some(encode_row(&object));
        Ok(Outcome::ColumnsSet { key: now.key })
    }
}

fn borrowed(vectors: &[(SpaceId, Vec<f32>)]) -> impl Iterator<Item = (SpaceId, &[f32])> {
    vectors.iter().map(|(space, vector)| (*space, vector.as_slice()))
}

/// The key that an object takes when nothing is in its way.
pub(super) fn first_key(collection: CollectionId, cell: Cell29, id: IdRef<'_>) -> ObjectKey {
    let hash = match id {
        IdRef::Number(number) => blake3::hash(&number.to_le_bytes()),
        IdRef::Text(text) => blake3::hash(text.as_bytes()),
    };
    let [a, b, c, d, ..] = *hash.as_bytes();
    ObjectKey { collection, cell, ordinal: u32::from_be_bytes([a, b, c, d]) }
}

impl Plan {
    /// Writes down the difference between before and after of one object.
    fn settle(&mut self, place: &Whereabouts<'_>, track: Track<'_>) -> Result<(), StorageError> {
        let Track { id, before, now } = track;
        self.count(before.as_ref(), now.as_ref())?;
        let stays = match (&before, &now) {
            (Some(before), Some(now)) => before.key == now.key,
            _ => false,
        };
        if let Some(before) = &before {
            let kept = |space: &SpaceId| {
                stays && now.as_ref().is_some_and(|now| now.spaces.contains(space))
            };
            for space in before.spaces.iter().filter(|space| !kept(space)) {
                self.rows.push(place.removal(&before.key, *space));
            }
            if !stays {
                self.rows.push(Row::delete(&before.key));
                self.changes.push(Change { key: before.key, kind: ChangeKind::Delete });
            }
        }
        let id_key = IdKey { collection: place.collection, id: id.clone() };
        let Some(State { key, spaces, row, vectors, tokens }) = now else {
            if before.is_some() {
                self.rows.push(Row::delete(&id_key));
            }
            return Ok(());
        };
        if row.is_some() || !vectors.is_empty() {
            self.changes.push(Change { key, kind: ChangeKind::Put });
        } else if !tokens.is_empty() {
            self.changes.push(Change { key, kind: ChangeKind::Tokens });
        }
        if let Some(before) = before.as_ref().filter(|_| !stays) {
            let stored = spaces.iter().copied();
            let stored = stored.filter(|id| place.holds_tokens(*id) && !tokens.contains_key(id));
            self.rows.extend(place.moved_tokens(&before.key, &key, stored)?);
        }
        for (space, sequence) in tokens {
            self.rows.push(Row::put(&TokenKey::new(&key, space), encode_tokens(sequence)));
        }
        for (space, vector) in vectors {
            self.rows.push(Row::put(&VectorKey::new(&key, space), encode_vector(vector)));
        }
        if let Some(row) = row {
            self.rows.push(Row::put(&key, row));
        }
        let located = Located { key, spaces: spaces.into_iter().collect() };
        if before.as_ref() != Some(&located) {
            self.rows.push(Row::put(&id_key, located.encode()));
        }
        Ok(())
    }

    /// Moves the exact counts by the difference that one object makes.
    fn count(
        &mut self,
        before: Option<&Located>,
        now: Option<&State<'_>>,
    ) -> Result<(), StorageError> {
        if let Some(before) = before {
            take_one(&mut self.head.object_count)?;
            for space in &before.spaces {
                take_one(self.head.vector_counts.entry(*space).or_default())?;
            }
        }
        if let Some(now) = now {
            self.head.object_count += 1;
            for space in &now.spaces {
                *self.head.vector_counts.entry(*space).or_default() += 1;
            }
        }
        Ok(())
    }
}

fn take_one(count: &mut u64) -> Result<(), StorageError> {
    *count = count
        .checked_sub(1)
        .ok_or_else(|| StorageError::corrupt("collection head", "counts less than is stored"))?;
    Ok(())
}
