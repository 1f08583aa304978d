//! The one door to objects: a collection is seen through a grant for it, and only as far as the grant says.
//!
//! No other file of the services asks the database for a view, an object or its tokens; a test of the sources sees to that.

use std::sync::{Arc, Mutex, PoisonError};

use super::ServiceError;
use crate::access::{Grant, Registry, Role, Rows};
use crate::engine::{
    CollectionInfo, CollectionView, Db, IndexStatus, RowPolicy, StagedBlocks, Write, WriteMode,
    WriteReport,
};
use crate::files::ObjectBlock;
use crate::query::{self, Day};
use crate::schema::{CollectionId, CollectionSchema};

/// Compiled policies that are remembered.
const POLICIES_MAX: usize = 128;

/// Policies that were compiled, the oldest first. A predicate takes about as long to compile as a short query to answer.
#[derive(Debug, Default)]
pub(super) struct Policies {
    compiled: Mutex<Vec<Compiled>>,
}

#[derive(Debug)]
struct Compiled {
    schema: CollectionSchema,
    predicates: Arc<[String]>,
    day: Day,
    policy: Arc<dyn RowPolicy>,
}

impl Policies {
    fn get(
        &self,
        schema: &CollectionSchema,
        predicates: &Arc<[String]>,
        day: Day,
    ) -> Arc<dyn RowPolicy> {
        let is_same = |compiled: &&Compiled| {
            compiled.day == day && compiled.predicates == *predicates && compiled.schema == *schema
        };
        {
            let compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = compiled.iter().find(is_same) {
                return Arc::clone(&found.policy);
            }
        }
        let policy = query::row_policy(schema, predicates, day);
        let made = Compiled {
            schema: schema.clone(),
            predicates: Arc::clone(predicates),
            day,
            policy: Arc::clone(&policy),
        };
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if compiled.len() >= POLICIES_MAX {
            compiled.remove(0);
        }
        compiled.push(made);
        policy
    }
}

/// The database as one call may see it. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Door {
    db: Db,
    grant: Grant,
    policies: Arc<Policies>,
    /// The number of the collection that is meant, whatever has its name later.
    pinned: Option<CollectionId>,
}

impl Door {
    pub(super) fn new(db: Db, grant: Grant, policies: Arc<Policies>) -> Self {
        Self { db, grant, policies, pinned: None }
    }

    /// The same door to a collection as it is now: nothing is written through it into another one that has its name later.
    ///
    /// # Errors
    /// [`ServiceError::NotGranted`]; those of the database.
    pub(super) fn pinned(self, collection: &str) -> Result<Self, ServiceError> {
        self.check(collection)?;
        let pinned = Some(self.db.collection_id(collection)?);
        Ok(Self { pinned, ..self })
    }

    /// The same door after a new decision on the call, which goes on.
    ///
    /// # Errors
    /// [`ServiceError::Denied`] where it would not be let through any more, [`ServiceError::CollectionGone`] where the
    /// collection that was pinned is not there any more.
    pub(super) fn renewed(
        &self,
        registry: &Registry,
        needed: Role,
        collection: &str,
    ) -> Result<Self, ServiceError> {
        let grant = registry.renew(&self.grant, needed)?;
        let door = Self { grant, ..self.clone() };
        door.check_pin(collection)?;
        Ok(door)
    }

    fn check_pin(&self, collection: &str) -> Result<(), ServiceError> {
        let is_there = |id| self.db.collection_id(collection).is_ok_and(|found| found == id);
        if self.pinned.is_none_or(is_there) {
            return Ok(());
        }
        Err(ServiceError::CollectionGone { collection: collection.to_owned() })
    }

    /// The database, for what holds no rows: schemas, indices, and records by name.
    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    /// Whether there may be rows that the caller does not see.
    pub(super) fn is_restricted(&self) -> bool {
        self.grant.rows != Rows::All
    }

    /// Refuses a collection that the call was not granted. What holds for a collection holds for its releases.
    ///
    /// # Errors
    /// [`ServiceError::NotGranted`].
    pub(super) fn check(&self, collection: &str) -> Result<(), ServiceError> {
        let own = |name: &str| name.split('@').next().unwrap_or_default().to_lowercase();
        let is_granted = match &self.grant.collection {
            Some(granted) => own(granted) == own(collection),
            None => self.grant.open,
        };
        if is_granted {
            return Ok(());
        }
        Err(ServiceError::NotGranted { collection: collection.to_owned() })
    }

    /// What the caller sees of a collection now.
    ///
    /// # Errors
    /// [`ServiceError::NotGranted`]; those of the database.
    ///
    /// # Complexity
    /// Next to nothing, but where rows of the collection are asked for under a policy for the first time.
    pub(super) fn view(&self, collection: &str) -> Result<CollectionView, ServiceError> {
        self.check(collection)?;
        Ok(self.shaded(self.db.view(collection)?))
    }

