from sidereus.options.v1 import access_pb2 as _access_pb2
from sidereus.v1 import objects_pb2 as _objects_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReleaseText(_message.Message):
    __slots__ = ("title", "citation", "acknowledgement", "notes")
    TITLE_FIELD_NUMBER: _ClassVar[int]
    CITATION_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGEMENT_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    title: str
    citation: str
    acknowledgement: str
    notes: str
    def __init__(self, title: _Optional[str] = ..., citation: _Optional[str] = ..., acknowledgement: _Optional[str] = ..., notes: _Optional[str] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("collection", "name", "text", "created_ms", "source_version", "objects", "spaces", "probes", "bridges", "content_hash", "withdrawn")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    SPACES_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    BRIDGES_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    text: ReleaseText
    created_ms: int
    source_version: int
    objects: int
    spaces: _containers.RepeatedCompositeFieldContainer[ReleaseSpace]
    probes: int
    bridges: int
    content_hash: str
    withdrawn: ReleaseWithdrawal
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ..., text: _Optional[_Union[ReleaseText, _Mapping[str, _Any]]] = ..., created_ms: _Optional[int] = ..., source_version: _Optional[int] = ..., objects: _Optional[int] = ..., spaces: _Optional[_Iterable[_Union[ReleaseSpace, _Mapping[str, _Any]]]] = ..., probes: _Optional[int] = ..., bridges: _Optional[int] = ..., content_hash: _Optional[str] = ..., withdrawn: _Optional[_Union[ReleaseWithdrawal, _Mapping[str, _Any]]] = ...) -> None: ...

class ReleaseSpace(_message.Message):
    __slots__ = ("space", "count", "provenance")
    SPACE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    space: str
    count: int
    provenance: str
    def __init__(self, space: _Optional[str] = ..., count: _Optional[int] = ..., provenance: _Optional[str] = ...) -> None: ...

class ReleaseWithdrawal(_message.Message):
    __slots__ = ("reason", "at_ms", "data_kept")
    REASON_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    DATA_KEPT_FIELD_NUMBER: _ClassVar[int]
    reason: str
    at_ms: int
    data_kept: bool
    def __init__(self, reason: _Optional[str] = ..., at_ms: _Optional[int] = ..., data_kept: _Optional[bool] = ...) -> None: ...

class CreateReleaseRequest(_message.Message):
    __slots__ = ("collection", "name", "text")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    text: ReleaseText
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ..., text: _Optional[_Union[ReleaseText, _Mapping[str, _Any]]] = ...) -> None: ...

class CreateReleaseResponse(_message.Message):
    __slots__ = ("stage", "done", "total", "release")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    stage: str
    done: int
    total: int
    release: Release
    def __init__(self, stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., release: _Optional[_Union[Release, _Mapping[str, _Any]]] = ...) -> None: ...

class ListReleasesRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class ListReleasesResponse(_message.Message):
    __slots__ = ("releases",)
    RELEASES_FIELD_NUMBER: _ClassVar[int]
    releases: _containers.RepeatedCompositeFieldContainer[Release]
    def __init__(self, releases: _Optional[_Iterable[_Union[Release, _Mapping[str, _Any]]]] = ...) -> None: ...

class GetReleaseRequest(_message.Message):
    __slots__ = ("collection", "name")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class GetReleaseResponse(_message.Message):
    __slots__ = ("release",)
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    release: Release
    def __init__(self, release: _Optional[_Union[Release, _Mapping[str, _Any]]] = ...) -> None: ...

class VerifyReleaseRequest(_message.Message):
    __slots__ = ("collection", "name")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class VerifyReleaseResponse(_message.Message):
    __slots__ = ("stage", "done", "total", "release", "found_hash")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    FOUND_HASH_FIELD_NUMBER: _ClassVar[int]
    stage: str
    done: int
    total: int
    release: Release
    found_hash: str
    def __init__(self, stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., release: _Optional[_Union[Release, _Mapping[str, _Any]]] = ..., found_hash: _Optional[str] = ...) -> None: ...

class DiffReleasesRequest(_message.Message):
    __slots__ = ("collection", "to", "ids_max")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    IDS_MAX_FIELD_NUMBER: _ClassVar[int]
    collection: str
    to: str
    ids_max: int
    def __init__(self, collection: _Optional[str] = ..., to: _Optional[str] = ..., ids_max: _Optional[int] = ..., **kwargs: _Any) -> None: ...

class DiffReleasesResponse(_message.Message):
    __slots__ = ("stage", "done", "total", "diff")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    DIFF_FIELD_NUMBER: _ClassVar[int]
    stage: str
    done: int
    total: int
    diff: ReleaseDiff
    def __init__(self, stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., diff: _Optional[_Union[ReleaseDiff, _Mapping[str, _Any]]] = ...) -> None: ...

class ReleaseDiff(_message.Message):
    __slots__ = ("added", "removed", "changed", "moved", "columns", "spaces", "schema")
    ADDED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    SPACES_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    added: ChangedObjects
    removed: ChangedObjects
    changed: ChangedObjects
    moved: int
    columns: _containers.RepeatedCompositeFieldContainer[ChangedPart]
    spaces: _containers.RepeatedCompositeFieldContainer[ChangedPart]
    schema: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, added: _Optional[_Union[ChangedObjects, _Mapping[str, _Any]]] = ..., removed: _Optional[_Union[ChangedObjects, _Mapping[str, _Any]]] = ..., changed: _Optional[_Union[ChangedObjects, _Mapping[str, _Any]]] = ..., moved: _Optional[int] = ..., columns: _Optional[_Iterable[_Union[ChangedPart, _Mapping[str, _Any]]]] = ..., spaces: _Optional[_Iterable[_Union[ChangedPart, _Mapping[str, _Any]]]] = ..., schema: _Optional[_Iterable[str]] = ...) -> None: ...

class ChangedObjects(_message.Message):
    __slots__ = ("count", "ids")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    count: int
    ids: _containers.RepeatedCompositeFieldContainer[_objects_pb2.ObjectId]
    def __init__(self, count: _Optional[int] = ..., ids: _Optional[_Iterable[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]]] = ...) -> None: ...

class ChangedPart(_message.Message):
    __slots__ = ("name", "count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    count: int
    def __init__(self, name: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class WithdrawReleaseRequest(_message.Message):
    __slots__ = ("collection", "name", "reason", "keep_data")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    KEEP_DATA_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    reason: str
    keep_data: bool
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ..., reason: _Optional[str] = ..., keep_data: _Optional[bool] = ...) -> None: ...

class WithdrawReleaseResponse(_message.Message):
    __slots__ = ("release",)
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    release: Release
    def __init__(self, release: _Optional[_Union[Release, _Mapping[str, _Any]]] = ...) -> None: ...
