"""Fits bridges with SciPy, scikit-learn and plain numpy, and prints what they find as JSON.

Usage: bridge_oracle.py PAIRS FROM_WIDTH TO_WIDTH TRAIN_COUNT

PAIRS holds rows of little-endian doubles: the vector of FROM, then that of TO. The first TRAIN_COUNT rows are learned from,
the others are measured on.
"""

import json
import sys

import numpy as np
from scipy.linalg import orthogonal_procrustes, sqrtm
from sklearn.cross_decomposition import CCA
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestNeighbors

ALPHAS = [1e-3, 1.0, 30.0, 1e3]
COMPONENTS = 3
REGULARISATION = 0.01


def procrustes(x, y):
    """Centred, with the scale of least squares."""
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    width = max(x.shape[1], y.shape[1])
    # Different dimensions: the smaller space is padded with zeros.
    pad = lambda m: np.pad(m, ((0, 0), (0, width - m.shape[1])))
    rotation, _ = orthogonal_procrustes(pad(x), pad(y))
    rotation = rotation[: x.shape[1], : y.shape[1]]
    turned = x @ rotation
    scale = np.sum(turned * y) / np.sum(turned * turned)
    weights = scale * rotation.T
    return {"weights": weights.ravel().tolist(), "bias": (y_mean - weights @ x_mean).tolist(), "scale": float(scale)}


def ridge(x, y):
    """Five folds of every fifth row; the score is the share of the variance about the mean of the other folds."""
    fold = np.arange(len(x)) % 5
    scores = []
    for alpha in ALPHAS:
        wrong = total = 0.0
        for left_out in range(5):
            learned, seen = fold != left_out, fold == left_out
            model = Ridge(alpha=alpha).fit(x[learned], y[learned])
            wrong += np.sum((y[seen] - model.predict(x[seen])) ** 2)
            total += np.sum((y[seen] - y[learned].mean(0)) ** 2)
        scores.append(1 - wrong / total)
    best = ALPHAS[int(np.argmax(scores))]
    model = Ridge(alpha=best).fit(x, y)
    return {"weights": model.coef_.ravel().tolist(), "bias": model.intercept_.tolist(), "alpha": best, "scores": scores}


def cca(x, y):
    """Regularised, from the definition."""
    xc, yc = x - x.mean(0), y - y.mean(0)
    n = len(x)
    cxx, cyy, cxy = xc.T @ xc / (n - 1), yc.T @ yc / (n - 1), xc.T @ yc / (n - 1)
    cxx += REGULARISATION * np.trace(cxx) / len(cxx) * np.eye(len(cxx))
    cyy += REGULARISATION * np.trace(cyy) / len(cyy) * np.eye(len(cyy))
    x_white, y_white = np.linalg.inv(sqrtm(cxx).real), np.linalg.inv(sqrtm(cyy).real)
    u, s, vt = np.linalg.svd(x_white @ cxy @ y_white)
    return {
        "correlations": s[:COMPONENTS].tolist(),
        "from": (xc @ x_white @ u[:, :COMPONENTS]).ravel().tolist(),
        "to": (yc @ y_white @ vt.T[:, :COMPONENTS]).ravel().tolist(),
    }


def cca_of_sklearn(x, y):
    """Without regularisation, by power iterations."""
    model = CCA(n_components=COMPONENTS, scale=False, max_iter=20000, tol=1e-12).fit(x, y)
    a, b = model.transform(x, y)
    return [float(np.corrcoef(a[:, i], b[:, i])[0, 1]) for i in range(COMPONENTS)]


def retrieval(mapped, y):
    """Recall both ways by Euclidean distances, and the share of common neighbours after the mapping."""
    count = len(y)

    def recall(queries, candidates, k):
        found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(candidates).kneighbors(queries)[1]
        return float(np.mean([i in row for i, row in enumerate(found)]))

    def neighbours(points):
        return NearestNeighbors(n_neighbors=10, algorithm="brute").fit(points).kneighbors()[1]

    common = [len(set(a) & set(b)) / 10 for a, b in zip(neighbours(mapped), neighbours(y))]
    cosine = np.sum(mapped * y, 1) / np.linalg.norm(mapped, axis=1) / np.linalg.norm(y, axis=1)
    return {
        "recall": [recall(mapped, y, k) for k in (1, 10, 100)],
        "recall_back": [recall(y, mapped, k) for k in (1, 10, 100)],
        "mutual_knn": float(np.mean(common)),
        "cosine": float(np.mean(cosine)),
        "count": count,
    }


def main():
    path, from_width, to_width, train = sys.argv[1], *map(int, sys.argv[2:5])
    rows = np.fromfile(path, "<f8").reshape(-1, from_width + to_width)
    x, y = rows[:, :from_width], rows[:, from_width:]
    turned = procrustes(x[:train], y[:train])
    weights = np.array(turned["weights"]).reshape(to_width, from_width)
    print(json.dumps({
        "procrustes": turned,
        "ridge": ridge(x[:train], y[:train]),
        "cca": cca(x[:train], y[:train]),
        "cca_correlations_of_sklearn": cca_of_sklearn(x[:train], y[:train]),
        "retrieval": retrieval(x[train:] @ weights.T + turned["bias"], y[train:]),
    }))


main()
