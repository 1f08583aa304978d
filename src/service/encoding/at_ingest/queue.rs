//! What a worker has before it, and what it need not look at again.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::schema::{CollectionId, ObjectId};
use crate::service::convert::Print;
use crate::storage::{Change, ChangeKind, ObjectKey};

/// An object that may lack something in the space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Candidate {
    Id(ObjectId),
    Key(ObjectKey),
}

/// An object that lacks something in the space and is left alone until it is another one.
#[derive(Debug, Clone, Copy)]
struct Settled {
    /// The inputs that could not be encoded; `None` for an object without inputs.
    print: Option<Print>,
    /// The look at all objects in which it was seen last.
    round: u64,
}

/// The objects that a worker has before it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Which collection they are of: one of the same name may be made later.
    collection: Option<CollectionId>,
    /// Version up to which everything that lacks something is among the candidates, or settled.
    seen: Option<u64>,
    candidates: VecDeque<Candidate>,
    settled: HashMap<ObjectKey, Settled>,
    /// How many of the settled could not be encoded.
    failed: u64,
    /// Versions that the worker itself has written since `seen`.
    own: HashSet<u64>,
    round: u64,
    /// All objects were looked at in this round, so that what is settled and was not seen in it is gone.
    has_strays: bool,
}

impl Queue {
    /// The version from which on changes of a collection are wanted; `None` when all of its objects are.
    pub(super) fn seen(&self, collection: CollectionId) -> Option<u64> {
        self.seen.filter(|_| self.collection == Some(collection))
    }

    /// Begins with all objects that lack something at a version.
    pub(super) fn begin(&mut self, collection: CollectionId, version: u64, ids: Vec<ObjectId>) {
        if self.collection != Some(collection) {
            *self = Self { collection: Some(collection), round: self.round, ..Self::default() };
        }
        self.candidates = ids.into_iter().map(Candidate::Id).collect();
        self.seen = Some(version);
        self.own.clear();
        self.round += 1;
        self.has_strays = true;
    }

    /// Goes on with what was changed since, up to a version at least.
    pub(super) fn follow(&mut self, version: u64, commits: Vec<(u64, Vec<Change>)>) {
        let mut last = version.max(self.seen.unwrap_or(0));
        let mut changed: BTreeMap<ObjectKey, ChangeKind> = BTreeMap::new();
        for (version, changes) in commits {
            last = last.max(version);
            if !self.own.contains(&version) {
                changed.extend(changes.into_iter().map(|change| (change.key, change.kind)));
            }
        }
        for (key, kind) in changed {
            match kind {
                ChangeKind::Delete => self.unsettle(key),
                ChangeKind::Put | ChangeKind::Tokens => {
                    self.candidates.push_back(Candidate::Key(key));
                }
            }
        }
        self.seen = Some(last);
        self.own.retain(|version| *version > last);
    }

    /// Takes some candidates; none when all have been looked at.
    pub(super) fn take(&mut self, count: usize) -> Vec<Candidate> {
        let count = count.min(self.candidates.len());
        if count == 0 && std::mem::take(&mut self.has_strays) {
            let round = self.round;
            self.settled.retain(|_, settled| settled.round == round);
            let failed = self.settled.values().filter(|settled| settled.print.is_some());
            self.failed = failed.count() as u64;
        }
        self.candidates.drain(..count).collect()
    }

    /// Puts candidates behind all others.
    pub(super) fn put_back(&mut self, candidates: Vec<Candidate>) {
        self.candidates.extend(candidates);
    }

    /// The worker itself has written a version.
    pub(super) fn wrote(&mut self, version: u64) {
        self.own.insert(version);
    }

    /// Whether an object is to be left alone with these inputs, `None` for none at all; from now on it is, where it has none.
    pub(super) fn is_settled(&mut self, key: ObjectKey, print: Option<Print>) -> bool {
        let round = self.round;
        match self.settled.get_mut(&key) {
            Some(settled) if settled.print == print => {
                settled.round = round;
                true
            }
            _ if print.is_none() => {
                self.settle(key, None);
                true
            }
            _ => false,
        }
    }

    /// Leaves an object alone from now on.
    pub(super) fn settle(&mut self, key: ObjectKey, print: Option<Print>) {
        self.unsettle(key);
        self.settled.insert(key, Settled { print, round: self.round });
        self.failed += u64::from(print.is_some());
    }

    /// Something is in the space, or will be tried.
    pub(super) fn unsettle(&mut self, key: ObjectKey) {
        let settled = self.settled.remove(&key);
        self.failed -= u64::from(settled.is_some_and(|settled| settled.print.is_some()));
    }

    /// Objects that could not be encoded, and those without inputs.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.failed, self.settled.len() as u64 - self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sky::Cell29;

    const COLLECTION: CollectionId = CollectionId(1);

    fn key(ordinal: u32) -> ObjectKey {
        ObjectKey { collection: COLLECTION, cell: Cell29(7), ordinal }
    }

    fn put(ordinal: u32) -> Change {
        Change { key: key(ordinal), kind: ChangeKind::Put }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as a queue has it")]
    fn print(text: &str) -> Option<Print> {
        Some(blake3::hash(text.as_bytes()))
    }

    #[test]
    fn changes_of_others_are_followed_and_its_own_are_not() {
        let mut queue = Queue::default();
        assert_eq!(queue.seen(COLLECTION), None);
        queue.begin(COLLECTION, 5, vec![ObjectId::Number(1)]);
        assert_eq!(queue.take(9), [Candidate::Id(ObjectId::Number(1))]);
        queue.wrote(6);
        queue.follow(7, vec![(6, vec![put(1)]), (7, vec![put(3), put(2)]), (8, vec![put(3)])]);
        assert_eq!(queue.seen(COLLECTION), Some(8), "the changes may be later than the view");
        assert_eq!(queue.take(1), [Candidate::Key(key(2))]);
        queue.put_back(vec![Candidate::Key(key(2))]);
        assert_eq!(queue.take(9), [Candidate::Key(key(3)), Candidate::Key(key(2))]);
        queue.follow(8, Vec::new());
        assert!(queue.take(9).is_empty());
        assert_eq!(queue.seen(CollectionId(2)), None, "another collection of the same name");
    }

    #[test]
    fn what_failed_is_left_alone_until_it_has_other_inputs_or_is_gone() {
        let mut queue = Queue::default();
        queue.begin(COLLECTION, 1, Vec::new());
        assert!(!queue.is_settled(key(1), print("a")));
        queue.settle(key(1), print("a"));
        assert!(queue.is_settled(key(1), print("a")) && !queue.is_settled(key(1), print("b")));
        assert!(queue.is_settled(key(2), None), "without inputs");
        assert_eq!(queue.counts(), (1, 1));
        assert!(queue.is_settled(key(1), None), "it has lost its inputs");
        assert_eq!(queue.counts(), (0, 2));
        let gone = Change { key: key(1), kind: ChangeKind::Delete };
        queue.follow(2, vec![(2, vec![gone])]);
        assert_eq!(queue.counts(), (0, 1));
        // In a look at all objects that one is not seen any more.
        queue.settle(key(4), print("d"));
        queue.begin(COLLECTION, 3, vec![ObjectId::Number(4)]);
        assert_eq!(queue.take(1).len(), 1);
        assert!(queue.is_settled(key(4), print("d")));
        assert_eq!(queue.counts(), (1, 1), "nothing is forgotten before all were looked at");
        assert!(queue.take(1).is_empty());
        assert_eq!(queue.counts(), (1, 0));
    }
}
