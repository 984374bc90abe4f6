"""Patterns of request topics: what they match, what they must not, and what their results are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pipeline import settings
from pipeline.errors import InvalidSettings
from pipeline.settings import topic_names

PATTERN = r"^orders\.[a-z]+\.requests"
FILE = {"servables": {"m": {"base_path": "m"}}, "routes": {"m": {"request_topic": PATTERN}}}


def load(folder: Path, **route: Any) -> settings.Settings:
    tree = {**FILE, "routes": {"m": {"request_topic": PATTERN, **route}}}
    (folder / "penstock.yaml").write_text("{}")
    return settings.load(folder / "penstock.yaml", {}, tree)


def test_the_whole_name_must_match_and_kafkas_own_topics_never_do() -> None:
    assert topic_names.matches(PATTERN, "orders.eu.requests")
    for other in ("orders.eu.requests-dlt", "my.orders.eu.requests", "orders.1.requests"):
        assert not topic_names.matches(PATTERN, other)
    assert not topic_names.matches("^.*offsets", "__consumer_offsets")
    assert topic_names.matches("^a|b", "b")
    assert topic_names.regex("^a|b$") == "^(a|b)$"


def test_results_and_dead_letters_follow_the_topic_of_the_request(tmp_path: Path) -> None:
    route = load(tmp_path, result_topic="{request_topic}.results").routes["m"]
    assert route.results_of("orders.eu.requests") == "orders.eu.requests.results"
    assert route.dead_letters_of("orders.eu.requests") == "orders.eu.requests-dlt"
    assert load(tmp_path).routes["m"].results_of("orders.eu.requests") == "m.results"


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ({"request_topic": "^.*"}, "matches the control topic"),
        ({"request_topic": r"^m\..*"}, "may match 'm.results'"),
        ({"request_topic": r"^orders\..*"}, "may match '{request_topic}-dlt'"),
        ({"result_topic": "{request_topic}.requests"}, "may match '{request_topic}.requests'"),
        ({"result_topic": "orders.x.requests"}, "may match 'orders.x.requests'"),
        ({"request_topic": r"^orders\.\d\.requests"}, r"write \[0-9\]"),
        ({"request_topic": "^(?:a)q"}, "groups that begin"),
        ({"request_topic": "^(aq"}, "no regular expression"),
        ({"request_topic": "^a*?q"}, "a quantifier after a quantifier"),
        ({"request_topic": "^"}, "empty"),
        ({"request_topic": "m.requests", "result_topic": "{request_topic}.r"}, "the request topic is no pattern"),
        ({"result_topic": "{other}.r"}, "not a name"),
        ({"retention_s": -1}, "retention_s"),
    ],
)
def test_a_pattern_that_may_read_what_is_written_is_refused(tmp_path: Path, route: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSettings, match=words):
        load(tmp_path, **route)


def test_a_pattern_must_not_match_what_another_route_reads_or_writes(tmp_path: Path) -> None:
    (tmp_path / "penstock.yaml").write_text("{}")
    for topics, words in (
        ({"request_topic": "orders.x.requests"}, "both would answer"),
        ({"request_topic": "n", "result_topic": "orders.x.requests"}, "of route 'n'"),
    ):
        tree = {**FILE, "routes": {**FILE["routes"], "n": {"servable": "m", **topics}}}
        with pytest.raises(InvalidSettings, match=words):
            settings.load(tmp_path / "penstock.yaml", {}, tree)


@pytest.mark.parametrize(
    ("pattern", "template", "may"),
    [
        (r"^.*\.requests", "{request_topic}.results", False),
        (r"^.*\.q", "{request_topic}.qq", False),
        (r"^.*qq", "{request_topic}q", True),
        (r"^in\..*", "out.{request_topic}", False),
        (r"^in\..*", "in.{request_topic}", True),
        (r"^a*b", "{request_topic}b", True),
        (r"^x?in.*", "in{request_topic}", True),
        (r"^a|.*\.requests", "{request_topic}-dlt", True),
        (r"^(a|b)\.requests", "{request_topic}-dlt", False),
        (r"^.*q{1,2}", "{request_topic}q", True),
    ],
)
def test_a_template_is_told_apart_by_how_every_request_topic_begins_or_ends(
    pattern: str,
    template: str,
    may: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    assert topic_names.may_match_filled(pattern, template) is may


PIECES = st.lists(st.sampled_from(["a", "b", r"\.", "[ab]", ".*", "a+", "b?", "(a|b)", "|"]), min_size=1, max_size=5)


@given(PIECES, st.text("ab.", min_size=1, max_size=6), st.text("ab.", max_size=3), st.text("ab.", max_size=3))
def test_what_is_said_to_be_safe_is_safe(pieces: list[str], topic: str, before: str, after: str) -> None:
    pattern, template = "^" + "".join(pieces), f"{before}{{request_topic}}{after}"
    if before + after and topic_names.matches(pattern, topic) and not topic_names.may_match_filled(pattern, template):
        assert not topic_names.matches(pattern, topic_names.fill(template, topic))


@pytest.mark.parametrize(
    ("topics", "words"),
    [
        ({"m.request": {"partitions": 2}}, "no route needs it"),
        ({"m.requests": {"config": {"cleanup.policy": "compact"}}}, "not|records would vanish"),
        ({"m.requests": {"partitions": -1}}, "must not be negative"),
        ({"penstock.aspired-versions": {"partitions": 2}}, "one partition"),
    ],
)
def test_topics_that_are_set_wrong_are_refused(tmp_path: Path, topics: dict[str, Any], words: str) -> None:
    (tmp_path / "penstock.yaml").write_text("{servables: {m: {base_path: m}}, routes: {m: {}}}")
    with pytest.raises(InvalidSettings, match=words):
        settings.load(tmp_path / "penstock.yaml", {}, {"topics": topics})
