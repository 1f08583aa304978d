"""Schemas of collections: as the server has them, as Arrow and astropy tables have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ._errors import InvalidRequest
from .v1 import objects_pb2 as objects

#: Names of the columns that every collection has.
BUILT_IN = ("object_id", "ra", "dec", "healpix_29")

#: Before the name of a space, in the name of its column of vectors.
VECTOR_PREFIX = "vector."

#: What the field of an exported column of vectors tells of where they come from.
PROVENANCE = ("encoder", "weights_hash", "preprocessing", "pooling")

METRICS: dict[str, objects.Metric] = {
    "cosine": objects.METRIC_COSINE,
    "l2": objects.METRIC_L2,
    "ip": objects.METRIC_IP,
}

_TYPES: dict[str, objects.ColumnType] = {
    "boolean": objects.COLUMN_TYPE_BOOLEAN,
    "int64": objects.COLUMN_TYPE_INT64,
    "float32": objects.COLUMN_TYPE_FLOAT32,
    "float64": objects.COLUMN_TYPE_FLOAT64,
    "text": objects.COLUMN_TYPE_TEXT,
    "binary": objects.COLUMN_TYPE_BINARY,
    "float_list": objects.COLUMN_TYPE_FLOAT_LIST,
}

_ARROW: dict[int, pa.DataType] = {
    objects.COLUMN_TYPE_BOOLEAN: pa.bool_(),
    objects.COLUMN_TYPE_INT64: pa.int64(),
    objects.COLUMN_TYPE_FLOAT32: pa.float32(),
    objects.COLUMN_TYPE_FLOAT64: pa.float64(),
    objects.COLUMN_TYPE_TEXT: pa.string(),
    objects.COLUMN_TYPE_BINARY: pa.binary(),
    objects.COLUMN_TYPE_FLOAT_LIST: pa.list_(pa.float64()),
}


@dataclass(frozen=True)
class Space:
    """An embedding space to be made: what its vectors are of, how long they are, and how they are compared.

    Parameters
    ----------
    name
        Name of the space.
    dimension
        Components of each vector.
    metric
        ``"cosine"`` (1 - cos), ``"l2"`` (the Euclidean distance) or ``"ip"`` (minus the inner product).
    modality
        What was embedded: ``"image"``, ``"spectrum"``, ``"photometry"``, ...
    encoder, weights_hash, preprocessing, pooling
        Where the vectors come from. Vectors of another origin are refused later, so say what you know.
    shared
        A name that is the same for spaces of jointly trained models, whose vectors may be compared.
    """

    name: str
    dimension: int
    metric: str = "cosine"
    modality: str = "image"
    encoder: str = ""
    weights_hash: str = ""
    preprocessing: str = ""
    pooling: str = ""
    shared: str = ""

    def to_message(self) -> objects.EmbeddingSpace:
        """Make the message of the space."""
        if self.metric not in METRICS:
            raise InvalidRequest(f"metric {self.metric!r} of space {self.name!r} is not one of {', '.join(METRICS)}")
        provenance = objects.Provenance(
            encoder=self.encoder,
            weights_hash=self.weights_hash,
            preprocessing=self.preprocessing,
            pooling=self.pooling,
        )
        return objects.EmbeddingSpace(
            name=self.name,
            modality=self.modality,
            dimension=self.dimension,
            metric=METRICS[self.metric],
            provenance=provenance,
            shared=self.shared,
        )


@dataclass(frozen=True)
class Column:
    """A column of a collection.

    Parameters
    ----------
    name
        Name of the column, as conditions write it.
    type
        ``boolean``, ``int64``, ``float32``, ``float64``, ``text``, ``binary`` or ``float_list``.
    unit
        VOUnit string; empty where there is none.
    ucd
        IVOA unified content descriptor.
    description
        A sentence for people.
    """

    name: str
    type: str
    unit: str = ""
    ucd: str = ""
    description: str = ""

    def to_message(self) -> objects.Column:
        """Make the message of the column."""
        if self.type not in _TYPES:
            raise InvalidRequest(f"type {self.type!r} of column {self.name!r} is not one of {', '.join(_TYPES)}")
        return objects.Column(
            name=self.name, type=_TYPES[self.type], unit=self.unit, ucd=self.ucd, description=self.description
        )


def column_of(message: objects.Column) -> Column:
    """Read the message of a column."""
    names = {number: name for name, number in _TYPES.items()}
    return Column(message.name, names.get(message.type, "text"), message.unit, message.ucd, message.description)


def field_of(column: objects.Column) -> pa.Field:
    """Give the Arrow field of a column, with unit, UCD and description as its metadata."""
    known = {"unit": column.unit, "ucd": column.ucd, "description": column.description}
    metadata = {key: text for key, text in known.items() if text}
    return pa.field(column.name, _ARROW.get(column.type, pa.string()), metadata=metadata or None)


def id_type(schema: objects.CollectionSchema) -> pa.DataType:
    """Give the Arrow type of the collection's ids."""
    return pa.string() if schema.id_kind == objects.ID_KIND_TEXT else pa.int64()


