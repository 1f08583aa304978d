//! Which examples judge which fits.

use super::super::LearnError;

/// How the strength of regularisation is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folds<'a> {
    /// It is given.
    None,
    /// Each example is predicted by a fit to all others, in closed form.
    LeaveOneOut,
    /// The examples of each fold are predicted by a fit to those of all other folds.
    Of {
        /// Fold of each example, from 0.
        of: &'a [u32],
        /// Number of folds.
        count: usize,
    },
}

impl<'a> Folds<'a> {
    /// Refuses folds that do not fit the examples, or strengths of which none could be chosen.
    pub(super) fn check(&self, examples: usize, alphas: usize) -> Result<(), LearnError> {
        let Self::Of { of, count } = *self else {
            if *self == Self::None && alphas != 1 {
                return Err(LearnError::BadSetting {
                    what: "the number of strengths",
                    value: alphas.to_string(),
                    hint: "without folds one strength is given; ask for folds to choose among several",
                });
            }
            return Ok(());
        };
        if of.len() != examples {
            let what = "fold numbers of examples";
            return Err(LearnError::Shape { what, given: of.len(), expected: examples });
        }
        let mut sizes = vec![0_usize; count];
        for &fold in of {
            match sizes.get_mut(fold as usize) {
                Some(size) => *size += 1,
                None => {
                    return Err(LearnError::BadSetting {
                        what: "the fold of an example",
                        value: fold.to_string(),
                        hint: "folds are numbered from 0, below their number",
                    });
                }
            }
        }
        if count < 2 || sizes.contains(&0) {
            let given = sizes.iter().filter(|size| **size > 0).count();
            return Err(LearnError::TooFew {
                what: "folds with examples",
                given,
                needed: count.max(2),
            });
        }
        Ok(())
    }

    /// Fold of each example and the number of folds, where there are folds.
    pub(super) fn numbers(&self) -> Option<(&'a [u32], usize)> {
        match *self {
            Self::Of { of, count } => Some((of, count)),
            _ => None,
        }
    }
}

/// A fold for each example: as many in each as it goes, by the seed.
pub fn fold_numbers(examples: usize, count: usize, seed: u64) -> Vec<u32> {
    stratified_fold_numbers(&vec![0; examples], count, seed)
}

/// A fold for each example, such that the examples of every class are divided as evenly as it goes, by the seed.
pub fn stratified_fold_numbers(classes: &[u32], count: usize, seed: u64) -> Vec<u32> {
    let mut order: Vec<(u32, u64, u32)> =
        classes.iter().zip(0..).map(|(class, at)| (*class, mixed(seed, at), at)).collect();
    order.sort_unstable();
    let mut folds = vec![0; classes.len()];
    for (place, (_, _, at)) in order.into_iter().enumerate() {
        folds[at as usize] = (place % count.max(1)) as u32;
    }
    folds
}

/// A number that depends on the seed and a place, as if it were random (the finaliser of SplitMix64).
fn mixed(seed: u64, at: u32) -> u64 {
    let mut z =
        seed.wrapping_add(u64::from(at).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_are_even_and_so_are_their_classes() {
        let classes: Vec<u32> = (0..1_003).map(|at| u32::from(at % 10 == 0)).collect();
        let folds = stratified_fold_numbers(&classes, 5, 3);
        let sizes = |class: u32| {
            let mut sizes = [0; 5];
            let of_class = folds.iter().zip(&classes).filter(|(_, c)| **c == class);
            of_class.for_each(|(fold, _)| sizes[*fold as usize] += 1);
            sizes
        };
        for sizes in [sizes(0), sizes(1)] {
            assert!(sizes.iter().max() <= sizes.iter().min().map(|least| least + 1).as_ref());
        }
        assert_eq!(folds, stratified_fold_numbers(&classes, 5, 3));
        assert_ne!(folds, stratified_fold_numbers(&classes, 5, 4));
        assert_ne!(fold_numbers(100, 5, 0)[..10], [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn folds_that_do_not_fit_are_refused() {
        let of = |of, count| Folds::Of { of, count }.check(3, 1);
        assert_eq!(of(&[0, 1, 0], 2), Ok(()));
        assert!(of(&[0, 1], 2).is_err());
        assert!(of(&[0, 1, 2], 2).is_err());
        assert!(of(&[0, 1, 0], 3).is_err());
        assert!(of(&[0, 0, 0], 1).is_err());
        assert!(Folds::None.check(3, 2).is_err());
        assert_eq!(Folds::None.check(3, 1), Ok(()));
        assert_eq!(Folds::LeaveOneOut.check(3, 20), Ok(()));
    }
}
