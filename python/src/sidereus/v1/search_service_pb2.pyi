from sidereus.options.v1 import access_pb2 as _access_pb2
from sidereus.v1 import objects_pb2 as _objects_pb2
from sidereus.v1 import region_pb2 as _region_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Fusion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FUSION_UNSPECIFIED: _ClassVar[Fusion]
    FUSION_WEIGHTED: _ClassVar[Fusion]
    FUSION_RECIPROCAL_RANK: _ClassVar[Fusion]
    FUSION_MAX: _ClassVar[Fusion]
    FUSION_MIN: _ClassVar[Fusion]

class Missing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MISSING_UNSPECIFIED: _ClassVar[Missing]
    MISSING_REQUIRE: _ClassVar[Missing]
    MISSING_NEUTRAL: _ClassVar[Missing]

class ExampleMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXAMPLE_METHOD_UNSPECIFIED: _ClassVar[ExampleMethod]
    EXAMPLE_METHOD_CENTROID: _ClassVar[ExampleMethod]
    EXAMPLE_METHOD_ROCCHIO: _ClassVar[ExampleMethod]
    EXAMPLE_METHOD_MAX_SIM: _ClassVar[ExampleMethod]
    EXAMPLE_METHOD_PROBE: _ClassVar[ExampleMethod]
FUSION_UNSPECIFIED: Fusion
FUSION_WEIGHTED: Fusion
FUSION_RECIPROCAL_RANK: Fusion
FUSION_MAX: Fusion
FUSION_MIN: Fusion
MISSING_UNSPECIFIED: Missing
MISSING_REQUIRE: Missing
MISSING_NEUTRAL: Missing
EXAMPLE_METHOD_UNSPECIFIED: ExampleMethod
EXAMPLE_METHOD_CENTROID: ExampleMethod
EXAMPLE_METHOD_ROCCHIO: ExampleMethod
EXAMPLE_METHOD_MAX_SIM: ExampleMethod
EXAMPLE_METHOD_PROBE: ExampleMethod

class SearchRequest(_message.Message):
    __slots__ = ("collection", "terms", "region", "predicate", "k", "within", "exact", "explain", "columns", "with_vectors", "plan", "recall", "rerank", "order_by", "descending", "fusion", "missing", "diversity", "group_within", "exclude_within", "release")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    PREDICATE_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    WITHIN_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    RERANK_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    DESCENDING_FIELD_NUMBER: _ClassVar[int]
    FUSION_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    GROUP_WITHIN_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_WITHIN_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    terms: _containers.RepeatedCompositeFieldContainer[VectorTerm]
    region: _region_pb2.Region
    predicate: str
    k: int
    within: float
    exact: bool
    explain: bool
    columns: _containers.RepeatedScalarFieldContainer[str]
    with_vectors: bool
    plan: str
    recall: float
    rerank: Rerank
    order_by: str
    descending: bool
    fusion: Fusion
    missing: Missing
    diversity: Diversity
    group_within: float
    exclude_within: float
    release: str
    def __init__(self, collection: _Optional[str] = ..., terms: _Optional[_Iterable[_Union[VectorTerm, _Mapping[str, _Any]]]] = ..., region: _Optional[_Union[_region_pb2.Region, _Mapping[str, _Any]]] = ..., predicate: _Optional[str] = ..., k: _Optional[int] = ..., within: _Optional[float] = ..., exact: _Optional[bool] = ..., explain: _Optional[bool] = ..., columns: _Optional[_Iterable[str]] = ..., with_vectors: _Optional[bool] = ..., plan: _Optional[str] = ..., recall: _Optional[float] = ..., rerank: _Optional[_Union[Rerank, _Mapping[str, _Any]]] = ..., order_by: _Optional[str] = ..., descending: _Optional[bool] = ..., fusion: _Optional[_Union[Fusion, str]] = ..., missing: _Optional[_Union[Missing, str]] = ..., diversity: _Optional[_Union[Diversity, _Mapping[str, _Any]]] = ..., group_within: _Optional[float] = ..., exclude_within: _Optional[float] = ..., release: _Optional[str] = ...) -> None: ...

class Diversity(_message.Message):
    __slots__ = ("share", "candidates")
    SHARE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    share: float
    candidates: int
    def __init__(self, share: _Optional[float] = ..., candidates: _Optional[int] = ...) -> None: ...

