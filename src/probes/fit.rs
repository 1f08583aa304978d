//! Fitting a probe and measuring it.

use std::time::Instant;

use super::dataset::{Dataset, Targets};
use super::features::Subset;
use super::heads::{self, Fit};
use super::measure::{self, Outcome, Predicted};
use super::record::{self, Record};
use super::spec::Spec;
use super::{ProbeError, Tools, segments, tokens};
use crate::clock::now_s;
use crate::engine::CollectionView;
use crate::learn::{Features, LearnError, Progress, split};
use crate::query::StopFlag;
use crate::wire::v1::{self, head};

/// Objects below which a test set is too small to say much.
const FEW_TESTED: usize = 50;

/// What a fit gives.
#[derive(Debug)]
pub struct Fitted {
    /// The probe, with everything that was measured.
    pub probe: v1::Probe,
    /// What it predicts for the test set, where that was asked for.
    pub predictions: Vec<v1::Prediction>,
}

/// Fits a probe on the objects of a view of the collection, measures it and, where it has a name, keeps it.
///
/// # Errors
/// [`ProbeError`]; nothing is kept then.
#[expect(clippy::needless_pass_by_value, reason = "a request is answered once")]
pub fn fit(
    tools: &Tools,
    view: &CollectionView,
    request: v1::FitProbeRequest,
    stop: &StopFlag,
    progress: Progress<'_>,
) -> Result<Fitted, ProbeError> {
    let started = Instant::now();
    let wire = request.spec.clone().unwrap_or_default();
    let spec = Spec::resolve(view, wire)?;
    if !request.name.is_empty() {
        record::check_name(&tools.db, &request.collection, &request.name, request.overwrite)?;
    }
    if matches!(spec.head, head::Kind::Token(_)) {
        return segments::fit(tools, view, &spec, &request, stop, progress);
    }
    let keeps = !request.name.is_empty();
    let data = Dataset::gather(&tools.db, view, &spec, keeps, stop, progress)?;
    check_classes(&data)?;
    let run = if data.partition.folds.is_empty() {
        once(tools, &spec, &data, keeps, progress)?
    } else {
        by_folds(tools, &spec, &data, keeps, progress)?
    };
    let outcome =
        measure::measure(&spec, &data, &run.tested, &run.predicted, tools.threads, progress)?;
    let mut warnings = data.warnings.clone();
    warnings.extend(run.fit.warnings.iter().chain(&outcome.warnings).cloned());
    warnings.extend(told_unused(&spec.head, data.partition.validation.len()));
    if run.tested.len() < FEW_TESTED {
        warnings
            .push(format!("measured on {} objects only: intervals are rough", run.tested.len()));
    }
    let measured = Measured {
        trained: run.trained,
        tested: run.tested.len(),
        missing: data.missing,
        changed: data.changed,
        leaked: data.leaked,
        classes: data.targets.classes().to_vec(),
        warnings,
        alpha: run.fit.alpha,
        alphas: run.fit.alphas.clone(),
        alpha_scores: run.fit.alpha_scores.clone(),
    };
    let probe = probe_of(view, &spec, &request.name, measured, outcome, started);
    let predictions = if request.with_predictions {
        predictions(&data, &run.tested, &run.predicted)
    } else {
        Vec::new()
    };
    if keeps {
        let model = run.fit.model.ok_or_else(|| {
            ProbeError::bad("nothing was fitted that could be kept", "leave the name out")
        })?;
        // Nothing is kept for a caller who has gone.
        progress.step("keeping", 0, 1)?;
        let record = Record { probe: probe.clone(), model };
        record::keep(tools, view, &request.name, &record, request.overwrite)?;
    }
    Ok(Fitted { probe, predictions })
}

/// What is said of objects on the validation side of a head that has nothing to choose by it.
pub(super) fn told_unused(head: &head::Kind, validation: usize) -> Option<String> {
    let is_network =
        matches!(head, head::Kind::Mlp(_) | head::Kind::Attention(_) | head::Kind::Density(_));
    (validation > 0 && !is_network).then(|| {
        format!("the {validation} objects on the validation side are not used: only networks choose by them (mlp, attention, density)")
    })
}

