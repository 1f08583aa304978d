//! Recall after many objects were deleted and overwritten, against distances computed here from a mirror of the data.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sidereus::engine::{Db, DbOptions, Write, WriteMode};
use sidereus::query::Query;
use sidereus::schema::ObjectId;
use sidereus::vector::{dot, norm};

use crate::Arguments;
use crate::local::{ask, clients, queries};
use crate::workload::{K, Shape, array, shapes, share};

/// Of ten objects, those that are deleted, and those that get another vector.
const DELETED_OF_TEN: usize = 3;
const OVERWRITTEN_OF_TEN: usize = 2;

const BATCH: usize = 10_000;

/// Queries whose truth is computed.
const QUERIES: usize = 50;

/// What the database ought to hold: for each row of the workload its id, and its vector unless it was deleted.
struct Mirror {
    ids: Vec<i64>,
    values: Vec<f32>,
    dimension: usize,
    is_live: Vec<bool>,
}

/// A number without a pattern for each row, the same in every run.
fn draw(row: usize) -> usize {
    let mut state = (row as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((state ^ (state >> 31)) >> 8) as usize
}

impl Mirror {
    fn vector(&self, row: usize) -> &[f32] {
        &self.values[row * self.dimension..(row + 1) * self.dimension]
    }

    /// The vector that an overwritten row gets: half its own, half that of another row.
    fn mixed(&self, row: usize) -> Vec<f32> {
        let other = draw(row + 1) % self.ids.len();
        self.vector(row).iter().zip(self.vector(other)).map(|(a, b)| 0.5 * (a + b)).collect()
    }

    /// The ten nearest live rows by cosine distance.
    fn nearest(&self, query: &[f32], lengths: &[f64]) -> Vec<(i64, f64)> {
        let length = norm(query);
        let live = (0..self.ids.len()).filter(|row| self.is_live[*row]);
        let mut found: Vec<(i64, f64)> = live
            .map(|row| {
                let cosine = f64::from(dot(query, self.vector(row)));
                (self.ids[row], 1.0 - cosine / (length * lengths[row]))
            })
            .collect();
        let by_distance = |left: &(i64, f64), right: &(i64, f64)| left.1.total_cmp(&right.1);
        if found.len() > K {
            found.select_nth_unstable_by(K, by_distance);
            found.truncate(K);
        }
        found.sort_by(by_distance);
        found
    }
}

/// Deletes and overwrites; returns the seconds that it took.
fn change(db: &Db, collection: &str, mirror: &mut Mirror) -> Result<f64> {
    let began = Instant::now();
    let kind = |row: usize| draw(row) % 10;
    let rows = 0..mirror.ids.len();
    let deleted: Vec<usize> = rows.clone().filter(|row| kind(*row) < DELETED_OF_TEN).collect();
    for batch in deleted.chunks(BATCH) {
        let writes =
            batch.iter().map(|row| Write::Delete(ObjectId::Number(mirror.ids[*row]))).collect();
        db.write(collection, WriteMode::Logged, writes)?;
        batch.iter().for_each(|row| mirror.is_live[*row] = false);
    }
    let limit = DELETED_OF_TEN + OVERWRITTEN_OF_TEN;
    let overwritten: Vec<usize> =
        rows.filter(|row| (DELETED_OF_TEN..limit).contains(&kind(*row))).collect();
    let mut changed = Vec::with_capacity(overwritten.len());
    for batch in overwritten.chunks(BATCH) {
        let ids: Vec<ObjectId> =
            batch.iter().map(|row| ObjectId::Number(mirror.ids[*row])).collect();
        let mut writes = Vec::with_capacity(batch.len());
        for (row, object) in batch.iter().zip(db.get(collection, &ids)?) {
            let mut object = object.context("an object of the workload is not in the database")?;
            let vector = mirror.mixed(*row);
            for (_, stored) in &mut object.vectors {
                stored.clone_from(&vector);
            }
            writes.push(Write::Put(object));
            changed.push((*row, vector));
        }
        db.write(collection, WriteMode::Logged, writes)?;
    }
    // Only now: a mixed vector is made of two that were there before.
    for (row, vector) in changed {
        let dimension = mirror.dimension;
        mirror.values[row * dimension..(row + 1) * dimension].copy_from_slice(&vector);
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Mean recall@10 on the first queries, without a filter against the mirror.
fn recall(db: &Db, collection: &str, mirror: &Mirror, queries: &[Query]) -> Result<f64> {
    let row_of = |row| norm(mirror.vector(row));
    let lengths: Vec<f64> = (0..mirror.ids.len()).map(row_of).collect();
    let mut total = 0.0;
    for query in queries {
        let truth = mirror.nearest(&query.terms[0].vectors[0], &lengths);
        total += share(&truth, &ask(db, collection, query)?.hits);
    }
    Ok(total / queries.len() as f64)
}

/// Mean recall@10 of filtered queries against the database's own exact mode.
fn recall_filtered(db: &Db, collection: &str, queries: &[Query]) -> Result<f64> {
    let mut total = 0.0;
    for query in queries {
        let exact = ask(db, collection, &Query { exact: true, ..query.clone() })?;
        total += share(&exact.hits, &ask(db, collection, query)?.hits);
    }
    Ok(total / queries.len() as f64)
}

/// Recall and speed of every shape, as one line each.
fn report(
    db: &Db,
    arguments: &Arguments,
    mirror: &Mirror,
    shapes: &[Shape],
    when: &str,
) -> Result<()> {
    let collection = arguments.text("collection")?;
    for shape in shapes {
        let queries = queries(shape, false, None)?;
        let some = &queries[..queries.len().min(QUERIES)];
        let is_open = shape.filters[0].cone.is_none() && shape.filters[0].predicate.is_none();
        let (recall, against) = if is_open {
            (recall(db, collection, mirror, some)?, "mirror")
        } else {
            (recall_filtered(db, collection, some)?, "exact mode")
        };
        let qps = clients(db, collection, &queries, 1, arguments.duration()?)?[0].qps();
        println!(
            "{}",
            json!({ "when": when, "shape": shape.name, "recall": recall, "against": against, "qps": qps })
        );
    }
    Ok(())
}

/// Measures, changes half of the objects, measures, builds, and measures again. The database stays changed.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workload = arguments.folder("workload")?;
    let collection = arguments.text("collection")?;
    let (values, dimension) = array::<f32>(&workload.join("vectors.npy"))?;
    let (ids, _) = array::<i64>(&workload.join("ids.npy"))?;
    let is_live = vec![true; ids.len()];
    let mut mirror = Mirror { ids, values, dimension, is_live };
    let shapes = shapes(&workload, arguments.find("shapes"))?;
    // No build in the background: the tail is to be as long as it gets.
    let options = DbOptions { auto_index_rows: None, ..DbOptions::new(arguments.folder("data")?) };
    let db = Db::open(options)?;
    report(&db, arguments, &mirror, &shapes, "before")?;
    let seconds = change(&db, collection, &mut mirror)?;
    let live = mirror.is_live.iter().filter(|live| **live).count();
    let counted = db.collection(collection)?.object_count;
    ensure!(counted == live as u64, "{counted} objects are there, {live} ought to be");
    println!("{}", json!({ "changed_s": seconds, "live": live }));
    report(&db, arguments, &mirror, &shapes, "after changes")?;
    let began = Instant::now();
    db.build_index(collection, &mut |_, _, _| {})?;
    println!("{}", json!({ "build_s": began.elapsed().as_secs_f64() }));
    report(&db, arguments, &mirror, &shapes, "after a build")
}
