"""How fast vectors come out: Arrow Flight beside messages of gRPC, in one run on one server.

    SIDEREUS_BIN=.../sidereus PYTHONPATH=python/src python benches/hosting/flight.py [--rows 1000000] [--dimension 256]

Every way ends with NumPy arrays in the client's memory. MB/s count the bytes of the vectors alone (10^6 bytes), so that
what a way adds around them counts against it. Ways of messages read a part of the objects, since they are slow.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

import sidereus

Way = Callable[[sidereus.Collection, int], int]

#: Objects that one message of ids may name, so that its answer stays below 16 MiB.
PAGE = 8_000

#: Hits of one search, at most.
HITS = 10_000


def start(folder: str) -> tuple[subprocess.Popen[str], str]:
    words = [os.environ["SIDEREUS_BIN"], "serve", "--data", folder, "--grpc", "127.0.0.1:0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"grpc://(127\.0\.0\.1:\d+)", line)
        if found:
            return process, f"http://{found.group(1)}"
    raise SystemExit("the server does not start")


def fill(client: sidereus.Client, name: str, metric: str, rows: int, dimension: int) -> float:
    """Make a collection, and tell how many MB/s of vectors went in."""
    made = client.create_collection(name, spaces=[sidereus.Space("v", dimension, metric=metric)])
    random = np.random.default_rng(5)
    # Like those of encoders: most of what differs lies along a few directions.
    directions = random.normal(size=(32, dimension)).astype(np.float32)
    seconds, step = 0.0, 100_000
    for first in range(0, rows, step):
        count = min(step, rows - first)
        table = {
            "object_id": np.arange(first, first + count),
            "ra": random.uniform(0, 360, count),
            "dec": np.degrees(np.arcsin(random.uniform(-1, 1, count))),
        }
        along, noise = random.normal(size=(count, 32)), random.normal(size=(count, dimension))
        vectors = along.astype(np.float32) @ directions + 0.1 * noise.astype(np.float32)
        begun = time.perf_counter()
        made.ingest(table, vectors={"v": vectors}, bulk=True)
        seconds += time.perf_counter() - begun
        print(f"{name}: {first + count:,} of {rows:,} objects", file=sys.stderr, flush=True)
    begun = time.perf_counter()
    made.build_index()
    print(f"{name}: index built in {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    return rows * dimension * 4 / 1e6 / seconds


def flight(sky: sidereus.Collection, streams: int) -> int:
    _, vectors = sky.vectors("v", streams=streams)
    return len(vectors)


def by_id(sky: sidereus.Collection, wanted: int) -> int:
    count = 0
    for first in range(0, wanted, PAGE):
        count += len(sky.get(range(first, min(first + PAGE, wanted)), with_vectors=True).vectors("v"))
    return count


def by_search(sky: sidereus.Collection, wanted: int) -> int:
    count = 0
    while count < wanted:
        found = sky.search(where=f"object_id >= {count}", k=min(HITS, wanted - count), with_vectors=True)
        count += len(found.vectors("v"))
    return count


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--part", type=int, default=100_000, help="objects that ways of messages read")
    given = parser.parse_args()
    lines: list[tuple[str, str, int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        process, url = start(folder)
        try:
            with sidereus.connect(url, timeout=600) as client:
                for metric in ("l2", "cosine"):
                    rate = fill(client, metric, metric, given.rows, given.dimension)
                    lines.append((metric, "Flight in (DoPut, bulk)", given.rows, rate))
                    sky = client[metric]
                    ways: list[tuple[str, Way, int]] = [
                        ("Flight out, 1 stream", flight, 1),
                        ("Flight out, 2 streams", flight, 2),
                        ("gRPC GetObjects", by_id, given.part),
                        ("gRPC Search", by_search, given.part),
                    ]
                    # The first who reads brings the files into memory.
                    flight(sky, 1)
                    for name, way, much in ways:
                        begun = time.perf_counter()
                        count = way(sky, much)
                        seconds = time.perf_counter() - begun
                        lines.append((metric, name, count, count * given.dimension * 4 / 1e6 / seconds))
                        print(f"{metric}: {name}, {seconds:.1f} s", file=sys.stderr, flush=True)
        finally:
            process.terminate()
            process.wait()
    print(f"{given.rows:,} objects x {given.dimension}, {os.cpu_count()} processors, {platform.machine()}\n")
    print("| space | way | objects | MB/s |\n|---|---|---|---|")
    for metric, name, count, rate in lines:
        print(f"| {metric} | {name} | {count:,} | {rate:,.0f} |")


if __name__ == "__main__":
    main()
