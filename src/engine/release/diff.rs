//! What differs between two releases, or a release and the present.

use std::cmp::Ordering;

use super::super::collection::Collection;
use super::super::db::Db;
use super::super::error::EngineError;
use super::super::segment::Progress;
use super::GoOn;
use crate::schema::{CollectionSchema, EmbeddingSpace, Object, ObjectId, SpaceId, release_name};
use crate::storage::Snapshot;
use crate::wire::v1::TokenSequence;

/// Progress is told so often, in objects.
const TOLD_EVERY: u64 = 16_384;

/// One side of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiffSide {
    /// The collection as it is now.
    Present,
    /// A release of it.
    Release(String),
}

/// Objects of which something changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangedObjects {
    /// How many.
    pub count: u64,
    /// The first of them along the sky.
    pub ids: Vec<ObjectId>,
}

impl ChangedObjects {
    fn add(&mut self, id: ObjectId, listed_max: usize) {
        self.count += 1;
        if self.ids.len() < listed_max {
            self.ids.push(id);
        }
    }
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReleaseDiff {
    /// Objects that only the second side has.
    pub added: ChangedObjects,
    /// Objects that only the first side has.
    pub removed: ChangedObjects,
    /// Objects that both have, with another position, column, vector or tokens.
    pub changed: ChangedObjects,
    /// How many of the changed objects have another position.
    pub moved: u64,
    /// Columns by name that differ in changed objects, with their number; those that one side lacks are in `schema` alone.
    pub columns: Vec<(String, u64)>,
    /// The same of spaces.
    pub spaces: Vec<(String, u64)>,
    /// Differences of the schema, a sentence each.
    pub schema: Vec<String>,
}

impl Db {
    /// Compares two sides object by object; at most `listed_max` ids of each kind are listed.
    ///
    /// # Errors
    /// As [`Db::released`], and those of the disk.
    ///
    /// # Complexity
    /// One pass over both sides. Objects that moved are looked up by their ids.
    pub fn diff_releases(
        &self,
        collection: &str,
        sides: &[DiffSide; 2],
        listed_max: usize,
        progress: &mut Progress<'_>,
    ) -> Result<ReleaseDiff, EngineError> {
        self.diff_releases_while(collection, sides, listed_max, progress, &|| true)
    }

    /// The same, for as long as somebody wants it.
    ///
    /// # Errors
    /// As [`Db::diff_releases`], and [`StorageError::Stopped`](crate::storage::StorageError::Stopped).
    pub fn diff_releases_while(
        &self,
        collection: &str,
        sides: &[DiffSide; 2],
        listed_max: usize,
        progress: &mut Progress<'_>,
        go_on: &GoOn<'_>,
    ) -> Result<ReleaseDiff, EngineError> {
        let find = |side: &DiffSide| match side {
            DiffSide::Present => self.find(collection),
            DiffSide::Release(name) => self.find(&self.released(collection, name)?),
        };
        let [from, to] = sides;
        let (from, to) = (find(from)?, find(to)?);
        let view = |of: &Collection| self.store().snapshot(of.id());
        let (from, to) = (view(&from)?, view(&to)?);
        let mut comparison = Comparison::new(&from, &to, listed_max);
        comparison.walk(progress, go_on)?;
        Ok(comparison.diff)
    }

    /// Whether a release of that name can be queried.
    pub fn has_release(&self, collection: &str, name: &str) -> bool {
        self.find(&release_name(collection, name)).is_ok()
    }
}

/// What both schemas have, by its places or numbers in both.
struct Shared<T> {
    name: String,
    from: T,
    to: T,
    changed: u64,
}

struct Comparison<'s> {
    from: &'s Snapshot<'s>,
    to: &'s Snapshot<'s>,
    columns: Vec<Shared<usize>>,
    vectors: Vec<Shared<SpaceId>>,
    tokens: Vec<Shared<SpaceId>>,
    listed_max: usize,
    diff: ReleaseDiff,
}

impl<'s> Comparison<'s> {
    fn new(from: &'s Snapshot<'s>, to: &'s Snapshot<'s>, listed_max: usize) -> Self {
        let (old, new) = (&from.record().schema, &to.record().schema);
        let diff = ReleaseDiff { schema: schema_differences(old, new), ..ReleaseDiff::default() };
        let columns = old.columns.iter().enumerate().filter_map(|(place, column)| {
            let there = new.column_place(&column.name)?;
            let name = column.name.clone();
            Some(Shared { name, from: place, to: there, changed: 0 })
        });
        let (mut vectors, mut tokens) = (Vec::new(), Vec::new());
        for space in &old.spaces {
            let Some(there) = new.space(&space.name).filter(|there| there.form == space.form)
            else {
                continue;
            };
            let name = space.name.clone();
            let shared = Shared { name, from: space.id, to: there.id, changed: 0 };
            if space.holds_vectors() { &mut vectors } else { &mut tokens }.push(shared);
        }
        Self { from, to, columns: columns.collect(), vectors, tokens, listed_max, diff }
    }

