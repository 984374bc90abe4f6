"""Which topics are needed, and what is wrong with those that exist."""

from __future__ import annotations

from pipeline.control.topics import Described, TopicSpec, compare, wanted
from pipeline.settings import RouteSettings, Settings

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
        assert "--add-config cleanup.policy=" in finding.next_step


def test_results_that_the_topic_would_refuse_are_a_problem() -> None:
    large = Settings(routes={"m": RouteSettings(result_topic="m.results", max_result_bytes=5_000_000)})
    results = spec("m.results", large)
    small = described("m.results", cleanup_policy="delete", max_message_bytes="1048588")
    (finding,) = compare(results, small)
    assert finding.is_problem
    assert "max.message.bytes=5016384" in finding.next_step
    assert compare(spec("m.results"), small) == []


def test_dead_letters_that_would_lose_their_value_are_worth_a_word_and_no_problem() -> None:
    small = described("m.requests-dlt", cleanup_policy="delete", max_message_bytes="1048588")
    (finding,) = compare(spec("m.requests-dlt"), small)
    assert not finding.is_problem
    assert "lose its value" in finding.reason


def test_one_partition_is_worth_a_word_and_no_problem() -> None:
    (finding,) = compare(spec("m.requests"), described("m.requests", 1, cleanup_policy="delete"))
    assert not finding.is_problem
    assert compare(spec("m.results"), described("m.results", 1, cleanup_policy="delete")) == []


def test_a_topic_as_it_was_created_has_no_findings() -> None:
    for item in wanted(SETTINGS):
        assert compare(item, Described(item.name, item.partitions or 4, 1, item.config)) == []
