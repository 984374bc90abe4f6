"""Why a broker does not let a client in, in words that say what to do: from librdkafka's complaints to our errors."""
# ruff: noqa: SLF001  # the codes that are the client's own, not the broker's, begin with an underscore

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from confluent_kafka import KafkaError

from pipeline.errors import AuthenticationFailed, ConnectorError, TlsFailed
from pipeline.kafka_access import Acl, denied
from pipeline.kafka_properties import Scalar, address_of
from pipeline.redaction import without_secrets

DENIED: Final = frozenset(
    {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED,
     KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
)  # fmt: skip
_SASL: Final = frozenset(
    {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.UNSUPPORTED_SASL_MECHANISM,
     KafkaError.ILLEGAL_SASL_STATE}
)  # fmt: skip
NO_SUCH_TOPIC: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
# That no connection came about, and nothing of why.
UNREACHED: Final = frozenset(
    {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._SSL, KafkaError._RESOLVE}
)
# What librdkafka says about one connection, by words of it, and what to do about that. The first that fits counts.
_TLS: Final = {
    "certificate required": "the broker wants a certificate of this client; set ssl.certificate.location and "
    "ssl.key.location (or ssl.keystore.location)",
    "bad certificate": "the broker does not take the certificate of this client; look at ssl.certificate.location",
    "unknown ca": "the broker does not trust who signed the certificate of this client; look at "
    "ssl.certificate.location",
    "certificate verify failed": "the broker's certificate is not trusted: it is not signed by what ssl.ca.location "
    "holds, has expired, or does not name the host that is connected to",
    "PLAINTEXT broker listener": "this listener does not speak TLS; set security.protocol to PLAINTEXT or "
    "SASL_PLAINTEXT, or name another port in bootstrap.servers",
    "connecting to a SSL listener": "this listener speaks TLS; set security.protocol to SSL or SASL_SSL",
    "SSL handshake failed": "look at security.protocol and the ssl settings",
}
# What changes from attempt to attempt.
_PASSING: Final = re.compile(r" \(after \d+ms in state \w+(, \d+ identical error\(s\) suppressed)?\)")


def explain(error: KafkaError, kafka: Mapping[str, Scalar]) -> ConnectorError | None:
    """Return why the broker does not let this client in; None where the error is about something else. Pure.

    The same refusal gives the same text at each attempt, and no secret of ``kafka`` is in it.
    """
    text = text_of(error, kafka)
    place = f"Kafka at {address_of(kafka)}"
    step = next((step for words, step in _TLS.items() if words in text), None)
    if error.code() == KafkaError._SSL or step is not None:
        return TlsFailed(place, f"{step or 'look at the ssl settings'} ({text})")
    if error.code() in _SASL:
        return AuthenticationFailed(place, f"{_sasl_step(text, kafka)} ({text})")
    return None


def explain_request(error: KafkaError, kafka: Mapping[str, Scalar], acl: Acl) -> ConnectorError | None:
    """Return the error that names ``acl``, which the request needed, or why the client is not let in; else None. Pure.

    A broker that refuses the producer id of an idempotent producer says CLUSTER_AUTHORIZATION_FAILED: to it, this
    client may write no topic at all.
    """
    return denied(kafka, acl) if error.code() in DENIED else explain(error, kafka)


def text_of(error: KafkaError, kafka: Mapping[str, Scalar]) -> str:
    """Return what librdkafka says, without times and without the secrets that it repeats in places. Pure."""
    return without_secrets(_PASSING.sub("", f"{error.str()} ({error.name()})"), kafka)


def _sasl_step(text: str, kafka: Mapping[str, Scalar]) -> str:
    mechanism = kafka.get("sasl.mechanisms", kafka.get("sasl.mechanism", "GSSAPI"))
    if "OAUTHBEARER token" in text or "OAuth token" in text:
        return "no token could be had; look at sasl.oauthbearer settings"
    if "mechanism" in text and "nsupported" in text:
        return f"the broker does not offer {mechanism}; set sasl.mechanisms to one that it does"
    if str(mechanism).upper() == "OAUTHBEARER":
        return "the broker does not take the token; look at its issuer, audience, scope and expiry"
    user = kafka.get("sasl.username", "")
    return f"the broker does not take the user {user!r} with this password; look at sasl.username and sasl.password"
