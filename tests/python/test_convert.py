"""Converts checkpoints made by hand from golden folders, and compares what comes out with what went in.

    python test_convert.py --fixtures tests/fixtures/published --converter deploy/models/convert/convert.py --work FOLDER

FOLDER keeps the converted folders, named as the golden ones they must equal. Any difference ends with an error.
"""

import argparse
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from handmade import Call, Name, Object, Storages, hostile, of_class, ordered, parameter, pickled

Arrays = dict[str, np.ndarray]


def read_tensors(path: Path) -> Arrays:
    """A safetensors file, read here once more: the converter's own reader is not its judge."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header.pop("__metadata__", None)
    kinds = {"F32": "<f4", "I64": "<i8"}
    return {
        name: np.frombuffer(
            content[end + each["data_offsets"][0] : end + each["data_offsets"][1]], kinds[each["dtype"]]
        ).reshape(each["shape"])
        for name, each in header.items()
    }


def bfloat16(array: np.ndarray) -> np.ndarray:
    """The upper halves of single-precision numbers."""
    return (array.view(np.uint32) >> 16).astype(np.uint16)


def widened(halves: np.ndarray) -> np.ndarray:
    """Single-precision numbers from their upper halves."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


class Bench:
    """The converter, the golden folders, and a place to work."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.converter, self.fixtures, self.work = arguments.converter, arguments.fixtures, arguments.work
        self.marker = self.work / "hostile-code-ran"

    def golden(self, name: str) -> tuple[dict[str, Any], Arrays]:
        """The configuration and the tensors of a golden folder."""
        folder = self.fixtures / name
        return json.loads((folder / "config.json").read_text()), read_tensors(folder / "weights.safetensors")

    def run(self, checkpoint: Path, kind: str, output: Path, *words: str) -> subprocess.CompletedProcess:
        """Runs the converter; nothing hostile may have run in it."""
        command = [sys.executable, "-B", self.converter, checkpoint, "--kind", kind, "-o", output, *words]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert not self.marker.exists(), f"{checkpoint} ran code of its own"
        return done

    def convert(self, checkpoint: Path, kind: str, output: Path, *words: str) -> str:
        """What a conversion that must succeed says."""
        done = self.run(checkpoint, kind, output, *words)
        assert done.returncode == 0, f"{checkpoint} as {kind}: {done.stderr}"
        return done.stdout

    def refused(self, checkpoint: Path, kind: str, *words: str) -> str:
        """What a conversion that must fail says, in one line and without leaving a folder."""
        output = self.work / "refused"
        done = self.run(checkpoint, kind, output, *words)
        assert done.returncode == 1, f"{checkpoint} as {kind} was taken: {done.stdout}"
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
        assert not output.exists(), "a refused conversion left a folder"
        return lines[0]

    def compare(self, folder: Path, config: dict[str, Any], arrays: Arrays) -> None:
        """Bit by bit, and the sizes by their names."""
        made = json.loads((folder / "config.json").read_text())
        for part in ("kind", "hparams", "architecture"):
            assert made.get(part) == config.get(part), f"{folder}: {part} is {made.get(part)}, expected {config.get(part)}"
        found = read_tensors(folder / "weights.safetensors")
        assert list(found) == sorted(found), "names are not sorted"
        assert found.keys() == arrays.keys(), f"{folder}: {found.keys() ^ arrays.keys()}"
        for name, array in arrays.items():
            assert found[name].shape == array.shape and found[name].tobytes() == array.tobytes(), f"{folder}: {name} differs"


def module(name: str, *, parts: dict[str, Any] | None = None, **attributes: Any) -> Object:
    """A pickled module of a package that is not installed."""
    package, _, kind = name.rpartition(".")
    state = {"training": True, "_parameters": {}, "_buffers": {}, "_modules": parts or {}, **attributes}
    return Object(Name(package, kind), state)


def astroclip(bench: Bench) -> None:
    """Lightning's checkpoint with pickled modules, a compiled backbone and hostile values: both towers, and their backbones."""
    (image_config, image), (spectrum_config, spectrum) = bench.golden("astroclip_image"), bench.golden("astroclip_spectrum")
    storages = Storages()
    state = {}
    for name, array in (image | spectrum).items():
        compiled = name.replace("image_encoder.backbone.", "image_encoder.backbone._orig_mod.")
        state[compiled] = storages.transposed(array) if array.ndim == 2 else storages.tensor(array)
    attention = {"multihead_attn": module("torch.nn.modules.activation.MultiheadAttention", num_heads=4)}
    heads = {"cross_attention": module("astroclip.modules.CrossAttentionHead", parts=attention)}
    plain = {"num_heads": 3, "dropout": 0.0, "slice_overlap": 10}
    sizes = Object(Name("lightning.fabric.utilities.data", "AttributeDict"), None, plain)
    settings = {
        "image_encoder": module(
            "astroclip.models.astroclip.ImageHead",
            parts={"backbone": module("dinov2.models.vision_transformer.DinoVisionTransformer", num_heads=4), **heads},
        ),
        "spectrum_encoder": module(
            "astroclip.models.astroclip.SpectrumHead",
            parts={"backbone": module("astroclip.models.specformer.SpecFormer", _hparams=sizes), **heads},
        ),
        "temperature": Call(Name("numpy.core.multiarray", "scalar"), (Name("numpy", "dtype"), "15.5")),
        "lr": 1e-4,
    }
    root = {"epoch": 99, "hyper_parameters": settings, "state_dict": ordered(state), "callbacks": hostile(bench.marker)}
    checkpoint = bench.work / "astroclip.ckpt"
    storages.write_zip(checkpoint, root)
    said = bench.convert(checkpoint, "astroclip", bench.work / "towers")
    for word in ("`_orig_mod.`", "sidereus encoder register", "passed over"):
        assert word in said, f"{word} is not in:\n{said}"
    for tower, config, arrays in (("image", image_config, image), ("spectrum", spectrum_config, spectrum)):
        bench.compare(bench.work / "towers" / tower, config, arrays)
        # One by one the bytes are the same.
        alone = bench.work / f"astroclip_{tower}"
        bench.convert(checkpoint, f"astroclip-{tower}", alone)
        weights = [folder / "weights.safetensors" for folder in (alone, bench.work / "towers" / tower)]
        assert weights[0].read_bytes() == weights[1].read_bytes()

    backbone = "image_encoder.backbone."
    bench.convert(checkpoint, "astrodino", bench.work / "image-backbone")
    arrays = {name.removeprefix(backbone): array for name, array in image.items() if name.startswith(backbone)}
    config = {"kind": "astrodino", "hparams": image_config["hparams"]["image"]["backbone"]}
    bench.compare(bench.work / "image-backbone", config, arrays)
    backbone = "spectrum_encoder.backbone."
    bench.convert(checkpoint, "specformer", bench.work / "spectrum-backbone")
    arrays = {name.removeprefix(backbone): array for name, array in spectrum.items() if name.startswith(backbone)}
    config = {"kind": "specformer", "hparams": spectrum_config["hparams"]["spectrum"]["backbone"]}
    bench.compare(bench.work / "spectrum-backbone", config, arrays)


