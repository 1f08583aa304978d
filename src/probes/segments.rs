//! Heads that give each token of an object a class: segmentation on the grid of a network's tokens.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::dataset::{leaks, refuse_all_changed, sides, told_changed, told_leaked, told_missing};
use super::features::Subset;
use super::fit::{Fitted, Measured, probe_of, told_unused};
use super::measure::{self, Outcome};
use super::model::Model;
use super::record::{self, Record};
use super::spec::Spec;
use super::table::Table;
use super::{ProbeError, Tools, tokens};
use crate::engine::{CollectionView, Still};
use crate::learn::linear::{Folds, Labels, Logistic, LogisticFit, LogisticOptions, logistic_path};
use crate::learn::metrics::{Bootstrap, Classification, largest};
use crate::learn::split::{Partition, Side, check_classes};
use crate::learn::{Features, LearnError, Matrix, Progress};
use crate::query::StopFlag;
use crate::schema::{ColumnType, EmbeddingSpace, Value};
use crate::wire::v1;

/// Bytes of token states, in double precision, that a fit may hold.
const BYTES_MAX: usize = 2 << 30;

/// Objects that are read at a time.
const READ_AT_ONCE: usize = 64;

/// Most classes of tokens.
const CLASSES_MAX: usize = 256;

/// Tokens of labelled objects.
#[derive(Default)]
struct Labelled {
    states: Vec<f64>,
    /// The class of each token, as the column has it.
    labels: Vec<i64>,
    /// The object of each token, by its place in the table.
    objects: Vec<u32>,
}

/// Fits, measures and, where it has a name, keeps a head on tokens.
///
/// # Errors
/// [`ProbeError`]; nothing is kept then.
pub(super) fn fit(
    tools: &Tools,
    view: &CollectionView,
    spec: &Spec,
    request: &v1::FitProbeRequest,
    stop: &StopFlag,
    progress: Progress<'_>,
) -> Result<Fitted, ProbeError> {
    let started = Instant::now();
    let column = label_column(view, spec)?;
    progress.step("choosing objects", 0, 0)?;
    let still = view.still()?;
    let mut table = Table::choose(view, spec.predicate.as_deref(), stop)?;
    let changed = table.take_changed(&still).len() as u64;
    refuse_all_changed(table.count(), changed)?;
    let chosen = table.count();
    table.retain(&tokens::have(&table, &still, spec.spaces[0].id)?);
    let mut missing = (chosen - table.count()) as u64;
    let sides = inside(&mut table, spec)?;
    let labelled = read(&table, &still, spec, column, progress)?;
    drop(still);
    missing += labelled.without_class(table.count());
    let partition = labelled.partition(&sides)?;
    let leaked = leaks(&table, &partition)?;
    let (names, classes) = labelled.classes()?;
    let on = |side| labelled.tokens_on(&sides, side);
    let (train, test) = (on(Side::Train), on(Side::Test));
    let of = |places: &[u32]| places.iter().map(|&at| classes[at as usize]).collect::<Vec<u32>>();
    let (train_classes, test_classes) = (of(&train), of(&test));
    check_classes(&train_classes, &test_classes, &names)?;
    let states = Matrix::new(spec.spaces[0].dimension, labelled.states)?;
    let near = Subset::new(&states, &train);
    let alpha = alpha(spec)?;
    let fitted = fit_classes(tools, spec, alpha, &near, &train_classes, names.len(), progress)?;
    let probabilities = probabilities(&fitted.model, &Subset::new(&states, &test))?;
    let groups: Vec<u64> =
        test.iter().map(|&at| u64::from(labelled.objects[at as usize])).collect();
    let outcome =
        measured(spec, &names, (&test_classes, &probabilities), &groups, tools, progress)?;
    let predictions = if request.with_predictions {
        predictions(&table, &groups, (&test_classes, &probabilities), names.len())
    } else {
        Vec::new()
    };
    let warnings = told_leaked(leaked).into_iter().chain(told_missing(missing, chosen));
    let warnings = warnings.chain(told_unused(&spec.head, partition.validation.len()));
    let counts = Measured {
        trained: partition.train.len(),
        tested: partition.test.len(),
        missing,
        changed,
        leaked,
        classes: names,
        warnings: warnings.chain(fitted.warnings).chain(told_changed(changed)).collect(),
        alpha: Some(alpha),
        alphas: vec![alpha],
        alpha_scores: Vec::new(),
    };
    let probe = probe_of(view, spec, &request.name, counts, outcome, started);
    keep(tools, view, request, &probe, fitted.model)?;
    Ok(Fitted { probe, predictions })
}

