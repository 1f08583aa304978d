"""The photometry-mm encoder in PyTorch: the reference that the goldens are made with.

A masked-modelling transformer over photometric bands learns, for every band, what the other bands say
about it: a Gaussian prior over the band's asinh flux. The embedding combines that prior with the
measurement, each weighed by its inverse variance, so that a good measurement is kept as it is, a noisy
one is drawn to what the other bands say, and a missing one is filled in.
"""

import math

import torch
from torch import nn
from torch.nn import functional

BANDS = ["u", "g", "r", "i", "z"]
INPUTS = [f"flux_{band}" for band in BANDS] + [f"ivar_{band}" for band in BANDS]
OPTIONAL_INPUTS = [f"extinction_{band}" for band in BANDS]
CONFIG = {"width": 48, "depth": 2, "heads": 4, "hidden": 96}
DIMENSION = 64
VALUE_MAX, NOISE_MAX = 12.0, 6.0
LOG_VARIANCE_MIN, LOG_VARIANCE_MAX = -12.0, 4.0


def asinh_flux(flux, ivar, extinction, softening):
    """Asinh fluxes corrected for extinction, their errors, and which bands are observed (float64 [n, B]).

    flux is in nanomaggies, ivar in nanomaggies^-2, extinction in magnitudes; NaN marks an absent number.
    """
    gain = 10.0 ** (0.4 * torch.where(extinction.isfinite(), extinction, 0.0))
    flux, weight = flux * gain, ivar / gain**2
    observed = flux.isfinite() & weight.isfinite() & (weight > 0)
    flux, weight = torch.where(observed, flux, 0.0), torch.where(observed, weight, 1.0)
    value = torch.asinh(flux / (2.0 * softening))
    error = 1.0 / (weight.sqrt() * (flux**2 + 4.0 * softening**2).sqrt())
    return value, error, observed


class Preprocessing(nn.Module):
    """Preprocessing `asinh-flux-v1`: rows of numbers to features [n, B, (value, noise, variance, observed)]."""

    NAMES = ["softening", "centre", "scale", "noise_centre", "noise_scale"]

    def __init__(self):
        super().__init__()
        for name in self.NAMES:
            self.register_buffer(name, torch.ones(len(BANDS), dtype=torch.float64))

    @torch.no_grad()
    def fit(self, flux, ivar, extinction):
        """Sets the constants from training objects that have every band."""
        clean = 10.0 ** (0.4 * extinction)
        self.softening.copy_(0.5 * (clean / ivar.sqrt()).median(0).values)
        value, error, _ = asinh_flux(flux, ivar, extinction, self.softening)
        self.centre.copy_(value.mean(0))
        self.scale.copy_(value.std(0))
        self.noise_centre.copy_(error.log().mean(0))
        self.noise_scale.copy_(error.log().std(0))

    def forward(self, flux, ivar, extinction):
        raw, error, observed = asinh_flux(flux, ivar, extinction, self.softening)
        value = ((raw - self.centre) / self.scale).clamp(-VALUE_MAX, VALUE_MAX)
        noise = ((error.log() - self.noise_centre) / self.noise_scale).clamp(-NOISE_MAX, NOISE_MAX)
        variance = (error / self.scale) ** 2
        features = torch.stack([value, noise, variance, torch.ones_like(value)], -1)
        absent = torch.tensor([0.0, 0.0, 1.0, 0.0], dtype=features.dtype)
        return torch.where(observed[..., None], features, absent).float()


class Attention(nn.Module):
    """Multi-head self-attention without a mask: a missing band is a token that says so."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, hidden):
        count, tokens, width = hidden.shape
        qkv = self.qkv(hidden).reshape(count, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)).softmax(-1)
        return self.proj((weights @ value).transpose(1, 2).reshape(count, tokens, width))


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, hidden):
        return self.fc2(functional.gelu(self.fc1(hidden)))


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, hidden)

    def forward(self, hidden):
        hidden = hidden + self.attn(self.norm1(hidden))
        return hidden + self.mlp(self.norm2(hidden))


class PerBand(nn.Module):
    """One linear map for each band: [n, B, inputs] to [n, B, outputs]."""

    def __init__(self, inputs, outputs, scale):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(len(BANDS), outputs, inputs) * scale)
        self.bias = nn.Parameter(torch.randn(len(BANDS), outputs) * scale)

    def forward(self, hidden):
        return torch.einsum("nbi,boi->nbo", hidden, self.weight) + self.bias


class PhotometryMm(nn.Module):
    """The whole encoder: preprocessing, transformer, per-band head, and the fitted final linear map."""

    def __init__(self, width, depth, heads, hidden):
        super().__init__()
        self.preprocess = Preprocessing()
        self.embed = PerBand(4, width, 0.5)
        with torch.no_grad():
            self.embed.weight[..., 0] *= 4.0  # differences between bands are smaller than the level
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = PerBand(width, 2, 0.02)
        self.whiten = nn.Linear(len(BANDS) * (1 + width), DIMENSION)

    def trunk(self, value, noise, seen):
        """Tokens [m, B, width] and the level [m, 1] from the bands that `seen` [m, B] allows to look at."""
        level = (value * seen).sum(-1, keepdim=True) / seen.sum(-1, keepdim=True).clamp(min=1.0)
        inputs = [(value - level) * seen, noise * seen, seen, level.expand_as(value)]
        hidden = self.embed(torch.stack(inputs, -1))
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden), level

    def predict(self, value, noise, seen):
        """Mean and variance [m, B] of every band's value given the bands seen."""
        hidden, level = self.trunk(value, noise, seen)
        mean, log_variance = self.head(hidden).unbind(-1)
        return level + mean, log_variance.clamp(LOG_VARIANCE_MIN, LOG_VARIANCE_MAX).exp()

    def posterior(self, features):
        """Posterior means [n, B] and context [n, B * width] from features [n, B, 4]."""
        value, noise, variance, observed = features.unbind(-1)
        count, bands = value.shape
        seen = (observed[:, None] * (1.0 - torch.eye(bands, device=observed.device))).reshape(-1, bands)
        others = [each.repeat_interleave(bands, 0) for each in (value, noise)]
        mean, prior = (each.reshape(count, bands, bands) for each in self.predict(*others, seen))
        mean, prior = (each.diagonal(dim1=1, dim2=2) for each in (mean, prior))
        gain = observed * prior / (prior + variance)
        context, _ = self.trunk(value, noise, observed)
        return mean + gain * (value - mean), context.flatten(1)

    def forward(self, features):
        return self.whiten(torch.cat(self.posterior(features), -1))
