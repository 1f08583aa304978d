//! Fitting the head that was asked for.

use super::dataset::{Dataset, Targets};
use super::features::Subset;
use super::measure::Predicted;
use super::model::{Model, Neighbours};
use super::spec::{Spec, are_tokens};
use super::table::Table;
use super::train;
use super::{ProbeError, Tools, tokens};
use crate::engine::Still;
use crate::learn::knn::{Distance, KnnOptions, neighbours};
use crate::learn::linear::{
    self, Folds, Labels, LogisticOptions, RidgeOptions, logistic_path, ridge_path,
};
use crate::learn::scale::Scale;
use crate::learn::{Features, LearnError, Matrix, Progress};
use crate::schema::EmbeddingSpace;
use crate::wire::v1::{self, head};

/// Most neighbours of a probe.
const NEIGHBOURS_MAX: usize = 1_000;

/// Most folds of the training set by which a strength is chosen, and bytes of the sums of all folds or threads.
const FOLDS_MAX: u32 = 50;
const SUMS_BYTES_MAX: usize = 4 << 30;

/// Least strength of a logistic head: steps along features that vary hardly at all are divided by it.
const LOGISTIC_ALPHA_MIN: f64 = 1e-30;

/// Examples on one side of a split.
pub(super) struct Examples<'a> {
    pub(super) data: &'a Dataset<'a>,
    pub(super) places: &'a [u32],
    pub(super) features: Subset<'a>,
    pub(super) targets: Targets,
    /// Empty where all count the same.
    pub(super) weights: Vec<f64>,
}

impl Examples<'_> {
    fn weights(&self) -> Option<&[f64]> {
        (!self.weights.is_empty()).then_some(self.weights.as_slice())
    }
}

/// A fitted head.
#[derive(Debug)]
pub(super) struct Fit {
    /// `None` for neighbours that are measured and not kept: they predict from the training examples where they lie.
    pub(super) model: Option<Model>,
    pub(super) alpha: Option<f64>,
    pub(super) alphas: Vec<f64>,
    pub(super) alpha_scores: Vec<f64>,
    pub(super) warnings: Vec<String>,
}

