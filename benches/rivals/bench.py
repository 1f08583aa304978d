"""Sidereus and its rivals on one machine, in one run: data, truth, tuning, measuring, tables.

Every engine runs in processes of its own: one builds, one looks for the settings that reach the recall, one measures
with one client, two measure side by side. Answers are judged here, outside the measured processes.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import data
import report
from engines import ENGINES, FALLBACKS, OURS
from sizes import CORES, SIZES, Size, cache, workload_of
from truth import Judge

HERE = Path(__file__).resolve().parent
# Slower kernels for old BLAS builds: not for a fair measurement of the rivals.
UNWANTED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NVPL_BLAS_DEBUG_CPU_TYPE")
THREAD_NAMES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "LANCE_CPU_THREADS",
    "TOKIO_WORKER_THREADS",
    "RAYON_NUM_THREADS",
)
PACKAGES = ("qdrant-edge-py", "lancedb", "pylance", "faiss-cpu", "numpy", "pyarrow")


def environment(threads: int) -> dict:
    """The environment of a process that may use so many threads."""
    kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    return kept | {name: str(threads) for name in THREAD_NAMES} | {"LANCE_LOG": "error", "RUST_LOG": "error"}


def command(*words) -> list[str]:
    """The command line of a worker."""
    return [sys.executable, str(HERE / "worker.py"), *map(str, words)]


def last_json(text: str) -> dict:
    """The object on the last line of an output."""
    return json.loads(text.strip().splitlines()[-1])


def run_worker(*words, threads: int, limit_s: float | None = None) -> dict:
    """Runs a worker to its end."""
    done = subprocess.run(
        command(*words), env=environment(threads), stdout=subprocess.PIPE, text=True, timeout=limit_s, check=True
    )
    return last_json(done.stdout)


class Rival:
    """One rival on one workload."""

    def __init__(self, name: str, size: Size, judge: Judge):
        self.name, self.size, self.judge = name, size, judge
        self.folder = cache() / "indices" / size.name / name

    def build(self, options: dict) -> dict:
        """Import and index, within the time; a fallback is tried when there is one."""
        attempts = [options, FALLBACKS[self.name]] if self.name in FALLBACKS and not options else [options]
        for attempt in attempts:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                words = ("build", self.name, self.size.name, self.folder, json.dumps(attempt))
                return run_worker(*words, threads=CORES, limit_s=self.size.build_s)
            print(f"  {self.name}: not built within {self.size.build_s:.0f} s with {attempt or 'defaults'}", flush=True)
        raise TimeoutError(f"not built within {self.size.build_s:.0f} s")

    def measure(self, tuned: dict, clients: int) -> dict:
        """Every shape with so many clients at once, each a process of its own."""
        path = self.folder.parent / f"{self.name}-settings.json"
        path.write_text(json.dumps({name: each["setting"] for name, each in tuned.items()}))
        folders = [self.folder]
        for place in range(1, clients):
            # A shard may be open in one process only.
            copy = self.folder.parent / f"{self.name}-{place}" if self.name == "qdrant" else self.folder
            if copy != self.folder:
                shutil.copytree(self.folder, copy, dirs_exist_ok=True)
            folders.append(copy)
        count = len(self.judge.shapes[0]["filters"])
        started = []
        for place, folder in enumerate(folders):
            words = command("measure", self.name, self.size.name, folder, path, place * count // clients, 1)
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
            started.append(subprocess.Popen(words, env=environment(1), **pipes))
        try:
            found = self.conduct(started)
        finally:
            for each in started:
                each.kill()
            for folder in folders[1:]:
                if folder != self.folder:
                    shutil.rmtree(folder)
        return self.merged(found)

    def conduct(self, started: list) -> list[dict]:
        """Lets the processes begin every shape together; returns what they found."""
        for _ in self.judge.shapes:
            for each in started:
                while (line := each.stdout.readline()).strip() != "ready":
                    if not line:
                        raise RuntimeError("the measuring process ended early")
            for each in started:
                each.stdin.write("\n")
                each.stdin.flush()
        return [last_json(each.stdout.read()) for each in started]

    def merged(self, found: list[dict]) -> dict:
        """Figures of several clients as one; recall is judged from the first one's answers."""
        merged = {key: found[0][key] for key in ("first_answer_s", "empty", "memory")}
        merged["shapes"] = {}
        for shape in self.judge.shapes:
            each = [client["shapes"][shape["name"]] for client in found]
            recall, foreign = self.judge.recall(shape, each[0]["answers"])
            merged["shapes"][shape["name"]] = {
                "qps": sum(client["qps"] for client in each),
                "p50_ms": max(client["p50_ms"] for client in each),
                "p99_ms": max(client["p99_ms"] for client in each),
                "rounds": each[0]["rounds"],
                "recall": recall,
                "outside_filter": foreign,
            }
        return merged


