//! What was computed of derived columns, as long as it fits into a budget of memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::array::{Array, Float64Array};
use roaring::RoaringBitmap;

use super::Formula;

/// All outputs of a formula for the rows of one block of a part.
#[derive(Debug)]
pub(super) struct BlockOutputs {
    /// One for each output, as long as the block.
    pub(super) outputs: Vec<Float64Array>,
    /// Places in the block of rows that were not computed for everybody: they were dead, or written again since. Their values
    /// are null here.
    pub(super) without: RoaringBitmap,
}

pub(super) type BlockValues = Arc<BlockOutputs>;

/// Share of the budget that is left when room is made, in eighths: making room looks at everything, and is done rarely.
const LEFT_EIGHTHS: u64 = 7;

/// A cache of computed blocks; the one that was not asked for longest makes room.
#[derive(Debug)]
pub(in crate::engine) struct DerivedCache {
    budget_bytes: u64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    blocks: HashMap<Key, Block>,
    bytes: u64,
    clock: u64,
}

/// Addresses, which stay those of one part and one formula as long as the block holds on to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    part: usize,
    formula: usize,
    block: usize,
}

#[derive(Debug)]
struct Block {
    part: Weak<()>,
    formula: Weak<dyn Formula>,
    values: BlockValues,
    bytes: u64,
    used: u64,
}

impl Block {
    fn is_dead(&self) -> bool {
        self.part.strong_count() == 0 || self.formula.strong_count() == 0
    }
}

impl Key {
    fn new(part: &Arc<()>, formula: &Arc<dyn Formula>, block: usize) -> Self {
        let formula = Arc::as_ptr(formula).cast::<()>().addr();
        Self { part: Arc::as_ptr(part).addr(), formula, block }
    }
}

impl DerivedCache {
    /// A cache of at most so many bytes.
    pub(in crate::engine) fn new(budget_bytes: u64) -> Self {
        Self { budget_bytes, held: Mutex::default() }
    }

    /// What was computed for a block of a part.
    pub(super) fn get(
        &self,
        part: &Arc<()>,
        formula: &Arc<dyn Formula>,
        block: usize,
    ) -> Option<BlockValues> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.clock += 1;
        let now = held.clock;
        let block = held.blocks.get_mut(&Key::new(part, formula, block))?;
        block.used = now;
        Some(Arc::clone(&block.values))
    }

    /// Keeps what was computed for a block of a part, as far as there is room.
    pub(super) fn put(
        &self,
        part: &Arc<()>,
        formula: &Arc<dyn Formula>,
        block: usize,
        values: &BlockValues,
    ) {
        let bytes: usize = values.outputs.iter().map(Array::get_array_memory_size).sum();
        let bytes = (bytes + values.without.serialized_size()) as u64;
        if bytes > self.budget_bytes {
            return;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.clock += 1;
        let kept = Block {
            part: Arc::downgrade(part),
            formula: Arc::downgrade(formula),
            values: Arc::clone(values),
            bytes,
            used: held.clock,
        };
        held.bytes += bytes;
        if let Some(before) = held.blocks.insert(Key::new(part, formula, block), kept) {
            held.bytes -= before.bytes;
        }
        if held.bytes > self.budget_bytes {
            held.make_room(self.budget_bytes / 8 * LEFT_EIGHTHS);
        }
    }
}

impl Held {
    fn make_room(&mut self, left_bytes: u64) {
        self.blocks.retain(|_, block| !block.is_dead());
        self.bytes = self.blocks.values().map(|block| block.bytes).sum();
        let mut by_use: Vec<(u64, Key)> =
            self.blocks.iter().map(|(key, block)| (block.used, *key)).collect();
        by_use.sort_unstable_by_key(|(used, _)| *used);
        for (_, key) in by_use {
            if self.bytes <= left_bytes {
                return;
            }
            if let Some(block) = self.blocks.remove(&key) {
                self.bytes -= block.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::derived::DerivedColumn;
    use crate::schema::SpaceId;

    #[derive(Debug)]
    struct Nothing;

    impl Formula for Nothing {
        fn spaces(&self) -> &[SpaceId] {
            &[]
        }

        fn columns(&self) -> &[String] {
            &[]
        }

        fn outputs(&self) -> &[DerivedColumn] {
            &[]
        }

        fn compute(&self, _count: usize, _inputs: &[f64]) -> Vec<Vec<f64>> {
            Vec::new()
        }
    }

    fn values(first: f64) -> BlockValues {
        let outputs = vec![Float64Array::from(vec![first; 1000])];
        Arc::new(BlockOutputs { outputs, without: RoaringBitmap::new() })
    }

    #[test]
    fn what_was_not_asked_for_longest_makes_room() {
        let cache = DerivedCache::new(10 * 8_300);
        let part = Arc::new(());
        let formulas: [Arc<dyn Formula>; 2] = [Arc::new(Nothing), Arc::new(Nothing)];
        let is_there =
            |formula: usize, block| cache.get(&part, &formulas[formula], block).is_some();
        for block in 0..9 {
            cache.put(&part, &formulas[0], block, &values(block as f64));
        }
        cache.put(&part, &formulas[1], 0, &values(-1.0));
        assert!((0..9).all(|block| is_there(0, block)) && is_there(1, 0));
        let found = cache.get(&part, &formulas[0], 3).expect("is there");
        assert_eq!(found.outputs[0].value(0), 3.0);
        assert!(is_there(0, 0), "asked for again");
        for block in 9..14 {
            cache.put(&part, &formulas[0], block, &values(0.0));
        }
        assert!(is_there(0, 0) && !is_there(0, 1) && is_there(0, 13));
    }

    #[test]
    fn what_belongs_to_nothing_any_more_goes_first() {
        let cache = DerivedCache::new(4 * 8_300);
        let (gone, stays) = (Arc::new(()), Arc::new(()));
        let formula: Arc<dyn Formula> = Arc::new(Nothing);
        cache.put(&stays, &formula, 0, &values(1.0));
        cache.put(&gone, &formula, 0, &values(2.0));
        cache.put(&gone, &formula, 1, &values(2.0));
        drop(gone);
        cache.put(&stays, &formula, 1, &values(1.0));
        cache.put(&stays, &formula, 2, &values(1.0));
        assert!((0..3).all(|block| cache.get(&stays, &formula, block).is_some()));
    }

    #[test]
    fn what_is_larger_than_the_budget_is_not_kept() {
        let cache = DerivedCache::new(100);
        let (part, formula): (_, Arc<dyn Formula>) = (Arc::new(()), Arc::new(Nothing));
        cache.put(&part, &formula, 0, &values(1.0));
        assert!(cache.get(&part, &formula, 0).is_none());
    }
}
