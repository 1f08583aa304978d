"""What scikit-learn, astropy and scipy say about made-up predictions.

    $SIDEREUS_PYTHON/bin/python tests/python/metrics_oracle.py OUT.json

Every case is what is measured and the expected number under each name; the test reads the file and asks the library.
"""

import json
import sys
from typing import Any

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.stats import median_absolute_deviation
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve

NMAD_FACTOR = 1.4826


def median(values: np.ndarray, weights: np.ndarray | None) -> float:
    """The value at which half of the weight is reached."""
    if weights is None:
        return np.median(values)
    return np.quantile(values, 0.5, weights=weights, method="inverted_cdf")


def from_uniform(below: np.ndarray, weights: np.ndarray | None) -> float:
    """Kolmogorov and Smirnov's distance from the uniform distribution."""
    if weights is None:
        return stats.kstest(below, "uniform").statistic
    order = np.argsort(below)
    above = np.cumsum(weights[order]) / weights.sum()
    before = above - weights[order] / weights.sum()
    return max(np.abs(above - below[order]).max(), np.abs(before - below[order]).max())


def regression(rng: np.random.Generator, count: int, weighted: bool) -> dict[str, Any]:
    """Redshifts, most of them good, some catastrophic, with Gaussian densities; with weights or without."""
    truth = rng.gamma(3.0, 0.3, count)
    predicted = truth + rng.normal(0.01, 0.05, count) * (1 + truth)
    predicted[:: 11] += rng.uniform(-1, 1, predicted[:: 11].size)
    sigma = rng.uniform(0.05, 0.3, count)
    log_density = stats.norm.logpdf(truth, predicted, sigma)
    below = stats.norm.cdf(truth, predicted, sigma)
    # Some weigh nothing.
    weights = rng.integers(0, 4, count) * rng.uniform(0.5, 1.5, count) if weighted else None
    given = {"sample_weight": weights}
    dz = (predicted - truth) / (1 + truth)
    error = predicted - truth
    nmad = median(np.abs(dz - median(dz, weights)), weights)
    older = median(np.abs(error - median(error, weights)) / (1 + truth), weights)
    if not weighted:
        assert np.isclose(nmad, median_absolute_deviation(dz))
    return {
        "truth": truth,
        "predicted": predicted,
        "log_density": log_density,
        "below": below,
        "weights": weights,
        "expected": {
            "r2": metrics.r2_score(truth, predicted, **given),
            "rmse": metrics.root_mean_squared_error(truth, predicted, **given),
            "mae": metrics.mean_absolute_error(truth, predicted, **given),
            "bias": np.average(error, weights=weights),
            "nll": -np.average(log_density, weights=weights),
            "pit_ks": from_uniform(below, weights),
            "dz_mean": np.average(dz, weights=weights),
            "dz_median": median(dz, weights),
            "sigma_nmad": NMAD_FACTOR * nmad,
            "sigma_nmad_brammer": NMAD_FACTOR * older,
            "outliers_0.15": np.average(np.abs(dz) > 0.15, weights=weights),
            "outliers_0.05": np.average(np.abs(dz) > 0.05, weights=weights),
        },
    }


