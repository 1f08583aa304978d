//! Which objects teach and which ones test, so that the same object is on the same side for ever.
//!
//! A side follows from the object alone: from a hash of its id and the split's seed, from its cell on the sky, or from a
//! column. Whatever else is in the collection, and in whatever order it came, changes nothing.

mod few;
mod hash;
mod leak;
mod spec;

pub use few::few_shot;
pub use hash::SplitId;
pub use leak::{LEAK_ARCSEC, leaked, leaked_between, unit_vector};
pub use spec::{SplitSpec, SplitSubject};

use super::LearnError;

/// Where an object belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// It teaches.
    Train,
    /// It tests what was taught.
    Test,
    /// It is used to choose between what was taught.
    Validation,
    /// It tests in this fold and teaches in all others.
    Fold(u32),
    /// It has no part in this.
    Out,
}

/// Places of objects by side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partition {
    /// Those that teach.
    pub train: Vec<u32>,
    /// Those that test.
    pub test: Vec<u32>,
    /// Those to choose by.
    pub validation: Vec<u32>,
    /// Those of each fold; empty unless the split has folds.
    pub folds: Vec<Vec<u32>>,
    /// The others.
    pub out: Vec<u32>,
}

impl Partition {
    /// Sorts objects by their sides.
    ///
    /// # Errors
    /// [`LearnError::TooFew`] where nothing teaches or nothing tests: without folds when the training or the test set is
    /// empty, with folds when there is one fold only or an empty one.
    pub fn of(sides: &[Side]) -> Result<Self, LearnError> {
        let mut partition = Self::default();
        for (place, side) in (0..).zip(sides) {
            let list = match *side {
                Side::Train => &mut partition.train,
                Side::Test => &mut partition.test,
                Side::Validation => &mut partition.validation,
                Side::Out => &mut partition.out,
                Side::Fold(fold) => {
                    let fold = fold as usize;
                    if fold >= partition.folds.len() {
                        partition.folds.resize(fold + 1, Vec::new());
                    }
                    &mut partition.folds[fold]
                }
            };
            list.push(place);
        }
        let lacks = |what, given, needed| Err(LearnError::TooFew { what, given, needed });
        if partition.folds.is_empty() {
            if partition.train.is_empty() {
                return lacks("training examples", 0, 1);
            }
            if partition.test.is_empty() {
                return lacks("test examples", 0, 1);
            }
        } else if partition.folds.len() < 2 {
            return lacks("folds", partition.folds.len(), 2);
        } else if partition.folds.iter().any(Vec::is_empty) {
            return lacks("examples in one of the folds (give fewer folds)", 0, 1);
        }
        Ok(partition)
    }
}

/// Refuses classes that cannot be learnt or measured: one class only in the training set, or one in the test set that the
/// training set does not have.
///
/// # Errors
/// [`LearnError::TooFew`], [`LearnError::OneValue`], [`LearnError::UnseenClass`].
pub fn check_classes(train: &[u32], test: &[u32], names: &[String]) -> Result<(), LearnError> {
    let name = |class: u32| names.get(class as usize).cloned().unwrap_or_else(|| class.to_string());
    let Some(first) = train.first() else {
        return Err(LearnError::TooFew { what: "training examples", given: 0, needed: 1 });
    };
    if train.iter().all(|class| class == first) {
        return Err(LearnError::OneValue { value: name(*first) });
    }
    let seen: std::collections::HashSet<u32> = train.iter().copied().collect();
    match test.iter().find(|class| !seen.contains(class)) {
        Some(class) => Err(LearnError::UnseenClass { class: name(*class) }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_sorted_by_side() {
        let sides = [Side::Test, Side::Train, Side::Out, Side::Validation, Side::Train];
        let partition = Partition::of(&sides).expect("both sides");
        assert_eq!(partition.train, [1, 4]);
        assert_eq!(partition.test, [0]);
        assert_eq!(partition.validation, [3]);
        assert_eq!(partition.out, [2]);
        let folds = Partition::of(&[Side::Fold(1), Side::Fold(0), Side::Fold(1)]).expect("folds");
        assert_eq!(folds.folds, [vec![1], vec![0, 2]]);
    }

    #[test]
    fn an_empty_side_is_refused() {
        let refused = |sides: &[Side]| Partition::of(sides).expect_err("refused").to_string();
        assert!(refused(&[]).contains("0 training examples"));
        assert!(refused(&[Side::Train]).contains("0 test examples"));
        assert!(refused(&[Side::Fold(0)]).contains("1 folds; at least 2"));
        assert!(refused(&[Side::Fold(2), Side::Fold(0)]).contains("one of the folds (give fewer"));
    }

    #[test]
    fn classes_that_cannot_be_measured_are_named() {
        let names = ["spiral".to_owned(), "elliptical".to_owned()];
        assert_eq!(check_classes(&[0, 1], &[1, 1], &names), Ok(()));
        let refused = |train: &[u32], test: &[u32]| {
            check_classes(train, test, &names).expect_err("refused").to_string()
        };
        assert!(refused(&[0, 0], &[0]).contains("one value only (spiral)"));
        assert!(refused(&[0, 1, 0], &[7]).contains("class 7 is in the test set"));
        assert!(refused(&[], &[0]).contains("0 training examples"));
    }
}
