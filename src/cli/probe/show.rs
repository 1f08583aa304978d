//! Printing probes.

use anyhow::Result;

use crate::cli::ids::id_text;
use crate::cli::render::{
    Cell, Format, Json, Table, print_json, print_table, significant, thousands, write_out,
};
use crate::learn::metrics::largest;
use crate::wire::v1::{MetricValue, Prediction, Probe, ProbeSpec, head};

/// Digits of a measured number in a table.
const DIGITS: usize = 4;

/// Metrics that stand for a probe in a list.
const SHORT_LIST: [&str; 6] = ["r2", "sigma_nmad", "outliers_0.15", "accuracy", "macro_f1", "auc"];

/// Metrics that are shown first, the best known first.
fn metric_order(name: &str) -> usize {
    const ORDER: [&str; 10] = [
        "r2",
        "rmse",
        "mae",
        "bias",
        "sigma_nmad",
        "outliers_0.15",
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "auc",
    ];
    ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len())
}

/// Name of a head.
pub(super) fn head_name(spec: &ProbeSpec) -> String {
    use head::Kind;
    match spec.head.as_ref().and_then(|head| head.kind.as_ref()) {
        None => "-".to_owned(),
        Some(Kind::Knn(knn)) => format!("knn k={}", knn.k),
        Some(Kind::Ridge(_)) => "ridge".to_owned(),
        Some(Kind::Logistic(_)) => "logistic".to_owned(),
        Some(Kind::Mlp(mlp)) => {
            let widths: Vec<String> = mlp.hidden.iter().map(u32::to_string).collect();
            format!("mlp {}", widths.join("-"))
        }
        Some(Kind::Attention(_)) => "attention".to_owned(),
        Some(Kind::Density(density)) => format!("density {}", density.components),
        Some(Kind::Token(_)) => "token".to_owned(),
    }
}

/// What a probe reads.
fn features(spec: &ProbeSpec) -> String {
    let all: Vec<&str> = spec.spaces.iter().chain(&spec.columns).map(String::as_str).collect();
    all.join(" + ")
}

/// What a probe predicts.
fn target(spec: &ProbeSpec) -> String {
    spec.target.as_ref().map_or_else(String::new, |target| {
        if target.fractions.is_empty() {
            target.column.clone()
        } else {
            target.fractions.join(", ")
        }
    })
}

fn interval(metric: &MetricValue) -> String {
    match (metric.low, metric.high) {
        (Some(low), Some(high)) => {
            format!("{} to {}", significant(low, DIGITS), significant(high, DIGITS))
        }
        _ => "-".to_owned(),
    }
}

/// Prints a probe with everything that was measured.
pub(super) fn print_probe(probe: &Probe, format: Format) -> Result<()> {
    let mut metrics: Vec<&MetricValue> = probe.metrics.iter().collect();
    metrics.sort_by_key(|metric| metric_order(&metric.name));
    let mut table = Table::new(["metric", "value", "low_95", "high_95"]);
    for metric in &metrics {
        table.push(vec![
            Cell::text(&metric.name),
            Cell::Real(metric.value),
            Cell::optional_real(metric.low),
            Cell::optional_real(metric.high),
        ]);
    }
    match format {
        Format::Csv => print_table(&table, format),
        Format::Json => print_json(&to_json(probe)),
        Format::Table => {
            write_out(&head_text(probe))?;
            let mut table = Table::new(["metric", "value", "95 % interval"]);
            for metric in metrics {
                table.push(vec![
                    Cell::text(&metric.name),
                    Cell::text(significant(metric.value, DIGITS)),
                    Cell::text(interval(metric)),
                ]);
            }
            print_table(&table, format)?;
            if let Some(confusion) = &probe.confusion
                && confusion.classes.len() <= 12
            {
                write_out("\ntrue class (down) and predicted class (across)\n")?;
                let headings = std::iter::once(String::new()).chain(confusion.classes.clone());
                let mut table = Table::new(headings);
                for (class, row) in
                    confusion.classes.iter().zip(confusion.counts.chunks(confusion.classes.len()))
                {
                    let counts = row.iter().map(|count| Cell::Count(*count));
                    table.push(std::iter::once(Cell::text(class)).chain(counts).collect());
                }
                print_table(&table, format)?;
            }
            Ok(())
        }
    }
}

fn head_text(probe: &Probe) -> String {
    let empty = ProbeSpec::default();
    let spec = probe.spec.as_ref().unwrap_or(&empty);
    let name = if probe.name.is_empty() { "not kept" } else { &probe.name };
    let mut text = format!(
        "{name}: {} from {} by {}\nsplit {}: {}; version {} of `{}`\n",
        target(spec),
        features(spec),
        head_name(spec),
        spec.split,
        counts(probe, spec),
        probe.version,
        probe.collection,
    );
    if let Some(alpha) = probe.alpha {
        let tried = probe.alphas.len();
        text += &format!("alpha {} of {tried} tried\n", significant(alpha, DIGITS));
    }
    if !probe.stale.is_empty() {
        text += &format!("STALE: {}\n", probe.stale);
    }
    for warning in &probe.warnings {
        text += &format!("note: {warning}\n");
    }
    text + "\n"
}

/// How many objects taught and tested.
fn counts(probe: &Probe, spec: &ProbeSpec) -> String {
    let (train, test) = (thousands(probe.n_train), thousands(probe.n_test));
    if spec.split.starts_with("kfold") {
        return format!(
            "{test} objects, each predicted by a head that was fitted on the other folds"
        );
    }
    format!("fitted on {train} objects, measured on {test}")
}

