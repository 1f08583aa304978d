//! Printing bridges.

use anyhow::Result;

use crate::cli::render::{
    Cell, Format, Json, Table, print_facts, print_json, print_table, significant, thousands,
    write_out,
};
use crate::wire::v1::{Bridge, BridgeMetric, BridgeSpec, bridge_spec};

/// Objects below which a test set is too small to say much.
const FEW_TESTED: u64 = 50;

/// Digits of a measured number in a table.
const DIGITS: usize = 4;

/// The method in a few words.
fn method_text(spec: &BridgeSpec) -> String {
    use bridge_spec::Method;
    match &spec.method {
        None => "-".to_owned(),
        Some(Method::Procrustes(_)) => "procrustes".to_owned(),
        Some(Method::Ridge(_)) => "ridge".to_owned(),
        Some(Method::Cca(_)) => "cca".to_owned(),
        Some(Method::Contrastive(given)) => {
            let hidden: Vec<String> = given.hidden.iter().map(u32::to_string).collect();
            if hidden.is_empty() {
                "infonce".to_owned()
            } else {
                format!("infonce {}", hidden.join("-"))
            }
        }
    }
}

fn value_of(bridge: &Bridge, name: &str) -> Option<f64> {
    bridge.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
}

/// Bridges side by side.
pub(super) fn list(bridges: &[Bridge]) -> Table {
    let mut table = Table::new([
        "bridge",
        "from",
        "to",
        "method",
        "version",
        "trained on",
        "recall@1",
        "recall@10",
        "back@10",
        "stale",
    ]);
    for bridge in bridges {
        let spec = bridge.spec.clone().unwrap_or_default();
        table.push(vec![
            Cell::text(&bridge.name),
            Cell::text(&spec.from),
            Cell::text(&spec.to),
            Cell::text(method_text(&spec)),
            Cell::Count(u64::from(bridge.version)),
            Cell::Count(bridge.n_train),
            Cell::optional_real(value_of(bridge, "recall@1")),
            Cell::optional_real(value_of(bridge, "recall@10")),
            Cell::optional_real(value_of(bridge, "recall_back@10")),
            Cell::text(&bridge.stale),
        ]);
    }
    table
}

/// One bridge with everything that was measured.
pub(super) fn print_bridge(bridge: &Bridge, format: Format) -> Result<()> {
    let facts = facts(bridge);
    let mut table = Table::new(["metric", "value", "low", "high", "chance"]);
    for metric in &bridge.metrics {
        table.push(vec![
            Cell::text(&metric.name),
            Cell::Real(metric.value),
            Cell::Real(metric.low),
            Cell::Real(metric.high),
            Cell::optional_real(metric.chance),
        ]);
    }
    match format {
        Format::Table => {
            print_facts(&facts, format)?;
            if bridge.n_changed > 0 {
                let changed = thousands(bridge.n_changed);
                write_out(&format!(
                    "\nnote: {changed} objects were written again while they were read, and are left out\n"
                ))?;
            }
            if bridge.n_leaked > 0 {
                let leaked = thousands(bridge.n_leaked);
                write_out(&format!(
                    "\nnote: {leaked} test objects lie within 1 arcsec of a training object: the same object may be on both sides\n"
                ))?;
            }
            if bridge.n_test < FEW_TESTED {
                write_out(&format!("\nnote: measured on {} objects only\n", bridge.n_test))?;
            }
            write_out("\non objects that it was not fitted on, with 95 % intervals\n")?;
            print_table(&table, format)?;
            if bridge.leads_into_target {
                return Ok(());
            }
            write_out(
                "\nboth sides are mapped into a space of their own; `sidereus bridge apply` writes them there to be searched\n",
            )
        }
        Format::Csv => print_table(&table, format),
        Format::Json => print_json(&json(bridge, &facts)),
    }
}

fn facts(bridge: &Bridge) -> Vec<(&'static str, Cell)> {
    let spec = bridge.spec.clone().unwrap_or_default();
    let mut facts = vec![
        ("bridge", Cell::text(&bridge.name)),
        ("collection", Cell::text(&bridge.collection)),
        ("from", Cell::text(&spec.from)),
        ("to", Cell::text(&spec.to)),
        ("method", Cell::text(method_text(&spec))),
        ("version", Cell::Count(u64::from(bridge.version))),
        ("dimension", Cell::Count(u64::from(bridge.dimension))),
        ("split", Cell::text(&spec.split)),
        ("n_train", Cell::Count(bridge.n_train)),
        ("n_test", Cell::Count(bridge.n_test)),
        ("n_changed", Cell::Count(bridge.n_changed)),
        ("n_leaked", Cell::Count(bridge.n_leaked)),
        ("alpha", Cell::optional_real(bridge.alpha)),
        ("scale", Cell::optional_real(bridge.scale)),
    ];
    if !bridge.correlations.is_empty() {
        let first: Vec<String> =
            bridge.correlations.iter().take(8).map(|each| significant(*each, DIGITS)).collect();
        facts.push(("correlations", Cell::text(first.join(" "))));
    }
    facts.push(("collection_version", Cell::Count(bridge.collection_version)));
    facts.push(("elapsed_seconds", Cell::Real(bridge.elapsed_seconds)));
    if !bridge.stale.is_empty() {
        facts.push(("stale", Cell::text(&bridge.stale)));
    }
    facts.retain(|(name, cell)| !matches!((*name, cell), ("alpha" | "scale", Cell::Null)));
    facts
}

fn json(bridge: &Bridge, facts: &[(&'static str, Cell)]) -> Json {
    let metric = |metric: &BridgeMetric| {
        let numbers = Json::object([
            ("value", Cell::Real(metric.value).to_json()),
            ("low", Cell::Real(metric.low).to_json()),
            ("high", Cell::Real(metric.high).to_json()),
            ("chance", Cell::optional_real(metric.chance).to_json()),
        ]);
        (metric.name.clone(), numbers)
    };
    let own = facts.iter().filter(|(name, _)| *name != "correlations");
    let members = own.map(|(name, cell)| ((*name).to_owned(), cell.to_json()));
    let lists = [
        ("leads_into_target", Cell::Boolean(bridge.leads_into_target)),
        ("fitted_at", Cell::Count(bridge.fitted_at)),
        ("correlations", Cell::Reals(bridge.correlations.clone())),
        ("alphas", Cell::Reals(bridge.alphas.clone())),
        ("alpha_scores", Cell::Reals(bridge.alpha_scores.clone())),
    ];
    let lists = lists.into_iter().map(|(name, cell)| (name.to_owned(), cell.to_json()));
    let metrics = Json::object(bridge.metrics.iter().map(metric));
    Json::object(members.chain(lists).chain([("metrics".to_owned(), metrics)]))
}
