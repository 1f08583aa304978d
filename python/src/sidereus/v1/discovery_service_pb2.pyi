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

class OutlierMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTLIER_METHOD_UNSPECIFIED: _ClassVar[OutlierMethod]
    OUTLIER_METHOD_LAST_DISTANCE: _ClassVar[OutlierMethod]
    OUTLIER_METHOD_LOCAL_FACTOR: _ClassVar[OutlierMethod]

class NextStrategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NEXT_STRATEGY_UNSPECIFIED: _ClassVar[NextStrategy]
    NEXT_STRATEGY_LIKELY: _ClassVar[NextStrategy]
    NEXT_STRATEGY_DIVERSE: _ClassVar[NextStrategy]
OUTLIER_METHOD_UNSPECIFIED: OutlierMethod
OUTLIER_METHOD_LAST_DISTANCE: OutlierMethod
OUTLIER_METHOD_LOCAL_FACTOR: OutlierMethod
NEXT_STRATEGY_UNSPECIFIED: NextStrategy
NEXT_STRATEGY_LIKELY: NextStrategy
NEXT_STRATEGY_DIVERSE: NextStrategy

class FindOutliersRequest(_message.Message):
    __slots__ = ("collection", "space", "method", "neighbours", "region", "predicate", "limit", "exact", "recall", "column", "release")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    PREDICATE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    space: str
    method: OutlierMethod
    neighbours: int
    region: _region_pb2.Region
    predicate: str
    limit: int
    exact: bool
    recall: float
    column: str
    release: str
    def __init__(self, collection: _Optional[str] = ..., space: _Optional[str] = ..., method: _Optional[_Union[OutlierMethod, str]] = ..., neighbours: _Optional[int] = ..., region: _Optional[_Union[_region_pb2.Region, _Mapping[str, _Any]]] = ..., predicate: _Optional[str] = ..., limit: _Optional[int] = ..., exact: _Optional[bool] = ..., recall: _Optional[float] = ..., column: _Optional[str] = ..., release: _Optional[str] = ...) -> None: ...

class OutlierScore(_message.Message):
    __slots__ = ("id", "position", "score")
    ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    id: _objects_pb2.ObjectId
    position: _objects_pb2.Position
    score: float
    def __init__(self, id: _Optional[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]] = ..., position: _Optional[_Union[_objects_pb2.Position, _Mapping[str, _Any]]] = ..., score: _Optional[float] = ...) -> None: ...

class FindOutliersResponse(_message.Message):
    __slots__ = ("stage", "done", "total", "scores", "summary")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    stage: str
    done: int
    total: int
    scores: _containers.RepeatedCompositeFieldContainer[OutlierScore]
    summary: OutlierSummary
    def __init__(self, stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., scores: _Optional[_Iterable[_Union[OutlierScore, _Mapping[str, _Any]]]] = ..., summary: _Optional[_Union[OutlierSummary, _Mapping[str, _Any]]] = ...) -> None: ...

class OutlierSummary(_message.Message):
    __slots__ = ("space", "scored", "without_vector", "exact", "estimated_recall", "plan", "elapsed_ms", "written")
    SPACE_FIELD_NUMBER: _ClassVar[int]
    SCORED_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_VECTOR_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_RECALL_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_MS_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    space: str
    scored: int
    without_vector: int
    exact: bool
    estimated_recall: float
    plan: str
    elapsed_ms: float
    written: int
    def __init__(self, space: _Optional[str] = ..., scored: _Optional[int] = ..., without_vector: _Optional[int] = ..., exact: _Optional[bool] = ..., estimated_recall: _Optional[float] = ..., plan: _Optional[str] = ..., elapsed_ms: _Optional[float] = ..., written: _Optional[int] = ...) -> None: ...

class SessionLabel(_message.Message):
    __slots__ = ("id", "positive", "round")
    ID_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    id: _objects_pb2.ObjectId
    positive: bool
    round: int
    def __init__(self, id: _Optional[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]] = ..., positive: _Optional[bool] = ..., round: _Optional[int] = ...) -> None: ...

