"""Why a server that is there is not understood: gRPC says of all of this that it is not available."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass

#: Longest look at a server.
SECONDS = 5.0

#: How long a server may take to refuse a client that shows no certificate: in TLS 1.3 it does so after the handshake.
REFUSAL_SECONDS = 0.5

# Codes of OpenSSL for a certificate that no known authority has signed, and for one of another name or address.
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)
_OTHER_NAME = (62, 64)


@dataclass(frozen=True)
class Files:
    """PEM files of a connection."""

    ca: str | os.PathLike[str] | None
    certificate: str | os.PathLike[str] | None
    key: str | os.PathLike[str] | None

    def context(self) -> ssl.SSLContext:
        """Make what Python's own TLS needs to connect as gRPC does."""
        context = ssl.create_default_context(cafile=None if self.ca is None else os.path.expanduser(self.ca))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.set_alpn_protocols(["h2"])
        if self.certificate is not None:
            context.load_cert_chain(
                os.path.expanduser(self.certificate), None if self.key is None else os.path.expanduser(self.key)
            )
        return context


def reason(host: str, port: int, files: Files, is_encrypted: bool, seconds: float) -> str | None:
    """Look at a server once; ``None`` where it is not there, or nothing is wrong with its encryption."""
    try:
        with socket.create_connection((host, port), timeout=seconds) as plain:
            return _encrypted(plain, host, files) if is_encrypted else _plain(plain)
    except OSError:
        return None


def _plain(plain: socket.socket) -> str | None:
    """Tell whether a server that was called without encryption speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nothing is sent or believed: only whether it is TLS at all is asked.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with context.wrap_socket(plain):
            return "the server speaks TLS: use https://, with ca= where this machine does not know its authority"
    except (ssl.SSLError, OSError):
        return None


def _encrypted(plain: socket.socket, host: str, files: Files) -> str | None:
    try:
        context = files.context()
    except (ssl.SSLError, OSError) as error:
        return f"the certificate files cannot be used: {error}"
    try:
        with context.wrap_socket(plain, server_hostname=host) as encrypted:
            encrypted.settimeout(REFUSAL_SECONDS)
            encrypted.recv(1)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _UNKNOWN_AUTHORITY:
            authority = "an authority that this machine knows" if files.ca is None else os.fspath(files.ca)
            return f"the server's certificate is not signed by {authority}: give the file of its authority as ca="
        if error.verify_code in _OTHER_NAME:
            return f"the server's certificate is not for {host}: use a name or an address that it is for"
        return f"the server's certificate is not valid: {error.verify_message}"
    except TimeoutError:
        return None
    except ssl.SSLError as error:
        told = f"{error.reason or error}"
        if "CERTIFICATE_REQUIRED" in told:
            return "the server asks for a certificate: give certificate= and key="
        if "ALERT" in told:
            return f"the server refused the connection: {told.lower().replace('_', ' ')}"
        return "the server does not speak TLS: use http://"
    return None
