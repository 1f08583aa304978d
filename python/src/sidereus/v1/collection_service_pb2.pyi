from sidereus.options.v1 import access_pb2 as _access_pb2
from sidereus.v1 import objects_pb2 as _objects_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateCollectionRequest(_message.Message):
    __slots__ = ("schema",)
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    schema: _objects_pb2.CollectionSchema
    def __init__(self, schema: _Optional[_Union[_objects_pb2.CollectionSchema, _Mapping[str, _Any]]] = ...) -> None: ...

class CreateCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: _objects_pb2.Collection
    def __init__(self, collection: _Optional[_Union[_objects_pb2.Collection, _Mapping[str, _Any]]] = ...) -> None: ...

class ListCollectionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCollectionsResponse(_message.Message):
    __slots__ = ("collections",)
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[_objects_pb2.Collection]
    def __init__(self, collections: _Optional[_Iterable[_Union[_objects_pb2.Collection, _Mapping[str, _Any]]]] = ...) -> None: ...

class GetCollectionRequest(_message.Message):
    __slots__ = ("name", "release")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    name: str
    release: str
    def __init__(self, name: _Optional[str] = ..., release: _Optional[str] = ...) -> None: ...

class GetCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: _objects_pb2.Collection
    def __init__(self, collection: _Optional[_Union[_objects_pb2.Collection, _Mapping[str, _Any]]] = ...) -> None: ...

class DropCollectionRequest(_message.Message):
    __slots__ = ("name", "with_releases")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WITH_RELEASES_FIELD_NUMBER: _ClassVar[int]
    name: str
    with_releases: bool
    def __init__(self, name: _Optional[str] = ..., with_releases: _Optional[bool] = ...) -> None: ...

class DropCollectionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AddSpaceRequest(_message.Message):
    __slots__ = ("collection", "space")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    space: _objects_pb2.EmbeddingSpace
    def __init__(self, collection: _Optional[str] = ..., space: _Optional[_Union[_objects_pb2.EmbeddingSpace, _Mapping[str, _Any]]] = ...) -> None: ...

class AddSpaceResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: _objects_pb2.Collection
    def __init__(self, collection: _Optional[_Union[_objects_pb2.Collection, _Mapping[str, _Any]]] = ...) -> None: ...

class SetEncodeAtIngestRequest(_message.Message):
    __slots__ = ("collection", "space", "encode_at_ingest", "inputs")
    class InputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    ENCODE_AT_INGEST_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    space: str
    encode_at_ingest: bool
    inputs: _containers.ScalarMap[str, str]
    def __init__(self, collection: _Optional[str] = ..., space: _Optional[str] = ..., encode_at_ingest: _Optional[bool] = ..., inputs: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SetEncodeAtIngestResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: _objects_pb2.Collection
    def __init__(self, collection: _Optional[_Union[_objects_pb2.Collection, _Mapping[str, _Any]]] = ...) -> None: ...