fn fit_classes(
    tools: &Tools,
    spec: &Spec,
    alpha: f64,
    tokens: &Subset<'_>,
    of: &[u32],
    classes: usize,
    progress: Progress<'_>,
) -> Result<LogisticFit, LearnError> {
    let options = LogisticOptions {
        alphas: vec![alpha],
        standardize: spec.wire.standardize,
        ..LogisticOptions::default()
    };
    let (labels, threads) = (Labels::Classes(of), tools.threads);
    logistic_path(tokens, labels, classes, None, Folds::None, &options, threads, progress)
}

/// The side of each object of a table, from which those are taken that the split leaves out.
fn inside(table: &mut Table<'_>, spec: &Spec) -> Result<Vec<Side>, ProbeError> {
    let mut sides = sides(table, spec)?;
    if sides.iter().any(|side| matches!(side, Side::Fold(_))) {
        let hint = "use random, healpix, column or survey";
        return Err(ProbeError::bad("a token head cannot be split into folds", hint));
    }
    table.retain(&sides.iter().map(|side| *side != Side::Out).collect::<Vec<_>>());
    sides.retain(|side| *side != Side::Out);
    Ok(sides)
}

/// The classes of the tested tokens, object by object: which it is, and which is the most probable one. Tokens without a
/// class are not tested.
fn predictions(
    table: &Table<'_>,
    objects: &[u64],
    (truth, probabilities): (&[u32], &[f64]),
    classes: usize,
) -> Vec<v1::Prediction> {
    let mut predictions = Vec::new();
    let mut first = 0;
    for tokens in objects.chunk_by(|a, b| a == b) {
        let place = tokens.first().map_or(0, |place| *place as usize);
        let range = first..first + tokens.len();
        first = range.end;
        let rows = probabilities[range.start * classes..range.end * classes].chunks(classes);
        predictions.push(v1::Prediction {
            id: Some(table.id(place).into()),
            position: table.position(place).map(Into::into),
            truth: truth[range].iter().map(|class| f64::from(*class)).collect(),
            predicted: rows.map(|row| largest(row) as f64).collect(),
            ..v1::Prediction::default()
        });
    }
    predictions
}

/// Keeps a probe that has a name.
fn keep(
    tools: &Tools,
    view: &CollectionView,
    request: &v1::FitProbeRequest,
    probe: &v1::Probe,
    model: Logistic,
) -> Result<(), ProbeError> {
    if request.name.is_empty() {
        return Ok(());
    }
    let record = Record { probe: probe.clone(), model: Model::Logistic(model) };
    record::keep(tools, view, &request.name, &record, request.overwrite)
}

fn probabilities(model: &Logistic, tokens: &Subset<'_>) -> Result<Vec<f64>, LearnError> {
    let mut probabilities = Vec::new();
    tokens.pass(&mut |_, block| {
        let mut some = Vec::new();
        model.predict(block, block.len() / tokens.width(), &mut some)?;
        probabilities.extend(some);
        Ok(())
    })?;
    Ok(probabilities)
}

fn alpha(spec: &Spec) -> Result<f64, ProbeError> {
    let v1::head::Kind::Token(head) = &spec.head else { return Ok(1.0) };
    match head.alpha {
        alpha if alpha > 0.0 && alpha.is_finite() => Ok(alpha),
        alpha => Err(ProbeError::bad(format!("alpha is {alpha}"), "give a number above 0")),
    }
}

