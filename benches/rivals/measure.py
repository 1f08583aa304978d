"""Clocks, memory and disk: the same yardsticks for every engine."""

import os
import time
from pathlib import Path

import numpy as np

MEMORY_FIELDS = {"VmRSS:": "rss", "RssAnon:": "rss_anon", "RssFile:": "rss_file"}
ROUNDS_MAX = 9
# A round is broken off after so many requests when it takes so many times as long as it should.
REQUESTS_MIN, SLOW_TIMES = 50, 4.0


def memory() -> dict:
    """Resident memory of this process in bytes: all, its own, of files, and its proportional share."""
    found = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        words = line.split()
        if words and words[0] in MEMORY_FIELDS:
            found[MEMORY_FIELDS[words[0]]] = int(words[1]) * 1024
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            found["pss"] = int(line.split()[1]) * 1024
    return found


def disk_bytes(folder: Path) -> int:
    """Blocks that a folder takes on disk, in bytes."""
    seen, total = set(), 0
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * 512
    return total


def sync_folder(folder: Path) -> float:
    """Syncs every file of a folder; returns the seconds that it took."""
    began = time.perf_counter()
    for path in [folder, *folder.rglob("*")]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    return time.perf_counter() - began


def warm(folder: Path) -> None:
    """Reads the files of a workload that an import begins with, so that none waits for the disk to give them."""
    for name in ("catalogue.parquet", "vectors.npy"):
        with open(folder / name, "rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


class Stopwatch:
    """Seconds since the last lap."""

    def __init__(self):
        self.began = self.last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the lap before."""
        now = time.perf_counter()
        took, self.last = now - self.last, now
        return took


def timed_rounds(ask, requests: list, seconds: float, offset: int = 0):
    """Asks all requests in rounds for about so many seconds.

    A first round that takes many times as long is broken off after some of the requests.

    Returns:
        answers of the first round by place (None where nothing was asked), seconds of each request of every round,
        requests per second of each round.
    """
    order = [*range(offset, len(requests)), *range(offset)]
    answers, latencies, rates = [None] * len(requests), [], []
    began = time.perf_counter()
    while not rates or (len(rates) < ROUNDS_MAX and time.perf_counter() - began < seconds):
        start, done = time.perf_counter(), 0
        for place in order:
            before = time.perf_counter()
            answer = ask(requests[place])
            after = time.perf_counter()
            latencies.append(after - before)
            done += 1
            if not rates:
                answers[place] = answer
            if done >= REQUESTS_MIN and after - began > SLOW_TIMES * seconds:
                break
        rates.append(done / (time.perf_counter() - start))
    return answers, latencies, rates


def summary(latencies: list, rates: list) -> dict:
    """Queries per second (median of the rounds) and latencies in milliseconds."""
    milliseconds = np.array(latencies) * 1e3
    return {
        "qps": float(np.median(rates)),
        "p50_ms": float(np.percentile(milliseconds, 50)),
        "p99_ms": float(np.percentile(milliseconds, 99)),
        "rounds": len(rates),
    }