def astrodino(bench: Bench) -> None:
    """A teacher beside its student, and tensors of many kinds: shared, of other types, with attributes."""
    config, arrays = bench.golden("astrodino")
    storages = Storages()
    first = {name: array for name, array in arrays.items() if name.startswith("blocks.0.")}
    made: dict[str, Any] = storages.shared(first)
    expected = dict(first)
    rest = {name: array for name, array in arrays.items() if name not in first}
    for number, (name, array) in enumerate(rest.items()):
        expected[name] = array
        match number % 6:
            case 0:
                made[name] = storages.tensor(bfloat16(array))
                expected[name] = widened(bfloat16(array))
            case 1:
                half = array.astype(np.float16)
                made[name], expected[name] = storages.tensor(half), half.astype(np.float32)
            case 2:
                made[name] = storages.tensor(array.astype(np.float64))
            case 3:
                made[name] = parameter(storages.tensor(array))
            case 4:
                made[name] = of_class(storages.of_type(array, "float32"))
            case _:
                made[name] = of_class(storages.of_type(bfloat16(array), "bfloat16"))
                expected[name] = widened(bfloat16(array))
    others = {name: storages.tensor(np.zeros_like(array)) for name, array in arrays.items()}
    teacher = {f"module.backbone.{name}": tensor for name, tensor in made.items()}
    teacher["module.dino_head.mlp.0.weight"] = storages.tensor(np.ones((4, 4), np.float32))
    student = {f"module.backbone.{name}": tensor for name, tensor in others.items()}
    checkpoint = bench.work / "teacher_checkpoint.pth"
    storages.write_zip(checkpoint, {"student": student, "teacher": teacher, "iteration": 12_500})
    said = bench.convert(checkpoint, "astrodino", bench.work / "astrodino-mixed", "--heads", "4")
    bench.compare(bench.work / "astrodino-mixed", config, expected)
    assert "bfloat16, float16, float32, float64" in said and "`backbone.` at the beginning" in said, said

    # Whole networks: in one pickle, and as torch.package writes them.
    for packaged in (False, True):
        storages = Storages()
        tensors = {name: parameter(storages.tensor(array)) for name, array in arrays.items()}
        network = module("dinov2.models.vision_transformer.DinoVisionTransformer", num_heads=4, _parameters=tensors)
        checkpoint = bench.work / f"whole-{packaged}.pt"
        storages.write_zip(checkpoint, network, packaged=packaged)
        folder = bench.work / ("astrodino" if packaged else "astrodino-whole")
        bench.convert(checkpoint, "astrodino", folder)
        bench.compare(folder, config, arrays)


