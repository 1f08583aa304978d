from sidereus.v1 import objects_pb2 as _objects_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Region(_message.Message):
    __slots__ = ("cone", "polygon", "zone", "moc", "cells")
    CONE_FIELD_NUMBER: _ClassVar[int]
    POLYGON_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    MOC_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    cone: Cone
    polygon: Polygon
    zone: Zone
    moc: Moc
    cells: CellList
    def __init__(self, cone: _Optional[_Union[Cone, _Mapping[str, _Any]]] = ..., polygon: _Optional[_Union[Polygon, _Mapping[str, _Any]]] = ..., zone: _Optional[_Union[Zone, _Mapping[str, _Any]]] = ..., moc: _Optional[_Union[Moc, _Mapping[str, _Any]]] = ..., cells: _Optional[_Union[CellList, _Mapping[str, _Any]]] = ...) -> None: ...

class Cone(_message.Message):
    __slots__ = ("centre", "radius")
    CENTRE_FIELD_NUMBER: _ClassVar[int]
    RADIUS_FIELD_NUMBER: _ClassVar[int]
    centre: _objects_pb2.Position
    radius: float
    def __init__(self, centre: _Optional[_Union[_objects_pb2.Position, _Mapping[str, _Any]]] = ..., radius: _Optional[float] = ...) -> None: ...

class Polygon(_message.Message):
    __slots__ = ("vertices",)
    VERTICES_FIELD_NUMBER: _ClassVar[int]
    vertices: _containers.RepeatedCompositeFieldContainer[_objects_pb2.Position]
    def __init__(self, vertices: _Optional[_Iterable[_Union[_objects_pb2.Position, _Mapping[str, _Any]]]] = ...) -> None: ...

class Zone(_message.Message):
    __slots__ = ("ra_min", "ra_max", "dec_min", "dec_max")
    RA_MIN_FIELD_NUMBER: _ClassVar[int]
    RA_MAX_FIELD_NUMBER: _ClassVar[int]
    DEC_MIN_FIELD_NUMBER: _ClassVar[int]
    DEC_MAX_FIELD_NUMBER: _ClassVar[int]
    ra_min: float
    ra_max: float
    dec_min: float
    dec_max: float
    def __init__(self, ra_min: _Optional[float] = ..., ra_max: _Optional[float] = ..., dec_min: _Optional[float] = ..., dec_max: _Optional[float] = ...) -> None: ...

class Moc(_message.Message):
    __slots__ = ("ascii", "json")
    ASCII_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    ascii: str
    json: str
    def __init__(self, ascii: _Optional[str] = ..., json: _Optional[str] = ...) -> None: ...

class CellList(_message.Message):
    __slots__ = ("order", "cells")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    order: int
    cells: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, order: _Optional[int] = ..., cells: _Optional[_Iterable[int]] = ...) -> None: ...
