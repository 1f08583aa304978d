"""A real server, and a collection in it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable

import sidereus

ROWS = 2_000


class Server:
    """The server program on a data folder of its own; it can be killed and started again at its address."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder, self.port, self.words = folder, 0, words
        self.process: subprocess.Popen[str] | None = None
        self._lock, self._is_over = threading.Lock(), False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Server:
        """Start the server; nothing happens when the test is over, as a timer may fire late."""
        with self._lock:
            return self if self._is_over else self._start()

    def _start(self) -> Server:
        program = os.environ.get("SIDEREUS_BIN")
        if not program:
            pytest.exit("SIDEREUS_BIN names the server program to test against", returncode=3)
        words = [program, "serve", "--data", str(self.folder), "--grpc", f"127.0.0.1:{self.port}", *self.words]
        log = open(self.folder.parent / f"{self.folder.name}.log", "a")
        # Indices are built where a test asks for one: a build of its own accord takes memory and time that are measured.
        settings = {**os.environ, "SIDEREUS_INDEX__AUTO_ROWS": "0"}
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True, env=settings)
        log.close()
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = re.search(r"grpcs?://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found.group(1))
                return self
        raise AssertionError(f"the server ended: {(self.folder.parent / f'{self.folder.name}.log').read_text()}")

    def kill(self) -> None:
        """End the server as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def close(self) -> None:
        """Stop the server for good."""
        with self._lock:
            self._is_over = True
        self.stop()

    def _end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=30)
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server for one test alone."""
    server = Server(tmp_path / "data").start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "data").start()
        yield server
        server.close()


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[sidereus.Client]:
    with sidereus.connect(server.url, patience=10) as client:
        yield client


class Catalogue:
    """Objects over the whole sky, with every kind of column, missing values, and vectors in two spaces."""

    def __init__(self) -> None:
        random = np.random.default_rng(7)
        self.ids = np.arange(ROWS) + 1000
        self.ra = random.uniform(0, 360, ROWS)
        self.dec = np.degrees(np.arcsin(random.uniform(-1, 1, ROWS)))
        self.z = random.uniform(0, 1, ROWS)
        self.mag = random.uniform(15, 22, ROWS).astype(np.float32)
        self.no_mag = random.uniform(size=ROWS) < 0.1
        self.kind = np.where(random.uniform(size=ROWS) < 0.5, "QSO", "GALAXY")
        self.image = random.normal(size=(ROWS, 16)).astype(np.float32)
        # What a probe can find.
        self.image[:, 0] = self.z * 4
        self.colours = random.normal(size=(ROWS, 4)).astype(np.float32)
        self.colours[::5] = np.nan

    def table(self) -> Any:
        table = QTable()
        table["object_id"] = self.ids
        table["coord"] = SkyCoord(self.ra, self.dec, unit="deg").galactic
        table["z"] = self.z
        table["z"].info.meta = {"ucd": "src.redshift"}
        table["z"].info.description = "spectroscopic redshift"
        table["mag"] = np.ma.array(self.mag, mask=self.no_mag)
        table["mag"] = MaskedColumn(self.mag, mask=self.no_mag, unit=u.mag)
        table["kind"] = self.kind
        table["velocity"] = (self.z * 300).astype(np.float64) * u.km / u.s
        return table

    def separations(self, ra: float, dec: float) -> np.ndarray[Any, Any]:
        centre = SkyCoord(ra, dec, unit="deg")
        return np.asarray(centre.separation(SkyCoord(self.ra, self.dec, unit="deg")).deg)


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue()


SPACES = [sidereus.Space("image", 16, modality="image"), sidereus.Space("colours", 4, metric="l2", modality="photometry")]


@pytest.fixture(scope="session")
def sky(client: sidereus.Client, catalogue: Catalogue) -> sidereus.Collection:
    """The catalogue as a collection: one half in a segment, the other in the tail."""
    table = catalogue.table()
    sky = client.create_collection("sky", table, spaces=SPACES, description="made up")
    half = ROWS // 2
    for rows in (slice(0, half), slice(half, ROWS)):
        report = sky.ingest(
            table[rows], vectors={"image": catalogue.image[rows], "colours": catalogue.colours[rows]}, bulk=rows.start == 0
        )
        assert report.inserted == half
        if rows.start == 0:
            sky.build_index()
    return sky.refresh()


def wait_for(condition: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


if sys.flags.optimize:
    raise RuntimeError("tests need assertions")
