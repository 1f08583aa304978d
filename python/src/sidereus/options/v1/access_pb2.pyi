from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_READ: _ClassVar[Role]
    ROLE_ANNOTATE: _ClassVar[Role]
    ROLE_INGEST: _ClassVar[Role]
    ROLE_CURATE: _ClassVar[Role]
    ROLE_ADMINISTER: _ClassVar[Role]

class Empty(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EMPTY_UNSPECIFIED: _ClassVar[Empty]
    EMPTY_LISTING: _ClassVar[Empty]
ROLE_UNSPECIFIED: Role
ROLE_READ: Role
ROLE_ANNOTATE: Role
ROLE_INGEST: Role
ROLE_CURATE: Role
ROLE_ADMINISTER: Role
EMPTY_UNSPECIFIED: Empty
EMPTY_LISTING: Empty
NEEDS_FIELD_NUMBER: int
needs: _descriptor.FieldDescriptor

class Needs(_message.Message):
    __slots__ = ("role", "collection", "server", "listing", "anybody", "empty", "raises", "writes")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    LISTING_FIELD_NUMBER: _ClassVar[int]
    ANYBODY_FIELD_NUMBER: _ClassVar[int]
    EMPTY_FIELD_NUMBER: _ClassVar[int]
    RAISES_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    role: Role
    collection: str
    server: bool
    listing: bool
    anybody: bool
    empty: Empty
    raises: _containers.RepeatedCompositeFieldContainer[Raise]
    writes: bool
    def __init__(self, role: _Optional[_Union[Role, str]] = ..., collection: _Optional[str] = ..., server: _Optional[bool] = ..., listing: _Optional[bool] = ..., anybody: _Optional[bool] = ..., empty: _Optional[_Union[Empty, str]] = ..., raises: _Optional[_Iterable[_Union[Raise, _Mapping[str, _Any]]]] = ..., writes: _Optional[bool] = ...) -> None: ...

class Raise(_message.Message):
    __slots__ = ("field", "role")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    field: str
    role: Role
    def __init__(self, field: _Optional[str] = ..., role: _Optional[_Union[Role, str]] = ...) -> None: ...