class Rerank(_message.Message):
    __slots__ = ("space", "candidates", "tokens")
    SPACE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    space: str
    candidates: int
    tokens: _containers.RepeatedCompositeFieldContainer[_objects_pb2.TokenSequence]
    def __init__(self, space: _Optional[str] = ..., candidates: _Optional[int] = ..., tokens: _Optional[_Iterable[_Union[_objects_pb2.TokenSequence, _Mapping[str, _Any]]]] = ...) -> None: ...

class VectorTerm(_message.Message):
    __slots__ = ("space", "weight", "like", "unlike", "vectors", "examples", "provenance", "from_space", "bridge", "method")
    SPACE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    LIKE_FIELD_NUMBER: _ClassVar[int]
    UNLIKE_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    FROM_SPACE_FIELD_NUMBER: _ClassVar[int]
    BRIDGE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    space: str
    weight: float
    like: _containers.RepeatedCompositeFieldContainer[_objects_pb2.ObjectId]
    unlike: _containers.RepeatedCompositeFieldContainer[_objects_pb2.ObjectId]
    vectors: _containers.RepeatedCompositeFieldContainer[_objects_pb2.Vector]
    examples: _containers.RepeatedCompositeFieldContainer[Payload]
    provenance: _objects_pb2.Provenance
    from_space: str
    bridge: str
    method: ExampleMethod
    def __init__(self, space: _Optional[str] = ..., weight: _Optional[float] = ..., like: _Optional[_Iterable[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]]] = ..., unlike: _Optional[_Iterable[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]]] = ..., vectors: _Optional[_Iterable[_Union[_objects_pb2.Vector, _Mapping[str, _Any]]]] = ..., examples: _Optional[_Iterable[_Union[Payload, _Mapping[str, _Any]]]] = ..., provenance: _Optional[_Union[_objects_pb2.Provenance, _Mapping[str, _Any]]] = ..., from_space: _Optional[str] = ..., bridge: _Optional[str] = ..., method: _Optional[_Union[ExampleMethod, str]] = ...) -> None: ...

class Payload(_message.Message):
    __slots__ = ("modality", "image", "row", "arrays")
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    ARRAYS_FIELD_NUMBER: _ClassVar[int]
    modality: str
    image: bytes
    row: NamedValues
    arrays: NamedArrays
    def __init__(self, modality: _Optional[str] = ..., image: _Optional[bytes] = ..., row: _Optional[_Union[NamedValues, _Mapping[str, _Any]]] = ..., arrays: _Optional[_Union[NamedArrays, _Mapping[str, _Any]]] = ...) -> None: ...

class NamedArrays(_message.Message):
    __slots__ = ("arrays",)
    class ArraysEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Array
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Array, _Mapping[str, _Any]]] = ...) -> None: ...
    ARRAYS_FIELD_NUMBER: _ClassVar[int]
    arrays: _containers.MessageMap[str, Array]
    def __init__(self, arrays: _Optional[_Mapping[str, Array]] = ...) -> None: ...

class Array(_message.Message):
    __slots__ = ("shape", "float32", "bands")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    FLOAT32_FIELD_NUMBER: _ClassVar[int]
    BANDS_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    float32: bytes
    bands: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., float32: _Optional[bytes] = ..., bands: _Optional[_Iterable[str]] = ...) -> None: ...

class NamedValues(_message.Message):
    __slots__ = ("values",)
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.ScalarMap[str, float]
    def __init__(self, values: _Optional[_Mapping[str, float]] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("hits", "stats")
    HITS_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[Hit]
    stats: QueryStats
    def __init__(self, hits: _Optional[_Iterable[_Union[Hit, _Mapping[str, _Any]]]] = ..., stats: _Optional[_Union[QueryStats, _Mapping[str, _Any]]] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("id", "position", "distance", "score", "columns", "vectors", "beside")
    class ColumnsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _objects_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_objects_pb2.Value, _Mapping[str, _Any]]] = ...) -> None: ...
    class VectorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _objects_pb2.Vector
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_objects_pb2.Vector, _Mapping[str, _Any]]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    BESIDE_FIELD_NUMBER: _ClassVar[int]
    id: _objects_pb2.ObjectId
    position: _objects_pb2.Position
    distance: float
    score: float
    columns: _containers.MessageMap[str, _objects_pb2.Value]
    vectors: _containers.MessageMap[str, _objects_pb2.Vector]
    beside: _containers.RepeatedCompositeFieldContainer[Beside]
    def __init__(self, id: _Optional[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]] = ..., position: _Optional[_Union[_objects_pb2.Position, _Mapping[str, _Any]]] = ..., distance: _Optional[float] = ..., score: _Optional[float] = ..., columns: _Optional[_Mapping[str, _objects_pb2.Value]] = ..., vectors: _Optional[_Mapping[str, _objects_pb2.Vector]] = ..., beside: _Optional[_Iterable[_Union[Beside, _Mapping[str, _Any]]]] = ...) -> None: ...