/// Place of the list column that holds a class for each token.
fn label_column(view: &CollectionView, spec: &Spec) -> Result<usize, ProbeError> {
    let name = spec.wire.target.as_ref().map_or("", |target| target.column.as_str());
    let schema = view.schema();
    let place = schema.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
    let place = place.ok_or_else(|| ProbeError::UnknownColumn {
        collection: schema.name.clone(),
        column: name.to_owned(),
        known: schema
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    if schema.columns[place].kind != ColumnType::FloatList {
        let what = format!("column `{name}` is of type {}", schema.columns[place].kind);
        let hint = "the token head needs a list (float_list) with one class, a whole number, for each token";
        return Err(ProbeError::bad(what, hint));
    }
    Ok(place)
}

fn read(
    table: &Table<'_>,
    still: &Still<'_>,
    spec: &Spec,
    column: usize,
    progress: Progress<'_>,
) -> Result<Labelled, ProbeError> {
    let space = &spec.spaces[0];
    let mut labelled = Labelled::default();
    let places: Vec<u32> = (0..table.count() as u32).collect();
    for places in places.chunks(READ_AT_ONCE) {
        progress.step("reading tokens", u64::from(places[0]), table.count() as u64)?;
        let keys: Vec<_> = places.iter().map(|&place| table.key(place as usize)).collect();
        let objects = still.fetch(&keys)?;
        let read = tokens::read(table, still, space, places)?;
        let mut first = 0;
        for ((&place, object), &length) in places.iter().zip(objects).zip(&read.lengths) {
            let length = length as usize;
            let states = &read.values[first * space.dimension..(first + length) * space.dimension];
            first += length;
            let list =
                object.and_then(|(_, object)| match object.columns.into_iter().nth(column) {
                    Some(Value::FloatList(list)) => Some(list),
                    _ => None,
                });
            if let Some(list) = list {
                labelled.add(table, place, states, &list, length)?;
            }
        }
        let last = places.last().map_or(0, |place| *place as usize + 1);
        check_memory(labelled.labels.len(), space.dimension, (last, table.count()))?;
    }
    Ok(labelled)
}

/// Refuses more tokens than are held at once, of so many objects that were read of all of them.
fn check_memory(
    tokens: usize,
    width: usize,
    (read, all): (usize, usize),
) -> Result<(), ProbeError> {
    let each = width * size_of::<f64>();
    let bytes = tokens.saturating_mul(each);
    if bytes <= BYTES_MAX {
        return Ok(());
    }
    // As many objects as fit, where the others have as many tokens as these.
    let fit = read as u128 * BYTES_MAX as u128 / bytes as u128;
    Err(ProbeError::bad(
        format!(
            "a token head holds every labelled token in memory, {each} bytes for {width} components: those of {read} of the {all} objects take {} MiB already",
            bytes >> 20
        ),
        format!(
            "at most {} MiB are held, the tokens of some {fit} such objects: choose fewer (--where), or label fewer tokens of each (NaN for none)",
            BYTES_MAX >> 20
        ),
    ))
}

impl Labelled {
    /// Objects, ascending, that have a token with a class.
    fn with_class(&self) -> Vec<u32> {
        let mut objects = self.objects.clone();
        // Tokens are in the order of their objects.
        objects.dedup();
        objects
    }

    /// How many of so many objects have no token with a class.
    fn without_class(&self, objects: usize) -> u64 {
        (objects - self.with_class().len()) as u64
    }

    /// The objects with a class by their sides.
    fn partition(&self, sides: &[Side]) -> Result<Partition, LearnError> {
        // Others have no part in the fit.
        let mut own = vec![Side::Out; sides.len()];
        for object in self.with_class() {
            own[object as usize] = sides[object as usize];
        }
        Partition::of(&own)
    }

    /// Tokens of the objects on one side.
    fn tokens_on(&self, sides: &[Side], side: Side) -> Vec<u32> {
        let tokens = (0u32..).zip(&self.objects);
        let mine = tokens.filter(|(_, object)| sides[**object as usize] == side);
        mine.map(|(token, _)| token).collect()
    }

    /// Names of the classes, in order, and the place of each token's class among them.
    fn classes(&self) -> Result<(Vec<String>, Vec<u32>), ProbeError> {
        let names: BTreeSet<i64> = self.labels.iter().copied().collect();
        if names.len() > CLASSES_MAX {
            let what = format!("tokens have {} different classes", names.len());
            return Err(ProbeError::bad(what, format!("at most {CLASSES_MAX} can be told apart")));
        }
        let sorted: Vec<i64> = names.into_iter().collect();
        let place = |label: &i64| sorted.binary_search(label).unwrap_or(0) as u32;
        let classes = self.labels.iter().map(place).collect();
        Ok((sorted.iter().map(i64::to_string).collect(), classes))
    }

    /// Adds the tokens of one object that have a class; NaN is no class.
    fn add(
        &mut self,
        table: &Table<'_>,
        place: u32,
        states: &[f32],
        list: &[f64],
        length: usize,
    ) -> Result<(), ProbeError> {
        let id = || table.id(place as usize);
        if list.len() != length {
            return Err(ProbeError::bad(
                format!("object {} has {length} tokens and {} classes", id(), list.len()),
                "the list needs one class for each token, in their order",
            ));
        }
        let width = states.len() / length.max(1);
        for (state, &label) in states.chunks(width.max(1)).zip(list) {
            if label.is_nan() {
                continue;
            }
            if label.fract() != 0.0 || label.abs() > 1e9 {
                let what = format!("a token of object {} has class {label}", id());
                return Err(ProbeError::bad(what, "classes are whole numbers, NaN for none"));
            }
            self.states.extend(state.iter().map(|&value| f64::from(value)));
            self.labels.push(label as i64);
            self.objects.push(place);
        }
        Ok(())
    }
}

fn measured(
    spec: &Spec,
    names: &[String],
    (truth, probabilities): (&[u32], &[f64]),
    groups: &[u64],
    tools: &Tools,
    progress: Progress<'_>,
) -> Result<Outcome, ProbeError> {
    if truth.is_empty() {
        return Err(LearnError::TooFew {
            what: "tokens with a class in the test set",
            given: 0,
            needed: 1,
        }
        .into());
    }
    let measure = Classification::new(names.len(), truth, probabilities)?.iou(names)?;
    // Tokens of one object belong together: whole objects are drawn.
    let bootstrap = Bootstrap {
        resamples: spec.wire.resamples,
        seed: spec.wire.seed,
        groups: Some(groups),
        threads: tools.threads,
    };
    measure::of_classes(&measure, names, &bootstrap, progress)
}

/// Tells the class of every token of each object.
///
/// # Errors
/// [`ProbeError::BadSpec`] when a column is to be written: only numbers and texts can be; [`LearnError::Stopped`].
pub(super) fn apply(
    mut table: Table<'_>,
    space: &EmbeddingSpace,
    model: &Model,
    request: &v1::ApplyProbeRequest,
    flag: &AtomicBool,
    tell: &mut dyn FnMut(v1::ApplyProbeResponse),
) -> Result<(), ProbeError> {
    if !request.column.is_empty() || !request.class.is_empty() {
        let hint = "leave --column and --class out: the classes of all tokens are told";
        return Err(ProbeError::bad("a token head predicts a list for each object", hint));
    }
    let still = table.view().still()?;
    let skipped = table.take_changed(&still).len() as u64;
    table.retain(&tokens::have(&table, &still, space.id)?);
    let (total, mut done) = (table.count() as u64, 0);
    tell(v1::ApplyProbeResponse { total, skipped, ..v1::ApplyProbeResponse::default() });
    let places: Vec<u32> = (0..table.count() as u32).collect();
    for places in places.chunks(READ_AT_ONCE) {
        if flag.load(Ordering::Relaxed) {
            return Err(LearnError::Stopped.into());
        }
        let read = tokens::read(&table, &still, space, places)?;
        let states: Vec<f64> = read.values.iter().map(|&value| f64::from(value)).collect();
        let count = states.len() / space.dimension.max(1);
        let predicted = model.predict(&states, count, 1)?;
        let class = |token: usize| predicted.class(token).map_or(f64::NAN, |place| place as f64);
        let mut first = 0;
        let mut predictions = Vec::with_capacity(places.len());
        for (&place, &length) in places.iter().zip(&read.lengths) {
            let last = first + length as usize;
            predictions.push(v1::Prediction {
                id: Some(table.id(place as usize).into()),
                position: table.position(place as usize).map(Into::into),
                predicted: (first..last).map(class).collect(),
                ..v1::Prediction::default()
            });
            first = last;
        }
        done += places.len() as u64;
        tell(v1::ApplyProbeResponse { done, total, predictions, skipped });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_without_a_class_are_on_no_side() {
        // Of five objects the second and the last have no token with a class.
        let objects = vec![0, 0, 2, 3, 3, 3];
        let labelled = Labelled { objects, labels: vec![1; 6], ..Labelled::default() };
        assert_eq!(labelled.without_class(5), 2);
        let sides = [Side::Train, Side::Train, Side::Test, Side::Validation, Side::Test];
        let partition = labelled.partition(&sides).expect("both sides");
        assert_eq!((partition.train, partition.test), (vec![0], vec![2]));
        assert_eq!(partition.validation, [3]);
    }

    #[test]
    fn more_tokens_than_memory_are_refused_with_how_many_fit() {
        // 2 GiB are 349,525 tokens of 768 components.
        check_memory(349_525, 768, (1_024, 10_000)).expect("fits");
        let refused = check_memory(349_526, 768, (1_024, 10_000)).expect_err("one too many");
        let refused = refused.to_string();
        for told in ["6144 bytes for 768 components", "1024 of the 10000 objects", "2048 MiB"] {
            assert!(refused.contains(told), "{told}: {refused}");
        }
        assert!(refused.contains("some 1023 such objects") && refused.contains("--where"));
        assert!(check_memory(usize::MAX, 768, (64, 64)).is_err());
    }
}
