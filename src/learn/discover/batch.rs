//! Which objects to ask about next.

/// Chooses `k` objects one after the other, each as far as can be from those chosen before and from `known` ones: `gap` gives
/// the distance between two objects, `known_gap` that of an object to the nearest known one (infinite where there is none).
/// Ties go to the earlier object.
///
/// # Reference
/// Farthest-first traversal: Gonzalez 1985, Theor. Comput. Sci. 38, 293.
pub fn most_different(
    count: usize,
    gap: impl Fn(usize, usize) -> f64,
    known_gap: impl Fn(usize) -> f64,
    k: usize,
) -> Vec<usize> {
    most_telling(&vec![1.0; count], gap, known_gap, k)
}

/// Chooses `k` objects, each time the one with the largest product of how much is to be learned from it (`worth`, not
/// negative) and its distance to the nearest chosen or known one.
pub fn most_telling(
    worth: &[f64],
    gap: impl Fn(usize, usize) -> f64,
    known_gap: impl Fn(usize) -> f64,
    k: usize,
) -> Vec<usize> {
    let mut nearest: Vec<f64> = (0..worth.len()).map(known_gap).collect();
    let mut left: Vec<usize> = (0..worth.len()).collect();
    let mut chosen = Vec::with_capacity(k.min(worth.len()));
    while chosen.len() < k && !left.is_empty() {
        let merit = |object: usize| {
            // Without anything known, all are equally far.
            let gap = if nearest[object].is_finite() { nearest[object].max(0.0) } else { 1.0 };
            (worth[object] * gap, worth[object])
        };
        let mut best = 0;
        for place in 1..left.len() {
            let (one, other) = (merit(left[place]), merit(left[best]));
            // Where nothing is far from what is known, worth decides.
            if one.0 > other.0 || (one.0 == other.0 && one.1 > other.1) {
                best = place;
            }
        }
        let next = left.remove(best);
        for &object in &left {
            nearest[object] = nearest[object].min(gap(object, next));
        }
        chosen.push(next);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTS: [f64; 6] = [0.0, 0.1, 5.0, 5.1, 9.0, 2.0];

    fn gap(a: usize, b: usize) -> f64 {
        (POINTS[a] - POINTS[b]).abs()
    }

    #[test]
    fn corners_come_first() {
        assert_eq!(most_different(6, gap, |_| f64::INFINITY, 4), [0, 4, 2, 5]);
        let known = |place: usize| (POINTS[place] - 9.0).abs();
        assert_eq!(most_different(6, gap, known, 2), [0, 2]);
        assert_eq!(most_different(6, gap, known, 60).len(), 6);
    }

    #[test]
    fn what_teaches_nothing_comes_last() {
        let worth = [1.0, 1.0, 0.0, 1.0, 0.0, 1.0];
        let chosen = most_telling(&worth, gap, |_| f64::INFINITY, 6);
        assert_eq!(chosen[..3], [0, 3, 5]);
        assert_eq!(chosen[4..], [2, 4]);
    }
}
