//! The k nearest of a stream, ties broken by the key.

use std::collections::BinaryHeap;

use super::Distance;

/// Keeps the `k` smallest `(distance, key)` pairs seen; `D` may be another order than that of distances.
///
/// # Complexity
/// `O(log k)` for a pair that enters, one comparison for a pair that does not.
#[derive(Debug, Clone)]
pub struct TopK<K, D = Distance> {
    k: usize,
    heap: BinaryHeap<(D, K)>,
}

impl<K: Ord, D: Ord + Copy> TopK<K, D> {
    /// Makes room for `k` pairs.
    pub fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::with_capacity(k.min(4096) + 1) }
    }

    /// Offers a pair. The key is made only when the distance can enter.
    pub fn offer(&mut self, distance: D, key: impl FnOnce() -> K) {
        if self.k == 0 {
            return;
        }
        if self.heap.len() < self.k {
            self.heap.push((distance, key()));
            return;
        }
        let Some(worst) = self.heap.peek() else { return };
        if distance > worst.0 {
            return;
        }
        let pair = (distance, key());
        if pair < *worst {
            self.heap.pop();
            self.heap.push(pair);
        }
    }

    /// The distance that a new pair has to undercut (or tie), once `k` pairs are held.
    pub fn bound(&self) -> Option<D> {
        (self.k > 0 && self.heap.len() == self.k)
            .then(|| self.heap.peek().map(|pair| pair.0))
            .flatten()
    }

    /// Pairs that are kept at most: the `k` it was made with.
    pub fn capacity(&self) -> usize {
        self.k
    }

    /// Pairs held now.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether no pair is held.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The pairs, nearest first.
    pub fn into_sorted(self) -> Vec<(D, K)> {
        self.heap.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_sorting_everything(values in prop::collection::vec(0u8..6, 0..60), k in 0usize..20) {
            let mut top = TopK::new(k);
            let mut all: Vec<(Distance, usize)> = Vec::new();
            for (key, &value) in values.iter().enumerate() {
                let distance = Distance::new(f64::from(value)).expect("a number");
                let key = values.len() - key;
                top.offer(distance, || key);
                all.push((distance, key));
            }
            all.sort_unstable();
            all.truncate(k);
            prop_assert_eq!(top.into_sorted(), all);
        }
    }
}
