//! Ridge regression: a whole path of strengths from one pass, scored by folds or by leaving one out.

use super::super::crew::{Source, divide};
use super::super::{Features, LearnError, Progress};
use super::leave::leave_one_out;
use super::moments::{Examples, Moments, Summary, affordable};
use super::spectrum::{Spectrum, residuals};
use super::{Folds, Linear, check_alphas, check_weights, finite};

/// How a path is fitted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RidgeOptions {
    /// Strengths to choose from; empty for 20, evenly spaced in the logarithm, from 1e-6 to 1e6 times the mean eigenvalue of
    /// the features' (scaled and centred) Gram matrix. 0 is least squares, by minimum norm where many fits are the best.
    pub alphas: Vec<f64>,
    /// Scale each feature to standard deviation 1, which changes what the penalty means. Each fold's fit is scaled by its
    /// own training set; leaving one out, all are scaled alike.
    pub standardize: bool,
}

/// How good a strength is on examples that were not fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct RidgeScore {
    /// Fraction of the variance explained: mean over folds and outputs.
    pub r2: f64,
    /// Weighted mean squared error: mean over folds and outputs.
    pub mse: f64,
    /// The fraction of each fold; empty when one is left out at a time.
    pub fold_r2: Vec<f64>,
    /// The error of each fold; empty when one is left out at a time.
    pub fold_mse: Vec<f64>,
}

/// A path and its best fit.
#[derive(Debug, Clone, PartialEq)]
pub struct RidgeFit {
    /// The strengths, in the order they were given.
    pub alphas: Vec<f64>,
    /// Score of each strength; empty when none was to be chosen.
    pub scores: Vec<RidgeScore>,
    /// Place of the chosen strength.
    pub chosen: usize,
    /// The fit of the chosen strength to all examples.
    pub model: Linear,
    /// What deserves a look.
    pub warnings: Vec<String>,
}

/// Square matrices that the fit of a fold has at a time: sums and what is made of them, of two sets; axes and the working
/// memory of finding them.
const FOLD_MATRICES: usize = 6;

/// Strengths that are tried when none are given.
pub const STRENGTHS: u32 = 20;

/// Minimises `sum w (y - x b - c)^2 + alpha ||b||^2` for each strength, and chooses one for all outputs: the one of the
/// highest fraction of variance explained, as the mean over folds; or, leaving one out at a time, of the lowest mean squared
/// error. The first of equals is chosen.
///
/// With fewer examples than features the fit is as well defined as with more, by the penalty; without penalty it is the fit
/// of minimum norm, and a warning says so. Constant features get the coefficient 0.
///
/// # Errors
/// [`LearnError::TooFew`], [`LearnError::OneValue`], [`LearnError::NotFinite`], [`LearnError::Shape`],
/// [`LearnError::BadSetting`]; those of reading.
#[expect(clippy::too_many_arguments, reason = "the matrices of one problem, and who computes")]
pub fn ridge_path(
    features: &dyn Features,
    targets: &[f64],
    outputs: usize,
    weights: Option<&[f64]>,
    folds: Folds<'_>,
    options: &RidgeOptions,
    threads: usize,
    progress: Progress<'_>,
) -> Result<RidgeFit, LearnError> {
    let examples = Examples { targets, outputs, weights, folds: folds.numbers() };
    let strengths =
        if options.alphas.is_empty() { STRENGTHS as usize } else { options.alphas.len() };
    check(features, &examples)?;
    check_alphas(&options.alphas, true)?;
    folds.check(features.count(), strengths)?;
    let moments = Moments::fit(features, examples, threads, progress)?;
    let all = moments.all();
    let target_mean = all.target_mean.clone();
    let alphas = match &options.alphas {
        none if none.is_empty() => default_alphas(&all, options.standardize),
        given => given.clone(),
    };
    let mut scores = Vec::new();
    if folds.numbers().is_some() {
        scores = by_folds(&moments, &alphas, options.standardize, threads, progress)?;
    }
    drop(moments);
    progress.step("decomposing", 0, 1)?;
    let spectrum = Spectrum::of(all, options.standardize)?;
    if folds == Folds::LeaveOneOut {
        let source = Source::read(features);
        let count = features.count() as u64;
        let step = |first: usize| progress.step("leaving one out", first as u64, count);
        scores = leave_one_out(&source, &spectrum, target_mean, examples, &alphas, threads, step)?;
    }
    let chosen = choose(&scores, folds == Folds::LeaveOneOut);
    let model = spectrum.fits(&alphas[chosen..=chosen])?.remove(0);
    let warnings = warnings(&spectrum, &alphas, chosen);
    Ok(RidgeFit { alphas, scores, chosen, model, warnings })
}

fn check(features: &dyn Features, examples: &Examples<'_>) -> Result<(), LearnError> {
    let (count, outputs) = (features.count(), examples.outputs);
    let expected = count.saturating_mul(outputs);
    if examples.targets.len() != expected || outputs == 0 {
        let (what, given) = ("targets of examples", examples.targets.len());
        return Err(LearnError::Shape { what, given, expected: expected.max(count) });
    }
    finite("the target", examples.targets, outputs)?;
    check_weights(examples.weights, count)?;
    let counts = |example: &usize| examples.weights.is_none_or(|weights| weights[*example] > 0.0);
    let given = (0..count).filter(counts).count();
    if given < 2 {
        return Err(LearnError::TooFew { what: "training examples", given, needed: 2 });
    }
    let first = (0..count).find(counts).unwrap_or(0) * outputs;
    let varies = (0..count).filter(counts).any(|example| {
        examples.targets[example * outputs..(example + 1) * outputs]
            != examples.targets[first..first + outputs]
    });
    if varies {
        return Ok(());
    }
    Err(LearnError::OneValue { value: examples.targets[first].to_string() })
}

