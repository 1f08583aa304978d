"""Makes folders of published networks in their published sizes with random weights, the same bytes every time.

    python make_models.py OUTPUT [NAME ...]

Each folder has `config.json`, `weights.safetensors` and `inputs.safetensors`, like the golden folders of the tests;
`torch_side.py goldens FOLDER` adds `outputs.safetensors`. Needs NumPy alone.
"""

import argparse
import json
import math
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "deploy/models/convert"))
import layouts
import tensor_file

SEED = 20260101
# Rows of the inputs: enough to compare by, and repeated to fill a batch.
ROWS = 2
SPECTRUM_BINS = 7781


def vit(width: int, depth: int, heads: int) -> dict[str, Any]:
    """Sizes of a vision transformer as AstroDINO's configuration names them."""
    return {
        "img_size": 144,
        "patch_size": 12,
        "embed_dim": width,
        "depth": depth,
        "num_heads": heads,
        "mlp_ratio": 4,
        "block_chunks": 4,
        "num_register_tokens": 0,
        "ffn_layer": "mlp",
        "layernorm_eps": 1e-6,
    }


def head(tokens: int) -> dict[str, Any]:
    """Sizes of AstroCLIP's heads."""
    return {"embed_dim": 1024, "n_head": 4, "model_embed_dim": tokens, "dropout": 0.1}


SPECFORMER = {
    "input_dim": 22,
    "embed_dim": 768,
    "num_layers": 6,
    "num_heads": 6,
    "max_len": 800,
    "slice_section_length": 20,
    "slice_overlap": 10,
    "layernorm_eps": 1e-5,
    "std_clip_min": 0.2,
}
AION_B = {
    "dim": 768,
    "encoder_depth": 12,
    "decoder_depth": 12,
    "num_heads": 12,
    "mlp_ratio": 4,
    "act_layer": "SiLU",
    "gated_mlp": True,
    "qk_norm": False,
    "qkv_bias": False,
    "proj_bias": False,
    "mlp_bias": False,
    "norm_bias": False,
    "domains_in": list(layouts.AION_MODALITIES),
    "domains_out": [],
}
IMAGE_CODEC = {
    "quantizer_levels": [7, 5, 5, 5, 5],
    "hidden_dims": 512,
    "multisurvey_projection_dims": 54,
    "n_compressions": 2,
    "num_consecutive": 4,
    "embedding_dim": 5,
    "range_compression_factor": 0.01,
    "mult_factor": 10.0,
}
LEGACY_BANDS = [f"DES-{band}" for band in "GRIZ"]
AION_CASE = {
    "name": "image_flux",
    "modalities": ["tok_image", *(f"tok_flux_{band}" for band in "griz")],
    "num_encoder_tokens": 600,
}
MODELS: dict[str, dict[str, Any]] = {
    "vit-s": {"kind": "astrodino", "hparams": vit(384, 12, 6)},
    "vit-l": {"kind": "astroclip", "hparams": {"image": {"backbone": vit(1024, 24, 16), "head": head(1024)}}},
    "specformer": {"kind": "astroclip", "hparams": {"spectrum": {"backbone": SPECFORMER, "head": head(768)}}},
    "stein": {
        "kind": "stein_moco",
        "hparams": {"base_encoder": "resnet50", "emb_dim": 128, "use_mlp": False, "npix_out": 96},
        "architecture": layouts.RESNET50,
    },
    "aion-image-codec": {
        "kind": "aion_image_codec",
        "hparams": IMAGE_CODEC,
        "cases": [{"name": "legacy", "bands": LEGACY_BANDS}],
    },
    # With the same codec in its folder, as published.
    "aion-b": {"kind": "aion_encoder", "hparams": AION_B, "cases": [AION_CASE]},
}


