"""Exact answers, and what an engine's answer is worth against them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shapes import Rows
from sizes import K

# Two distances that differ by less are the same: single precision cannot tell them apart.
TIE = 1e-6
# Candidates of the single-precision pass whose distances are computed again in double precision.
CANDIDATES = 4 * K
QUERY_BLOCK = 25


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_truth(folder: Path, table: pa.Table, shapes: list[dict]) -> None:
    """Computes and writes the ten nearest survivors of every query of every shape."""
    rows, ids = Rows(table), table["object_id"].to_numpy()
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    lengths = np.concatenate([np.linalg.norm(block, axis=1) for block in np.array_split(vectors, 64)])
    for name in sorted({shape["queries"] for shape in shapes}):
        queries = normalised(np.load(folder / name))
        asked = [shape for shape in shapes if shape["queries"] == name]
        found = {shape["slug"]: ([], []) for shape in asked}
        survivors = {shape["slug"]: [] for shape in asked}
        for start in range(0, len(queries), QUERY_BLOCK):
            block = queries[start : start + QUERY_BLOCK]
            scores = np.concatenate([block @ part.T for part in np.array_split(vectors, 64)], axis=1) / lengths
            for shape in asked:
                for offset, query in enumerate(block):
                    passing = np.flatnonzero(rows.passing(shape["filters"][start + offset]))
                    survivors[shape["slug"]].append(len(passing))
                    nearest = nearest_of(query, scores[offset], passing, vectors)
                    for store, values in zip(found[shape["slug"]], nearest):
                        store.append(values)
        for shape in asked:
            places, distances = (np.array(each) for each in found[shape["slug"]])
            shape["survivors"] = survivors[shape["slug"]]
            np.save(folder / f"truth-{shape['slug']}-ids.npy", np.where(places < 0, -1, ids[places]))
            np.save(folder / f"truth-{shape['slug']}-distances.npy", distances)
    (folder / "shapes.json").write_text(json.dumps(shapes))


def nearest_of(query: np.ndarray, scores: np.ndarray, passing: np.ndarray, vectors: np.ndarray):
    """Rows and cosine distances (double precision) of the ten nearest among the passing rows."""
    kept = scores[passing]
    if len(kept) > CANDIDATES:
        passing = passing[np.argpartition(-kept, CANDIDATES)[:CANDIDATES]]
    exact = 1.0 - normalised(vectors[passing].astype(np.float64)) @ query.astype(np.float64)
    order = np.lexsort((passing, exact))[:K]
    places, distances = np.full(K, -1), np.full(K, np.inf)
    places[: len(order)], distances[: len(order)] = passing[order], exact[order]
    return places, distances


class Judge:
    """Compares answers with the truth of a workload."""

    def __init__(self, folder: Path):
        table = pq.read_table(folder / "catalogue.parquet")
        self.folder, self.rows = folder, Rows(table)
        self.ids = table["object_id"].to_numpy()
        self.shapes = json.loads((folder / "shapes.json").read_text())
        self.vectors = np.load(folder / "vectors.npy", mmap_mode="r")

    def queries(self, shape: dict) -> np.ndarray:
        """The query vectors of a shape (n x dimension)."""
        return np.load(self.folder / shape["queries"])

    def recall(self, shape: dict, answers: list) -> tuple[float, int]:
        """Mean recall@10 of answers and how many hits break the filter.

        Answers are the object ids of each query, from the first query; None where it was not asked.

        A hit that is as near as the last true one counts; one that the filter excludes does not.
        """
        true_ids = np.load(self.folder / f"truth-{shape['slug']}-ids.npy")
        true_distances = np.load(self.folder / f"truth-{shape['slug']}-distances.npy")
        queries = normalised(self.queries(shape).astype(np.float64))
        shares, foreign = [], 0
        for place, given in enumerate(answers):
            if given is None:
                continue
            wanted = {int(each) for each in true_ids[place] if each >= 0}
            given = {int(each) for each in given if each >= 0}
            hits = len(given & wanted)
            others = np.searchsorted(self.ids, sorted(given - wanted))
            if len(others):
                passes = self.rows.passing(shape["filters"][place], others)
                foreign += int((~passes).sum())
                near = normalised(self.vectors[others].astype(np.float64)) @ queries[place]
                last = true_distances[place][len(wanted) - 1] if wanted else -np.inf
                hits += int((passes & (1.0 - near <= last + TIE)).sum())
            shares.append(min(hits, len(wanted)) / len(wanted) if wanted else 1.0)
        return float(np.mean(shares)), foreign
