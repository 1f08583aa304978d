"""Sidereus as one of the engines: the real server, the real commands, and the driver in `driver/`."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np

from measure import disk_bytes, warm
from sizes import CORES, Size, cache, workload_of

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "objects"
START_LIMIT_S = 60
COMMAND_LIMIT_S = 1_800


def environment(threads: int) -> dict:
    """The environment of a process that may use so many threads."""
    from bench import environment as common

    return common(threads)


class Programs:
    """The compiled programs."""

    def __init__(self):
        words = ["cargo", "build", "--release", "--locked", "--bins", "--bench", "rivals", "--message-format", "json"]
        built = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        found = {}
        for line in built.stdout.splitlines():
            message = json.loads(line) if line.startswith("{") else {}
            if message.get("executable"):
                found[message["target"]["name"]] = message["executable"]
        self.sidereus, self.driver_path = found["sidereus"], found["rivals"]

    def run(self, *words, server: str | None = None) -> str:
        """Runs a command of `sidereus` with all cores; returns what it printed."""
        variables = environment(CORES) | ({"SIDEREUS_SERVER": server} if server else {})
        done = subprocess.run(
            [self.sidereus, *map(str, words)],
            env=variables,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=COMMAND_LIMIT_S,
        )
        return done.stdout

    def import_here(self, workload: Path, data: Path) -> float:
        """Imports in process, as the rivals do it; seconds until the program has ended and every row is on the disk."""
        return self.timed_import(workload, "--data", data, "--no-index")

    def import_through(self, workload: Path, server: str) -> float:
        """Imports through a server; seconds until it has acknowledged that every row is on the disk."""
        return self.timed_import(workload, server=server)

    def timed_import(self, workload: Path, *more, server: str | None = None) -> float:
        """Makes the collection of a workload; returns the seconds from the start of the command to its end."""
        vectors = f"vector={workload / 'vectors.npy'}"
        words = ("--create", "--vectors", vectors, "--metric", "cosine", *more)
        warm(workload)
        began = time.perf_counter()
        self.run("import", COLLECTION, workload / "catalogue.parquet", *words, server=server)
        return time.perf_counter() - began

    def drive(self, *words, threads: int = 1) -> list[dict]:
        """Runs the driver; returns its lines."""
        done = subprocess.run(
            [self.driver_path, *map(str, words)],
            env=environment(threads),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=COMMAND_LIMIT_S,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    @contextlib.contextmanager
    def serving(self, data: Path):
        """A server on a free port; yields its address."""
        words = [self.sidereus, "serve", "--data", str(data), "--grpc", "127.0.0.1:0", "--log", "warn"]
        server = subprocess.Popen(words, env=environment(CORES), stdout=subprocess.PIPE, text=True)
        try:
            os.set_blocking(server.stdout.fileno(), True)
            line = server.stdout.readline()
            if not line.startswith("listening on grpc://"):
                raise RuntimeError("the server did not start")
            yield "http://" + line.split("grpc://", 1)[1].split()[0]
        finally:
            server.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(START_LIMIT_S)
            server.kill()
            server.wait()


def build(programs: Programs, workload: Path, data: Path) -> dict:
    """Import in process, as the rivals do it, for its rate alone; then through a real server, and the index."""
    figures = {}
    alone = data.with_name("sidereus-alone")
    shutil.rmtree(alone, ignore_errors=True)
    figures["durable_s"] = programs.import_here(workload, alone)
    shutil.rmtree(alone)
    with programs.serving(data) as server:
        figures["durable_grpc_s"] = programs.import_through(workload, server)
        began = time.perf_counter() - figures["durable_grpc_s"]
        first = int(np.load(workload / "ids.npy", mmap_mode="r")[0])
        programs.run("search", COLLECTION, "--like", first, "-k", 1, "--format", "json", server=server)
        figures["searchable_s"] = time.perf_counter() - began
        before = time.perf_counter()
        programs.run("index", "build", COLLECTION, "--format", "json", server=server)
        figures["build_s"] = time.perf_counter() - before
        figures["indexed_s"] = time.perf_counter() - began
        status = json.loads(programs.run("index", "status", COLLECTION, "--format", "json", server=server))
    figures["durable_note"] = "every acknowledged batch is synced; searchable and indexed are of the import through gRPC"
    figures["status"] = status
    figures["disk_bytes"] = disk_bytes(data)
    return figures


def by_shape(lines: list[dict], judge) -> dict:
    """Figures of every shape, judged like those of the rivals."""
    found = {line["shape"]: line for line in lines if "shape" in line}
    shapes = {}
    for shape in judge.shapes:
        line = dict(found[shape["name"]])
        answers = line.pop("answers")
        line["recall_by_driver"] = line["recall"]
        line["recall"], line["outside_filter"] = judge.recall(shape, answers)
        shapes[shape["name"]] = line
    return shapes


def merged(lines: list[dict], judge) -> dict:
    """The shapes, and beside them what the other lines say."""
    found = {"shapes": by_shape(lines, judge)}
    for line in lines:
        if "shape" not in line:
            found |= line
    return found


def search(
    programs: Programs, workload: Path, data: Path, clients: int, seconds: float, judge, more: tuple = ()
) -> dict:
    """Searches in a fresh process."""
    words = ("search", "--data", data, "--collection", COLLECTION, "--workload", workload)
    lines = programs.drive(*words, "--clients", clients, "--seconds", seconds, "--answers", *more)
    return merged(lines, judge)


def remote(programs: Programs, workload: Path, data: Path, clients: int, seconds: float, judge) -> dict:
    """The same searches through a server."""
    with programs.serving(data) as server:
        words = ("grpc", "--server", server, "--collection", COLLECTION, "--workload", workload)
        lines = programs.drive(*words, "--clients", clients, "--seconds", seconds, "--answers")
    return merged(lines, judge)


def run(size: Size, judge, arguments) -> dict:
    """Builds and measures Sidereus on one size."""
    print("==> sidereus", flush=True)
    began, found = time.monotonic(), {}
    workload, folder = workload_of(size.name), cache() / "indices" / size.name / "sidereus"
    kept = folder.parent / "sidereus-build.json"
    try:
        programs = Programs()
        if arguments.reuse and kept.exists():
            found["build"] = json.loads(kept.read_text())
        else:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            found["build"] = build(programs, workload, folder)
            kept.write_text(json.dumps(found["build"]))
        spaces = found["build"]["status"].get("spaces", [])
        found["build"]["indexed_vectors"] = sum(int(space["vectors"]) for space in spaces)
        kinds = [f"{space['index']}, {space['lists']} lists" for space in spaces]
        found["build"]["note"] = "; ".join(kinds) or "no index"
        for clients in (1, 2):
            found[f"clients_{clients}"] = search(programs, workload, folder, clients, size.measure_s, judge)
        # The same with full vectors read from the disk, codes alone in memory.
        on_disk = ("--resident-mib", 0)
        found["on_disk_1"] = search(programs, workload, folder, 1, size.measure_s, judge, on_disk)
        for clients in (1, 2):
            found[f"grpc_{clients}"] = remote(programs, workload, folder, clients, size.measure_s, judge)
        if arguments.scenarios:
            import scenarios

            found["scenarios"] = scenarios.run(programs, size, folder)
    except (RuntimeError, KeyError, subprocess.SubprocessError) as error:
        found["failed"] = f"{type(error).__name__}: {error}"
        print(f"  sidereus: {found['failed']}", flush=True)
    found["took_s"] = time.monotonic() - began
    print(f"  sidereus: {found['took_s']:.0f} s", flush=True)
    if not arguments.reuse:
        shutil.rmtree(folder, ignore_errors=True)
        kept.unlink(missing_ok=True)
    return found
