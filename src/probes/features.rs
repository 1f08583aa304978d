//! Features of many objects, gathered once from the store and read as often as a fit needs.
//!
//! Vectors are taken as they were given, not as searches keep them (of unit length under cosine). Up to some hundred
//! megabytes they stay in memory; more go into a scratch file of the data directory, so that memory does not grow with the
//! collection.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::ProbeError;
use super::table::{Column, Table, number};
use crate::engine::{Db, EngineError, Still};
use crate::learn::{Features, LearnError, Progress};
use crate::schema::EmbeddingSpace;
use crate::storage::ObjectKey;

/// Bytes of vectors that stay in memory.
const MEMORY_BYTES_MAX: usize = 256 << 20;

/// Objects that a pass shows at once.
const BLOCK_ROWS: usize = 2_048;

/// Below this share of the collection objects are fetched one by one instead of walking past all.
const FEW_SHARE: u64 = 20;

/// Objects fetched at a time.
const FETCHED_AT_ONCE: usize = 1_024;

/// Bytes that are written to a scratch file at once.
const WRITTEN_AT_ONCE: usize = 8 << 20;

/// Vectors of some spaces, one after the other, and numbers of some columns, of the objects of a table.
#[derive(Debug)]
pub(super) struct Stored {
    vectors: Vectors,
    vector_width: usize,
    columns: Vec<f64>,
    column_count: usize,
    count: usize,
}

#[derive(Debug)]
enum Vectors {
    Memory(Vec<f32>),
    Filed(File),
}

impl Stored {
    /// Reads the features of all objects of a table, each of which has a vector in every space and has not changed at the
    /// moment from which vectors are read.
    ///
    /// # Errors
    /// [`ProbeError::BadSpec`] when a vector is not there; those of the disk.
    pub(super) fn gather(
        db: &Db,
        table: &Table<'_>,
        still: &Still<'_>,
        spaces: &[EmbeddingSpace],
        columns: &[Column],
        progress: Progress<'_>,
    ) -> Result<Self, ProbeError> {
        let vector_width: usize = spaces.iter().map(|space| space.dimension).sum();
        let count = table.count();
        let bytes = count * vector_width * size_of::<f32>();
        let mut vectors = if bytes <= MEMORY_BYTES_MAX {
            Vectors::Memory(vec![0.0; count * vector_width])
        } else {
            Vectors::Filed(db.scratch()?)
        };
        let keys: Vec<ObjectKey> = table.keys().collect();
        let few = (count as u64) * FEW_SHARE < table.view().live_count();
        let mut offset = 0;
        for space in spaces {
            let mut sink = Sink::new(&mut vectors, vector_width, offset, space.dimension);
            let found = if few {
                fetch(still, space, &keys, &mut sink, progress)?
            } else {
                walk(still, space, &keys, &mut sink, progress)?
            };
            sink.flush()?;
            if found < count {
                return Err(ProbeError::bad(
                    format!("{} vectors of `{}` are not in the store", count - found, space.name),
                    "build the index again (sidereus index build)",
                ));
            }
            offset += space.dimension;
        }
        let mut numbers = Vec::with_capacity(count * columns.len());
        for place in 0..count {
            numbers.extend(columns.iter().map(|column| number(&table.value(column, place))));
        }
        Ok(Self { vectors, vector_width, columns: numbers, column_count: columns.len(), count })
    }

    /// Appends the features of a run of objects.
    fn append(
        &self,
        first: usize,
        count: usize,
        into: &mut Vec<f64>,
        buffer: &mut Vec<f32>,
    ) -> Result<(), LearnError> {
        let floats = first * self.vector_width..(first + count) * self.vector_width;
        let vectors: &[f32] = match &self.vectors {
            Vectors::Memory(all) => all.get(floats).unwrap_or(&[]),
            Vectors::Filed(file) => {
                buffer.resize(floats.len(), 0.0);
                let at = (floats.start * size_of::<f32>()) as u64;
                let bytes = bytemuck::cast_slice_mut(buffer.as_mut_slice());
                let read = file.read_exact_at(bytes, at);
                read.map_err(|error| LearnError::Unreadable { reason: error.to_string() })?;
                buffer
            }
        };
        if self.column_count == 0 {
            into.extend(vectors.iter().map(|&value| f64::from(value)));
            return Ok(());
        }
        for row in 0..count {
            let own = row * self.vector_width..(row + 1) * self.vector_width;
            into.extend(vectors[own].iter().map(|&value| f64::from(value)));
            let object = first + row;
            let columns = object * self.column_count..(object + 1) * self.column_count;
            into.extend_from_slice(&self.columns[columns]);
        }
        Ok(())
    }
}

impl Features for Stored {
    fn count(&self) -> usize {
        self.count
    }

    fn width(&self) -> usize {
        self.vector_width + self.column_count
    }

    fn pass(
        &self,
        visit: &mut dyn FnMut(usize, &[f64]) -> Result<(), LearnError>,
    ) -> Result<(), LearnError> {
        let (mut block, mut buffer) = (Vec::new(), Vec::new());
        for first in (0..self.count).step_by(BLOCK_ROWS) {
            block.clear();
            let rows = BLOCK_ROWS.min(self.count - first);
            self.append(first, rows, &mut block, &mut buffer)?;
            visit(first, &block)?;
        }
        Ok(())
    }

