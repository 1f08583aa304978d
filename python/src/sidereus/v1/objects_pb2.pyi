from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ColumnType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COLUMN_TYPE_UNSPECIFIED: _ClassVar[ColumnType]
    COLUMN_TYPE_BOOLEAN: _ClassVar[ColumnType]
    COLUMN_TYPE_INT64: _ClassVar[ColumnType]
    COLUMN_TYPE_FLOAT32: _ClassVar[ColumnType]
    COLUMN_TYPE_FLOAT64: _ClassVar[ColumnType]
    COLUMN_TYPE_TEXT: _ClassVar[ColumnType]
    COLUMN_TYPE_BINARY: _ClassVar[ColumnType]
    COLUMN_TYPE_FLOAT_LIST: _ClassVar[ColumnType]

class Metric(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METRIC_UNSPECIFIED: _ClassVar[Metric]
    METRIC_COSINE: _ClassVar[Metric]
    METRIC_L2: _ClassVar[Metric]
    METRIC_IP: _ClassVar[Metric]

class SpaceForm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPACE_FORM_UNSPECIFIED: _ClassVar[SpaceForm]
    SPACE_FORM_TOKENS: _ClassVar[SpaceForm]
    SPACE_FORM_TOKEN_IDS: _ClassVar[SpaceForm]

class IdKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ID_KIND_UNSPECIFIED: _ClassVar[IdKind]
    ID_KIND_NUMBER: _ClassVar[IdKind]
    ID_KIND_TEXT: _ClassVar[IdKind]
COLUMN_TYPE_UNSPECIFIED: ColumnType
COLUMN_TYPE_BOOLEAN: ColumnType
COLUMN_TYPE_INT64: ColumnType
COLUMN_TYPE_FLOAT32: ColumnType
COLUMN_TYPE_FLOAT64: ColumnType
COLUMN_TYPE_TEXT: ColumnType
COLUMN_TYPE_BINARY: ColumnType
COLUMN_TYPE_FLOAT_LIST: ColumnType
METRIC_UNSPECIFIED: Metric
METRIC_COSINE: Metric
METRIC_L2: Metric
METRIC_IP: Metric
SPACE_FORM_UNSPECIFIED: SpaceForm
SPACE_FORM_TOKENS: SpaceForm
SPACE_FORM_TOKEN_IDS: SpaceForm
ID_KIND_UNSPECIFIED: IdKind
ID_KIND_NUMBER: IdKind
ID_KIND_TEXT: IdKind

class ObjectId(_message.Message):
    __slots__ = ("number", "text")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    number: int
    text: str
    def __init__(self, number: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("ra", "dec")
    RA_FIELD_NUMBER: _ClassVar[int]
    DEC_FIELD_NUMBER: _ClassVar[int]
    ra: float
    dec: float
    def __init__(self, ra: _Optional[float] = ..., dec: _Optional[float] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("boolean", "integer", "real", "text", "binary", "floats")
    BOOLEAN_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    REAL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    BINARY_FIELD_NUMBER: _ClassVar[int]
    FLOATS_FIELD_NUMBER: _ClassVar[int]
    boolean: bool
    integer: int
    real: float
    text: str
    binary: bytes
    floats: FloatList
    def __init__(self, boolean: _Optional[bool] = ..., integer: _Optional[int] = ..., real: _Optional[float] = ..., text: _Optional[str] = ..., binary: _Optional[bytes] = ..., floats: _Optional[_Union[FloatList, _Mapping[str, _Any]]] = ...) -> None: ...

class FloatList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Vector(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class TokenSequence(_message.Message):
    __slots__ = ("runs",)
    RUNS_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[TokenRun]
    def __init__(self, runs: _Optional[_Iterable[_Union[TokenRun, _Mapping[str, _Any]]]] = ...) -> None: ...

class TokenRun(_message.Message):
    __slots__ = ("modality", "count", "width", "states", "ids")
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    modality: str
    count: int
    width: int
    states: bytes
    ids: bytes
    def __init__(self, modality: _Optional[str] = ..., count: _Optional[int] = ..., width: _Optional[int] = ..., states: _Optional[bytes] = ..., ids: _Optional[bytes] = ...) -> None: ...

class Object(_message.Message):
    __slots__ = ("id", "position", "columns", "vectors", "tokens")
    class ColumnsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping[str, _Any]]] = ...) -> None: ...
    class VectorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Vector
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Vector, _Mapping[str, _Any]]] = ...) -> None: ...
    class TokensEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: TokenSequence
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[TokenSequence, _Mapping[str, _Any]]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    id: ObjectId
    position: Position
    columns: _containers.MessageMap[str, Value]
    vectors: _containers.MessageMap[str, Vector]
    tokens: _containers.MessageMap[str, TokenSequence]
    def __init__(self, id: _Optional[_Union[ObjectId, _Mapping[str, _Any]]] = ..., position: _Optional[_Union[Position, _Mapping[str, _Any]]] = ..., columns: _Optional[_Mapping[str, Value]] = ..., vectors: _Optional[_Mapping[str, Vector]] = ..., tokens: _Optional[_Mapping[str, TokenSequence]] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("name", "type", "unit", "ucd", "description")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    UCD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: ColumnType
    unit: str
    ucd: str
    description: str
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[ColumnType, str]] = ..., unit: _Optional[str] = ..., ucd: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class Provenance(_message.Message):
    __slots__ = ("encoder", "weights_hash", "preprocessing", "pooling")
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_HASH_FIELD_NUMBER: _ClassVar[int]
    PREPROCESSING_FIELD_NUMBER: _ClassVar[int]
    POOLING_FIELD_NUMBER: _ClassVar[int]
    encoder: str
    weights_hash: str
    preprocessing: str
    pooling: str
    def __init__(self, encoder: _Optional[str] = ..., weights_hash: _Optional[str] = ..., preprocessing: _Optional[str] = ..., pooling: _Optional[str] = ...) -> None: ...

