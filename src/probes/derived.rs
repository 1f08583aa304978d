//! Writing a derived column down: as a stored one it gets an index with the next build.

use std::sync::atomic::{AtomicBool, Ordering};

use super::again::{self, Pages};
use super::apply::own_column;
use super::table::Table;
use super::{ProbeError, Tools};
use crate::engine::{CollectionView, DerivedKind, Write};
use crate::learn::LearnError;
use crate::query::StopFlag;
use crate::schema::{ColumnType, Value};
use crate::wire::v1;

/// Objects that are written at a time.
const AT_ONCE: usize = 8_192;

/// Writes the values that a derived column has now to a stored one, for the objects of a predicate, and tells how far it is.
///
/// # Errors
/// [`ProbeError::UnknownColumn`] for a name that is no derived column; [`ProbeError::BadSpec`] without a column to write to,
/// or with one that holds something else; what was written before stays.
pub(super) fn store(
    tools: &Tools,
    view: &CollectionView,
    request: &v1::ApplyProbeRequest,
    stop: &StopFlag,
    flag: &AtomicBool,
    tell: &mut dyn FnMut(v1::ApplyProbeResponse),
) -> Result<(), ProbeError> {
    let (_, kind) = find(view, &request.name)?;
    if request.column.is_empty() || !request.class.is_empty() {
        let hint = "give --column to write it down, and no --class; searches show it by its name (--columns)";
        return Err(ProbeError::bad(format!("`{}` is a column", request.name), hint));
    }
    let words = format!("values of {}", request.name.to_lowercase());
    let to = own_column(tools, &request.collection, &request.column, kind, words)?;
    let predicate = Some(request.predicate.as_str()).filter(|text| !text.is_empty());
    let table = Table::choose(view, predicate, stop)?;
    let total = table.count() as u64;
    let mut answer = v1::ApplyProbeResponse { total, ..v1::ApplyProbeResponse::default() };
    let pages = Pages { db: &tools.db, chosen_in: view, flag };
    for first in (0..table.count()).step_by(AT_ONCE) {
        let page = table.page(first..(first + AT_ONCE).min(table.count()));
        answer.skipped += pages.page(page.objects(), &mut |page, _| {
            // A probe may have come, or gone, meanwhile.
            let (from, _) = find(page.view(), &request.name)?;
            let writes = writes(page, (from, to), flag)?;
            Ok::<_, ProbeError>(again::write(&tools.db, page, writes)?.0)
        })?;
        answer.done += page.count() as u64;
        tell(answer.clone());
    }
    Ok(())
}

/// Place and type of a derived column.
fn find(view: &CollectionView, name: &str) -> Result<(usize, ColumnType), ProbeError> {
    let formulas = view.formulas();
    let found = formulas.place(name).and_then(|place| Some((place, formulas.column(place)?)));
    if let Some((place, column)) = found {
        let kind = match column.kind {
            DerivedKind::Real => ColumnType::Float64,
            DerivedKind::Label(_) => ColumnType::Text,
        };
        return Ok((place, kind));
    }
    let known: Vec<&str> = formulas.columns().map(|column| column.name.as_str()).collect();
    Err(ProbeError::UnknownColumn {
        collection: view.schema().name.clone(),
        column: name.to_owned(),
        known: if known.is_empty() { "no derived ones".to_owned() } else { known.join(", ") },
    })
}

/// One write for each object of a page.
fn writes(
    page: &Table<'_>,
    (from, to): (usize, usize),
    flag: &AtomicBool,
) -> Result<Vec<Write>, ProbeError> {
    let should_stop = || flag.load(Ordering::Relaxed);
    let mut values = vec![Value::Null; page.count()];
    // Rows of one part are derived together; a part's rows ascend as the keys do.
    let places: Vec<usize> = (0..page.count()).collect();
    for live in page.view().parts() {
        let is_here = |place: &&usize| std::ptr::eq(page.row(**place).0, live);
        let here: Vec<usize> = places.iter().filter(is_here).copied().collect();
        if here.is_empty() {
            continue;
        }
        let rows: Vec<u32> = here.iter().map(|place| page.row(*place).1).collect();
        let derived = page.view().derive(live, &[from], &rows, &should_stop)?;
        let Some(derived) = derived.as_deref().and_then(<[_]>::first) else {
            return Err(LearnError::Stopped.into());
        };
        for (number, place) in here.into_iter().enumerate() {
            values[place] = derived.value(number);
        }
    }
    let write =
        |(place, value)| Write::SetColumns { id: page.id(place), columns: vec![(to, value)] };
    Ok(values.into_iter().enumerate().map(write).collect())
}
