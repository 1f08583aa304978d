"""Makes correlated vectors and a target that depends on them: python data.py ROWS WIDTH FOLDER"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

rows, width, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
draw = np.random.default_rng(0)
mixing = draw.standard_normal((width, width)).astype(np.float32) * np.linspace(1, 0.05, width, dtype=np.float32)
truth = draw.standard_normal(width).astype(np.float32) / np.sqrt(width)
vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (rows, width))
target = np.empty(rows)
for first in range(0, rows, 20_000):
    block = draw.standard_normal((min(20_000, rows - first), width)).astype(np.float32) @ mixing.T
    vectors[first : first + len(block)] = block
    target[first : first + len(block)] = block @ truth + draw.standard_normal(len(block)) * 10
vectors.flush()
table = pa.table({
    "object_id": np.arange(rows),
    "ra": draw.uniform(0, 360, rows),
    "dec": np.degrees(np.arcsin(draw.uniform(-1, 1, rows))),
    "y": target,
    "side": np.where(draw.uniform(size=rows) < 0.1, "test", "train"),
})
parquet.write_table(table, folder / "table.parquet")
