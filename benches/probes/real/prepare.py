"""Makes catalogues with labels for probes.

    python prepare.py --wheels DIR --output DIR [--rings DIR] [--miles DIR] [--hst FILE]

From kcorrect 5.1.9 and pyongc 1.2.2 (PyPI): galaxies.parquet, 10,000 SDSS galaxies with fluxes and redshifts, colours.npy
(their standardised colours and r magnitude), `morphology` where OpenNGC has a Hubble type within 5 arcsec; and ngc.parquet,
OpenNGC's own galaxies with B, V, J, H and K magnitudes. With --rings: rings.csv, the labels of Galaxy Zoo rings (a folder
with rings_public.csv and jpg256/). With --miles: miles.parquet and spectra.npy, MILES stars (miles985.csv,
miles985.npz). With --hst: hst.parquet, hst_spectra.npy and hst/, HST pictures and Keck spectra (deep2_hst_public.npz).
"""

import argparse
import csv
import io
import sqlite3
import struct
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from pyarrow import parquet

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "deploy" / "demo"))
from prepare import CATALOGUE, open_wheel, plain_colours  # noqa: E402

BANDS = "ugriz"


def stage(hubble):
    """Early (elliptical, lenticular) or late (spiral, irregular), or nothing for what is neither for sure."""
    text = (hubble or "").strip()
    if not text or "?" in text or "pec" in text.lower():
        return None
    if text.startswith(("E", "S0")) and not text.startswith("S0-a"):
        return "early"
    return "late" if text.startswith(("S", "SB", "I")) and not text.startswith("S0") else None


def openngc(wheel):
    name = next(name for name in wheel.namelist() if name.endswith("ongc.db"))
    with tempfile.NamedTemporaryFile() as file:
        file.write(wheel.read(name))
        file.flush()
        query = "select name, ra, dec, hubble, bmag, vmag, jmag, hmag, kmag, redshift from objects where hubble <> ''"
        rows = sqlite3.connect(f"file:{file.name}?mode=ro", uri=True).execute(query).fetchall()
    return [row for row in rows if row[1] is not None]


def write(table, path):
    parquet.write_table(pa.table(table), path, compression="zstd")


def galaxies(catalogue, ngc, output):
    table = fits.open(io.BytesIO(catalogue))[1].data
    ra, dec = (np.asarray(table[name], dtype=np.float64) for name in ("RA", "DEC"))
    columns = {"object_id": np.arange(len(table)), "ra": ra, "dec": dec, "z": np.asarray(table["Z"], dtype=np.float64)}
    for place, band in enumerate(BANDS):
        for name, source in (("flux", "MODELFLUX"), ("ivar", "MODELFLUX_IVAR"), ("extinction", "EXTINCTION")):
            columns[f"{name}_{band}"] = np.asarray(table[source][:, place], dtype=np.float64)
    places = SkyCoord([row[1] for row in ngc] * units.rad, [row[2] for row in ngc] * units.rad)
    nearest, separation, _ = SkyCoord(ra * units.deg, dec * units.deg).match_to_catalog_sky(places)
    near = separation < 5 * units.arcsec
    columns["morphology"] = pa.array([stage(ngc[at][3]) if ok else None for at, ok in zip(nearest, near)], pa.string())
    colours = plain_colours(table)
    for place, name in enumerate(("u_g", "g_r", "r_i", "i_z", "r")):
        columns[f"colour_{name}"] = colours[:, place].astype(np.float64)
    write(columns, output / "galaxies.parquet")
    np.save(output / "colours.npy", colours)
    print(f"galaxies: {len(ra)}, {near.sum()} within 5 arcsec of an OpenNGC galaxy with a Hubble type", file=sys.stderr)


def ngc_table(ngc, output):
    rows = [row for row in ngc if stage(row[3]) and all(value is not None for value in row[4:9])]
    b, v, j, h, k = (np.array([row[place] for row in rows], dtype=np.float64) for place in range(4, 9))
    columns = {
        "object_id": [row[0] for row in rows],
        "ra": np.degrees([row[1] for row in rows]),
        "dec": np.degrees([row[2] for row in rows]),
        "morphology": [stage(row[3]) for row in rows],
        "b_v": b - v, "v_j": v - j, "j_h": j - h, "h_k": h - k, "k": k,
    }
    write(columns, output / "ngc.parquet")
    vectors = np.column_stack([columns[name] for name in ("b_v", "v_j", "j_h", "h_k")])
    np.save(output / "ngc_colours.npy", vectors.astype(np.float32))
    print(f"ngc: {len(rows)} galaxies with a type and five magnitudes", file=sys.stderr)


