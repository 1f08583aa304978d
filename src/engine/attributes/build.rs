//! The attributes of a segment folder: made from its rows file, and found again.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::FileReader;

use super::keys::Kind;
use super::{Attribute, file, rank};
use crate::engine::columns::HEALPIX_29;
use crate::engine::error::EngineError;
use crate::engine::segment::Progress;

/// Fewest rows for which looking up is quicker than evaluating.
const ROWS_MIN: u64 = 256;

/// Columns are read together up to this many bytes: each reading goes over the whole file.
const READ_BYTES: u64 = 512 << 20;

/// Memory that the sorting of columns beside one another may take, and what it takes for each row of one.
const SORT_BYTES: u64 = 4 << 30;
const SORT_ROW_BYTES: u64 = 32;

/// What to make attributes of.
pub(in crate::engine) struct BuildPlan<'a> {
    /// Folder of the segment.
    pub(in crate::engine) folder: &'a Path,
    /// The Arrow file of its rows, whose columns begin with those of the schema.
    pub(in crate::engine) rows_path: &'a Path,
    /// Number of its rows.
    pub(in crate::engine) rows: u64,
    /// Resident columns.
    pub(in crate::engine) arrow_schema: &'a SchemaRef,
    /// Most columns that are sorted at a time.
    pub(in crate::engine) threads: usize,
}

/// Writes an attribute for each column that can have one.
pub(in crate::engine) fn build(
    plan: &BuildPlan<'_>,
    progress: &mut Progress<'_>,
) -> Result<(), EngineError> {
    if plan.rows < ROWS_MIN {
        return Ok(());
    }
    let columns: Vec<(usize, Kind)> = (0..plan.arrow_schema.fields().len())
        .filter_map(|column| Some((column, kind_of(plan.arrow_schema, column)?)))
        .collect();
    let failed = |source| EngineError::SegmentFile {
        action: "read",
        path: plan.rows_path.display().to_string(),
        source,
    };
    let file_bytes = std::fs::metadata(plan.rows_path).map_err(failed)?.len();
    let column_bytes = file_bytes / (plan.arrow_schema.fields().len() as u64 + 1) + 1;
    let together = usize::try_from(READ_BYTES / column_bytes).unwrap_or(1).max(1);
    let affordable = SORT_BYTES / (SORT_ROW_BYTES * plan.rows);
    let threads = plan.threads.min(usize::try_from(affordable).unwrap_or(usize::MAX)).max(1);
    let mut done = 0;
    for group in columns.chunks(together) {
        let mut arrays = read(plan, group)?;
        for (part, arrays) in group.chunks(threads).zip(arrays.chunks_mut(threads)) {
            progress("attributes", done, columns.len() as u64);
            rank_all(plan.folder, part, arrays)?;
            done += part.len() as u64;
        }
    }
    progress("attributes", done, columns.len() as u64);
    Ok(())
}

/// Ranks and writes columns, each on its own thread; their arrays are dropped as soon as that is done.
fn rank_all(
    folder: &Path,
    columns: &[(usize, Kind)],
    arrays: &mut [Vec<ArrayRef>],
) -> Result<(), EngineError> {
    thread::scope(|scope| {
        let workers: Vec<_> = columns
            .iter()
            .zip(arrays)
            .map(|(&(column, kind), arrays)| {
                scope.spawn(move || {
                    let arrays = std::mem::take(arrays);
                    let ranked = rank::rank(kind, &arrays);
                    ranked
                        .map_or(Ok(()), |ranked| file::write(&path(folder, column), kind, &ranked))
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(written) => written,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// The arrays of some columns, in the order of these.
fn read(
    plan: &BuildPlan<'_>,
    columns: &[(usize, Kind)],
) -> Result<Vec<Vec<ArrayRef>>, EngineError> {
    let file = File::open(plan.rows_path).map_err(|source| EngineError::SegmentFile {
        action: "open",
        path: plan.rows_path.display().to_string(),
        source,
    })?;
    let places = columns.iter().map(|&(column, _)| column).collect();
    let mut arrays = vec![Vec::new(); columns.len()];
    for batch in FileReader::try_new(BufReader::new(file), Some(places))? {
        let batch = batch?;
        for (arrays, array) in arrays.iter_mut().zip(batch.columns()) {
            arrays.push(Arc::clone(array));
        }
    }
    Ok(arrays)
}

/// The attributes of a segment, one entry for each resident column.
///
/// A damaged file is reported and passed over: predicates are evaluated without it.
pub(in crate::engine) fn open(
    folder: &Path,
    arrow_schema: &SchemaRef,
    row_count: usize,
) -> Vec<Option<Attribute>> {
    let open_column = |column| {
        let path = path(folder, column);
        file::open(&path, kind_of(arrow_schema, column)?, row_count).unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error, "attribute not readable; evaluating instead");
            None
        })
    };
    (0..arrow_schema.fields().len()).map(open_column).collect()
}

/// What a column's attribute holds, if it can have one. Conditions on cells are regions, which have their own way.
fn kind_of(arrow_schema: &SchemaRef, column: usize) -> Option<Kind> {
    let field = arrow_schema.fields().get(column)?;
    if field.name() == HEALPIX_29 { None } else { Kind::of(field.data_type()) }
}

fn path(folder: &Path, column: usize) -> PathBuf {
    folder.join(format!("column-{column}.attribute"))
}