def position_fields(schema: objects.CollectionSchema) -> list[pa.Field]:
    """Give the fields that every object has."""
    return [
        pa.field("object_id", id_type(schema), metadata={"ucd": "meta.id;meta.main"}),
        pa.field("ra", pa.float64(), metadata={"unit": "deg", "ucd": "pos.eq.ra;meta.main"}),
        pa.field("dec", pa.float64(), metadata={"unit": "deg", "ucd": "pos.eq.dec;meta.main"}),
    ]


def holds_vectors(space: objects.EmbeddingSpace) -> bool:
    """Tell whether a space holds one vector for each object, rather than tokens."""
    return space.form == objects.SPACE_FORM_UNSPECIFIED


def find_space(schema: objects.CollectionSchema, name: str) -> objects.EmbeddingSpace:
    """Find a space by its name."""
    for space in schema.spaces:
        if space.name.lower() == name.lower():
            return space
    known = ", ".join(space.name for space in schema.spaces) or "none"
    raise InvalidRequest(f"no embedding space {name!r}; the collection has: {known}")


def _type_of(field: pa.Field) -> str | None:
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "int64"
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        return "float32"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "float64"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "binary"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "float_list"
    return None


def _about(field: pa.Field) -> dict[str, str]:
    return {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}


def told_provenances(schema: pa.Schema) -> Iterator[tuple[str, objects.Provenance]]:
    """Give who made the vectors of a table, by space, where its fields tell it, as those of exports do."""
    for field in schema:
        told = {key: text for key, text in _about(field).items() if key in PROVENANCE}
        if field.name.startswith(VECTOR_PREFIX) and told.get("encoder", "external") != "external":
            yield field.name.removeprefix(VECTOR_PREFIX), objects.Provenance(**told)


def columns_of_arrow(schema: pa.Schema) -> tuple[list[Column], list[Space], str]:
    """Read columns, spaces of vectors, and the kind of the ids (``number`` or ``text``) off an Arrow schema."""
    columns, spaces, ids = [], [], "number"
    for field in schema:
        if field.name == "object_id":
            ids = "text" if _type_of(field) == "text" else "number"
        if field.name in BUILT_IN:
            continue
        if field.name.startswith(VECTOR_PREFIX):
            if not pa.types.is_fixed_size_list(field.type):
                raise InvalidRequest(f"{field.name!r} must be a fixed-size list to tell the dimension of its space")
            about = _about(field)
            told = {key: about[key] for key in ("metric", "modality", *PROVENANCE) if about.get(key)}
            spaces.append(Space(field.name.removeprefix(VECTOR_PREFIX), field.type.list_size, **told))
            continue
        kind = _type_of(field)
        if kind is None:
            raise InvalidRequest(f"column {field.name!r} is {field.type}, which a collection does not store")
        about = _about(field)
        columns.append(
            Column(field.name, kind, about.get("unit", ""), about.get("ucd", ""), about.get("description", ""))
        )
    return columns, spaces, ids


def dimension_of(name: str, given: Any) -> int:
    """Read the dimension of a space: a number, or the vectors themselves, one each row."""
    shape = np.shape(given)
    if len(shape) == 2:
        return int(shape[1])
    if shape == () and isinstance(given, (int, np.integer)) and not isinstance(given, bool):
        return int(given)
    raise InvalidRequest(
        f"space {name!r} is given as {type(given).__name__}{f' of shape {shape}' if shape else ''}: give its dimension, such as "
        f"{{{name!r}: 512}}, an array of vectors with one in each row, or a sidereus.Space"
    )


def read_columns(given: Any) -> tuple[list[Column], list[Space], str]:
    """Read columns of whatever says what they are: see :meth:`sidereus.Client.create_collection`."""
    if given is None:
        return [], [], "number"
    if isinstance(given, Mapping) and all(isinstance(kind, (str, Column)) for kind in given.values()):
        return [Column(name, kind) if isinstance(kind, str) else kind for name, kind in given.items()], [], "number"
    if isinstance(given, pa.Schema):
        return columns_of_arrow(given)
    is_sequence = isinstance(given, Iterable) and not isinstance(given, Mapping)
    if is_sequence and not hasattr(given, "colnames") and not hasattr(given, "columns"):
        given = list(given)
        if all(isinstance(column, Column) for column in given):
            return given, [], "number"
    from ._table import to_arrow

    return columns_of_arrow(to_arrow(given).schema)


def numpy_vectors(array: Any) -> np.ndarray[Any, Any]:
    """Give the vectors of a column of fixed-size lists, one row each; those that are missing are NaN."""
    if isinstance(array, pa.ChunkedArray):
        chunks = [numpy_vectors(chunk) for chunk in array.chunks]
        size = array.type.list_size
        return np.concatenate(chunks) if chunks else np.empty((0, size), np.float32)
    size = array.type.list_size
    values = array.values.slice(array.offset * size, len(array) * size)
    vectors = values.to_numpy(zero_copy_only=False).reshape(len(array), size)
    if array.null_count:
        vectors = vectors.copy()
        vectors[~np.asarray(array.is_valid())] = np.nan
    return np.asarray(vectors)
