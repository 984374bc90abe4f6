"""A look at a broker's port by plain means, for what librdkafka can not tell apart: one clear reason, or none."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Final

from pipeline.errors import ConnectorError, TlsFailed
from pipeline.kafka_properties import Scalar, address_of

_HOSTNAME_MISMATCH: Final = 62
_IP_MISMATCH: Final = 64
_EXPIRED: Final = 10


def probe(kafka: Mapping[str, Scalar], timeout_s: float = 2.0) -> ConnectorError | None:
    """Return why no connection comes about; None where the reason is another, or can not be seen from outside.

    Looks at the first address of ``bootstrap.servers``: does anybody listen, is it TLS, does its certificate hold.
    Sends no password and no certificate. Blocks for ``timeout_s`` at most, three times.
    """
    address = address_of(kafka).split(",")[0].strip().rpartition("://")[2]
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not (host and port.isdecimal()):
        return None
    place, at = f"Kafka at {address}", (host, int(port))
    is_tls = str(kafka.get("security.protocol", "")).upper().endswith("SSL")
    try:
        socket.create_connection(at, timeout_s).close()
    except OSError as error:
        return ConnectorError(place, f"nobody can be reached there ({error.strerror or error}); is it running?")
    speaks_tls = _handshake(at, _unverified(), timeout_s) is None
    if is_tls and not speaks_tls:
        return TlsFailed(
            place, "this listener does not speak TLS; set security.protocol to PLAINTEXT or SASL_PLAINTEXT"
        )
    if not is_tls and speaks_tls:
        return TlsFailed(place, "this listener speaks TLS; set security.protocol to SSL or SASL_SSL")
    return _distrust(kafka, place, at, timeout_s) if is_tls else None


def _distrust(kafka: Mapping[str, Scalar], place: str, at: tuple[str, int], timeout_s: float) -> ConnectorError | None:
    """Return what is wrong with the broker's certificate, where it is that."""
    file = str(kafka.get("ssl.ca.location", "") or "")
    pem = str(kafka.get("ssl.ca.pem", "") or "")
    checks = str(kafka.get("enable.ssl.certificate.verification", "true")).lower() in ("true", "1")
    try:
        trust = ssl.create_default_context(cafile=file or None, cadata=pem or None)
    except (OSError, ssl.SSLError) as error:
        return TlsFailed(place, f"ssl.ca.location, {file}, can not be read as PEM ({error})")
    trust.check_hostname = str(kafka.get("ssl.endpoint.identification.algorithm", "https")).lower() == "https"
    problem = _handshake(at, trust, timeout_s) if checks else None
    if not isinstance(problem, ssl.SSLCertVerificationError):
        return None
    said = problem.verify_message
    if problem.verify_code in (_HOSTNAME_MISMATCH, _IP_MISMATCH):
        reason = f"the broker's certificate does not name the host {at[0]}; connect to a name that it has"
    elif problem.verify_code == _EXPIRED:
        reason = "the broker's certificate has expired"
    else:
        reason = (
            f"who signed the broker's certificate is not in ssl.ca.location ({file or 'the default of the system'})"
        )
    return TlsFailed(place, f"{reason} ({said})")


def _handshake(at: tuple[str, int], context: ssl.SSLContext, timeout_s: float) -> OSError | None:
    """Return what stopped a TLS handshake; None where it was completed."""
    try:
        with socket.create_connection(at, timeout_s) as plain, context.wrap_socket(plain, server_hostname=at[0]):
            return None
    except OSError as error:
        return error


def _unverified() -> ssl.SSLContext:
    """Return a context that talks to anybody: only whether it is TLS is asked, and nothing is sent."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
