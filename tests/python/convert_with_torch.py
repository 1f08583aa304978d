"""Converts checkpoints that PyTorch itself wrote: pickled modules, compiled ones, shared storages, all forms of file.

    $SIDEREUS_CACHE/encoders/venv/bin/python tests/python/convert_with_torch.py --python PYTHON

Needs PyTorch (the environment of benches/encoders), so it is run by hand; the converter runs in PYTHON, which needs
numpy alone. The modules are those of benches/encoders with small sizes and random weights.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches/encoders"))
import networks

VIT = {
    "img_size": 36,
    "patch_size": 12,
    "embed_dim": 48,
    "depth": 4,
    "num_heads": 6,
    "mlp_ratio": 4,
    "block_chunks": 2,
    "layernorm_eps": 1e-6,
}
SPECFORMER = {
    "input_dim": 22,
    "embed_dim": 24,
    "num_layers": 2,
    "num_heads": 3,
    "max_len": 800,
    "slice_section_length": 20,
    "slice_overlap": 10,
    "layernorm_eps": 1e-5,
    "std_clip_min": 0.2,
}
MOCO = {"emb_dim": 16, "use_mlp": True}
NARROW = {"block": "Bottleneck", "layers": [2, 1, 1, 1], "planes": [4, 8, 16, 32], "expansion": 4, "stem_channels": 8}


def head(tokens: int) -> dict[str, int]:
    """Sizes of a head."""
    return {"embed_dim": 32, "n_head": 2, "model_embed_dim": tokens}


class Image(networks.AstroClip):
    """The image tower, as a class that only this process has."""


def scrambled(module: nn.Module) -> nn.Module:
    """A module whose tensors hold random numbers, also those that are usually zero."""
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.5)
    return module.eval()


def heads_kept(module: networks.AstroClip) -> nn.Module:
    """The tower alone, with the attribute that DINOv2's transformer keeps its heads in."""
    tower = module.towers[0]
    tower.backbone.num_heads = VIT["num_heads"]
    return tower


class Trial:
    """A place to work, and the converter."""

    def __init__(self, python: Path, work: Path) -> None:
        self.python, self.work, self.number = python, work, 0

    def convert(self, kind: str, save: Callable[[Path], Any], expected: dict[str, Tensor], *words: str) -> dict[str, Any]:
        """Saves, converts without PyTorch, compares bit by bit; gives the sizes."""
        self.number += 1
        checkpoint, folder = self.work / f"{self.number}.pt", self.work / f"{self.number}"
        save(checkpoint)
        script = ROOT / "deploy/models/convert/convert.py"
        command = [self.python, "-B", script, checkpoint, "--kind", kind, "-o", folder, *words]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert done.returncode == 0, f"{kind}: {done.stderr}"
        print(done.stdout)
        found = load_file(folder / "weights.safetensors")
        assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
        for name, tensor in expected.items():
            assert torch.equal(found[name], tensor.float()), name
        return json.loads((folder / "config.json").read_text())["hparams"]


def towers(trial: Trial) -> None:
    """AstroCLIP's checkpoint as Lightning writes it."""
    image = scrambled(Image({"image": {"backbone": VIT, "head": head(48)}}))
    spectrum = scrambled(networks.AstroClip({"spectrum": {"backbone": SPECFORMER, "head": head(24)}}))
    state = image.state_dict() | spectrum.state_dict()
    optimiser = torch.optim.AdamW(image.parameters())
    sum(each.sum() for each in image.parameters()).backward()
    optimiser.step()
    state = {name: tensor.clone() for name, tensor in (image.state_dict() | spectrum.state_dict()).items()}
    settings = {"image_encoder": heads_kept(image), "spectrum_encoder": spectrum.towers[0], "lr": 1e-4, "at": Path("/tmp")}
    root = {
        "state_dict": image.state_dict() | spectrum.state_dict(),
        "hyper_parameters": settings,
        "optimizer_states": [optimiser.state_dict()],
        "device": torch.device("cpu"),
        "sparse": torch.eye(3).to_sparse(),
        "quantised": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        "eights": torch.ones(3).to(torch.float8_e4m3fn),
        "complex": torch.ones(3, dtype=torch.complex64),
    }
    for kind in ("image", "spectrum"):
        expected = {name: tensor for name, tensor in state.items() if name.startswith(kind)}
        words = () if kind == "image" else ("--heads", "3")
        for legacy in (False, True):
            save = lambda path, legacy=legacy: torch.save(root, path, _use_new_zipfile_serialization=not legacy)  # noqa: E731
            sizes = trial.convert(f"astroclip-{kind}", save, expected, *words)
            heads = sizes[kind]["backbone"]["num_heads"], sizes[kind]["head"]["n_head"]
            assert heads == (VIT["num_heads"] if kind == "image" else 3, 2), heads