/// A probe for programs.
fn to_json(probe: &Probe) -> Json {
    let empty = ProbeSpec::default();
    let spec = probe.spec.as_ref().unwrap_or(&empty);
    let number = |value: Option<f64>| Cell::optional_real(value).to_json();
    let texts = |texts: &[String]| {
        Json::List(texts.iter().map(|text| Cell::text(text).to_json()).collect())
    };
    let numbers = |values: &[f64]| {
        Json::List(values.iter().map(|value| Cell::Real(*value).to_json()).collect())
    };
    let metrics =
        probe.metrics.iter().map(|each| (each.name.clone(), Cell::Real(each.value).to_json()));
    let intervals = probe
        .metrics
        .iter()
        .map(|each| (each.name.clone(), Json::List(vec![number(each.low), number(each.high)])));
    let calibration = probe.calibration.iter().map(|bin| {
        Json::object([
            ("predicted", Cell::Real(bin.predicted).to_json()),
            ("observed", Cell::Real(bin.observed).to_json()),
            ("count", Cell::Count(bin.count).to_json()),
        ])
    });
    let mut members = vec![
        ("name", Cell::text(&probe.name).to_json()),
        ("collection", Cell::text(&probe.collection).to_json()),
        ("spaces", texts(&spec.spaces)),
        ("columns", texts(&spec.columns)),
        ("target", Cell::text(target(spec)).to_json()),
        ("head", Cell::text(head_name(spec)).to_json()),
        ("split", Cell::text(&spec.split).to_json()),
        ("n_train", Cell::Count(probe.n_train).to_json()),
        ("n_test", Cell::Count(probe.n_test).to_json()),
        ("n_changed", Cell::Count(probe.n_changed).to_json()),
        ("n_missing", Cell::Count(probe.n_missing).to_json()),
        ("n_leaked", Cell::Count(probe.n_leaked).to_json()),
        ("metrics", Json::object(metrics)),
        ("intervals", Json::object(intervals)),
        ("alpha", number(probe.alpha)),
        ("alphas", numbers(&probe.alphas)),
        ("alpha_scores", numbers(&probe.alpha_scores)),
        ("classes", texts(&probe.classes)),
        ("calibration", Json::List(calibration.collect())),
        ("version", Cell::Count(probe.version).to_json()),
        ("fitted_at", Cell::Count(probe.fitted_at).to_json()),
        ("elapsed_seconds", Cell::Real(probe.elapsed_seconds).to_json()),
        ("stale", Cell::text(&probe.stale).to_json()),
        ("warnings", texts(&probe.warnings)),
    ];
    if let Some(confusion) = &probe.confusion {
        let rows = confusion
            .counts
            .chunks(confusion.classes.len().max(1))
            .map(|row| Json::List(row.iter().map(|count| Cell::Count(*count).to_json()).collect()));
        members.push(("confusion", Json::List(rows.collect())));
    }
    Json::object(members)
}

/// Probes side by side.
pub(super) fn list(probes: &[Probe]) -> Table {
    let shown: Vec<&str> = SHORT_LIST
        .into_iter()
        .filter(|name| probes.iter().any(|probe| metric(probe, name).is_some()))
        .collect();
    let first = ["probe", "target", "features", "head", "split", "train", "test"];
    let mut table = Table::new(first.into_iter().chain(shown.iter().copied()).chain(["stale"]));
    let empty = ProbeSpec::default();
    for probe in probes {
        let spec = probe.spec.as_ref().unwrap_or(&empty);
        let mut row = vec![
            Cell::text(&probe.name),
            Cell::text(target(spec)),
            Cell::text(features(spec)),
            Cell::text(head_name(spec)),
            Cell::text(&spec.split),
            Cell::Count(probe.n_train),
            Cell::Count(probe.n_test),
        ];
        row.extend(shown.iter().map(|name| Cell::optional_real(metric(probe, name))));
        row.push(if probe.stale.is_empty() { Cell::Null } else { Cell::text(&probe.stale) });
        table.push(row);
    }
    table
}

fn metric(probe: &Probe, name: &str) -> Option<f64> {
    probe.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
}

/// One prediction as a row.
pub(super) fn prediction(prediction: &Prediction, classes: &[String], class: &str) -> Vec<Cell> {
    let position = prediction.position.unwrap_or_default();
    let mut row = vec![
        Cell::Id(id_text(prediction.id.as_ref())),
        Cell::Degrees(position.ra),
        Cell::Degrees(position.dec),
    ];
    if classes.is_empty() || !class.is_empty() {
        row.push(Cell::optional_real(prediction.predicted.first().copied()));
        return row;
    }
    let place = largest(&prediction.predicted);
    match prediction.predicted.get(place) {
        Some(probability) => {
            row.push(classes.get(place).map_or(Cell::Null, Cell::text));
            row.push(Cell::Real(*probability));
        }
        None => row.extend([Cell::Null, Cell::Null]),
    }
    row
}

/// The published protocols: a line each for people.
pub(super) fn presets(format: Format) -> Result<()> {
    let presets = crate::probes::PRESETS;
    if format == Format::Table {
        let width = presets.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let line = |(name, protocol): &(&str, &str)| format!("{name:<width$}  {protocol}\n");
        return write_out(&presets.iter().map(line).collect::<String>());
    }
    let mut table = Table::new(["preset", "protocol"]);
    for (name, protocol) in presets {
        table.push(vec![Cell::text(name), Cell::text(protocol)]);
    }
    print_table(&table, format)
}
