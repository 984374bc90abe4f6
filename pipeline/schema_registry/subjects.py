"""Under which subject a registry has the schema of a topic's values. Pure."""

from __future__ import annotations

_NAMESPACE = "penstock"


def subject_of(strategy: str, topic: str, record: str) -> str:
    """Return the subject, as Confluent's strategies do; ``record`` is PredictRequest or PredictResult."""
    if strategy == "record":
        return f"{_NAMESPACE}.{record}"
    if strategy == "topic_record":
        return f"{topic}-{_NAMESPACE}.{record}"
    return f"{topic}-value"
