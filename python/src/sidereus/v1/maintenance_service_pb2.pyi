from sidereus.options.v1 import access_pb2 as _access_pb2
from sidereus.v1 import objects_pb2 as _objects_pb2
from sidereus.v1 import search_service_pb2 as _search_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BuildIndexRequest(_message.Message):
    __slots__ = ("collection", "space")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    space: str
    def __init__(self, collection: _Optional[str] = ..., space: _Optional[str] = ...) -> None: ...

class BuildIndexResponse(_message.Message):
    __slots__ = ("stage", "done", "total", "status")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    stage: str
    done: int
    total: int
    status: GetIndexStatusResponse
    def __init__(self, stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., status: _Optional[_Union[GetIndexStatusResponse, _Mapping[str, _Any]]] = ...) -> None: ...

class GetIndexStatusRequest(_message.Message):
    __slots__ = ("collection", "release")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    release: str
    def __init__(self, collection: _Optional[str] = ..., release: _Optional[str] = ...) -> None: ...

class GetIndexStatusResponse(_message.Message):
    __slots__ = ("collection", "version", "indexed_version", "tail_rows", "deleted_rows", "segments", "build", "build_failure")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INDEXED_VERSION_FIELD_NUMBER: _ClassVar[int]
    TAIL_ROWS_FIELD_NUMBER: _ClassVar[int]
    DELETED_ROWS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    BUILD_FIELD_NUMBER: _ClassVar[int]
    BUILD_FAILURE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    version: int
    indexed_version: int
    tail_rows: int
    deleted_rows: int
    segments: _containers.RepeatedCompositeFieldContainer[SegmentStatus]
    build: IndexBuild
    build_failure: str
    def __init__(self, collection: _Optional[str] = ..., version: _Optional[int] = ..., indexed_version: _Optional[int] = ..., tail_rows: _Optional[int] = ..., deleted_rows: _Optional[int] = ..., segments: _Optional[_Iterable[_Union[SegmentStatus, _Mapping[str, _Any]]]] = ..., build: _Optional[_Union[IndexBuild, _Mapping[str, _Any]]] = ..., build_failure: _Optional[str] = ...) -> None: ...

class IndexBuild(_message.Message):
    __slots__ = ("stage", "done", "total")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    stage: str
    done: int
    total: int
    def __init__(self, stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class SegmentStatus(_message.Message):
    __slots__ = ("rows", "bytes_on_disk", "spaces")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_ON_DISK_FIELD_NUMBER: _ClassVar[int]
    SPACES_FIELD_NUMBER: _ClassVar[int]
    rows: int
    bytes_on_disk: int
    spaces: _containers.RepeatedCompositeFieldContainer[SpaceIndexStatus]
    def __init__(self, rows: _Optional[int] = ..., bytes_on_disk: _Optional[int] = ..., spaces: _Optional[_Iterable[_Union[SpaceIndexStatus, _Mapping[str, _Any]]]] = ...) -> None: ...

class SpaceIndexStatus(_message.Message):
    __slots__ = ("space", "kind", "vectors", "lists", "default_probes", "measured_recall")
    SPACE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    LISTS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_PROBES_FIELD_NUMBER: _ClassVar[int]
    MEASURED_RECALL_FIELD_NUMBER: _ClassVar[int]
    space: str
    kind: str
    vectors: int
    lists: int
    default_probes: int
    measured_recall: float
    def __init__(self, space: _Optional[str] = ..., kind: _Optional[str] = ..., vectors: _Optional[int] = ..., lists: _Optional[int] = ..., default_probes: _Optional[int] = ..., measured_recall: _Optional[float] = ...) -> None: ...

class StartScrubRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StartScrubResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetScrubRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetScrubResponse(_message.Message):
    __slots__ = ("running", "bytes", "last")
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    running: bool
    bytes: int
    last: ScrubReport
    def __init__(self, running: _Optional[bool] = ..., bytes: _Optional[int] = ..., last: _Optional[_Union[ScrubReport, _Mapping[str, _Any]]] = ...) -> None: ...

class ScrubReport(_message.Message):
    __slots__ = ("ended_ms", "bytes", "complete", "problems")
    ENDED_MS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    ended_ms: int
    bytes: int
    complete: bool
    problems: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ended_ms: _Optional[int] = ..., bytes: _Optional[int] = ..., complete: _Optional[bool] = ..., problems: _Optional[_Iterable[str]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "unavailable", "metrics", "unserved")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    UNSERVED_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    unavailable: str
    metrics: _containers.RepeatedCompositeFieldContainer[EncoderMetrics]
    unserved: _containers.RepeatedCompositeFieldContainer[UnservedModel]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping[str, _Any]]]] = ..., unavailable: _Optional[str] = ..., metrics: _Optional[_Iterable[_Union[EncoderMetrics, _Mapping[str, _Any]]]] = ..., unserved: _Optional[_Iterable[_Union[UnservedModel, _Mapping[str, _Any]]]] = ...) -> None: ...

