//! Says more of a predicate's refusal where the collection knows more than the columns that predicates see.

use crate::engine::CollectionView;
use crate::query::datafusion::PredicateError;

/// The refusal, which of a column of lists or bytes says that it is there, and how conditions on its elements are asked.
pub(super) fn told(view: &CollectionView, error: PredicateError) -> PredicateError {
    let is_there = |name: &str| {
        let mut columns = view.schema().columns.iter();
        columns.any(|column| column.name.eq_ignore_ascii_case(name))
    };
    match error {
        PredicateError::UnknownColumn { name, known, line, column, .. } if is_there(&name) => {
            let hint = format!(
                " of single values: each holds several, of which no condition can be asked. Give an element a column of its own \
                 (import --map first={name}[0])"
            );
            PredicateError::UnknownColumn { name, hint, known, line, column }
        }
        other => other,
    }
}
