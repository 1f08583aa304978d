from sidereus.v1 import object_service_pb2 as _object_service_pb2
from sidereus.v1 import objects_pb2 as _objects_pb2
from sidereus.v1 import region_pb2 as _region_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FlightCommand(_message.Message):
    __slots__ = ("export", "ingest")
    EXPORT_FIELD_NUMBER: _ClassVar[int]
    INGEST_FIELD_NUMBER: _ClassVar[int]
    export: FlightExport
    ingest: FlightIngest
    def __init__(self, export: _Optional[_Union[FlightExport, _Mapping[str, _Any]]] = ..., ingest: _Optional[_Union[FlightIngest, _Mapping[str, _Any]]] = ...) -> None: ...

class FlightExport(_message.Message):
    __slots__ = ("collection", "region", "predicate", "columns", "without_columns", "spaces", "endpoints", "cells", "release")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    PREDICATE_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    SPACES_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    region: _region_pb2.Region
    predicate: str
    columns: _containers.RepeatedScalarFieldContainer[str]
    without_columns: bool
    spaces: _containers.RepeatedScalarFieldContainer[str]
    endpoints: int
    cells: CellRange
    release: str
    def __init__(self, collection: _Optional[str] = ..., region: _Optional[_Union[_region_pb2.Region, _Mapping[str, _Any]]] = ..., predicate: _Optional[str] = ..., columns: _Optional[_Iterable[str]] = ..., without_columns: _Optional[bool] = ..., spaces: _Optional[_Iterable[str]] = ..., endpoints: _Optional[int] = ..., cells: _Optional[_Union[CellRange, _Mapping[str, _Any]]] = ..., release: _Optional[str] = ...) -> None: ...

class CellRange(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class FlightIngest(_message.Message):
    __slots__ = ("collection", "mode", "provenance", "merge", "batches_durable")
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
    MERGE_FIELD_NUMBER: _ClassVar[int]
    BATCHES_DURABLE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    mode: _object_service_pb2.IngestMode
    provenance: _containers.MessageMap[str, _objects_pb2.Provenance]
    merge: bool
    batches_durable: int
    def __init__(self, collection: _Optional[str] = ..., mode: _Optional[_Union[_object_service_pb2.IngestMode, str]] = ..., provenance: _Optional[_Mapping[str, _objects_pb2.Provenance]] = ..., merge: _Optional[bool] = ..., batches_durable: _Optional[int] = ...) -> None: ...

class FlightIngestResult(_message.Message):
    __slots__ = ("batch", "batches_durable")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    BATCHES_DURABLE_FIELD_NUMBER: _ClassVar[int]
    batch: _object_service_pb2.IngestResponse
    batches_durable: int
    def __init__(self, batch: _Optional[_Union[_object_service_pb2.IngestResponse, _Mapping[str, _Any]]] = ..., batches_durable: _Optional[int] = ...) -> None: ...
