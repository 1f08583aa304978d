//! A part as a version of a collection sees it: some of its rows may be dead, or hidden by a policy.

use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;

use super::part::Part;
use super::row_policy::{PerPolicy, PolicyKey, RowPolicy};
use crate::storage::ObjectKey;
use crate::vector::RowBitmap;

/// A part and its dead rows (deleted, or written again since).
#[derive(Debug, Clone)]
pub struct LivePart {
    pub(super) part: Arc<Part>,
    pub(super) dead: Arc<RoaringBitmap>,
    /// The dead rows bit by bit, made when a query first asks: it asks about many rows.
    dense: Arc<OnceLock<RowBitmap>>,
    /// The rows that policies admit, dead ones among them.
    admitted: Arc<PerPolicy<RoaringBitmap>>,
    /// The same without the dead.
    shown: Arc<PerPolicy<Shown>>,
    /// The rows that there are, where policies hide others.
    visible: Option<Arc<RoaringBitmap>>,
    /// The rows that are dead to everybody, where policies hide others.
    dead_to_all: Option<Arc<RoaringBitmap>>,
    /// The first and the last commit that its rows are from.
    pub(super) commits: (u64, u64),
}

/// What a policy shows of a part and its dead rows.
#[derive(Debug)]
struct Shown {
    visible: Arc<RoaringBitmap>,
    /// All others: dead, hidden, or both.
    gone: Arc<RoaringBitmap>,
    dense: Arc<OnceLock<RowBitmap>>,
}

impl LivePart {
    pub(super) fn new(part: Part, commits: (u64, u64)) -> Self {
        Self {
            part: Arc::new(part),
            dead: Arc::default(),
            dense: Arc::default(),
            admitted: Arc::default(),
            shown: Arc::default(),
            visible: None,
            dead_to_all: None,
            commits,
        }
    }

    /// The same part, of which the rows that a policy does not admit are dead too.
    ///
    /// # Complexity
    /// That of the policy for the whole part, at the first time; of a bitmap of the rows after a row died; else nothing.
    pub(super) fn restricted(&self, policy: &dyn RowPolicy) -> Self {
        let key = policy.key();
        let shown = self.shown.get_or_make(key, || {
            let admitted = self.admitted.get_or_make(key, || policy.admitted_rows(&self.part));
            let visible = &*admitted - &*self.dead;
            let mut gone = RoaringBitmap::new();
            gone.insert_range(0..self.part.row_count() as u32);
            gone -= &visible;
            Shown { visible: Arc::new(visible), gone: Arc::new(gone), dense: Arc::default() }
        });
        self.showing(&shown)
    }

    /// The same, where nothing has to be made for it.
    pub(super) fn restricted_at_hand(&self, key: PolicyKey) -> Option<Self> {
        Some(self.showing(&*self.shown.made(key)?))
    }

    fn showing(&self, shown: &Shown) -> Self {
        Self {
            part: Arc::clone(&self.part),
            dead: Arc::clone(&shown.gone),
            dense: Arc::clone(&shown.dense),
            admitted: Arc::default(),
            shown: Arc::default(),
            visible: Some(Arc::clone(&shown.visible)),
            dead_to_all: Some(Arc::clone(self.dead_to_all.as_ref().unwrap_or(&self.dead))),
            commits: self.commits,
        }
    }

    /// Gives the rows more columns. A policy that named a column before there was one may admit rows now.
    pub(super) fn widen(&mut self, part: Part) {
        self.part = Arc::new(part);
        (self.admitted, self.shown) = (Arc::default(), Arc::default());
    }

    /// The rows that are, where policies hide others; `None` where all rows may be seen that are not dead.
    pub fn visible(&self) -> Option<&RoaringBitmap> {
        self.visible.as_deref()
    }

    /// The rows.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// Rows that are not there any more.
    pub fn dead(&self) -> &RoaringBitmap {
        &self.dead
    }

    /// Those of them that are dead to everybody, and not hidden by a policy alone.
    pub(super) fn dead_to_all(&self) -> &RoaringBitmap {
        self.dead_to_all.as_ref().unwrap_or(&self.dead)
    }

    /// Rows that are not there any more as a bitmap of all rows; `None` when every row is there.
    pub fn dead_rows(&self) -> Option<&RowBitmap> {
        let make = || {
            let mut rows = RowBitmap::empty(self.part.row_count());
            self.dead.iter().for_each(|row| rows.insert(row as usize));
            rows
        };
        (!self.dead.is_empty()).then(|| self.dense.get_or_init(make))
    }

    /// Number of rows that are.
    pub fn live_count(&self) -> u64 {
        self.part.row_count() as u64 - self.dead.len()
    }

    /// The only way beside [`LivePart::kill`] to change which rows are dead: what was made of them goes along.
    pub(super) fn set_dead(&mut self, dead: RoaringBitmap) {
        self.dead = Arc::new(dead);
        self.dense = Arc::default();
        self.shown = Arc::default();
    }

    pub(super) fn kill(&mut self, key: ObjectKey) {
        if let Some(row) = self.part.row_of(key) {
            let row = row as u32;
            if !self.dead.contains(row) {
                Arc::make_mut(&mut self.dead).insert(row);
                self.dense = Arc::default();
                self.shown = Arc::default();
            }
        }
    }
}