    fn read(&self, examples: &[u32], into: &mut Vec<f64>) -> Result<(), LearnError> {
        into.clear();
        let mut buffer = Vec::new();
        // Neighbours in the table are neighbours in the file: runs are read at once.
        for run in examples.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
            let Some(&first) = run.first() else { continue };
            if first as usize + run.len() > self.count {
                let given = first as usize + run.len() - 1;
                return Err(LearnError::Shape {
                    what: "place of an object",
                    given,
                    expected: self.count,
                });
            }
            self.append(first as usize, run.len(), into, &mut buffer)?;
        }
        Ok(())
    }
}

/// Some examples of others.
#[derive(Clone)]
pub(super) struct Subset<'a> {
    of: &'a dyn Features,
    places: &'a [u32],
}

impl<'a> Subset<'a> {
    pub(super) fn new(of: &'a dyn Features, places: &'a [u32]) -> Self {
        Self { of, places }
    }
}

impl Features for Subset<'_> {
    fn count(&self) -> usize {
        self.places.len()
    }

    fn width(&self) -> usize {
        self.of.width()
    }

    fn pass(
        &self,
        visit: &mut dyn FnMut(usize, &[f64]) -> Result<(), LearnError>,
    ) -> Result<(), LearnError> {
        let mut block = Vec::new();
        for (number, places) in self.places.chunks(BLOCK_ROWS).enumerate() {
            self.of.read(places, &mut block)?;
            visit(number * BLOCK_ROWS, &block)?;
        }
        Ok(())
    }

    fn read(&self, examples: &[u32], into: &mut Vec<f64>) -> Result<(), LearnError> {
        let place = |example: &u32| self.places.get(*example as usize).copied();
        let places: Option<Vec<u32>> = examples.iter().map(place).collect();
        let places = places.ok_or(LearnError::Shape {
            what: "place of an example",
            given: examples.iter().max().copied().unwrap_or(0) as usize,
            expected: self.places.len(),
        })?;
        self.of.read(&places, into)
    }
}

/// Where the vectors of one space go: beside those of others, object by object.
struct Sink<'a> {
    vectors: &'a mut Vectors,
    width: usize,
    offset: usize,
    dimension: usize,
    /// Bytes that wait to be written, where they lie side by side in the file, and their place there.
    waiting: Vec<u8>,
    waiting_at: u64,
}

impl<'a> Sink<'a> {
    fn new(vectors: &'a mut Vectors, width: usize, offset: usize, dimension: usize) -> Self {
        Self { vectors, width, offset, dimension, waiting: Vec::new(), waiting_at: 0 }
    }

    fn put(&mut self, place: usize, vector: &[f32]) -> Result<(), ProbeError> {
        let start = place * self.width + self.offset;
        if let Vectors::Memory(all) = self.vectors {
            all[start..start + self.dimension].copy_from_slice(vector);
            return Ok(());
        }
        let at = (start * size_of::<f32>()) as u64;
        let follows = self.waiting_at + self.waiting.len() as u64 == at;
        if !follows || self.waiting.len() >= WRITTEN_AT_ONCE {
            self.flush()?;
            self.waiting_at = at;
        }
        self.waiting.extend_from_slice(bytemuck::cast_slice(vector));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ProbeError> {
        if let Vectors::Filed(file) = self.vectors {
            file.write_all_at(&self.waiting, self.waiting_at)?;
        }
        self.waiting_at += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

/// Walks past all vectors of a space and keeps those of the objects; how many it found.
fn walk(
    still: &Still<'_>,
    space: &EmbeddingSpace,
    keys: &[ObjectKey],
    sink: &mut Sink<'_>,
    progress: Progress<'_>,
) -> Result<usize, ProbeError> {
    let (mut place, mut found) = (0, 0);
    let mut failed = None;
    let stage = format!("reading {}", space.name);
    let walked = still.visit_vectors(space.id, &mut |key, vector| {
        while keys.get(place).is_some_and(|&wanted| wanted < key) {
            place += 1;
        }
        if keys.get(place) == Some(&key) {
            let told = if found % BLOCK_ROWS == 0 {
                progress.step(&stage, found as u64, keys.len() as u64).map_err(ProbeError::from)
            } else {
                Ok(())
            };
            if let Err(error) = told.and_then(|()| sink.put(place, vector)) {
                failed = Some(error);
                // Any error ends the walk; the one that is told is kept aside.
                return Err(EngineError::NoCollection { name: String::new() });
            }
            found += 1;
        }
        Ok(())
    });
    match (failed, walked) {
        (Some(error), _) => Err(error),
        (None, walked) => Ok(walked.map(|()| found)?),
    }
}

/// Fetches the vectors of a few objects; how many it found.
fn fetch(
    still: &Still<'_>,
    space: &EmbeddingSpace,
    keys: &[ObjectKey],
    sink: &mut Sink<'_>,
    progress: Progress<'_>,
) -> Result<usize, ProbeError> {
    let (mut found, total) = (0, keys.len() as u64);
    for (number, keys) in keys.chunks(FETCHED_AT_ONCE).enumerate() {
        progress.step(&format!("reading {}", space.name), found as u64, total)?;
        for (place, vector) in still.vectors_at(space.id, keys)?.into_iter().enumerate() {
            let Some(vector) = vector else { continue };
            sink.put(number * FETCHED_AT_ONCE + place, &vector)?;
            found += 1;
        }
    }
    Ok(found)
}