class EmbeddingSpace(_message.Message):
    __slots__ = ("name", "modality", "dimension", "metric", "provenance", "form", "encode_at_ingest", "inputs", "shared")
    class InputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    ENCODE_AT_INGEST_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    name: str
    modality: str
    dimension: int
    metric: Metric
    provenance: Provenance
    form: SpaceForm
    encode_at_ingest: bool
    inputs: _containers.ScalarMap[str, str]
    shared: str
    def __init__(self, name: _Optional[str] = ..., modality: _Optional[str] = ..., dimension: _Optional[int] = ..., metric: _Optional[_Union[Metric, str]] = ..., provenance: _Optional[_Union[Provenance, _Mapping[str, _Any]]] = ..., form: _Optional[_Union[SpaceForm, str]] = ..., encode_at_ingest: _Optional[bool] = ..., inputs: _Optional[_Mapping[str, str]] = ..., shared: _Optional[str] = ...) -> None: ...

class IngestEncoding(_message.Message):
    __slots__ = ("waiting", "failed", "without_inputs", "paused", "last_failure")
    WAITING_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_INPUTS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_FIELD_NUMBER: _ClassVar[int]
    waiting: int
    failed: int
    without_inputs: int
    paused: str
    last_failure: str
    def __init__(self, waiting: _Optional[int] = ..., failed: _Optional[int] = ..., without_inputs: _Optional[int] = ..., paused: _Optional[str] = ..., last_failure: _Optional[str] = ...) -> None: ...

class CollectionSchema(_message.Message):
    __slots__ = ("name", "id_kind", "columns", "spaces", "description")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ID_KIND_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    SPACES_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    id_kind: IdKind
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    spaces: _containers.RepeatedCompositeFieldContainer[EmbeddingSpace]
    description: str
    def __init__(self, name: _Optional[str] = ..., id_kind: _Optional[_Union[IdKind, str]] = ..., columns: _Optional[_Iterable[_Union[Column, _Mapping[str, _Any]]]] = ..., spaces: _Optional[_Iterable[_Union[EmbeddingSpace, _Mapping[str, _Any]]]] = ..., description: _Optional[str] = ...) -> None: ...

class Collection(_message.Message):
    __slots__ = ("schema", "object_count", "vector_counts", "footprint", "version", "encoding")
    class VectorCountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class EncodingEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: IngestEncoding
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[IngestEncoding, _Mapping[str, _Any]]] = ...) -> None: ...
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    OBJECT_COUNT_FIELD_NUMBER: _ClassVar[int]
    VECTOR_COUNTS_FIELD_NUMBER: _ClassVar[int]
    FOOTPRINT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    schema: CollectionSchema
    object_count: int
    vector_counts: _containers.ScalarMap[str, int]
    footprint: str
    version: int
    encoding: _containers.MessageMap[str, IngestEncoding]
    def __init__(self, schema: _Optional[_Union[CollectionSchema, _Mapping[str, _Any]]] = ..., object_count: _Optional[int] = ..., vector_counts: _Optional[_Mapping[str, int]] = ..., footprint: _Optional[str] = ..., version: _Optional[int] = ..., encoding: _Optional[_Mapping[str, IngestEncoding]] = ...) -> None: ...
