//! Few examples of many, always the same first ones.

use super::hash::{Draw, SplitId, bits};

/// Places of so many training examples, in the order of a hash of their ids and the seed, so that the first ten are among
/// the first thirty. With the class of each, classes take turns: each has as many as every other, until it has no more.
/// All places when fewer are there.
pub fn few_shot(ids: &[SplitId<'_>], classes: Option<&[u32]>, count: usize, seed: u64) -> Vec<u32> {
    let mut order: Vec<(u64, u32)> =
        (0..).zip(ids).map(|(place, id)| (bits(Draw::Few, seed, *id), place)).collect();
    // Equal hashes fall to the ids, never to the order in which objects came.
    order.sort_by(|first, second| {
        let id = |place: u32| ids.get(place as usize);
        first.0.cmp(&second.0).then_with(|| id(first.1).cmp(&id(second.1)))
    });
    if let Some(classes) = classes {
        let mut taken = std::collections::HashMap::new();
        let mut turns: Vec<(u32, u32)> = order
            .iter()
            .map(|(_, place)| {
                let turn = taken.entry(classes.get(*place as usize)).or_insert(0_u32);
                *turn += 1;
                (*turn, *place)
            })
            .collect();
        // Stable: within a turn the order of the hash stays.
        turns.sort_by_key(|(turn, _)| *turn);
        return turns.into_iter().take(count).map(|(_, place)| place).collect();
    }
    order.into_iter().take(count).map(|(_, place)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: i64) -> Vec<SplitId<'static>> {
        (0..count).map(SplitId::Number).collect()
    }

    #[test]
    fn fewer_are_among_more() {
        let ids = ids(1_000);
        let thirty = few_shot(&ids, None, 30, 3);
        assert_eq!(few_shot(&ids, None, 10, 3), thirty[..10]);
        assert_ne!(few_shot(&ids, None, 10, 4), thirty[..10]);
        assert_eq!(few_shot(&ids, None, 5_000, 3).len(), 1_000);
        let distinct: std::collections::BTreeSet<u32> = thirty.iter().copied().collect();
        assert_eq!(distinct.len(), 30);
    }

    #[test]
    fn the_order_in_which_objects_came_changes_nothing() {
        let forward = ids(200);
        let backward: Vec<SplitId<'_>> = forward.iter().rev().copied().collect();
        let taken = |ids: &[SplitId<'static>]| -> Vec<SplitId<'static>> {
            few_shot(ids, None, 20, 1).into_iter().map(|place| ids[place as usize]).collect()
        };
        assert_eq!(taken(&forward), taken(&backward));
    }

    #[test]
    fn classes_take_turns_until_they_have_no_more() {
        let ids = ids(1_000);
        // One in a hundred is of class 1.
        let classes: Vec<u32> = (0..1_000).map(|object| u32::from(object % 100 == 0)).collect();
        let rare = |count| {
            let taken = few_shot(&ids, Some(&classes), count, 8);
            assert_eq!(taken.len(), count);
            taken.iter().filter(|place| classes[**place as usize] == 1).count()
        };
        assert_eq!(rare(2), 1);
        assert_eq!(rare(10), 5);
        assert_eq!(rare(100), 10);
        let ten = few_shot(&ids, Some(&classes), 10, 8);
        assert_eq!(few_shot(&ids, Some(&classes), 30, 8)[..10], ten);
    }
}
