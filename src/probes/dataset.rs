//! Examples of a probe: which objects, with what targets and weights, on which side of the split.

use std::collections::{BTreeSet, HashMap};

use super::ProbeError;
use super::features::Stored;
use super::spec::{CLASSES_MAX, Spec, TargetSpec};
use super::table::{Column, Table, label};
use super::{heads, size};
use crate::engine::{CollectionView, Db, Still};
use crate::learn::split::{self, LEAK_ARCSEC, Partition, Side, SplitId, SplitSubject};
use crate::learn::{LearnError, Progress};
use crate::query::StopFlag;
use crate::schema::ObjectId;
use crate::sky::Position;

/// Most probabilities that are held at once: 1 GiB of them.
const PROBABILITIES_MAX: usize = 128 << 20;

/// Largest number of a target or a feature: a fit sums up squares.
const MAGNITUDE_MAX: f64 = 1e150;

/// Most votes beyond rounding by which fractions may add up to more than one.
const FRACTION_SLACK: f64 = 1e-6;

/// What is true of the examples.
#[derive(Debug, Clone)]
pub(super) enum Targets {
    /// A number each.
    Numbers(Vec<f64>),
    /// The place of a class each.
    Classes { names: Vec<String>, of: Vec<u32> },
    /// A fraction for each class, row-major.
    Fractions { names: Vec<String>, values: Vec<f64> },
}

impl Targets {
    /// Names of the classes; none for numbers.
    pub(super) fn classes(&self) -> &[String] {
        match self {
            Self::Numbers(_) => &[],
            Self::Classes { names, .. } | Self::Fractions { names, .. } => names,
        }
    }

    /// Those of some examples.
    pub(super) fn select(&self, places: &[u32]) -> Self {
        let number = |values: &Vec<f64>| places.iter().map(|&at| values[at as usize]).collect();
        match self {
            Self::Numbers(values) => Self::Numbers(number(values)),
            Self::Classes { names, of } => Self::Classes {
                names: names.clone(),
                of: places.iter().map(|&at| of[at as usize]).collect(),
            },
            Self::Fractions { names, values } => {
                let width = names.len();
                let row = |&at: &u32| &values[at as usize * width..(at as usize + 1) * width];
                let values = places.iter().flat_map(row).copied().collect();
                Self::Fractions { names: names.clone(), values }
            }
        }
    }

    /// As numbers for each example: itself, or one for each class.
    pub(super) fn dense(&self) -> (Vec<f64>, usize) {
        match self {
            Self::Numbers(values) => (values.clone(), 1),
            Self::Fractions { names, values } => (values.clone(), names.len()),
            Self::Classes { names, of } => {
                let mut dense = vec![0.0; of.len() * names.len()];
                for (example, &class) in of.iter().enumerate() {
                    dense[example * names.len() + class as usize] = 1.0;
                }
                (dense, names.len())
            }
        }
    }

    /// The truth of one example as it is told.
    pub(super) fn told(&self, example: usize) -> Vec<f64> {
        match self {
            Self::Numbers(values) => vec![values[example]],
            Self::Classes { of, .. } => vec![f64::from(of[example])],
            Self::Fractions { names, values } => {
                values[example * names.len()..(example + 1) * names.len()].to_vec()
            }
        }
    }
}

/// Everything that a fit reads.
pub(super) struct Dataset<'v> {
    pub(super) table: Table<'v>,
    /// Where tokens are read from, which a fit does again and again; `None` for vectors, which are read once.
    pub(super) still: Option<Still<'v>>,
    pub(super) features: Stored,
    pub(super) targets: Targets,
    /// Sample weights; empty where all count the same.
    pub(super) weights: Vec<f64>,
    pub(super) partition: Partition,
    pub(super) missing: u64,
    pub(super) changed: u64,
    pub(super) leaked: u64,
    pub(super) warnings: Vec<String>,
}

