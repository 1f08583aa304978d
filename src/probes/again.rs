//! Work on stored objects beside writers: page by page, each as it is then, and again for objects that were written again
//! before the work on them was done.

use std::sync::atomic::{AtomicBool, Ordering};

use super::ProbeError;
use super::table::Table;
use crate::engine::{CollectionView, Db, EngineError, Still, Write};
use crate::learn::LearnError;
use crate::schema::ObjectId;
use crate::storage::ObjectKey;

/// An object, and where it was when it was chosen.
pub(super) type Chosen = (ObjectKey, ObjectId);

/// How often a page is worked on because its objects were written again meanwhile.
const TRIES_MAX: usize = 8;

/// Objects of one collection, a page at a time.
pub(super) struct Pages<'a> {
    pub(super) db: &'a Db,
    /// In which the objects were chosen, and under whose policies they are worked on.
    pub(super) chosen_in: &'a CollectionView,
    /// Ends the work at its next step.
    pub(super) flag: &'a AtomicBool,
}

impl Pages<'_> {
    /// Works on some objects as they are now. `work` is given those of them that there still are, none of them another than
    /// in the view at the moment beside it, and says which have changed before it was done: these are worked on again. How
    /// many changed each time is returned.
    ///
    /// # Errors
    /// [`EngineError::NoCollection`] when the collection is gone, or another one has its name; [`LearnError::Stopped`]; those
    /// of `work`.
    pub(super) fn page<E: From<ProbeError>>(
        &self,
        mut objects: Vec<Chosen>,
        work: &mut dyn FnMut(&mut Table<'_>, &Still<'_>) -> Result<Vec<Chosen>, E>,
    ) -> Result<u64, E> {
        for _ in 0..TRIES_MAX {
            if objects.is_empty() {
                break;
            }
            if self.flag.load(Ordering::Relaxed) {
                return Err(ProbeError::from(LearnError::Stopped).into());
            }
            let view = self.db.view_again(self.chosen_in).map_err(ProbeError::from)?;
            let still = match view.still() {
                // A build ended just now: the next view is of after it.
                Err(EngineError::Outdated { .. }) => continue,
                still => still.map_err(ProbeError::from)?,
            };
            let mut table = Table::of(&view, &objects)?;
            objects = table.take_changed(&still);
            objects.extend(work(&mut table, &still)?);
        }
        Ok(objects.len() as u64)
    }
}

/// Writes what was made of the objects of a table, one write for each, but for those that have changed since: these are
/// returned, with the reasons for which others were refused.
pub(super) fn write(
    db: &Db,
    table: &Table<'_>,
    writes: Vec<Write>,
) -> Result<(Vec<Chosen>, Vec<String>), EngineError> {
    let writes = table.keys().zip(writes).collect();
    let (report, changed) = db.write_unchanged(table.view(), writes)?;
    let mut changed = changed.into_iter().peekable();
    // Both in the order of the table.
    let again = table.objects().into_iter();
    let again = again.filter(|(key, _)| changed.next_if_eq(key).is_some()).collect();
    let refused = report.outcomes.into_iter().filter_map(|outcome| match outcome {
        crate::engine::WriteOutcome::Refused(reason) => Some(reason),
        _ => None,
    });
    Ok((again, refused.collect()))
}
