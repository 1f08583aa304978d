//! Predicting for stored objects.

use std::sync::atomic::AtomicBool;

use super::again::{self, Chosen, Pages};
use super::features::Stored;
use super::heads;
use super::measure::Predicted;
use super::model::Model;
use super::record::{self, Record};
use super::spec::{Inputs, are_tokens};
use super::table::Table;
use super::{ProbeError, Tools, derived, segments, tokens};
use crate::engine::{CollectionView, Still, Write};
use crate::learn::Progress;
use crate::query::StopFlag;
use crate::schema::{Column, ColumnType, Value};
use crate::wire::v1::{self, head};

/// Objects that are predicted, told and written at a time.
const AT_ONCE: usize = 8_192;

/// What is told or written of a prediction.
enum Output {
    /// Everything that the head says.
    All,
    /// The only number, or the probability of one class.
    Number(usize),
    /// The name of the most probable class.
    Label(Vec<String>),
}

/// Predicts for the objects of a view of the collection that have all features, tells the predictions to `tell` or writes them to a
/// column, and tells how far it is.
///
/// # Errors
/// [`ProbeError::Stale`], [`ProbeError::NoProbe`], and those of the disk; what was written before stays.
pub fn apply(
    tools: &Tools,
    view: &CollectionView,
    request: &v1::ApplyProbeRequest,
    stop: &StopFlag,
    flag: &AtomicBool,
    tell: &mut dyn FnMut(v1::ApplyProbeResponse),
) -> Result<(), ProbeError> {
    // No probe has a dot in its name, and every derived column has.
    if request.name.contains('.') {
        return derived::store(tools, view, request, stop, flag, tell);
    }
    let Record { probe, model } = record::find(&tools.db, &request.collection, &request.name)?;
    if !probe.stale.is_empty() {
        return Err(ProbeError::Stale { name: probe.name, reason: probe.stale });
    }
    let output = output(&probe, request)?;
    let kept = probe.spec.clone().unwrap_or_default();
    let inputs = Inputs::of_kept(view, &kept)?;
    let predicate = Some(request.predicate.as_str()).filter(|text| !text.is_empty());
    let mut table = Table::choose(view, predicate, stop)?;
    if matches!(kept.head, Some(v1::Head { kind: Some(head::Kind::Token(_)) })) {
        return segments::apply(table, &inputs.spaces[0], &model, request, flag, tell);
    }
    retain_usable(&mut table, &view.still()?, &inputs)?;
    let total = table.count() as u64;
    let place =
        if request.column.is_empty() { None } else { Some(column(tools, request, &output)?) };
    let mut answer = v1::ApplyProbeResponse { total, ..v1::ApplyProbeResponse::default() };
    tell(answer.clone());
    let pages = Pages { db: &tools.db, chosen_in: view, flag };
    for first in (0..table.count()).step_by(AT_ONCE) {
        let page = table.page(first..(first + AT_ONCE).min(table.count()));
        let mut predictions = Vec::new();
        let skipped = pages.page(page.objects(), &mut |page, still| {
            retain_usable(page, still, &inputs)?;
            let predicted = predict(tools, &inputs, &model, page, still)?;
            let Some(place) = place else {
                predictions.extend(told(page, &predicted, &output));
                return Ok::<_, ProbeError>(Vec::new());
            };
            write(tools, page, &predicted, &output, place)
        })?;
        answer.done += page.count() as u64;
        answer.skipped += skipped;
        tell(v1::ApplyProbeResponse { predictions, ..answer.clone() });
    }
    Ok(())
}

/// Keeps the objects that have all features.
fn retain_usable(
    table: &mut Table<'_>,
    still: &Still<'_>,
    inputs: &Inputs,
) -> Result<(), ProbeError> {
    let mut keep = heads::have_features(table, still, &inputs.spaces)?;
    for column in &inputs.columns {
        let numbers = table.numbers(column);
        keep.iter_mut().zip(numbers).for_each(|(keep, number)| *keep &= number.is_finite());
    }
    table.retain(&keep);
    Ok(())
}

/// Predicts for all objects of a page.
fn predict(
    tools: &Tools,
    inputs: &Inputs,
    model: &Model,
    page: &Table<'_>,
    still: &Still<'_>,
) -> Result<Predicted, ProbeError> {
    if let Some(space) = inputs.spaces.first().filter(|_| are_tokens(&inputs.spaces)) {
        let places: Vec<u32> = (0..page.count() as u32).collect();
        return tokens::predict(page, still, space, &places, &[], model);
    }
    let (spaces, columns) = (&inputs.spaces, &inputs.columns);
    let features = Stored::gather(&tools.db, page, still, spaces, columns, Progress::silent())?;
    heads::predict_all(&features, model, tools.threads)
}