def probabilities(rng: np.random.Generator, truth: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities that know something, rounded so that some are equal."""
    logits = rng.normal(size=(truth.size, classes)) + 1.5 * np.eye(classes)[truth]
    rows = np.round(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), 3)
    return rows / rows.sum(axis=1, keepdims=True)


def classification(rng: np.random.Generator, count: int, classes: int, weighted: bool) -> dict[str, Any]:
    """Classes of unequal size; with weights or without."""
    share = rng.dirichlet(np.full(classes, 2.0)) * 0.8 + 0.2 / classes
    truth = np.concatenate([np.arange(classes), rng.choice(classes, count - classes, p=share)])
    rows = probabilities(rng, truth, classes)
    weights = rng.integers(0, 4, count) + rng.random(count) if weighted else None
    given = {"sample_weight": weights}
    predicted = rows.argmax(axis=1)
    if classes == 2:
        auc = metrics.roc_auc_score(truth, rows[:, 1], **given)
        brier = metrics.brier_score_loss(truth, rows[:, 1], **given)
        shown, came_true = rows[:, 1], truth == 1
    else:
        # scikit-learn takes no weights for several classes at once.
        each = [metrics.roc_auc_score(truth == label, rows[:, label], **given) for label in range(classes)]
        auc = float(np.mean(each))
        if not weighted:
            assert np.isclose(auc, metrics.roc_auc_score(truth, rows, multi_class="ovr", average="macro"))
        brier = metrics.brier_score_loss(truth, rows, scale_by_half=False, **given)
        shown, came_true = rows.max(axis=1), predicted == truth
    observed, mean = calibration_curve(came_true, shown, n_bins=10)
    bins = np.searchsorted(np.linspace(0, 1, 11)[1:-1], shown)
    counts = np.bincount(bins, minlength=10)
    mass = np.ones(count) if weights is None else weights
    apart = [abs((mass * (came_true - shown))[bins == each].sum()) for each in range(10)]
    iou = metrics.jaccard_score(truth, predicted, average=None, labels=range(classes), **given)
    with np.errstate(all="ignore"):
        expected = {
            "accuracy": metrics.accuracy_score(truth, predicted, **given),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted, **given),
            "macro_f1": metrics.f1_score(truth, predicted, average="macro", **given),
            "weighted_f1": metrics.f1_score(truth, predicted, average="weighted", **given),
            "auc": auc,
            "log_loss": metrics.log_loss(truth, rows, labels=range(classes), **given),
            "brier": brier,
            "ece": sum(apart) / mass.sum(),
            "mean_iou": np.mean(iou),
            **{f"iou_c{label}": value for label, value in enumerate(iou)},
        }
    roc = metrics.roc_curve(truth == 1, rows[:, 1], drop_intermediate=False)
    return {
        "classes": classes,
        "truth": truth,
        "probabilities": rows.ravel(),
        "weights": weights,
        "expected": expected,
        "confusion": metrics.confusion_matrix(truth, predicted, labels=range(classes)).ravel(),
        "calibration": {"predicted": mean, "observed": observed, "count": counts[counts > 0]},
        "roc": {"false": roc[0], "true": roc[1]},
    }


def fractions(rng: np.random.Generator, count: int, classes: int) -> dict[str, Any]:
    """Vote fractions and softened predictions of them, weighed by votes."""
    truth = rng.dirichlet(np.ones(classes), count)
    predicted = 0.7 * truth + 0.3 * rng.dirichlet(np.ones(classes), count)
    votes = rng.integers(1, 60, count)
    given = {"sample_weight": votes}
    entropy = -(truth * np.log(predicted)).sum(axis=1)
    return {
        "classes": classes,
        "truth": truth.ravel(),
        "predicted": predicted.ravel(),
        "votes": votes,
        "expected": {
            "rmse": np.sqrt(metrics.mean_squared_error(truth, predicted, **given)),
            "mae": metrics.mean_absolute_error(truth, predicted, **given),
            "r2": metrics.r2_score(truth, predicted, **given),
            "cross_entropy": np.average(entropy, weights=votes),
            "accuracy": metrics.accuracy_score(truth.argmax(axis=1), predicted.argmax(axis=1), **given),
        },
    }


def ranking(rng: np.random.Generator, count: int, k: int) -> dict[str, Any]:
    """Every object searches all others; scikit-learn is given all of them, the library what was found."""
    relevances = np.round(rng.beta(0.5, 1.5, count), 2)
    found, linear, exponential, recall, precision = [], [], [], [], []
    for query in range(count):
        others = np.delete(relevances, query)
        score = others + rng.normal(0, 0.4, count - 1)
        order = np.argsort(-score)
        found.append(others[order[: 2 * k]])
        linear.append(metrics.ndcg_score([others], [score], k=k))
        exponential.append(metrics.ndcg_score([2**others - 1], [score], k=k))
        relevant = others >= 0.5
        hits = relevant[order[:k]].sum()
        recall.append(hits / relevant.sum())
        precision.append(hits / k)
    return {
        "k": k,
        "relevances": relevances,
        "found": found,
        "expected": {
            f"ndcg_linear@{k}": np.mean(linear),
            f"ndcg_exponential@{k}": np.mean(exponential),
            f"recall@{k}": np.mean(recall),
            f"precision@{k}": np.mean(precision),
        },
    }


def interval(rng: np.random.Generator, count: int) -> dict[str, Any]:
    """The percentile interval of a root mean square."""
    errors = rng.standard_t(4, count)
    found = stats.bootstrap(
        (errors,),
        lambda sample, axis: np.sqrt(np.mean(sample**2, axis=axis)),
        n_resamples=9999,
        method="percentile",
        rng=rng,
    ).confidence_interval
    return {"errors": errors, "low": found.low, "high": found.high}


def leak(rng: np.random.Generator, count: int, radius: float) -> dict[str, Any]:
    """Positions all over the sky, with crowds at both poles and where right ascension begins, and jittered copies."""
    ra = rng.uniform(0, 360, count)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    crowd = count // 4
    dec[:crowd] = 90 - rng.exponential(3 * radius / 3600, crowd)
    dec[crowd : 2 * crowd] = -90 + rng.exponential(3 * radius / 3600, crowd)
    ra[2 * crowd : 3 * crowd] = rng.normal(0, 3 * radius / 3600, crowd) % 360
    dec[2 * crowd : 3 * crowd] = rng.normal(0, 3 * radius / 3600, crowd)
    train = SkyCoord(ra, dec, unit="deg")
    test = train.directional_offset_by(
        rng.uniform(0, 360, count) * units.deg, rng.uniform(0, 3 * radius, count) * units.arcsec
    )
    apart = test.match_to_catalog_sky(train)[1].arcsec
    # None so near the edge that rounding decides.
    kept = np.abs(apart / radius - 1) > 1e-6
    return {
        "radius": radius,
        "train": np.column_stack([ra, dec]).ravel(),
        "test": np.column_stack([test.ra.deg, test.dec.deg])[kept].ravel(),
        "leaked": np.flatnonzero(apart[kept] <= radius),
    }


def plain(value: Any) -> Any:
    """Numpy's arrays and numbers as JSON has them."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(type(value))


def main() -> None:
    """Writes all cases."""
    rng = np.random.default_rng(20250610)
    cases = {
        "regression": [
            *(regression(rng, count, weighted=False) for count in (7, 500, 1001)),
            # Numbers of their own, so that the cases below stay what they are.
            *(regression(np.random.default_rng(count), count, weighted=True) for count in (7, 500, 1001)),
        ],
        "classification": [
            classification(rng, count, classes, weighted)
            for count, classes in ((60, 2), (900, 2), (400, 3), (1200, 8))
            for weighted in (False, True)
        ],
        "fractions": [fractions(rng, count, classes) for count, classes in ((30, 2), (500, 5))],
        "ranking": [ranking(rng, 60, k) for k in (1, 5, 10)],
        "interval": [interval(rng, 400)],
        "leak": [leak(rng, 2000, radius) for radius in (1.0, 30.0, 3600.0)],
    }
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(cases, file, default=plain)


if __name__ == "__main__":
    main()
