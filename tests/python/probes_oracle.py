"""What scikit-learn says of the examples of tests/it/probes.rs: python probes_oracle.py EXAMPLES ANSWER"""

import json
import sys

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

PATH = [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]

with open(sys.argv[1]) as file:
    rows = json.load(file)
ids = np.array([row["id"] for row in rows])
x = np.array([row["x"] for row in rows], dtype=np.float64)
y = np.array([row["y"] for row in rows])
w = np.array([row["w"] for row in rows])
mag = np.array([row["mag"] for row in rows])
label = np.array([row["class"] for row in rows])
is_train = np.array([row["side"] == "train" for row in rows])
answer = {}


def standard(features, train):
    scaler = StandardScaler().fit(features[train])
    return scaler.transform(features)


def regression(name, head, features=x, among=None, weights=None, alpha=None):
    among = np.ones(len(y), bool) if among is None else among
    train, test = is_train & among, ~is_train & among
    head.fit(features[train], y[train], **({} if weights is None else {"sample_weight": weights[train]}))
    found = head.predict(features[test])
    told = {} if weights is None else {"sample_weight": weights[test]}
    answer[name] = {
        "predictions": {str(i): [value] for i, value in zip(ids[test], found)},
        "metrics": {
            "r2": r2_score(y[test], found, **told),
            "rmse": root_mean_squared_error(y[test], found, **told),
            "mae": mean_absolute_error(y[test], found, **told),
        },
    }
    if alpha is not None:
        answer[name]["alpha"] = getattr(head, alpha)


def classes(name, head, features=x, weights=None):
    train, test = is_train, ~is_train
    head.fit(features[train], label[train], **({} if weights is None else {"sample_weight": weights[train]}))
    found = head.predict_proba(features[test])
    best = head.classes_[found.argmax(axis=1)]
    told = {} if weights is None else {"sample_weight": weights[test]}
    answer[name] = {
        "predictions": {str(i): row.tolist() for i, row in zip(ids[test], found)},
        "metrics": {
            "accuracy": accuracy_score(label[test], best, **told),
            "balanced_accuracy": balanced_accuracy_score(label[test], best, **told),
            "macro_f1": f1_score(label[test], best, average="macro", **told),
            "weighted_f1": f1_score(label[test], best, average="weighted", **told),
        },
    }
    if isinstance(head, LogisticRegression):
        answer[name]["metrics"]["log_loss"] = log_loss(label[test], found, labels=head.classes_, **told)


def logistic(alpha):
    return LogisticRegression(C=1 / alpha, tol=1e-10, max_iter=10_000)


regression("ridge", Ridge(alpha=3.7), alpha="alpha")
regression("ridge_cosine_space", Ridge(alpha=3.7), alpha="alpha")
regression("ridge_standardized", Ridge(alpha=3.7), features=standard(x, is_train))
regression("ridge_weighted", Ridge(alpha=3.7), weights=w)
regression("ridge_path", RidgeCV(alphas=PATH), alpha="alpha_")
regression("ridge_fused", Ridge(alpha=2.0), features=np.column_stack([x, mag]))
regression("ridge_filtered", Ridge(alpha=2.0), among=mag > 17.5)
regression("knn_uniform", KNeighborsRegressor(9))
regression("knn_distance", KNeighborsRegressor(15, weights="distance"), features=standard(x, is_train))
regression("knn_cosine", KNeighborsRegressor(7, weights="distance", metric="cosine"))
classes("knn_class", KNeighborsClassifier(11))
classes("logistic", logistic(1.0))
classes("logistic_standardized", logistic(0.3), features=standard(x, is_train))
classes("logistic_weighted", logistic(0.3), weights=w)

with open(sys.argv[2], "w") as file:
    json.dump(answer, file)
