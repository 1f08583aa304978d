"""The client: a server and its collections."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from . import _schema
from ._collection import Collection
from ._connection import Connection, find_token
from ._errors import NotFound
from ._schema import Space
from .v1 import collection_service_pb2 as wire
from .v1 import objects_pb2 as objects


class Client:
    """A connection to a server; see :func:`sidereus.connect`. Threads may share one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def url(self) -> str:
        """Address of the server."""
        return self._connection.url

    def collections(self) -> list[Collection]:
        """Give the collections that you may know of."""
        reply = self._connection.unary(
            "CollectionService/ListCollections",
            wire.ListCollectionsRequest(),
            wire.ListCollectionsResponse.FromString,
            again=True,
        )
        return [Collection(self._connection, told.schema.name, told) for told in reply.collections]

    def __getitem__(self, name: str) -> Collection:
        """Give a collection by its name.

        Raises
        ------
        NotFound
            When there is none, or you may not know of it.
        """
        return Collection(self._connection, name).refresh()

    def __iter__(self) -> Iterator[Collection]:
        return iter(self.collections())

    def __contains__(self, name: object) -> bool:
        try:
            return isinstance(name, str) and bool(self[name].name)
        except NotFound:
            return False

    def create_collection(
        self,
        name: str,
        columns: Any = None,
        *,
        spaces: Sequence[Space] | Mapping[str, Any] = (),
        ids: str | None = None,
        description: str = "",
    ) -> Collection:
        """Make a collection.

        Parameters
        ----------
        name
            Its name.
        columns
            What says the columns: a table (astropy, pandas, pyarrow) or an Arrow schema, whose names, types and units are
            taken; or columns themselves, as :class:`Column` or ``{"z": "float64"}``. ``object_id``, ``ra`` and ``dec``
            are there anyway, and fixed-size lists ``vector.<space>`` make spaces.
        spaces
            Embedding spaces; ``{"image": 512}`` are spaces of images that are compared by cosine. Arrays of vectors in the place
            of dimensions tell theirs; they are not written: :meth:`Collection.ingest` does that.
        ids
            ``"number"`` or ``"text"``; by the table unless said, else numbers.
        description
            A sentence for people.
        """
        read, found, kind = _schema.read_columns(columns)
        if isinstance(spaces, Mapping):
            spaces = [Space(own, _schema.dimension_of(own, given)) for own, given in spaces.items()]
        taken = {space.name for space in spaces}
        wanted = [*spaces, *(space for space in found if space.name not in taken)]
        schema = objects.CollectionSchema(
            name=name,
            id_kind=objects.ID_KIND_TEXT if (ids or kind) == "text" else objects.ID_KIND_NUMBER,
            columns=[column.to_message() for column in read],
            spaces=[space.to_message() for space in wanted],
            description=description,
        )
        reply = self._connection.unary(
            "CollectionService/CreateCollection",
            wire.CreateCollectionRequest(schema=schema),
            wire.CreateCollectionResponse.FromString,
            again=False,
        )
        return Collection(self._connection, name, reply.collection)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self.url}>"


def connect(
    url: str | None = None,
    *,
    token: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
    ca: str | os.PathLike[str] | None = None,
    certificate: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    timeout: float = 60.0,
    patience: float | None = None,
) -> Client:
    """Connect to a server.

    Parameters
    ----------
    url
        ``https://host:50051``, or ``http://`` for a server on this machine. ``SIDEREUS_SERVER`` unless said, else
        ``http://127.0.0.1:50051``.
    token
        API token, or bearer token of your single sign-on; ``SIDEREUS_TOKEN`` unless said. It is never sent unencrypted to
        another machine.
    token_file
        File that holds the token; ``SIDEREUS_TOKEN_FILE`` unless said.
    ca
        PEM file of the authority that signed the server's certificate, where the system does not know it; ``SIDEREUS_CA``
        unless said.
    certificate, key
        PEM files of your own certificate, for servers that ask for one.
    timeout
        Seconds that one call may take.
    patience
        Seconds for which calls that may be made again are, while the server is away; as many as ``timeout`` unless said. What
        cannot come right, such as a certificate of another authority, is told at once.

    Examples
    --------
    >>> client = connect("http://127.0.0.1:50051")
    >>> client
    <Client of http://127.0.0.1:50051>
    >>> client.close()
    """
    found = find_token(token, token_file)
    return Client(Connection(url, found, ca, certificate, key, timeout, patience))
