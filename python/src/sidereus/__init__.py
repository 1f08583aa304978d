"""Client of Sidereus, a vector database for the sky.

::

    import sidereus
    galaxies = sidereus.connect("https://host:50051", token="...")["galaxies"]
    galaxies.search(like=4974, space="photometry", cone=(150.1, 2.2, "3deg"), where="z < 0.3").to_table()
"""

from ._client import Client, connect
from ._collection import Collection
from ._errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    LimitReached,
    NotFound,
    RowsRefused,
    ServerFault,
    SidereusError,
    TimedOut,
    Unauthenticated,
    Unavailable,
    Unsupported,
    Untrusted,
)
from ._ingest import IngestReport, RefusedRow
from ._probes import Measure, Probe, Probes
from ._schema import Column, Space
from ._search import SearchResult, Stats, Term
from ._table import Objects

__version__ = "0.1.0"

__all__ = [
    "Client",
    "Collection",
    "Column",
    "Conflict",
    "Forbidden",
    "IngestReport",
    "InvalidRequest",
    "LimitReached",
    "Measure",
    "NotFound",
    "Objects",
    "Probe",
    "Probes",
    "RefusedRow",
    "RowsRefused",
    "SearchResult",
    "ServerFault",
    "SidereusError",
    "Space",
    "Stats",
    "Term",
    "TimedOut",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "Untrusted",
    "connect",
]
