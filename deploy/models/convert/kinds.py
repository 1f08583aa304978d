"""What each network is called in a checkpoint, and its sizes: from the shapes of the tensors, or from the checkpoint."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from checkpoint import Inert
from layouts import RESNET50, Sizes

Shape = tuple[int, ...]


class ConvertError(Exception):
    """Tensors that are not those of the network; the message names them and says what to do."""


@dataclass
class Sources:
    """The shapes of a network's tensors, what the checkpoint and the caller say beside, and where each size came from."""

    shapes: dict[str, Shape]
    # The checkpoint's hyper_parameters; modules in there are inert.
    settings: dict[str, Any]
    # Heads that the caller gave: of the backbone, and of the attention behind it.
    heads: int | None = None
    pool_heads: int | None = None
    found: list[tuple[str, Any, str]] = field(default_factory=list)

    def shape(self, name: str, axes: int) -> Shape:
        """The shape of a tensor that must be there."""
        shape = self.shapes.get(name)
        if shape is None:
            raise ConvertError(f"tensor `{name}` is missing")
        if len(shape) != axes:
            raise ConvertError(f"tensor `{name}` is {list(shape)}, which has {len(shape)} axes and not {axes}")
        return shape

    def count(self, pattern: str) -> int:
        """How many different numbers the first group of a pattern has in the names."""
        return len({match[1] for name in self.shapes if (match := re.match(pattern, name))})

    def note(self, what: str, value: Any, source: str) -> Any:
        """Keeps a size for the table, and gives it back."""
        self.found.append((what, value, source))
        return value

    def inferred(self, what: str, value: Any) -> Any:
        """A size that the shapes tell."""
        return self.note(what, value, "shapes")

    def heads_of(self, what: str, width: int, given: int | None, said: Any, published: dict[int, int], option: str) -> int:
        """Heads leave no trace in the shapes: as given, else as the checkpoint says, else as published for this width."""
        is_said = type(said) is int and said > 0
        heads = given or (said if is_said else published.get(width))
        if heads is None:
            raise ConvertError(f"how many heads attention {width} wide has is not in the checkpoint; give {option}")
        if width % heads != 0:
            raise ConvertError(f"{heads} heads do not divide a width of {width}; give {option}")
        return self.note(what, heads, option if given else "checkpoint" if is_said else "as published")

    def setting(self, name: str, default: Any, kind: type | tuple[type, ...] = int) -> Any:
        """A plain setting of the checkpoint, else its published value."""
        said = self.settings.get(name)
        if isinstance(said, kind) and (kind is bool or not isinstance(said, bool)):
            return self.note(name, said, "checkpoint")
        return default


def member(module: Any, path: str) -> Any:
    """A submodule of a module that a checkpoint holds, or None."""
    for name in path.split(".") if path else []:
        parts = module.attributes().get("_modules") if isinstance(module, Inert) else None
        module = parts.get(name) if isinstance(parts, dict) else None
    return module


def attribute(module: Any, path: str, name: str) -> Any:
    """A plain attribute of a submodule, or None."""
    found = member(module, path)
    return found.attributes().get(name) if isinstance(found, Inert) else None


def settings_of(module: Any) -> dict[str, Any]:
    """The hyper-parameters that a Lightning module keeps."""
    found = attribute(module, "", "_hparams")
    return dict(found.entries) if isinstance(found, Inert) else {}


def as_number(ratio: float) -> float:
    """A whole number as one."""
    return int(ratio) if ratio == int(ratio) else ratio


