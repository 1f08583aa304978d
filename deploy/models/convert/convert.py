"""Converts a published checkpoint into a folder that `sidereus encoder register` takes. Needs numpy alone.

    python convert.py astroclip.ckpt -o astroclip-image --kind astroclip-image
    python convert.py astroclip.ckpt -o astroclip --kind astroclip          # both towers, a folder each
    python convert.py teacher_checkpoint.pth -o astrodino --kind astrodino
    python convert.py specformer.ckpt -o specformer --kind specformer
    python convert.py resnet50.ckpt -o stein --kind stein-moco

Takes Lightning's `.ckpt` and PyTorch's `.pt` and `.pth` (of any version, also whole modules and `torch.package`), and
safetensors. Nothing that the file names is imported or run. The folder gets `config.json` and
`weights.safetensors`, the same bytes every time. Folders of AION-1 need no conversion.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import layouts
import numpy as np
from checkpoint import FLOATS, CheckpointError, Inert, Tensor, open_checkpoint
from kinds import KINDS, ConvertError, Kind, Sources
from tensor_file import read_tensors, write_tensors

# Parts of a name that wrappers of PyTorch leave.
WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# Where a checkpoint keeps its tensors, in the order of preference.
ENTRIES = ("state_dict", "teacher", "model", "model_state_dict", "module", "net")
# Names that a message spells out.
NAMES_MAX = 8

Found = dict[str, Any]


@dataclass
class Loaded:
    """What a checkpoint holds."""

    form: str
    tensors: Found
    # Its hyper_parameters, and under `root` a whole module.
    settings: dict[str, Any]
    notes: list[str]


def listing(names: Iterable[str]) -> str:
    """Names in a message, as many as are readable."""
    names = sorted(names)
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return ", ".join(f"`{name}`" for name in names[:NAMES_MAX]) + more


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor of either kind of file."""
    return isinstance(value, Tensor | np.ndarray)


def of_module(module: Inert, prefix: str = "") -> Found:
    """The parameters and buffers of a pickled module, by the names of its state dictionary."""
    attributes = module.attributes()
    tensors: Found = {}
    for kind in ("_parameters", "_buffers"):
        held = attributes.get(kind)
        for name, value in held.items() if isinstance(held, dict) else ():
            if is_tensor(value):
                tensors[f"{prefix}{name}"] = value
    parts = attributes.get("_modules")
    for name, part in parts.items() if isinstance(parts, dict) else ():
        if isinstance(part, Inert):
            tensors |= of_module(part, f"{prefix}{name}.")
    return tensors


def tensors_of(value: Any) -> Found:
    """The named tensors of a dictionary or of a module; empty where there are none."""
    if isinstance(value, Inert):
        return of_module(value) or tensors_of(value.entries)
    if not isinstance(value, dict):
        return {}
    return {name: tensor for name, tensor in value.items() if isinstance(name, str) and is_tensor(tensor)}


def settings_of(root: Any) -> dict[str, Any]:
    """The settings that a Lightning checkpoint has beside its tensors; a whole module is put beside them."""
    if isinstance(root, Inert):
        return {"root": root}
    found = root.get("hyper_parameters") if isinstance(root, dict) else None
    entries = {**found.attributes(), **found.entries} if isinstance(found, Inert) else found
    return dict(entries) if isinstance(entries, dict) else {}