    /// The same for counts and schemas alone: vectors that wait to be made go on waiting.
    ///
    /// # Errors
    /// As [`Door::view`].
    pub(super) fn glance(&self, collection: &str) -> Result<CollectionView, ServiceError> {
        // What a policy shows depends on columns.
        if self.is_restricted() {
            return self.view(collection);
        }
        self.check(collection)?;
        Ok(self.db.glance(collection)?)
    }

    fn shaded(&self, view: CollectionView) -> CollectionView {
        match self.policy(view.schema()) {
            Some(policy) => view.restricted(policy),
            None => view,
        }
    }

    /// The same, where nothing has to be read or found out for it.
    ///
    /// # Errors
    /// [`ServiceError::NotGranted`].
    pub(super) fn view_at_hand(
        &self,
        collection: &str,
    ) -> Result<Option<CollectionView>, ServiceError> {
        self.check(collection)?;
        let Some(view) = self.db.view_at_hand(collection) else { return Ok(None) };
        Ok(match self.policy(view.schema()) {
            Some(policy) => view.restricted_at_hand(policy),
            None => Some(view),
        })
    }

    fn policy(&self, schema: &CollectionSchema) -> Option<Arc<dyn RowPolicy>> {
        match &self.grant.rows {
            Rows::All => None,
            Rows::Any(predicates) => Some(self.policies.get(schema, predicates, Day::today())),
        }
    }

    /// Schema, counts and footprint of what the caller sees.
    ///
    /// # Errors
    /// [`ServiceError::NotGranted`]; those of the database.
    pub(super) fn info(&self, collection: &str) -> Result<CollectionInfo, ServiceError> {
        self.check(collection)?;
        if self.is_restricted() {
            return Ok(self.view(collection)?.info(true)?);
        }
        Ok(self.db.collection(collection)?)
    }

    /// What the caller sees of a collection that somebody who sees all was told of, without its footprint.
    ///
    /// # Errors
    /// [`ServiceError::NotGranted`]; those of the database.
    pub(super) fn shown(&self, info: CollectionInfo) -> Result<CollectionInfo, ServiceError> {
        self.check(&info.schema.name)?;
        if self.is_restricted() {
            return Ok(self.view(&info.schema.name)?.info(false)?);
        }
        Ok(info)
    }

    /// What is indexed of what the caller sees.
    ///
    /// # Errors
    /// [`ServiceError::NotGranted`]; those of the database.
    pub(super) fn index_status(&self, collection: &str) -> Result<IndexStatus, ServiceError> {
        let view = self.glance(collection)?;
        let build = self.db.build_standing(collection)?;
        let build = if view.is_restricted() { build.of_shown() } else { build };
        Ok(IndexStatus { build, ..view.index_status() })
    }

    /// Writes a batch, but over no object that the caller does not see.
    ///
    /// # Errors
    /// [`ServiceError::NotGranted`]; those of the database.
    pub(super) fn write(
        &self,
        collection: &str,
        mode: WriteMode,
        writes: Vec<Write>,
    ) -> Result<WriteReport, ServiceError> {
        self.check(collection)?;
        let policy = self.policy(&self.db.schema(collection)?);
        Ok(match (self.pinned, policy.as_deref()) {
            (Some(id), policy) => self.db.write_pinned(collection, id, mode, writes, policy)?,
            (None, Some(policy)) => self.db.write_restricted(collection, mode, writes, policy)?,
            (None, None) => self.db.write(collection, mode, writes)?,
        })
    }

    /// Does of an insertion what can be done while others write; nothing where the rows must be looked at one by one, since the
    /// caller does not see all.
    ///
    /// # Errors
    /// [`ServiceError::NotGranted`]; those of the database.
    pub(super) fn stage(
        &self,
        collection: &str,
        blocks: &[Arc<ObjectBlock>],
    ) -> Result<Option<StagedBlocks>, ServiceError> {
        self.check(collection)?;
        if self.policy(&self.db.schema(collection)?).is_some() {
            return Ok(None);
        }
        Ok(Some(self.db.stage(collection, blocks.to_vec())?))
    }

    /// Writes the rows of blocks in one commit, but over no object that the caller does not see; `staged` is what was done of it
    /// before.
    ///
    /// # Errors
    /// [`ServiceError::NotGranted`]; those of the database.
    pub(super) fn insert(
        &self,
        collection: &str,
        blocks: &[Arc<ObjectBlock>],
        staged: Option<StagedBlocks>,
    ) -> Result<WriteReport, ServiceError> {
        self.check(collection)?;
        if let Some(policy) = self.policy(&self.db.schema(collection)?) {
            let (db, pinned) = (&self.db, self.pinned);
            return Ok(db.insert_restricted(collection, pinned, blocks, policy.as_ref())?);
        }
        let staged = match staged {
            Some(staged) => staged,
            None => self.db.stage(collection, blocks.to_vec())?,
        };
        Ok(self.db.insert(collection, self.pinned, staged)?)
    }
}