/// What is told of a fit beside its measures.
pub(super) struct Measured {
    pub(super) trained: usize,
    pub(super) tested: usize,
    pub(super) missing: u64,
    pub(super) changed: u64,
    pub(super) leaked: u64,
    pub(super) classes: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) alpha: Option<f64>,
    pub(super) alphas: Vec<f64>,
    pub(super) alpha_scores: Vec<f64>,
}

/// A probe as it is told and kept.
pub(super) fn probe_of(
    view: &CollectionView,
    spec: &Spec,
    name: &str,
    measured: Measured,
    outcome: Outcome,
    started: Instant,
) -> v1::Probe {
    v1::Probe {
        name: name.to_owned(),
        collection: view.schema().name.clone(),
        provenances: spec.spaces.iter().map(|space| space.provenance.clone().into()).collect(),
        classes: measured.classes,
        n_train: measured.trained as u64,
        n_test: measured.tested as u64,
        n_missing: measured.missing,
        n_changed: measured.changed,
        n_leaked: measured.leaked,
        metrics: outcome.metrics,
        confusion: outcome.confusion,
        calibration: outcome.calibration,
        alpha: measured.alpha,
        alphas: measured.alphas,
        alpha_scores: measured.alpha_scores,
        version: view.version(),
        fitted_at: now_s(),
        elapsed_seconds: started.elapsed().as_secs_f64(),
        stale: String::new(),
        warnings: measured.warnings,
        spec: Some(spec.wire.clone()),
    }
}

/// A fit, and what it predicted for objects that it did not see.
struct Run {
    fit: Fit,
    trained: usize,
    tested: Vec<u32>,
    predicted: Predicted,
}

fn once(
    tools: &Tools,
    spec: &Spec,
    data: &Dataset<'_>,
    keeps: bool,
    progress: Progress<'_>,
) -> Result<Run, ProbeError> {
    let partition = &data.partition;
    let sides = (partition.train.as_slice(), partition.validation.as_slice());
    let fit = fit_on(tools, spec, data, sides, keeps, progress)?;
    let sides = (partition.train.as_slice(), partition.test.as_slice());
    let predicted = predict(tools, spec, data, &fit, sides, progress)?;
    Ok(Run { fit, trained: partition.train.len(), tested: partition.test.clone(), predicted })
}

/// Every fold is predicted by a head that was fitted on the others; the head that is kept is fitted on all.
fn by_folds(
    tools: &Tools,
    spec: &Spec,
    data: &Dataset<'_>,
    keeps: bool,
    progress: Progress<'_>,
) -> Result<Run, ProbeError> {
    let folds = &data.partition.folds;
    let mut tested = Vec::new();
    let mut predicted = Predicted::default();
    for (number, fold) in folds.iter().enumerate() {
        progress.step("folds", number as u64, folds.len() as u64 + 1)?;
        let others = folds.iter().enumerate().filter(|(other, _)| *other != number);
        let mut train: Vec<u32> = others.flat_map(|(_, places)| places.iter().copied()).collect();
        train.sort_unstable();
        let train = data.limited(&train, spec);
        let fit = fit_on(tools, spec, data, (&train, &[]), false, progress)?;
        predicted.append(predict(tools, spec, data, &fit, (&train, fold), progress)?);
        tested.extend_from_slice(fold);
    }
    let mut all: Vec<u32> = folds.iter().flatten().copied().collect();
    all.sort_unstable();
    let all = data.limited(&all, spec);
    let fit = fit_on(tools, spec, data, (&all, &[]), keeps, progress)?;
    Ok(Run { fit, trained: all.len(), tested, predicted })
}