def load(path: Path, entry: str | None) -> Loaded:
    """Reads a checkpoint and finds its tensors, without their numbers."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; AION-1's needs no conversion: run `sidereus encoder register {path}`")
    if path.suffix == ".safetensors":
        return Loaded("safetensors file", dict(read_tensors(path)), {}, [])
    archive = open_checkpoint(path)
    root = archive.root
    places = {"": root}
    if isinstance(root, dict):
        places |= {name: value for name, value in root.items() if isinstance(name, str)}
    if entry is not None and entry not in places:
        raise ConvertError(f"the checkpoint has no entry `{entry}`; it has {listing(places.keys() - {''})}")
    for name in [entry] if entry is not None else [*ENTRIES, ""]:
        if tensors := tensors_of(places.get(name)):
            where = f"under `{name}`" if name else "at its root"
            return Loaded(archive.form, tensors, settings_of(root), [f"{len(tensors)} tensors {where}"])
    raise ConvertError(f"no tensors are found in the entries {listing(places.keys() - {''})}; name one with --entry")


def unwrapped(loaded: Loaded) -> Found:
    """The tensors without the parts of their names that wrappers left."""
    found: Found = {}
    dropped: set[str] = set()
    for name, tensor in loaded.tensors.items():
        parts = name.split(".")
        dropped.update(part for part in parts if part in WRAPPERS)
        short = ".".join(part for part in parts if part not in WRAPPERS)
        if short in found:
            raise ConvertError(f"`{name}` and another tensor are both called `{short}` without {', '.join(sorted(dropped))}")
        found[short] = tensor
    if dropped:
        loaded.notes.append(f"left out of names: {', '.join(f'`{part}.`' for part in sorted(dropped))}")
    return found


def prefix_of(kind: Kind, names: Iterable[str], given: str | None) -> str:
    """What stands before the network's own names."""
    anchor = kind.root + kind.anchor
    ends = [name.removesuffix(anchor) for name in names if name.endswith(anchor)]
    found = [prefix for prefix in ends if not prefix or prefix.endswith(".")]
    if given is not None:
        found = [prefix for prefix in found if prefix == given]
    elif len(found) > 1:
        found = [prefix for prefix in found if not prefix.startswith("student.")]
    if not found:
        raise ConvertError(f"there is no tensor `{given or ''}{anchor}`: this is no checkpoint of {kind.name}")
    if len(found) > 1:
        raise ConvertError(f"several networks fit; choose with --prefix one of {listing(found)}")
    return found[0]


def belonging(kind: Kind, tensors: Found, loaded: Loaded, arguments: argparse.Namespace) -> Found:
    """The network's own tensors by its own names. A tensor that nobody knows is an error."""
    prefix = prefix_of(kind, tensors, arguments.prefix)
    if prefix:
        loaded.notes.append(f"left out of names: `{prefix}` at the beginning")
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix + kind.root)}
    others = [name for name in tensors if not name.startswith(prefix + kind.root)]
    known = (*kind.passed_over, *(prefix + part for part in kind.passed_over), *arguments.ignore)
    unknown = [name for name in others if not name.startswith(known)]
    if unknown:
        raise ConvertError(f"unknown tensors: {listing(unknown)}; pass over what is not needed with --ignore BEGINNING")
    if others:
        beginnings = sorted({name.split(".")[0] for name in others})
        loaded.notes.append(f"passed over: {len(others)} tensors of {', '.join(f'`{each}`' for each in beginnings)}")
    queue = {"queue": tensors[prefix + "queue"]} if kind.name == "stein-moco" and prefix + "queue" in tensors else {}
    return own | queue


def float32(name: str, tensor: Any) -> np.ndarray:
    """The numbers of a tensor in single precision; all must be finite."""
    if isinstance(tensor, Tensor):
        if tensor.element not in FLOATS:
            raise ConvertError(f"tensor `{name}` is of type {tensor.element}, not of a floating-point one")
        try:
            numbers = tensor.array()
        except CheckpointError as error:
            raise CheckpointError(f"tensor `{name}`: {error}") from error
    else:
        numbers = tensor
        if numbers.dtype.kind != "f":
            raise ConvertError(f"tensor `{name}` is of type {numbers.dtype}, not of a floating-point one")
    with np.errstate(over="ignore"):
        converted = np.asarray(numbers, np.float32, order="C")
    if not np.isfinite(converted).all():
        raise ConvertError(f"tensor `{name}` holds a number that is not finite")
    return converted


def fitting(own: Found, shapes: layouts.Shapes, arguments: argparse.Namespace) -> Found:
    """Exactly the tensors that the network takes; ConvertError names what is missing, unknown or misshapen."""
    complaints = []
    if missing := shapes.keys() - own.keys():
        complaints.append(f"missing tensors: {listing(missing)}")
    unknown = [
        name
        for name in own.keys() - shapes.keys()
        if not name.endswith("num_batches_tracked") and name != "queue" and not name.startswith(tuple(arguments.ignore))
    ]
    if unknown:
        complaints.append(f"unknown tensors: {listing(unknown)}")
    for name in sorted(shapes.keys() & own.keys()):
        if tuple(own[name].shape) != tuple(shapes[name]):
            complaints.append(f"tensor `{name}` is {list(own[name].shape)}, expected {list(shapes[name])}")
    if complaints:
        raise ConvertError("; ".join(complaints[:NAMES_MAX]))
    return {name: own[name] for name in shapes}