def rings(folder, output):
    rows = [row for row in csv.DictReader((folder / "rings_public.csv").open()) if (folder / "jpg256" / f"{row['id_str']}.jpg").exists()]
    with (output / "rings.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["object_id", "ra", "dec", "ring"])
        writer.writerows([row["id_str"], row["ra"], row["dec"], "ring" if row["ring"] == "1" else "none"] for row in rows)
    print(f"rings: {len(rows)} pictures", file=sys.stderr)


def miles(folder, output):
    spectra = np.load(folder / "miles985.npz")
    known = {row["id"]: row for row in csv.DictReader((folder / "miles985.csv").open())}
    keep = [place for place, name in enumerate(spectra["id"]) if name in known and known[name]["teff"]]
    flux = spectra["flux"][keep].astype(np.float64)
    flux /= np.median(flux, axis=1, keepdims=True)
    names = [spectra["id"][place] for place in keep]

    def number(name, key):
        text = known[name][key]
        return float(text) if text and text != "nan" else None

    # The library has no positions here: the stars stand on a spiral around the sky, and no spatial split makes sense.
    turn = np.arange(len(keep)) * np.pi * (3 - np.sqrt(5))
    columns = {
        "object_id": names,
        "ra": np.degrees(turn) % 360,
        "dec": np.degrees(np.arcsin(np.linspace(-0.99, 0.99, len(keep)))),
        "log_teff": [np.log10(float(known[name]["teff"])) for name in names],
        "log_g": [number(name, "logg") for name in names],
        "fe_h": [number(name, "feh") for name in names],
    }
    write(columns, output / "miles.parquet")
    np.save(output / "spectra.npy", flux.astype(np.float32))
    print(f"miles: {len(keep)} stars, {flux.shape[1]} pixels", file=sys.stderr)


def png(pixels):
    """The bytes of a PNG file of 8-bit RGB pixels [height, width, 3]."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def hst(path, output):
    """Pictures of two HST bands and Keck spectra of the same galaxies: PNGs, and spectra binned to 256 numbers."""
    data = np.load(path)
    (output / "hst").mkdir()
    spectra = []
    for place, name in enumerate(data["id"]):
        blue, red = (data[band][place].astype(np.float64) for band in ("img_f606w", "img_f814w"))
        bands = []
        for band in (red, (red + blue) / 2, blue):
            low, high = np.percentile(band, (20, 99.7))
            bands.append(np.clip(np.arcsinh(10 * (band - low) / (high - low)) / np.arcsinh(10), 0, 1))
        pixels = (255 * np.stack(bands, axis=-1)).astype(np.uint8)
        (output / "hst" / f"{name}.png").write_bytes(png(pixels))
        weight = data["ivar"][place].astype(np.float64).reshape(256, 8)
        flux = data["flux"][place].astype(np.float64).reshape(256, 8)
        total = weight.sum(axis=1)
        mean = np.divide((flux * weight).sum(axis=1), total, out=np.zeros(256), where=total > 0)
        spectra.append(mean / max(np.median(np.abs(mean)), 1e-9))
    write({"object_id": data["id"], "ra": data["ra"], "dec": data["dec"]}, output / "hst.parquet")
    np.save(output / "hst_spectra.npy", np.array(spectra, dtype=np.float32))
    print(f"hst: {len(spectra)} galaxies with pictures and spectra", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rings", type=Path)
    parser.add_argument("--miles", type=Path)
    parser.add_argument("--hst", type=Path)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    ngc = openngc(open_wheel(arguments.wheels, "pyongc-1.2.2-*.whl"))
    galaxies(open_wheel(arguments.wheels, "kcorrect-5.1.9-*.whl").read(CATALOGUE), ngc, arguments.output)
    ngc_table(ngc, arguments.output)
    if arguments.rings:
        rings(arguments.rings, arguments.output)
    if arguments.hst:
        hst(arguments.hst, arguments.output)
    if arguments.miles:
        miles(arguments.miles, arguments.output)


if __name__ == "__main__":
    main()
