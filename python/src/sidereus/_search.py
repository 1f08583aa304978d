"""Searches: what is asked, and what is answered."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from . import _schema, _sky
from ._errors import InvalidRequest
from ._table import Objects
from .v1 import objects_pb2 as objects
from .v1 import search_service_pb2 as search

METHODS = {
    None: search.EXAMPLE_METHOD_UNSPECIFIED,
    "centroid": search.EXAMPLE_METHOD_CENTROID,
    "rocchio": search.EXAMPLE_METHOD_ROCCHIO,
    "max-sim": search.EXAMPLE_METHOD_MAX_SIM,
    "probe": search.EXAMPLE_METHOD_PROBE,
}

FUSIONS = {
    "distances": search.FUSION_UNSPECIFIED,
    "weighted": search.FUSION_WEIGHTED,
    "rrf": search.FUSION_RECIPROCAL_RANK,
    "max": search.FUSION_MAX,
    "min": search.FUSION_MIN,
}


@dataclass(frozen=True)
class Term:
    """One thing to be near to, in one space; a search may have several.

    Parameters
    ----------
    space
        Name of the space; may be empty where only one fits.
    like, unlike
        Ids of objects of the collection that hits should be like, and unlike.
    vectors
        Vectors, one each row.
    examples
        What the space's own model encodes on the fly: see :meth:`sidereus.Collection.search`.
    weight
        Share among several terms.
    method
        How several examples become a distance: ``centroid``, ``rocchio``, ``max-sim`` or ``probe``.
    from_space, bridge
        Space that like, vectors and examples are of, where it is another one, and the bridge that leads from it.
    modality
        Modality of the examples, where it is not that of the space.
    """

    space: str = ""
    like: Sequence[int | str] = ()
    unlike: Sequence[int | str] = ()
    vectors: Any = ()
    examples: Sequence[Any] = ()
    weight: float = 1.0
    method: str | None = None
    from_space: str = ""
    bridge: str = ""
    modality: str = ""

    def to_message(self, schema: objects.CollectionSchema) -> search.VectorTerm:
        """Make the message of the term."""
        modality = self.modality
        if self.examples and not modality:
            modality = _modality(schema, self.from_space or self.space)
        vectors = np.atleast_2d(np.asarray(self.vectors, dtype=np.float32)) if np.size(self.vectors) else ()
        return search.VectorTerm(
            space=self.space,
            weight=self.weight,
            like=object_ids(self.like),
            unlike=object_ids(self.unlike),
            vectors=[objects.Vector(values=vector.tolist()) for vector in vectors],
            examples=[payload(example, modality) for example in self.examples],
            from_space=self.from_space,
            bridge=self.bridge,
            method=_one_of("method", self.method, METHODS),
        )


def _modality(schema: objects.CollectionSchema, space: str) -> str:
    if space:
        return _schema.find_space(schema, space).modality
    spaces = [known for known in schema.spaces if _schema.holds_vectors(known)]
    if len(spaces) != 1:
        raise InvalidRequest("say the space or the modality of an example")
    return spaces[0].modality


def _one_of(what: str, given: Any, known: Mapping[Any, Any]) -> Any:
    if given not in known:
        words = ", ".join(repr(word) for word in known if word is not None)
        raise InvalidRequest(f"{what} is {given!r}; it is one of {words}")
    return known[given]


def object_ids(given: Any) -> list[objects.ObjectId]:
    """Read one id, or several."""
    if given is None:
        return []
    if isinstance(given, (int, str, np.integer)):
        given = [given]
    made = []
    for one in given:
        if isinstance(one, (str, np.str_)):
            made.append(objects.ObjectId(text=str(one)))
        elif isinstance(one, (int, np.integer)) and not isinstance(one, bool):
            made.append(objects.ObjectId(number=int(one)))
        else:
            raise InvalidRequest(f"{one!r} is no object id: ids are whole numbers or text")
    return made


def payload(example: Any, modality: str) -> search.Payload:
    """Make the message of an example: an image file or its bytes, named numbers, or named arrays."""
    if isinstance(example, search.Payload):
        return example
    if isinstance(example, (str, PathLike)):
        try:
            example = Path(example).read_bytes()
        except OSError as error:
            raise InvalidRequest(f"the example cannot be read: {error}") from error
    if isinstance(example, (bytes, bytearray)):
        return search.Payload(modality=modality, image=bytes(example))
    if isinstance(example, Mapping):
        if all(np.ndim(value) == 0 for value in example.values()):
            values = {name: float(value) for name, value in example.items()}
            return search.Payload(modality=modality, row=search.NamedValues(values=values))
        arrays = {name: _wire_array(value) for name, value in example.items()}
        return search.Payload(modality=modality, arrays=search.NamedArrays(arrays=arrays))
    raise InvalidRequest(
        f"an example cannot be read from {type(example).__name__}: give an image file, its bytes, a dict of numbers, or "
        "a dict of arrays"
    )


def _wire_array(value: Any) -> search.Array:
    single = np.ascontiguousarray(value, dtype="<f4")
    return search.Array(shape=single.shape, float32=single.tobytes())


@dataclass(frozen=True)
class Stats:
    """What a search did.

    Attributes
    ----------
    plan
        Name of the plan.
    exact
        Whether nothing was estimated.
    recall
        Recall@10 that was measured for the recall wished, when the index was built; ``None`` for exact answers.
    rows
        Objects in the collection.
    survivors
        Objects that region and condition leave; only an estimate unless ``survivors_are_counted``.
    scanned
        Objects that were compared.
    milliseconds
        Time that the server took.
    version
        Commit that was searched.
    """

    plan: str
    exact: bool
    recall: float | None
    rows: int
    survivors: int
    survivors_are_counted: bool
    scanned: int
    milliseconds: float
    version: int
    method: str = ""
    fusion: str = ""
    message: search.QueryStats = field(default_factory=search.QueryStats, repr=False, compare=False)

    @classmethod
    def of(cls, stats: search.QueryStats) -> Stats:
        """Read the message."""
        return cls(
            plan=stats.plan,
            exact=stats.exact,
            recall=stats.estimated_recall if stats.HasField("estimated_recall") else None,
            rows=stats.rows_total,
            survivors=stats.rows_surviving,
            survivors_are_counted=stats.survivors_are_counted,
            scanned=stats.rows_scanned,
            milliseconds=stats.elapsed_ms,
            version=stats.version,
            method=stats.method,
            fusion=stats.fusion,
            message=stats,
        )


class SearchResult(Objects):
    """Hits of a search, nearest first.

    Beside the columns of :class:`Objects` there are ``distance`` (smaller is nearer) and ``score`` (larger is better)
    where the search was near to something.
    """

    def __init__(self, table: pa.Table, collection: str, stats: Stats) -> None:
        super().__init__(table, collection)
        self.stats = stats

    @property
    def explain(self) -> str:
        """The plan with its estimates and what came of it; empty unless the search was made with ``explain=True``."""
        return self.stats.message.explanation

    def _title(self) -> str:
        stats = self.stats
        sure = "exact" if stats.exact else f"recall {stats.recall:.3f}" if stats.recall is not None else "estimated"
        count = len(self)
        hits = f"{count:,} hit{'' if count == 1 else 's'} in {self.collection}"
        return f"{hits} ({stats.plan}, {sure}, {stats.milliseconds:.1f} ms)"

    def _repr_html_(self) -> str:
        explanation = f"<pre>{html.escape(self.explain)}</pre>" if self.explain else ""
        return super()._repr_html_() + explanation


_VALUES = {"boolean", "integer", "real", "text", "binary"}


def value_of(value: objects.Value) -> Any:
    """Read one value of a column."""
    kind = value.WhichOneof("kind")
    if kind == "floats":
        return list(value.floats.values)
    return getattr(value, kind) if kind in _VALUES else None


def id_of(message: objects.ObjectId) -> int | str:
    """Read an id."""
    return message.text if message.WhichOneof("id") == "text" else message.number


def table_of(
    found: Iterable[search.Hit] | Iterable[objects.Object],
    schema: objects.CollectionSchema,
    *,
    names: Sequence[str] | None = None,
    with_distances: bool = False,
    with_vectors: bool = False,
    with_beside: bool = False,
    centre: objects.Position | None = None,
) -> pa.Table:
    """Make a table of hits or objects, with their separations from a centre where there is one."""
    rows: list[Any] = list(found)
    fields = _schema.position_fields(schema)
    arrays = [
        pa.array([id_of(row.id) for row in rows], fields[0].type),
        pa.array([row.position.ra for row in rows], pa.float64()),
        pa.array([row.position.dec for row in rows], pa.float64()),
    ]
    taken = {name.lower() for row in rows for name in row.columns}
    if centre is not None and "separation" not in taken:
        about = {"unit": "arcsec", "ucd": "pos.angDistance", "description": "from the centre of the cone"}
        fields.append(pa.field("separation", pa.float64(), metadata=about))
        arrays.append(pa.array(_sky.separations(centre, arrays[1].to_numpy(), arrays[2].to_numpy()), pa.float64()))
    if with_distances:
        for name, text in (("distance", "from what was asked for; smaller is nearer"), ("score", "larger is better")):
            numbers = [getattr(row, name) if row.HasField(name) else None for row in rows]
            fields.append(pa.field(name, pa.float64(), metadata={"description": text}))
            arrays.append(pa.array(numbers, pa.float64()))
    for own in _fields(rows, schema, names):
        values = [value_of(row.columns[own.name]) if own.name in row.columns else None for row in rows]
        fields.append(own)
        arrays.append(pa.array(values, own.type))
    for space in schema.spaces if with_vectors else ():
        if not _schema.holds_vectors(space):
            continue
        vectors = [row.vectors[space.name].values if space.name in row.vectors else None for row in rows]
        kind = pa.list_(pa.float32(), space.dimension)
        if any(vector is not None for vector in vectors):
            fields.append(pa.field(_schema.VECTOR_PREFIX + space.name, kind))
            arrays.append(pa.array(vectors, kind))
    if with_beside:
        beside = [[id_of(one.id) for one in row.beside] for row in rows]
        kind = pa.list_(fields[0].type)
        fields.append(pa.field("beside", kind, metadata={"description": "objects that are one with the hit"}))
        arrays.append(pa.array(beside, kind))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _fields(rows: Sequence[Any], schema: objects.CollectionSchema, names: Sequence[str] | None) -> list[pa.Field]:
    """Give the fields of the columns: in the order asked for, or that of the schema; derived ones by their values."""
    there = {name for row in rows for name in row.columns}
    known = {column.name.lower(): _schema.field_of(column) for column in schema.columns}
    if names is None:
        default = [
            column.name
            for column in schema.columns
            if column.name in there or (not rows and column.type != objects.COLUMN_TYPE_BINARY)
        ]
        names = default + sorted(there - {column.name for column in schema.columns})
    fields, taken = [], set(_schema.BUILT_IN)
    for name in names:
        if name.lower() in taken:
            continue
        taken.add(name.lower())
        if name.lower() in known:
            fields.append(known[name.lower()])
            continue
        exact = next((other for other in there if other.lower() == name.lower()), name)
        kinds = {row.columns[exact].WhichOneof("kind") for row in rows if exact in row.columns}
        fields.append(pa.field(exact, pa.string() if "text" in kinds else pa.float64()))
    return fields