impl<'v> Dataset<'v> {
    /// Finds the objects, splits them and reads what is needed of them; `keeps` says that the probe will be stored.
    ///
    /// # Errors
    /// [`ProbeError`] for what the request or the data does not allow.
    pub(super) fn gather(
        db: &Db,
        view: &'v CollectionView,
        spec: &Spec,
        keeps: bool,
        stop: &StopFlag,
        progress: Progress<'_>,
    ) -> Result<Self, ProbeError> {
        progress.step("choosing objects", 0, 0)?;
        let still = view.still()?;
        let mut table = Table::choose(view, spec.predicate.as_deref(), stop)?;
        let changed = table.take_changed(&still).len() as u64;
        refuse_all_changed(table.count(), changed)?;
        let chosen = table.count();
        let keep = usable(&table, &still, spec)?;
        table.retain(&keep);
        spec.columns.iter().try_for_each(|column| check_magnitude(&table, column))?;
        let missing = (chosen - table.count()) as u64;
        let sides = sides(&table, spec)?;
        let inside: Vec<bool> = sides.iter().map(|side| *side != Side::Out).collect();
        table.retain(&inside);
        let sides: Vec<Side> = sides.into_iter().filter(|side| *side != Side::Out).collect();
        if table.count() == 0 {
            return Err(LearnError::TooFew {
                what: "objects with all features and the target",
                given: 0,
                needed: 2,
            }
            .into());
        }
        let mut partition = Partition::of(&sides)?;
        let targets = targets(&table, &spec.target)?;
        let mut warnings: Vec<String> = told_limit(&partition, spec).into_iter().collect();
        partition.train = limited(&partition.train, &table, &targets, spec);
        if keeps {
            size::check(spec, fitted_on(&partition, spec), targets.classes().len())?;
        }
        let weights = weights(&table, spec)?;
        let leaked = leaks(&table, &partition)?;
        warnings.extend(told_leaked(leaked).into_iter().chain(told_missing(missing, chosen)));
        let vector_spaces = if spec.uses_tokens() { &[][..] } else { &spec.spaces[..] };
        let features = Stored::gather(db, &table, &still, vector_spaces, &spec.columns, progress)?;
        warnings.extend(told_changed(changed));
        let still = spec.uses_tokens().then_some(still);
        Ok(Self {
            table,
            still,
            features,
            targets,
            weights,
            partition,
            missing,
            changed,
            leaked,
            warnings,
        })
    }

    /// Training examples, or as many of them as the request lets a fit see.
    pub(super) fn limited(&self, train: &[u32], spec: &Spec) -> Vec<u32> {
        limited(train, &self.table, &self.targets, spec)
    }

    /// The moment that tokens are read from.
    ///
    /// # Errors
    /// [`ProbeError::BadSpec`] for a dataset of vectors.
    pub(super) fn tokens_from(&self) -> Result<&Still<'v>, ProbeError> {
        let missing = || ProbeError::bad("its features are vectors", "name a space of tokens");
        self.still.as_ref().ok_or_else(missing)
    }

    /// The sample weights of some examples; empty where all count the same.
    pub(super) fn weights_of(&self, places: &[u32]) -> Vec<f64> {
        if self.weights.is_empty() {
            return Vec::new();
        }
        places.iter().map(|&place| self.weights[place as usize]).collect()
    }
}

/// Refuses a fit of which all objects were written again while it began.
pub(super) fn refuse_all_changed(left: usize, changed: u64) -> Result<(), LearnError> {
    if left > 0 || changed == 0 {
        return Ok(());
    }
    let reason = format!(
        "all {changed} objects were written again while they were read; try again when fewer are written"
    );
    Err(LearnError::Unreadable { reason })
}

/// Refuses numbers whose squares are not finite.
fn check_magnitude(table: &Table<'_>, column: &Column) -> Result<(), ProbeError> {
    let numbers = table.numbers(column);
    match too_large(&numbers) {
        None => Ok(()),
        Some(place) => {
            let (id, value) = (table.id(place), numbers[place]);
            let what = format!("`{}` of object {id} is {value:e}", column.name);
            let hint = format!(
                "numbers up to {MAGNITUDE_MAX:e} can be learnt: scale the column, or leave such objects out (--where)"
            );
            Err(ProbeError::bad(what, hint))
        }
    }
}

fn too_large(numbers: &[f64]) -> Option<usize> {
    numbers.iter().position(|number| number.abs() > MAGNITUDE_MAX)
}

/// What is said of test objects at the position of a training object.
pub(super) fn told_leaked(leaked: u64) -> Option<String> {
    (leaked > 0).then(|| {
        format!("{leaked} test objects lie within {LEAK_ARCSEC} arcsec of a training object: the same object may be on both sides")
    })
}

/// What is said of objects that lack something.
pub(super) fn told_missing(missing: u64, chosen: usize) -> Option<String> {
    (missing > 0).then(|| {
        format!("{missing} of {chosen} objects lack a feature, the target or the weight, and are left out")
    })
}

/// What is said of objects that were written again while they were read.
pub(super) fn told_changed(changed: u64) -> Option<String> {
    (changed > 0).then(|| {
        format!("{changed} objects were written again while they were read, and are left out")
    })
}

/// Examples that the head is fitted on which is kept.
fn fitted_on(partition: &Partition, spec: &Spec) -> usize {
    let all: usize = partition.folds.iter().map(Vec::len).sum();
    let count = if partition.folds.is_empty() { partition.train.len() } else { all };
    match spec.wire.train_limit {
        0 => count,
        limit => count.min(usize::try_from(limit).unwrap_or(usize::MAX)),
    }
}