    fn walk(&mut self, progress: &mut Progress<'_>, go_on: &GoOn<'_>) -> Result<(), EngineError> {
        let spaces = |side: fn(&Shared<SpaceId>) -> SpaceId, all: &[Shared<SpaceId>]| {
            all.iter().map(side).collect::<Vec<_>>()
        };
        let (from, to) = (self.from, self.to);
        let mut old = from.scan(0..u64::MAX, &spaces(|each| each.from, &self.vectors))?;
        let mut new = to.scan(0..u64::MAX, &spaces(|each| each.to, &self.vectors))?;
        let (mut left, mut right) = (old.next().transpose()?, new.next().transpose()?);
        let total = from.record().object_count.max(to.record().object_count);
        let mut done = 0;
        loop {
            let order = match (&left, &right) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((a, _)), Some((b, _))) => (a.cell, a.ordinal).cmp(&(b.cell, b.ordinal)),
            };
            let before = if order.is_le() { left.take() } else { None };
            let after = if order.is_ge() { right.take() } else { None };
            match (before, after) {
                (Some((_, before)), Some((_, after))) if before.id == after.id => {
                    self.compare(&before, &after)?;
                }
                (before, after) => {
                    before.map_or(Ok(()), |(_, before)| self.only_before(before))?;
                    after.map_or(Ok(()), |(_, after)| self.only_after(after))?;
                }
            }
            if order.is_le() {
                left = old.next().transpose()?;
            }
            if order.is_ge() {
                right = new.next().transpose()?;
            }
            done += 1;
            if done % TOLD_EVERY == 0 {
                progress("comparing", done.min(total), total);
                super::check(go_on)?;
            }
        }
        let counts = |all: &[Shared<SpaceId>]| {
            all.iter().map(|each| (each.name.clone(), each.changed)).collect::<Vec<_>>()
        };
        self.diff.columns =
            self.columns.iter().map(|each| (each.name.clone(), each.changed)).collect();
        self.diff.spaces = [counts(&self.vectors), counts(&self.tokens)].concat();
        let Self { diff, .. } = self;
        diff.columns.retain(|(_, count)| *count > 0);
        diff.spaces.retain(|(_, count)| *count > 0);
        Ok(())
    }

    /// An object that is not at the same place any more: it is gone, or has moved.
    fn only_before(&mut self, before: Object) -> Result<(), EngineError> {
        // One that moved is compared where the walk meets it on the second side.
        if self.to.get(std::slice::from_ref(&before.id), false)?.iter().flatten().next().is_none() {
            self.diff.removed.add(before.id, self.listed_max);
        }
        Ok(())
    }

    fn only_after(&mut self, after: Object) -> Result<(), EngineError> {
        let found = self.from.get(std::slice::from_ref(&after.id), true)?;
        match found.into_iter().flatten().next() {
            Some((_, before)) => self.compare(&before, &after),
            None => {
                self.diff.added.add(after.id, self.listed_max);
                Ok(())
            }
        }
    }

    fn compare(&mut self, before: &Object, after: &Object) -> Result<(), EngineError> {
        let mut is_changed = false;
        if before.position != after.position {
            self.diff.moved += 1;
            is_changed = true;
        }
        for column in &mut self.columns {
            let (a, b) = (before.columns.get(column.from), after.columns.get(column.to));
            // NaN equals itself here: by what is written, not by what it is worth.
            if format!("{a:?}") != format!("{b:?}") {
                column.changed += 1;
                is_changed = true;
            }
        }
        for space in &mut self.vectors {
            if vector(before, space.from) != vector(after, space.to) {
                space.changed += 1;
                is_changed = true;
            }
        }
        for space in &mut self.tokens {
            if tokens(self.from, space.from, before)? != tokens(self.to, space.to, after)? {
                space.changed += 1;
                is_changed = true;
            }
        }
        if is_changed {
            self.diff.changed.add(after.id.clone(), self.listed_max);
        }
        Ok(())
    }
}

fn vector(object: &Object, space: SpaceId) -> Option<&[f32]> {
    object.vectors.iter().find(|(id, _)| *id == space).map(|(_, vector)| vector.as_slice())
}

fn tokens(
    snapshot: &Snapshot<'_>,
    space: SpaceId,
    object: &Object,
) -> Result<Option<TokenSequence>, EngineError> {
    Ok(snapshot.tokens(space, std::slice::from_ref(&object.id))?.pop().flatten())
}

fn schema_differences(old: &CollectionSchema, new: &CollectionSchema) -> Vec<String> {
    let mut found = Vec::new();
    if old.description != new.description {
        found.push("the description differs".to_owned());
    }
    for column in &old.columns {
        match new.column_place(&column.name).and_then(|place| new.columns.get(place)) {
            None => found.push(format!("column `{}` is gone", column.name)),
            Some(other) if other.kind != column.kind => found.push(format!(
                "column `{}` was {} and is {}",
                column.name, column.kind, other.kind
            )),
            Some(other) if other != column => {
                found.push(format!("column `{}` is described otherwise", column.name));
            }
            Some(_) => {}
        }
    }
    let is_new = |name: &str| old.column_place(name).is_none();
    let columns = new.columns.iter().filter(|column| is_new(&column.name));
    found.extend(columns.map(|column| format!("column `{}` is new", column.name)));
    for space in &old.spaces {
        match new.space(&space.name) {
            None => found.push(format!("space `{}` is gone", space.name)),
            Some(other) if described(other) != described(space) => found.push(format!(
                "space `{}` was {} and is {}",
                space.name,
                described(space),
                described(other)
            )),
            Some(_) => {}
        }
    }
    let spaces = new.spaces.iter().filter(|space| old.space(&space.name).is_none());
    found.extend(spaces.map(|space| format!("space `{}` is new", space.name)));
    found
}

fn described(space: &EmbeddingSpace) -> String {
    let EmbeddingSpace { form, dimension, metric, provenance, .. } = space;
    format!("{} of {dimension} components, {metric}, {provenance}", form.plural())
}