class UnservedModel(_message.Message):
    __slots__ = ("id", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    reason: str
    def __init__(self, id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class EncoderMetrics(_message.Message):
    __slots__ = ("host", "queued", "encoded", "failed", "batches", "busy_ms", "loads", "evictions", "resident_bytes", "batch_sizes")
    HOST_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    BUSY_MS_FIELD_NUMBER: _ClassVar[int]
    LOADS_FIELD_NUMBER: _ClassVar[int]
    EVICTIONS_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZES_FIELD_NUMBER: _ClassVar[int]
    host: str
    queued: int
    encoded: int
    failed: int
    batches: int
    busy_ms: int
    loads: int
    evictions: int
    resident_bytes: int
    batch_sizes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, host: _Optional[str] = ..., queued: _Optional[int] = ..., encoded: _Optional[int] = ..., failed: _Optional[int] = ..., batches: _Optional[int] = ..., busy_ms: _Optional[int] = ..., loads: _Optional[int] = ..., evictions: _Optional[int] = ..., resident_bytes: _Optional[int] = ..., batch_sizes: _Optional[_Iterable[int]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("id", "modality", "dimension", "provenance", "inputs", "description", "outputs")
    ID_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    modality: str
    dimension: int
    provenance: _objects_pb2.Provenance
    inputs: _containers.RepeatedScalarFieldContainer[str]
    description: str
    outputs: _containers.RepeatedCompositeFieldContainer[ModelOutput]
    def __init__(self, id: _Optional[str] = ..., modality: _Optional[str] = ..., dimension: _Optional[int] = ..., provenance: _Optional[_Union[_objects_pb2.Provenance, _Mapping[str, _Any]]] = ..., inputs: _Optional[_Iterable[str]] = ..., description: _Optional[str] = ..., outputs: _Optional[_Iterable[_Union[ModelOutput, _Mapping[str, _Any]]]] = ...) -> None: ...

class ModelOutput(_message.Message):
    __slots__ = ("pooling", "form", "dimension")
    POOLING_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    pooling: str
    form: _objects_pb2.SpaceForm
    dimension: int
    def __init__(self, pooling: _Optional[str] = ..., form: _Optional[_Union[_objects_pb2.SpaceForm, str]] = ..., dimension: _Optional[int] = ...) -> None: ...

class EncodeCollectionRequest(_message.Message):
    __slots__ = ("collection", "model", "space", "predicate", "inputs", "overwrite", "pooling", "from_tokens", "encode_at_ingest")
    class InputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    PREDICATE_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    POOLING_FIELD_NUMBER: _ClassVar[int]
    FROM_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ENCODE_AT_INGEST_FIELD_NUMBER: _ClassVar[int]
    collection: str
    model: str
    space: str
    predicate: str
    inputs: _containers.ScalarMap[str, str]
    overwrite: bool
    pooling: str
    from_tokens: str
    encode_at_ingest: bool
    def __init__(self, collection: _Optional[str] = ..., model: _Optional[str] = ..., space: _Optional[str] = ..., predicate: _Optional[str] = ..., inputs: _Optional[_Mapping[str, str]] = ..., overwrite: _Optional[bool] = ..., pooling: _Optional[str] = ..., from_tokens: _Optional[str] = ..., encode_at_ingest: _Optional[bool] = ...) -> None: ...

class EncodeCollectionResponse(_message.Message):
    __slots__ = ("total", "encoded", "skipped", "failed")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    total: int
    encoded: int
    skipped: int
    failed: _containers.RepeatedCompositeFieldContainer[FailedObject]
    def __init__(self, total: _Optional[int] = ..., encoded: _Optional[int] = ..., skipped: _Optional[int] = ..., failed: _Optional[_Iterable[_Union[FailedObject, _Mapping[str, _Any]]]] = ...) -> None: ...

class FailedObject(_message.Message):
    __slots__ = ("id", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: _objects_pb2.ObjectId
    reason: str
    def __init__(self, id: _Optional[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]] = ..., reason: _Optional[str] = ...) -> None: ...

class EncodeInputsRequest(_message.Message):
    __slots__ = ("start", "batch")
    START_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    start: EncodeInputsStart
    batch: EncodeInputsBatch
    def __init__(self, start: _Optional[_Union[EncodeInputsStart, _Mapping[str, _Any]]] = ..., batch: _Optional[_Union[EncodeInputsBatch, _Mapping[str, _Any]]] = ...) -> None: ...

class EncodeInputsStart(_message.Message):
    __slots__ = ("collection", "model", "space", "pooling", "overwrite")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    POOLING_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    model: str
    space: str
    pooling: str
    overwrite: bool
    def __init__(self, collection: _Optional[str] = ..., model: _Optional[str] = ..., space: _Optional[str] = ..., pooling: _Optional[str] = ..., overwrite: _Optional[bool] = ...) -> None: ...

class EncodeInputsBatch(_message.Message):
    __slots__ = ("inputs",)
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    inputs: _containers.RepeatedCompositeFieldContainer[ObjectInput]
    def __init__(self, inputs: _Optional[_Iterable[_Union[ObjectInput, _Mapping[str, _Any]]]] = ...) -> None: ...

class ObjectInput(_message.Message):
    __slots__ = ("id", "payload")
    ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    id: _objects_pb2.ObjectId
    payload: _search_service_pb2.Payload
    def __init__(self, id: _Optional[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]] = ..., payload: _Optional[_Union[_search_service_pb2.Payload, _Mapping[str, _Any]]] = ...) -> None: ...

class EncodeInputsResponse(_message.Message):
    __slots__ = ("encoded", "skipped", "failed")
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    encoded: int
    skipped: int
    failed: _containers.RepeatedCompositeFieldContainer[FailedObject]
    def __init__(self, encoded: _Optional[int] = ..., skipped: _Optional[int] = ..., failed: _Optional[_Iterable[_Union[FailedObject, _Mapping[str, _Any]]]] = ...) -> None: ...
