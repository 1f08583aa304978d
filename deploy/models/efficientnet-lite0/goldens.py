"""Makes the golden inputs and outputs with an independent implementation: efficientnet-lite-pytorch 0.1.0.

    pip install torch==2.13.0 efficientnet-lite-pytorch==0.1.0 numpy safetensors pillow
    python goldens.py --weights weights.safetensors

The pictures are drawn by formula, and small: golden-0.png and golden-1.png are exactly 224 x 224, so nothing is
resized; golden-2.png is larger and shows how far two resamplers may differ (Pillow's bicubic, with the
same kernel as CatmullRom but 8-bit between its two passes).
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from safetensors.torch import load_file, save_file

SIDE = 224
HERE = Path(__file__).parent


def galaxy(side, ratio, turn, arms):
    """A picture of an inclined exponential disc with spiral arms, a red bulge and two stars: u8 [side, side, 3]."""
    axis = (np.arange(side) + 0.5) / side * 2.0 - 1.0
    x, y = np.meshgrid(axis, axis)
    along, across = x * np.cos(turn) + y * np.sin(turn), (y * np.cos(turn) - x * np.sin(turn)) / ratio
    radius = np.hypot(along, across) + 1e-6
    wave = 1.0 + 0.6 * np.cos(arms * (np.arctan2(across, along) - 3.0 * np.log(radius + 0.05)))
    disc, bulge = np.exp(-radius / 0.22) * wave, 1.5 * np.exp(-((radius / 0.07) ** 0.7))
    star = lambda at_x, at_y: np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / 0.0006)
    stars = star(0.55, -0.6) + 0.7 * star(-0.7, 0.35)
    layers = [0.7 * disc + 1.1 * bulge + stars, 0.8 * disc + 0.8 * bulge + stars, disc + 0.4 * bulge + 0.8 * stars]
    picture = np.arcsinh(4.0 * np.stack(layers, -1)) / np.arcsinh(8.0)
    return np.clip(picture * 255.0 + 4.0, 0, 255).astype(np.uint8)


@torch.no_grad()
def features(model, pixels):
    """Pooled features [n, 1280] of u8 pixels [n, 224, 224, 3]."""
    tensor = (torch.from_numpy(pixels).float() - 127.0) / 128.0
    return model.extract_features(tensor.permute(0, 3, 1, 2).contiguous()).mean((2, 3))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = EfficientNet.from_name("efficientnet-lite0").eval()
    missing, unexpected = model.load_state_dict(load_file(arguments.weights), strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing), (missing, unexpected)

    exact = [galaxy(SIDE, 0.6, 0.5, 2), galaxy(SIDE, 0.95, 0.0, 3)]
    large = galaxy(424, 0.4, -0.8, 2)
    for index, picture in enumerate([*exact, large]):
        Image.fromarray(picture).save(HERE / f"golden-{index}.png", optimize=True)
    pixels = np.stack(exact)
    resized = np.array(Image.fromarray(large).resize((SIDE, SIDE), Image.Resampling.BICUBIC))[None]
    goldens = {
        "inputs.pixels": torch.from_numpy(pixels),
        "outputs.embedding": features(model, pixels),
        "reference.resized_embedding": features(model, resized),
    }
    save_file({name: each.contiguous() for name, each in goldens.items()}, HERE / "goldens.safetensors")
    for name, each in goldens.items():
        print(name, list(each.shape), each.float().mean().item(), each.max().item())


if __name__ == "__main__":
    main()
