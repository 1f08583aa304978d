"""Throughput of the encoder program beside plain PyTorch: the same networks, weights, inputs and threads.

Both sides must reproduce the same outputs before anything is timed. A visit is a process of its own with a few
rounds; visits of the two sides alternate, and the median of all rounds counts.
"""

import argparse
import datetime
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ["SIDEREUS_CACHE"])
FOLDERS = CACHE / "encoders/models"
REGISTERED = Path(os.environ["SIDEREUS_MODELS"])
THREAD_NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Contest:
    """A model, the batches it is measured with, and what it is in words."""

    name: str
    batches: tuple[int, ...]
    # The same on a GPU.
    gpu_batches: tuple[int, ...]
    words: str
    is_registered: bool = False
    is_convolutional: bool = False
    # Networks inside it that are compared on their own.
    parts: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its weights are."""
        return (REGISTERED if self.is_registered else FOLDERS) / self.name


@dataclass
class Line:
    """One line of the table: objects per second of every round."""

    contest: Contest
    batch: int
    torch: dict[str, list[float]] = field(default_factory=dict)
    sidereus: list[float] = field(default_factory=list)

    def best_torch(self) -> tuple[str, float]:
        """The faster memory layout of PyTorch, and its median."""
        medians = {layout: statistics.median(speeds) for layout, speeds in self.torch.items()}
        return max(medians.items(), key=lambda pair: pair[1])


CONTESTS = (
    Contest("vit-s", (16, 32), (256,), "AstroDINO's network, 384 wide, 12 blocks"),
    Contest("vit-l", (4, 8), (128,), "AstroCLIP image tower"),
    Contest("specformer", (8, 16), (64,), "AstroCLIP spectrum tower"),
    Contest("stein", (16, 32), (256,), "Stein et al., ResNet-50", is_convolutional=True),
    Contest("aion-b", (4, 8), (64,), "AION-1 B, image codec and 576 tokens", parts=("aion-image-codec",)),
    Contest("efficientnet-lite0", (16, 32), (256,), "EfficientNet-Lite0", is_registered=True, is_convolutional=True),
    Contest("photometry-mm", (32, 256), (1024,), "photometry-mm", is_registered=True),
)


def environment(threads: int) -> dict[str, str]:
    """The environment of a process that may use so many threads."""
    return os.environ | {name: str(threads) for name in THREAD_NAMES} | {"RUST_LOG": "error"}


def run(words: list[Any], threads: int) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run([str(word) for word in words], env=environment(threads), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(map(str, words))} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def torch_side(action: str, folder: Path, *words: Any, threads: int) -> str:
    """Runs the PyTorch side."""
    return run([sys.executable, HERE / "torch_side.py", action, folder, *words], threads)


def speeds(printed: str, batch: int) -> list[float]:
    """Objects per second from the last line of either side."""
    told = json.loads(printed.strip().splitlines()[-1])
    if told["batch"] != batch:
        sys.exit(f"error: asked for batches of {batch}, measured were {told['batch']}")
    return told["objects_per_s"]


def recipe() -> str:
    """Digest of what the models are made from."""
    sources = [HERE / "make_models.py", HERE / "networks.py", HERE.parents[1] / "deploy/models/convert/layouts.py"]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]


def prepare(contest: Contest, arguments: argparse.Namespace) -> None:
    """Makes a model where it is not there yet, and has both sides reproduce its outputs."""
    threads = arguments.threads
    if contest.is_registered:
        torch_side("check", contest.folder, threads=threads)
        run([arguments.encoder, "check", contest.folder, "--device", arguments.device], threads)
        return
    for name in (*contest.parts, contest.name):
        folder = FOLDERS / name
        stamp = folder / f".complete-{recipe()}"
        if not stamp.exists():
            run([sys.executable, HERE / "make_models.py", FOLDERS, name], threads)
            torch_side("goldens", folder, threads=threads)
            stamp.touch()
        torch_side("check", folder, threads=threads)
        # A folder without model.toml is compared with its golden outputs.
        (folder / "model.toml").unlink(missing_ok=True)
        for precision in dict.fromkeys(["f32", arguments.precision]):
            computing = ["--device", arguments.device, "--precision", precision]
            run([arguments.encoder, "check", folder, *computing], threads)
    run([arguments.encoder.with_name("sidereus"), "encoder", "register", contest.folder], threads)


def measure(line: Line, arguments: argparse.Namespace) -> None:
    """All visits of both sides, in turns."""
    folder, threads, batch = line.contest.folder, arguments.threads, line.batch
    common = ["--batch", batch, "--threads", threads, "--device", arguments.device, "--precision", arguments.precision]
    pilot = statistics.median(speeds(torch_side("time", folder, *common, threads=threads), batch))
    common += ["--rounds", arguments.rounds, "--batches", max(1, round(arguments.seconds * pilot / batch))]
    layouts = {"": []} | ({"channels last": ["--channels-last"]} if line.contest.is_convolutional else {})

    def visit_torch() -> None:
        for layout, words in layouts.items():
            printed = torch_side("time", folder, *common, *words, threads=threads)
            line.torch.setdefault(layout, []).extend(speeds(printed, batch))

    def visit_sidereus() -> None:
        line.sidereus += speeds(run([arguments.encoder, "bench", folder, *common, "--json"], threads), batch)

    for number in range(arguments.visits):
        first, second = (visit_torch, visit_sidereus) if number % 2 == 0 else (visit_sidereus, visit_torch)
        first()
        second()


def machine(device: str) -> str:
    """What the figures were measured on, in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    commit = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=10"], capture_output=True, text=True
    )
    if device != "cpu":
        import torch

        model = f"{torch.cuda.get_device_name()}, {model}"
    cores, today = len(os.sched_getaffinity(0)), datetime.datetime.now(tz=datetime.UTC).date()
    began = f"torch {version('torch')}, load {os.getloadavg()[0]:.1f} at the start"
    return f"{model}, {cores} cores, {today}, {commit.stdout.strip()}; {began}"


