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

class IngestMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INGEST_MODE_UNSPECIFIED: _ClassVar[IngestMode]
    INGEST_MODE_BULK: _ClassVar[IngestMode]
INGEST_MODE_UNSPECIFIED: IngestMode
INGEST_MODE_BULK: IngestMode

class IngestRequest(_message.Message):
    __slots__ = ("open", "batch")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    open: IngestOpen
    batch: IngestBatch
    def __init__(self, open: _Optional[_Union[IngestOpen, _Mapping[str, _Any]]] = ..., batch: _Optional[_Union[IngestBatch, _Mapping[str, _Any]]] = ...) -> None: ...

class IngestOpen(_message.Message):
    __slots__ = ("collection", "mode", "provenance")
    class ProvenanceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _objects_pb2.Provenance
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_objects_pb2.Provenance, _Mapping[str, _Any]]] = ...) -> None: ...
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    mode: IngestMode
    provenance: _containers.MessageMap[str, _objects_pb2.Provenance]
    def __init__(self, collection: _Optional[str] = ..., mode: _Optional[_Union[IngestMode, str]] = ..., provenance: _Optional[_Mapping[str, _objects_pb2.Provenance]] = ...) -> None: ...

class IngestBatch(_message.Message):
    __slots__ = ("sequence", "objects", "arrow_ipc", "merge")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    ARROW_IPC_FIELD_NUMBER: _ClassVar[int]
    MERGE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    objects: _containers.RepeatedCompositeFieldContainer[_objects_pb2.Object]
    arrow_ipc: bytes
    merge: bool
    def __init__(self, sequence: _Optional[int] = ..., objects: _Optional[_Iterable[_Union[_objects_pb2.Object, _Mapping[str, _Any]]]] = ..., arrow_ipc: _Optional[bytes] = ..., merge: _Optional[bool] = ...) -> None: ...

class IngestResponse(_message.Message):
    __slots__ = ("sequence", "inserted", "replaced", "refused", "version")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    INSERTED_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    inserted: int
    replaced: int
    refused: _containers.RepeatedCompositeFieldContainer[RefusedRow]
    version: int
    def __init__(self, sequence: _Optional[int] = ..., inserted: _Optional[int] = ..., replaced: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[RefusedRow, _Mapping[str, _Any]]]] = ..., version: _Optional[int] = ...) -> None: ...

class RefusedRow(_message.Message):
    __slots__ = ("row", "object_id", "reason")
    ROW_FIELD_NUMBER: _ClassVar[int]
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    row: int
    object_id: str
    reason: str
    def __init__(self, row: _Optional[int] = ..., object_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class GetObjectsRequest(_message.Message):
    __slots__ = ("collection", "ids", "with_vectors", "release")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    WITH_VECTORS_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedCompositeFieldContainer[_objects_pb2.ObjectId]
    with_vectors: bool
    release: str
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]]] = ..., with_vectors: _Optional[bool] = ..., release: _Optional[str] = ...) -> None: ...

class GetObjectsResponse(_message.Message):
    __slots__ = ("objects", "missing")
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    objects: _containers.RepeatedCompositeFieldContainer[_objects_pb2.Object]
    missing: _containers.RepeatedCompositeFieldContainer[_objects_pb2.ObjectId]
    def __init__(self, objects: _Optional[_Iterable[_Union[_objects_pb2.Object, _Mapping[str, _Any]]]] = ..., missing: _Optional[_Iterable[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]]] = ...) -> None: ...

class DeleteObjectsRequest(_message.Message):
    __slots__ = ("collection", "ids")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedCompositeFieldContainer[_objects_pb2.ObjectId]
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]]] = ...) -> None: ...

class DeleteObjectsResponse(_message.Message):
    __slots__ = ("deleted", "absent")
    DELETED_FIELD_NUMBER: _ClassVar[int]
    ABSENT_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    absent: int
    def __init__(self, deleted: _Optional[int] = ..., absent: _Optional[int] = ...) -> None: ...

class CountObjectsRequest(_message.Message):
    __slots__ = ("collection", "region", "predicate", "release")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    PREDICATE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    region: _region_pb2.Region
    predicate: str
    release: str
    def __init__(self, collection: _Optional[str] = ..., region: _Optional[_Union[_region_pb2.Region, _Mapping[str, _Any]]] = ..., predicate: _Optional[str] = ..., release: _Optional[str] = ...) -> None: ...

class CountObjectsResponse(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...