def vit(sources: Sources, prefix: str, module: Any) -> Sizes:
    """Sizes of DINOv2's vision transformer; `module` is the pickled one, or None."""
    width, _, patch, _ = sources.shape(f"{prefix}patch_embed.proj.weight", 4)
    places = sources.shape(f"{prefix}pos_embed", 3)[1] - 1
    side = math.isqrt(max(places, 0))
    if side * side != places:
        raise ConvertError(f"`{prefix}pos_embed` has {places} places beside the class token, which make no square")
    blocks = re.escape(f"{prefix}blocks.")
    chunks = sources.count(blocks + r"(\d+)\.\d+\.norm1\.weight$")
    pattern = blocks + (r"\d+\." if chunks else "") + r"(\d+)\.norm1\.weight$"
    depth = sources.count(pattern)
    if depth == 0:
        raise ConvertError(f"there is no tensor `{prefix}blocks...norm1.weight`: a network without blocks")
    if chunks and depth % chunks != 0:
        raise ConvertError(f"{depth} blocks in {chunks} chunks: chunks of different lengths are not supported")
    first = f"{prefix}blocks.0.0" if chunks else f"{prefix}blocks.0"
    for part, what in (("register_tokens", "register tokens"), (f"{first[len(prefix) :]}.mlp.w12.weight", "gated perceptrons")):
        if f"{prefix}{part}" in sources.shapes:
            raise ConvertError(f"`{prefix}{part}`: {what} are not supported")
    said = attribute(module, "", "num_heads")
    published = {384: 6, 768: 12, 1024: 16}
    return {
        "img_size": sources.inferred("img_size", side * patch),
        "patch_size": sources.inferred("patch_size", patch),
        "embed_dim": sources.inferred("embed_dim", width),
        "depth": sources.inferred("depth", depth),
        "num_heads": sources.heads_of("num_heads", width, sources.heads, said, published, "--heads"),
        "mlp_ratio": sources.inferred("mlp_ratio", as_number(sources.shape(f"{first}.mlp.fc1.weight", 2)[0] / width)),
        "qkv_bias": True,
        "proj_bias": True,
        "ffn_bias": True,
        "layerscale_init": 1e-05,
        "ffn_layer": "mlp",
        "block_chunks": sources.inferred("block_chunks", chunks),
        "num_register_tokens": 0,
        "interpolate_antialias": False,
        "interpolate_offset": 0.1,
        "layernorm_eps": 1e-06,
    }


