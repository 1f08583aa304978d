//! Latencies of searches while an index is built beside them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use sidereus::engine::{Db, DbOptions};
use sidereus::query::Query;

use crate::Arguments;
use crate::local::{ask, queries};
use crate::measure::latency;
use crate::workload::shapes;

/// Asks queries in turn until told to stop.
fn search_until(
    db: &Db,
    collection: &str,
    queries: &[Query],
    stop: impl Fn(Duration) -> bool,
) -> Result<Vec<Duration>> {
    let (began, mut latencies) = (Instant::now(), Vec::new());
    for query in queries.iter().cycle() {
        if stop(began.elapsed()) {
            break;
        }
        let before = Instant::now();
        ask(db, collection, query)?;
        latencies.push(before.elapsed());
    }
    Ok(latencies)
}

/// Searches quietly for a while, then during a build, one shape after the other.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let collection = arguments.text("collection")?;
    let options = DbOptions {
        auto_index_rows: None,
        build_threads: arguments.find("build-threads").map_or(Ok(1), str::parse)?,
        ..DbOptions::new(arguments.folder("data")?)
    };
    let db = Db::open(options)?;
    for shape in &shapes(&arguments.folder("workload")?, arguments.find("shapes"))? {
        let queries = queries(shape, false, None)?;
        let budget = arguments.duration()?;
        search_until(&db, collection, &queries, |elapsed| elapsed > budget / 4)?;
        let quiet = search_until(&db, collection, &queries, |elapsed| elapsed > budget)?;
        let is_built = AtomicBool::new(false);
        let began = Instant::now();
        let busy = std::thread::scope(|scope| {
            let building = scope.spawn(|| {
                let built = db.build_index(collection, &mut |_, _, _| {});
                is_built.store(true, Ordering::Release);
                built
            });
            let busy =
                search_until(&db, collection, &queries, |_| is_built.load(Ordering::Acquire));
            building.join().ok().context("the build panicked")??;
            busy
        })?;
        let ((quiet_p50, quiet_p99), (busy_p50, busy_p99)) = (latency(&quiet), latency(&busy));
        println!(
            "{}",
            json!({
                "shape": shape.name,
                "build_s": began.elapsed().as_secs_f64(),
                "searches": busy.len(),
                "quiet_p50_ms": quiet_p50,
                "quiet_p99_ms": quiet_p99,
                "during_build_p50_ms": busy_p50,
                "during_build_p99_ms": busy_p99,
            })
        );
    }
    Ok(())
}
