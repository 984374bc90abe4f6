"""What is there of the topics that are needed, at whichever brokers they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.control import redis_streams, topics

if TYPE_CHECKING:
    from pipeline.control.topic_findings import Finding, TopicReport
    from pipeline.control.topics import TopicSpec
    from pipeline.settings import Settings


def inspect(
    settings: Settings, timeout_s: float = 10.0, adjust: Callable[[TopicSpec], TopicSpec] = lambda spec: spec
) -> list[TopicReport]:
    """Return what each broker has of the topics that are needed there, and what is wrong with it.

    ``adjust`` may ask for more of a topic of Kafka than the settings do. A broker of which nothing is needed is not
    asked. Blocks; raises ConnectorError.
    """
    reports: list[TopicReport] = []
    if topics.wanted(settings):
        from pipeline.control import topic_admin  # noqa: PLC0415  # not loaded where there is no Kafka

        reports += topic_admin.inspect(settings, timeout_s, adjust)
    if redis_streams.is_needed(settings):
        reports += redis_streams.inspect(settings, timeout_s)
    return reports


def findings(settings: Settings, timeout_s: float = 10.0) -> list[Finding]:
    """Return everything that is wrong with the topics that these settings need. Blocks; raises ConnectorError."""
    return [finding for report in inspect(settings, timeout_s) for finding in report.findings]
