//! Writes of somebody who does not see every row.

use sidereus::engine::{Write, WriteMode, WriteOutcome};
use sidereus::query;
use sidereus::schema::{Object, ObjectId, Value};

use super::{CLAUSES, NAME, Random, World, admits, object, today};

#[test]
fn nobody_deletes_or_overwrites_what_he_does_not_see() {
    let world = World::unbuilt(|_| true);
    let policy = [CLAUSES[3]];
    let predicates = [policy[0].sql.to_owned()];
    let compiled = query::row_policy(world.view().schema(), &predicates, today());
    let find = |is_shown: bool| -> Vec<&Object> {
        world.model.iter().filter(|object| admits(&policy, object) == is_shown).take(4).collect()
    };
    let (shown, hidden) = (find(true), find(false));
    let before = world.view().get(&[hidden[0].id.clone(), hidden[1].id.clone()]).expect("reads");
    let mut random = Random(5);
    let mut fresh = object(&mut random, 999_999);
    fresh.columns[4] = Value::Text("C".to_owned());
    fresh.vectors.clear();
    let put = |object: &Object| Write::Put(Object { vectors: Vec::new(), ..object.clone() });
    let merge = |object: &Object| Write::Merge {
        object: Object { vectors: Vec::new(), ..object.clone() },
        columns_given: vec![true; object.columns.len()],
    };
    let set = |object: &Object| Write::SetColumns {
        id: object.id.clone(),
        columns: vec![(2, Value::Int64(-1))],
    };
    let space = world.view().schema().space("euclid").expect("a space").id;
    let vectors = |object: &Object| Write::SetVectors {
        id: object.id.clone(),
        vectors: vec![(space, vec![1.0, 2.0, 3.0])],
    };
    let delete = |object: &Object| Write::Delete(object.id.clone());
    let writes = vec![
        delete(shown[0]),
        delete(hidden[0]),
        Write::Delete(ObjectId::Number(-5)),
        put(shown[1]),
        put(hidden[1]),
        merge(hidden[0]),
        set(shown[2]),
        set(hidden[0]),
        vectors(hidden[1]),
        // He may write what he will not see.
        put(&fresh),
    ];
    let report =
        world.db.write_restricted(NAME, WriteMode::Logged, writes, &*compiled).expect("writes");
    let taken = "this id is taken: choose another".to_owned();
    let wanted = [
        WriteOutcome::Deleted,
        WriteOutcome::Absent,
        WriteOutcome::Absent,
        WriteOutcome::Replaced,
        WriteOutcome::Refused(taken.clone()),
        WriteOutcome::Refused(taken.clone()),
        WriteOutcome::ColumnsSet,
        WriteOutcome::Absent,
        WriteOutcome::Absent,
        WriteOutcome::Inserted,
    ];
    assert_eq!(report.outcomes, wanted);
    assert_eq!(report.version, world.view().version());
    let after = world.view().get(&[hidden[0].id.clone(), hidden[1].id.clone()]).expect("reads");
    assert_eq!(before, after);
    let again = world.db.write_restricted(NAME, WriteMode::Bulk, vec![put(&fresh)], &*compiled);
    assert_eq!(again.expect("refused").outcomes, [WriteOutcome::Refused(taken)]);
}
