"""What a collection tells about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from . import _schema
from ._errors import Unsupported
from ._schema import Column, Space
from .v1 import collection_service_pb2 as collections
from .v1 import objects_pb2 as objects
from .v1 import release_service_pb2 as releases

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._connection import Connection


def released(request: Any, release: str | None) -> Any:
    """Name the release in a request, where the protocol knows releases."""
    if release:
        if "release" not in request.DESCRIPTOR.fields_by_name:
            raise Unsupported("this version of the package knows no releases of collections in this call")
        request.release = release
    return request


class Told:
    """A collection by its name, and what the server tells about it."""

    def __init__(self, connection: Connection, name: str, message: objects.Collection | None = None) -> None:
        self._connection, self.name, self._message = connection, name, message
        # Releases do not change.
        self._citations: dict[str, dict[str, str]] = {}

    @property
    def _told(self) -> objects.Collection:
        if self._message is None:
            self.refresh()
        assert self._message is not None
        return self._message

    @property
    def _schema(self) -> objects.CollectionSchema:
        return self._told.schema

    def refresh(self) -> Self:
        """Ask the server for schema and counts again."""
        request = collections.GetCollectionRequest(name=self.name)
        reply = self._connection.unary(
            "CollectionService/GetCollection", request, collections.GetCollectionResponse.FromString, again=True
        )
        self._message = reply.collection
        return self

    @property
    def columns(self) -> list[Column]:
        """The columns, with units and UCDs."""
        return [_schema.column_of(column) for column in self._schema.columns]

    @property
    def spaces(self) -> dict[str, Space]:
        """The embedding spaces that hold vectors, by name."""
        names = {number: name for name, number in _schema.METRICS.items()}
        return {
            space.name: Space(
                space.name,
                space.dimension,
                names.get(space.metric, ""),
                space.modality,
                space.provenance.encoder,
                space.provenance.weights_hash,
                space.provenance.preprocessing,
                space.provenance.pooling,
                space.shared,
            )
            for space in self._schema.spaces
            if _schema.holds_vectors(space)
        }

    @property
    def description(self) -> str:
        """What the collection is, in a sentence."""
        return self._schema.description

    @property
    def footprint(self) -> Any:
        """The part of the sky that has objects, as ``mocpy.MOC``."""
        from mocpy import MOC

        return MOC.from_string(self._told.footprint or "0/", format="ascii")

    def _labelled(self, table: pa.Table, release: str | None) -> pa.Table:
        """Write into the metadata of a table what it is of, and how to cite it."""
        about = {key.decode(): text.decode() for key, text in (table.schema.metadata or {}).items()}
        about["collection"] = self.name
        if release:
            about |= {"release": release, **self._citation(release)}
        return table.replace_schema_metadata(about)

    def _citation(self, release: str) -> dict[str, str]:
        if release not in self._citations:
            request = releases.GetReleaseRequest(collection=self.name, name=release)
            reply = self._connection.unary(
                "ReleaseService/GetRelease", request, releases.GetReleaseResponse.FromString, again=True
            )
            text = reply.release.text
            told = {"citation": text.citation, "acknowledgement": text.acknowledgement}
            self._citations[release] = {key: words for key, words in told.items() if words}
        return self._citations[release]
