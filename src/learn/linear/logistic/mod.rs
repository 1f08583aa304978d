//! Multinomial logistic regression.

mod newton;
mod objective;

use super::super::crew::Source;
use super::super::{Features, LearnError, Progress};
use super::moments::{Examples, Moments, Summary};
use super::ridge::at_the_edge;
use super::spectrum::{Spectrum, dot};
use super::{Folds, Linear, check_alphas, check_weights};
use newton::Problem;
use objective::{Data, Functions, softmax};

/// What is true of each example.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Labels<'a> {
    /// Its class, from 0.
    Classes(&'a [u32]),
    /// Row-major: the fraction of each class, from 0 to 1. Fractions of an example need not add up to 1; what they add up to
    /// weighs it.
    Fractions(&'a [f64]),
}

/// How it is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticOptions {
    /// Strengths to choose from; empty for 1.
    pub alphas: Vec<f64>,
    /// Scale each feature to standard deviation 1, which changes what the penalty means. Each fold's fit is scaled by its
    /// own training set.
    pub standardize: bool,
    /// Bytes of features that may be kept in memory. Features that take more are read again for every step.
    pub memory: usize,
}

impl Default for LogisticOptions {
    fn default() -> Self {
        Self { alphas: Vec::new(), standardize: false, memory: 1 << 30 }
    }
}

/// How good a strength is on examples that were not fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticScore {
    /// Weighted mean cross entropy: mean over folds.
    pub log_loss: f64,
    /// Weighted fraction of examples whose most probable class is the true one: mean over folds.
    pub accuracy: f64,
    /// The cross entropy of each fold.
    pub fold_log_loss: Vec<f64>,
    /// The fraction of each fold.
    pub fold_accuracy: Vec<f64>,
}

/// A fitted classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    /// Two classes: the logit of the second one. More: one for each class, their mean being 0.
    pub linear: Linear,
    /// Number of classes.
    pub classes: usize,
}

/// A choice of strengths and the best fit.
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticFit {
    /// The strengths, in the order they were given.
    pub alphas: Vec<f64>,
    /// Score of each strength; empty when none was to be chosen.
    pub scores: Vec<LogisticScore>,
    /// Place of the chosen strength.
    pub chosen: usize,
    /// The fit of the chosen strength to all examples.
    pub model: Logistic,
    /// What deserves a look.
    pub warnings: Vec<String>,
}

impl Labels<'_> {
    /// How much of an example is of a class.
    fn of(&self, example: usize, class: usize, classes: usize) -> f64 {
        match self {
            Self::Classes(of) => f64::from(u8::from(of[example] as usize == class)),
            Self::Fractions(values) => values[example * classes + class],
        }
    }

    /// What its fractions add up to.
    fn whole(&self, example: usize, classes: usize) -> f64 {
        match self {
            Self::Classes(_) => 1.0,
            Self::Fractions(values) => {
                values[example * classes..(example + 1) * classes].iter().sum()
            }
        }
    }

    fn check(&self, examples: usize, classes: usize) -> Result<(), LearnError> {
        let (given, expected) = match self {
            Self::Classes(of) => (of.len(), examples),
            Self::Fractions(values) => (values.len(), examples.saturating_mul(classes)),
        };
        if given != expected {
            return Err(LearnError::Shape { what: "labels of examples", given, expected });
        }
        match self {
            Self::Classes(of) => match of.iter().find(|class| **class as usize >= classes) {
                None => Ok(()),
                Some(class) => Err(LearnError::BadSetting {
                    what: "the class of an example",
                    value: class.to_string(),
                    hint: "classes are numbered from 0, below their number",
                }),
            },
            Self::Fractions(values) => {
                super::finite("the target", values, classes)?;
                match values.iter().position(|value| !(0.0..=1.0).contains(value)) {
                    None => Ok(()),
                    Some(at) => Err(LearnError::NotAFraction {
                        example: at / classes.max(1),
                        value: values[at],
                    }),
                }
            }
        }
    }
}

