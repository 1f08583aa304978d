"""LanceDB: tables are made with LanceDB and asked through Lance, whose call costs less than LanceDB's."""

import os
from datetime import timedelta

import lance
import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lancedb.index import Bitmap, BTree, IvfPq, IvfRq

from measure import Stopwatch, sync_folder
from shapes import unit

BLOCK = 50_000
PROBES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
REFINES = (5, 20, 2)
SORTED = ("z", "axis0", "dec", "cell")
COVER_RANGES_MAX = 24
TABLE = "objects"


def cover(ra: float, dec: float, radius: float) -> list[tuple[int, int]]:
    """Ranges of order-29 cells that hold a cone: few, and therefore coarse."""
    import astropy.units as u
    from astropy.coordinates import Latitude, Longitude
    from cdshealpix.nested import cone_search

    # A cell of order d is about 58.6 / 2^d degrees wide.
    depth = int(np.clip(np.floor(np.log2(58.6 / max(radius, 1e-6))) + 1, 0, 29))
    found, depths, _ = cone_search(Longitude(ra, u.deg), Latitude(dec, u.deg), radius * u.deg, depth)
    shift = 2 * (29 - depths.astype(np.int64))
    starts, ends = found.astype(np.int64) << shift, ((found.astype(np.int64) + 1) << shift) - 1
    ranges = []
    for start, end in sorted(zip(starts.tolist(), ends.tolist())):
        if ranges and start <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(end, ranges[-1][1]))
        else:
            ranges.append((start, end))
    return ranges


class Engine:
    """A table that is built or opened; `kind` is `rq` or `pq`."""

    def __init__(self, options: dict):
        self.kind = options["kind"]
        self.table = None

    def load(self, workload, folder, figures: dict, say):
        """Imports a workload; returns the table, the dimension of its vectors, and the clock."""
        vectors = np.load(workload / "vectors.npy", mmap_mode="r")
        cells = np.load(workload / "cells.npy")
        positions = pq.read_table(workload / "catalogue.parquet", columns=["ra", "dec"])
        units = unit(positions["ra"].to_numpy(), positions["dec"].to_numpy())
        dimension = vectors.shape[1]
        # An import begins with the files; the columns that only its cones need are a gift.
        clock = Stopwatch()
        catalogue = pq.read_table(workload / "catalogue.parquet")
        database, table = lancedb.connect(str(folder)), None
        for start in range(0, len(vectors), BLOCK):
            part = catalogue.slice(start, BLOCK)
            block = pa.array(np.ascontiguousarray(vectors[start : start + BLOCK]).reshape(-1))
            part = part.append_column("vector", pa.FixedSizeListArray.from_arrays(block, dimension))
            part = part.append_column("cell", pa.array(cells[start : start + BLOCK]))
            for axis, name in enumerate("xyz"):
                part = part.append_column(f"u{name}", pa.array(units[start : start + BLOCK, axis]))
            table = database.create_table(TABLE, part) if table is None else table
            if start:
                table.add(part)
            say(start)
        figures["searchable_s"] = clock.lap()
        figures["durable_s"] = figures["searchable_s"] + sync_folder(folder)
        figures["durable_note"] = "does not sync by itself: its files were synced afterwards"
        return table, dimension, clock

    def build(self, workload, folder, figures: dict, say) -> None:
        """Imports and indexes a workload."""
        table, dimension, clock = self.load(workload, folder, figures, say)
        clock.lap()
        # One file instead of many, before the indices are made; what it was made of need not stay on disk.
        table.optimize(cleanup_older_than=timedelta(0))
        # The documentation advises about 4,096 rows for a partition.
        partitions = max(16, table.count_rows() // 4096)
        if self.kind == "rq":
            wanted = IvfRq(distance_type="cosine", num_partitions=partitions, num_bits=5)
        else:
            parts = dimension // (8 if dimension % 8 == 0 else 5)
            # Half of the default rounds of k-means, on a quarter of the sample: in high dimensions the defaults take
            # many minutes.
            wanted = IvfPq(
                distance_type="cosine",
                num_partitions=partitions,
                num_sub_vectors=parts,
                max_iterations=25,
                sample_rate=64,
            )
        table.create_index("vector", config=wanted)
        for column in SORTED:
            table.create_index(column, config=BTree())
        table.create_index("class", config=Bitmap())
        figures["build_s"] = clock.lap()
        statistics = table.index_stats("vector_idx")
        figures["indexed_vectors"] = statistics.num_indexed_rows
        figures["note"] = f"IVF_{self.kind.upper()}, {partitions} partitions"

    def open(self, folder, threads: int) -> None:
        """Opens what was built."""
        self.table = lance.dataset(str(folder / f"{TABLE}.lance"))

    def routes(self, wanted: dict) -> list:
        """Ways to carry out a filter that differ in speed alone, tried at a middling setting."""
        names = ("exact", "band", "cells") if "cone" in wanted else ("",)
        return [{"probes": 16, "refine": 5, "route": name} for name in names]

    def ladders(self, wanted: dict, route: dict) -> list:
        """Settings, each list from cheap to dear."""
        return [[{**route, "probes": probes, "refine": refine} for probes in PROBES] for refine in REFINES]

    def request(self, query: np.ndarray, wanted: dict, setting: dict):
        """The arguments of a call."""
        terms = []
        if "cone" in wanted:
            ra, dec, radius = wanted["cone"]
            centre = unit(ra, dec)
            chord = (2.0 * np.sin(np.radians(radius) / 2.0)) ** 2
            apart = " + ".join(
                f"(u{axis} - {float(at)!r}) * (u{axis} - {float(at)!r})" for axis, at in zip("xyz", centre)
            )
            if setting["route"] == "band":
                terms.append(f"dec BETWEEN {max(dec - radius, -90.0)!r} AND {min(dec + radius, 90.0)!r}")
            if setting["route"] == "cells":
                ranges = cover(ra, dec, radius)[:COVER_RANGES_MAX]
                terms.append("(" + " OR ".join(f"(cell BETWEEN {low} AND {high})" for low, high in ranges) + ")")
            terms.append(f"({apart} <= {float(chord)!r})")
        if "range" in wanted or "equals" in wanted:
            terms.append(wanted["where"])
        nearest = {
            "column": "vector",
            "q": query,
            "k": 10,
            "metric": "cosine",
            "nprobes": setting["probes"],
            "refine_factor": setting["refine"],
        }
        return {"nearest": nearest, "filter": " AND ".join(terms) or None}

    def ask(self, request) -> list:
        """Object ids of the nearest."""
        found = self.table.to_table(
            columns=["object_id", "_distance"],
            prefilter=True,
            disable_scoring_autoprojection=True,
            **request,
        )
        return found["object_id"].to_pylist()

    def close(self) -> None:
        """Nothing to do."""
        os.sync()