def specformer(bench: Bench) -> None:
    """The oldest form of file, and numbers of a big-endian machine."""
    config, arrays = bench.golden("specformer_pooled")
    settings = {name: value for name, value in config["hparams"].items() if name not in ("layernorm_eps", "std_clip_min")}
    for order in "<>":
        for form in ("legacy", "zip"):
            storages = Storages(order)
            state = {name: storages.tensor(array, legacy=form == "legacy") for name, array in arrays.items()}
            root = {"state_dict": ordered(state), "hyper_parameters": settings}
            checkpoint = bench.work / f"specformer-{form}-{order == '<'}.ckpt"
            (storages.write_legacy if form == "legacy" else storages.write_zip)(checkpoint, root)
            folder = bench.work / "specformer_pooled"
            bench.convert(checkpoint, "specformer", folder, "--force")
            bench.compare(folder, config, arrays)
    # Without any settings the sizes come from the shapes, and the rest is as published.
    golden = bench.fixtures / "specformer_pooled/weights.safetensors"
    bench.convert(golden, "specformer", bench.work / "from-safetensors", "--heads", "3")
    bench.compare(bench.work / "from-safetensors", config, arrays)


def stein(bench: Bench) -> None:
    """The contrastive pair with its queues: the query encoder is kept."""
    config, arrays = bench.golden("stein_resnet50")
    storages = Storages()
    state = {name: storages.tensor(array) for name, array in arrays.items()}
    root = {"state_dict": ordered(state), "hyper_parameters": config["hparams"] | {"learning_rate": 0.03}}
    checkpoint = bench.work / "stein.ckpt"
    storages.write_zip(checkpoint, root)
    kept = [name for name in arrays if name.startswith("encoder_q.") and not name.endswith("num_batches_tracked")]
    expected = {name: arrays[name] for name in kept}
    bench.convert(checkpoint, "stein-moco", bench.work / "stein_resnet50")
    bench.compare(bench.work / "stein_resnet50", config, expected)