def run_rival(name: str, size: Size, judge: Judge, arguments) -> dict:
    """Builds, tunes and measures one rival; what goes wrong becomes part of the result."""
    rival = Rival(name, size, judge)
    found, began = {}, time.monotonic()
    print(f"==> {name}", flush=True)
    kept = rival.folder.parent / f"{name}-build.json"
    try:
        if arguments.reuse and kept.exists():
            found["build"] = json.loads(kept.read_text())
        else:
            found["build"] = rival.build({})
            kept.write_text(json.dumps(found["build"]))
        found["tuned"] = run_worker("tune", name, size.name, rival.folder, threads=1)
        found["clients_1"] = rival.measure(found["tuned"], 1)
        found["clients_2"] = rival.measure(found["tuned"], 2)
    except (TimeoutError, RuntimeError, subprocess.CalledProcessError) as error:
        found["failed"] = reason(error)
        print(f"  {name}: {error}", flush=True)
    found["took_s"] = time.monotonic() - began
    print(f"  {name}: {found['took_s']:.0f} s", flush=True)
    if not arguments.reuse:
        shutil.rmtree(rival.folder, ignore_errors=True)
        kept.unlink(missing_ok=True)
    return found


def machine() -> dict:
    """What the figures were measured on."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_gib, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load": os.getloadavg()[0],
        "versions": versions,
    }


def revision() -> str:
    """The commit of this checkout, and whether something was changed since."""
    told = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=10"], capture_output=True, text=True
    )
    return told.stdout.strip() or "unknown"


def reason(error: Exception) -> str:
    """Why an engine failed, without the paths of this machine."""
    if isinstance(error, subprocess.CalledProcessError):
        return f"its process ended with status {error.returncode}; the reason is printed above"
    return str(error)


def run_size(name: str, arguments) -> None:
    """The whole comparison on one size."""
    size, began = SIZES[name], time.monotonic()
    data.make(size)
    judge = Judge(workload_of(name))
    results = arguments.results / name
    results.mkdir(parents=True, exist_ok=True)
    path = results / "results.json"
    found = {"engines": {}}
    if arguments.merge and path.exists():
        found = json.loads(path.read_text())
    of_run = {
        "machine": machine(),
        "revision": revision(),
        "command": " ".join(["benches/rivals/run.sh", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
    }
    found["size"] = {"name": name, "rows": size.rows, "dimension": size.dimension}
    if arguments.engines or "revision" not in found:
        found |= of_run
    for engine in arguments.engines:
        if engine == OURS:
            import ours

            found["engines"][engine] = ours.run(size, judge, arguments)
        else:
            found["engines"][engine] = run_rival(engine, size, judge, arguments)
        # Written after each, so that a run that is stopped leaves what it found.
        path.write_text(json.dumps(found, indent=1))
    if arguments.imports:
        import imports

        print("==> imports in turns", flush=True)
        found["imports"] = of_run | {"seconds": imports.run(size, arguments.imports)}
    found["took_s"] = time.monotonic() - began
    path.write_text(json.dumps(found, indent=1))
    report.write(found, judge.shapes, results)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="benches/rivals/run.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="small", choices=[*SIZES, "all"])
    parser.add_argument(
        "--engines",
        default=",".join([OURS, *ENGINES]),
        type=lambda text: [] if text == "none" else text.split(","),
        help=f"which, separated by commas, or `none` [default: all of {OURS}, {', '.join(ENGINES)}]",
    )
    parser.add_argument("--results", type=Path, default=cache() / "results", help="folder of the results")
    parser.add_argument("--scenarios", action="store_true", help="also churn, searches during a build, growth (ours)")
    parser.add_argument(
        "--imports", type=int, default=0, metavar="ROUNDS", help="also imports alone, with the fastest rival in turns"
    )
    parser.add_argument("--merge", action="store_true", help="keep the results of engines that are not run again")
    parser.add_argument("--reuse", action="store_true", help="keep what was built, and use it again")
    parser.add_argument("--report", action="store_true", help="only print the tables of the results that are there")
    arguments = parser.parse_args()
    unknown = set(arguments.engines) - {OURS, *ENGINES}
    if unknown:
        parser.error(f"no such engine: {', '.join(sorted(unknown))}")
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:CORES]))
    for name in ("200k", "1m", "glove") if arguments.size == "all" else (arguments.size,):
        if arguments.report:
            found = json.loads((arguments.results / name / "results.json").read_text())
            report.write(found, json.loads((workload_of(name) / "shapes.json").read_text()), arguments.results / name)
        else:
            run_size(name, arguments)


if __name__ == "__main__":
    main()