/// Whether each object has all features, the target and the weight.
fn usable(table: &Table<'_>, still: &Still<'_>, spec: &Spec) -> Result<Vec<bool>, ProbeError> {
    let mut keep = heads::have_features(table, still, &spec.spaces)?;
    for column in &spec.columns {
        drop_missing(&mut keep, &table.numbers(column));
    }
    let required = required_columns(&spec.target);
    for column in required {
        for (place, keep) in keep.iter_mut().enumerate() {
            *keep &= label(&table.value(column, place)).is_some();
        }
    }
    if let Some(column) = &spec.weight {
        drop_missing(&mut keep, &table.numbers(column));
    }
    Ok(keep)
}

/// What is said of a limit that limits nothing.
fn told_limit(partition: &Partition, spec: &Spec) -> Option<String> {
    let all: usize = partition.folds.iter().map(Vec::len).sum();
    let there = if partition.folds.is_empty() { partition.train.len() } else { all };
    let limit = spec.wire.train_limit;
    (limit > there as u64).then(|| {
        format!("{limit} training examples were asked for, and there are {there}: all were used")
    })
}

/// Columns without which an object is no example.
fn required_columns(target: &TargetSpec) -> Vec<&Column> {
    match target {
        TargetSpec::Number(column) | TargetSpec::Class(column) => vec![column],
        TargetSpec::Fractions(columns, votes) => columns.iter().chain(votes).collect(),
        TargetSpec::Tokens => Vec::new(),
    }
}

fn drop_missing(keep: &mut [bool], numbers: &[f64]) {
    for (keep, number) in keep.iter_mut().zip(numbers) {
        *keep &= number.is_finite();
    }
}

pub(super) fn split_id(id: &ObjectId) -> SplitId<'_> {
    match id {
        ObjectId::Number(number) => SplitId::Number(*number),
        ObjectId::Text(text) => SplitId::Text(text),
    }
}

/// The side of each object of a table.
pub(super) fn sides(table: &Table<'_>, spec: &Spec) -> Result<Vec<Side>, ProbeError> {
    let side = |place: usize| {
        let id = table.id(place);
        let value =
            spec.split_column.as_ref().and_then(|column| label(&table.value(column, place)));
        let cell = table.key(place).cell.0;
        let subject = SplitSubject { id: split_id(&id), cell, value: value.as_deref() };
        Ok(spec.split.side(&subject)?)
    };
    (0..table.count()).map(side).collect()
}

/// Keeps the first training examples of a seeded order, as many of each class as there are where it has classes.
fn limited(given: &[u32], table: &Table<'_>, targets: &Targets, spec: &Spec) -> Vec<u32> {
    let wanted = spec.wire.train_limit as usize;
    if wanted == 0 || given.len() <= wanted {
        return given.to_vec();
    }
    let ids: Vec<ObjectId> = given.iter().map(|&at| table.id(at as usize)).collect();
    let ids: Vec<SplitId<'_>> = ids.iter().map(split_id).collect();
    let classes = match targets {
        Targets::Classes { of, .. } => {
            Some(given.iter().map(|&at| of[at as usize]).collect::<Vec<u32>>())
        }
        Targets::Numbers(_) | Targets::Fractions { .. } => None,
    };
    let chosen = split::few_shot(&ids, classes.as_deref(), wanted, spec.wire.seed);
    let mut train: Vec<u32> = chosen.iter().map(|&at| given[at as usize]).collect();
    train.sort_unstable();
    train
}