fn default_alphas(all: &Summary, standardize: bool) -> Vec<f64> {
    let width = all.mean.len();
    let (_, constant) = all.deviations();
    let mean_eigenvalue = if standardize {
        all.weight * (width - constant) as f64 / width as f64
    } else {
        (0..width).map(|at| all.gram[at * width + at]).sum::<f64>() / width as f64
    };
    let unit = if mean_eigenvalue > 0.0 { mean_eigenvalue } else { 1.0 };
    let steps = f64::from(STRENGTHS - 1);
    (0..STRENGTHS).map(|at| unit * 10_f64.powf(12.0 * f64::from(at) / steps - 6.0)).collect()
}

/// Scores of each strength by the folds, each of which one thread fits.
fn by_folds(
    moments: &Moments,
    alphas: &[f64],
    standardize: bool,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Vec<RidgeScore>, LearnError> {
    let folds = moments.folds();
    let judge = |scores: &mut Vec<RidgeScore>, fold: usize| {
        let (training, held) = (moments.without(fold), moments.of(fold));
        if training.count == 0 || held.count == 0 {
            let what = "examples of positive weight inside and outside of a fold";
            return Err(LearnError::TooFew { what, given: 0, needed: 1 });
        }
        let spectrum = Spectrum::of(training, standardize)?;
        for fit in spectrum.fits(alphas)? {
            scores.push(RidgeScore::of(&residuals(&fit, &held)?, &held.target_square, held.weight));
        }
        Ok(())
    };
    let threads = affordable(threads.min(folds), FOLD_MATRICES, moments.width());
    let scores = divide(vec![Vec::new(); folds], threads, judge, |hand_in| {
        (0..folds).try_for_each(|fold| {
            progress.step("fitting folds", fold as u64, folds as u64)?;
            hand_in(fold, fold)
        })
    })?;
    Ok((0..alphas.len())
        .map(|alpha| {
            let all = |value: fn(&RidgeScore) -> f64| -> Vec<f64> {
                scores.iter().map(|fold| value(&fold[alpha])).collect()
            };
            let (fold_r2, fold_mse) = (all(|score| score.r2), all(|score| score.mse));
            let mean = |values: &[f64]| values.iter().sum::<f64>() / folds as f64;
            RidgeScore { r2: mean(&fold_r2), mse: mean(&fold_mse), fold_r2, fold_mse }
        })
        .collect())
}

impl RidgeScore {
    /// From the sums of squared residuals and deviations of each output.
    pub(super) fn of(residuals: &[f64], deviations: &[f64], weight: f64) -> Self {
        let outputs = residuals.len() as f64;
        let explained = |(residual, deviation): (&f64, &f64)| {
            if *deviation > 0.0 {
                1.0 - residual / deviation
            } else if *residual > 0.0 {
                0.0
            } else {
                1.0
            }
        };
        Self {
            r2: residuals.iter().zip(deviations).map(explained).sum::<f64>() / outputs,
            mse: residuals.iter().sum::<f64>() / weight / outputs,
            fold_r2: Vec::new(),
            fold_mse: Vec::new(),
        }
    }
}

/// Place of the best strength.
fn choose(scores: &[RidgeScore], by_error: bool) -> usize {
    let mut best = 0;
    for (place, score) in scores.iter().enumerate().skip(1) {
        let is_better = if by_error {
            score.mse < scores[best].mse || scores[best].mse.is_nan()
        } else {
            score.r2 > scores[best].r2 || scores[best].r2.is_nan()
        };
        if is_better {
            best = place;
        }
    }
    best
}

fn warnings(spectrum: &Spectrum, alphas: &[f64], chosen: usize) -> Vec<String> {
    let mut warnings = Vec::new();
    if spectrum.constant > 0 {
        warnings.push(format!(
            "{} of {} features have one value only in the training set; their coefficients are 0",
            spectrum.constant,
            spectrum.width()
        ));
    }
    if alphas[chosen] == 0.0 && spectrum.count <= spectrum.width() as u64 {
        warnings.push(format!(
            "{} examples do not determine {} coefficients without regularisation; the solution of minimum norm is taken",
            spectrum.count,
            spectrum.width()
        ));
    }
    warnings.extend(at_the_edge(alphas, chosen));
    warnings
}

/// Says when a better strength may lie outside of those tried.
pub(super) fn at_the_edge(alphas: &[f64], chosen: usize) -> Option<String> {
    let (least, most) = alphas
        .iter()
        .fold((f64::INFINITY, 0.0_f64), |(least, most), each| (least.min(*each), most.max(*each)));
    let alpha = alphas[chosen];
    let which = if alpha == least { "smallest" } else { "largest" };
    let is_at_the_edge = least < most && (alpha == least && alpha > 0.0 || alpha == most);
    is_at_the_edge.then(|| {
        format!("the chosen strength, {alpha:.3e}, is the {which} that was tried; a better one may lie beyond it")
    })
}
