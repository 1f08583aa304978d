"""One engine in a process of its own: builds it, tunes it, or measures it. `bench.py` starts these.

    worker.py build   ENGINE SIZE FOLDER [OPTIONS]
    worker.py import  ENGINE SIZE FOLDER
    worker.py tune    ENGINE SIZE FOLDER
    worker.py measure ENGINE SIZE FOLDER SETTINGS.json OFFSET CLIENTS

The last line of the output is a JSON object. A measuring process waits for a line on its input before it begins, so
that several begin together.
"""

import importlib
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from engines import ENGINES
from measure import disk_bytes, memory, summary, timed_rounds, warm
from sizes import SIZES, TARGET_RECALL, workload_of

TUNING_QUERIES = 50
TUNING_QUERIES_MIN = 20
SLOW_S = 0.7


def engine_of(name: str, size, **more):
    """An engine that is neither built nor open."""
    chosen = ENGINES[name]
    options = dict(chosen.options) | {"dimension": size.dimension} | more
    return importlib.import_module(chosen.module).Engine(options)


def load(name: str, size, folder: Path) -> dict:
    """Imports alone."""
    figures = {}
    warm(workload_of(size.name))
    engine_of(name, size).load(workload_of(size.name), folder, figures, lambda done: None)
    return figures


def build(name: str, size, folder: Path, more: dict) -> dict:
    """Imports and indexes; says how far it is, since it may be stopped."""
    figures = {}

    def say(done: int) -> None:
        if done % 100_000 == 0:
            print(f"  {name}: {done:,} rows", file=sys.stderr, flush=True)

    warm(workload_of(size.name))
    engine_of(name, size, **more).build(workload_of(size.name), folder, figures, say)
    figures["indexed_s"] = figures["searchable_s"] + figures["build_s"]
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures["processor_s"] = used.ru_utime + used.ru_stime
    figures["disk_bytes"] = disk_bytes(folder)
    return figures


class Tuner:
    """Looks for the fastest setting that reaches the recall."""

    def __init__(self, engine, judge, size):
        self.engine, self.judge, self.size = engine, judge, size
        self.tried, self.deadline = [], 0.0

    def try_out(self, shape: dict, setting: dict, count: int) -> dict:
        """recall@10 and queries per second of a setting on the first queries; slow settings are asked fewer."""
        queries = self.judge.queries(shape)[:count]
        requests = [self.engine.request(*pair, setting) for pair in zip(queries, shape["filters"])]
        self.engine.ask(requests[-1])
        began, answers = time.perf_counter(), []
        for request in requests:
            answers.append(self.engine.ask(request))
            is_slow = count <= TUNING_QUERIES and time.perf_counter() - began > SLOW_S
            if is_slow and len(answers) >= TUNING_QUERIES_MIN:
                break
        qps = len(answers) / (time.perf_counter() - began)
        found = {"setting": setting, "recall": self.judge.recall(shape, answers)[0], "qps": qps}
        self.tried.append(found)
        return found

    def climb(self, shape: dict, ladder: list) -> None:
        """Finds the lowest rung that reaches the recall, by halving; then makes sure of it with every query."""
        low, high = 0, len(ladder)
        while low < high and time.perf_counter() < self.deadline:
            middle = (low + high) // 2
            if self.try_out(shape, ladder[middle], TUNING_QUERIES)["recall"] >= TARGET_RECALL:
                high = middle
            else:
                low = middle + 1
        place = high
        while place < len(ladder) and time.perf_counter() < self.deadline:
            if self.try_out(shape, ladder[place], len(shape["filters"]))["recall"] >= TARGET_RECALL:
                break
            place += 1

    def tune(self, shape: dict) -> dict:
        """The setting to measure, and every one that was tried."""
        self.tried, began = [], time.perf_counter()
        self.deadline = began + self.size.tune_s
        filters = shape["filters"]
        routes = self.engine.routes(filters[0])
        if len(routes) > 1:
            speeds = [self.try_out(shape, route, TUNING_QUERIES)["qps"] for route in routes]
            routes = [routes[int(np.argmax(speeds))]]
        for ladder in self.engine.ladders(filters[0], routes[0]):
            self.climb(shape, ladder)
        is_cut = time.perf_counter() > self.deadline
        # The last trial of a setting had the most queries.
        tried = {json.dumps(each["setting"]): each for each in self.tried}.values()
        good = [each for each in tried if each["recall"] >= TARGET_RECALL]
        if good:
            chosen = max(good, key=lambda each: each["qps"])
        else:
            chosen = max(tried, key=lambda each: (each["recall"], each["qps"]))
        return {**chosen, "tried": self.tried, "is_cut": is_cut}


def tune(name: str, size, folder: Path) -> dict:
    """The best setting of every shape."""
    from truth import Judge

    engine, judge = engine_of(name, size), Judge(workload_of(size.name))
    engine.open(folder, 1)
    tuner = Tuner(engine, judge, size)
    found = {}
    for shape in judge.shapes:
        found[shape["name"]] = tuner.tune(shape)
        chosen = found[shape["name"]]
        print(
            f"  {name:12} {shape['name']:20} recall {chosen['recall']:.4f} {chosen['qps']:9.1f}/s {chosen['setting']}",
            file=sys.stderr,
            flush=True,
        )
    return found


def measure(name: str, size, folder: Path, settings: dict, offset: int, clients: int) -> dict:
    """Latencies and answers of every shape, memory, and the time to the first answer."""
    workload = workload_of(size.name)
    shapes = json.loads((workload / "shapes.json").read_text())
    arrays = {file: np.load(workload / file) for file in ("queries.npy", "queries_cross.npy")}
    engine = engine_of(name, size)
    empty = memory()
    began = time.perf_counter()
    engine.open(folder, clients)
    first = engine.request(arrays["queries.npy"][0], {}, settings[shapes[0]["name"]])
    engine.ask(first)
    figures = {"first_answer_s": time.perf_counter() - began, "empty": empty, "shapes": {}}
    for shape in shapes:
        setting = settings[shape["name"]]
        pairs = zip(arrays[shape["queries"]], shape["filters"])
        requests = [engine.request(query, wanted, setting) for query, wanted in pairs]
        for request in requests[:20]:
            engine.ask(request)
        print("ready", flush=True)
        sys.stdin.readline()
        answers, latencies, rates = timed_rounds(engine.ask, requests, size.measure_s, offset)
        figures["shapes"][shape["name"]] = {**summary(latencies, rates), "answers": answers}
    figures["memory"] = memory()
    return figures


def main() -> None:
    """Does what the command line says."""
    what, name, size, folder, *rest = sys.argv[1:]
    size, folder = SIZES[size], Path(folder)
    if what == "build":
        found = build(name, size, folder, json.loads(rest[0]) if rest else {})
    elif what == "import":
        found = load(name, size, folder)
    elif what == "tune":
        found = tune(name, size, folder)
    else:
        settings = json.loads(Path(rest[0]).read_text())
        found = measure(name, size, folder, settings, int(rest[1]), int(rest[2]))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