fn fit_on(
    tools: &Tools,
    spec: &Spec,
    data: &Dataset<'_>,
    (train, validation): (&[u32], &[u32]),
    keeps: bool,
    progress: Progress<'_>,
) -> Result<Fit, ProbeError> {
    let examples = heads::Examples {
        data,
        places: train,
        features: Subset::new(&data.features, train),
        targets: data.targets.select(train),
        weights: data.weights_of(train),
    };
    let validation = heads::Examples {
        data,
        places: validation,
        features: Subset::new(&data.features, validation),
        targets: data.targets.select(validation),
        weights: data.weights_of(validation),
    };
    heads::fit(tools, spec, &examples, &validation, keeps, progress)
}

fn predict(
    tools: &Tools,
    spec: &Spec,
    data: &Dataset<'_>,
    fit: &Fit,
    (train, places): (&[u32], &[u32]),
    progress: Progress<'_>,
) -> Result<Predicted, ProbeError> {
    if let head::Kind::Knn(knn) = &spec.head {
        return heads::predict_by_neighbours(tools, spec, *knn, data, (train, places), progress);
    }
    let Some(model) = &fit.model else {
        return Err(ProbeError::bad("nothing was fitted", "choose another head"));
    };
    let truth = match data.targets.select(places) {
        Targets::Numbers(values) => values,
        Targets::Classes { .. } | Targets::Fractions { .. } => Vec::new(),
    };
    if let Some(space) = spec.spaces.first().filter(|_| spec.uses_tokens()) {
        return tokens::predict(&data.table, data.tokens_from()?, space, places, &truth, model);
    }
    let features = Subset::new(&data.features, places);
    let width = features.width();
    let mut predicted = Predicted::default();
    features.pass(&mut |first, block| {
        progress.step("predicting", first as u64, places.len() as u64)?;
        let count = block.len() / width;
        let truth = truth.get(first..first + count).unwrap_or(&[]);
        predicted.append(model.predict_beside(block, count, truth, tools.threads)?);
        Ok(())
    })?;
    Ok(predicted)
}

/// Refuses classes that only one side of the split has.
fn check_classes(data: &Dataset<'_>) -> Result<(), ProbeError> {
    let Targets::Classes { names, of } = &data.targets else {
        let Targets::Numbers(values) = &data.targets else { return Ok(()) };
        let train = if data.partition.folds.is_empty() {
            data.partition.train.clone()
        } else {
            data.partition.folds.concat()
        };
        let mut values = train.iter().map(|&place| values[place as usize]);
        let first = values.next().unwrap_or(f64::NAN);
        if values.all(|value| value == first) {
            return Err(LearnError::OneValue { value: first.to_string() }.into());
        }
        return Ok(());
    };
    let classes =
        |places: &[u32]| -> Vec<u32> { places.iter().map(|&place| of[place as usize]).collect() };
    let partition = &data.partition;
    if partition.folds.is_empty() {
        return Ok(split::check_classes(
            &classes(&partition.train),
            &classes(&partition.test),
            names,
        )?);
    }
    for (number, fold) in partition.folds.iter().enumerate() {
        let others = partition.folds.iter().enumerate().filter(|(other, _)| *other != number);
        let train: Vec<u32> = others.flat_map(|(_, places)| classes(places)).collect();
        split::check_classes(&train, &classes(fold), names)?;
    }
    Ok(())
}

fn predictions(data: &Dataset<'_>, tested: &[u32], predicted: &Predicted) -> Vec<v1::Prediction> {
    let of = |(number, &place): (usize, &u32)| {
        let place = place as usize;
        v1::Prediction {
            id: Some(data.table.id(place).into()),
            position: data.table.position(place).map(Into::into),
            truth: data.targets.told(place),
            predicted: predicted.row(number).to_vec(),
            sigma: predicted.sigmas.get(number).copied(),
            log_density: predicted.log_densities.get(number).copied(),
        }
    };
    tested.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validation_side_that_nothing_is_chosen_by_is_told() {
        let mlp = head::Kind::Mlp(v1::MlpHead::default());
        let ridge = head::Kind::Ridge(v1::RidgeHead::default());
        assert_eq!(told_unused(&mlp, 7), None);
        assert_eq!(told_unused(&ridge, 0), None);
        assert!(told_unused(&ridge, 7).is_some_and(|told| told.contains("the 7 objects")));
    }
}
