"""What can go wrong, with the server's own words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import grpc
import pyarrow as pa
from pyarrow import flight

if TYPE_CHECKING:
    from collections.abc import Sequence


class SidereusError(Exception):
    """Base class of all errors of this package.

    The text is the server's sentence, which says what was wrong and what to do.
    """


class InvalidRequest(SidereusError, ValueError):
    """The request can never succeed as it is: an unknown column, a vector of another length, a region that is none."""


class NotFound(SidereusError, LookupError):
    """What is named does not exist, or you may not know of it."""


class Conflict(SidereusError):
    """It exists already, or the state forbids the operation."""


class Unauthenticated(SidereusError, PermissionError):
    """No token, or one that is wrong, expired or revoked."""


class Forbidden(SidereusError, PermissionError):
    """The token is good, and does not allow this."""


class Unavailable(SidereusError, ConnectionError):
    """The server, or a part of it, is not there for the moment: try again."""


class Untrusted(SidereusError, ConnectionError):
    """The server cannot be trusted, or speaks otherwise than its address says; trying again would not help."""


class TimedOut(SidereusError, TimeoutError):
    """The answer was not there in time."""


class LimitReached(SidereusError):
    """A limit, a quota, the disk or the memory is used up: ask for less, or later."""


class Unsupported(SidereusError, NotImplementedError):
    """The server is of a version that does not know this call."""


class ServerFault(SidereusError, RuntimeError):
    """A fault of the server, or damaged data; its log has the details."""


class RowsRefused(InvalidRequest):
    """Rows of an ingest were not taken; the others are durable.

    Attributes
    ----------
    report : IngestReport
        What was written, and each refused row with its reason.
    """

    def __init__(self, message: str, report: object) -> None:
        super().__init__(message)
        self.report = report


_BY_CODE: dict[grpc.StatusCode, type[SidereusError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: Forbidden,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOut,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitReached,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
}

_FLIGHT: Sequence[tuple[type[BaseException], type[SidereusError]]] = (
    (flight.FlightUnavailableError, Unavailable),
    (flight.FlightUnauthenticatedError, Unauthenticated),
    (flight.FlightUnauthorizedError, Forbidden),
    (flight.FlightTimedOutError, TimedOut),
    (flight.FlightCancelledError, Unavailable),
    (pa.ArrowKeyError, NotFound),
    (pa.ArrowNotImplementedError, Unsupported),
    (pa.ArrowInvalid, InvalidRequest),
)

# Codes that Arrow has no exception of its own for, by the words that it puts before the message.
_FLIGHT_WORDS: Sequence[tuple[str, type[SidereusError]]] = (
    ("resource exhausted", LimitReached),
    ("already exists", Conflict),
    ("failed precondition", Conflict),
    ("unavailable", Unavailable),
    ("cancelled", Unavailable),
    ("deadline", TimedOut),
    ("unauthenticated", Unauthenticated),
    ("permission", Forbidden),
    ("not found", NotFound),
    ("invalid argument", InvalidRequest),
)

# What Arrow puts behind a message: the state of the connection, and the server's details.
_BEHIND = re.compile(r"\.? ?(?:gRPC client debug context|Client context|Detail):", re.DOTALL)


# What gRPC puts into the details when a connection fails for what the other side shows, and not for its absence.
_DISTRUST = ("handshake failed", "certificate_verify_failed", "certificate required")


def of_grpc(error: grpc.RpcError) -> SidereusError:
    """Turn an error of a call into one of this package."""
    code = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
    details = (error.details() if isinstance(error, grpc.Call) else None) or str(error)
    if code is grpc.StatusCode.UNAVAILABLE and any(words in details.lower() for words in _DISTRUST):
        return Untrusted(f"the encrypted connection could not be made; is ca= the right file? ({details})")
    return _BY_CODE.get(code, ServerFault)(details)


def of_flight(error: BaseException) -> SidereusError:
    """Turn an error of Arrow Flight into one of this package."""
    if isinstance(error, SidereusError):
        return error
    text = str(error)
    before, told, behind = text.partition("with message: ")
    message = _BEHIND.split(behind if told else text)[0].strip()
    prefix = before.lower()
    message = message or "the server says no more; is it of another version?"
    by_words = next((ours for words, ours in _FLIGHT_WORDS if words in prefix), None)
    by_kind = next((ours for known, ours in _FLIGHT if isinstance(error, known)), None)
    # Arrow raises the same exception for several codes: the code that it names before the server's message tells more.
    found = (by_words or by_kind) if told else (by_kind or by_words)
    return (found or ServerFault)(message)
