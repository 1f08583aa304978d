"""Imports alone, Sidereus and the fastest importer among its rivals in turns: rates of single imports vary too much."""

import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from ours import Programs
from sizes import CORES, Size, cache, workload_of

# The rival whose imports are the fastest by far; which of its indices would follow does not matter.
RIVAL = "lance-rq"
IN_PROCESS, THROUGH_GRPC, LANCE = "sidereus", "sidereus, gRPC", "lancedb"


def lancedb(size: Size, data: Path) -> float:
    """Seconds from the files to a table whose files are synced; the start of the program is not counted."""
    from bench import run_worker

    return run_worker("import", RIVAL, size.name, data, threads=CORES, limit_s=size.build_s)["durable_s"]


def run(size: Size, rounds: int) -> dict:
    """Seconds of every import, by engine. The clock of LanceDB leaves out the start of its program; ours does not."""
    programs, workload = Programs(), workload_of(size.name)
    data = cache() / "indices" / size.name / "imports"
    found = {IN_PROCESS: [], THROUGH_GRPC: [], LANCE: []}

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