impl Logistic {
    /// Replaces `into` by the probabilities of all classes for `count` examples, row-major.
    ///
    /// # Errors
    /// [`LearnError::Shape`].
    pub fn predict(
        &self,
        features: &[f64],
        count: usize,
        into: &mut Vec<f64>,
    ) -> Result<(), LearnError> {
        let mut logits = Vec::new();
        self.linear.predict(features, count, &mut logits)?;
        into.clear();
        into.resize(count * self.classes, 0.0);
        let rows = logits.chunks(self.linear.outputs()).zip(into.chunks_mut(self.classes));
        rows.for_each(|(logits, row)| {
            softmax(logits, row);
        });
        Ok(())
    }
}

/// Minimises `sum w CE + alpha / 2 ||b||^2`, `CE` being the cross entropy of the labels with the softmax of linear
/// functions (one logit for two classes), whose intercepts are not penalised; chooses the strength with the lowest mean
/// cross entropy over folds, the first of equals.
///
/// A class without training examples gets no probability, and a warning.
///
/// # Errors
/// [`LearnError::OneValue`], [`LearnError::NotAFraction`], [`LearnError::NotFinite`], [`LearnError::Shape`],
/// [`LearnError::BadSetting`], [`LearnError::NoResult`]; those of reading.
#[expect(clippy::too_many_arguments, reason = "the matrices of one problem, and who computes")]
pub fn logistic_path(
    features: &dyn Features,
    labels: Labels<'_>,
    classes: usize,
    weights: Option<&[f64]>,
    folds: Folds<'_>,
    options: &LogisticOptions,
    threads: usize,
    progress: Progress<'_>,
) -> Result<LogisticFit, LearnError> {
    let (count, width) = (features.count(), features.width());
    let alphas = if options.alphas.is_empty() { vec![1.0] } else { options.alphas.clone() };
    check_alphas(&alphas, false)?;
    folds.check(count, alphas.len())?;
    if folds == Folds::LeaveOneOut {
        return Err(LearnError::BadSetting {
            what: "the folds of logistic regression",
            value: "leave one out".to_owned(),
            hint: "a number of folds",
        });
    }
    labels.check(count, classes)?;
    check_weights(weights, count)?;
    let wholes = whole_weights(labels, classes, weights, count);
    let examples =
        Examples { targets: &[], outputs: 0, weights: wholes.as_deref(), folds: folds.numbers() };
    let moments = Moments::fit(features, examples, threads, progress)?;
    let all = moments.all();
    let centre = all.mean.clone();
    let source = Source::keep(features, &centre, options.memory, progress)?;
    let data = Data { source: &source, width, labels, classes, weights, held: None, threads };
    let class_weights = data.class_weights(count);
    check_classes(&class_weights)?;
    let mut scores = Vec::new();
    if let Some((of, folds)) = folds.numbers() {
        let mut by_fold = Vec::new();
        for fold in 0..folds {
            progress.step("fitting folds", fold as u64, folds as u64)?;
            let data = Data { held: Some((of, fold as u32)), ..data };
            let summary = moments.without(fold);
            by_fold.push(judge_fold(data, count, summary, &centre, &alphas, options, progress)?);
        }
        scores = joined(&by_fold, alphas.len());
    }
    let is_better = |place: usize, best: usize| scores[place].log_loss < scores[best].log_loss;
    let chosen =
        (1..scores.len()).fold(0, |best, place| if is_better(place, best) { place } else { best });
    let spectrum = Spectrum::of(all, options.standardize)?;
    let problem = Problem {
        data,
        spectrum: &spectrum,
        offset: vec![0.0; width],
        class_weights,
        alpha: alphas[chosen],
        progress,
    };
    let functions = problem.predictor(&problem.solve(problem.start())?);
    let warnings = warnings(&problem, &alphas, chosen);
    let Functions { weights, mut intercepts } = functions;
    for (intercept, row) in intercepts.iter_mut().zip(weights.chunks(width)) {
        *intercept -= dot(row, &centre);
    }
    let model = Logistic { linear: Linear { width, weights, intercepts }, classes };
    Ok(LogisticFit { alphas, scores, chosen, model, warnings })
}

