"""TLS contexts for links between a node, its broker and its regions.

One CA is pinned per link: the machine's own store of authorities is never asked. The peer's name is checked, TLS 1.2
is the oldest version spoken (RFC 9325). A context is made anew for each connection, so that renewed files count.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Final

from gateway.errors import CredentialError

_THEIRS: Final = "the server's certificate is refused"
_OURS: Final = "the server refuses our certificate"


def client_context(ca: str, certificate: str = "", key: str = "") -> ssl.SSLContext:
    """Return the context of a client that trusts `ca` alone and shows `certificate` (PEM files; empty shows none).

    Raises `CredentialError` that names the file and what is wrong with it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _trust(context, ca)
    if certificate:
        _show(context, certificate, key)
    return context


def fault_of(error: BaseException) -> str:
    """Return what to say of a connection that failed: where TLS failed, whose certificate was refused, and why.

    Libraries wrap what TLS says, so the first cause counts. An alert is the server's word about ours (RFC 8446, section
    6.2: bad_certificate to unknown_ca, certificate_required).
    """
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    if isinstance(first, ssl.SSLCertVerificationError):
        return f"{_THEIRS}: {first.verify_message}"
    _, is_alert, alert = ((first.reason or "") if isinstance(first, ssl.SSLError) else "").partition("_ALERT_")
    if is_alert and ("CERTIFICATE" in alert or alert == "UNKNOWN_CA"):
        return f"{_OURS}: {alert.lower().replace('_', ' ')}"
    return str(error) or type(error).__name__


def is_refusal(fault: str) -> bool:
    """Say whether what `fault_of` returned, which may stand within a sentence, is about a certificate."""
    return _THEIRS in fault or _OURS in fault


def refusal(host: str, port: int, context: ssl.SSLContext, timeout_s: float) -> str:
    """Shake hands for nothing, and return what `fault_of` says of it; empty when it succeeds.

    For libraries that only say that a certificate was refused, not why.
    """
    try:
        with (
            socket.create_connection((host, port), timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return ""
    except OSError as error:
        return fault_of(error)


def server_context(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    """Return the context of a server that takes only clients with a certificate of `ca`. Raises `CredentialError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _trust(context, ca)
    context.verify_mode = ssl.CERT_REQUIRED
    _show(context, certificate, key)
    return context


def _trust(context: ssl.SSLContext, ca: str) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cafile=ca)
    except ssl.SSLError as error:
        raise CredentialError(f"{ca} holds no CA certificate in PEM form ({error.reason})", path=ca) from error
    except OSError as error:
        raise CredentialError(f"cannot read the CA certificate {ca}: {error.strerror}", path=ca) from error


def _show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    for path in (certificate, key):
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise CredentialError(f"cannot read {path}: {error.strerror}", path=path) from error
    try:
        # A password of our own keeps OpenSSL from asking at the terminal when the key is encrypted.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:  # SSLError is an OSError, and so is a file that vanishes between two reads
        reason = getattr(error, "reason", None) or str(error)
        fault = "do not belong together" if reason == "KEY_VALUES_MISMATCH" else f"cannot be used ({reason})"
        raise CredentialError(f"{certificate} and {key} {fault}", path=certificate) from error
