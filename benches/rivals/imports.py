"""Imports alone, Sidereus and the fastest importer among its rivals in turns: rates of single imports vary too much.

A plain copy of the same files, synced, takes a turn, too: no engine that keeps every vector as it is given writes less, so that
it tells how much of a rate is the disk's.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from measure import warm
from ours import Programs
from sizes import CORES, Size, cache, workload_of

# The rival whose imports are the fastest by far; which of its indices would follow does not matter.
RIVAL = "lance-rq"
IN_PROCESS, THROUGH_GRPC, LANCE, COPY = "sidereus", "sidereus, gRPC", "lancedb", "plain copy of the files"


def lancedb(size: Size, data: Path) -> float:
    """Seconds from the files to a table whose files are synced; the start of the program is not counted."""
    from bench import run_worker

    return run_worker("import", RIVAL, size.name, data, threads=CORES, limit_s=size.build_s)["durable_s"]


def plain_copy(workload: Path, data: Path) -> float:
    """Seconds of writing the vectors and the catalogue once more, one after the other, and syncing them."""
    warm(workload)
    began = time.perf_counter()
    for name in ("vectors.npy", "catalogue.parquet"):
        with open(workload / name, "rb", buffering=0) as source, open(data / name, "wb", buffering=0) as target:
            while piece := source.read(8 << 20):
                target.write(piece)
            os.fdatasync(target.fileno())
    return time.perf_counter() - began


def run(size: Size, rounds: int) -> dict:
    """Seconds of every import, by engine. The clock of LanceDB leaves out the start of its program; ours does not."""
    programs, workload = Programs(), workload_of(size.name)
    data = cache() / "indices" / size.name / "imports"
    found = {IN_PROCESS: [], THROUGH_GRPC: [], LANCE: [], COPY: []}

    def empty() -> Path:
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)
        # What one import has left to write must not be the next one's burden.
        os.sync()
        return data

    try:
        for number in range(rounds):
            found[IN_PROCESS].append(programs.import_here(workload, empty()))
            with programs.serving(empty()) as server:
                found[THROUGH_GRPC].append(programs.import_through(workload, server))
            found[LANCE].append(lancedb(size, empty()))
            found[COPY].append(plain_copy(workload, empty()))
            told = ", ".join(f"{name} {size.rows / seconds[-1]:,.0f}" for name, seconds in found.items())
            print(f"  imports, round {number + 1} of {rounds}, rows/s to durable: {told}", file=sys.stderr, flush=True)
    except subprocess.SubprocessError as error:
        raise RuntimeError(f"an import failed: {error}") from error
    finally:
        shutil.rmtree(data, ignore_errors=True)
    return found


def rows(found: dict, count: int) -> list[list[str]]:
    """Lines of a table: median, slowest and fastest rate, and the median against the rival's in the same rounds."""
    rival = statistics.median(found[LANCE])
    lines = []
    for name, seconds in found.items():
        median = statistics.median(seconds)
        rates = [f"{count / each:,.0f}" for each in (median, max(seconds), min(seconds))]
        lines.append([name, *rates, f"{rival / median:.2f}x"])
    return lines