/// Weight of each example times what its fractions add up to.
fn whole_weights(
    labels: Labels<'_>,
    classes: usize,
    weights: Option<&[f64]>,
    count: usize,
) -> Option<Vec<f64>> {
    match (labels, weights) {
        (Labels::Classes(_), weights) => weights.map(<[f64]>::to_vec),
        (Labels::Fractions(_), weights) => {
            let weight = |example: usize| weights.map_or(1.0, |weights| weights[example]);
            Some((0..count).map(|at| weight(at) * labels.whole(at, classes)).collect())
        }
    }
}

/// Refuses a training set of one class.
fn check_classes(weights: &[f64]) -> Result<(), LearnError> {
    let mut present = (0..weights.len()).filter(|class| weights[*class] > 0.0);
    match (present.next(), present.next()) {
        (Some(_), Some(_)) => Ok(()),
        (Some(only), None) => Err(LearnError::OneValue { value: format!("class {only}") }),
        _ => Err(LearnError::TooFew { what: "training examples", given: 0, needed: 2 }),
    }
}

/// Fits every strength without one fold, and judges it there: pairs of cross entropy and accuracy.
fn judge_fold(
    data: Data<'_>,
    count: usize,
    summary: Summary,
    centre: &[f64],
    alphas: &[f64],
    options: &LogisticOptions,
    progress: Progress<'_>,
) -> Result<Vec<(f64, f64)>, LearnError> {
    let class_weights = data.class_weights(count);
    check_classes(&class_weights).map_err(|_| LearnError::BadSetting {
        what: "the division into folds",
        value: "one without which one class is left".to_owned(),
        hint: "fewer folds, or folds that divide each class evenly",
    })?;
    let offset = summary.mean.iter().zip(centre).map(|(mean, centre)| mean - centre).collect();
    let spectrum = Spectrum::of(summary, options.standardize)?;
    let mut problem =
        Problem { data, spectrum: &spectrum, offset, class_weights, alpha: 1.0, progress };
    // From strong to weak: the fit of one is near to that of the next.
    let mut order: Vec<usize> = (0..alphas.len()).collect();
    order.sort_by(|left, right| alphas[*right].total_cmp(&alphas[*left]));
    let mut scores = vec![(0.0, 0.0); alphas.len()];
    let mut at = problem.start();
    for place in order {
        problem.alpha = alphas[place];
        at = problem.solve(at)?;
        let judged =
            data.judge(&problem.predictor(&at), |_| progress.step("judging folds", 0, 0))?;
        if judged.labelled <= 0.0 {
            return Err(LearnError::TooFew {
                what: "examples of positive weight in a fold",
                given: 0,
                needed: 1,
            });
        }
        scores[place] = (judged.loss / judged.labelled, judged.right / judged.weight);
    }
    Ok(scores)
}

fn joined(by_fold: &[Vec<(f64, f64)>], alphas: usize) -> Vec<LogisticScore> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    (0..alphas)
        .map(|alpha| {
            let (fold_log_loss, fold_accuracy): (Vec<f64>, Vec<f64>) =
                by_fold.iter().map(|fold| fold[alpha]).unzip();
            LogisticScore {
                log_loss: mean(&fold_log_loss),
                accuracy: mean(&fold_accuracy),
                fold_log_loss,
                fold_accuracy,
            }
        })
        .collect()
}

fn warnings(problem: &Problem<'_>, alphas: &[f64], chosen: usize) -> Vec<String> {
    let mut warnings = Vec::new();
    let (constant, width) = (problem.spectrum.constant, problem.spectrum.width());
    if constant > 0 {
        warnings.push(format!(
            "{constant} of {width} features have one value only in the training set; their coefficients are 0"
        ));
    }
    for (class, _) in problem.class_weights.iter().enumerate().filter(|(_, weight)| **weight <= 0.0)
    {
        warnings
            .push(format!("class {class} has no training example; its probability is always 0"));
    }
    warnings.extend(at_the_edge(alphas, chosen));
    warnings
}
