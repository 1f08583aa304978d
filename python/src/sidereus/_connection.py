"""The way to a server: address, encryption, token, deadlines and second tries."""

from __future__ import annotations

import ipaddress
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import grpc
from pyarrow import flight

from . import _errors, _handshake
from ._errors import InvalidRequest, SidereusError, Unavailable, Untrusted

DEFAULT_SERVER = "http://127.0.0.1:50051"

#: Largest message that is taken; the server cuts longer answers.
MESSAGE_BYTES = 256 << 20

#: Waits between tries: the first one, and the longest.
BACK_OFF = (0.2, 10.0)

T = TypeVar("T")


class _Message(Protocol):
    def SerializeToString(self) -> bytes: ...


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_token(token: str | None, token_file: str | os.PathLike[str] | None) -> str | None:
    """Find the token: the argument, a file, or the environment."""
    file = token_file or os.environ.get("SIDEREUS_TOKEN_FILE")
    if token is None and token_file is None:
        token = os.environ.get("SIDEREUS_TOKEN") or None
    if token is None and file:
        try:
            token = Path(file).expanduser().read_text(encoding="utf-8")
        except OSError as error:
            raise InvalidRequest(f"the token file cannot be read: {error}") from error
    token = token.strip() if token else None
    if token and (not token.isascii() or any(letter.isspace() for letter in token)):
        raise InvalidRequest("the token has letters that no token has; is the file the right one?")
    return token or None


def _read(path: str | os.PathLike[str] | None) -> bytes | None:
    try:
        return None if path is None else Path(path).expanduser().read_bytes()
    except OSError as error:
        raise InvalidRequest(f"a certificate cannot be read: {error}") from error


class Connection:
    """A server that can be called. Threads may share one."""

    def __init__(
        self,
        url: str | None,
        token: str | None,
        ca: str | os.PathLike[str] | None,
        certificate: str | os.PathLike[str] | None,
        key: str | os.PathLike[str] | None,
        timeout: float,
        patience: float | None,
    ) -> None:
        url = url or os.environ.get("SIDEREUS_SERVER") or DEFAULT_SERVER
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https", "grpc", "grpcs") or not parts.hostname:
            raise InvalidRequest(f"{url!r} is no server address; it looks like {DEFAULT_SERVER} or https://host:50051")
        self.is_encrypted = parts.scheme in ("https", "grpcs")
        host = parts.hostname
        shown = f"[{host}]" if ":" in host else host
        self.target = f"{shown}:{parts.port or 50051}"
        self.url = f"{'https' if self.is_encrypted else 'http'}://{self.target}"
        if token and not self.is_encrypted and not _is_loopback(host):
            raise InvalidRequest(f"a token would be readable by everybody on the way to {self.url}: use https://")
        if (certificate is None) != (key is None):
            raise InvalidRequest("certificate and key belong together")
        if not self.is_encrypted and (ca or certificate):
            raise InvalidRequest(f"{self.url} is not encrypted: use https:// with ca, certificate and key")
        self.timeout, self.patience = timeout, timeout if patience is None else patience
        self._token = token
        if ca is None and self.is_encrypted:
            ca = os.environ.get("SIDEREUS_CA") or None
        self._ca, self._certificate, self._key = _read(ca), _read(certificate), _read(key)
        self._files = _handshake.Files(ca, certificate, key)
        self._host, self._port = host, parts.port or 50051
        options = [
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            ("grpc.max_send_message_length", MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", 60_000),
        ]
        if self.is_encrypted:
            credentials = grpc.ssl_channel_credentials(self._ca, self._key, self._certificate)
            self._channel = grpc.secure_channel(self.target, credentials, options)
        else:
            self._channel = grpc.insecure_channel(self.target, options)
        self._flight: Any = None
        self._lock = threading.Lock()

    @property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self._token}"),) if self._token else ()

    def unary(
        self, path: str, request: _Message, reply: Callable[[bytes], T], *, again: bool, timeout: float | None = None
    ) -> T:
        """Call once, or again while the server is away where ``again`` says that this does no harm."""
        call = self._channel.unary_unary(
            f"/sidereus.v1.{path}", request_serializer=_serialize, response_deserializer=reply
        )

        def ask() -> T:
            answer: T = call(request, timeout=timeout or self.timeout, metadata=self._metadata)
            return answer

        return self.trying(ask) if again else self._translated(ask)

    def stream(
        self, path: str, request: _Message, reply: Callable[[bytes], T], *, timeout: float | None = None
    ) -> Iterator[T]:
        """Call, and hand on the messages of the answer."""
        call = self._channel.unary_stream(
            f"/sidereus.v1.{path}", request_serializer=_serialize, response_deserializer=reply
        )
        try:
            yield from call(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._told(_errors.of_grpc(error)) from None

    def _translated(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except grpc.RpcError as error:
            raise self._told(_errors.of_grpc(error)) from None

    def _told(self, error: SidereusError) -> SidereusError:
        """Give the error with its true reason, where a server is there and encryption is what fails."""
        if not isinstance(error, (Unavailable, Untrusted)):
            return error
        seconds = min(self.timeout, _handshake.SECONDS)
        reason = _handshake.reason(self._host, self._port, self._files, self.is_encrypted, seconds)
        return error if reason is None else Untrusted(f"no connection to {self.url}: {reason}")

    def trying(self, ask: Callable[[], T]) -> T:
        """Ask, and again with growing waits while the server is away, as long as the patience lasts."""
        waits = self.waits()
        while True:
            try:
                return self._translated(ask)
            except Unavailable:
                if not next(waits):
                    raise

    def waits(self) -> Iterator[bool]:
        """Wait longer each time; ``False`` when the patience is over."""
        end, wait = time.monotonic() + self.patience, BACK_OFF[0]
        while time.monotonic() < end:
            # Clients that lost one server do not all come back in one moment.
            time.sleep(min(wait * random.uniform(0.5, 1.0), max(0.0, end - time.monotonic())))
            wait = min(2 * wait, BACK_OFF[1])
            yield True
        while True:
            yield False

    def flight(self) -> Any:
        """Give the Arrow Flight client, made at its first use."""
        with self._lock:
            if self._flight is None:
                kind = "grpc+tls" if self.is_encrypted else "grpc+tcp"
                secrets: dict[str, Any] = {}
                if self._ca:
                    secrets["tls_root_certs"] = self._ca
                if self._certificate and self._key:
                    secrets |= {"cert_chain": self._certificate, "private_key": self._key}
                self._flight = flight.FlightClient(f"{kind}://{self.target}", **secrets)
            return self._flight

    def flight_options(self) -> Any:
        """Give what goes along with every Flight call."""
        headers = [(name.encode(), value.encode()) for name, value in self._metadata]
        return flight.FlightCallOptions(headers=headers)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()
        with self._lock:
            if self._flight is not None:
                self._flight.close()
                self._flight = None


def _serialize(message: _Message) -> bytes:
    return message.SerializeToString()


def is_away(error: SidereusError) -> bool:
    """Tell whether an error may be gone when the call is made again."""
    return isinstance(error, Unavailable)
