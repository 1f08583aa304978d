//! Near, but not near to each other.

/// Chooses `k` of some candidates, one after the other: each time the one with the most of `share` times its relevance less
/// `1 - share` times its similarity to the most similar of those chosen already. Ties go to the earlier candidate. With a
/// share of 1 this is the order of relevance. `may_go_on` is asked before every choice; its error ends the work.
///
/// # Errors
/// Those of `may_go_on`.
///
/// # Complexity
/// One similarity for each candidate and each choice.
///
/// # Reference
/// Maximal marginal relevance: Carbonell & Goldstein 1998, SIGIR, 335.
pub fn marginal_relevance<E>(
    relevance: &[f64],
    similarity: impl Fn(usize, usize) -> f64,
    share: f64,
    k: usize,
    may_go_on: impl Fn() -> Result<(), E>,
) -> Result<Vec<usize>, E> {
    let mut chosen: Vec<usize> = Vec::with_capacity(k.min(relevance.len()));
    let mut left: Vec<usize> = (0..relevance.len()).collect();
    let mut nearest = vec![f64::NEG_INFINITY; relevance.len()];
    while chosen.len() < k && !left.is_empty() {
        may_go_on()?;
        let worth = |candidate: usize| {
            let relevant = share * relevance[candidate];
            // Nothing has been chosen yet, or nothing of it counts.
            if nearest[candidate] == f64::NEG_INFINITY || share >= 1.0 {
                relevant
            } else {
                relevant - (1.0 - share) * nearest[candidate]
            }
        };
        let mut best = 0;
        for place in 1..left.len() {
            if worth(left[place]) > worth(left[best]) {
                best = place;
            }
        }
        let next = left.remove(best);
        for &candidate in &left {
            nearest[candidate] = nearest[candidate].max(similarity(candidate, next));
        }
        chosen.push(next);
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    /// The definition, computed anew for every choice.
    fn by_definition(points: &[f64], query: f64, share: f64, k: usize) -> Vec<usize> {
        let similarity = |a: f64, b: f64| -(a - b).abs();
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < k.min(points.len()) {
            let worth = |place: usize| {
                let others = chosen.iter().map(|&other| similarity(points[place], points[other]));
                let most = others.fold(f64::NEG_INFINITY, f64::max);
                let relevant = share * similarity(points[place], query);
                if chosen.is_empty() || share >= 1.0 {
                    relevant
                } else {
                    relevant - (1.0 - share) * most
                }
            };
            let left = (0..points.len()).filter(|place| !chosen.contains(place));
            let best =
                left.reduce(|best, next| if worth(next) > worth(best) { next } else { best });
            chosen.extend(best);
        }
        chosen
    }

    proptest! {
        #[test]
        fn equals_its_definition(
            points in prop::collection::vec(-4i8..4, 0..25), share in prop::sample::select(vec![0.0, 0.3, 0.5, 0.75, 1.0]), k in 0usize..12,
        ) {
            let points: Vec<f64> = points.into_iter().map(f64::from).collect();
            let relevance: Vec<f64> = points.iter().map(|point| -(point - 0.0).abs()).collect();
            let similarity = |a: usize, b: usize| -(points[a] - points[b]).abs();
            let found = marginal_relevance(&relevance, similarity, share, k, || Ok::<(), ()>(()));
            let found = found.expect("goes on");
            prop_assert_eq!(found, by_definition(&points, 0.0, share, k));
        }
    }

    #[test]
    fn repetitions_are_left_for_later() {
        let points = [0.0, 0.01, 0.02, 1.0, -1.1];
        let relevance = points.map(|point: f64| -point.abs());
        let similarity = |a: usize, b: usize| -(points[a] - points[b]).abs();
        let chosen =
            |share| marginal_relevance(&relevance, similarity, share, 3, || Ok::<(), ()>(()));
        assert_eq!(chosen(1.0), Ok(vec![0, 1, 2]));
        assert_eq!(chosen(0.3), Ok(vec![0, 4, 3]));
    }

    #[test]
    fn nothing_is_chosen_any_more_when_it_is_stopped() {
        let (compared, asked) = (Cell::new(0), Cell::new(0));
        let similarity = |_: usize, _: usize| {
            compared.set(compared.get() + 1);
            0.0
        };
        let stops = || {
            asked.set(asked.get() + 1);
            if asked.get() > 2 { Err("stopped") } else { Ok(()) }
        };
        let found = marginal_relevance(&[1.0; 100], similarity, 0.5, 50, stops);
        assert_eq!((found, compared.get()), (Err("stopped"), 99 + 98));
    }
}
