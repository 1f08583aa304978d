"""FAISS, with what a user of it writes around it: sorted columns in NumPy, and a selector for each query."""

import faiss
import numpy as np
import pyarrow.parquet as pq

from measure import Stopwatch, sync_folder
from shapes import unit

PROBES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
EF = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096)
BLOCK = 50_000


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Single-precision rows of length 1, so that the inner product is the cosine."""
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


class Columns:
    """The columns in memory: which rows pass a filter, found through sorted orders where they help."""

    def __init__(self, table):
        units = unit(table["ra"].to_numpy(), table["dec"].to_numpy())
        self.count = len(units)
        self.order, self.values = {}, {}
        for name in ("z", "axis0", "dec"):
            values = table[name].to_numpy()
            self.order[name] = np.argsort(values, kind="stable")
            self.values[name] = values[self.order[name]]
        # In order of declination, so that a cone is looked for in a band; one array for each axis.
        self.units = [np.ascontiguousarray(axis) for axis in units[self.order["dec"]].T]
        kinds = np.asarray(table["class"].to_pylist())
        self.kinds = {kind: kinds == kind for kind in np.unique(kinds)}

    def slice_of(self, name: str, low: float, high: float) -> slice:
        """Places in the sorted order whose values are in a range, edges included."""
        values = self.values[name]
        return slice(np.searchsorted(values, low, side="left"), np.searchsorted(values, high, side="right"))

    def rows(self, wanted: dict):
        """Rows that pass, as a boolean array or as row numbers."""
        found = None
        if "cone" in wanted:
            ra, dec, radius = wanted["cone"]
            band = self.slice_of("dec", dec - radius, dec + radius)
            apart = sum((axis[band] - at) ** 2 for axis, at in zip(self.units, unit(ra, dec)))
            found = self.order["dec"][band][apart <= (2.0 * np.sin(np.radians(radius) / 2.0)) ** 2]
        if "range" in wanted:
            name, low, high = wanted["range"]
            inside = self.order[name][self.slice_of(name, low, high)]
            if found is None:
                found = inside
            else:
                passes = np.zeros(self.count, bool)
                passes[inside] = True
                found = found[passes[found]]
        if "equals" in wanted:
            kind = self.kinds[wanted["equals"][1]]
            found = kind if found is None else found[kind[found]]
        return found

    def mask(self, wanted: dict) -> np.ndarray:
        """Rows that pass, as a boolean array."""
        found = self.rows(wanted)
        if found.dtype == bool:
            return found
        passes = np.zeros(self.count, bool)
        passes[found] = True
        return passes


class Engine:
    """An index that is built or opened; `kind` is `flat`, `ivf`, `rabitq` or `hnsw`."""

    def __init__(self, options: dict):
        self.kind = options["kind"]
        self.index = self.columns = self.ids = None

    def make(self, vectors: np.ndarray):
        """An empty or trained index for the vectors."""
        count, dimension = vectors.shape
        lists = 2 ** int(np.round(np.log2(2.0 * np.sqrt(count))))
        names = {
            "flat": "Flat",
            "ivf": f"IVF{lists},Flat",
            "rabitq": f"IVF{lists},RaBitQfs4,Refine(Flat)",
            "hnsw": "HNSW16,Flat",
        }
        index = faiss.index_factory(dimension, names[self.kind], faiss.METRIC_INNER_PRODUCT)
        if self.kind == "hnsw":
            index.hnsw.efConstruction = 100
        if self.kind in ("ivf", "rabitq"):
            clustering = faiss.extract_index_ivf(index).cp
            clustering.niter, clustering.max_points_per_centroid = 10, 64
        return index, names[self.kind]

    def build(self, workload, folder, figures: dict, say) -> None:
        """Indexes a workload and writes the index and the columns to files."""
        faiss.omp_set_num_threads(2)
        given = np.load(workload / "vectors.npy", mmap_mode="r")
        clock = Stopwatch()
        vectors = np.empty(given.shape, np.float32)
        for start in range(0, len(given), BLOCK):
            vectors[start : start + BLOCK] = normalised(given[start : start + BLOCK])
        index, name = self.make(vectors)
        index.train(vectors)
        for start in range(0, len(vectors), BLOCK):
            index.add(vectors[start : start + BLOCK])
            say(start)
        figures["searchable_s"] = clock.lap()
        faiss.write_index(index, str(folder / "index.faiss"))
        pq.write_table(pq.read_table(workload / "catalogue.parquet"), folder / "catalogue.parquet")
        sync_folder(folder)
        # There is no import apart from the index: the three figures are one.
        figures["durable_s"] = figures["searchable_s"] + clock.lap()
        figures["durable_note"] = "a library: index written to a file and synced once, whole"
        figures["build_s"] = 0.0
        figures["indexed_vectors"] = index.ntotal
        figures["note"] = name

    def open(self, folder, threads: int) -> None:
        """Reads what was built into memory."""
        faiss.omp_set_num_threads(1)
        self.index = faiss.read_index(str(folder / "index.faiss"))
        table = pq.read_table(folder / "catalogue.parquet")
        self.columns, self.ids = Columns(table), table["object_id"].to_numpy()

    def routes(self, wanted: dict) -> list:
        """Ways to carry out a filter that differ in speed alone."""
        return [{}]

    def ladders(self, wanted: dict, route: dict) -> list:
        """Settings, each list from cheap to dear."""
        if self.kind == "flat":
            return [[{"as": "bitmap"}], [{"as": "array"}]] if wanted else [[{}]]
        if self.kind == "hnsw":
            return [[{"ef": ef} for ef in EF]]
        refines = (4, 10, 40) if self.kind == "rabitq" else (0,)
        return [[{"probes": probes, "refine": refine} for probes in PROBES] for refine in refines]

    def request(self, query: np.ndarray, wanted: dict, setting: dict):
        """What a query begins with; finding the rows and making the selector belong to the query's time."""
        return query, wanted, setting

    def selector(self, wanted: dict, setting: dict):
        """A selector, and the array that it points into."""
        if setting.get("as") == "array":
            rows = self.columns.rows(wanted)
            rows = np.flatnonzero(rows) if rows.dtype == bool else np.sort(rows)
            return faiss.IDSelectorArray(rows), rows
        bits = np.packbits(self.columns.mask(wanted), bitorder="little")
        return faiss.IDSelectorBitmap(bits), bits

    def parameters(self, sel, setting: dict):
        """Search parameters of the kind of index."""
        if self.kind == "flat":
            return faiss.SearchParameters(sel=sel)
        if self.kind == "hnsw":
            return faiss.SearchParametersHNSW(sel=sel, efSearch=setting["ef"])
        if self.kind == "ivf":
            return faiss.SearchParametersIVF(sel=sel, nprobe=setting["probes"])
        inner = faiss.IVFRaBitQSearchParameters(sel=sel, nprobe=setting["probes"])
        inner.qb = 8
        outer = faiss.IndexRefineSearchParameters(k_factor=setting["refine"], base_index_params=inner)
        outer.kept_alive = inner
        return outer

    def ask(self, request) -> list:
        """Object ids of the nearest."""
        query, wanted, setting = request
        sel, kept = self.selector(wanted, setting) if wanted else (None, None)
        vector = normalised(query[None, :])
        _, rows = self.index.search(vector, 10, params=self.parameters(sel, setting))
        del kept
        return self.ids[rows[0][rows[0] >= 0]].tolist()

    def close(self) -> None:
        """Nothing to do."""
