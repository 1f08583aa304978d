"""Fits heads with scikit-learn and writes inputs and results as JSON, for `tests/it/learn.rs` to compare.

Usage: learn_oracle.py OUTPUT
"""

import json
import sys

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors
from sklearn.preprocessing import StandardScaler

FOLDS = 5


def features(rng, count, width):
    """Correlated features of different scales and means, one of them constant."""
    x = rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) / np.sqrt(width)
    x = x * np.logspace(-1, 1, width) + rng.normal(size=width) * 5
    x[:, width // 2] = 3.7
    return x


def scaled(train, other, weights, standardize):
    if not standardize:
        return train, other
    scaler = StandardScaler().fit(train, sample_weight=weights)
    return scaler.transform(train), scaler.transform(other)


def unscaled(x, weights, standardize, coefficients, intercepts):
    """Coefficients for features as they are given."""
    coefficients, intercepts = np.atleast_2d(coefficients), np.atleast_1d(intercepts)
    if standardize:
        scaler = StandardScaler().fit(x, sample_weight=weights)
        coefficients = coefficients / scaler.scale_
        intercepts = intercepts - coefficients @ scaler.mean_
    return coefficients.ravel().tolist(), intercepts.tolist()


def case(kind, x, **rest):
    made = {"kind": kind, "width": x.shape[1], "x": x.ravel().tolist()}
    for name, value in rest.items():
        made[name] = value.ravel().tolist() if isinstance(value, np.ndarray) else value
    return made


def ridge_by_folds(x, y, weights, folds, alphas, standardize):
    r2, mse = [], []
    for alpha in alphas:
        fold_r2, fold_mse = [], []
        for fold in range(FOLDS):
            train, test = folds != fold, folds == fold
            w = None if weights is None else weights[train]
            v = None if weights is None else weights[test]
            inside, outside = scaled(x[train], x[test], w, standardize)
            fit = Ridge(alpha, solver="cholesky").fit(inside, y[train], sample_weight=w)
            predicted = fit.predict(outside)
            fold_r2.append(r2_score(y[test], predicted, sample_weight=v))
            fold_mse.append(mean_squared_error(y[test], predicted, sample_weight=v))
        r2.append(fold_r2)
        mse.append(fold_mse)
    chosen = int(np.argmax(np.mean(r2, axis=1)))
    whole, _ = scaled(x, x, weights, standardize)
    fit = Ridge(alphas[chosen], solver="cholesky").fit(whole, y, sample_weight=weights)
    coefficients, intercepts = unscaled(x, weights, standardize, fit.coef_, fit.intercept_)
    return case(
        "ridge", x, y=y, outputs=y.shape[1], weights=weights, folds=folds.tolist(), alphas=alphas,
        standardize=standardize, fold_r2=r2, fold_mse=mse, chosen=chosen, coefficients=coefficients,
        intercepts=intercepts, predicted=fit.predict(whole),
    )


def ridge_leaving_one_out(x, y, weights, alphas, standardize):
    whole, _ = scaled(x, x, weights, standardize)
    fit = RidgeCV(alphas, store_cv_results=True).fit(whole, y, sample_weight=weights)
    # Squared errors, times the weights.
    errors = fit.cv_results_.reshape(len(x), y.shape[1], len(alphas))
    total = len(x) if weights is None else weights.sum()
    coefficients, intercepts = unscaled(x, weights, standardize, fit.coef_, fit.intercept_)
    return case(
        "ridge", x, y=y, outputs=y.shape[1], weights=weights, folds=None, alphas=alphas,
        standardize=standardize, loo_mse=(errors.sum(axis=0) / total).mean(axis=0),
        chosen=list(alphas).index(fit.alpha_), coefficients=coefficients, intercepts=intercepts,
        predicted=fit.predict(whole),
    )


def least_squares(x, y):
    """Without regularisation: the solution of minimum norm."""
    mean, target = x.mean(axis=0), y.mean(axis=0)
    coefficients = np.linalg.lstsq(x - mean, y - target, rcond=None)[0].T
    intercepts = target - coefficients @ mean
    return case(
        "ridge", x, y=y, outputs=y.shape[1], weights=None, folds=None, alphas=[0.0],
        standardize=False, chosen=0, coefficients=coefficients, intercepts=intercepts,
        predicted=x @ coefficients.T + intercepts,
    )


def logistic(x, labels, classes, weights, alpha):
    """Labels are classes, or fractions: then each example counts once for each class."""
    if labels.ndim == 2:
        x = np.repeat(x, classes, axis=0)
        own = np.ones(len(labels)) if weights is None else weights
        weights = (labels * own[:, None]).ravel()
        labels = np.tile(np.arange(classes), len(labels))
    model = LogisticRegression(C=1 / alpha, tol=1e-10, max_iter=100_000, solver="newton-cg")
    return model.fit(x, labels, sample_weight=weights)


def logistic_by_folds(x, labels, classes, weights, folds, alphas, standardize):
    hard = labels if labels.ndim == 1 else labels.argmax(axis=1)
    soft = np.eye(classes)[labels] if labels.ndim == 1 else labels
    own = np.ones(len(x)) if weights is None else weights
    wholes = own * soft.sum(axis=1)
    losses, accuracies = [], []
    for alpha in alphas:
        fold_losses, fold_accuracies = [], []
        for fold in range(FOLDS):
            train, test = folds != fold, folds == fold
            inside, outside = scaled(x[train], x[test], wholes[train], standardize)
            w = None if weights is None else weights[train]
            fit = logistic(inside, labels[train], classes, w, alpha)
            # A class that is not in the training set has no probability.
            predicted = np.zeros((test.sum(), classes))
            predicted[:, fit.classes_] = fit.predict_proba(outside)
            pair = (own[test, None] * soft[test]).ravel()
            fold_losses.append(log_loss(
                np.tile(np.arange(classes), test.sum()), np.repeat(predicted, classes, axis=0),
                sample_weight=pair, labels=np.arange(classes),
            ))
            fold_accuracies.append(
                accuracy_score(hard[test], predicted.argmax(axis=1), sample_weight=own[test]))
        losses.append(fold_losses)
        accuracies.append(fold_accuracies)
    chosen = int(np.argmin(np.mean(losses, axis=1)))
    whole, _ = scaled(x, x, wholes, standardize)
    fit = logistic(whole, labels, classes, weights, alphas[chosen])
    coefficients, intercepts = unscaled(x, wholes, standardize, fit.coef_, fit.intercept_)
    if classes > 2:
        intercepts = (np.array(intercepts) - np.mean(intercepts)).tolist()
    return case(
        "logistic", x, labels=labels, soft=labels.ndim == 2, classes=classes, weights=weights,
        folds=folds.tolist(), alphas=alphas, standardize=standardize, losses=losses,
        accuracies=accuracies, chosen=chosen, coefficients=coefficients, intercepts=intercepts,
        predicted=fit.predict_proba(whole),
    )


def neighbours(x, test, y, labels, classes, k, metric, standardize, itself, exact):
    whole, outside = scaled(x, test, None, standardize)
    algorithm = "kd_tree" if exact else "brute"
    options = {"n_neighbors": k, "metric": metric, "algorithm": algorithm}
    found = NearestNeighbors(**options).fit(whole)
    distances, places = found.kneighbors(None if itself else outside)
    made = case(
        "knn", x, test=None if itself else test, y=y, outputs=y.shape[1], labels=labels,
        classes=classes, k=k, cosine=metric == "cosine", standardize=standardize, exact=exact,
        distances=distances, places=places,
    )
    if not itself:
        for weights in ("uniform", "distance"):
            regressor = KNeighborsRegressor(weights=weights, **options).fit(whole, y)
            made["regressed_" + weights] = regressor.predict(outside).ravel().tolist()
            classifier = KNeighborsClassifier(weights=weights, **options).fit(whole, labels)
            made["classified_" + weights] = classifier.predict_proba(outside).ravel().tolist()
    return made


def scale(x, weights):
    scaler = StandardScaler().fit(x, sample_weight=weights)
    return case("scale", x, weights=weights, mean=scaler.mean_, scale=scaler.scale_)


def all_cases():
    rng = np.random.default_rng(20)
    x = features(rng, 240, 11)
    y = np.tanh(x @ rng.normal(size=(11, 2)) / 10) * 3 + rng.normal(size=(240, 2)) * 0.3 + 40
    w = rng.uniform(0.1, 3, size=240)
    folds = rng.permutation(np.arange(240) % FOLDS)
    alphas = np.logspace(-3, 4, 15).tolist()
    wide = features(rng, 40, 70)
    target = wide @ rng.normal(size=(70, 1)) + rng.normal(size=(40, 1))
    yield scale(x, None)
    yield scale(x, w)
    for standardize in (False, True):
        for weights in (None, w):
            yield ridge_by_folds(x, y, weights, folds, alphas, standardize)
            yield ridge_by_folds(x, y[:, :1], weights, folds, alphas, standardize)
            yield ridge_leaving_one_out(x, y[:, :1], weights, alphas, standardize)
            yield ridge_leaving_one_out(x, y, weights, alphas, standardize)
    yield ridge_by_folds(wide, target, None, np.arange(40) % FOLDS, alphas, False)
    yield ridge_leaving_one_out(wide, target, None, alphas, False)
    yield least_squares(x, y)
    yield least_squares(wide, target)

    logits = (x - x.mean(axis=0)) @ rng.normal(size=(11, 4)) / 4
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    four = np.array([rng.choice(4, p=row) for row in chances])
    two = (four > 1).astype(int)
    votes = rng.integers(1, 40, size=240)
    fractions = np.array([rng.multinomial(n, row) / n for n, row in zip(votes, chances)])
    for standardize in (False, True):
        for weights in (None, w):
            yield logistic_by_folds(x, two, 2, weights, folds, [0.01, 1.0, 100.0], standardize)
            yield logistic_by_folds(x, four, 4, weights, folds, [0.01, 1.0, 100.0], standardize)
    yield logistic_by_folds(x, fractions, 4, votes.astype(float), folds, [1.0, 10.0], False)
    yield logistic_by_folds(x, fractions * 0.8, 4, votes.astype(float), folds, [1.0], True)

    rare = np.where((folds == 2) & (np.arange(240) < 30), 3, np.minimum(four, 2))
    yield logistic_by_folds(x, rare, 4, None, folds, [1.0], False)

    near = features(rng, 90, 11)
    for metric in ("euclidean", "cosine"):
        for standardize in (False, True):
            for itself in (False, True):
                yield neighbours(
                    x, near, y, four, 4, 7, metric, standardize, itself, False)
    # Ten examples twice, at distance 0 from the first tests.
    line = np.concatenate([x[:100], x[:10]])
    yield neighbours(line, x[:50], y[:110], four[:110], 4, 5, "euclidean", False, False, True)


if __name__ == "__main__":
    with open(sys.argv[1], "w") as file:
        json.dump(list(all_cases()), file)
