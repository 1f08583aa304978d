"""Writes a catalogue of random objects with vectors: make.py FOLDER ROWS DIMENSION [--list] [--shuffled] [--night N]

FOLDER/cat.parquet has an id, a position and seven more columns; FOLDER/vec.npy has the vectors (`--list` puts them
into the column `emb` of the Parquet file instead). `--shuffled` gives ids in no order. `--night N` gives other objects
with other ids for each N. The same arguments give the same files.
"""

import argparse
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CHUNK_ROWS = 65_536


def columns(random, ids):
    """Columns of the rows `ids`, uniform on the sphere."""
    count = len(ids)
    magnitude = random.normal(20, 1.5, count)
    kinds = np.array(["GALAXY", "STAR", "QSO"])
    return {
        "object_id": ids,
        "ra": random.uniform(0, 360, count),
        "dec": np.degrees(np.arcsin(random.uniform(-1, 1, count))),
        "mag_g": magnitude.astype(np.float32),
        "mag_r": (magnitude - random.normal(0.6, 0.3, count)).astype(np.float32),
        "z": random.gamma(2, 0.2, count),
        "class": kinds[random.integers(0, 3, count)],
        "field": random.integers(0, 5_000, count),
        "is_clean": random.random(count) < 0.9,
        "survey": np.array([f"S{number:03}" for number in range(200)])[random.integers(0, 200, count)],
    }


def main():
    """Reads the words and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("rows", type=int)
    parser.add_argument("dimension", type=int)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--night", type=int, default=0)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([20_26, given.night] if given.night else 20_26)
    ids = given.night * given.rows + np.arange(given.rows, dtype=np.int64)
    if given.shuffled:
        ids = random.permutation(ids)
    centres = random.normal(size=(500, given.dimension)).astype(np.float32)
    vectors = None
    if not given.list:
        shape = (given.rows, given.dimension)
        path = given.folder / "vec.npy"
        vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    writer = None
    for start in range(0, given.rows, CHUNK_ROWS):
        chunk = ids[start : start + CHUNK_ROWS]
        near = centres[random.integers(0, len(centres), len(chunk))]
        block = near + 0.7 * random.standard_normal(near.shape, dtype=np.float32)
        arrays = columns(random, chunk)
        if given.list:
            arrays["emb"] = pa.FixedSizeListArray.from_arrays(block.ravel(), given.dimension)
        else:
            vectors[start : start + len(chunk)] = block
        table = pa.table(arrays)
        if writer is None:
            path = given.folder / "cat.parquet"
            writer = pq.ParquetWriter(path, table.schema, use_dictionary=["class", "survey"])
        writer.write_table(table)
    writer.close()


main()