def specformer(sources: Sources, prefix: str, module: Any) -> Sizes:
    """Sizes of SpecFormer; `module` is the pickled one, or None."""
    width, inputs = sources.shape(f"{prefix}data_embed.weight", 2)
    length = sources.shape(f"{prefix}position_embed.weight", 2)[0]
    layers = sources.count(re.escape(f"{prefix}blocks.") + r"(\d+)\.layernorm1\.weight$")
    sources.settings = settings_of(module) or sources.settings
    said = attribute(module, "blocks.0.attention", "num_heads") or sources.settings.get("num_heads")
    section = inputs - 2
    return {
        "input_dim": sources.inferred("input_dim", inputs),
        "embed_dim": sources.inferred("embed_dim", width),
        "num_layers": sources.inferred("num_layers", layers),
        "num_heads": sources.heads_of("num_heads", width, sources.heads, said, {768: 6}, "--heads"),
        "max_len": sources.inferred("max_len", length),
        "mask_num_chunks": sources.setting("mask_num_chunks", 6),
        "mask_chunk_width": sources.setting("mask_chunk_width", 50),
        "slice_section_length": sources.inferred("slice_section_length", section),
        "slice_overlap": sources.setting("slice_overlap", section // 2),
        "dropout": sources.setting("dropout", 0.0, float),
        "norm_first": sources.setting("norm_first", False, bool),
        "layernorm_eps": 1e-05,
        "std_clip_min": 0.2,
    }


def head(sources: Sources, prefix: str, tokens: int, module: Any) -> Sizes:
    """Sizes of what AstroCLIP puts behind a backbone whose tokens are so wide."""
    width = sources.shape(f"{prefix}cross_attention.query", 3)[2]
    said = attribute(module, "cross_attention.multihead_attn", "num_heads")
    return {
        "embed_dim": sources.inferred("head embed_dim", width),
        "n_head": sources.heads_of("head n_head", width, sources.pool_heads, said, {1024: 4}, "--pool-heads"),
        "model_embed_dim": tokens,
        "dropout": 0.1,
    }


def image_tower(sources: Sources) -> Sizes:
    """`config.json` of AstroCLIP's image tower."""
    module = sources.settings.get("image_encoder")
    backbone = vit(sources, "image_encoder.backbone.", member(module, "backbone"))
    tower = {"backbone": backbone, "head": head(sources, "image_encoder.", backbone["embed_dim"], module)}
    return {"kind": "astroclip", "hparams": {"image": tower}}


def spectrum_tower(sources: Sources) -> Sizes:
    """`config.json` of AstroCLIP's spectrum tower."""
    module = sources.settings.get("spectrum_encoder")
    backbone = specformer(sources, "spectrum_encoder.backbone.", member(module, "backbone"))
    tower = {"backbone": backbone, "head": head(sources, "spectrum_encoder.", backbone["embed_dim"], module)}
    return {"kind": "astroclip", "hparams": {"spectrum": tower}}


def astrodino(sources: Sources) -> Sizes:
    """`config.json` of AstroDINO."""
    module = member(sources.settings.get("image_encoder"), "backbone") or sources.settings.get("root")
    return {"kind": "astrodino", "hparams": vit(sources, "", module)}


def specformer_alone(sources: Sources) -> Sizes:
    """`config.json` of SpecFormer."""
    module = member(sources.settings.get("spectrum_encoder"), "backbone") or sources.settings.get("root")
    return {"kind": "specformer", "hparams": specformer(sources, "", module)}


def stein_moco(sources: Sources) -> Sizes:
    """`config.json` of the network of Stein et al."""
    stem, use_mlp = sources.shape("encoder_q.conv1.weight", 4)[0], "encoder_q.fc.0.weight" in sources.shapes
    layers = [sources.count(rf"encoder_q\.layer{stage}\.(\d+)\.conv1\.weight$") for stage in range(1, 5)]
    planes = [sources.shape(f"encoder_q.layer{stage}.0.conv1.weight", 4)[0] for stage in range(1, 5)]
    last = "encoder_q.fc.2.weight" if use_mlp else "encoder_q.fc.weight"
    architecture = RESNET50 | {"layers": layers, "planes": planes, "stem_channels": stem}
    sizes: Sizes = {
        "base_encoder": sources.setting("base_encoder", "resnet50" if architecture == RESNET50 else "resnet", str),
        "emb_dim": sources.inferred("emb_dim", sources.shape(last, 2)[0]),
        "use_mlp": sources.inferred("use_mlp", use_mlp),
    }
    if queue := sources.shapes.get("queue"):
        sizes["num_negatives"] = sources.inferred("num_negatives", queue[-1])
    for name, kind in (("augmentations", str), ("npix_out", int)):
        if (said := sources.setting(name, None, kind)) is not None:
            sizes[name] = said
    sources.inferred("layers", layers)
    sources.inferred("planes", planes)
    return {"kind": "stein_moco", "hparams": sizes, "architecture": architecture}


@dataclass(frozen=True)
class Kind:
    """A network that can be converted."""

    name: str
    # Beginning of the names that the network keeps, and a tensor behind it that no other network has.
    root: str
    anchor: str
    config: Callable[[Sources], Sizes]
    # Beginnings of what the same checkpoints hold and this network does not need.
    passed_over: tuple[str, ...]


TRAINING = (
    "student.",
    "dino_head.",
    "ibot_head.",
    "teacher.dino_head.",
    "teacher.ibot_head.",
    "dino_loss.",
    "ibot_patch_loss.",
)
TOWERS = ("image_encoder.", "spectrum_encoder.", "logit_scale")
KINDS = (
    Kind("astroclip-image", "image_encoder.", "backbone.patch_embed.proj.weight", image_tower, TOWERS),
    Kind("astroclip-spectrum", "spectrum_encoder.", "backbone.data_embed.weight", spectrum_tower, TOWERS),
    Kind("astrodino", "", "patch_embed.proj.weight", astrodino, TRAINING + TOWERS),
    Kind("specformer", "", "data_embed.weight", specformer_alone, TOWERS),
    Kind("stein-moco", "encoder_q.", "conv1.weight", stein_moco, ("encoder_k.", "queue", "val_queue")),
)