def refusals(bench: Bench) -> None:
    """What does not fit is refused in one line that names it."""
    _, arrays = bench.golden("specformer_pooled")
    checkpoint = bench.work / "changed.pt"

    def changed(change: Callable[[dict[str, Any], Storages], None], *words: str, kind: str = "specformer") -> str:
        storages = Storages()
        state: dict[str, Any] = {name: storages.tensor(array) for name, array in arrays.items()}
        change(state, storages)
        storages.write_zip(checkpoint, state)
        return bench.refused(checkpoint, kind, *(words or ("--heads", "3")))

    def replaced(name: str, make: Callable[[Storages], Any]) -> Callable[[dict[str, Any], Storages], None]:
        def change(state: dict[str, Any], storages: Storages) -> None:
            state[name] = make(storages)

        return change

    bias, wide = "final_layernorm.bias", arrays["final_layernorm.bias"]
    assert "missing tensors: `final_layernorm.bias`" in changed(lambda state, _: state.pop(bias))
    assert "missing" in changed(lambda state, _: state.pop("position_embed.weight"))
    assert "unknown tensors: `surprise`" in changed(replaced("surprise", lambda each: each.tensor(wide)))
    assert "is [25], expected [24]" in changed(replaced(bias, lambda each: each.tensor(np.zeros(25, np.float32))))
    assert "not finite" in changed(replaced(bias, lambda each: each.tensor(wide * np.float32(np.nan))))
    assert "not finite" in changed(replaced(bias, lambda each: each.tensor(np.full(24, 1e300))))
    assert "int64" in changed(replaced(bias, lambda each: each.tensor(np.zeros(24, np.int64))))
    assert "outside its storage" in changed(replaced(bias, lambda each: each.view(each.keep(wide), 1, (24,), (1,))))
    assert "outside its storage" in changed(replaced(bias, lambda each: each.view(each.keep(wide), 0, (24,), (10**15,))))
    patch = {"patch_embed.proj.weight": np.zeros((8, 3, 2, 2), np.float32), "pos_embed": np.zeros((1, 3, 8), np.float32)}
    add = lambda state, each: state.update({name: each.tensor(array) for name, array in patch.items()})  # noqa: E731
    assert "no square" in changed(add, kind="astrodino")
    assert "is none" in changed(replaced(bias, lambda each: each.view(each.keep(wide), -1, (24,), (1,))))
    # An unpickled tensor on a storage type that nobody knows is no tensor.
    quantised = Call(Name("torch._utils", "_rebuild_qtensor"), (1, 2, 3))
    assert "missing tensors: `final_layernorm.bias`" in changed(replaced(bias, lambda _: quantised))
    assert "do not divide" in changed(lambda *_: None, "--heads", "7")
    assert "give --heads" in changed(lambda *_: None, "--entry", "")
    assert "no entry `nothing`" in changed(lambda *_: None, "--entry", "nothing")
    assert "no checkpoint of stein-moco" in changed(lambda *_: None, kind="stein-moco")

    good = bench.work / "specformer-zip-True.ckpt"
    content = good.read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1\n"
    for name, damaged in {"half": content[: len(content) // 2], "pointer": pointer, "text": b"<html>"}.items():
        path = bench.work / f"damaged-{name}.ckpt"
        path.write_bytes(damaged)
        assert "fetch" in bench.refused(path, "specformer")
    flipped = bytearray(content)
    place = content.index(arrays["final_layernorm.weight"].tobytes())
    flipped[place] ^= 1
    (bench.work / "flipped.ckpt").write_bytes(flipped)
    assert "damaged" in bench.refused(bench.work / "flipped.ckpt", "specformer")
    with zipfile.ZipFile(bench.work / "script.pt", "w") as archive:
        archive.writestr("script/data.pkl", pickled({}))
        archive.writestr("script/constants.pkl", pickled(()))
    assert "TorchScript" in bench.refused(bench.work / "script.pt", "specformer")
    assert "register" in bench.refused(bench.fixtures, "aion")
    assert "No such file" in bench.refused(bench.work / "absent.ckpt", "specformer")
    done = bench.run(good, "specformer", bench.work / "specformer_pooled")
    assert done.returncode == 1 and "already" in done.stderr, done.stderr


def hostility(bench: Bench) -> None:
    """Every hostile value does make its file where a common unpickler reads it, and the converter goes past each."""
    for name, value in hostile(bench.marker).items():
        content = pickled(value)
        path = bench.work / "hostile.pkl"
        path.write_bytes(content)
        script = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"
        subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True)
        assert bench.marker.exists(), f"{name} is not hostile at all"
        bench.marker.unlink()
        archive = bench.work / "hostile.ckpt"
        Storages().write_zip(archive, value)
        assert "no tensors" in bench.refused(archive, "specformer"), name
        path.write_bytes(content)
        assert "no PyTorch checkpoint" in bench.refused(path, "specformer"), name


def main() -> None:
    """Runs everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("fixtures", "converter", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    bench = Bench(parser.parse_args())
    for check in (hostility, astroclip, astrodino, specformer, stein, refusals):
        check(bench)
        print(f"{check.__name__}: ok", flush=True)


if __name__ == "__main__":
    main()
