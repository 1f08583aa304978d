//! Bringing a data directory to the newest format, one embedded step after the other.
//!
//! Each step says which tables it makes and removes. Making and removing a table twice changes nothing, and the number
//! of the format is written last, in a synced batch: an interrupted step is done again at the next start.

use serde::Deserialize;

use super::engine::{Batch, KvEngine, Patience};
use super::error::StorageError;
use super::key::MetaKey;
use super::record::{decode_number, encode_number};
use super::table::Table;

/// The steps, in order. A released one is never changed: a test holds its checksum.
const SOURCES: [&str; 4] = [
    include_str!("../../migrations/0001_initial.toml"),
    include_str!("../../migrations/0002_tokens.toml"),
    include_str!("../../migrations/0003_at_ingest.toml"),
    include_str!("../../migrations/0004_hosting.toml"),
];

/// The newest format, which this program writes.
pub(crate) const NEWEST_FORMAT: u32 = SOURCES.len() as u32;

/// A step from one format to the next.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Migration {
    /// The format that it leads to.
    format: u32,
    /// A short name.
    name: String,
    /// A sentence for people.
    description: String,
    /// Tables made.
    create: Vec<String>,
    /// Tables removed.
    drop: Vec<String>,
}

fn migrations() -> Result<Vec<Migration>, StorageError> {
    let broken = |detail: String| StorageError::Engine { doing: "reading a migration", detail };
    let mut steps = Vec::with_capacity(SOURCES.len());
    for (source, format) in SOURCES.iter().zip(1..) {
        let step: Migration = toml::from_str(source).map_err(|error| broken(error.to_string()))?;
        if step.format != format {
            return Err(broken(format!("`{}` is out of order", step.name)));
        }
        steps.push(step);
    }
    Ok(steps)
}

/// Reads the format of an opened engine; 0 when it is new.
fn stored_format(engine: &dyn KvEngine) -> Result<u32, StorageError> {
    engine.create_table(Table::Meta.name())?;
    match engine.view().fetch(&MetaKey::Format)? {
        Some(bytes) => decode_number("format number", &bytes),
        None => Ok(0),
    }
}

/// Applies the steps that are missing. `announce` is told of every format before its step begins.
///
/// # Errors
/// Those of the engine; a format newer than this program is refused by the caller's directory before.
pub(crate) fn migrate(
    engine: &dyn KvEngine,
    mut announce: impl FnMut(u32) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let found = stored_format(engine)?;
    if found > NEWEST_FORMAT {
        let detail = format!("format {found} in a directory that says at most {NEWEST_FORMAT}");
        return Err(StorageError::corrupt("format number", detail));
    }
    for step in migrations()?.into_iter().filter(|step| step.format > found) {
        tracing::info!(format = step.format, name = step.name, "migrating: {}", step.description);
        announce(step.format)?;
        for table in &step.create {
            engine.create_table(table)?;
        }
        for table in &step.drop {
            engine.drop_table(table)?;
        }
        let mut batch = Batch::default();
        batch.put(&MetaKey::Format, encode_number(step.format));
        engine.commit(&batch, Patience::Long)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::storage::memory::MemoryEngine;

    /// BLAKE3 of every released step. A new step adds a line; a line never changes.
    const FROZEN: [(&str, &str); 4] = [
        ("initial", "986734dae0cac7f5f7c2aee486247ecdd79bbaf8b6ae3af89e52e19c272d79a4"),
        ("tokens", "51a74d9e2a0380bf3db23dbd6398659387b2a773b5a32d67527c560cfae353a7"),
        ("at-ingest", "20dcdf44e6a4025860ce1e533f43918b2531c8882241df8b2c613d462761e3ae"),
        ("hosting", "79b5b7927f61d2fd7ba3aca472adf3936b2311064e63e02d3ad0e9a831692035"),
    ];

    #[test]
    fn released_steps_are_frozen() {
        assert_eq!(FROZEN.len(), SOURCES.len(), "every step has its checksum");
        for ((name, checksum), source) in FROZEN.iter().zip(SOURCES) {
            assert_eq!(blake3::hash(source.as_bytes()).to_hex().as_str(), *checksum, "{name}");
        }
    }

    #[test]
    fn the_steps_lead_to_the_list_of_tables() {
        let mut tables = BTreeSet::new();
        for (step, (name, _)) in migrations().expect("readable").iter().zip(FROZEN) {
            assert_eq!(step.name, name);
            tables.extend(step.create.iter().cloned());
            for table in &step.drop {
                assert!(tables.remove(table), "{table} is removed by {name} but was never made");
            }
        }
        let known: BTreeSet<String> =
            Table::ALL.iter().map(|table| table.name().to_owned()).collect();
        assert_eq!(tables, known);
    }

    #[test]
    fn a_second_run_has_nothing_to_do() {
        let engine = MemoryEngine::default();
        let mut announced = Vec::new();
        for _ in 0..2 {
            migrate(&engine, |format| {
                announced.push(format);
                Ok(())
            })
            .expect("migrates");
        }
        assert_eq!(announced, (1..=NEWEST_FORMAT).collect::<Vec<_>>());
    }

    #[test]
    fn an_interrupted_step_is_done_again() {
        let engine = MemoryEngine::default();
        engine.create_table("objects").expect("creates");
        migrate(&engine, |_| Ok(())).expect("migrates over what is there");
        assert_eq!(stored_format(&engine).expect("readable"), NEWEST_FORMAT);
    }
}