def weight(name: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """A tensor of a size such that numbers neither vanish nor grow on their way through the network."""
    noise = random.standard_normal(shape, np.float32)
    last = name.rsplit(".", 1)[-1]
    if last == "running_var":
        return np.float32(0.5) + random.random(shape, np.float32)
    if last == "gamma":
        return np.float32(0.3) + np.float32(0.1) * noise
    if "norm" in name and last == "weight":
        return 1 + np.float32(0.1) * noise
    if len(shape) == 1 and last == "weight":
        # Batch normalisation; the one that ends a block of a residual network is kept small.
        return np.float32(0.3 if name.endswith("bn3.weight") else 1.0) * (1 + np.float32(0.1) * noise)
    if last in ("bias", "in_proj_bias", "running_mean", "pos_emb", "mod_emb", "pos_embed", "mask_token", "cls_token", "query"):
        return np.float32(0.1) * noise
    if "token_emb" in name or "position_embed" in name:
        return np.float32(0.3) * noise
    scale = math.sqrt((2 if len(shape) == 4 else 1) / math.prod(shape[1:]))
    if name.startswith("model.encoder_layers") and ".net." in name:
        # A softmax over a picture and thirteen residual units would make much of the last digit.
        scale *= 0.2
    return noise * np.float32(scale)


def inputs_of(config: dict[str, Any], random: np.random.Generator) -> dict[str, np.ndarray]:
    """Inputs under the names that the golden folders of the kind have."""
    sizes = config["hparams"]
    match config["kind"]:
        case "aion_encoder":
            return {
                f"{case['name']}.{key}": random.integers(0, vocabulary, (ROWS, count))
                for case in config["cases"]
                for key, (vocabulary, count) in layouts.AION_MODALITIES.items()
                if key in case["modalities"]
            }
        case "aion_image_codec":
            shape = (ROWS, len(LEGACY_BANDS), 96, 96)
            return {f"{case['name']}.flux": random.normal(0.2, 1.0, shape).astype(np.float32) for case in config["cases"]}
        case "stein_moco":
            return {"b2.image": random.random((ROWS, 3, sizes["npix_out"], sizes["npix_out"]), np.float32)}
        case "astrodino":
            return {"image": random.random((ROWS, 3, sizes["img_size"], sizes["img_size"]), np.float32)}
        case _ if "image" in sizes:
            side = sizes["image"]["backbone"]["img_size"]
            return {"image": random.random((ROWS, 3, side, side), np.float32)}
        case _:
            # A continuum, noise and a line.
            bins = np.arange(SPECTRUM_BINS)
            flux = 2 + np.sin(bins / 900) + 0.5 * random.standard_normal((ROWS, SPECTRUM_BINS))
            flux += 20 * np.exp(-(((bins - 4000) / 4) ** 2))
            return {"spectrum": flux.astype(np.float32)[..., None]}


def weights_of(config: dict[str, Any]) -> dict[str, np.ndarray]:
    """The tensors of a network: the same numbers under the same name and shape."""
    tensors = {}
    for name, shape in sorted(layouts.shapes_of(config).items()):
        tensors[name] = weight(name, shape, np.random.default_rng([SEED, zlib.crc32(name.encode())]))
    if config["kind"] == "aion_image_codec":
        tensors["_quantizer.levels"] = np.array(config["hparams"]["quantizer_levels"], np.int32)
    return tensors


def make(folder: Path, config: dict[str, Any]) -> int:
    """Writes a folder and gives the number of parameters. Outputs of other weights are taken away."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "outputs.safetensors").unlink(missing_ok=True)
    tensors = weights_of(config)
    tensor_file.write_tensors(folder / "weights.safetensors", tensors)
    if config["kind"] == "aion_encoder":
        codec = folder / "codecs/image"
        codec.mkdir(parents=True, exist_ok=True)
        tensor_file.write_tensors(codec / "model.safetensors", weights_of(MODELS["aion-image-codec"]))
        (codec / "config.json").write_text(json.dumps(IMAGE_CODEC, indent=1) + "\n")
    random = np.random.default_rng([SEED, zlib.crc32(folder.name.encode())])
    tensor_file.write_tensors(folder / "inputs.safetensors", inputs_of(config, random))
    described = {"name": folder.name, **config, "seed": SEED, "dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(described, indent=1) + "\n")
    return sum(tensor.size for tensor in tensors.values())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="folder that gets a folder for each model")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(MODELS)} [default: all]")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in MODELS]
    if unknown:
        parser.error(f"there is no model {unknown[0]}; there are {', '.join(MODELS)}")
    for name in arguments.names or MODELS:
        count = make(arguments.output / name, MODELS[name])
        print(f"{name}: {count / 1e6:.1f} million parameters", flush=True)


if __name__ == "__main__":
    main()
