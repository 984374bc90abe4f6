"""Which topics are needed, and what is wrong with those that exist."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import msgspec
import pytest

from pipeline.control.topic_check import TopicCheck
from pipeline.control.topic_findings import Described, Finding, compare, examine
from pipeline.control.topics import TopicSpec, wanted
from pipeline.errors import ConnectorError, WrongTopic
from pipeline.settings import RouteSettings, Settings, TopicSettings

ROUTE = RouteSettings(
    servable="m", request_topic="m.requests", result_topic="m.results", dead_letter_topic="m.requests-dlt"
)
SETTINGS = Settings(routes={"m": ROUTE})


def spec(name: str, settings: Settings = SETTINGS) -> TopicSpec:
    return next(spec for spec in wanted(settings) if spec.name == name)


def described(name: str, partitions: int = 4, **config: str) -> Described:
    return Described(name, partitions, 1, {key.replace("_", "."): value for key, value in config.items()})


def test_a_route_needs_three_topics_and_all_routes_two_control_topics() -> None:
    assert {(item.name, item.config["cleanup.policy"]) for item in wanted(SETTINGS)} == {
        ("m.requests", "delete"),
        ("m.results", "delete"),
        ("m.requests-dlt", "delete"),
        ("penstock.aspired-versions", "compact"),
        ("penstock.servable-states", "compact"),
    }


def test_routes_of_other_connectors_need_no_topics() -> None:
    redis = RouteSettings(connector="redis", request_topic="stream", result_topic="r", dead_letter_topic="d")
    assert len(wanted(Settings(routes={"m": redis}))) == 2


def test_a_result_topic_that_two_routes_share_is_listed_once() -> None:
    other = RouteSettings(request_topic="n.requests", result_topic="m.results", dead_letter_topic="n.requests-dlt")
    names = [item.name for item in wanted(Settings(routes={"m": ROUTE, "n": other}))]
    assert len(names) == len(set(names)) == 7


def test_a_missing_topic_is_a_problem_that_one_command_solves() -> None:
    (finding,) = compare(spec("m.requests"), None)
    assert (finding.is_problem, finding.next_step) == (True, "penstock topics --create")


def test_the_wrong_cleanup_policy_is_a_problem_whichever_way() -> None:
    for name, policy in (("penstock.aspired-versions", "compact,delete"), ("m.requests", "compact")):
        (finding,) = compare(spec(name), described(name, 1 if "penstock" in name else 4, cleanup_policy=policy))
        assert finding.is_problem
        assert policy in finding.reason
        assert finding.next_step == "penstock topics --alter"
        assert finding.fix == {"cleanup.policy": spec(name).config["cleanup.policy"]}


def test_results_that_the_topic_would_refuse_are_a_problem() -> None:
    large = Settings(routes={"m": RouteSettings(result_topic="m.results", max_result_bytes=5_000_000)})
    results = spec("m.results", large)
    small = described("m.results", cleanup_policy="delete", max_message_bytes="1048588")
    (finding,) = compare(results, small)
    assert finding.is_problem
    assert finding.fix == {"max.message.bytes": "5016384"}
    assert compare(spec("m.results"), small) == []


def test_one_partition_is_worth_a_word_and_no_problem() -> None:
    (finding,) = compare(spec("m.requests"), described("m.requests", 1, cleanup_policy="delete"))
    assert not finding.is_problem
    assert compare(spec("m.results"), described("m.results", 1, cleanup_policy="delete")) == []


def test_a_topic_as_it_was_created_has_no_findings() -> None:
    for item in wanted(SETTINGS):
        assert compare(item, Described(item.name, item.partitions or 4, 1, item.config)) == []


def found(settings: Settings, existing: Iterable[Described]) -> dict[str, list[Finding]]:
    by_name = {topic.name: topic for topic in existing}
    reports = examine(settings, wanted(settings, by_name), by_name)
    return {report.spec.name: list(report.findings) for report in reports if report.findings}


def as_created(settings: Settings, **changed: Described) -> list[Described]:
    made = {item.name: Described(item.name, item.partitions or 4, 1, item.config) for item in wanted(settings)}
    return list({**made, **changed}.values())


def test_what_would_lose_requests_or_versions_is_dangerous_and_nothing_else() -> None:
    for name, policy, is_dangerous in (
        ("m.requests", "compact", True),
        ("m.requests", "compact,delete", True),
        ("penstock.aspired-versions", "delete", True),
        ("penstock.aspired-versions", "compact,delete", False),
        ("penstock.servable-states", "delete", False),
        ("m.results", "compact", False),
        ("m.requests-dlt", "compact", False),
    ):
        (finding,) = compare(spec(name), described(name, spec(name).partitions or 4, cleanup_policy=policy))
        assert (finding.is_problem, finding.is_dangerous) == (True, is_dangerous), (name, policy)


def test_requests_that_are_not_kept_as_long_as_the_route_promises_are_a_problem() -> None:
    kept = Settings(routes={"m": msgspec.structs.replace(ROUTE, retention_s=3600.0)})
    for name in ("m.requests", "m.results"):
        assert spec(name, kept).config["retention.ms"] == "3600000"
        short = described(name, cleanup_policy="delete", retention_ms="3599999")
        (finding,) = compare(spec(name, kept), short)
        assert (finding.is_problem, finding.fix) == (True, {"retention.ms": "3600000"})
        for_ever = described(name, cleanup_policy="delete", retention_ms="-1")
        assert compare(spec(name, kept), for_ever) == []
    (finding,) = compare(spec("m.requests"), described("m.requests", cleanup_policy="delete", retention_ms="60000"))
    assert not finding.is_problem
    assert "vanishes unanswered" in finding.reason


def test_requests_and_dead_letters_are_created_for_the_largest_record_and_letters_stay_longer() -> None:
    assert spec("m.requests").config["max.message.bytes"] == str(16 * 2**20 + 16 * 2**10)
    letters = spec("m.requests-dlt").config
    assert int(letters["max.message.bytes"]) > int(spec("m.requests").config["max.message.bytes"])
    assert letters["retention.ms"] == str(14 * 24 * 3600 * 1000)
    (finding,) = compare(
        spec("m.requests"), described("m.requests", cleanup_policy="delete", max_message_bytes="1048588")
    )
    assert (finding.is_problem, finding.fix["max.message.bytes"]) == (False, "16793600")


def test_copies_that_do_not_suffice_are_found() -> None:
    (finding,) = compare(
        spec("m.results"), Described("m.results", 4, 1, {"cleanup.policy": "delete", "min.insync.replicas": "2"})
    )
    assert "no record is accepted" in finding.reason
    (finding,) = compare(
        spec("m.results"), Described("m.results", 4, 3, {"cleanup.policy": "delete", "min.insync.replicas": "1"})
    )
    assert (finding.is_problem, finding.fix) == (False, {"min.insync.replicas": "2"})


def test_what_the_user_sets_of_a_topic_is_created_asked_for_and_compared() -> None:
    chosen = TopicSettings(partitions=8, replication_factor=2, config={"retention.ms": 1000, "preallocate": True})
    settings = Settings(routes={"m": ROUTE}, topics={"m.requests": chosen})
    item = spec("m.requests", settings)
    assert (item.at_least, item.replication) == (8, 2)
    assert (item.config["retention.ms"], item.config["preallocate"]) == ("1000", "true")
    has = described("m.requests", 4, cleanup_policy="delete", retention_ms="2000", preallocate="true")
    differs, few = compare(item, has)
    assert (differs.fix, differs.is_problem) == ({"retention.ms": "1000"}, False)
    assert (few.partitions, few.is_problem) == (8, True)


def test_results_with_fewer_partitions_than_their_requests_are_worth_a_word() -> None:
    few = Described("m.results", 2, 1, spec("m.results").config)
    (finding,) = found(SETTINGS, as_created(SETTINGS, **{"m.results": few}))["m.results"]
    assert (finding.is_problem, finding.partitions) == (False, 4)


def test_dead_letters_that_can_not_hold_a_request_are_a_problem() -> None:
    small = Described("m.requests-dlt", 4, 1, {**spec("m.requests-dlt").config, "max.message.bytes": "1000000"})
    findings = found(SETTINGS, as_created(SETTINGS, **{"m.requests-dlt": small}))["m.requests-dlt"]
    assert [finding.is_problem for finding in findings] == [False, True]
    assert "refuses large dead letters" in findings[1].reason


def test_settings_that_the_broker_does_not_tell_are_a_note_and_not_a_guess() -> None:
    silent = Described("m.requests", 4, 1, {}, "not allowed")
    (finding,) = compare(spec("m.requests"), silent)
    assert not finding.is_problem
    assert "not allowed" in finding.reason


PATTERN = Settings(
    routes={
        "m": RouteSettings(
            request_topic=r"^m\..*\.requests",
            result_topic="{request_topic}.results",
            dead_letter_topic="{request_topic}-dlt",
        )
    }
)


def test_a_pattern_needs_results_and_dead_letters_for_each_topic_that_matches() -> None:
    names = ["m.a.requests", "m.b.requests", "m.a.requests.results", "other"]
    assert [item.name for item in wanted(PATTERN, names)][:-2] == [
        "m.a.requests", "m.a.requests.results", "m.a.requests-dlt",
        "m.b.requests", "m.b.requests.results", "m.b.requests-dlt",
    ]  # fmt: skip


def test_a_pattern_that_nothing_matches_yet_is_worth_a_word() -> None:
    assert [item.name for item in wanted(PATTERN) if item.is_pattern] == [r"^m\..*\.requests"]
    (finding,) = found(PATTERN, ())[r"^m\..*\.requests"]
    assert not finding.is_problem


def test_a_topic_that_two_patterns_match_is_a_problem() -> None:
    both = Settings(routes={**PATTERN.routes, "n": RouteSettings(request_topic=r"^.*\.a\.requests")})
    topic = Described("m.a.requests", 4, 1, spec("m.requests").config)
    (finding,) = found(both, [topic])["m.a.requests"]
    assert finding.is_problem
    assert "answered 2 times" in finding.reason


def test_a_worker_says_what_is_doubtful_once_and_does_not_run_on_what_is_dangerous(
    caplog: pytest.LogCaptureFixture,
) -> None:
    doubt = Finding("a", "odd", "look", is_problem=False)
    danger = Finding("b", "compacted", "penstock topics --alter", is_dangerous=True)
    answers: list[list[Finding] | ConnectorError] = [ConnectorError("kafka", "away"), [doubt], [doubt, danger]]

    def look(_: Settings, _timeout_s: float) -> list[Finding]:
        answer = answers.pop(0)
        if isinstance(answer, ConnectorError):
            raise answer
        return answer

    check = TopicCheck(SETTINGS, look)
    with caplog.at_level(logging.INFO):
        assert not check.step()
        assert caplog.messages == []
        assert check.step()
    assert caplog.messages == ["topic a: odd; next: look"]
    with pytest.raises(WrongTopic, match="topic b: compacted; correct it with: penstock topics --alter"):
        check.step()
