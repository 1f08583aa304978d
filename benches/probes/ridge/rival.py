"""The same path by scikit-learn: python rival.py FOLDER ALPHAS full|fold"""

import resource
import sys
import time
from pathlib import Path

import numpy as np
from pyarrow import parquet
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

folder, alphas, mode = Path(sys.argv[1]), [float(a) for a in sys.argv[2].split(",")], sys.argv[3]
start = time.time()
table = parquet.read_table(folder / "table.parquet")
vectors = np.load(folder / "vectors.npy")
target, train = table["y"].to_numpy(), table["side"].to_numpy() == "train"
x, y = vectors[train], target[train].astype(np.float32)
test_x, test_y = vectors[~train], target[~train]
del vectors
loaded = time.time() - start
start = time.time()
scores = np.zeros((5, len(alphas)))
for fold, (inside, outside) in enumerate(KFold(5, shuffle=True, random_state=0).split(x)):
    some_x, some_y, held_x, held_y = x[inside], y[inside], x[outside], y[outside]
    for place, alpha in enumerate(alphas):
        scores[fold, place] = r2_score(held_y, Ridge(alpha).fit(some_x, some_y).predict(held_x))
    if mode == "fold":
        break
folds = time.time() - start
start = time.time()
best = alphas[int(scores.mean(axis=0).argmax())]
final = Ridge(best).fit(x, y)
r2 = r2_score(test_y, final.predict(test_x))
last = time.time() - start
total = loaded + folds * (5 if mode == "fold" else 1) + last
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
how = "one fold measured, five counted" if mode == "fold" else "all folds measured"
print(f"scikit-learn, single precision: {total:.1f} s ({loaded:.1f} s loading; {how}), alpha {best:.4g}, test R2 {r2:.6f}, peak {peak:.0f} MiB")
