"""What neighbours in the embedding are worth: photometric redshifts by k-NN, beside plain colours.

Redshift is used here and nowhere else: never as an input, a training target, or to choose anything on the
test split.
"""

import numpy as np

NEIGHBOURS = 20


def knn_redshift(vectors, redshift, queries, references, metric="l2"):
    """Mean redshift of the nearest references of every query; a query is never its own neighbour."""
    vectors = np.asarray(vectors, np.float64)
    if metric == "cosine":
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = np.empty(len(queries))
    squares = (vectors**2).sum(1)
    for start in range(0, len(queries), 1000):
        rows = queries[start : start + 1000]
        distance = squares[rows][:, None] + squares[references] - 2.0 * vectors[rows] @ vectors[references].T
        distance[rows[:, None] == references] = np.inf
        nearest = np.argpartition(distance, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        found[start : start + len(rows)] = redshift[references][nearest].mean(1)
    return found


def score(truth, estimate):
    """R2 and sigma_NMAD = 1.4826 median |dz - median dz|, dz = (estimate - truth) / (1 + truth)."""
    spread = ((truth - truth.mean()) ** 2).sum()
    offset = (estimate - truth) / (1.0 + truth)
    nmad = 1.4826 * np.median(np.abs(offset - np.median(offset)))
    outliers = np.mean(np.abs(offset) > 0.15)
    r2 = 1.0 - ((truth - estimate) ** 2).sum() / spread
    return {"r2": round(float(r2), 4), "sigma_nmad": round(float(nmad), 5), "outliers": round(float(outliers), 5)}


def colours(flux, softening=0.1):
    """u-g, g-r, r-i, i-z and r, in asinh magnitudes (they bear fluxes below zero); a band all NaN is left out."""
    magnitude = -2.5 / np.log(10.0) * np.arcsinh(flux / (2.0 * softening))
    kept = [band for band in range(5) if not np.isnan(flux[:, band]).all()]
    steps = [magnitude[:, a] - magnitude[:, b] for a, b in zip(kept, kept[1:])]
    return np.stack([*steps, magnitude[:, 2 if 2 in kept else 1]], 1)


def standardised(columns, train):
    return (columns - columns[train].mean(0)) / columns[train].std(0)


def missing_band(name, band, full, partial, redshift, split):
    """The database has every band; the queries (the test split) lack one."""
    test, rest = np.flatnonzero(split == "test"), np.flatnonzero(split != "test")
    mixed = full.copy()
    mixed[test] = partial[test]
    return {"space": name, "missing": band, **score(redshift[test], knn_redshift(mixed, redshift, test, rest))}


def neighbours(spaces, redshift, split):
    """Scores of every (name, vectors, metric): the test split against the rest, and everything against everything."""
    test, rest = np.flatnonzero(split == "test"), np.flatnonzero(split != "test")
    everything = np.arange(len(redshift))
    table = []
    for name, vectors, metric in spaces:
        for queries, references, what in [(test, rest, "test against the rest"), (everything, everything, "all against all")]:
            estimate = knn_redshift(vectors, redshift, queries, references, metric)
            table.append({"space": name, "metric": metric, "queries": what, **score(redshift[queries], estimate)})
    shuffled = np.random.default_rng(0).permutation(redshift)
    random = [shuffled[np.random.default_rng(i).integers(0, len(shuffled), NEIGHBOURS)].mean() for i in test]
    table.append({"space": "random neighbours", "metric": "", "queries": "test against the rest", **score(redshift[test], np.array(random))})
    return table