fn targets(table: &Table<'_>, target: &TargetSpec) -> Result<Targets, ProbeError> {
    match target {
        TargetSpec::Number(column) => {
            check_magnitude(table, column)?;
            Ok(Targets::Numbers(table.numbers(column)))
        }
        TargetSpec::Tokens => {
            Err(ProbeError::bad("tokens have classes of their own", "use the token head"))
        }
        TargetSpec::Class(column) => {
            let labels: Vec<String> =
                (0..table.count()).filter_map(|place| label(&table.value(column, place))).collect();
            let names: BTreeSet<&String> = labels.iter().collect();
            if names.len() > CLASSES_MAX {
                return Err(ProbeError::bad(
                    format!("column `{}` has {} different values", column.name, names.len()),
                    format!(
                        "at most {CLASSES_MAX} classes can be told apart; predict it as a number (--as number)"
                    ),
                ));
            }
            let names: Vec<String> = in_order(names.into_iter().cloned().collect());
            check_budget(labels.len(), names.len())?;
            let places: HashMap<&String, u32> = names.iter().zip(0..).collect();
            let of = labels.iter().filter_map(|label| places.get(label).copied()).collect();
            Ok(Targets::Classes { names, of })
        }
        TargetSpec::Fractions(columns, _) => {
            check_budget(table.count(), columns.len())?;
            let by_column: Vec<Vec<f64>> =
                columns.iter().map(|column| table.numbers(column)).collect();
            let mut values = Vec::with_capacity(table.count() * columns.len());
            for example in 0..table.count() {
                let row = by_column.iter().map(|column| column[example]);
                if let Some(value) = row.clone().find(|value| !(0.0..=1.0).contains(value)) {
                    let what = format!("a fraction of object {} is {value}", table.id(example));
                    return Err(ProbeError::bad(what, "fractions lie between 0 and 1"));
                }
                let sum: f64 = row.clone().sum();
                if !(sum > 0.0 && sum <= 1.0 + FRACTION_SLACK) {
                    return Err(ProbeError::bad(
                        format!("fractions of object {} add up to {sum}", table.id(example)),
                        "they must add up to 1; leave out objects without votes (--where)",
                    ));
                }
                // Rounded fractions, and those of which an answer was left out, are shares of what is there.
                values.extend(row.map(|value| value / sum));
            }
            let names = columns.iter().map(|column| column.name.clone()).collect();
            Ok(Targets::Fractions { names, values })
        }
    }
}

/// Refuses more probabilities than fit into memory.
fn check_budget(examples: usize, classes: usize) -> Result<(), ProbeError> {
    if examples.saturating_mul(classes) <= PROBABILITIES_MAX {
        return Ok(());
    }
    Err(ProbeError::bad(
        format!("{classes} classes of {examples} objects"),
        "choose fewer objects (--where) or a column with fewer classes",
    ))
}

/// Classes that are numbers in the order of numbers, others by text.
fn in_order(mut names: Vec<String>) -> Vec<String> {
    let numbers: Option<Vec<f64>> = names.iter().map(|name| name.parse().ok()).collect();
    if numbers.is_some() {
        let number = |name: &String| name.parse::<f64>().unwrap_or(f64::NAN);
        names.sort_by(|a, b| number(a).total_cmp(&number(b)));
    }
    names
}

fn weights(table: &Table<'_>, spec: &Spec) -> Result<Vec<f64>, ProbeError> {
    let votes = match &spec.target {
        TargetSpec::Fractions(_, votes) => votes.as_ref(),
        TargetSpec::Number(_) | TargetSpec::Class(_) | TargetSpec::Tokens => None,
    };
    let mut weights: Vec<f64> = Vec::new();
    for column in spec.weight.iter().chain(votes) {
        let given = table.numbers(column);
        if let Some(example) =
            given.iter().position(|weight| !(*weight >= 0.0 && weight.is_finite()))
        {
            return Err(ProbeError::bad(
                format!("`{}` of object {} is {}", column.name, table.id(example), given[example]),
                "weights and votes are numbers, not negative",
            ));
        }
        if weights.is_empty() {
            weights = given;
        } else {
            weights.iter_mut().zip(given).for_each(|(weight, given)| *weight *= given);
        }
    }
    Ok(weights)
}

/// Test objects at the position of a training object.
pub(super) fn leaks(table: &Table<'_>, partition: &Partition) -> Result<u64, ProbeError> {
    let direction = |place: &u32| {
        let position = table.position(*place as usize);
        let radec = |position: Position| (position.ra().0, position.dec().0);
        let (ra, dec) = position.map_or((0.0, 0.0), radec);
        split::unit_vector(ra, dec)
    };
    if partition.folds.is_empty() {
        let train: Vec<_> = partition.train.iter().map(direction).collect();
        let test: Vec<_> = partition.test.iter().map(direction).collect();
        return Ok(split::leaked(&train, &test, LEAK_ARCSEC)?.len() as u64);
    }
    let folds = (0u32..).zip(&partition.folds);
    let points: Vec<_> = folds
        .flat_map(|(fold, places)| places.iter().map(move |place| (direction(place), fold)))
        .collect();
    Ok(split::leaked_between(&points, LEAK_ARCSEC)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_a_finite_square_are_found() {
        assert_eq!(too_large(&[0.0, -MAGNITUDE_MAX, f64::NAN]), None);
        assert_eq!(too_large(&[0.0, -1e300]), Some(1));
        assert!((MAGNITUDE_MAX * MAGNITUDE_MAX * 1e6).is_finite());
    }

    #[test]
    fn a_writer_that_leaves_no_object_is_told() {
        assert_eq!(refuse_all_changed(1, 5), Ok(()));
        assert_eq!(refuse_all_changed(0, 0), Ok(()));
        let refused = refuse_all_changed(0, 5).expect_err("refused").to_string();
        assert!(refused.contains("all 5 objects were written again"), "{refused}");
    }
}