class SessionRound(_message.Message):
    __slots__ = ("proposed", "strategy", "positives", "negatives", "version")
    PROPOSED_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    POSITIVES_FIELD_NUMBER: _ClassVar[int]
    NEGATIVES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    proposed: _containers.RepeatedCompositeFieldContainer[_objects_pb2.ObjectId]
    strategy: str
    positives: int
    negatives: int
    version: int
    def __init__(self, proposed: _Optional[_Iterable[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]]] = ..., strategy: _Optional[str] = ..., positives: _Optional[int] = ..., negatives: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("name", "collection", "space", "seed", "labels", "rounds", "damaged")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    name: str
    collection: str
    space: str
    seed: int
    labels: _containers.RepeatedCompositeFieldContainer[SessionLabel]
    rounds: _containers.RepeatedCompositeFieldContainer[SessionRound]
    damaged: str
    def __init__(self, name: _Optional[str] = ..., collection: _Optional[str] = ..., space: _Optional[str] = ..., seed: _Optional[int] = ..., labels: _Optional[_Iterable[_Union[SessionLabel, _Mapping[str, _Any]]]] = ..., rounds: _Optional[_Iterable[_Union[SessionRound, _Mapping[str, _Any]]]] = ..., damaged: _Optional[str] = ...) -> None: ...

class StartSessionRequest(_message.Message):
    __slots__ = ("collection", "name", "space", "seed")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    space: str
    seed: int
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ..., space: _Optional[str] = ..., seed: _Optional[int] = ...) -> None: ...

class StartSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    def __init__(self, session: _Optional[_Union[Session, _Mapping[str, _Any]]] = ...) -> None: ...

class LabelObjectsRequest(_message.Message):
    __slots__ = ("collection", "name", "positives", "negatives", "unlabelled")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    POSITIVES_FIELD_NUMBER: _ClassVar[int]
    NEGATIVES_FIELD_NUMBER: _ClassVar[int]
    UNLABELLED_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    positives: _containers.RepeatedCompositeFieldContainer[_objects_pb2.ObjectId]
    negatives: _containers.RepeatedCompositeFieldContainer[_objects_pb2.ObjectId]
    unlabelled: _containers.RepeatedCompositeFieldContainer[_objects_pb2.ObjectId]
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ..., positives: _Optional[_Iterable[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]]] = ..., negatives: _Optional[_Iterable[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]]] = ..., unlabelled: _Optional[_Iterable[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]]] = ...) -> None: ...

class LabelObjectsResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    def __init__(self, session: _Optional[_Union[Session, _Mapping[str, _Any]]] = ...) -> None: ...

class NextObjectsRequest(_message.Message):
    __slots__ = ("collection", "name", "count", "region", "predicate", "strategy")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    PREDICATE_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    count: int
    region: _region_pb2.Region
    predicate: str
    strategy: NextStrategy
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ..., count: _Optional[int] = ..., region: _Optional[_Union[_region_pb2.Region, _Mapping[str, _Any]]] = ..., predicate: _Optional[str] = ..., strategy: _Optional[_Union[NextStrategy, str]] = ...) -> None: ...

class NextObject(_message.Message):
    __slots__ = ("id", "position", "probability")
    ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    id: _objects_pb2.ObjectId
    position: _objects_pb2.Position
    probability: float
    def __init__(self, id: _Optional[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]] = ..., position: _Optional[_Union[_objects_pb2.Position, _Mapping[str, _Any]]] = ..., probability: _Optional[float] = ...) -> None: ...

class NextObjectsResponse(_message.Message):
    __slots__ = ("objects", "strategy", "scored", "unusable")
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    SCORED_FIELD_NUMBER: _ClassVar[int]
    UNUSABLE_FIELD_NUMBER: _ClassVar[int]
    objects: _containers.RepeatedCompositeFieldContainer[NextObject]
    strategy: str
    scored: int
    unusable: int
    def __init__(self, objects: _Optional[_Iterable[_Union[NextObject, _Mapping[str, _Any]]]] = ..., strategy: _Optional[str] = ..., scored: _Optional[int] = ..., unusable: _Optional[int] = ...) -> None: ...

class GetSessionRequest(_message.Message):
    __slots__ = ("collection", "name")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class GetSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    def __init__(self, session: _Optional[_Union[Session, _Mapping[str, _Any]]] = ...) -> None: ...

class ListSessionsRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class ListSessionsResponse(_message.Message):
    __slots__ = ("sessions",)
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[Session]
    def __init__(self, sessions: _Optional[_Iterable[_Union[Session, _Mapping[str, _Any]]]] = ...) -> None: ...

class DropSessionRequest(_message.Message):
    __slots__ = ("collection", "name")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class DropSessionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