def wrappers(trial: Trial) -> None:
    """What torch.compile and DataParallel do to names; half precision; views; whole modules; torch.package."""
    model = scrambled(networks.AstroDino(VIT))
    plain = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    compiled = nn.DataParallel(torch.compile(model))
    assert any(name.startswith("module._orig_mod.") for name in compiled.state_dict())
    words = ("--heads", "6")
    trial.convert("astrodino", lambda path: torch.save({"teacher": compiled.state_dict()}, path), plain, *words)

    halves = {f"backbone.{name}": tensor.bfloat16() for name, tensor in plain.items()}
    expected = {name: tensor.bfloat16() for name, tensor in plain.items()}
    trial.convert("astrodino", lambda path: torch.save({"teacher": halves}, path), expected, *words)
    halves = {name: tensor.half() for name, tensor in plain.items()}
    trial.convert("astrodino", lambda path: torch.save(halves, path), halves, *words)

    # Every tensor is a view into one storage, and matrices lie in it transposed.
    flat = torch.cat([tensor.transpose(0, -1).reshape(-1) for tensor in plain.values()])
    views, start = {}, 0
    for name, tensor in plain.items():
        turned = tensor.transpose(0, -1)
        views[name] = flat[start : start + tensor.numel()].view(turned.shape).transpose(0, -1)
        start += tensor.numel()
    trial.convert("astrodino", lambda path: torch.save(views, path), plain, *words)
    repeated = plain | {"norm.bias": torch.tensor([0.25]).expand(48), "norm.weight": nn.Parameter(plain["norm.weight"])}
    repeated["norm.weight"].tag = "an attribute"
    trial.convert("astrodino", lambda path: torch.save(repeated, path), plain | {"norm.bias": torch.full((48,), 0.25)}, *words)

    model.num_heads = 6
    sizes = trial.convert("astrodino", lambda path: torch.save(model, path), plain)
    assert sizes["num_heads"] == 6

    def package(path: Path) -> None:
        with torch.package.PackageExporter(path) as exporter:
            exporter.extern("**")
            exporter.save_pickle("network", "model.pkl", model)

    trial.convert("astrodino", package, plain)


def moco(trial: Trial) -> None:
    """The network of Stein et al. with batch counts and queues."""
    pair = nn.ModuleDict({"encoder_q": networks.ResNet(MOCO, NARROW), "encoder_k": networks.ResNet(MOCO, NARROW)})
    scrambled(pair).register_buffer("queue", torch.rand(16, 32))
    state = pair.state_dict()
    kept = [name for name in state if name.startswith("encoder_q.") and not name.endswith("num_batches_tracked")]
    sizes = trial.convert(
        "stein-moco", lambda path: torch.save({"state_dict": state}, path), {name: state[name] for name in kept}
    )
    assert sizes == {"base_encoder": "resnet", "emb_dim": 16, "use_mlp": True, "num_negatives": 32}, sizes


def main() -> None:
    """Runs everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", type=Path, required=True, help="a Python with numpy that runs the converter")
    arguments = parser.parse_args()
    torch.manual_seed(7)
    with tempfile.TemporaryDirectory() as work:
        trial = Trial(arguments.python, Path(work))
        for check in (towers, wrappers, moco):
            check(trial)
            print(f"{check.__name__}: ok", flush=True)


if __name__ == "__main__":
    main()
