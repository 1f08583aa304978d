"""Qdrant Edge: one shard in this process, the server's own HNSW, payload indices and planner."""

import os

import numpy as np
import pyarrow.parquet as pq
import qdrant_edge as qdrant

from measure import Stopwatch

BATCH = 1_000
EARTH_METRES = 6_371_008.8
LADDER = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
# Extra edges for filters are what makes Qdrant's filtered graph good, and what makes its build long.
INDICES = {
    "place": lambda edges: qdrant.GeoIndexParams(enable_hnsw=edges),
    "z": lambda edges: qdrant.FloatIndexParams(enable_hnsw=edges),
    "axis0": lambda edges: qdrant.FloatIndexParams(enable_hnsw=edges),
    "class": lambda edges: qdrant.KeywordIndexParams(enable_hnsw=edges),
}


def longitude(ra: float) -> float:
    """A longitude for a right ascension: turned, so that the wide survey does not lie across the date line."""
    return ra - 180.0


def config(dimension: int, threads: int) -> qdrant.EdgeConfig:
    """Cosine, m and ef_construct of Qdrant's defaults, one segment, everything cached in memory."""
    return qdrant.EdgeConfig(
        vectors=qdrant.EdgeVectorParams(size=dimension, distance=qdrant.Distance.Cosine),
        hnsw_config=qdrant.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10_000, max_indexing_threads=2),
        optimizers=qdrant.EdgeOptimizersConfig(
            default_segment_number=1, indexing_threshold=1_000, max_segment_size=100_000_000
        ),
        max_search_threads=threads,
    )


class Engine:
    """A shard that is built or opened."""

    def __init__(self, options: dict):
        self.with_edges, self.dimension = options.get("edges", True), options["dimension"]
        self.shard = None

    def build(self, workload, folder, figures: dict, say) -> None:
        """Imports and indexes a workload."""
        vectors = np.load(workload / "vectors.npy", mmap_mode="r")
        table = pq.read_table(workload / "catalogue.parquet")
        columns = {name: table[name].to_pylist() for name in table.column_names}
        shard = qdrant.EdgeShard.create(str(folder), config(vectors.shape[1], 2))
        for name, schema in INDICES.items():
            shard.update(qdrant.UpdateOperation.create_field_index(name, schema(self.with_edges)))
        clock = Stopwatch()
        others = [name for name in columns if name not in ("object_id", "ra", "dec")]
        for start in range(0, len(vectors), BATCH):
            block = vectors[start : start + BATCH].tolist()
            points = []
            for row, vector in enumerate(block, start):
                payload = {name: columns[name][row] for name in others}
                payload["place"] = {"lon": longitude(columns["ra"][row]), "lat": columns["dec"][row]}
                points.append(qdrant.Point(columns["object_id"][row], vector, payload))
            shard.update(qdrant.UpdateOperation.upsert_points(points))
            say(start)
        shard.flush()
        figures["durable_s"] = figures["searchable_s"] = clock.lap()
        figures["durable_note"] = "upserts, then flush"
        shard.optimize()
        shard.flush()
        figures["build_s"] = clock.lap()
        info = shard.info()
        figures["indexed_vectors"], figures["segments"] = info.indexed_vectors_count, info.segments_count
        figures["note"] = "payload edges" if self.with_edges else "no payload edges: they did not fit into the time"
        shard.close()

    def open(self, folder, threads: int) -> None:
        """Opens what was built."""
        self.shard = qdrant.EdgeShard.load(str(folder), config(self.dimension, threads))

    def routes(self, wanted: dict) -> list:
        """Ways to carry out a filter that differ in speed alone."""
        return [{}]

    def ladders(self, wanted: dict, route: dict) -> list:
        """Settings, each list from cheap to dear."""
        plain = [{"ef": ef} for ef in LADDER]
        return [plain, [{"ef": ef, "acorn": True} for ef in LADDER]] if wanted else [plain]

    def request(self, query: np.ndarray, wanted: dict, setting: dict):
        """A request, ready to be sent."""
        conditions = []
        if "cone" in wanted:
            ra, dec, radius = wanted["cone"]
            centre = qdrant.GeoPoint(longitude(ra), dec)
            metres = float(np.radians(radius)) * EARTH_METRES
            conditions.append(qdrant.FieldCondition("place", geo_radius=qdrant.GeoRadius(centre, metres)))
        if "range" in wanted:
            column, low, high = wanted["range"]
            conditions.append(qdrant.FieldCondition(column, range=qdrant.RangeFloat(gte=low, lte=high)))
        if "equals" in wanted:
            column, value = wanted["equals"]
            conditions.append(qdrant.FieldCondition(column, match=qdrant.MatchValue(value)))
        acorn = qdrant.AcornSearchParams(enable=True, max_selectivity=1.0) if setting.get("acorn") else None
        return qdrant.QueryRequest(
            limit=10,
            query=qdrant.Query.Nearest(query.tolist()),
            filter=qdrant.Filter(must=conditions) if conditions else None,
            params=qdrant.SearchParams(hnsw_ef=setting["ef"], acorn=acorn),
            with_payload=False,
            with_vector=False,
        )

    def ask(self, request) -> list:
        """Object ids of the nearest."""
        return [point.id for point in self.shard.query(request)]

    def close(self) -> None:
        """Ends the process at once where closing would take its time."""
        os.sync()