class Beside(_message.Message):
    __slots__ = ("id", "position", "distance", "separation_arcsec")
    ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    SEPARATION_ARCSEC_FIELD_NUMBER: _ClassVar[int]
    id: _objects_pb2.ObjectId
    position: _objects_pb2.Position
    distance: float
    separation_arcsec: float
    def __init__(self, id: _Optional[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]] = ..., position: _Optional[_Union[_objects_pb2.Position, _Mapping[str, _Any]]] = ..., distance: _Optional[float] = ..., separation_arcsec: _Optional[float] = ...) -> None: ...

class QueryStats(_message.Message):
    __slots__ = ("plan", "exact", "estimated_recall", "rows_total", "rows_in_cover", "rows_surviving", "rows_scanned", "lists_probed", "bytes_read", "tail_rows", "elapsed_ms", "explanation", "version", "survivors_are_counted", "candidates_reranked", "candidates_without_tokens", "method", "fusion", "scales")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_RECALL_FIELD_NUMBER: _ClassVar[int]
    ROWS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    ROWS_IN_COVER_FIELD_NUMBER: _ClassVar[int]
    ROWS_SURVIVING_FIELD_NUMBER: _ClassVar[int]
    ROWS_SCANNED_FIELD_NUMBER: _ClassVar[int]
    LISTS_PROBED_FIELD_NUMBER: _ClassVar[int]
    BYTES_READ_FIELD_NUMBER: _ClassVar[int]
    TAIL_ROWS_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_MS_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SURVIVORS_ARE_COUNTED_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_RERANKED_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_WITHOUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    FUSION_FIELD_NUMBER: _ClassVar[int]
    SCALES_FIELD_NUMBER: _ClassVar[int]
    plan: str
    exact: bool
    estimated_recall: float
    rows_total: int
    rows_in_cover: int
    rows_surviving: int
    rows_scanned: int
    lists_probed: int
    bytes_read: int
    tail_rows: int
    elapsed_ms: float
    explanation: str
    version: int
    survivors_are_counted: bool
    candidates_reranked: int
    candidates_without_tokens: int
    method: str
    fusion: str
    scales: _containers.RepeatedCompositeFieldContainer[TermScale]
    def __init__(self, plan: _Optional[str] = ..., exact: _Optional[bool] = ..., estimated_recall: _Optional[float] = ..., rows_total: _Optional[int] = ..., rows_in_cover: _Optional[int] = ..., rows_surviving: _Optional[int] = ..., rows_scanned: _Optional[int] = ..., lists_probed: _Optional[int] = ..., bytes_read: _Optional[int] = ..., tail_rows: _Optional[int] = ..., elapsed_ms: _Optional[float] = ..., explanation: _Optional[str] = ..., version: _Optional[int] = ..., survivors_are_counted: _Optional[bool] = ..., candidates_reranked: _Optional[int] = ..., candidates_without_tokens: _Optional[int] = ..., method: _Optional[str] = ..., fusion: _Optional[str] = ..., scales: _Optional[_Iterable[_Union[TermScale, _Mapping[str, _Any]]]] = ...) -> None: ...

class TermScale(_message.Message):
    __slots__ = ("space", "mean", "spread", "sampled")
    SPACE_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    SAMPLED_FIELD_NUMBER: _ClassVar[int]
    space: str
    mean: float
    spread: float
    sampled: int
    def __init__(self, space: _Optional[str] = ..., mean: _Optional[float] = ..., spread: _Optional[float] = ..., sampled: _Optional[int] = ...) -> None: ...
