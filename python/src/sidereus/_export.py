"""Objects out: record batches over Arrow Flight."""

from __future__ import annotations

import collections
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyarrow import flight

from . import _errors
from ._connection import Connection
from ._errors import SidereusError
from ._progress import Progress
from .v1 import flight_pb2

#: Streams that are read side by side: as many as the server gives to one reader.
AT_ONCE = 4

#: Batches of each stream that wait for whoever reads several of them.
AHEAD = 2


class Export:
    """One export: its schema, its number of rows, and its batches."""

    def __init__(self, connection: Connection, command: flight_pb2.FlightExport) -> None:
        self._connection = connection
        # Nobody writes into a release: its rows are those that were told. A collection may change until they are read.
        self._is_fixed = bool(command.release) or "@" in command.collection
        bytes_ = flight_pb2.FlightCommand(export=command).SerializeToString()
        descriptor = flight.FlightDescriptor.for_command(bytes_)
        self._info = _ask(
            connection, lambda: connection.flight().get_flight_info(descriptor, connection.flight_options())
        )
        self.schema: pa.Schema = self._info.schema
        self.rows = int(self._info.total_records)

    def batches(self, progress: bool = False) -> Iterator[pa.RecordBatch]:
        """Go through the batches in sky order; several streams are read side by side, and joined in their order."""
        tickets = [endpoint.ticket for endpoint in self._info.endpoints]
        came = 0
        with Progress(progress, self.rows, "exporting", "rows") as bar:
            for batch in self._joined(tickets):
                came += batch.num_rows
                bar.add(batch.num_rows)
                yield batch
        if self._is_fixed and 0 <= self.rows != came:
            raise _errors.Unavailable(f"the export broke off: {came} of {self.rows} rows came; read it again")

    def _joined(self, tickets: list[Any]) -> Iterator[pa.RecordBatch]:
        """Give the batches of every ticket in their order, a few tickets side by side."""
        if len(tickets) == 1:
            yield from _one(self._connection, tickets[0])
            return
        ahead: collections.deque[_Beside] = collections.deque()
        try:
            for ticket in tickets:
                if len(ahead) == AT_ONCE:
                    yield from ahead[0]
                    ahead.popleft().close()
                ahead.append(_Beside(_one(self._connection, ticket)))
            while ahead:
                yield from ahead[0]
                ahead.popleft().close()
        finally:
            for stream in ahead:
                stream.close()


def _ask(connection: Connection, ask: Any) -> Any:
    waits = connection.waits()
    while True:
        try:
            return ask()
        except pa.ArrowException as error:
            ours = _errors.of_flight(error)
            if not isinstance(ours, _errors.Unavailable) or not next(waits):
                raise ours from None


def _one(connection: Connection, ticket: Any) -> Any:
    """Give the batches of one ticket."""
    try:
        reader = connection.flight().do_get(ticket, connection.flight_options())
        try:
            while True:
                try:
                    chunk = reader.read_chunk()
                except StopIteration:
                    return
                if chunk.data is not None:
                    yield chunk.data
        finally:
            reader.cancel()
    except pa.ArrowException as error:
        raise _errors.of_flight(error) from None


class _Beside:
    """Reads a stream on a thread of its own, a few batches ahead."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._ready: queue.Queue[Any] = queue.Queue(AHEAD)
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for batch in self._stream:
                if not self._put(batch):
                    return
            self._put(None)
        except SidereusError as error:
            self._put(error)
        finally:
            self._stream.close()

    def _put(self, item: Any) -> bool:
        while not self._gone.is_set():
            try:
                self._ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while (item := self._ready.get()) is not None:
            if isinstance(item, SidereusError):
                raise item
            yield item

    def close(self) -> None:
        """End the thread."""
        self._gone.set()
        self._thread.join()
