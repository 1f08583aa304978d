//! How well a score tells members of a class from all others.

use super::ratio;

/// Objects by falling score, and where equal scores end.
#[derive(Debug, Clone)]
pub(super) struct ByScore {
    /// Places of objects, the highest score first.
    order: Vec<u32>,
    /// Whether the next object in the order has another score.
    ends: Vec<bool>,
}

impl ByScore {
    pub(super) fn new(scores: impl Iterator<Item = f64>) -> Self {
        let scores: Vec<f64> = scores.collect();
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        let score = |object: &u32| scores[*object as usize];
        order.sort_by(|first, second| score(second).total_cmp(&score(first)));
        let next = order.iter().skip(1).map(Some).chain([None]);
        let ends = order
            .iter()
            .zip(next)
            .map(|(object, next)| next.is_none_or(|next| score(next) != score(object)))
            .collect();
        Self { order, ends }
    }

    /// Shows the members and the others that lie at or above each distinct score, from the highest down.
    fn walk(
        &self,
        weight: impl Fn(usize) -> f64,
        is_member: impl Fn(usize) -> bool,
        mut show: impl FnMut(f64, f64),
    ) {
        let (mut members, mut others) = (0.0, 0.0);
        for (object, ends) in self.order.iter().zip(&self.ends) {
            let object = *object as usize;
            *(if is_member(object) { &mut members } else { &mut others }) += weight(object);
            if *ends {
                show(members, others);
            }
        }
    }

    /// The area under the curve; `None` where there are no members or no others.
    pub(super) fn auc(
        &self,
        weight: impl Fn(usize) -> f64,
        is_member: impl Fn(usize) -> bool,
    ) -> Option<f64> {
        let (mut area, mut members_before, mut others_before) = (0.0, 0.0, 0.0);
        self.walk(weight, is_member, |members, others| {
            area += (others - others_before) * f64::midpoint(members, members_before);
            (members_before, others_before) = (members, others);
        });
        ratio(area, members_before * others_before)
    }
}

/// The area under the receiver operating characteristic: the chance that a member has a higher score than another object,
/// equal scores counting half. `None` where there are no members or no others.
pub fn auc(scores: &[f64], is_member: &[bool]) -> Option<f64> {
    ByScore::new(scores.iter().copied()).auc(|_| 1.0, |object| is_member[object])
}

/// The receiver operating characteristic, from (0, 0) to (1, 1): for every threshold the fraction of the others, and of the
/// members, whose score reaches it. Empty where there are no members or no others.
pub fn roc_curve(scores: &[f64], is_member: &[bool]) -> Vec<(f64, f64)> {
    let members = is_member.iter().filter(|is_member| **is_member).count() as f64;
    let others = is_member.len() as f64 - members;
    if members == 0.0 || others == 0.0 {
        return Vec::new();
    }
    let mut curve = vec![(0.0, 0.0)];
    let by_score = ByScore::new(scores.iter().copied());
    let show = |found, wrong| curve.push((wrong / others, found / members));
    by_score.walk(|_| 1.0, |object| is_member[object], show);
    curve
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_is_all_that_counts() {
        let members = [true, true, false, false];
        assert_eq!(auc(&[0.9, 0.8, 0.2, 0.1], &members), Some(1.0));
        assert_eq!(auc(&[0.1, 0.2, 0.8, 0.9], &members), Some(0.0));
        assert_eq!(auc(&[0.5; 4], &members), Some(0.5));
        assert_eq!(auc(&[0.5; 4], &[true; 4]), None);
        assert!(roc_curve(&[0.5; 4], &[false; 4]).is_empty());
        assert_eq!(roc_curve(&[0.5; 4], &members), [(0.0, 0.0), (1.0, 1.0)]);
    }

    proptest! {
        /// The area is the share of the pairs that are in order.
        #[test]
        fn the_area_is_the_share_of_ordered_pairs(
            objects in prop::collection::vec((0_u8..6, any::<bool>()), 2..40)
        ) {
            let scores: Vec<f64> = objects.iter().map(|object| f64::from(object.0)).collect();
            let members: Vec<bool> = objects.iter().map(|object| object.1).collect();
            let (mut ordered, mut pairs) = (0.0, 0.0);
            for (member, _) in members.iter().enumerate().filter(|each| *each.1) {
                for (other, _) in members.iter().enumerate().filter(|each| !*each.1) {
                    pairs += 1.0;
                    if scores[member] > scores[other] {
                        ordered += 1.0;
                    } else if scores[member] == scores[other] {
                        ordered += 0.5;
                    }
                }
            }
            match auc(&scores, &members) {
                None => prop_assert_eq!(pairs, 0.0),
                Some(area) => prop_assert!((area - ordered / pairs).abs() < 1e-12),
            }
        }
    }
}