def number(value: float) -> str:
    """Three digits, and all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(found: list[float]) -> str:
    """Median and the extremes of some rounds."""
    return f"{number(statistics.median(found))} ({number(min(found))} to {number(max(found))})"


def table(lines: list[Line], head: str, arguments: argparse.Namespace) -> str:
    """Everything as Markdown."""
    rounds = f"median (least to most) of {arguments.visits} x {arguments.rounds} rounds in turns"
    rows = [
        f"Objects per second on {arguments.device} in {arguments.precision}, {arguments.threads} threads, {rounds}; {head}",
        "",
        "| model | | batch | PyTorch | Sidereus | Sidereus / PyTorch |",
        "| :-- | :-- | --: | --: | --: | --: |",
    ]
    for line in lines:
        layout, median = line.best_torch()
        rival = spread(line.torch[layout]) + (f", {layout}" if layout else "")
        ratio = statistics.median(line.sidereus) / median
        rows.append(
            f"| {line.contest.name} | {line.contest.words} | {line.batch} | {rival} | {spread(line.sidereus)} | {ratio:.2f}x |"
        )
    return "\n".join(rows) + "\n"


def keep(lines: list[Line], head: str, arguments: argparse.Namespace) -> str:
    """Writes what has been measured so far, and gives it as Markdown."""
    text = table(lines, head, arguments)
    arguments.results.mkdir(parents=True, exist_ok=True)
    kept = [{"model": line.contest.name, "batch": line.batch, "torch": line.torch, "sidereus": line.sidereus} for line in lines]
    found = {"machine": head, "threads": arguments.threads, "lines": kept}
    (arguments.results / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    (arguments.results / "results.md").write_text(text)
    return text


def parse() -> argparse.Namespace:
    """The command line."""
    names = [contest.name for contest in CONTESTS]
    target = os.environ.get("CARGO_TARGET_DIR", str(CACHE / "target"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="MODEL", help=f"one of {', '.join(names)} [default: all]")
    parser.add_argument("--batch", type=int, action="append", help="measure with this batch instead of the usual ones")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="cpu", help="where both sides compute: cpu, or cuda [default: cpu]")
    parser.add_argument("--precision", choices=["f32", "bf16", "f16"], default="f32", help="of published networks [default: f32]")
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long a round takes [default: 2]")
    parser.add_argument("--visits", type=int, default=3, help="processes of each side [default: 3]")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of a process [default: 3]")
    parser.add_argument("--encoder", type=Path, default=Path(target) / "release/sidereus-encoder", help="the program")
    parser.add_argument("--results", type=Path, default=CACHE / "encoders/results", help="gets results.json and results.md")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in names]
    if unknown:
        parser.error(f"there is no model {unknown[0]}; there are {', '.join(names)}")
    if not arguments.encoder.is_file():
        parser.error(f"{arguments.encoder} is missing; run `make build`, or give --encoder")
    return arguments


def main() -> None:
    """Prepares, measures, and prints the table."""
    arguments, lines, text = parse(), [], ""
    head = machine(arguments.device)
    for contest in CONTESTS:
        if arguments.names and contest.name not in arguments.names:
            continue
        prepare(contest, arguments)
        usual = contest.batches if arguments.device == "cpu" else contest.gpu_batches
        for batch in arguments.batch or usual:
            print(f"{contest.name}, batches of {batch}", file=sys.stderr, flush=True)
            line = Line(contest, batch)
            measure(line, arguments)
            lines.append(line)
            text = keep(lines, head, arguments)
    print(text, end="")


if __name__ == "__main__":
    main()