fn output(probe: &v1::Probe, request: &v1::ApplyProbeRequest) -> Result<Output, ProbeError> {
    let classes = &probe.classes;
    if !request.class.is_empty() {
        let place = classes.iter().position(|class| *class == request.class);
        return place.map(Output::Number).ok_or_else(|| {
            let hint = if classes.is_empty() {
                "it predicts a number; leave --class out".to_owned()
            } else {
                format!("it has {}", classes.join(", "))
            };
            ProbeError::bad(
                format!("probe `{}` has no class `{}`", probe.name, request.class),
                hint,
            )
        });
    }
    Ok(match (request.column.is_empty(), classes.is_empty()) {
        (true, _) => Output::All,
        (false, true) => Output::Number(0),
        (false, false) => Output::Label(classes.clone()),
    })
}

/// The column that predictions go to, made where it does not exist.
fn column(
    tools: &Tools,
    request: &v1::ApplyProbeRequest,
    output: &Output,
) -> Result<usize, ProbeError> {
    let kind = match output {
        Output::Label(_) => ColumnType::Text,
        Output::All | Output::Number(_) => ColumnType::Float64,
    };
    let name = request.name.to_lowercase();
    let words = if request.class.is_empty() {
        format!("predicted by probe {name}")
    } else {
        format!("probability of {} by probe {name}", request.class)
    };
    own_column(tools, &request.collection, &request.column, kind, words)
}

/// The column of a name, made where it does not exist; `words`, its description, say that it may be written over.
pub(super) fn own_column(
    tools: &Tools,
    collection: &str,
    name: &str,
    kind: ColumnType,
    words: String,
) -> Result<usize, ProbeError> {
    let schema = tools.db.schema(collection)?;
    let place = |columns: &[Column]| {
        columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    };
    if let Some(at) = place(&schema.columns) {
        let there = &schema.columns[at];
        if there.kind != kind || there.description != words {
            let holds = if there.description.is_empty() { "" } else { ": " };
            let what = format!(
                "column `{}` exists and holds something else ({}{holds}{}) than \"{words}\" ({kind})",
                there.name, there.kind, there.description
            );
            let hint = "choose another column, so that nothing is overwritten";
            return Err(ProbeError::bad(what, hint));
        }
        return Ok(at);
    }
    let made = Column { description: words, ..Column::new(name, kind) };
    let info = tools.db.add_column(collection, made)?;
    place(&info.schema.columns)
        .ok_or_else(|| ProbeError::bad("the column was not made", "try again"))
}

/// Writes predictions, but for objects that have changed since: these are returned.
fn write(
    tools: &Tools,
    page: &Table<'_>,
    predicted: &Predicted,
    output: &Output,
    place: usize,
) -> Result<Vec<Chosen>, ProbeError> {
    let write = |number: usize| {
        let row = predicted.row(number);
        let value = match output {
            Output::Label(classes) => {
                let name = predicted.class(number).and_then(|place| classes.get(place));
                name.map_or(Value::Null, |name| Value::Text(name.clone()))
            }
            Output::Number(at) => row.get(*at).map_or(Value::Null, |value| Value::Float64(*value)),
            Output::All => row.first().map_or(Value::Null, |value| Value::Float64(*value)),
        };
        Write::SetColumns { id: page.id(number), columns: vec![(place, value)] }
    };
    let writes: Vec<Write> = (0..page.count()).map(write).collect();
    let (again, refused) = again::write(&tools.db, page, writes)?;
    match refused.into_iter().next() {
        Some(reason) => Err(ProbeError::bad(reason, "nothing of this page was written")),
        None => Ok(again),
    }
}

fn told(page: &Table<'_>, predicted: &Predicted, output: &Output) -> Vec<v1::Prediction> {
    let of = |number: usize| {
        let row = predicted.row(number);
        let shown = match output {
            Output::Number(at) => row.get(*at).copied().into_iter().collect(),
            Output::All | Output::Label(_) => row.to_vec(),
        };
        v1::Prediction {
            id: Some(page.id(number).into()),
            position: page.position(number).map(Into::into),
            predicted: shown,
            sigma: predicted.sigmas.get(number).copied(),
            ..v1::Prediction::default()
        }
    };
    (0..page.count()).map(of).collect()
}
