"""The engines by name."""

from dataclasses import dataclass, field

OURS = "sidereus"


@dataclass(frozen=True)
class Chosen:
    """A rival: the module that drives it, its options, and the colour of its dots."""

    module: str
    colour: str
    options: tuple = field(default=())


ENGINES = {
    "qdrant": Chosen("engine_qdrant", "#d62728"),
    "lance-rq": Chosen("engine_lance", "#2ca02c", (("kind", "rq"),)),
    "lance-pq": Chosen("engine_lance", "#98df8a", (("kind", "pq"),)),
    "faiss-flat": Chosen("engine_faiss", "#c5b0d5", (("kind", "flat"),)),
    "faiss-ivf": Chosen("engine_faiss", "#9467bd", (("kind", "ivf"),)),
    "faiss-rabitq": Chosen("engine_faiss", "#e377c2", (("kind", "rabitq"),)),
    "faiss-hnsw": Chosen("engine_faiss", "#8c564b", (("kind", "hnsw"),)),
}
# When a rival's build does not fit into the time, it is built once more with less.
FALLBACKS = {"qdrant": {"edges": False}}
COLOURS = {OURS: "#1f77b4"} | {name: chosen.colour for name, chosen in ENGINES.items()}
