"""What happens to Sidereus when its data change or grow: churn, searches during a build, ten times the objects."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import ours
from shapes import middle_gap, separations, unit
from sizes import QUERIES, Size, workload_of
from truth import write_truth

CHURN_SHAPES = "none,cone 1%,z range 10%"
BUILD_SHAPES = "none,cone 1%"
# The part of the sky that is there before it grows.
HEART = (150.1, 8.0)
FIXED_CONE_OBJECTS = 1_000


def with_copy(data: Path, use):
    """Calls a function with a copy of a database that it may change."""
    copy = data.parent / f"{data.name}-changed"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(data, copy)
    try:
        return use(copy)
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def make_growth(size: Size) -> tuple[Path, Path]:
    """Two workloads: a tenth of the objects, all around one place, and all of them; the same cones in both."""
    whole = workload_of(size.name)
    tenth, grown = whole.parent / f"{size.name}-tenth", whole.parent / f"{size.name}-grown"
    stamp = (whole / "complete.json").read_text()
    done = grown / "complete.json"
    if done.exists() and done.read_text() == stamp:
        return tenth, grown
    table = pq.read_table(whole / "catalogue.parquet")
    units = unit(table["ra"].to_numpy(), table["dec"].to_numpy())
    apart = separations(units, unit(*HEART))
    edge = middle_gap(apart, table.num_rows // 10)
    rows = np.flatnonzero(apart < edge)
    shapes = [
        {"name": "all sky", "slug": "all-sky", "queries": "queries.npy", "filters": [{}] * QUERIES},
        {
            "name": "fixed cone",
            "slug": "fixed-cone",
            "queries": "queries.npy",
            "filters": cones(table, units, apart, edge),
        },
    ]
    for folder, kept in ((tenth, rows), (grown, None)):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        part = table if kept is None else table.take(kept)
        vectors = np.load(whole / "vectors.npy", mmap_mode="r")
        if kept is None:
            (folder / "vectors.npy").symlink_to(whole / "vectors.npy")
        else:
            np.save(folder / "vectors.npy", vectors[kept])
        shutil.copy(whole / "queries.npy", folder / "queries.npy")
        pq.write_table(part, folder / "catalogue.parquet", compression="zstd")
        np.save(folder / "ids.npy", part["object_id"].to_numpy())
        write_truth(folder, part, [dict(shape) for shape in shapes])
    done.write_text(stamp)
    return tenth, grown


def cones(table, units: np.ndarray, apart: np.ndarray, edge: float) -> list[dict]:
    """Cones of about a thousand objects that lie wholly within the part that is there from the start."""
    random, found = np.random.default_rng(7), []
    inside = np.flatnonzero(apart < edge)
    wanted = min(FIXED_CONE_OBJECTS, len(inside) // 20)
    while len(found) < QUERIES:
        centre = int(random.choice(inside))
        radius = middle_gap(separations(units, units[centre]), wanted)
        if apart[centre] + radius < edge:
            found.append({"cone": [table["ra"][centre].as_py(), table["dec"][centre].as_py(), radius]})
    return found


def growth(programs, size: Size, data: Path) -> dict:
    """Latencies of the same questions on a tenth of the objects and on all."""
    tenth, grown = make_growth(size)
    small = data.parent / "sidereus-tenth"
    shutil.rmtree(small, ignore_errors=True)
    small.mkdir(parents=True)
    try:
        ours.build(programs, tenth, small)
        found = {}
        for name, folder, workload in (("tenth", small, tenth), ("all", data, grown)):
            words = ("search", "--data", folder, "--collection", ours.COLLECTION, "--workload", workload)
            lines = programs.drive(*words, "--seconds", size.measure_s)
            found[name] = {line["shape"]: line for line in lines if "shape" in line}
            found[name]["first_answer_s"] = next(line["first_answer_s"] for line in lines if "first_answer_s" in line)
    finally:
        shutil.rmtree(small, ignore_errors=True)
    return found


def run(programs, size: Size, data: Path) -> dict:
    """All scenarios, each on a database of its own."""
    workload = workload_of(size.name)
    common = ("--collection", ours.COLLECTION, "--workload", workload, "--seconds", size.measure_s)

    def drive(command: str, shapes: str):
        words = (*common, "--shapes", shapes)
        return with_copy(data, lambda copy: programs.drive(command, "--data", copy, *words, threads=2))

    return {
        "churn": drive("churn", CHURN_SHAPES),
        "during_build": drive("build-p99", BUILD_SHAPES),
        "growth": growth(programs, size, data),
    }


def rows(found: dict) -> list[list[str]]:
    """What the scenarios said, for a table: what, shape, figures."""
    lines = []
    for line in found["churn"]:
        if "shape" in line:
            lines.append(
                [f"churn, {line['when']}", line["shape"], f"recall {line['recall']:.4f}, {line['qps']:,.0f}/s"]
            )
    for line in found["during_build"]:
        quiet, busy = line["quiet_p99_ms"], line["during_build_p99_ms"]
        lines.append(["p99 during a build", line["shape"], f"{busy:.3g} ms, quiet {quiet:.3g} ms"])
    few, many = found["growth"]["tenth"], found["growth"]["all"]
    for name in ("all sky", "fixed cone"):
        ratio = many[name]["p50_ms"] / few[name]["p50_ms"]
        lines.append(
            ["10x the objects, p50", name, f"{few[name]['p50_ms']:.3g} -> {many[name]['p50_ms']:.3g} ms ({ratio:.2f}x)"]
        )
    lines.append(["10x the objects", "start", f"{few['first_answer_s']:.3f} -> {many['first_answer_s']:.3f} s"])
    return lines
