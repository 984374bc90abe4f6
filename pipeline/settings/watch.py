"""The sections ``control`` and ``watch``: the topics by which versions roll out, and what looks for versions."""

from __future__ import annotations

import msgspec

from pipeline.errors import InvalidSettings
from pipeline.settings.section import Section


class ControlSettings(Section, frozen=True):
    """The topics by which versions roll out and states are shown, and at which broker they are.

    ``connector`` is ``kafka`` or ``redis``; empty becomes ``redis`` where the settings name a Redis and no Kafka.
    """

    connector: str = ""
    aspired_topic: str = "penstock.aspired-versions"
    states_topic: str = "penstock.servable-states"


class WatchSettings(Section, frozen=True):
    """The storage path source."""

    in_worker: bool = False
    poll_interval_s: float = 0.25
    quiet_period_s: float = 0.5
    halt_on_failure: bool = False
    notify: str = "auto"
    missing_base_path: str = "wait"
    await_versions_s: float = 0.0


def complete_control(control: ControlSettings, *, names_kafka: bool, names_redis: bool) -> ControlSettings:
    """Return the section with its connector, chosen by the brokers that the settings name where it was left empty."""
    derived = "redis" if names_redis and not names_kafka else "kafka"
    return msgspec.structs.replace(control, connector=control.connector or derived)


def check_control(control: ControlSettings, place: str, *, names_redis: bool) -> None:
    """Raise InvalidSettings for a broker that is none, or that the settings do not name."""
    if control.connector not in ("", "kafka", "redis"):
        raise InvalidSettings(f"{place}.connector", f"{control.connector!r} is not kafka or redis")
    if control.connector == "redis" and not names_redis:
        raise InvalidSettings(f"{place}.connector", "redis needs an address: set redis.url")


def check_watch(watch: WatchSettings, place: str) -> None:
    """Raise InvalidSettings for what is out of range."""
    if watch.notify not in ("auto", "poll"):
        raise InvalidSettings(f"{place}.notify", f"{watch.notify!r} is not auto or poll")
    if watch.missing_base_path not in ("wait", "error"):
        raise InvalidSettings(f"{place}.missing_base_path", f"{watch.missing_base_path!r} is not wait or error")
    if watch.await_versions_s < 0:
        raise InvalidSettings(f"{place}.await_versions_s", "must not be negative")
    check_intervals(watch.quiet_period_s, watch.poll_interval_s, place)


def check_intervals(quiet_period_s: float | None, poll_interval_s: float | None, place: str) -> None:
    """Raise InvalidSettings for a period or an interval that is none."""
    if quiet_period_s is not None and quiet_period_s < 0:
        raise InvalidSettings(f"{place}.quiet_period_s", f"must not be negative, got {quiet_period_s:g}")
    if poll_interval_s is not None and poll_interval_s <= 0:
        raise InvalidSettings(f"{place}.poll_interval_s", f"must be above 0, got {poll_interval_s:g}")
