"""Objects in: batches over Arrow Flight, answered one by one, and sent again when the server comes back."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import flight

from . import _errors, _schema
from ._connection import Connection
from ._errors import InvalidRequest, RowsRefused, SidereusError, Unavailable
from ._progress import Progress
from ._table import to_arrow, vector_column
from .v1 import flight_pb2
from .v1 import object_service_pb2 as wire
from .v1 import objects_pb2 as objects

#: Rows of a batch, and bytes of one, at most. The server takes 100,000 and 32 MiB.
BATCH_ROWS, BATCH_BYTES = 50_000, 8 << 20

#: Batches that are sent before the first of them is answered.
WINDOW = 24

#: Rows from which batches are written in bulk.
BULK_ROWS = 20_000

#: Refused rows that an error names.
NAMED = 5


@dataclass(frozen=True)
class RefusedRow:
    """A row that was not taken.

    Attributes
    ----------
    row
        Number of the row in what was given, from 0.
    object_id
        Its id, as far as it could be read.
    reason
        What is wrong with it.
    """

    row: int
    object_id: str
    reason: str


@dataclass
class IngestReport:
    """What became of an ingest.

    Attributes
    ----------
    inserted, replaced
        Objects that are new, and that took the place of one that was there. Rows that were sent a second time after
        the server was lost count as replaced.
    refused
        Rows that were not taken.
    version
        Commit that holds the last batch.
    batches
        Batches that are durable.
    retries
        How often the server was lost and found again.
    """

    inserted: int = 0
    replaced: int = 0
    refused: list[RefusedRow] = field(default_factory=list)
    version: int = 0
    batches: int = 0
    retries: int = 0

    @property
    def written(self) -> int:
        """Objects that were written."""
        return self.inserted + self.replaced

    def __repr__(self) -> str:
        told = f"{self.inserted:,} inserted, {self.replaced:,} replaced"
        return f"<IngestReport: {told}{f', {len(self.refused):,} refused' if self.refused else ''}>"


@dataclass(frozen=True)
class Source:
    """Batches of one schema, and how many rows there are, if that is known."""

    batches: Iterator[pa.RecordBatch]
    schema: pa.Schema
    rows: int | None


def source(given: Any, vectors: Mapping[str, Any] | None, schema: objects.CollectionSchema) -> Source:
    """Make batches of a table, of a reader, or of batches as they come."""
    units = {column.name: column.unit for column in schema.columns if column.unit}
    is_stream = isinstance(given, pa.RecordBatchReader) or (
        isinstance(given, Iterable)
        and not isinstance(given, (pa.Table, pa.RecordBatch, Mapping))
        and not hasattr(given, "colnames")
        and not hasattr(given, "iloc")
    )
    if not is_stream:
        table = _with_vectors(to_arrow(given, units), vectors or {}, schema)
        table = _plain(table)
        return Source(_cut(iter(table.to_batches())), table.schema, table.num_rows)
    if vectors:
        raise InvalidRequest("vectors go with a table; batches have them as columns `vector.<space>`")
    batches = (_plain(to_arrow(one, units)) for one in given)
    first = next(batches, None)
    if first is None:
        raise InvalidRequest("there is no batch to write")

    def rest() -> Iterator[pa.RecordBatch]:
        yield from first.to_batches()
        for table in batches:
            if table.schema != first.schema:
                table = table.select(first.schema.names).cast(first.schema)
            yield from table.to_batches()

    return Source(_cut(rest()), first.schema, None)


def _with_vectors(table: pa.Table, vectors: Mapping[str, Any], schema: objects.CollectionSchema) -> pa.Table:
    for name, array in vectors.items():
        space = _schema.find_space(schema, name)
        made, column = vector_column(space.name, array, space.dimension, table.num_rows)
        if made.name in table.column_names:
            raise InvalidRequest(f"the table has a column {made.name!r} already; leave one of the two out")
        table = table.append_column(made, column)
    return table


def _plain(table: pa.Table) -> pa.Table:
    """Decode what the server does not take: dictionaries."""
    for place, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            decoded = table.column(place).cast(column.type.value_type)
            table = table.set_column(place, column.with_type(column.type.value_type), decoded)
    return table


def _cut(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if batch.num_rows == 0:
            continue
        # `nbytes` counts what a slice holds, and not all that it was cut from.
        each = max(1, batch.nbytes // batch.num_rows)
        rows = int(np.clip(BATCH_BYTES // each, 1, BATCH_ROWS))
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


@dataclass(frozen=True)
class _Batch:
    batch: pa.RecordBatch
    first_row: int


class Ingest:
    """One ingest, over as many connections as it takes."""

    def __init__(self, connection: Connection, command: flight_pb2.FlightIngest, source: Source, progress: bool) -> None:
        self._connection, self._command, self._source = connection, command, source
        self._report = IngestReport()
        # Sent and not answered: what has to be sent again when the server is lost.
        self._open: deque[_Batch] = deque()
        self._made = self._numbered()
        self._progress = Progress(progress, source.rows, "ingesting", "rows")

    def run(self) -> IngestReport:
        """Write everything."""
        waits = self._connection.waits()
        with self._progress:
            while True:
                before = self._report.batches
                try:
                    self._send()
                    return self._report
                except Unavailable:
                    if self._report.batches > before:
                        # It went on for a while: the patience begins anew.
                        waits = self._connection.waits()
                    if not next(waits):
                        raise
                    self._report.retries += 1

    def _numbered(self) -> Iterator[_Batch]:
        row = 0
        for batch in self._source.batches:
            yield _Batch(batch, row)
            row += batch.num_rows

    def _send(self) -> None:
        """Send what is not answered yet, then the rest; ends when everything is durable."""
        self._command.batches_durable = self._report.batches
        command = flight_pb2.FlightCommand(ingest=self._command).SerializeToString()
        descriptor = flight.FlightDescriptor.for_command(command)
        try:
            writer, reader = self._connection.flight().do_put(
                descriptor, self._source.schema, self._connection.flight_options()
            )
        except pa.ArrowException as error:
            raise _errors.of_flight(error) from None
        room, failures, ended = threading.Semaphore(WINDOW), list[BaseException](), threading.Event()
        taking = threading.Thread(target=self._take, args=(reader, room, failures, ended), daemon=True)
        taking.start()
        broken: BaseException | None = None
        try:
            for batch in list(self._open):
                room.acquire()
                if ended.is_set():
                    break
                writer.write_batch(batch.batch)
            while not ended.is_set():
                room.acquire()
                if ended.is_set():
                    break
                batch_or_none = next(self._made, None)
                if batch_or_none is None:
                    break
                # Noted before it is sent: an answer may come at once, and a failure at any time.
                self._open.append(batch_or_none)
                writer.write_batch(batch_or_none.batch)
            writer.done_writing()
        except pa.ArrowException as error:
            broken = error
        except BaseException:
            # The caller's own batches failed: what was sent is still written. To close a stream while another thread reads
            # from it can wait for ever: the answers end first.
            with contextlib.suppress(pa.ArrowException):
                writer.done_writing()
            taking.join()
            with contextlib.suppress(pa.ArrowException):
                writer.close()
            raise
        taking.join()
        try:
            writer.close()
        except pa.ArrowException as error:
            broken = broken or error
        cause = failures[0] if failures else broken
        if cause is not None and (failures or self._open):
            raise _errors.of_flight(cause) from None
        if self._open:
            raise Unavailable("the server ended the stream before everything was answered")

    def _take(
        self, reader: Any, room: threading.Semaphore, failures: list[BaseException], ended: threading.Event
    ) -> None:
        """Take answers until the stream ends."""
        try:
            while (answer := reader.read()) is not None:
                self._note(flight_pb2.FlightIngestResult.FromString(answer.to_pybytes()))
                room.release()
        except (pa.ArrowException, SidereusError) as error:
            failures.append(error)
        finally:
            ended.set()
            room.release()

    def _note(self, result: flight_pb2.FlightIngestResult) -> None:
        batch, report = self._open.popleft(), self._report
        answer = result.batch
        report.inserted += answer.inserted
        report.replaced += answer.replaced
        report.version = answer.version
        report.batches = result.batches_durable
        report.refused += [
            RefusedRow(batch.first_row + refused.row, refused.object_id, refused.reason) for refused in answer.refused
        ]
        self._progress.add(batch.batch.num_rows)


def _absent(schema: objects.CollectionSchema, given: Iterable[str]) -> list[str]:
    """Name what objects of the collection can have and rows do not: columns, and spaces that the server does not fill."""
    there = {name.lower() for name in given}
    spaces = [space for space in schema.spaces if not space.encode_at_ingest]
    names = [column.name for column in schema.columns] + [_schema.VECTOR_PREFIX + space.name for space in spaces]
    return [name for name in names if name.lower() not in there]


def ingest(
    connection: Connection,
    schema: objects.CollectionSchema,
    given: Any,
    vectors: Mapping[str, Any] | None,
    *,
    merge: bool,
    bulk: bool | None,
    provenance: Mapping[str, _schema.Space] | None,
    on_refused: str,
    progress: bool,
) -> IngestReport:
    """Write objects: see :meth:`sidereus.Collection.ingest`."""
    if on_refused not in ("raise", "return"):
        raise InvalidRequest("on_refused is 'raise' or 'return'")
    made = source(given, vectors, schema)
    if bulk is None:
        bulk = made.rows is None or made.rows > BULK_ROWS
    command = flight_pb2.FlightIngest(
        collection=schema.name,
        mode=wire.INGEST_MODE_BULK if bulk else wire.INGEST_MODE_UNSPECIFIED,
        merge=merge,
    )
    for name, told in _schema.told_provenances(made.schema):
        command.provenance[name].CopyFrom(told)
    for name, space in (provenance or {}).items():
        command.provenance[name].CopyFrom(space.to_message().provenance)
    report = Ingest(connection, command, made, progress).run()
    absent = [] if merge else _absent(schema, made.schema.names)
    if report.replaced and absent:
        more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
        warnings.warn(
            f"{', '.join(absent[:NAMED])}{more} {'is' if len(absent) == 1 else 'are'} not given: {report.replaced:,} replaced "
            f"object{' has' if report.replaced == 1 else 's have'} none now; merge=True keeps what is there",
            stacklevel=3,
        )
    if report.refused and on_refused == "raise":
        named = "; ".join(f"row {row.row} ({row.object_id}): {row.reason}" for row in report.refused[:NAMED])
        more = f" and {len(report.refused) - NAMED:,} more" if len(report.refused) > NAMED else ""
        raise RowsRefused(f"{len(report.refused):,} rows were refused, {report.written:,} written: {named}{more}", report)
    return report
