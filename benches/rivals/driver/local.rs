//! Searches in this process.

use std::sync::Barrier;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;
use sidereus::engine::{Db, DbOptions};
use sidereus::query::{Query, search};
use sidereus::schema::ObjectId;

use crate::Arguments;
use crate::measure::{Found, Measured, memory, rounds, summary};
use crate::workload::{Shape, query, shapes};

/// The queries of a shape, ready to be asked.
pub(crate) fn queries(shape: &Shape, exact: bool, plan: Option<&str>) -> Result<Vec<Query>> {
    let pairs = shape.vectors.iter().zip(&shape.filters);
    let ready = pairs.map(|(vector, filter)| {
        Ok(Query { exact, plan: plan.map(str::to_owned), ..query(vector, filter)? })
    });
    ready.collect()
}

/// Asks one query of what the database holds now.
pub(crate) fn ask(db: &Db, collection: &str, query: &Query) -> Result<Found> {
    let view = db.view(collection)?;
    let answer = search(&view, query)?;
    let mut hits = Vec::with_capacity(answer.hits.len());
    for hit in &answer.hits {
        let ObjectId::Number(id) = hit.id else { bail!("the ids of a workload are numbers") };
        hits.push((id, hit.distance.unwrap_or(f64::NAN)));
    }
    Ok(Found { hits, plan: answer.stats.plan, elapsed_ms: answer.stats.elapsed_ms })
}

/// Several clients at once, each a thread with an offset of its own into the same queries.
pub(crate) fn clients(
    db: &Db,
    collection: &str,
    queries: &[Query],
    count: usize,
    budget: Duration,
) -> Result<Vec<Measured>> {
    let start = Barrier::new(count);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..count)
            .map(|client| {
                let start = &start;
                let offset = client * queries.len() / count;
                scope.spawn(move || {
                    rounds(queries.len(), offset, budget, start, |place| {
                        ask(db, collection, &queries[place])
                    })
                })
            })
            .collect();
        running.into_iter().map(|client| client.join().expect("a client does not panic")).collect()
    })
}

/// Measures every shape, and the memory when all are done.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    // What the workload takes is neither the start of the database nor its memory.
    let before = std::time::Instant::now();
    let workload = arguments.folder("workload")?;
    // On a thread of its own: what the allocator keeps of the reading is not used again by the database.
    let read = || -> Result<_> {
        let shapes = shapes(&workload, arguments.find("shapes"))?;
        let first = queries(&shapes[0], false, None)?;
        Ok((shapes, first))
    };
    let read = std::thread::scope(|scope| scope.spawn(read).join());
    let (shapes, first) = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let reading = before.elapsed();
    let since_began = || arguments.began.elapsed().saturating_sub(reading).as_secs_f64();
    let empty = memory()?;
    let resident_mib = arguments.find("resident-mib").map(str::parse::<u64>).transpose()?;
    let resident_bytes = resident_mib.map(|mib| mib << 20);
    let db = Db::open(DbOptions { resident_bytes, ..DbOptions::new(arguments.folder("data")?) })?;
    let opened_s = since_began();
    let collection = arguments.text("collection")?;
    ask(&db, collection, &first[0])?;
    let first_answer_s = since_began();
    println!(
        "{}",
        json!({ "first_answer_s": first_answer_s, "opened_s": opened_s, "empty": empty })
    );
    for shape in &shapes {
        let queries = queries(shape, arguments.has("exact"), arguments.find("plan"))?;
        let count = arguments.clients()?;
        let clients = clients(&db, collection, &queries, count, arguments.duration()?)?;
        let hits: Vec<_> = clients[0].answers.iter().map(|found| found.hits.clone()).collect();
        let recall = shape.recall(&hits);
        println!("{}", summary(&shape.name, &clients, recall, arguments.has("answers"))?);
    }
    println!("{}", json!({ "memory": memory()? }));
    Ok(())
}
