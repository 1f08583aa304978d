//! Writing a derived column down: as a stored one it gets an index with the next build.

use std::sync::atomic::{AtomicBool, Ordering};

use super::apply::own_column;
use super::{ProbeError, Tools};
use crate::engine::{CollectionView, DerivedKind, LivePart, Write, WriteMode};
use crate::learn::LearnError;
use crate::query::{self, StopFlag};
use crate::schema::ColumnType;
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
    let (from, kind) = find(view, &request.name)?;
    if request.column.is_empty() || !request.class.is_empty() {
        let hint = "give --column to write it down, and no --class; searches show it by its name (--columns)";
        return Err(ProbeError::bad(format!("`{}` is a column", request.name), hint));
    }
    let words = format!("values of {}", request.name.to_lowercase());
    let to = own_column(tools, &request.collection, &request.column, kind, words)?;
    let predicate = Some(request.predicate.as_str()).filter(|text| !text.is_empty());
    let rows = query::rows(view, None, predicate, stop)?;
    let total = rows.iter().map(|rows| rows.len() as u64).sum();
    let mut done = 0;
    for (live, rows) in view.parts().into_iter().zip(&rows) {
        for rows in rows.chunks(AT_ONCE) {
            let writes = writes(view, live, rows, (from, to), flag)?;
            tools.db.check_there(view)?;
            tools.db.write(&request.collection, WriteMode::Bulk, writes)?;
            done += rows.len() as u64;
            tell(v1::ApplyProbeResponse { done, total, predictions: Vec::new() });
        }
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

fn writes(
    view: &CollectionView,
    live: &LivePart,
    rows: &[u32],
    (from, to): (usize, usize),
    flag: &AtomicBool,
) -> Result<Vec<Write>, ProbeError> {
    let should_stop = || flag.load(Ordering::Relaxed);
    let derived = view.derive(live, &[from], rows, &should_stop)?;
    let Some(values) = derived.as_deref().and_then(<[_]>::first) else {
        return Err(LearnError::Stopped.into());
    };
    let write = |(place, &row): (usize, &u32)| {
        let id = live.part().id_at(row as usize)?;
        Some(Write::SetColumns { id, columns: vec![(to, values.value(place))] })
    };
    Ok(rows.iter().enumerate().filter_map(write).collect())
}
