"""Many objects out of a collection and into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from . import _schema, _sky
from ._export import Export
from ._ingest import IngestReport, ingest
from ._schema import Space
from ._table import Objects, concatenated
from ._told import Told, released
from .v1 import flight_pb2

if TYPE_CHECKING:
    import numpy as np


class Bulk(Told):
    """Exports and ingests."""

    def _export(
        self,
        columns: Sequence[str] | None,
        vectors: bool | str | Iterable[str],
        where: str,
        region: Any,
        streams: int,
        release: str | None,
    ) -> Export:
        if vectors is True:
            names = list(self.spaces)
        elif vectors is False:
            names = []
        else:
            names = [vectors] if isinstance(vectors, str) else list(vectors)
        command = flight_pb2.FlightExport(
            collection=self.name,
            region=region,
            predicate=where,
            columns=[] if columns is None else columns,
            without_columns=columns is not None and not columns,
            spaces=names,
            endpoints=streams,
        )
        return Export(self._connection, released(command, release))

    def export(
        self,
        *,
        columns: Sequence[str] | None = None,
        vectors: bool | str | Iterable[str] = False,
        where: str = "",
        cone: Any = None,
        region: Any = None,
        zone: Any = None,
        streams: int = 1,
        release: str | None = None,
        progress: bool = False,
    ) -> Objects:
        """Read many objects, in the order of the sky.

        Parameters
        ----------
        columns
            Columns beside id and position; all but binary ones unless said, none for ``[]``.
        vectors
            ``True`` for those of all spaces, or the names of some. They come as they were given.
        streams
            Connections that are read side by side.
        progress
            Show a bar (with tqdm).

        The other parameters are those of :meth:`search`.
        """
        made = self._export(columns, vectors, where, _sky.part(cone, region, zone), streams, release)
        batches = [pa.Table.from_batches([batch]) for batch in made.batches(progress)]
        return Objects(self._labelled(concatenated(batches, made.schema), release), self.name)

    def export_batches(
        self,
        *,
        columns: Sequence[str] | None = None,
        vectors: bool | str | Iterable[str] = False,
        where: str = "",
        cone: Any = None,
        region: Any = None,
        zone: Any = None,
        streams: int = 1,
        release: str | None = None,
        progress: bool = False,
    ) -> pa.RecordBatchReader:
        """Do what :meth:`export` does, batch by batch: nothing but a few batches is in memory.

        Returns
        -------
        pyarrow.RecordBatchReader
            The server sends as fast as it is read.
        """
        made = self._export(columns, vectors, where, _sky.part(cone, region, zone), streams, release)
        return pa.RecordBatchReader.from_batches(made.schema, made.batches(progress))

    def vectors(self, space: str = "", **selection: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Read the vectors of a space, with the ids of their objects.

        Parameters
        ----------
        space
            Name of the space; may be left out where there is only one.
        **selection
            ``where``, ``cone``, ``region``, ``zone``, ``streams``, ``release`` and ``progress`` of :meth:`export`.

        Returns
        -------
        ids, vectors : numpy.ndarray
            One row for each object that has a vector, in the order of the sky.
        """
        names = list(self.spaces)
        if not space and len(names) == 1:
            space = names[0]
        found = self.export(columns=[], vectors=[space], **selection)
        there = found.to_arrow()
        name = next(name for name in found.columns if name.startswith(_schema.VECTOR_PREFIX))
        there = there.filter(there[name].is_valid())
        return there["object_id"].to_numpy(), _schema.numpy_vectors(there[name])

    def ingest(
        self,
        table: Any,
        vectors: Mapping[str, Any] | None = None,
        *,
        merge: bool = False,
        bulk: bool | None = None,
        provenance: Mapping[str, Space] | None = None,
        on_refused: str = "raise",
        progress: bool = False,
    ) -> IngestReport:
        """Write objects; of rows with one id the last wins.

        When the server is lost on the way, the ingest waits for it, as long as the client's ``patience`` lasts from the last
        batch that was answered, and goes on where it was.

        Parameters
        ----------
        table
            An astropy, pandas or pyarrow table, a mapping of arrays, a ``pyarrow.RecordBatchReader``, or anything that
            gives tables or batches. Columns are ``object_id``, ``ra``, ``dec`` (or a ``SkyCoord`` column of any frame),
            and the collection's own; quantities are converted to its units. Vectors may be columns ``vector.<space>``.
        vectors
            Arrays of vectors, one row for each row of the table, by the name of their space. A row of NaN is an object
            without a vector.
        merge
            Keep the columns and vectors that are not given, of objects that are there.
        bulk
            Write large commits; by the number of rows unless said.
        provenance
            Where the vectors come from, for spaces of an encoder.
        on_refused
            ``"raise"`` an error when rows were refused (the others are written), or ``"return"`` them in the report.
        progress
            Show a bar (with tqdm).
        """
        schema = self.refresh()._schema
        return ingest(
            self._connection,
            schema,
            table,
            vectors,
            merge=merge,
            bulk=bulk,
            provenance=provenance,
            on_refused=on_refused,
            progress=progress,
        )