impl Fit {
    pub(super) fn of(model: Model) -> Self {
        Self {
            model: Some(model),
            alpha: None,
            alphas: Vec::new(),
            alpha_scores: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// Fits the head of a spec on training examples; `keeps` says that the probe will be stored.
///
/// # Errors
/// [`ProbeError::Learn`] for what the examples do not teach; [`ProbeError::Encoder`] where a network cannot be trained.
pub(super) fn fit(
    tools: &Tools,
    spec: &Spec,
    train: &Examples<'_>,
    validation: &Examples<'_>,
    keeps: bool,
    progress: Progress<'_>,
) -> Result<Fit, ProbeError> {
    if train.places.len() < 2 {
        let given = train.places.len();
        return Err(LearnError::TooFew { what: "training examples", given, needed: 2 }.into());
    }
    match &spec.head {
        head::Kind::Knn(knn) => fit_knn(spec, *knn, train, keeps, progress),
        head::Kind::Ridge(ridge) => fit_ridge(tools, spec, ridge, train, progress),
        head::Kind::Logistic(logistic) => fit_logistic(tools, spec, logistic, train, progress),
        head::Kind::Mlp(mlp) => {
            train::fit(tools, spec, &train::Network::plain(mlp), train, validation, progress)
        }
        head::Kind::Density(density) => {
            train::fit(tools, spec, &train::Network::density(density), train, validation, progress)
        }
        head::Kind::Attention(attention) => train::fit(
            tools,
            spec,
            &train::Network::attention(attention),
            train,
            validation,
            progress,
        ),
        head::Kind::Token(_) => Err(ProbeError::bad(
            "a token head is fitted on the classes of tokens",
            "give a target column that holds a list, one class for each token",
        )),
    }
}

pub(super) fn knn_options(spec: &Spec, knn: v1::KnnHead) -> KnnOptions {
    let distance = match knn.metric() {
        v1::Metric::Cosine => Distance::Cosine,
        v1::Metric::Unspecified | v1::Metric::L2 | v1::Metric::Ip => Distance::Euclidean,
    };
    KnnOptions {
        k: knn.k as usize,
        distance,
        standardize: spec.wire.standardize,
        ..KnnOptions::default()
    }
}

fn fit_knn(
    spec: &Spec,
    knn: v1::KnnHead,
    train: &Examples<'_>,
    keeps: bool,
    progress: Progress<'_>,
) -> Result<Fit, ProbeError> {
    let options = knn_options(spec, knn);
    if options.k > NEIGHBOURS_MAX {
        let what = format!("{} neighbours", options.k);
        return Err(ProbeError::bad(what, format!("give at most {NEIGHBOURS_MAX}")));
    }
    if options.k > train.places.len() {
        let what = "training examples for so many neighbours";
        let (given, needed) = (train.places.len(), options.k);
        return Err(LearnError::TooFew { what, given, needed }.into());
    }
    let mut warnings = Vec::new();
    if !train.weights.is_empty() {
        warnings.push(
            "neighbours vote without sample weights; these only weigh the measures".to_owned(),
        );
    }
    let mut fit =
        Fit { model: None, alpha: None, alphas: Vec::new(), alpha_scores: Vec::new(), warnings };
    if !keeps {
        return Ok(fit);
    }
    fit.model = Some(neighbours_model(&options, knn.by_distance, train, progress)?);
    Ok(fit)
}

/// Training examples as a probe keeps them.
fn neighbours_model(
    options: &KnnOptions,
    by_distance: bool,
    train: &Examples<'_>,
    progress: Progress<'_>,
) -> Result<Model, ProbeError> {
    let width = train.features.width();
    let mut values = Vec::with_capacity(train.places.len() * width);
    let mut is_wide = vec![false; width];
    train.features.pass(&mut |_, block| {
        for row in block.chunks(width) {
            for (is_wide, value) in is_wide.iter_mut().zip(row) {
                *is_wide |= f64::from(*value as f32) != *value;
            }
        }
        values.extend_from_slice(block);
        Ok(())
    })?;
    let wide = (0..width as u32).filter(|place| is_wide[*place as usize]).collect();
    let scale = if options.standardize {
        let scale = Scale::fit(&train.features, None, progress)?;
        scale.apply(&mut values);
        Some(scale)
    } else {
        None
    };
    let (targets, outputs) = train.targets.dense();
    Ok(Model::Neighbours(Neighbours {
        k: options.k,
        by_distance,
        distance: options.distance,
        scale,
        train: Matrix::new(width, values)?,
        wide,
        targets,
        outputs,
    }))
}

fn fit_ridge(
    tools: &Tools,
    spec: &Spec,
    ridge: &v1::RidgeHead,
    train: &Examples<'_>,
    progress: Progress<'_>,
) -> Result<Fit, ProbeError> {
    let (targets, outputs) = train.targets.dense();
    check_path(ridge, (train.features.width(), outputs), tools.threads)?;
    let options = RidgeOptions { alphas: ridge.alphas.clone(), standardize: spec.wire.standardize };
    let numbers;
    let folds = match (ridge.alphas.len(), ridge.folds) {
        (1, _) => Folds::None,
        (_, 0) => Folds::LeaveOneOut,
        (_, count) => {
            check_folds(count, train)?;
            numbers = linear::fold_numbers(train.places.len(), count as usize, spec.wire.seed);
            Folds::Of { of: &numbers, count: count as usize }
        }
    };
    let fitted = ridge_path(
        &train.features,
        &targets,
        outputs,
        train.weights(),
        folds,
        &options,
        tools.threads,
        progress,
    )?;
    // Leaving one out scores by the error, folds by the share of variance explained: a larger one is better.
    let leaves_one_out = matches!(folds, Folds::LeaveOneOut);
    let score = |score: &linear::RidgeScore| if leaves_one_out { -score.mse } else { score.r2 };
    Ok(Fit {
        alpha: fitted.alphas.get(fitted.chosen).copied(),
        alpha_scores: fitted.scores.iter().map(score).collect(),
        alphas: fitted.alphas,
        warnings: fitted.warnings,
        model: Some(Model::Linear(fitted.model)),
    })
}

fn fit_logistic(
    tools: &Tools,
    spec: &Spec,
    logistic: &v1::LogisticHead,
    train: &Examples<'_>,
    progress: Progress<'_>,
) -> Result<Fit, ProbeError> {
    let classes = train.targets.classes().len();
    let threads = affordable(train.features.width(), classes, tools.threads)?;
    let labels = match &train.targets {
        Targets::Classes { of, .. } => Labels::Classes(of),
        Targets::Fractions { values, .. } => Labels::Fractions(values),
        Targets::Numbers(_) => {
            return Err(ProbeError::bad("logistic predicts classes", "use ridge for numbers"));
        }
    };
    let options = LogisticOptions {
        alphas: logistic.alphas.clone(),
        standardize: spec.wire.standardize,
        ..LogisticOptions::default()
    };
    let numbers;
    let folds = if logistic.alphas.len() <= 1 {
        Folds::None
    } else {
        let count = logistic.folds;
        check_folds(count, train)?;
        numbers = match labels {
            Labels::Classes(of) => {
                linear::stratified_fold_numbers(of, count as usize, spec.wire.seed)
            }
            Labels::Fractions(_) => {
                linear::fold_numbers(train.places.len(), count as usize, spec.wire.seed)
            }
        };
        Folds::Of { of: &numbers, count: count as usize }
    };
    let fitted = logistic_path(
        &train.features,
        labels,
        classes,
        train.weights(),
        folds,
        &options,
        threads,
        progress,
    )?;
    Ok(Fit {
        alpha: fitted.alphas.get(fitted.chosen).copied(),
        alpha_scores: fitted.scores.iter().map(|score| -score.log_loss).collect(),
        alphas: fitted.alphas,
        warnings: fitted.warnings,
        model: Some(Model::Logistic(fitted.model)),
    })
}

/// Refuses strengths that cannot be tried, or too many of them.
///
/// # Errors
/// [`ProbeError::BadSpec`], [`ProbeError::Learn`].
pub(super) fn check_alphas(head: &head::Kind) -> Result<(), ProbeError> {
    let (alphas, least) = match head {
        head::Kind::Ridge(ridge) => (&ridge.alphas, 0.0),
        head::Kind::Logistic(logistic) => (&logistic.alphas, LOGISTIC_ALPHA_MIN),
        _ => return Ok(()),
    };
    linear::check_alpha_count(alphas)?;
    match alphas.iter().find(|alpha| !(alpha.is_finite() && **alpha >= least)) {
        Some(alpha) if least > 0.0 => {
            let hint = format!("a logistic head needs {least:e} or more");
            Err(ProbeError::bad(format!("alpha is {alpha}"), hint))
        }
        Some(alpha) => {
            Err(ProbeError::bad(format!("alpha is {alpha}"), "give numbers of 0 or more"))
        }
        None => Ok(()),
    }
}

/// How many of some threads may each have the sums of a logistic head: a number for every pair of classes, and for every
/// class and feature.
///
/// # Errors
/// [`ProbeError::BadSpec`] where they are too many for one.
fn affordable(width: usize, classes: usize, threads: usize) -> Result<usize, ProbeError> {
    let numbers = classes.saturating_mul(width.saturating_add(classes));
    let each = numbers.saturating_mul(size_of::<f64>()).max(1);
    // One more for the sum of all.
    match (SUMS_BYTES_MAX / each).saturating_sub(1) {
        0 => {
            let what = format!("{classes} classes of {width} features");
            let hint = format!(
                "their sums would take more than {} MiB: use fewer classes or features",
                SUMS_BYTES_MAX >> 20
            );
            Err(ProbeError::bad(what, hint))
        }
        most => Ok(threads.clamp(1, most)),
    }
}

/// Refuses more coefficients of all strengths together than are held at once: by each thread that fits a fold, or once where
/// one is left out at a time, beside what each thread predicts.
fn check_path(
    ridge: &v1::RidgeHead,
    (width, outputs): (usize, usize),
    threads: usize,
) -> Result<(), ProbeError> {
    let strengths = match ridge.alphas.len() {
        0 => linear::STRENGTHS as usize,
        given => given,
    };
    let of_each = match ridge.folds {
        // There is nothing to choose.
        _ if strengths == 1 => width.saturating_mul(2),
        0 => width.saturating_mul(2).saturating_add(threads.saturating_mul(linear::LEFT_OUT_ROWS)),
        folds => width.saturating_mul(2).saturating_mul(threads.min(folds as usize)),
    };
    let bytes =
        [outputs, of_each, size_of::<f64>()].into_iter().fold(strengths, usize::saturating_mul);
    if bytes <= SUMS_BYTES_MAX {
        return Ok(());
    }
    let what = format!(
        "{strengths} strengths for {outputs} outputs of {width} features: {} MiB of coefficients",
        bytes >> 20
    );
    let hint = format!(
        "at most {} MiB are held; give fewer strengths (--alpha), folds or answers",
        SUMS_BYTES_MAX >> 20
    );
    Err(ProbeError::bad(what, hint))
}

fn check_folds(count: u32, train: &Examples<'_>) -> Result<(), ProbeError> {
    let examples = train.places.len();
    let most = FOLDS_MAX.min(examples as u32);
    let sums = train.features.width().pow(2) * size_of::<f64>() * (count as usize + 2);
    if sums > SUMS_BYTES_MAX {
        let what = format!("{count} folds of {} features", train.features.width());
        return Err(ProbeError::bad(what, "give fewer folds, or one --alpha"));
    }
    if (2..=most).contains(&count) {
        return Ok(());
    }
    let hint = format!("give 2 to {most}, or for ridge 0 to leave one out at a time");
    Err(ProbeError::bad(format!("{count} folds of {examples} training examples"), hint))
}

/// Predicts the tested objects by their neighbours among the training examples, where these lie.
pub(super) fn predict_by_neighbours(
    tools: &Tools,
    spec: &Spec,
    knn: v1::KnnHead,
    data: &Dataset<'_>,
    (train, test): (&[u32], &[u32]),
    progress: Progress<'_>,
) -> Result<Predicted, ProbeError> {
    let options = knn_options(spec, knn);
    let (near, asked) = (Subset::new(&data.features, train), Subset::new(&data.features, test));
    let found = neighbours(&near, Some(&asked), &options, tools.threads, progress)?;
    let (targets, outputs) = data.targets.select(train).dense();
    let values = found.regress(&targets, outputs, knn.by_distance)?;
    Ok(Predicted::new(values, outputs))
}

/// Whether each object has what features are made of, columns left aside.
pub(super) fn have_features(
    table: &Table<'_>,
    still: &Still<'_>,
    spaces: &[EmbeddingSpace],
) -> Result<Vec<bool>, ProbeError> {
    match spaces.first() {
        Some(space) if are_tokens(spaces) => tokens::have(table, still, space.id),
        _ => {
            let spaces: Vec<_> = spaces.iter().map(|space| space.id).collect();
            Ok(table.have_vectors(&spaces))
        }
    }
}

/// Predicts for all objects whose features were gathered.
pub(super) fn predict_all(
    features: &dyn Features,
    model: &Model,
    threads: usize,
) -> Result<Predicted, ProbeError> {
    let mut predicted = Predicted::default();
    let width = features.width();
    features.pass(&mut |_, block| {
        predicted.append(model.predict(block, block.len() / width, threads)?);
        Ok(())
    })?;
    Ok(predicted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strengths_that_cannot_be_tried_are_refused() {
        let logistic = |alphas: Vec<f64>| {
            check_alphas(&head::Kind::Logistic(v1::LogisticHead { alphas, folds: 0 }))
        };
        let ridge =
            |alphas: Vec<f64>| check_alphas(&head::Kind::Ridge(v1::RidgeHead { alphas, folds: 0 }));
        ridge(vec![0.0; linear::ALPHAS_MAX]).expect("as many as there may be");
        logistic(vec![LOGISTIC_ALPHA_MIN]).expect("just enough");
        let told = |refused: Result<(), ProbeError>| refused.expect_err("refused").to_string();
        assert!(told(ridge(vec![1.0; 200_000])).contains("at most 1000"));
        assert!(told(ridge(vec![f64::NAN])).contains("alpha is NaN"));
        assert!(told(logistic(vec![1.0, 1e-300])).contains("1e-30 or more"));
    }

    #[test]
    fn sums_that_do_not_fit_are_refused_before_they_are_made() {
        assert_eq!(affordable(1_024, 1_000, 16).ok(), Some(16));
        // Of 46 MiB each.
        assert_eq!(affordable(5_000, 1_000, 128).ok(), Some(88));
        let refused = affordable(64, 100_002, 16).expect_err("80 GB each").to_string();
        assert!(refused.contains("100002 classes of 64 features"), "{refused}");
        assert!(affordable(usize::MAX, usize::MAX, usize::MAX).is_err());
    }

    #[test]
    fn coefficients_of_all_strengths_are_priced_together() {
        let ridge = |strengths, folds| v1::RidgeHead { alphas: vec![1.0; strengths], folds };
        check_path(&ridge(0, 0), (5_000, 1_000), 16).expect("fits");
        check_path(&ridge(1, 10), (5_000, 1_000), 64).expect("fits");
        check_path(&ridge(1_000, 5), (5_000, 1), 16).expect("fits");
        for (folds, word) in [(0, "1000 strengths for 1000 outputs"), (5, "MiB of coefficients")] {
            let refused = check_path(&ridge(1_000, folds), (5_000, 1_000), 16).expect_err(word);
            assert!(refused.to_string().contains(word), "{refused}");
        }
    }
}