def print_table(sources: Sources) -> None:
    """The sizes, and where each comes from."""
    rows = [("size", "value", "from"), *((what, str(value), source) for what, value, source in sources.found)]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for what, value, source in rows:
        print(f"  {what:<{widths[0]}}  {value:<{widths[1]}}  {source}")


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def convert(kind: Kind, loaded: Loaded, folder: Path, arguments: argparse.Namespace) -> None:
    """Writes the folder of one network."""
    loaded.notes = loaded.notes[:1]
    own = belonging(kind, unwrapped(loaded), loaded, arguments)
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    sources = Sources(shapes, dict(loaded.settings), arguments.heads, arguments.pool_heads)
    config = kind.config(sources)
    tensors = fitting(own, layouts.shapes_of(config), arguments)
    elements = sorted({tensor.element if isinstance(tensor, Tensor) else str(tensor.dtype) for tensor in tensors.values()})
    weights = {name: float32(name, tensor) for name, tensor in tensors.items()}
    source = {"file": arguments.checkpoint.name, "sha256": digest(arguments.checkpoint)}
    described = {"name": folder.name, **config, "dtype": "float32", "source": source}

    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "weights.safetensors", weights)
    part = folder / "config.json.part"
    part.write_text(json.dumps(described, indent=1) + "\n")
    part.replace(folder / "config.json")

    print(f"{kind.name}: {arguments.checkpoint} is a {loaded.form}")
    for note in loaded.notes:
        print(f"  {note}")
    print_table(sources)
    numbers = sum(tensor.size for tensor in weights.values())
    print(f"  {len(weights)} tensors, {numbers:,} numbers, float32 from {', '.join(elements)}")
    print(f"wrote {folder}/config.json and {folder}/weights.safetensors")
    print(f"next: sidereus encoder register {folder}")


def targets(arguments: argparse.Namespace) -> list[tuple[Kind, Path]]:
    """What to convert, and where to."""
    if arguments.kind == "astroclip":
        return [(kind, arguments.output / kind.name.removeprefix("astroclip-")) for kind in KINDS[:2]]
    return [(kind, arguments.output) for kind in KINDS if kind.name == arguments.kind]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder to write")
    names = ["astroclip", *(kind.name for kind in KINDS)]
    parser.add_argument("--kind", choices=[*names, "aion"], required=True)
    parser.add_argument("--heads", type=int, metavar="N", help="heads of the backbone, where the checkpoint does not say")
    parser.add_argument("--pool-heads", type=int, metavar="N", help="heads of the attention behind AstroCLIP's backbones")
    parser.add_argument("--entry", metavar="NAME", help=f"entry with the tensors [default: the first of {', '.join(ENTRIES)}]")
    parser.add_argument("--prefix", metavar="TEXT", help="what stands before the network's names, where several fit")
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="BEGINNING", help="pass over tensors whose names begin so"
    )
    parser.add_argument("--force", action="store_true", help="write over an earlier conversion")
    return parser.parse_args()


def main() -> None:
    """Converts, or says in one line why not."""
    arguments = parse()
    try:
        if arguments.kind == "aion":
            raise ConvertError("AION-1's published folder is taken as it is: run `sidereus encoder register FOLDER` on it")
        if arguments.kind == "astroclip" and (arguments.heads or arguments.pool_heads):
            raise ConvertError("the towers differ in their heads: convert them one by one, as astroclip-image and -spectrum")
        for _, folder in targets(arguments):
            if (folder / "weights.safetensors").exists() and not arguments.force:
                raise ConvertError(f"{folder} has weights.safetensors already; choose another folder, or give --force")
        loaded = load(arguments.checkpoint, arguments.entry)
        for kind, folder in targets(arguments):
            convert(kind, loaded, folder, arguments)
    except (CheckpointError, ConvertError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
