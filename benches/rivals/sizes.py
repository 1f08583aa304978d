"""The sizes that can be asked for, and where their files lie."""

import os
from dataclasses import dataclass
from pathlib import Path

K = 10
QUERIES = 200
TARGET_RECALL = 0.99
CORES = 2


@dataclass(frozen=True)
class Size:
    """One data set and what may be spent on it.

    Attributes:
        name: what is typed.
        rows: objects in the database; held-out queries come on top.
        dimension: components of a vector.
        clusters: clusters of the synthetic vectors; 0 for vectors that are not synthetic.
        build_s: most seconds that one rival's import and build may take together.
        tune_s: most seconds that one rival may spend on looking for its best setting of one filter shape.
        measure_s: about how many seconds one shape is measured for; every query is asked at least once.
    """

    name: str
    rows: int
    dimension: int
    clusters: int
    build_s: float
    tune_s: float
    measure_s: float


SIZES = {
    size.name: size
    for size in (
        Size("small", 20_000, 64, 40, build_s=60, tune_s=0.5, measure_s=0.1),
        Size("200k", 200_000, 1024, 120, build_s=480, tune_s=4.0, measure_s=0.7),
        Size("1m", 1_000_000, 256, 300, build_s=720, tune_s=4.0, measure_s=0.7),
        Size("glove", 399_800, 50, 0, build_s=360, tune_s=3.0, measure_s=0.7),
    )
}


def cache() -> Path:
    """Folder of everything that the benchmark makes."""
    home = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    return Path(os.environ.get("SIDEREUS_CACHE", f"{home}/sidereus")) / "rivals"


def workload_of(name: str) -> Path:
    """Folder of a size's workload."""
    return cache() / "data" / name
