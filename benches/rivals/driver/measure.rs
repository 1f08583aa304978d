//! Clocks and memory.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

const ROUNDS_MAX: usize = 9;

/// Queries asked before the clock runs.
const WARM_UP: usize = 20;

/// One answer: ids with distances, and the plan that found them.
pub(crate) struct Found {
    pub(crate) hits: Vec<(i64, f64)>,
    pub(crate) plan: String,
    /// What the search itself took, by its own clock, milliseconds.
    pub(crate) elapsed_ms: f64,
}

/// What one client measured.
pub(crate) struct Measured {
    /// Answers of the first round, by query.
    pub(crate) answers: Vec<Found>,
    latencies: Vec<Duration>,
    /// Of the same, what the searches themselves took.
    searches: Vec<Duration>,
    rounds: Vec<Duration>,
}

/// Asks queries `0..count` in rounds for about as long as given, beginning at an offset; after a warm-up all clients
/// begin together.
pub(crate) fn rounds(
    count: usize,
    offset: usize,
    budget: Duration,
    start: &Barrier,
    mut ask: impl FnMut(usize) -> Result<Found>,
) -> Result<Measured> {
    // Whoever fails must still come to the barrier: the others wait there.
    let warm: Result<Vec<Found>> = (0..count.min(WARM_UP)).map(&mut ask).collect();
    start.wait();
    warm?;
    let order: Vec<usize> = (0..count).map(|place| (place + offset) % count).collect();
    let mut answers: Vec<Option<Found>> = (0..count).map(|_| None).collect();
    let (mut latencies, mut searches, mut rounds) = (Vec::new(), Vec::new(), Vec::new());
    let began = Instant::now();
    while rounds.is_empty() || (rounds.len() < ROUNDS_MAX && began.elapsed() < budget) {
        let round = Instant::now();
        for &place in &order {
            let before = Instant::now();
            let found = ask(place)?;
            latencies.push(before.elapsed());
            searches.push(Duration::try_from_secs_f64(found.elapsed_ms / 1e3)?);
            if rounds.is_empty() {
                answers[place] = Some(found);
            }
        }
        rounds.push(round.elapsed());
    }
    Ok(Measured { answers: answers.into_iter().flatten().collect(), latencies, searches, rounds })
}

impl Measured {
    /// Queries per second: the median of the rounds.
    pub(crate) fn qps(&self) -> f64 {
        let mut seconds: Vec<f64> = self.rounds.iter().map(Duration::as_secs_f64).collect();
        seconds.sort_by(f64::total_cmp);
        self.answers.len() as f64 / percentile(&seconds, 50.0)
    }

    /// How often each plan was chosen.
    fn plans(&self) -> BTreeMap<&str, usize> {
        let mut plans = BTreeMap::new();
        for found in &self.answers {
            *plans.entry(found.plan.as_str()).or_insert(0) += 1;
        }
        plans
    }
}

/// Percentile of sorted numbers, by linear interpolation.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let place = percent / 100.0 * (sorted.len().saturating_sub(1)) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => low + (high - low) * place.fract(),
        _ => f64::NAN,
    }
}

/// Median and 99th percentile, milliseconds.
pub(crate) fn latency(latencies: &[Duration]) -> (f64, f64) {
    let mut sorted: Vec<f64> = latencies.iter().map(|each| each.as_secs_f64() * 1e3).collect();
    sorted.sort_by(f64::total_cmp);
    (percentile(&sorted, 50.0), percentile(&sorted, 99.0))
}

/// Figures of several clients as one line; recall and answers are the first one's.
pub(crate) fn summary(
    name: &str,
    clients: &[Measured],
    recall: f64,
    with_answers: bool,
) -> Result<Value> {
    let first = clients.first().context("at least one client")?;
    let all = |times: fn(&Measured) -> &[Duration]| -> Vec<Duration> {
        clients.iter().flat_map(|client| times(client).iter().copied()).collect()
    };
    let (p50, p99) = latency(&all(|client| &client.latencies));
    let (search_p50, _) = latency(&all(|client| &client.searches));
    let mut line = json!({
        "shape": name,
        "qps": clients.iter().map(Measured::qps).sum::<f64>(),
        "p50_ms": p50,
        "p99_ms": p99,
        "search_p50_ms": search_p50,
        "rounds": first.rounds.len(),
        "recall": recall,
        "plans": first.plans(),
    });
    if with_answers {
        let ids = |found: &Found| found.hits.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        line["answers"] = json!(first.answers.iter().map(ids).collect::<Vec<_>>());
    }
    Ok(line)
}

/// Resident memory of this process in bytes: all, its own, of files, and its proportional share.
pub(crate) fn memory() -> Result<Value> {
    let mut found = serde_json::Map::new();
    let fields = [
        ("/proc/self/status", "VmRSS:", "rss"),
        ("/proc/self/status", "RssAnon:", "rss_anon"),
        ("/proc/self/status", "RssFile:", "rss_file"),
        ("/proc/self/smaps_rollup", "Pss:", "pss"),
    ];
    for (path, label, name) in fields {
        let text = std::fs::read_to_string(path)?;
        let line = text.lines().find_map(|line| line.strip_prefix(label));
        let kibibytes: Option<u64> =
            line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok());
        found.insert(name.to_owned(), json!(kibibytes.context("a line of the kernel")? * 1024));
    }
    Ok(Value::Object(found))
}
